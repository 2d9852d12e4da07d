"""Cells of a foreign table: a number, text, or None; empty is not NaN."""

import json
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import numpy as np
import pandas as pd

EMPTY = frozenset({"", "na", "n/a", "#n/a", "null", "none", "<na>"})
"""What programs write for a cell that holds nothing; NaN is not among them: it was computed."""


def frame_of(columns: dict[str, list[Any]]) -> pd.DataFrame:
    """A frame of cells as they are, every column of the dtype object."""
    return pd.DataFrame({name: pd.Series(cells, dtype=object) for name, cells in columns.items()})


def frame_of_rows(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """A frame of dicts, whose keys may differ; a key that is not there is an empty cell."""
    names = dict.fromkeys(str(name) for row in rows for name in row)
    return frame_of({name: [plain_cell(row.get(name)) for row in rows] for name in names})


def plain_cell(value: Any) -> Any:
    """A cell that parquet can hold: what is nested becomes JSON, other objects text."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, (list, dict, tuple)):
        return json.dumps(value, sort_keys=True, default=str)
    return str(value)


def parse_cells(texts: Iterable[str]) -> list[Any]:
    """Cells of a CSV column: numbers where every cell is one or empty, else text.

    >>> parse_cells(["1", "2.5", "nan", ""]), parse_cells(["1", "0x1f"]), parse_cells(["7", "NA"])
    ([1, 2.5, nan, None], ['1', '0x1f'], [7, None])
    """
    cells = [None if text.strip().lower() in EMPTY else text.strip() for text in texts]
    numbers = [None if cell is None else _number(cell) for cell in cells]
    whole = all(number is not None for number, cell in zip(numbers, cells, strict=True) if cell)
    return numbers if whole else cells


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


def _number(text: str) -> int | float | None:
    for kind in (int, float):
        with suppress(ValueError):
            return kind(text)
    return None
