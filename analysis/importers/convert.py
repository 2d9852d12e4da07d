"""From what a reader found and a person says to a results table; every fault at once.

No run leaves the denominator: each row of the source becomes a row of the table.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from analysis.errors import TableError
from analysis.importers.cells import column_of
from analysis.importers.chance import WITHOUT_N, counts_of, error_spikes, is_known, mark_collapsed
from analysis.importers.columns import Columns, name_columns
from analysis.importers.outcomes import (
    PERCENT_COLUMNS,
    detect_unit,
    number_faults,
    outcomes_of_states,
    settle_outcomes,
    to_percent,
)
from analysis.importers.source import ExternalSweep, ImportOptions, join_names
from analysis.table.groups import GROUPS

FIRST_COLUMNS = ("trial", "study", "draw", "model", "optim", "epochs", "seed", "data")
LAST_COLUMNS = ("outcome", "error", "wrong", "n_eval", "chance")


@dataclass(frozen=True)
class ImportedTable:
    """A results table, and what was done to get it."""

    table: pd.DataFrame
    taken: Mapping[str, str]
    """Our names of columns, and theirs."""
    guessed: frozenset[str]
    """Of these, the ones that were taken by their name alone."""
    notes: tuple[str, ...]
    """Everything that was assumed, for the person to read."""


def convert_sweep(sweep: ExternalSweep, options: ImportOptions) -> ImportedTable:
    """Make a results table of a source.

    Args:
        sweep: of `read`.
        options: what the person says.

    Returns:
        The columns of a results table, then those of the source that have no place there.
        The error is in percent; null for runs that diverged or are of unknown error.

    Raises:
        TableError: every fault.

    """
    columns = name_columns(sweep, options)
    faults = columns.faults or number_faults(columns.frame, columns.taken)
    if faults:
        raise TableError([f"{sweep.name}: {fault}" for fault in faults])
    table, notes = _constants(columns.frame, sweep, options), [*sweep.notes, *columns.notes]
    if sweep.sampler_note and "sampler" not in {*options.constants, *columns.frame}:
        notes.append(sweep.sampler_note)
    faults = [
        *_percent(table, sweep, options, columns, notes),
        *_outcomes(table, sweep, options, notes),
    ]
    faults += _chance(table, options, notes) if not faults else []
    if faults:
        raise TableError([f"{sweep.name}: {fault}" for fault in faults])
    table = _with_group(table, notes)
    _call_collapsed(table, notes)
    return ImportedTable(_ordered(table), columns.taken, columns.guessed, tuple(notes))


def _constants(frame: pd.DataFrame, sweep: ExternalSweep, options: ImportOptions) -> pd.DataFrame:
    constants = {**sweep.constants, **options.constants}
    if "model" not in frame and "model" not in constants and "study" in frame:
        frame = frame.assign(model=frame["study"])
    elif "model" not in frame:
        constants = {"model": sweep.name, **constants}
    new = {
        name: value
        for name, value in constants.items()
        if name not in frame or name in options.constants
    }
    return frame.assign(**{n: pd.Series([v] * len(frame), dtype=object) for n, v in new.items()})


def _percent(
    table: pd.DataFrame,
    sweep: ExternalSweep,
    options: ImportOptions,
    columns: Columns,
    notes: list[str],
) -> list[str]:
    """Errors and their kin in percent, in place; returns faults."""
    accuracy = options.accuracy is not None
    theirs = columns.taken.get("error", "error")
    unit, why, fault = detect_unit(table["error"], options.unit or sweep.unit, theirs)
    if fault:
        return [fault]
    for name in (name for name in PERCENT_COLUMNS if name in table):
        table[name] = to_percent(table[name], unit, accuracy=accuracy and name == "error")
    if why and sweep.unit is None:
        source = f"100 - accuracy, which is {theirs}" if accuracy else theirs
        notes.append(f"error: {source}, taken as {unit} ({why})")
    return []


def _outcomes(
    table: pd.DataFrame, sweep: ExternalSweep, options: ImportOptions, notes: list[str]
) -> list[str]:
    """Outcomes in place, errors only where they count; returns faults."""
    faults: list[str] = []
    if "outcome" in table:
        before, faults = outcomes_of_states(table["outcome"], sweep, options)
        if not faults:
            notes += _said_of_states(table["outcome"], before, sweep, options)
    elif options.outcomes:
        faults.append("--map-outcome: which column has the outcomes? --map outcome=COLUMN")
    else:
        before = ["ok"] * len(table)
    if faults:
        return faults
    after, why = settle_outcomes(before, table["error"], options.empty)
    if why["not finite"]:
        notes.append(f"diverged: {why['not finite']} that ended with an error that is not finite")
    if why["empty"]:
        notes.append(f"{options.empty}: {why['empty']} that ended with no error (--empty)")
    table["outcome"] = after
    counts = table["outcome"].isin(["ok", "collapsed"])
    errors = [e if c and is_known(e) else None for e, c in zip(table["error"], counts, strict=True)]
    table["error"] = pd.Series(errors, dtype=object)
    return []


def _said_of_states(
    cells: "pd.Series[Any]", outcomes: list[str], sweep: ExternalSweep, options: ImportOptions
) -> list[str]:
    """What became of each value of the outcome's column, and what is doubtful about it."""
    pairs = Counter(zip(map(str, cells), outcomes, strict=True))
    said = [f"{state} = {outcome} ({n})" for (state, outcome), n in pairs.items()]
    mapped = {state.lower() for state in options.outcomes}
    there = {state for state, _ in pairs}
    doubts = [
        note
        for state, note in sweep.state_notes.items()
        if state in there and state.lower() not in mapped
    ]
    return [f"outcomes: {join_names(said)}", *doubts]


