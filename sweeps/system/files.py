"""Files that are there whole or not at all; and reading those that anybody may have put there."""

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
"""Of a study; no other text of a run directory comes near it."""
MAX_TABLE_BYTES = 4 << 30
MAX_DEPTH = 32
"""Of tables and lists within each other; what is written here has at most 6."""
DAMAGED = ".damaged"
"""Follows the name of what was set aside."""
TEMPORARY = ".*.tmp"
"""Names of files that are being written, or whose writer was killed."""


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """A temporary path in the folder of `path`; on success it takes the place of `path`.

    The name is unique, the content is on the disk before it is renamed, and a writer that fails
    leaves nothing behind. Raises OSError as the file system does.
    """
    with temporary_beside(path) as temporary:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        if path.is_dir():  # somebody's: a file cannot replace it
            set_aside(path)
        temporary.replace(path)
        _sync_folder(path.parent)


@contextmanager
def temporary_beside(path: Path) -> Iterator[Path]:
    """An empty file of a unique name in the folder of `path`, gone at the end if still there."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    os.close(handle)
    temporary = Path(name)
    try:
        # mkstemp makes files that their owner alone can read; for others to write none is.
        temporary.chmod(0o644 & ~_UMASK)
        yield temporary
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()


def read_bytes(path: Path, most: int = MAX_BYTES, *, only_last: bool = False) -> bytes:
    """The content of a regular file; all files of run directories are read through here.

    Args:
        path: a file, or a link to one.
        most: bytes.
        only_last: the last `most` bytes of a larger file, instead of an error.

    Raises:
        OSError: another kind of file (a pipe would be waited for, a device has no end), a larger
            one, or one that cannot be read.
    """
    _check_regular(path.stat(), path)  # before it is opened: to open a device may do something
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
    """The text of a file, as `read_bytes` reads it.

    Raises OSError as that does; UnicodeDecodeError, a ValueError, where it is no text.
    """
    return read_bytes(path, most).decode()


def last_lines(path: Path, most: int = 1 << 20) -> list[str]:
    """The lines at the end of a log, of at most `most` bytes; none where it cannot be read."""
    try:
        return read_bytes(path, most, only_last=True).decode(errors="replace").splitlines()
    except OSError:
        return []


def read_parquet(path: Path, columns: list[str] | None = None) -> "pa.Table":
    """The rows of a parquet file, with its checksums looked at; only the named columns, if any.

    Its bytes are read at once: Arrow opens a path more than once, and another version may take its
    place in between.

    Raises OSError as `read_bytes` does; DamagedError where it is no parquet file, or damaged.
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
    """Raises ValueError where it is no TOML, or nested deeper than can be read."""
    try:
        return check_depth(tomllib.loads(text))
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def parse_json(text: str) -> Any:
    """Raises ValueError where it is no JSON, or nested deeper than can be read."""
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
    """Remove a file of a run directory; a folder in its place is renamed, with what is in it."""
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


def _sync_folder(folder: Path) -> None:
    """Until its folder is on the disk too, a renamed file can be lost with the power."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


_UMASK = _umask()  # once, at import: reading it means setting it, which threads would see
