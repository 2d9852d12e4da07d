"""JSON files as tables: a list of objects, an object in each line, and what pandas writes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from analysis.errors import TableError
from analysis.importers.formats.objects import frame_of_objects
from analysis.importers.formats.raw_table import RawTable
from analysis.importers.formats.text_files import JsonLines

ALLOWED = "allowed is one object for each run, in a list or in a line each, or pandas' to_json"
NULL_NOTE = "pandas writes NaN as null: a run with either counts as one without the value"


def table_of_json(path: Path, content: Any) -> RawTable:
    """A table of the content of a JSON file.

    Args:
        path: named in faults.
        content: a list of objects, `JsonLines`, an object of columns (pandas, `orient="columns"`,
            `"list"`), of rows (`"index"`), with `schema` and `data` (`"table"`), or with `columns`,
            `index` and `data` (`"split"`).

    Raises:
        TableError: another structure, or no rows.

    """
    rows, places, notes = _rows(path, content)
    if not rows:
        raise TableError([f"{path}: no rows"])
    for row, place in zip(rows, places, strict=True):
        if not isinstance(row, dict):
            raise TableError([f"{path}, {place}: {kind_of(row)}; {ALLOWED}"])
    return RawTable(frame_of_objects(path, rows), tuple(places), notes)


def _rows(path: Path, content: Any) -> tuple[list[Any], list[str], tuple[str, ...]]:
    """Rows, their places, and what was assumed."""
    if isinstance(content, JsonLines):
        return content.values, [f"line {line}" for line in content.lines], ()
    if isinstance(content, list):
        return content, [f"object {number}" for number in range(1, len(content) + 1)], ()
    if not isinstance(content, dict):
        raise TableError([f"{path}: {kind_of(content)}; {ALLOWED}"])
    rows = _rows_of_pandas(path, content)
    empty = any(v is None for row in rows if isinstance(row, dict) for v in row.values())
    places = [f"row {number}" for number in range(1, len(rows) + 1)]
    return rows, places, (NULL_NOTE,) if empty else ()


def kind_of(value: Any) -> str:
    """What a JSON value is, for a sentence.

    >>> kind_of([1]), kind_of("a"), kind_of(None)
    ('a list', 'a text', 'null')
    """
    kinds = {list: "a list", dict: "an object", str: "a text", bool: "true or false"}
    return "null" if value is None else kinds.get(type(value), "a number")


def _rows_of_pandas(path: Path, content: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows of an object that pandas writes."""
    rows = content.get("data")
    if set(content) == {"schema", "data"} and isinstance(rows, list):
        return rows
    if set(content) == {"columns", "index", "data"} and isinstance(rows, list):
        return _rows_of_lists(path, content["columns"], rows)
    if content and all(isinstance(values, list) for values in content.values()):
        return _rows_of_columns(path, {n: list(enumerate(v)) for n, v in content.items()})
    if content and all(isinstance(values, dict) for values in content.values()):
        if all(name.isdecimal() for name in content) and not _is_numbered(content.values()):
            return list(content.values())
        return _rows_of_columns(path, {n: list(v.items()) for n, v in content.items()})
    raise TableError([f"{path}: an object; {ALLOWED}"])


def _rows_of_lists(path: Path, names: Any, rows: list[Any]) -> list[dict[str, Any]]:
    if not isinstance(names, list) or len(set(map(str, names))) < len(names):
        raise TableError([f"{path}: 'columns' is no list of different names"])
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, list) or len(row) != len(names):
            raise TableError([f"{path}, row {number}: no list of {len(names)} cells"])
    return [dict(zip(map(str, names), row, strict=True)) for row in rows]


def _is_numbered(rows: Any) -> bool:
    return all(name.isdecimal() for row in rows for name in row)


def _rows_of_columns(
    path: Path, columns: dict[str, Sequence[tuple[Any, Any]]]
) -> list[dict[str, Any]]:
    """Rows of columns, each a sequence of (label of the row, cell)."""
    first, *others = columns
    labels = [label for label, _ in columns[first]]
    for name in others:
        if [label for label, _ in columns[name]] != labels:
            raise TableError(
                [f"{path}: the columns {first!r} and {name!r} do not have the same rows"]
            )
    return [{name: cells[i][1] for name, cells in columns.items()} for i in range(len(labels))]
