"""Which rows are runs, and in which order they were drawn."""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from analysis.importers.cells import is_finite, parse_cell
from analysis.importers.columns import HYPERPARAMETERS, plain_name
from analysis.importers.source import ExternalSweep, ImportOptions, no_column
from analysis.importers.states import SHORTER
from analysis.table.groups import GROUPS

RUN_NAMES = ("trial", "trial_id", "run", "run_id", "run_name", "id", "name")
REPEATED_NAMES = ("seed", "draw")
"""Columns that name a run where no hyperparameter varies within their values."""
STEP_NAMES = ("training_iteration", "epoch", "step", "global_step", "iteration", "iter")
LENGTH_NAMES = ("training_iteration", "epoch")
"""Columns that tell how long a finished run was trained."""
TIME_NAMES = ("created", "created_at", "start_time", "started_at", "datetime_start", "submit")
TIME = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d.*)?|\d{9,}(\.\d+)?")
"""ISO 8601, which sorts as text, or seconds or milliseconds since 1970."""
JOB_NAMES = ("jobid", "job_id", "jobidraw")
SUMMARY_ROWS = frozenset({"mean", "average", "avg", "std", "sd", "median", "total", "sum"})
ORDER_NAMES = ("draw", "number", "trial_number")
"""Columns that number the configurations in the order in which they were drawn."""
PREFIX = re.compile("(params?|config|hparams|hyperparameters)[._/]")
RESULT = re.compile("(^|_)(err|error|loss|acc|accuracy|top1|acc1|value)(_|$)")
FEWEST_SORTED = 4
"""Finished runs that stand in the order of their errors by chance in at most 1 of 12 tables."""


def keep_last_rows(frame: pd.DataFrame, column: str) -> pd.DataFrame:
    """The last row of each run, by the step where there is one, in the order of the first rows.

    >>> table = pd.DataFrame({"run": ["a", "b", "a"], "step": [2, 1, 1], "err": [7, 8, 9]})
    >>> keep_last_rows(table, "run")["err"].tolist()
    [7, 8]
    """
    rank = pd.Series(pd.factorize(frame[column], use_na_sentinel=False)[0], index=frame.index)
    for step in _named(frame, STEP_NAMES)[:1]:  # exports may stand newest first
        numbers = pd.to_numeric(frame[step].map(parse_cell), errors="coerce")
        frame = frame.loc[numbers.sort_values(kind="stable", na_position="first").index]
    last = frame.loc[~frame[column].duplicated(keep="last")]
    return last.loc[rank[last.index].sort_values().index]


def row_faults(sweep: ExternalSweep, options: ImportOptions) -> list[str]:
    """Faults of rows that are steps of a run, not runs."""
    frame = sweep.frame
    if options.last_of is not None:
        return _last_of_faults(sweep, options.last_of)
    if faults := [*_job_steps(frame), *_summary_rows(sweep)]:
        return faults
    used = set(options.columns.values())
    for step in (name for name in _named(frame, STEP_NAMES) if name not in used):
        numbers = frame[step].map(parse_cell)
        numbers = numbers.where(numbers.map(is_finite))
        for run in _run_columns(frame):
            if _are_steps(numbers, frame[run]):
                return [
                    f"the rows are steps of runs, not runs: {step!r} differs within each {run!r}; "
                    f"--last-of {run} keeps the last row of each"
                ]
        if numbers.notna().all() and _is_log(numbers.astype("float64"), frame, step):
            return [
                f"the rows look like steps of a run, not like runs: {step!r} counts from "
                f"{numbers.iloc[0]:g} on; --last-of COLUMN keeps the last row of each run, "
                f"--map draw={step} says that they are runs"
            ]
    return []


def _is_log(steps: "pd.Series[float]", frame: pd.DataFrame, name: str) -> bool:
    """Whether steps grow from row to row, or count again and again from 0 or 1 on."""
    if len(steps) < 2:
        return False
    growth, starts = steps.diff().iloc[1:], steps == steps.iloc[0]
    runs = starts.cumsum()
    drawn = _hyperparameters(frame)
    is_fixed = not drawn or bool(
        (frame[drawn].astype(str).groupby(runs).nunique() <= 1).all(axis=None)
    )
    if starts.sum() > 1:
        counts = (growth[~starts.iloc[1:]] == 1).all() and steps.iloc[0] in (0, 1)
        return bool(counts and is_fixed and 2 * starts.sum() <= len(steps))
    if not (growth > 0).all():
        return False
    # A counter such as `iteration` may number the runs, where something was drawn for each.
    return is_fixed or (len(steps) > 2 and plain_name(name) not in ("iteration", "iter"))


