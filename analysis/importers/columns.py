"""Which column of theirs is which of ours: as asked, as the format says, or as the name says."""

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from analysis.importers.cells import is_finite, parse_cell, parse_cells, text_cell
from analysis.importers.source import ExternalSweep, ImportOptions, join_names, no_column
from analysis.importers.states import disagreements, find_state_column
from analysis.importers.units import PERCENT_COLUMNS
from analysis.table.groups import SWEEP

SAME_NAME: dict[str, tuple[str, ...]] = {
    "error": ("test_error", "test_err", "error_rate", "err", "top1_err"),
    "lr": ("learning_rate",),
    "weight_decay": ("wd",),
    "model": ("arch", "architecture", "model_name"),
    "optim": ("optimizer", "optimiser", "opt"),
    "data": ("dataset",),
    "trial": ("trial_id", "run_id"),
    SWEEP: ("sweep_id",),
}
"""Names that can hardly mean anything else; taken where exactly one of them is there, and said."""
PREFIXES = re.compile(
    r"^(params?|config|hparams|hyperparameters|metrics|summary|user_attrs|info)[._/]"
)
"""What tools put before the name of a parameter or a metric."""
ACCURACY = re.compile(r"(^|_)(acc|accuracy|acc1|top1|top_1)(?!_err)(_|$)")
"""Names of accuracies: never taken unasked, but they make a guess at the error ambiguous."""
ERROR = re.compile(r"(^|_)(err|error|loss|wer|cer)(_|$)")
"""Names of errors and losses."""
HYPERPARAMETERS = ("lr", "learning_rate", "weight_decay", "wd", "batch_size", "momentum", "dropout")
"""Common names of hyperparameters in tables of other tools."""
TEXT_COLUMNS = frozenset(
    {"model", "optim", "data", "trial", "study", SWEEP, "sampler", "code", "objective"}
)
"""Names and identifiers: `12` and `012` are two of them, `1_2` is no number."""
NUMBER_COLUMNS = (*PERCENT_COLUMNS, "n_eval", "wrong")


@dataclass
class Columns:
    """The columns of a source under our names."""

    frame: pd.DataFrame
    taken: dict[str, str] = field(default_factory=dict)
    """Our names, and theirs."""
    guessed: frozenset[str] = frozenset()
    """Of these, the ones that were taken by their name alone."""
    percent: set[str] = field(default_factory=set)
    """Our names of columns whose numbers have percent signs."""
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
        f"--map {o}={t}: {no_column(t, frame)}"
        if t != options.accuracy
        else f"--accuracy {t}: {no_column(t, frame)}"
        for o, t in asked.items()
        if t not in frame
    ]
    found.faults += [*_name_faults(options), *_misspelt(options)]
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
    found.faults += direction_faults(sweep, options, columns.get("error", "error"))
    found.taken, found.guessed = columns, frozenset(guesses)
    if not found.faults:
        found.frame = _renamed(sweep, columns, found.notes)
        theirs = {name: columns.get(name, name) for name in PERCENT_COLUMNS}
        found.percent = {o for o, t in theirs.items() if t in frame and is_percentages(frame[t])}
    return found


def accuracy_columns(names: Iterable[str]) -> list[str]:
    """Columns that hold accuracies by their names: of test data first, of training data never.

    >>> accuracy_columns(["lr", "train_acc", "val_acc", "test/acc"])
    ['test/acc', 'val_acc']
    """
    found = [name for name in names if ACCURACY.search(plain_name(name))]
    found = [name for name in found if "train" not in plain_name(name)]
    return sorted(found, key=lambda name: "test" not in plain_name(name))


def plain_name(name: str) -> str:
    """A column's name in small letters, without what tools put before it.

    >>> [plain_name(name) for name in ("params_lr", "config/LR", "Learning Rate", "Test Err (%)")]
    ['lr', 'lr', 'learning_rate', 'test_err']
    """
    text = PREFIXES.sub("", name.strip().lower())
    return re.sub(r"[^a-z0-9]+", "_", re.sub(r"[([].*$", "", text)).strip("_") or text


def _by_name(
    sweep: ExternalSweep, options: ImportOptions, columns: Mapping[str, str], found: Columns
) -> dict[str, str]:
    """Columns that go by a name that is ours in other words."""
    frame, more = sweep.frame, dict[str, str]()
    for ours, names in SAME_NAME.items():
        if ours in columns or ours in options.constants or ours in frame:
            continue
        there = [str(name) for name in frame if plain_name(str(name)) in (ours, *names)]
        there = [name for name in there if name not in columns.values()]
        if ours == "error" and accuracy_columns(map(str, frame)):
            continue  # which of them is meant is not ours to say
        if len(there) == 1:
            more[ours] = there[0]
        elif len(there) > 1:
            found.notes.append(
                f"{ours}: not taken, {join_names(there)} are there; --map {ours}=..."
            )
    if "error" not in {*columns, *more} and "error" not in frame:
        found.faults.append(_no_error(sweep))
    found.faults += _no_model(sweep, {*columns, *more, *options.constants})
    if not {"outcome"} & {*columns, *options.constants}:
        used = (
            {*columns.values(), *more.values()}
            | TEXT_COLUMNS
            | (set() if "error" in columns else {"error"})
        )
        more |= _state_column(frame, used, found)
    return more


