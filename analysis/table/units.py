"""The unit of errors: percent, or the raw values of a loss; how numbers in it are written."""

from collections.abc import Sequence
from typing import Literal

import pandas as pd

Unit = Literal["percent", "raw"]
"""`percent`: errors from 0 to 100. `raw`: any finite loss, lower is better, without chance."""
UNITS = ("percent", "raw")
UNIT_COLUMN = "error_unit"
"""Of a results table; absent or empty where errors are percent."""
NEAR_POINTS = 4.0  # points; the paper's distance, section 5.3 of Xiao et al., arXiv 2106.14881
AREA_FACTOR = 2.5  # the area under a delta-EDF runs to so many times the distance: 10 points for 4
CURVES_FACTOR = 5.0  # curves are compared up to so many times the distance: 20 points for 4


def unit_of(table: pd.DataFrame) -> Unit:
    """Unit of the errors of a checked table.

    >>> unit_of(pd.DataFrame({"error": [5.0]}))
    'percent'
    """
    return "raw" if UNIT_COLUMN in table and table[UNIT_COLUMN].eq("raw").any() else "percent"


def one_unit(units: Sequence[Unit]) -> Unit:
    """Unit that all of them are in.

    Raises:
        ValueError: percent and losses together.

    >>> one_unit(["raw", "raw"])
    'raw'

    """
    if len(set(units)) > 1:
        raise ValueError("unit: got percent and raw losses together, allowed: one of the two")
    return units[0] if units else "percent"


def near_distance(d: float | None, unit: Unit) -> float:
    """Distance from a reference that counts as near: 4 points where none is given.

    Raises:
        ValueError: none is given for a loss, which has no distance by default.

    >>> near_distance(None, "percent"), near_distance(0.5, "raw")
    (4.0, 0.5)

    """
    if d is None and unit == "raw":
        raise ValueError(
            "within: a loss has no default distance; give one in its unit (--within D, d=)"
        )
    return NEAR_POINTS if d is None else d


def format_error(value: float, unit: Unit) -> str:
    """Write an error with its unit.

    >>> format_error(5.0, "percent"), format_error(0.03125, "raw")
    ('5.00%', '0.03125')
    """
    return f"{format_number(value, unit)}%" if unit == "percent" else format_number(value, unit)


def format_number(value: float, unit: Unit, sign: str = "") -> str:
    """Write an error without its unit; `sign="+"` for a difference.

    >>> format_number(1.0, "percent", "+"), format_number(-1234.5678, "raw")
    ('+1.00', '-1235')
    """
    return f"{value:{sign}.2f}" if unit == "percent" else f"{value:{sign}.4g}"


def format_distance(value: str, unit: Unit) -> str:
    """Name a distance between two errors.

    >>> format_distance("4", "percent"), format_distance("0.5", "raw")
    ('4 points', '0.5')
    """
    return f"{value} points" if unit == "percent" else value
