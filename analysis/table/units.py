"""The unit of errors: percent, or the raw values of a loss; how numbers in it are written."""

from collections.abc import Sequence
from typing import Literal

import pandas as pd

Unit = Literal["percent", "raw"]
"""`percent`: errors from 0 to 100. `raw`: any finite loss, lower is better, without chance."""
UNITS = ("percent", "raw")
COLUMN = "error_unit"
"""Of a results table; absent or empty where errors are percent."""
NEAR = 4.0  # points; the paper's distance, section 5.3 of Xiao et al., arXiv 2106.14881
AREA = 2.5  # the area under a delta-EDF runs to so many times the distance: 10 points for 4
CURVES = 5.0  # curves are compared up to so many times the distance: 20 points for 4


def unit_of(table: pd.DataFrame) -> Unit:
    """Unit of the errors of a checked table.

    >>> unit_of(pd.DataFrame({"error": [5.0]}))
    'percent'
    """
    return "raw" if COLUMN in table and table[COLUMN].eq("raw").any() else "percent"


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


def near(d: float | None, unit: Unit) -> float:
    """Distance from a reference that counts as near: 4 points where none is given.

    Raises:
        ValueError: none is given for a loss, which has no distance by default.

    >>> near(None, "percent"), near(0.5, "raw")
    (4.0, 0.5)

    """
    if d is None and unit == "raw":
        raise ValueError(
            "within: a loss has no default distance; give one in its unit (--within D, d=)"
        )
    return NEAR if d is None else d


def amount(value: float, unit: Unit) -> str:
    """Write an error with its unit.

    >>> amount(5.0, "percent"), amount(0.03125, "raw")
    ('5.00%', '0.03125')
    """
    return f"{number(value, unit)}%" if unit == "percent" else number(value, unit)


def number(value: float, unit: Unit, sign: str = "") -> str:
    """Write an error without its unit; `sign="+"` for a difference.

    >>> number(1.0, "percent", "+"), number(-1234.5678, "raw")
    ('+1.00', '-1235')
    """
    return f"{value:{sign}.2f}" if unit == "percent" else f"{value:{sign}.4g}"


def distance(value: str, unit: Unit) -> str:
    """Name a distance between two errors.

    >>> distance("4", "percent"), distance("0.5", "raw")
    ('4 points', '0.5')
    """
    return f"{value} points" if unit == "percent" else value