def _job_steps(frame: pd.DataFrame) -> list[str]:
    """A fault where rows are the steps of Slurm jobs beside the jobs themselves."""
    for name in _named(frame, JOB_NAMES):
        ids = {str(cell) for cell in frame[name] if cell is not None}
        if any(job != text and job in ids for text in ids for job in [text.partition(".")[0]]):
            return [
                f"{name} has rows for the steps of jobs (such as .batch): leave them out, "
                "as sacct -X does"
            ]
    return []


def _summary_rows(sweep: ExternalSweep) -> list[str]:
    """A fault for the mean or the sum that a spreadsheet has under its runs."""
    for name in _named(sweep.frame, (*RUN_NAMES, "model", "arch", "index")):
        cells = sweep.frame[name]
        words = cells.map(lambda c: isinstance(c, str) and c.strip().lower() in SUMMARY_ROWS)
        if words.any() and 2 * int(words.sum()) < len(cells):
            place = sweep.place(cells.index[words][0])
            return [f"{place}: {name} is {cells[words].iloc[0]!r}, a summary and no run: remove it"]
    return []


def in_drawn_order(frame: pd.DataFrame) -> tuple[pd.DataFrame, bool]:
    """The rows by the number of their configuration: (rows, whether there is such a number).

    >>> in_drawn_order(pd.DataFrame({"number": [1, 0]}, dtype=object))[0].index.tolist()
    [1, 0]
    """
    by = [c for c in (*GROUPS, "study") if c in frame]
    for name in _named(frame, ORDER_NAMES):
        is_number = all(isinstance(c, (int, float)) and is_finite(c) for c in frame[name])
        if is_number and not frame.duplicated([*by, name]).any():
            return frame.loc[frame[name].astype("float64").sort_values(kind="stable").index], True
    for name in _named(frame, TIME_NAMES):
        times = frame[name].map(str)
        if times.str.fullmatch(TIME).all():
            return frame.loc[times.sort_values(kind="stable").index], True
    return frame, False


def mark_shorter(
    frame: pd.DataFrame, outcomes: Sequence[str], options: ImportOptions
) -> tuple[list[str], list[str]]:
    """Find runs that ended well, but were trained less than the others: (outcomes, faults).

    What they are is for the person to say: `shorter` in `--map-outcome`.
    """
    asked = {state.lower(): outcome for state, outcome in options.outcomes.items()}.get(SHORTER)
    ended = np.array([outcome == "ok" for outcome in outcomes], dtype=bool)
    for name in _named(frame, LENGTH_NAMES):
        lengths = frame[name].where(ended).map(parse_cell)
        if name in options.columns.values() or not lengths.dropna().map(is_finite).all():
            continue
        early = _is_shorter(lengths.astype("float64"), frame)
        if not any(early):
            continue
        if asked is not None:
            return [asked if e else o for e, o in zip(early, outcomes, strict=True)], []
        return list(outcomes), [
            f"{sum(early)} of {int(lengths.notna().sum())} finished runs have a smaller {name!r} "
            "than the others: stopped early, their error belongs to a shorter training; "
            f"--map-outcome {SHORTER}=timed_out counts them as unknown, --map-outcome {SHORTER}=ok "
            "as they are"
        ]
    return list(outcomes), []


def _is_shorter(lengths: "pd.Series[float]", frame: pd.DataFrame) -> list[bool]:
    """Whether each run is shorter than its `epochs`, else than the longest of its group."""
    by = [frame[c] for c in GROUPS if c in frame and frame[c].notna().any()]
    planned: pd.Series[float] | float = lengths.max()
    if "epochs" in frame and frame["epochs"].map(is_finite).all():
        planned = frame["epochs"].astype("float64")
        planned = planned - 1 if not (lengths >= planned).any() else planned  # from 0
    elif by:
        planned = lengths.groupby(by, dropna=False).transform("max")
    return [bool(is_less) for is_less in lengths < planned]


