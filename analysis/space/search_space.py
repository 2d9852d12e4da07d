"""The search space: the ranges that hyperparameters were drawn from, and positions in them."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from analysis.arrays import FloatArray
from analysis.edf.measured import columns_of, numeric_faults, numeric_values
from analysis.errors import TableError, invalid_choice
from analysis.space.scale import INFERRED, SCALES, Scale, inferred_scale
from analysis.table.guarded_reading import read_toml

STUDY = "study.toml"
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
    """Where it is from: `given`, `study.toml`, or `observed` (the ends of what was drawn); with
    `, scale inferred` where the scale is that of `inferred_scale`."""

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
GivenRange = Ends | tuple[float, float, str]
SearchSpace = str | os.PathLike[str] | Mapping[str, GivenRange] | Sequence[SearchRange] | None
"""A run directory; `{name: (low, high)}` or `{name: (low, high, "linear")}`; ranges; or None for
what the table knows: the study that it was loaded from, else what was observed."""


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
    path = Path(run) / STUDY
    try:
        entries = read_toml(path)["space"]
    except (OSError, ValueError, KeyError) as error:
        raise TableError([f"{path}: no search space can be read ({error!r})"]) from error
    return ranges_from(entries, str(path))


def ranges_from(entries: Sequence[Mapping[str, Any]], where: str) -> list[SearchRange]:
    """Take the ranges from the entries `[[space]]` of a study; choices have none.

    Args:
        entries: with the keys `name`, `low`, `high`, `scale`, `choices`, `models`, `optims`.
        where: what a fault names.

    Raises:
        TableError: entries that cannot be understood.

    >>> [r.high for r in ranges_from([{"name": "lr", "low": 0.1, "high": 1.0}], "study.toml")]
    [1.0]

    """
    try:
        return [
            SearchRange(
                name=str(entry["name"]),
                low=float(entry["low"]),
                high=float(entry["high"]),
                scale="linear" if entry.get("scale") == "linear" else "log",
                models=tuple(entry.get("models") or ()),
                optims=tuple(entry.get("optims") or ()),
                source=STUDY,
            )
            for entry in entries
            if not entry.get("choices")
        ]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise TableError([f"{where}: no search space can be read ({error!r})"]) from error


def search_space_of(
    table: pd.DataFrame, space: SearchSpace = None, names: Sequence[str] | None = None
) -> list[SearchRange]:
    """Find the ranges of a study: as given, as the study has them, or as observed.

    Args:
        table: of `load`, or any frame with the columns `model` and `error`.
        space: a run directory; `{name: (low, high)}`, or `{name: (low, high, "linear")}` with the
            scale (`log` or `linear`); ranges; or None for the study that the table was loaded from
            (`table.attrs["search_space"]`). What it does not know has the range observed in each
            group of model and optimizer, which is inside the true one and so too small.
        names: hyperparameters; None for those of the search space, or the known ones that vary.

    Returns:
        Ranges, in the order of the names. A scale that is not given is inferred from the values
        (`inferred_scale`), and `source` says so.

    Raises:
        TableError: a column that is absent or holds no numbers, an interval that is none, a name
            that the search space has no range for.

    >>> table = pd.DataFrame({"model": "a", "error": [1.0, 2.0], "lr": [0.1, 0.4]})
    >>> [(r.name, r.low, r.high, r.source) for r in search_space_of(table)]
    [('lr', 0.1, 0.4, 'observed, scale inferred')]
    >>> search_space_of(table, {"lr": (0.1, 1.0, "linear")})[0].scale
    'linear'

    """
    if isinstance(space, (str, os.PathLike)):
        found = read_search_space(space)
    elif isinstance(space, Mapping):
        found = _given(table, space)
    else:
        found = _known_or_observed(table, names) if space is None else list(space)
    present = list(dict.fromkeys(r.name for r in found))
    wanted = present if names is None else list(names)
    faults = [
        invalid_choice("hyperparameter", name, present) for name in wanted if name not in present
    ]
    if faults:
        raise TableError(faults)
    wanted = names_in(table, wanted)
    return [r for name in wanted for r in found if r.name == name]


def scales_of(
    table: pd.DataFrame, names: Sequence[str], space: SearchSpace = None
) -> dict[str, tuple[Scale, bool]]:
    """Scale of each hyperparameter, for axes and distances, and whether it was inferred.

    As the search space has it (`search_space_of`); for what it has no range for, products among
    them, `inferred_scale`.

    Raises:
        TableError: as `search_space_of`.

    >>> table = pd.DataFrame({"model": "a", "error": [1.0, 2, 3], "dropout": [0.01, 0.1, 0.2]})
    >>> scales_of(table, ["dropout"])
    {'dropout': ('linear', True)}

    """
    known = _known(table) if space is None else search_space_of(table, space)
    given = {r.name: (r.scale, r.source.endswith(INFERRED)) for r in reversed(known)}
    return {name: given.get(name) or (_inferred(table, name), True) for name in names}


def scale_note(scales: Mapping[str, tuple[Scale, bool]]) -> str:
    """Say which scales were inferred, for the note of a result; empty where none was.

    >>> scale_note({"lr": ("log", False), "dropout": ("linear", True), "width": ("log", True)})
    'Scale inferred from the values: dropout linear, width log.'
    """
    named = ", ".join(f"{name} {scale}" for name, (scale, guessed) in scales.items() if guessed)
    return f"Scale inferred from the values: {named}." if named else ""


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

    Known are those of the study that the table was loaded from, and `HYPERPARAMETERS`.

    Raises:
        TableError: none is known by name, or one asked for is no column of numbers.

    >>> names_in(pd.DataFrame({"lr": [0.1, 0.2], "momentum": 0.9}))
    ['lr']

    """
    known = dict.fromkeys([*(r.name for r in _known(table)), *HYPERPARAMETERS])
    found = [c for c in known if c in table and table[c].nunique() > 1]
    wanted = found if names is None else list(names)
    faults = numeric_faults(table, [c for name in wanted for c in columns_of(name)])
    if faults or not wanted:
        raise TableError(
            faults or [f"no hyperparameter varies among {', '.join(HYPERPARAMETERS)}: name it"]
        )
    return wanted


