"""What makes a table unfit for analysis: each check returns the faults that it finds."""

import math
from collections import Counter
from collections.abc import Callable, Hashable
from difflib import get_close_matches
from typing import Any

import numpy as np
import pandas as pd

from analysis.errors import invalid_choice
from analysis.table.groups import GROUPS
from analysis.table.outcomes import KNOWN, OK, OUTCOMES
from analysis.table.units import UNIT_COLUMN, UNITS, Unit, unit_of

REQUIRED = ("model", "outcome", "error")
ERROR_COLUMNS = ("error", "val_error", "best_val_error", "last_finite_error")
RANGES = {  # both ends included; infinite errors are those of diverged runs
    **dict.fromkeys(ERROR_COLUMNS, (0.0, 100.0)),
    "chance": (math.ulp(0.0), 100.0),
    "wrong": (0.0, math.inf),
    "n_eval": (1.0, math.inf),
}
ROUNDING = 0.1  # points; errors in foreign tables come rounded to a tenth


def table_faults(table: pd.DataFrame) -> list[str]:
    """List every fault of a table, each with the column, what was got and what is allowed.

    >>> table_faults(pd.DataFrame({"modle": ["a"], "outcome": ["fine"], "error": [1.0]}))
    ... # doctest: +NORMALIZE_WHITESPACE
    ["no column 'model' (got 'modle')", "outcome: 'fine' is not one of 'ok', 'collapsed',
     'diverged', 'crashed', 'out_of_memory', 'timed_out', 'missing'"]
    """
    if not len(table):
        return ["no rows"]
    faults = [_absent(name, table) for name in REQUIRED if name not in table]
    if units := _units(table):
        return faults + units
    there = set(table.columns)
    return faults + [f for check, columns in CHECKS if columns <= there for f in check(table)]


def _absent(name: str, table: pd.DataFrame) -> str:
    columns = [str(column) for column in table]
    near = get_close_matches(name, columns, n=1)
    got = repr(near[0]) if near else ", ".join(map(repr, columns)) or "no columns"
    return f"no column {name!r} (got {got})"


def _got(bad: "pd.Series[bool]", column: "pd.Series[Any]") -> str:
    """Show the first bad row, counted from 1, and how many there are."""
    first = int(bad.to_numpy().argmax())
    more = int(bad.sum()) - 1
    return f"{column.name}: row {first + 1} is {column.iloc[first]}" + (
        f" (and {more} more)" if more else ""
    )


def _numbers(table: pd.DataFrame) -> list[str]:
    faults = []
    for name in (column for column in RANGES if column in table):
        low, high = _range(name, unit_of(table))
        values = pd.to_numeric(table[name], errors="coerce")
        inside = "above 0, at most 100" if name == "chance" else f"{low:g} or more"
        inside = f"{low:g} to {high:g}" if name in ERROR_COLUMNS else inside
        text, outside = table[name].notna() & values.isna(), _outside(values, low, high)
        for bad, allowed in ((text, "a number"), (outside, inside)):
            if bad.any():
                faults.append(f"{_got(bad, table[name])}, allowed: {allowed}")
    return faults


def _range(name: str, unit: Unit) -> tuple[float, float]:
    is_loss = unit == "raw" and name in ERROR_COLUMNS
    return (-math.inf, math.inf) if is_loss else RANGES[name]


def _outside(values: "pd.Series[float]", low: float, high: float) -> "pd.Series[bool]":
    above = (values > high) & (values < math.inf) if high == 100.0 else values > high
    return (values < low) | above


def _units(table: pd.DataFrame) -> list[str]:
    """Only percent and raw, and one of the two: percent and losses are not comparable."""
    if UNIT_COLUMN not in table:
        return []
    units = table[UNIT_COLUMN].fillna("percent").unique().tolist()
    if len(units) > 1 and set(units) <= set(UNITS):
        return [f"{UNIT_COLUMN}: got {' and '.join(map(str, units))}, allowed: one unit in a table"]
    return [invalid_choice(UNIT_COLUMN, unit, UNITS) for unit in units if unit not in UNITS]


