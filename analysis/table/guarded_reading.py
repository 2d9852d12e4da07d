"""Files of run directories and tables, read with limits: anybody may have put them there.

The rules are those of `sweeps/system/files.py`, which this package does not import: regular files
only (a pipe would be waited for, a device has no end), of a limited size, TOML of a limited depth.
"""

import os
import stat
import tomllib
from pathlib import Path
from typing import Any

from analysis.errors import TableError

MOST_TOML_BYTES = 64 << 20
MOST_TABLE_BYTES = 4 << 30
MOST_DEPTH = 32


def read_bytes(path: Path, most: int = MOST_TABLE_BYTES) -> bytes:
    """The content of a regular file of at most `most` bytes.

    Raises:
        TableError: another kind of file, a larger one, or one that cannot be read.

    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # before it is opened
            raise TableError(["not a regular file"])
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
        with os.fdopen(handle, "rb") as file:
            found = os.fstat(handle)
            if stat.S_ISREG(found.st_mode) and found.st_size <= most:
                return file.read(found.st_size)
    except OSError as error:
        raise TableError([f"cannot be read: {error.strerror}"]) from error
    raise TableError([f"not a regular file of at most {most} bytes"])


def read_toml(path: Path) -> dict[str, Any]:
    """The content of a TOML file.

    Raises:
        TableError: as `read_bytes`; also where it is no TOML, or nested too deeply.

    """
    try:
        content = tomllib.loads(read_bytes(path, MOST_TOML_BYTES).decode())
    except (ValueError, RecursionError) as error:
        raise TableError([f"cannot be read: {error}"]) from error
    level: list[Any] = [content]
    for _ in range(MOST_DEPTH):
        inner = (each.values() if isinstance(each, dict) else each for each in level)
        level = [x for values in inner for x in values if isinstance(x, dict | list)]
    if level:
        raise TableError([f"cannot be read: more than {MOST_DEPTH} levels deep"])
    return content
