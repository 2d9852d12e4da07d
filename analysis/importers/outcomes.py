"""How each run ended: its state, its length and its error together."""

import math
from collections import Counter
from typing import Any

import pandas as pd

from analysis.importers.cells import is_finite, text_cell
from analysis.importers.columns import accuracy_columns
from analysis.importers.rows import mark_shorter
from analysis.importers.source import ExternalSweep, ImportOptions, join_names
from analysis.importers.states import NO_STATE, SHORTER, outcomes_of_states


def name_outcomes(
    table: pd.DataFrame, sweep: ExternalSweep, options: ImportOptions, notes: list[str]
) -> list[str]:
    """Outcomes in place, errors only where they count; returns faults."""
    before, faults = ["ok"] * len(table), list[str]()
    if "outcome" in table:
        before, faults = outcomes_of_states(table["outcome"], sweep, options)
        if not faults:
            notes += _said_of_states(table["outcome"], before, sweep, options)
    elif {state.lower() for state in options.outcomes} - {SHORTER}:
        faults.append("--map-outcome: which column has the outcomes? --map outcome=COLUMN")
    if options.empty is None and not faults and (fault := _no_errors(table, before)):
        faults.append(fault)
    empty = options.empty or "diverged"
    settled, why = settle_outcomes(before, table["error"], empty)
    after, shorter = mark_shorter(table, settled, options)
    if faults or shorter:
        return faults + shorter
    if why["not finite"]:
        notes.append(f"diverged: {why['not finite']} that ended with an error that is not finite")
    if why["empty"]:
        notes.append(
            f"{empty}: {why['empty']} that ended with no error (--empty crashed where they failed)"
        )
    table["outcome"] = after
    counts = table["outcome"].isin(["ok", "collapsed"])
    errors = [
        e if c and is_finite(e) else None for e, c in zip(table["error"], counts, strict=True)
    ]
    table["error"] = pd.Series(errors, table.index, dtype=object)
    return []


def _no_errors(table: pd.DataFrame, outcomes: list[str]) -> str:
    """A fault where every run that ended well has an empty error: another column has them."""
    ended = [e for e, o in zip(table["error"], outcomes, strict=True) if o == "ok"]
    if not ended or any(error is not None for error in ended):
        return ""
    accuracies = accuracy_columns(map(str, table))
    other = f"--accuracy {accuracies[0]}" if accuracies else "--map error=COLUMN"
    return (
        f"error: every cell of the {len(ended)} runs that ended well is empty; if another column "
        f"has the results: {other}; if all of them diverged: --empty diverged"
    )


def _said_of_states(
    cells: "pd.Series[Any]", outcomes: list[str], sweep: ExternalSweep, options: ImportOptions
) -> list[str]:
    """What became of each value of the outcome's column, and what is doubtful about it."""
    texts = [text_cell(cell) or NO_STATE for cell in cells]
    pairs = Counter(zip(texts, outcomes, strict=True))
    said = [f"{state} = {outcome} ({n})" for (state, outcome), n in pairs.items()]
    mapped = {state.lower() for state in options.outcomes}
    there = {state for state, _ in pairs}
    doubts = [
        note
        for state, note in sweep.state_notes.items()
        if state in there and state.lower() not in mapped
    ]
    is_ours = all(state == outcome for state, outcome in pairs)
    return doubts if is_ours else [f"outcomes: {join_names(said)}", *doubts]


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