def _no_model(sweep: ExternalSweep, named: set[str]) -> list[str]:
    """A fault where a column is nearly called `model`: else the file's name would be the model."""
    if "model" in {*named, *sweep.frame, *sweep.constants}:
        return []
    theirs = {plain_name(str(name)): str(name) for name in sweep.frame}
    return [
        f"no column 'model' (got {theirs[near]!r}): --map model={theirs[near]}, or --set model=NAME"
        for near in difflib.get_close_matches("model", list(theirs), 1, 0.75)
    ]


def _state_column(frame: pd.DataFrame, used: set[str], found: Columns) -> dict[str, str]:
    """The column of outcomes by its name, where it is not called so."""
    if "outcome" in frame and frame["outcome"].notna().any():
        found.faults += disagreements(frame, "outcome", used)
        return {}
    state, faults = find_state_column(frame, used)
    found.faults += faults
    return {} if state is None else {"outcome": state}


def _no_error(sweep: ExternalSweep) -> str:
    """Say that the error is not known, with what the format or the names suggest."""
    said = "no column is known to be the error"
    for name, direction in sweep.directions.items():
        option = "--map error=" if direction == "minimize" else "--accuracy "
        said += f"; the study {direction}s {name}: {option}{name}, where that is what it is"
    if sweep.directions:
        return said
    if sweep.format == "optuna":
        said += "; the studies differ in their directions, so take one: --study NAME"
    columns = join_names(map(str, sweep.frame), 30)
    return f"{said}: --map error=COLUMN, or --accuracy COLUMN; there are: {columns}"


def _name_faults(options: ImportOptions) -> list[str]:
    """Faults of an error or an accuracy whose column says by its name that it is something else."""
    theirs, accuracy = options.columns.get("error"), options.accuracy
    rename = "if it is one all the same, rename the column"
    faults = []
    if theirs is not None and ACCURACY.search(plain_name(theirs)):
        faults.append(
            f"--map error={theirs}: an accuracy by its name: --accuracy {theirs}; {rename}"
        )
    if accuracy is not None and ERROR.search(plain_name(accuracy)):
        faults.append(
            f"--accuracy {accuracy}: an error by its name: --map error={accuracy}; {rename}"
        )
    faults += [
        f"{option}: a hyperparameter by its name; {rename}"
        for option, name in (
            (f"--map error={theirs}", theirs),
            (f"--accuracy {accuracy}", accuracy),
        )
        if name is not None and plain_name(name) in HYPERPARAMETERS
    ]
    return faults


def _misspelt(options: ImportOptions) -> list[str]:
    """Names in --map and --set that are nearly ours."""
    ours = sorted(
        {*TEXT_COLUMNS, *NUMBER_COLUMNS, "lr", "weight_decay", "epochs", "outcome", "draw"}
    )
    near = {
        name: difflib.get_close_matches(name, ours, 1, 0.75)
        for name in (*options.columns, *options.constants)
        if name not in ours
    }
    return [
        f"{name!r} is not a name of ours (did you mean {found[0]!r}?)"
        for name, found in near.items()
        if found
    ]


def direction_faults(sweep: ExternalSweep, options: ImportOptions, theirs: str) -> list[str]:
    """A fault where a study maximizes the error, or minimizes the accuracy."""
    direction = sweep.directions.get(theirs)
    is_accuracy = options.accuracy is not None
    wanted = "maximize" if is_accuracy != options.negate else "minimize"
    if direction is None or direction == wanted:
        return []
    ways = {
        "minimize": f"--map error={theirs}, or minus an accuracy: --accuracy {theirs} --negate",
        "maximize": f"--accuracy {theirs}, or minus an error: --map error={theirs} --negate",
    }
    got = f"--accuracy {theirs}" if is_accuracy else f"--map error={theirs}"
    got += " --negate" if options.negate else ""
    return [f"{got}: the study {direction}s {theirs!r}; allowed: {ways[direction]}"]


def _renamed(sweep: ExternalSweep, columns: Mapping[str, str], notes: list[str]) -> pd.DataFrame:
    frame, used = sweep.frame, set(columns.values())
    data = {ours: _parsed(ours, frame[theirs]) for ours, theirs in columns.items()}
    for name in map(str, frame):
        if name in used:
            continue
        if name in sweep.details and frame[name].nunique(dropna=False) == 1:
            continue
        if name in data:
            notes.append(f"their column {name!r} is kept as 'source_{name}'")
        data[f"source_{name}" if name in data else name] = _parsed(name, frame[name])
    return pd.DataFrame(data, index=frame.index)


def _parsed(name: str, cells: "pd.Series[Any]") -> "pd.Series[Any]":
    """The cells of a column of this name: texts, numbers where they can be, or as all of it is."""
    values: list[Any]
    if name in TEXT_COLUMNS:
        values = [text_cell(cell) for cell in cells]
    elif name in NUMBER_COLUMNS:
        signed = is_percentages(cells)
        values = [parse_cell(str(c).replace("%", "") if signed and c else c) for c in cells]
    else:
        values = list(cells) if name == "outcome" else parse_cells(cells)
    return pd.Series(values, index=cells.index, dtype=object)


def is_percentages(cells: "pd.Series[Any]") -> bool:
    """Whether every number of a column is written with a percent sign.

    >>> is_percentages(pd.Series(["12.5 %", "8%", None])), is_percentages(pd.Series(["8%", "9"]))
    (True, False)
    """
    signed = [cell for cell in cells if isinstance(cell, str) and "%" in cell]
    others = [cell for cell in cells if not (isinstance(cell, str) and "%" in cell)]
    return (
        bool(signed)
        and all(is_finite(parse_cell(cell.replace("%", "", 1))) for cell in signed)
        and not any(is_finite(parse_cell(cell)) for cell in others)
    )
