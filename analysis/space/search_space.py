"""The search space: the ranges that hyperparameters were drawn from, and positions in them."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from analysis.arrays import FloatArray
from analysis.edf.measured import numeric_faults, numeric_values
from analysis.errors import TableError, invalid_choice
from analysis.table.guarded_reading import read_toml

Scale = Literal["log", "linear"]
HYPERPARAMETERS = (
    "lr",
    "weight_decay",
    "batch_size",
    "momentum",
    "beta2",
    "warmup",
    "label_smoothing",
    "clip",
)
"""Hyperparameters that a table is searched for where no search space and no names are given."""
LINEAR = ("momentum", "beta2", "warmup", "label_smoothing")
"""Of these, those that are no quantity to take the logarithm of."""


@dataclass(frozen=True, kw_only=True)
class SearchRange:
    """Interval that one hyperparameter was drawn from.

    >>> SearchRange(name="lr", low=0.001, high=0.1).position([0.001, 0.01]).tolist()
    [0.0, 0.5]
    """

    name: str
    low: float
    high: float
    """In the unit of the hyperparameter, above `low`."""
    scale: Scale = "log"
    models: tuple[str, ...] = ()
    """Models that it applies to; empty for all."""
    optims: tuple[str, ...] = ()
    """Optimizers that it applies to; empty for all."""
    source: str = "given"
    """Where it is from: `given`, `study.toml`, or `observed` (the ends of what was drawn)."""

    def __post_init__(self) -> None:
        ends = np.isfinite(self.low) and np.isfinite(self.high) and self.low < self.high
        if not ends or (self.scale == "log" and self.low <= 0):
            positive = ", above 0" if self.scale == "log" else ""
            raise ValueError(
                f"{self.name}: got {self.low} to {self.high}, allowed: a finite interval{positive}"
            )

    def applies_to(self, group: Mapping[str, object]) -> bool:
        """Whether trials of this group were drawn from it."""
        wanted = (("model", self.models), ("optim", self.optims))
        return all(not names or group.get(column) in names for column, names in wanted)

    def position(self, values: "Sequence[float] | FloatArray") -> FloatArray:
        """Place values between the ends: 0 at `low`, 1 at `high`, even on the range's scale."""
        x = np.asarray(values, dtype=np.float64)
        if self.scale == "linear":
            return np.asarray((x - self.low) / (self.high - self.low))
        with np.errstate(divide="ignore", invalid="ignore"):  # 0 lies at -inf
            return np.asarray(np.log(x / self.low) / np.log(self.high / self.low))

    def at(self, position: "float | FloatArray") -> FloatArray:
        """Value at a position: the inverse of `position`."""
        share = np.asarray(position, dtype=np.float64)
        if self.scale == "linear":
            return np.asarray(self.low + share * (self.high - self.low))
        return np.asarray(self.low * (self.high / self.low) ** share)


Ends = tuple[float, float]
SearchSpace = str | os.PathLike[str] | Mapping[str, Ends] | Sequence[SearchRange] | None
"""A run directory, ends by name, ranges, or None for what was observed."""


def read_search_space(run: str | os.PathLike[str]) -> list[SearchRange]:
    r"""Read the ranges of a study; hyperparameters drawn from a list of choices have none.

    Args:
        run: a run directory, with `study.toml`.

    Raises:
        TableError: no study.toml, or one that cannot be understood.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as run:
    ...     text = '[[space]]\nname = "lr"\nlow = 0.01\nhigh = 1.0\nscale = "log"\n'
    ...     _ = Path(run, "study.toml").write_text(text)
    ...     [(r.name, r.low, r.high, r.source) for r in read_search_space(run)]
    [('lr', 0.01, 1.0, 'study.toml')]

    """
    path = Path(run) / "study.toml"
    try:
        space = read_toml(path)["space"]
        return [
            SearchRange(
                name=str(entry["name"]),
                low=float(entry["low"]),
                high=float(entry["high"]),
                scale="linear" if entry.get("scale") == "linear" else "log",
                models=tuple(entry.get("models", ())),
                optims=tuple(entry.get("optims", ())),
                source="study.toml",
            )
            for entry in space
            if not entry.get("choices")
        ]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise TableError([f"{path}: no search space can be read ({error!r})"]) from error


