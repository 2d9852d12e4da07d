"""Percent or fraction: the one rule for every column, file and group."""

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import pandas as pd

from analysis.importers.cells import is_finite
from analysis.importers.source import ImportOptions, SourceUnit, join_names
from analysis.table.groups import GROUPS

if TYPE_CHECKING:
    from analysis.importers.columns import Columns

PERCENT_COLUMNS = (
    "error", "chance", "val_error", "best_val_error", "last_finite_error", "raw_error", "ema_error",
)  # fmt: skip
"""Columns in the unit of the error."""
PERCENT_DIGITS = 10  # of a percentage: what a subtraction from 1 makes of 0.9 is rounded away
SLACK = 1e-3
"""Relative: what rounding and averaging may put above 1, or above 100."""
BELOW = -1e-6  # what rounding may put below 0
GAP = 5.0
"""Ratio of the smallest value above 1 to the largest other that makes a column doubtful."""


def detect_unit(
    values: Iterable[Any], given: SourceUnit | None, what: str
) -> tuple[SourceUnit, str, str]:
    """The unit of errors or accuracies: (unit, how it is known, fault).

    A value above 1 cannot be a fraction; where none is, percent below 1 are as possible.

    >>> detect_unit([0.08, 0.9], None, "error")[2]
    'error: no value is above 1: --unit fraction, or --unit percent'
    >>> detect_unit([92.0, 0.5], None, "acc")[:2]
    ('percent', 'values above 1 can be nothing else')
    """
    finite = [value for value in values if is_finite(value)]
    top = max(finite, default=0.0)
    if given == "raw":
        return "raw", "as given", ""
    bad = next((value for value in finite if is_beyond(value, given)), None)
    if bad is not None:
        limit = 1.0 if given == "fraction" else 100.0
        minus = "; minus an accuracy: --negate" if bad < 0 else ""
        loss = "; a loss: --unit raw" if given is None else ""
        allowed = f"allowed as {given or 'percent'} is 0 to {limit:g}"
        return "percent", "", f"{what}: got {bad:g}, {allowed}{minus}{loss}"
    if given is not None:
        return given, "as given", ""
    if top > 1 + SLACK:
        return "percent", "values above 1 can be nothing else", ""
    fault = f"{what}: no value is above 1: --unit fraction, or --unit percent"
    return "percent", "", fault if finite else ""


def mixed_faults(values: "pd.Series[Any]", groups: pd.DataFrame, what: str) -> list[str]:
    """Values that look like fractions in a column of percentages, of groups or of single runs.

    Single values look so where most are at most 1, or the others are at least 5 times as large.
    """
    numbers = values[values.map(is_finite)].astype("float64")
    ending = "If all are percent: --unit percent. If some are fractions, convert those first"
    small, large = numbers[(numbers > 0) & (numbers <= 1 + SLACK)], numbers[numbers > 1 + SLACK]
    if small.empty or large.empty:
        return []
    by = [groups[name][numbers.index] for name in groups]
    tops = numbers.groupby(by, sort=False, dropna=False).max() if by else numbers[:0]
    alone = tops[(tops > 0) & (tops <= 1 + SLACK)]
    if len(alone):
        named = join_names(map(_group_name, alone.index))
        return [
            f"{what}: no value of {named} is above 1, the others reach {large.max():g}. {ending}"
        ]
    if len(small) <= len(large) and large.min() < GAP * small.max():
        return []
    counted = f"{len(small)} of {len(numbers)} values are at most 1"
    return [f"{what}: {counted}, the others reach {large.max():g}. {ending}"]


def is_beyond(cell: Any, given: SourceUnit | None) -> bool:
    """Whether a cell is a number that an error or an accuracy in this unit cannot be.

    >>> is_beyond(1.0000001, "fraction"), is_beyond(12.0, "fraction"), is_beyond(12.0, None)
    (False, True, False)
    """
    limit = 1.0 if given == "fraction" else 100.0
    return is_finite(cell) and given != "raw" and not BELOW <= cell <= limit * (1 + SLACK)


def convert_units(
    table: pd.DataFrame, unit: SourceUnit, options: ImportOptions, columns: "Columns"
) -> tuple[list[str], list[str]]:
    """Bring the columns beside the error to percent, in place, each by its own values.

    Args:
        table: with the columns `PERCENT_COLUMNS` as the source has them; the error is left alone.
        unit: of the error.
        options: what the person says.
        columns: their names in the source, and which have percent signs.

    Returns:
        (notes, faults).

    """
    notes, faults = [], []
    for name in (name for name in PERCENT_COLUMNS[1:] if name in table):
        theirs = columns.taken.get(name, name)
        given = options.units.get(name) or options.units.get(theirs)
        given = given or ("percent" if name in columns.percent else None)
        own, _, fault = detect_unit(table[name], given, theirs)
        if fault and given is None and fault.endswith("--unit percent"):
            if unit == "fraction" or options.unit is not None:
                own, fault = options.unit or unit, ""
            else:
                either = " or ".join(f"--unit {theirs}={unit}" for unit in ("fraction", "percent"))
                fault = f"{theirs}: no value is above 1, beside errors in percent: {either}"
        if given is None and own == "percent" and not fault:
            groups = table[[c for c in GROUPS if c in table]]
            fault = next(iter(mixed_faults(table[name], groups, theirs)), "")
        if fault:
            faults.append(fault)
            continue
        if own != unit:
            notes.append(f"{theirs}: taken as {own}")
        table[name] = to_percent(table[name], own)
    return notes, faults


def to_percent(
    cells: "pd.Series[Any]", unit: SourceUnit, *, accuracy: bool = False
) -> "pd.Series[Any]":
    """Cells in percent of errors; what is empty stays so, what rounding put above 100 is 100.

    >>> cells = pd.Series([0.9, None, 1.0000001], dtype=object)
    >>> to_percent(cells, "fraction", accuracy=True).tolist()
    [10.0, None, 0.0]
    """
    factor = 100.0 if unit == "fraction" else 1.0

    def convert(cell: Any) -> Any:
        if cell is None or not math.isfinite(cell):
            return cell
        value = min(max(factor * cell, 0.0), 100.0)
        return round(100.0 - value if accuracy else value, PERCENT_DIGITS)

    return pd.Series([convert(cell) for cell in cells], index=cells.index, dtype=object)


def _group_name(key: Any) -> str:
    """The name of a group, for a message."""
    return " ".join(map(str, key)) if isinstance(key, tuple) else str(key)
