"""Cells of a foreign table: a number, text, or None; empty is not NaN."""

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from analysis.table.guarded_reading import MOST_DEPTH

EMPTY = frozenset({"", "na", "n/a", "#n/a", "null", "none", "<na>"})
"""What programs write for a cell that holds nothing; NaN is not among them: it was computed."""
NUMBER = re.compile(
    r"[+-]?((\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?|inf(inity)?|nan)", re.IGNORECASE | re.ASCII
)
"""A number as programs write one. Python's own `int` also takes `1_2`."""
MOST_FLOAT = 1.797e308


def frame_of(columns: dict[str, list[Any]]) -> pd.DataFrame:
    """A frame of cells as they are, every column of the dtype object."""
    return pd.DataFrame({name: pd.Series(cells, dtype=object) for name, cells in columns.items()})


def frame_of_rows(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """A frame of dicts, whose keys may differ; a key that is not there is an empty cell."""
    names = dict.fromkeys(str(name) for row in rows for name in row)
    return frame_of({name: [plain_cell(row.get(name)) for row in rows] for name in names})


def flatten(row: Mapping[str, Any]) -> dict[str, Any]:
    """An object without nested ones: their keys are joined by dots.

    Keys of W&B's own inside nested objects (`_wandb`) are left out. Lists stay as they are.

    Raises:
        ValueError: two keys get the same name, or the nesting is deeper than `MOST_DEPTH`.

    >>> flatten({"name": "a", "config": {"opt": {"lr": 0.1}, "_wandb": {"v": 1}}})
    {'name': 'a', 'config.opt.lr': 0.1}
    """
    found: dict[str, Any] = {}
    for name, value in _leaves(row, "", MOST_DEPTH):
        if name in found:
            raise ValueError(twice(name))
        found[name] = value
    return found


def twice(name: str) -> str:
    """Say that a nested key has the name of another column."""
    return f"the column {name!r} is there twice, as a key and as a nested key"


def _leaves(row: Mapping[str, Any], prefix: str, depth: int) -> Iterator[tuple[str, Any]]:
    if not depth:
        raise ValueError(f"objects are nested more than {MOST_DEPTH} levels deep")
    for key, value in row.items():
        if prefix and str(key).startswith("_wandb"):
            continue
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{key}.", depth - 1)
        else:
            yield f"{prefix}{key}", value


def plain_cell(value: Any) -> Any:
    """A cell that parquet can hold: what is nested becomes JSON, other objects text."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, (list, dict, tuple)):
        return json.dumps(value, sort_keys=True, default=str)
    return str(value)


def parse_cell(cell: Any) -> Any:
    """A cell without what a file format put around it: text that is a number becomes one.

    The largest double stands for infinity: MLflow stores infinity so, since its database has none.

    >>> [parse_cell(cell) for cell in (" 2.5", "NaN", "Infinity", "1_2", "n/a", "vit ", True)]
    [2.5, nan, inf, '1_2', None, 'vit', True]
    """
    if isinstance(cell, str):
        text = cell.strip()
        if text.lower() in EMPTY:
            return None
        if not NUMBER.fullmatch(text):
            return text
        cell = int(text) if text.lstrip("+-").isdigit() else float(text)
    if isinstance(cell, float) and abs(cell) >= MOST_FLOAT:
        return math.copysign(math.inf, cell)
    return cell


def parse_cells(cells: Iterable[Any]) -> list[Any]:
    """Cells of a column: numbers where every text is one or empty, else the texts.

    >>> parse_cells(["1", "2.5", "nan", ""]), parse_cells(["1", "0x1f"]), parse_cells(["7", "NA"])
    ([1, 2.5, nan, None], ['1', '0x1f'], [7, None])
    """
    cells = list(cells)
    parsed = [parse_cell(cell) for cell in cells]
    if any(isinstance(cell, str) for cell in parsed):
        return [
            text_cell(cell) if isinstance(cell, str) else p
            for cell, p in zip(cells, parsed, strict=True)
        ]
    return parsed


def text_cell(cell: Any) -> str | None:
    """A name or an identifier, as it was written: `12` and `012` are two models.

    >>> text_cell(" 012 "), text_cell(12.0), text_cell("")
    ('012', '12', None)
    """
    if isinstance(cell, float) and math.isfinite(cell) and cell == int(cell):
        cell = int(cell)  # whole numbers beside empty cells are read as floats
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return None
    text = str(cell).strip()
    return None if text.lower() in EMPTY else text


def column_of(cells: Iterable[Any]) -> "pd.Series[Any]":
    """A column with a dtype of its own: whole numbers stay whole beside empty cells."""
    values = list(cells)
    kinds = {type(value) for value in values if value is not None}
    if kinds == {int}:
        fits = all(abs(value) < 2**63 for value in values if value is not None)
        return pd.Series(values, dtype="Int64" if fits else "Float64")
    if kinds <= {int, float}:
        return pd.Series([np.nan if v is None else v for v in values], dtype="float64")
    if kinds == {bool}:
        return pd.Series(values, dtype="boolean")
    return pd.Series([None if v is None else str(v) for v in values], dtype=object)


def is_finite(cell: Any) -> bool:
    """Whether a cell is a finite number.

    >>> [is_finite(cell) for cell in (0.5, math.nan, "0.5", None)]
    [True, False, False, False]
    """
    return isinstance(cell, (int, float)) and math.isfinite(cell)