def search_space_of(
    table: pd.DataFrame, space: SearchSpace = None, names: Sequence[str] | None = None
) -> list[SearchRange]:
    """Find the ranges of a study: as given, or the smallest and largest values observed.

    Args:
        table: of `load`, or any frame with the columns `model` and `error`.
        space: a run directory; `{name: (low, high)}`; ranges; or None for what was observed in each
            group of model and optimizer, which is inside the true search space and so too small.
        names: hyperparameters; None for those of the search space, or the known ones that vary.

    Returns:
        Ranges, in the order of the names. Ends given by name are on a log scale where both are
        positive and the name is none that is linear by nature (momentum, beta2, ...).

    Raises:
        TableError: a column that is absent or holds no numbers, an interval that is none, a name
            that the search space has no range for.

    >>> table = pd.DataFrame({"model": "a", "error": [1.0, 2.0], "lr": [0.1, 0.4]})
    >>> [(r.name, r.low, r.high, r.source) for r in search_space_of(table)]
    [('lr', 0.1, 0.4, 'observed')]

    """
    if isinstance(space, (str, os.PathLike)):
        found = read_search_space(space)
    elif isinstance(space, Mapping):
        found = _given(space)
    else:
        found = _observed(table, names) if space is None else list(space)
    present = list(dict.fromkeys(r.name for r in found))
    wanted = present if names is None else list(names)
    faults = [
        invalid_choice("hyperparameter", name, present) for name in wanted if name not in present
    ]
    if faults:
        raise TableError(faults)
    wanted = names_in(table, wanted)
    return [r for name in wanted for r in found if r.name == name]


def range_for(
    ranges: Sequence[SearchRange], name: str, group: Mapping[str, object]
) -> SearchRange | None:
    """Find the range of a hyperparameter for a group; None where it has none.

    >>> sgd = SearchRange(name="lr", low=0.1, high=1.0, optims=("sgd",))
    >>> range_for([sgd], "lr", {"optim": "adamw"})
    """
    return next((r for r in ranges if r.name == name and r.applies_to(group)), None)


def drawn_alike(table: pd.DataFrame) -> list[tuple[dict[str, object], "npt.NDArray[np.intp]"]]:
    """Rows of each model and optimizer, which is what ranges depend on, by position.

    >>> [rows.tolist() for _, rows in drawn_alike(pd.DataFrame({"model": ["a", "b", "a"]}))]
    [[0, 2], [1]]
    """
    columns = [c for c in ("model", "optim") if c in table]
    number = table.groupby(columns, sort=False, dropna=False).ngroup().to_numpy()
    places = [np.flatnonzero(number == i) for i in range(number.max(initial=-1) + 1)]
    return [({c: table[c].iloc[rows[0]] for c in columns}, rows) for rows in places]


def names_in(table: pd.DataFrame, names: Sequence[str] | None = None) -> list[str]:
    """Names of the hyperparameters asked for, or of the known ones that vary in a table.

    Raises:
        TableError: none is known by name, or one asked for is no column of numbers.

    >>> names_in(pd.DataFrame({"lr": [0.1, 0.2], "momentum": 0.9}))
    ['lr']

    """
    found = [c for c in HYPERPARAMETERS if c in table and table[c].nunique() > 1]
    wanted = found if names is None else list(names)
    columns = [part.strip() for name in wanted for part in name.split("*")]
    faults = numeric_faults(table, columns)
    if faults or not wanted:
        raise TableError(
            faults or [f"no hyperparameter varies among {', '.join(HYPERPARAMETERS)}: name it"]
        )
    return wanted


def _given(ends: Mapping[str, Ends]) -> list[SearchRange]:
    ranges, faults = [], []
    for name, (low, high) in ends.items():
        try:
            ranges.append(SearchRange(name=name, low=low, high=high, scale=_scale(name, low)))
        except ValueError as error:
            faults.append(str(error))
    if faults:
        raise TableError(faults)
    return ranges


def _scale(name: str, low: float) -> Scale:
    return "log" if low > 0 and name not in LINEAR else "linear"


def _observed(table: pd.DataFrame, names: Sequence[str] | None) -> list[SearchRange]:
    """The smallest and the largest value drawn, for each model and optimizer."""
    ranges = []
    for name in names_in(table, names):
        for columns, rows in drawn_alike(table):
            values = numeric_values(table.iloc[rows], name)
            values = values[np.isfinite(values)]
            if np.unique(values).size < 2:
                continue
            low, high = float(values.min()), float(values.max())
            ranges.append(
                SearchRange(
                    name=name,
                    low=low,
                    high=high,
                    scale=_scale(name, low),
                    models=_only(columns, "model"),
                    optims=_only(columns, "optim"),
                    source="observed",
                )
            )
    return ranges


def _only(columns: Mapping[str, object], name: str) -> tuple[str, ...]:
    value = columns.get(name)
    return (value,) if isinstance(value, str) else ()
