"""Which column of theirs is which of ours: as asked, as the format says, or as the name says."""

from dataclasses import dataclass, field

import pandas as pd

from analysis.importers.source import ExternalSweep, ImportOptions, join_names, no_column

SAME_NAME: dict[str, tuple[str, ...]] = {
    "error": ("test_error", "test_err", "error_rate", "err", "top1_err"),
    "lr": ("learning_rate",),
    "weight_decay": ("wd",),
    "model": ("arch", "architecture", "model_name"),
    "optim": ("optimizer",),
}
"""Names that can hardly mean anything else; taken where exactly one of them is there, and said."""
ACCURACIES = ("accuracy", "acc", "test_accuracy", "test_acc", "top1_acc")
"""Never taken by themselves, but enough to make a guess at the error ambiguous."""


@dataclass
class Columns:
    """The columns of a source under our names."""

    frame: pd.DataFrame
    taken: dict[str, str] = field(default_factory=dict)
    """Our names, and theirs."""
    guessed: frozenset[str] = frozenset()
    """Of these, the ones that were taken by their name alone."""
    notes: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


def name_columns(sweep: ExternalSweep, options: ImportOptions) -> Columns:
    """Bring the columns of a source under our names; nothing but constant details is lost.

    A column of theirs that has one of our names for another meaning is kept as `source_<name>`.
    """
    frame, found = sweep.frame, Columns(sweep.frame)
    asked = dict(options.columns)
    if options.accuracy is not None:
        if "error" in asked:
            found.faults.append(
                "--accuracy: there is --map error=... already, one of them is enough"
            )
        asked["error"] = options.accuracy
    found.faults += [
        f"--map {o}={t}: {no_column(t, frame)}" for o, t in asked.items() if t not in frame
    ]
    by_format = {o: t for o, t in sweep.columns.items() if o not in asked}
    columns = {**by_format, **asked}
    guesses = _by_name(sweep, options, columns, found)
    columns |= guesses
    for name in options.constants:
        if name in frame and name not in columns.values():
            found.faults.append(f"--set {name}=...: the file has a column {name!r} already")
        if name in asked:
            found.faults.append(f"--set {name}=...: there is --map {name}={asked[name]} already")
        columns.pop(name, None)
    found.taken, found.guessed = columns, frozenset(guesses)
    if not found.faults:
        found.frame = _renamed(sweep, columns, found.notes)
    return found


def _by_name(
    sweep: ExternalSweep, options: ImportOptions, columns: dict[str, str], found: Columns
) -> dict[str, str]:
    """Columns that go by a name that is ours in other words."""
    frame, more = sweep.frame, {}
    for ours, names in SAME_NAME.items():
        if ours in columns or ours in options.constants or ours in frame:
            continue
        there = [name for name in names if name in frame and name not in columns.values()]
        if ours == "error" and any(name in frame for name in ACCURACIES):
            continue  # which of them is meant is not ours to say
        if len(there) == 1:
            more[ours] = there[0]
        elif len(there) > 1:
            found.notes.append(
                f"{ours}: not taken, {join_names(there)} are there; --map {ours}=..."
            )
    if "error" not in {*columns, *more} and "error" not in frame:
        found.faults.append(
            f"no column is known to be the error: --map error=COLUMN, or --accuracy COLUMN; "
            f"there are: {join_names(map(str, frame), 30)}"
        )
    return more


def _renamed(sweep: ExternalSweep, columns: dict[str, str], notes: list[str]) -> pd.DataFrame:
    frame, used = sweep.frame, set(columns.values())
    data = {ours: frame[theirs] for ours, theirs in columns.items()}
    for name in map(str, frame):
        if name in used:
            continue
        if name in sweep.details and frame[name].nunique(dropna=False) == 1:
            continue
        if name in data:
            notes.append(f"their column {name!r} is kept as 'source_{name}'")
        data[f"source_{name}" if name in data else name] = frame[name]
    return pd.DataFrame(data)
