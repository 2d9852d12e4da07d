"""How each run ended, and its error in percent."""

import difflib
import math
from collections import Counter
from collections.abc import Mapping
from typing import Any, Literal

import pandas as pd

from analysis.importers.source import ExternalSweep, ImportOptions, join_names
from analysis.table.outcomes import OUTCOMES, UNKNOWN

PERCENT_COLUMNS = (
    "error", "chance", "val_error", "best_val_error", "last_finite_error", "raw_error", "ema_error",
)  # fmt: skip
"""Columns in the unit of the error."""
SourceUnit = Literal["percent", "fraction"]
PERCENT_DIGITS = 10  # of a percentage: what a subtraction from 1 makes of 0.9 is rounded away


def outcomes_of_states(
    cells: "pd.Series[Any]", sweep: ExternalSweep, options: ImportOptions
) -> tuple[list[str], list[str]]:
    """What the values of the outcome's column mean: (outcome of each run, faults).

    As the person says, else as the format does, else our own names; in any letter case.
    """
    meaning: dict[str, str] = {name: name for name in OUTCOMES}
    meaning |= {state.lower(): outcome for state, outcome in sweep.outcomes.items()}
    asked = {state.lower(): outcome for state, outcome in options.outcomes.items()}
    there = Counter("" if cell is None else str(cell) for cell in cells)
    refused = {state.lower(): reason for state, reason in sweep.refused.items()}
    faults = [
        f"--map-outcome {state}=...: there is no such value, there are: {join_names(there)}"
        for state in options.outcomes
        if state.lower() not in {value.lower() for value in there} | set(refused) | set(meaning)
    ]
    for value, count in there.items():
        key = value.lower()
        if key in refused and asked.get(key) not in UNKNOWN:
            faults.append(f"{count} runs are {value}: {refused[key]}")
        elif key not in {**meaning, **asked}:
            near = difflib.get_close_matches(value, OUTCOMES, n=1, cutoff=0.5)
            guess = near[0] if near else "diverged"
            faults.append(
                f"{count} runs have the outcome {value!r}: say what it means, as in "
                f"--map-outcome {value}={guess}; allowed are {', '.join(OUTCOMES)}"
            )
    known = {**meaning, **asked}
    return ["" if c is None else known.get(str(c).lower(), "") for c in cells], faults


def settle_outcomes(
    outcomes: list[str], errors: "pd.Series[Any]", empty: str
) -> tuple[list[str], Counter[str]]:
    """The outcomes of runs that ended, by their errors: NaN and infinities are divergence.

    Returns:
        (outcome of each run; how many of those that ended well had an `empty` cell, and how many
        one that is `not finite`).

    """
    settled, why = [], Counter[str]()
    for outcome, error in zip(outcomes, errors, strict=True):
        if outcome != "ok" or (error is not None and math.isfinite(error)):
            settled.append(outcome)
        elif error is None:
            why["empty"] += 1
            settled.append(empty)
        else:
            why["not finite"] += 1
            settled.append("diverged")
    return settled, why


def number_faults(table: pd.DataFrame, taken: Mapping[str, str]) -> list[str]:
    """Faults of the columns that must hold numbers."""
    faults = []
    for name in (*PERCENT_COLUMNS, "n_eval", "wrong"):
        if name not in table:
            continue
        bad = [
            (row, cell)
            for row, cell in enumerate(table[name], start=1)
            if cell is not None and (isinstance(cell, (bool, str)) or cell < 0)
        ]
        if bad:
            row, cell = bad[0]
            more = f" (and {len(bad) - 1} more)" if len(bad) > 1 else ""
            theirs = taken.get(name, name)
            faults.append(
                f"{theirs}: row {row} is {cell!r}{more}, allowed is a number of 0 or more, nan, "
                "inf, or an empty cell"
            )
    return faults


def detect_unit(
    errors: "pd.Series[Any]", given: SourceUnit | None, what: str
) -> tuple[SourceUnit, str, str]:
    """The unit of errors or accuracies: (unit, how it is known, fault).

    A value above 1 cannot be a fraction; where none is, percent below 1 are as possible.
    """
    finite = [value for value in errors if value is not None and math.isfinite(value)]
    top = max(finite, default=0.0)
    limit = 1.0 if given == "fraction" else 100.0
    if top > limit:
        kind = given or "percent"
        return "percent", "", f"{what}: got {top:g}, allowed as {kind} is 0 to {limit:g}"
    if given is not None:
        return given, "as given", ""
    if top > 1.0:
        return "percent", "values above 1 can be nothing else", ""
    fault = f"{what}: no value is above 1: --unit fraction, or --unit percent"
    return "percent", "", fault if finite else ""


def to_percent(
    cells: "pd.Series[Any]", unit: SourceUnit, *, accuracy: bool = False
) -> "pd.Series[Any]":
    """Cells in percent of errors; what is empty stays so.

    >>> cells = pd.Series([0.9, None, 1.0], dtype=object)
    >>> to_percent(cells, "fraction", accuracy=True).tolist()
    [10.0, None, 0.0]
    """
    factor = 100.0 if unit == "fraction" else 1.0
    values = [None if cell is None else round(factor * cell, PERCENT_DIGITS) for cell in cells]
    if accuracy:
        values = [
            None if value is None else round(100.0 - value, PERCENT_DIGITS) for value in values
        ]
    return pd.Series(values, dtype=object)