def _chance(table: pd.DataFrame, options: ImportOptions, notes: list[str]) -> list[str]:
    """Chance and n_eval as columns; returns faults."""
    n_eval = options.n_eval or (options.chance.n_eval if options.chance else None)
    for name, value, option in (
        ("chance", options.chance and options.chance.error, "--chance"),
        ("n_eval", n_eval, "--n-eval"),
    ):
        if value is not None and name in table:
            return [f"{option}: the table has a column {name!r} already"]
        if value is not None:
            table[name] = pd.Series([value] * len(table), dtype=object)
    if any(is_known(cell) and cell <= 1.0 for cell in table.get("chance", ())):
        return ["chance: the column has values of at most 1 beside errors in percent"]
    if options.chance is not None:
        notes.append(f"chance: {options.chance.said}")
    elif "chance" not in table:
        notes.append("chance is not known: no run is called collapsed, diverged ones count at +inf")
    return []


def _with_group(table: pd.DataFrame, notes: list[str]) -> pd.DataFrame:
    """Leave out unfinished runs of no group: a trial that waits has no model yet to be counted in.

    The only rows that are not kept; they are named.
    """
    groups = [name for name in GROUPS if name in table and table[name].notna().any()]
    nowhere = table["outcome"].eq("missing") & table[groups].isna().any(axis=1)
    if nowhere.any():
        notes.append(
            f"left out: {int(nowhere.sum())} unfinished that have no {join_names(groups)} yet"
        )
    return table[~nowhere].reset_index(drop=True)


def _call_collapsed(table: pd.DataFrame, notes: list[str]) -> None:
    if "n_eval" in table and "wrong" not in table:
        counts = counts_of(table)
        if counts is None:
            notes.append("errors are no whole numbers of --n-eval examples: no counts are stored")
        else:
            table["wrong"] = pd.Series(counts, dtype=object)
    if "chance" in table:
        found = mark_collapsed(table)
        rule = "chance less 3 sd of a guess" if "n_eval" in table else f"chance ({WITHOUT_N})"
        notes.append(f"collapsed: {found} with an error of at least {rule}")
    left = error_spikes(
        [e for e, o in zip(table["error"], table["outcome"], strict=True) if o == "ok"]
    )
    if left:
        at = ", ".join(f"{count} at {error:g}%" for error, count in left.items())
        notes.append(
            f"runs heap at one error, as constant predictions do, and count as ok: {at}. If they "
            "are: --class-counts, or --chance (the lowest of these, if it is that of the largest "
            "class) and --n-eval"
        )


def _ordered(table: pd.DataFrame) -> pd.DataFrame:
    """Identity first, then their own columns, then results; each column with a dtype."""
    middle = [n for n in table if n not in FIRST_COLUMNS and n not in LAST_COLUMNS]
    names = [
        *(n for n in FIRST_COLUMNS if n in table),
        *middle,
        *(n for n in LAST_COLUMNS if n in table),
    ]
    return pd.DataFrame({name: column_of(table[name]) for name in names})