def _given(table: pd.DataFrame, space: Mapping[str, GivenRange]) -> list[SearchRange]:
    ranges: list[SearchRange] = []
    faults: list[str] = []
    for name, ends in space.items():
        low, high, scale = (*ends, None)[:3]
        source = "given" if scale else f"given{INFERRED}"
        if scale not in (None, *SCALES):
            faults.append(f"{name}: {invalid_choice('scale', scale, SCALES)}")
            continue
        scale = scale or (_inferred(table, name) if low > 0 else "linear")
        try:
            ranges.append(SearchRange(name=name, low=low, high=high, scale=scale, source=source))
        except ValueError as error:
            faults.append(str(error))
    if faults:
        raise TableError(faults)
    return ranges


def _known(table: pd.DataFrame) -> list[SearchRange]:
    """Ranges of the study that the table was loaded from, of the columns that it still has."""
    found = ranges_from(table.attrs.get("search_space") or (), "the table's search_space")
    return [r for r in found if r.name in table]


def _known_or_observed(table: pd.DataFrame, names: Sequence[str] | None) -> list[SearchRange]:
    known = _known(table)
    named = {r.name for r in known}
    absent = None if names is None else [name for name in names if name not in named]
    if known and not absent:
        return known
    return known + _observed(table, absent)


def _observed(table: pd.DataFrame, names: Sequence[str] | None) -> list[SearchRange]:
    """The smallest and the largest value drawn, for each model and optimizer."""
    ranges = []
    for name in names_in(table, names):
        scale = _inferred(table, name)
        for columns, rows in drawn_alike(table):
            values = numeric_values(table.iloc[rows], name)
            values = values[np.isfinite(values)]
            if np.unique(values).size < 2:
                continue
            ranges.append(
                SearchRange(
                    name=name,
                    low=float(values.min()),
                    high=float(values.max()),
                    scale=scale,
                    models=_only(columns, "model"),
                    optims=_only(columns, "optim"),
                    source=f"observed{INFERRED}",
                )
            )
    return ranges


def _inferred(table: pd.DataFrame, name: str) -> Scale:
    """One scale for a hyperparameter, from the values of each model and optimizer."""
    if numeric_faults(table, columns_of(name)):
        return "log"  # of no use: `names_in` refuses the name where it is asked for
    return inferred_scale([numeric_values(table.iloc[at], name) for _, at in drawn_alike(table)])


def _only(columns: Mapping[str, object], name: str) -> tuple[str, ...]:
    value = columns.get(name)
    return (value,) if isinstance(value, str) else ()
