"""What makes a table unfit for analysis: each check returns the faults that it finds."""

import math
from collections.abc import Callable
from difflib import get_close_matches
from typing import Any

import pandas as pd

from analysis.faults import not_one_of
from analysis.groups import GROUPS
from analysis.outcomes import OK, OUTCOMES

REQUIRED = ("model", "outcome", "error")
RANGES = {  # both ends included
    "error": (0.0, math.inf),
    "best_val_error": (0.0, math.inf),
    "last_finite_error": (0.0, math.inf),
    "chance": (math.ulp(0.0), 100.0),
    "wrong": (0.0, math.inf),
    "n_eval": (1.0, math.inf),
}
ROUNDING = 0.1  # points; errors in foreign tables come rounded to a tenth


def faults_of(table: pd.DataFrame) -> list[str]:
    """List every fault of a table, each with the column, what was got and what is allowed.

    >>> faults_of(pd.DataFrame({"modle": ["a"], "outcome": ["fine"], "error": [1.0]}))
    ... # doctest: +NORMALIZE_WHITESPACE
    ["no column 'model' (got 'modle')", "outcome: 'fine' is not one of 'ok', 'collapsed',
     'diverged', 'crashed', 'out_of_memory', 'timed_out', 'missing'"]
    """
    if not len(table):
        return ["no rows"]
    faults = [_absent(name, table) for name in REQUIRED if name not in table]
    checks: tuple[Callable[[pd.DataFrame], list[str]], ...] = (
        _numbers, _outcomes, _models, _ok_has_error, _counts_agree, _one_chance, _trials_once,
    )  # fmt: skip
    return faults + [fault for check in checks for fault in check(table)]


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
        low, high = RANGES[name]
        values = pd.to_numeric(table[name], errors="coerce")
        inside = "above 0, at most 100" if name == "chance" else f"{low:g} or more"
        text, outside = table[name].notna() & values.isna(), (values < low) | (values > high)
        for bad, allowed in ((text, "a number"), (outside, inside)):
            if bad.any():
                faults.append(f"{_got(bad, table[name])}, allowed: {allowed}")
    return faults


def _outcomes(table: pd.DataFrame) -> list[str]:
    if "outcome" not in table:
        return []
    return [
        not_one_of("outcome", None if pd.isna(got) else got, OUTCOMES)
        for got in table["outcome"].unique()
        if got not in OUTCOMES
    ]


def _models(table: pd.DataFrame) -> list[str]:
    if "model" not in table or table["model"].notna().all():
        return []
    return [f"{_got(table['model'].isna(), table['model'])}, allowed: a name in every row"]


def _ok_has_error(table: pd.DataFrame) -> list[str]:
    if not {"outcome", "error"} <= set(table.columns):
        return []
    error = pd.to_numeric(table["error"], errors="coerce")
    bad = table["outcome"].eq(OK) & (table["error"].isna() | error.eq(math.inf))
    if not bad.any():
        return []
    return [f"{_got(bad, table['error'])}, allowed where the outcome is 'ok': a finite number"]


def _counts_agree(table: pd.DataFrame) -> list[str]:
    """Catch fractions given as percent, and counts of another part of the data."""
    if not {"error", "wrong", "n_eval"} <= set(table.columns):
        return []
    error, wrong, n_eval = (
        pd.to_numeric(table[name], errors="coerce") for name in ("error", "wrong", "n_eval")
    )
    bad = (error - 100.0 * wrong / n_eval).abs() > ROUNDING
    if not bad.any():
        return []
    return [f"{_got(bad, table['error'])}, allowed where counts are given: 100 * wrong / n_eval"]


def _one_chance(table: pd.DataFrame) -> list[str]:
    if "chance" not in table or "model" not in table:
        return []
    by = [name for name in GROUPS if name in table]
    several = table.groupby(by, sort=False, dropna=False)["chance"].nunique()
    return [
        f"chance: {count} values in the group {key!r}, allowed: one"
        for key, count in several.items()
        if count > 1
    ]


def _trials_once(table: pd.DataFrame) -> list[str]:
    if "trial" not in table:
        return []
    twice = table["trial"][table["trial"].duplicated() & table["trial"].notna()].unique()
    return [f"trial: {name!r} appears more than once" for name in twice]
