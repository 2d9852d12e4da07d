"""Nested objects as columns: `{"config": {"lr": 0.1}}` has the column `config.lr`."""

import ast
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.errors import TableError
from analysis.importers.cells import flatten, frame_of_rows, twice
from analysis.importers.formats.text_files import parse_json

WANDB_KEYS = frozenset({"_wandb", "wandb_version"})
"""Of W&B's own, in a config."""
FLOATS = {"nan": float("nan"), "inf": float("inf")}
"""How Python writes them inside a dict; `ast.literal_eval` takes no names."""


def frame_of_objects(path: Path, rows: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """A frame of objects, whose keys may differ; nested keys are joined by a dot.

    Raises:
        TableError: a nested key has the name of another column, or the nesting is too deep.

    """
    rows = _with_plain_config(rows)
    nests = {name for row in rows for name, value in row.items() if isinstance(value, dict)}
    # beside objects, null is an object that is not there, and no cell of a column of its own
    kept = [{n: v for n, v in row.items() if v is not None or n not in nests} for row in rows]
    try:
        flat = [flatten(row) for row in kept]
    except ValueError as error:
        raise TableError([f"{path}: {error}"]) from error
    plain = [{n for n, v in row.items() if not isinstance(v, dict)} for row in kept]
    nested = {n for own, cells in zip(plain, flat, strict=True) for n in cells if n not in own}
    if clash := sorted(nested & set().union(*plain)):
        raise TableError([f"{path}: {twice(name)}" for name in clash])
    return frame_of_rows(flat)


def _with_plain_config(rows: Sequence[dict[str, Any]]) -> Sequence[dict[str, Any]]:
    """Rows whose `config` is `{"lr": 0.1}` where all have `{"lr": {"value": 0.1, "desc": null}}`.

    That is how W&B stores it.
    """
    configs = [row["config"] for row in rows if isinstance(row.get("config"), dict)]
    entries = [e for config in configs for k, e in config.items() if k not in WANDB_KEYS]
    if not entries or not all(
        isinstance(e, dict) and {"value"} <= e.keys() <= {"value", "desc"} for e in entries
    ):
        return rows
    return [
        {**row, "config": {k: e["value"] for k, e in config.items() if k not in WANDB_KEYS}}
        if isinstance(config := row.get("config"), dict)
        else row
        for row in rows
    ]


def expand_objects(
    path: Path, frame: pd.DataFrame, places: Sequence[str]
) -> tuple[pd.DataFrame, list[str]]:
    """A frame of text, where columns of JSON objects or Python dicts become one for each key.

    Returns:
        The frame, and what is said of columns that hold objects in some rows only.

    Raises:
        TableError: a key has the name of another column.

    """
    objects: dict[str, list[dict[str, Any] | None]] = {}
    notes = []
    for name in frame:
        cells = list(frame[name])
        if not any(isinstance(cell, str) and cell.lstrip().startswith("{") for cell in cells):
            continue
        parsed = [None if cell is None else parse_object(cell) for cell in cells]
        wrong = [i for i, cell in enumerate(cells) if cell is not None and parsed[i] is None]
        if wrong:
            notes.append(f"column {name!r} stays text: {places[wrong[0]]} is no object")
        else:
            objects[str(name)] = parsed
    if not objects:
        return frame, notes
    columns = {str(name): objects.get(str(name), list(frame[name])) for name in frame}
    rows = [dict(zip(columns, cells, strict=True)) for cells in zip(*columns.values(), strict=True)]
    return frame_of_objects(path, rows), notes


def parse_object(text: str) -> dict[str, Any] | None:
    """The object that a cell holds, as JSON or as Python writes a dict; nothing is evaluated.

    >>> parse_object('{"lr": 0.1}'), parse_object("{'loss': nan, 'opt': None}"), parse_object("x")
    ({'lr': 0.1}, {'loss': nan, 'opt': None}, None)
    """
    if not text.lstrip().startswith("{"):
        return None
    try:
        value = parse_json(text)
    except json.JSONDecodeError:
        try:
            tree = _Floats().visit(ast.parse(text.strip(), mode="eval"))
            value = ast.literal_eval(tree)
        except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
            return None
    except ValueError:  # the same key twice, or nested too deeply
        return None
    return value if isinstance(value, dict) else None


class _Floats(ast.NodeTransformer):
    """Replaces the names `nan` and `inf` by their values."""

    def visit_Name(self, node: ast.Name) -> ast.expr:
        value = FLOATS.get(node.id)
        return node if value is None else ast.copy_location(ast.Constant(value), node)