def impossible_rows(table: pd.DataFrame) -> dict[int, str]:
    """Find the trained rows whose values are impossible in their unit, each with the first.

    The same rule as that of `sweeps.study.units`, by which a sweep refuses an objective's answer.

    >>> impossible_rows(pd.DataFrame({"outcome": ["ok", "ok"], "error": [5.0, -1.0]}))
    {1: 'error is -1, allowed with unit percent: 0 to 100'}
    """
    unit, found = unit_of(table), dict[int, str]()
    trained = table["outcome"].isin(KNOWN).to_numpy()
    numbers = {
        name: pd.to_numeric(table[name], errors="coerce") for name in RANGES if name in table
    }
    for name, values in numbers.items():
        low, high = _range(name, unit)
        allowed = f"0 to {high:g}" if name in ERROR_COLUMNS else f"{low:g} to {high:g}"
        bad = _outside(values, low, high)
        if name in ("wrong", "n_eval"):
            bad |= values % 1 > 0
        for place in np.flatnonzero(trained & bad.to_numpy()):
            value = f"{name} is {values.iloc[place]:g}"
            found.setdefault(int(place), f"{value}, allowed with unit {unit}: {allowed}")
    if unit == "percent" and {"error", "wrong", "n_eval"} <= numbers.keys():
        wrong, n, error = (numbers[name] for name in ("wrong", "n_eval", "error"))
        apart = ((error - 100.0 * wrong / n).abs() > ROUNDING) | (wrong > n)
        for place in np.flatnonzero(trained & apart.to_numpy()):
            said = f"error is {error.iloc[place]:g}, {wrong.iloc[place]:g} wrong of"
            found.setdefault(int(place), f"{said} {n.iloc[place]:g} are another")
    return found


def _outcomes(table: pd.DataFrame) -> list[str]:
    return [
        invalid_choice("outcome", None if pd.isna(got) else got, OUTCOMES)
        for got in table["outcome"].unique()
        if got not in OUTCOMES
    ]


def _models(table: pd.DataFrame) -> list[str]:
    if table["model"].notna().all():
        return []
    return [f"{_got(table['model'].isna(), table['model'])}, allowed: a name in every row"]


def _ok_has_error(table: pd.DataFrame) -> list[str]:
    error = pd.to_numeric(table["error"], errors="coerce")
    bad = table["outcome"].eq(OK) & (table["error"].isna() | error.eq(math.inf))
    if not bad.any():
        return []
    return [f"{_got(bad, table['error'])}, allowed where the outcome is 'ok': a finite number"]


def _counts_agree(table: pd.DataFrame) -> list[str]:
    """Catch fractions given as percent, and counts of another part of the data."""
    error, wrong, n_eval = (
        pd.to_numeric(table[name], errors="coerce") for name in ("error", "wrong", "n_eval")
    )
    bad = (error - 100.0 * wrong / n_eval).abs() > ROUNDING
    if not bad.any():
        return []
    return [f"{_got(bad, table['error'])}, allowed where counts are given: 100 * wrong / n_eval"]


def _one_chance(table: pd.DataFrame) -> list[str]:
    by = [name for name in GROUPS if name in table]
    several = table.groupby(by, sort=False, dropna=False)["chance"].nunique()
    return [
        f"chance: {count} values in the group {key!r}, allowed: one"
        for key, count in several.items()
        if count > 1
    ]


def _trials_once(table: pd.DataFrame) -> list[str]:
    counts = Counter(trial_keys(table))
    return [f"trial: {key[-1]!r} appears more than once" for key, n in counts.items() if n > 1]


def trial_keys(table: pd.DataFrame) -> list[tuple[Hashable, ...]]:
    """What must not be there twice: the trial, and with its group where it is only a number.

    >>> trial_keys(pd.DataFrame({"model": ["a", "b"], "trial": ["0", "vit-3f2a"]}))
    [('a', '0'), ('vit-3f2a',)]
    """
    if "trial" not in table:
        return []
    columns = [c for c in GROUPS if c in table]
    rows = table.loc[table["trial"].notna(), [*columns, "trial"]].astype(object)
    rows = rows.where(rows.notna(), None)
    return [
        row if str(row[-1]).isdigit() else (row[-1],)
        for row in rows.itertuples(index=False, name=None)
    ]


CHECKS: tuple[tuple[Callable[[pd.DataFrame], list[str]], set[str]], ...] = (
    (_numbers, set()),
    (_outcomes, {"outcome"}),
    (_models, {"model"}),
    (_ok_has_error, {"outcome", "error"}),
    (_counts_agree, {"error", "wrong", "n_eval"}),
    (_one_chance, {"chance", "model"}),
    (_trials_once, {"trial"}),
)
"""What is checked of a table that has these columns."""
