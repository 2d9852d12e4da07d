"""Atomic writing of files, and reading of files that anybody may have written."""

import errno
import glob
import json
import os
import stat
import tempfile
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import pyarrow as pa

MAX_BYTES = 64 << 20
"""Largest text file that is read; the largest that is written is a study."""
MAX_TABLE_BYTES = 4 << 30
MAX_DEPTH = 32
"""Deepest nesting of tables and lists that is read; what is written has at most 6 levels."""
DAMAGED = ".damaged"
"""Suffix of files that were set aside."""
TEMPORARY = ".*.tmp"
"""Pattern of files that are being written, or whose writer was killed."""


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the folder of `path`; on success it is renamed to `path`.

    The name is unique, the content is on the disk before the rename, and a writer that fails leaves
    nothing behind. Raises OSError as the file system does.
    """
    with temporary_beside(path) as temporary:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        if path.is_dir():  # somebody's: a file cannot replace it
            set_aside(path)
        temporary.replace(path)
        # Until its folder is on the disk too, a renamed file can be lost when the power fails.
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


@contextmanager
def temporary_beside(path: Path) -> Iterator[Path]:
    """Yield an empty file with a unique name in the folder of `path`; remove it at the end."""
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    except OSError as error:
        error.filename = str(path)  # nobody knows the temporary name
        raise
    os.close(handle)
    temporary = Path(name)
    try:
        # mkstemp makes files that only their owner can read. No file is writable by others.
        temporary.chmod(0o644 & ~_UMASK)
        yield temporary
    except OSError as error:
        if error.filename in (name, temporary):
            error.filename, error.filename2 = str(path), None
        raise
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()


def read_bytes(path: Path, most: int = MAX_BYTES, *, only_last: bool = False) -> bytes:
    """Read a regular file; all files of run directories are read by this function.

    Args:
        path: a file, or a link to one.
        most: largest number of bytes.
        only_last: the last `most` bytes of a larger file, instead of an error.

    Raises:
        OSError: not a regular file (a pipe would block, a device has no end), a larger file, or
            one that cannot be read.
    """
    _check_regular(path.stat(), path)  # first: opening a device may have effects
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    with os.fdopen(handle, "rb") as file:
        found = os.fstat(handle)
        _check_regular(found, path)
        if only_last:
            file.seek(max(0, found.st_size - most))
            return file.read(most)
        if found.st_size > most:
            raise OSError(errno.EFBIG, f"larger than {most} bytes", str(path))
        return file.read(found.st_size)


def _check_regular(found: os.stat_result, path: Path) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, "no regular file", str(path))


def read_text(path: Path, most: int = MAX_BYTES) -> str:
    """Read the text of a file with `read_bytes`.

    Raises OSError as that does; UnicodeDecodeError, a ValueError, if it is no text.
    """
    return read_bytes(path, most).decode()


def last_lines(path: Path, most: int = 1 << 20) -> list[str]:
    """Read the lines at the end of a log, at most `most` bytes; none if it cannot be read."""
    try:
        return read_bytes(path, most, only_last=True).decode(errors="replace").splitlines()
    except OSError:
        return []


def read_parquet(path: Path, columns: list[str] | None = None) -> "pa.Table":
    """Read a parquet file, or only some columns of it, and verify its checksums.

    All bytes are read at once: Arrow opens a path more than once, and the file may be replaced in
    between.

    Raises OSError as `read_bytes` does; DamagedError if it is no parquet file, or damaged.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq  # `pq.read_table` would import pandas, half a second

    content = pa.BufferReader(read_bytes(path, MAX_TABLE_BYTES))
    try:
        file = pq.ParquetFile(content, page_checksum_verification=True)
        groups = (file.metadata.row_group(i) for i in range(file.num_row_groups))
        if sum(group.total_byte_size for group in groups) > MAX_TABLE_BYTES:
            raise DamagedError(f"{path} unfolds to more than {MAX_TABLE_BYTES} bytes")
        return file.read(columns, use_threads=False)
    except (pa.ArrowException, OSError, ValueError) as error:  # an OSError of its content
        raise DamagedError(str(error)) from error


class DamagedError(Exception):
    """A file does not hold what was written into it."""


def parse_toml(text: str) -> dict[str, Any]:
    """Parse TOML. Raises ValueError if it is none, or nested too deeply."""
    try:
        return check_depth(tomllib.loads(text))
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def parse_json(text: str) -> Any:
    """Parse JSON. Raises ValueError if it is none, or nested too deeply."""
    try:
        return check_depth(json.loads(text))
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


T = TypeVar("T")


def check_depth(content: T) -> T:
    """Return the content. Raises ValueError if it is nested more than `MAX_DEPTH` levels deep."""
    level: list[Any] = [[content]]
    for _ in range(MAX_DEPTH + 1):
        inner = (each.values() if isinstance(each, dict) else each for each in level)
        level = [x for values in inner for x in values if isinstance(x, dict | list)]
        if not level:
            return content
    raise ValueError(f"nested more than {MAX_DEPTH} levels deep")


def remove_or_set_aside(path: Path) -> None:
    """Remove a file of a run directory; a folder in its place is set aside with its content."""
    try:
        path.unlink(missing_ok=True)
    except (IsADirectoryError, PermissionError):
        if not path.is_dir():
            raise
        set_aside(path)


def set_aside(path: Path) -> Path:
    """Rename a file or folder to a name that nothing reads; returns that name."""
    taken = len(list(path.parent.glob(f"{glob.escape(path.name)}{DAMAGED}*")))
    return path.rename(path.with_name(f"{path.name}{DAMAGED}{taken or ''}"))


_UMASK = os.umask(0)  # once, at import: reading it means setting it, which threads would see
os.umask(_UMASK)
