"""Files that are there whole or not at all; and reading those that anybody may have put there."""

import errno
import json
import os
import stat
import tempfile
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

MOST_BYTES = 64 << 20
"""Of a study; no other text of a run directory comes near it."""
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


def read_text(path: Path, most: int = MOST_BYTES) -> str:
    """The text of a regular file of at most `most` bytes.

    Raises OSError where it is another kind of file (a pipe would be waited for), larger, or cannot
    be read; UnicodeDecodeError, a ValueError, where it is no text.
    """
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, "no regular file", str(path))
    if found.st_size > most:
        raise OSError(errno.EFBIG, f"larger than {most} bytes", str(path))
    return path.read_text(encoding="utf-8")


def parse_toml(text: str) -> dict[str, Any]:
    """Raises ValueError where it is no TOML, or nested deeper than can be read."""
    try:
        return tomllib.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def parse_json(text: str) -> Any:
    """Raises ValueError where it is no JSON, or nested deeper than can be read."""
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


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
