"""Files of other tools as bytes, text and JSON: with limits, and with the line of each fault."""

import gzip
import io
import json
import stat
import zlib
from pathlib import Path
from typing import Any, NamedTuple

from analysis.errors import TableError
from analysis.table import guarded_reading

HEAD_BYTES = 4096


class JsonLines(NamedTuple):
    """The values of a file with one JSON value in each line, and the numbers of these lines."""

    values: list[Any]
    lines: list[int]


def ending_of(path: Path) -> str:
    """The ending of a file name in small letters, without `.gz`.

    >>> ending_of(Path("v1.2/runs.CSV.gz")), ending_of(Path("studies.db"))
    ('.csv', '.db')
    """
    return (Path(path.stem) if path.suffix.lower() == ".gz" else path).suffix.lower()


def stem_of(path: Path) -> str:
    """The name of a file without its ending.

    >>> stem_of(Path("a/vit.v2.csv.gz")), stem_of(Path("runs.csv"))
    ('vit.v2', 'runs')
    """
    return Path(path.stem).stem if path.suffix.lower() == ".gz" else path.stem


def read_head(path: Path) -> bytes:
    """The first bytes of a regular file. Raises TableError."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # a pipe would be waited for
            raise TableError([f"{path}: not a regular file"])
        with path.open("rb") as file:
            return file.read(HEAD_BYTES)
    except OSError as error:
        raise TableError([f"{path}: cannot be read: {error.strerror}"]) from error


def read_content(path: Path) -> bytes:
    """The content of a regular file, unpacked where its name ends with `.gz`.

    Raises:
        TableError: another kind of file, a larger one (after unpacking too), or an unreadable one.

    """
    most = guarded_reading.MOST_TABLE_BYTES
    try:
        content = guarded_reading.read_bytes(path, most)
    except TableError as error:
        raise TableError([f"{path}: {fault}" for fault in error.faults]) from error
    if path.suffix.lower() != ".gz":
        return content
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
            unpacked = file.read(most + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise TableError([f"{path}: cannot be unpacked: {error}"]) from error
    if len(unpacked) > most:
        raise TableError([f"{path}: more than {most} bytes after unpacking"])
    return unpacked


def read_text(path: Path) -> str:
    """The content of a UTF-8 file. Raises TableError with the line of what is no UTF-8."""
    content = read_content(path)
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise TableError([f"{path}: the text is UTF-16; save it as UTF-8"])
    if (place := content.find(b"\0")) >= 0:
        line = content.count(b"\n", 0, place) + 1
        raise TableError([f"{path}, line {line}: a NUL byte; is this a text file in UTF-8?"])
    try:
        return content.decode("utf-8-sig")  # Excel writes a mark in front
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        byte = error.object[error.start]
        raise TableError(
            [f"{path}, line {line}: the byte 0x{byte:02x} is no UTF-8; save the file as UTF-8"]
        ) from error


def parse_json(text: str) -> Any:
    """The value of a JSON text; NaN and Infinity are understood.

    Raises:
        ValueError: no JSON, nested too deeply, or an object with the same key twice.

    """
    try:
        return json.loads(text, object_pairs_hook=_without_duplicates)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def read_json(path: Path) -> Any:
    """The content of a JSON file, `JsonLines` where each line is a value of its own.

    Raises:
        TableError: no JSON, with the line.

    """
    text = read_text(path)
    try:
        return parse_json(text)
    except json.JSONDecodeError as error:
        if error.msg == "Extra data":
            return parse_json_lines(path, text)
        raise TableError([f"{path}, line {error.lineno}: {_said(error)}"]) from error
    except ValueError as error:
        raise TableError([f"{path}: {error}"]) from error


def parse_json_lines(path: Path, text: str) -> JsonLines:
    r"""The values of a text with one in each line; only \n ends a line. Raises TableError."""
    values, lines = [], []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip(" \t\r"):
            continue
        try:
            values.append(parse_json(line))
        except ValueError as error:
            raise TableError([f"{path}, line {number}: {_said(error)}"]) from error
        lines.append(number)
    return JsonLines(values, lines)


def _said(error: ValueError) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"no JSON: {error.msg} (character {error.colno})"
    return str(error)


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"an object has the key {twice!r} twice")
    return found
