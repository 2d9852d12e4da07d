"""Which number stands for a run without a usable error: the choice that moves a curve the most."""

import math
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd

from analysis.arrays import FloatArray
from analysis.errors import TableError, invalid_choice
from analysis.table.outcomes import DIVERGED, KNOWN, OK
from analysis.table.units import Unit

Policy = Literal["chance", "last", "best", "drop", "beyond"]
"""Where a diverged run counts.

`chance`: at the error of chance c. `last`: at its last finite validation error, c where there is
none. `best`: every run, not only a diverged one, at its best validation error of all epochs (the
test images are seen once, after the last epoch); this hides late divergence. `drop`: nowhere; the
run leaves the denominator. Under each of them errors are capped at c, so that all useless runs
tie there, and a collapsed run counts at c (under `best` like every other run).

A loss has no chance: `beyond` takes the place of `chance` there, and only there. Diverged and
collapsed runs lie beyond every loss, at +inf.
"""
OF_PERCENT: tuple[Policy, ...] = ("chance", "last", "best", "drop")
OF_LOSS: tuple[Policy, ...] = ("beyond", "last", "best", "drop")

MEANINGS: dict[Policy, str] = {
    "chance": "diverged and collapsed runs count at chance",
    "last": "diverged runs count at their last finite validation error, collapsed ones at chance",
    "best": "every run counts at its best validation error of all epochs",
    "drop": "diverged runs are left out, collapsed ones count at chance",
    "beyond": "diverged and collapsed runs lie beyond every loss",
}
MEANINGS_OF_LOSS: dict[Policy, str] = {
    "last": "diverged runs count at their last finite validation loss",
    "best": "every run counts at its best validation loss of all epochs",
    "drop": "diverged runs are left out",
    "beyond": MEANINGS["beyond"],
}


def policies_of(unit: Unit) -> tuple[Policy, ...]:
    """Policies that are possible for errors in a unit."""
    return OF_LOSS if unit == "raw" else OF_PERCENT


def policy_for(policy: Policy, unit: Unit) -> Policy:
    """The policy to use: `beyond` in the place of `chance` for a loss.

    Raises:
        ValueError: unknown policy, or `beyond` for percent.

    >>> policy_for("chance", "raw")
    'beyond'

    """
    used = "beyond" if (policy, unit) == ("chance", "raw") else policy
    if used not in policies_of(unit):
        raise ValueError(invalid_choice("policy", policy, policies_of(unit)))
    return used


def policy_meaning(policy: Policy, unit: Unit) -> str:
    """Say where diverged runs count."""
    return (MEANINGS_OF_LOSS if unit == "raw" else MEANINGS)[policy]


def errors_under(group: pd.DataFrame, policy: Policy = "chance") -> FloatArray:
    """Errors of the trials of one group whose result is known, under a policy.

    With c the error of chance, an `ok` run has min(error, c), where error = 100 wrong / n_eval if
    both counts are there (exact, so that ties stay ties); for the others see `Policy`.

    Args:
        group: rows of one group of a validated table.
        policy: `chance`, `last`, `best` or `drop`.

    Returns:
        Percent, in [0, c], or +inf for those at chance where c is unknown; one per row with the
        outcome ok, collapsed or diverged (under `drop` without the diverged), in their order.

    Raises:
        ValueError: unknown policy.
        TableError: `best` without best_val_error for every run that was trained to the end.

    >>> group = pd.DataFrame({"outcome": ["ok", "diverged", "crashed"],
    ...                       "error": [12.0, None, None], "chance": 90.0})
    >>> errors_under(group).tolist(), errors_under(group, "drop").tolist()
    ([12.0, 90.0], [12.0])

    """
    if policy not in get_args(Policy):
        raise ValueError(invalid_choice("policy", policy, OF_PERCENT))
    known = group[group["outcome"].isin(KNOWN)]
    if policy == "drop":
        known = known[known["outcome"] != DIVERGED]
    c = chance_error(group)
    values = _best(known) if policy == "best" else _last(known, use_last=policy == "last")
    values[np.isnan(values)] = math.inf
    return np.minimum(values, math.inf if c is None else c)


def error_name(policy: Policy, unit: Unit = "percent") -> str:
    """Name the error that a policy takes, with its unit, for an axis.

    >>> error_name("best")
    'best validation error of all epochs (%)'
    """
    if unit == "raw":
        return "best validation loss of all epochs" if policy == "best" else "loss"
    return "best validation error of all epochs (%)" if policy == "best" else "test error (%)"


def chance_error(group: pd.DataFrame) -> float | None:
    """Error of always answering the largest class, in percent; None where it is unknown.

    >>> chance_error(pd.DataFrame({"chance": [None, 90.0]}))
    90.0
    """
    values = group["chance"].dropna() if "chance" in group else pd.Series(dtype="float64")
    return float(values.iloc[0]) if len(values) else None


def _last(known: pd.DataFrame, *, use_last: bool) -> FloatArray:
    """Error after the last epoch; NaN where the run has none that counts."""
    counted = 100.0 * _column(known, "wrong") / _column(known, "n_eval")
    exact = np.where(np.isnan(counted), _column(known, "error"), counted)
    values = np.where(known["outcome"].eq(OK), exact, np.nan)
    if use_last:
        last = _column(known, "last_finite_error")
        values = np.where(known["outcome"].eq(DIVERGED), last, values)
    return values


def _best(known: pd.DataFrame) -> FloatArray:
    values = _column(known, "best_val_error")
    absent = int((np.isnan(values) & known["outcome"].eq(OK).to_numpy()).sum())
    if absent:
        raise TableError([f"policy 'best': {absent} finished runs have no best_val_error"])
    return values


def _column(table: pd.DataFrame, name: str) -> FloatArray:
    """Values of a column as a fresh float array; all NaN where there is no such column."""
    values: Any = table.get(name, np.nan)
    return np.array(np.broadcast_to(np.asarray(values, dtype=np.float64), len(table)))
