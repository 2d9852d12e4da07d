"""From what a reader found and a person says to a results table; every fault at once.

No run leaves the denominator: each row of the source becomes a row of the table.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from analysis.errors import TableError
from analysis.importers.cells import column_of, is_finite, text_cell
from analysis.importers.chance import WITHOUT_N, counts_of, error_spikes, mark_collapsed
from analysis.importers.columns import NUMBER_COLUMNS, TEXT_COLUMNS, Columns, name_columns
from analysis.importers.command import import_command
from analysis.importers.outcomes import name_outcomes
from analysis.importers.rows import (
    copy_faults,
    in_drawn_order,
    keep_last_rows,
    order_faults,
    repeated_configurations,
    row_faults,
)
from analysis.importers.source import (
    ExternalSweep,
    ImportOptions,
    SourceUnit,
    count_runs,
    join_names,
)
from analysis.importers.states import NO_STATE
from analysis.importers.units import convert_units, detect_unit, is_beyond, mixed_faults, to_percent
from analysis.table.checks import ROUNDING
from analysis.table.groups import GROUPS, grouping_faults
from analysis.table.units import UNIT_COLUMN

FIRST_COLUMNS = ("trial", "study", "draw", "model", "optim", "epochs", "seed", "data")
MOST_SEEDS = 10
"""Values of a column of seeds that number repetitions of a sweep, not its runs."""
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

    @property
    def said(self) -> tuple[str, ...]:
        """Which column went where, and what was assumed."""
        moved = [
            f"{ours}={theirs}" + (" (by its name)" if ours in self.guessed else "")
            for ours, theirs in self.taken.items()
            if ours != theirs
        ]
        return (*([f"columns: {', '.join(moved)}"] if moved else []), *self.notes)


def convert_sweep(sweep: ExternalSweep, options: ImportOptions | None = None) -> ImportedTable:
    """Make a results table of a source.

    Args:
        sweep: of `read_sweep`.
        options: what the person says; None for nothing.

    Returns:
        The columns of a results table, then those of the source that have no place there.
        The error is in percent; null for runs that diverged or are of unknown error.

    Raises:
        TableError: every fault, with the command that would settle it as its hint.

    """
    options = ImportOptions() if options is None else options
    try:
        return _convert(sweep, options)
    except TableError as error:
        faults = [f if f.startswith(sweep.title) else f"{sweep.title}: {f}" for f in error.faults]
        raise TableError(faults, hint=import_command(sweep, options, faults)) from error


def _convert(sweep: ExternalSweep, options: ImportOptions) -> ImportedTable:
    """Raises TableError with the faults of each step, before the next one begins."""
    _raise(row_faults(sweep, options))
    if options.last_of is not None:
        sweep = replace(sweep, frame=keep_last_rows(sweep.frame, options.last_of))
    columns = name_columns(sweep, options)
    _raise(columns.faults or _number_faults(sweep, columns))
    _raise(copy_faults(sweep, columns.frame))
    frame, is_numbered = in_drawn_order(columns.frame)
    notes = [*sweep.notes, *columns.notes]
    table = _constants(frame, sweep, options, notes)
    if sweep.sampler_note and "sampler" not in {*options.constants, *columns.frame}:
        notes.append(sweep.sampler_note)
    states = [text_cell(cell) or NO_STATE for cell in table.get("outcome", ())]
    _raise(
        [
            *_percent(table, sweep, options, columns, notes),
            *name_outcomes(table, sweep, options, notes),
        ]
    )
    _raise(order_faults(table, states, is_ordered=sweep.is_ordered or is_numbered))
    _raise(_chance(table, options, notes))
    table = _with_group(table, sweep, notes)
    _call_collapsed(table, notes)
    table = _ordered(table)
    _raise(grouping_faults(table))
    notes += [*repeated_configurations(table), *_doubts(table)]
    return ImportedTable(table, columns.taken, columns.guessed, tuple(notes))


def _raise(faults: list[str]) -> None:
    if faults:
        raise TableError(faults)


def _number_faults(sweep: ExternalSweep, columns: Columns) -> list[str]:
    """Faults of the columns that must hold numbers, each with its first bad cell."""
    faults = []
    for name in (name for name in NUMBER_COLUMNS if name in columns.frame):
        cells = columns.frame[name]
        bad = [
            i for i, cell in zip(cells.index, cells, strict=True) if isinstance(cell, (bool, str))
        ]
        if bad:
            more = f" (and {len(bad) - 1} more)" if len(bad) > 1 else ""
            is_word = name == "error" and not any(c.isdigit() for c in str(cells[bad[0]]))
            state = ". If it says how a run ended: --map outcome=COLUMN" if is_word else ""
            faults.append(
                f"{sweep.place(bad[0])}: {columns.taken.get(name, name)} is {cells[bad[0]]!r}"
                f"{more}, expected a number, nan, inf or an empty cell{state}"
            )
    return faults


def _constants(
    frame: pd.DataFrame, sweep: ExternalSweep, options: ImportOptions, notes: list[str]
) -> pd.DataFrame:
    """The frame with the columns that have one value, the model at least."""
    constants = {**sweep.constants, **options.constants}
    if "model" not in frame and "model" not in constants and "study" in frame:
        frame = frame.assign(model=frame["study"])
    elif "model" not in frame and "model" not in constants:
        constants = {"model": sweep.name, **constants}
        notes.append(
            f"no column 'model': all rows are one group, {sweep.name!r} (--map model=COLUMN)"
        )
    new = {
        name: str(value) if name in TEXT_COLUMNS else value
        for name, value in constants.items()
        if name not in frame or name in options.constants
    }
    # A column of one value is broadcast: `assign` keeps the index, whatever the order of the rows.
    return frame.assign(**{n: pd.Series(v, frame.index, dtype=object) for n, v in new.items()})


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
    if options.negate:
        numbers = (isinstance(cell, (int, float)) for cell in table["error"])
        table["error"] = [-c if n else c for c, n in zip(table["error"], numbers, strict=True)]
    signs: SourceUnit | None = "percent" if "error" in columns.percent else None
    given = options.units.get(theirs) or options.unit or sweep.unit or signs or _stored_unit(table)
    unit, why, fault = detect_unit(table["error"], given, theirs)
    if fault:
        beyond = table.index[[is_beyond(cell, given) for cell in table["error"]]]
        return [f"{sweep.place(beyond[0])}: {fault}" if len(beyond) else fault]
    if unit == "raw":
        table[UNIT_COLUMN] = pd.Series("raw", table.index, dtype=object)
        return (
            ["--accuracy: with --unit raw the column is a loss: --map error=COLUMN"]
            if accuracy
            else []
        )
    if given is None:
        groups = table[[name for name in GROUPS if name in table]]
        if faults := mixed_faults(table["error"], groups, theirs):
            return faults
    more, faults = convert_units(table, unit, options, columns)
    table["error"] = to_percent(table["error"], unit, accuracy=accuracy)
    if why and sweep.unit is None and (theirs != "error" or options.unit):
        minus = "minus " if options.negate else ""
        source = f"100 - accuracy, which is {minus}{theirs}" if accuracy else f"{minus}{theirs}"
        notes.append(f"error: {source}, taken as {unit} ({why})")
    notes += more
    return faults


def _doubts(table: pd.DataFrame) -> list[str]:
    """What a person may have meant otherwise, though it can be as it is."""
    notes = []
    by = [name for name in GROUPS if name in table]
    first = table.drop_duplicates(by)
    for label in first.loc[first["outcome"].eq("missing"), "model"]:
        notes.append(
            f"the first run of {label} is unfinished, so none of its runs counts; where such runs "
            "have ended: --empty crashed, or --map-outcome STATE=timed_out"
        )
    errors = [error for error in table["error"] if is_finite(error)]
    if errors and min(errors) >= 99.0:
        notes.append("all errors are 99% or more: are these fractions? then --unit fraction")
    seeds = table["seed"].nunique() if "seed" in table else 0
    if 2 <= seeds <= MOST_SEEDS and 2 * seeds <= len(table):
        notes.append(
            f"column 'seed' has {seeds} values, shown as one sample; apart: --map sweep=seed"
        )
    return notes


def _stored_unit(table: pd.DataFrame) -> SourceUnit | None:
    """What a results table itself says: its column `error_unit`, else its counts."""
    units = set(table[UNIT_COLUMN].dropna()) if UNIT_COLUMN in table else set()
    if units in ({"raw"}, {"percent"}):
        return "raw" if units == {"raw"} else "percent"
    if not {"wrong", "n_eval", "error"} <= set(table):
        return None
    rows = table[["error", "wrong", "n_eval"]].map(lambda x: x if is_finite(x) else np.nan)
    error, wrong, n = (rows[name].astype("float64") for name in rows)
    counted = (100.0 * wrong / n).where(error.notna()).dropna()
    is_percent = len(counted) and bool((error[counted.index] - counted).abs().max() < ROUNDING)
    return "percent" if is_percent else None


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
            table[name] = pd.Series(value, table.index, dtype=object)
    if options.chance is not None:
        notes.append(f"chance: {options.chance.said}")
    elif "chance" not in table:
        notes.append("chance is not known: no run is called collapsed, diverged ones count at +inf")
    return []


def _with_group(table: pd.DataFrame, sweep: ExternalSweep, notes: list[str]) -> pd.DataFrame:
    """Leave out unfinished runs of no group: a trial that waits has no model yet to be counted in.

    The only rows that are not kept; they are named.
    """
    groups = [name for name in GROUPS if name in table and table[name].notna().any()]
    groups = [n for n in groups if table[n].nunique(dropna=False) > 1 or n == "model"]
    nowhere = table[groups].isna().any(axis=1)
    unfinished = nowhere & table["outcome"].eq("missing")
    _raise(
        [
            f"{sweep.place(i)}: no {join_names(n for n in groups if table[n].isna()[i])}, "
            "and a run that has begun counts in a group: name it in the file, or group by less"
            for i in table.index[nowhere & ~unfinished][:1]
        ]
    )
    if unfinished.any():
        notes.append(
            f"left out: {count_runs(int(unfinished.sum()), 'unfinished run')} without "
            f"{join_names(groups)}"
        )
    return table[~unfinished].reset_index(drop=True)


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
            f"many runs have the same error and count as ok: {at}. Where these are constant "
            "predictions: --class-counts, or --chance (the lowest of these, if it is that of the "
            "largest class) and --n-eval"
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