def order_faults(frame: pd.DataFrame, states: Sequence[str], *, is_ordered: bool) -> list[str]:
    """A fault where unfinished runs have lost their place: the table is sorted by its results.

    Args:
        frame: with the column `outcome`.
        states: the words of the source for it, empty where it has none.
        is_ordered: whether the order is known to be that of the draws.

    """
    missing = frame["outcome"].eq("missing").to_numpy()
    if is_ordered or not missing.any():
        return []
    by = [c for c in GROUPS if c in frame and frame[c].nunique(dropna=False) > 1]
    ended = frame[~missing]
    parts = [part for _, part in ended.groupby(by, dropna=False)] if by else [ended]
    column = next((name for part in parts if (name := _sorting_column(part))), None)
    if column is None:
        return []
    words = dict.fromkeys(s for s, is_missing in zip(states, missing, strict=True) if is_missing)
    ways = [f"--map-outcome {word}=timed_out" for word in words] or ["--empty timed_out"]
    return [
        f"the rows are sorted by {column!r}, so the place of the {int(missing.sum())} unfinished "
        "runs in the order of the draws is lost: --map draw=COLUMN, or count them as unknown: "
        + " ".join(ways)
    ]


def copy_faults(sweep: ExternalSweep, frame: pd.DataFrame) -> list[str]:
    """A fault where rows with a hyperparameter drawn from a range are there more than once."""
    drawn = [c for c in _hyperparameters(frame) if 2 * frame[c].nunique() > len(frame) // 2]
    copies = frame.astype(str).duplicated() if drawn else pd.Series(dtype=bool)
    if not copies.any():
        return []
    count, place = int(copies.sum()), sweep.place(frame.index[copies][0])
    rows = "1 row is" if count == 1 else f"{count} rows are"
    return [f"{place}: {rows} a copy of an earlier row: remove copies"]


def repeated_configurations(table: pd.DataFrame) -> list[str]:
    """A note where every configuration is there equally often: its runs are not independent."""
    drawn = [c for c in _hyperparameters(table) if table[c].nunique() > 1]
    by = [c for c in GROUPS if c in table]
    counts = table[[*by, *drawn]].astype(str).value_counts() if drawn else pd.Series(dtype=int)
    if len(counts) < 2 or counts.nunique() > 1 or counts.min() < 2:
        return []
    return [
        f"{len(counts)} configurations have {counts.min()} rows each: rows of one configuration "
        "are not independent, and bands are too narrow; take their mean first, or keep one of each"
    ]


def _sorting_column(rows: pd.DataFrame) -> str | None:
    """A result or a hyperparameter whose numbers only grow or only fall over the rows."""
    drawn = _hyperparameters(rows)
    for name in (c for c in rows if c in drawn or RESULT.search(plain_name(str(c)))):
        cells = [cell for cell in map(parse_cell, rows[name]) if is_finite(cell)]
        numbers = pd.Series(cells, dtype="float64")
        is_sorted = numbers.is_monotonic_increasing or numbers.is_monotonic_decreasing
        if is_sorted and numbers.nunique() >= FEWEST_SORTED:
            return str(name)
    return None


def _last_of_faults(sweep: ExternalSweep, column: str) -> list[str]:
    if column not in sweep.frame:
        return [f"--last-of {column}: {no_column(column, sweep.frame)}"]
    empty = sweep.frame.index[sweep.frame[column].isna()]
    return [f"{sweep.place(i)}: {column!r} is empty, so the run has no name" for i in empty[:1]]


def _named(frame: pd.DataFrame, names: Sequence[str]) -> list[str]:
    return [str(column) for name in names for column in frame if plain_name(str(column)) == name]


def _run_columns(frame: pd.DataFrame) -> list[str]:
    """Columns that name the run of a row."""
    drawn = _hyperparameters(frame)
    alike = [
        name
        for name in _named(frame, REPEATED_NAMES)
        if drawn and frame[drawn].astype(str).groupby(frame[name]).nunique().max().max() == 1
    ]
    return [*_named(frame, RUN_NAMES), *alike]


def _are_steps(numbers: "pd.Series[Any]", runs: "pd.Series[Any]") -> bool:
    """Whether runs have several rows, and no step twice; rows without a step do not count."""
    pairs = pd.DataFrame({"run": runs, "step": numbers}).dropna()
    return bool(pairs["run"].duplicated().any()) and not pairs.duplicated().any()


def _hyperparameters(frame: pd.DataFrame) -> list[str]:
    """Columns that are hyperparameters by their names."""
    names = map(str, frame)
    return [c for c in names if PREFIX.match(c) or plain_name(c) in HYPERPARAMETERS]
