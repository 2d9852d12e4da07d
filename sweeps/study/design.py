"""The design: the table of all trials, drawn once and written before anything runs."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from sweeps.errors import StoreError
from sweeps.study import sampling
from sweeps.study.schema import IDENTITY_COLUMNS, design_schema
from sweeps.study.study import Study
from sweeps.study.trial import Trial, trial_id
from sweeps.system.files import DamagedError, atomic_write, read_parquet


class Design(Sequence[Trial]):
    """The trials of a study as they were written, each created when it is accessed.

    Ids and lengths are there at once. A trial with its settings takes a kilobyte and 20 µs, which
    would add up where a few of 100,000 trials are needed.
    """

    def __init__(self, study: Study, path: Path, table: pa.Table) -> None:
        self.ids: list[str] = table["trial"].to_pylist()
        self.epochs: list[int] = table["epochs"].to_pylist()
        self._resolver = _Resolver(study)
        self._names = sampling.axis_names(study.space)
        self._path = path
        self._table = table.select(["draw", "model", "optim", *self._names]).combine_chunks()

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def models(self) -> list[str]:
        """Model of each trial."""
        models: list[str] = self._table["model"].to_pylist()
        return models

    @overload
    def __getitem__(self, place: int) -> Trial: ...
    @overload
    def __getitem__(self, place: slice) -> list[Trial]: ...
    def __getitem__(self, place: int | slice) -> Trial | list[Trial]:
        """Raises StoreError if the id of a trial does not match its content."""
        if isinstance(place, slice):
            return [self[i] for i in range(len(self))[place]]
        place = range(len(self))[place]
        ((trial),) = self._resolved(place, 1)
        return trial

    def __iter__(self) -> Iterator[Trial]:
        for start in range(0, len(self), 1024):
            yield from self._resolved(start, 1024)

    def _resolved(self, start: int, count: int) -> Iterator[Trial]:
        rows = self._table.slice(start, count).to_pylist()
        for place, row in enumerate(rows, start):
            drawn = {name: row[name] for name in self._names if row[name] is not None}
            how = (row["draw"], drawn, row["model"], row["optim"], self.epochs[place])
            try:
                trial = self._resolver.trial(*how)
                if trial.id != self.ids[place]:
                    raise ValueError("the id does not match the content")
            except (KeyError, TypeError, ValueError) as error:  # no such optimizer, a draw below 0
                raise _wrong_design(self._path) from error
            yield trial


def epochs_of(trials: Sequence[Trial]) -> dict[str, int]:
    """Return the length of each trial's schedule by id, in the order of the design."""
    if isinstance(trials, Design):
        return dict(zip(trials.ids, trials.epochs, strict=True))
    return {trial.id: trial.epochs for trial in trials}


def models_of(trials: Sequence[Trial]) -> dict[str, str]:
    """Return the model of each trial by id, in the order of the design."""
    if isinstance(trials, Design):
        return dict(zip(trials.ids, trials.models, strict=True))
    return {trial.id: trial.model for trial in trials}


def draw_design(study: Study) -> list[Trial]:
    """Draw all trials of `study`, draw by draw; trials of one pair are next to each other.

    Draw i is the same point of the unit cube, and the same training seed, for every model,
    optimizer and length. If the configurations are listed, draw i is the training seed alone.
    """
    resolver = _Resolver(study)
    if study.sampler == "listed":
        return [
            resolver.trial(draw, c.hyperparameters, c.model, c.optim, c.epochs)
            for draw in range(study.draws)
            for c in study.configurations
        ]
    points = sampling.draw_points(study.sampler, study.space, study.draws, study.seed)
    names = sampling.axis_names(study.space)
    laws = {
        (model, optim): [h for h in study.space if h.applies_to(model, optim)]
        for model in study.models
        for optim in study.optims
    }
    return [
        resolver.trial(draw, drawn, model, optim, epochs)
        for draw, coordinates in enumerate(points.tolist())
        for point in [dict(zip(names, coordinates, strict=True))]
        for epochs in study.epochs
        for optim in study.optims
        for model in study.models
        for drawn in [{h.name: h.at(point[h.name]) for h in laws[model, optim]}]
    ]


def training_seed(seed: int, draw: int) -> int:
    """Return the training seed of a draw: 32 bits that numpy promises never to change."""
    return int(np.random.SeedSequence([seed, draw]).generate_state(1)[0])


class _Resolver:
    """Creates the trials of a study; what they share is computed once."""

    def __init__(self, study: Study) -> None:
        self._study = study
        self._hash = study.hash
        self._draw, self._seed = -1, 0

    def trial(self, draw: int, drawn: dict[str, Any], model: str, optim: str, epochs: int) -> Trial:
        study = self._study
        if draw != self._draw:  # those of a draw follow each other
            self._draw, self._seed = draw, training_seed(study.seed, draw)
        resolved: dict[str, Any] = {
            "seed": self._seed,
            "settings": {**study.constants(model, optim), **drawn},
            "precision": study.precision,
            "fingerprint": study.fingerprint,
            "objective": study.objective,
        }
        return Trial(
            id=trial_id(model, optim, epochs, resolved),
            study=self._hash,
            draw=draw,
            model=model,
            optim=optim,
            epochs=epochs,
            data=study.data,
            data_source=study.data_source,
            hyperparameters=drawn,
            **resolved,
        )


def write_design(study: Study, trials: Sequence[Trial], path: Path) -> None:
    """Write one row per trial, in the order of the design."""
    identity = {column.name: column.name for column in IDENTITY_COLUMNS} | {"trial": "id"}
    columns: dict[str, list[Any]] = {
        name: [getattr(t, attribute) for t in trials] for name, attribute in identity.items()
    }
    for name in sampling.axis_names(study.space):
        columns[name] = [t.hyperparameters.get(name) for t in trials]
    with atomic_write(path) as temporary:
        table = pa.Table.from_pydict(columns, schema=design_schema(study.space))
        pq.write_table(table, temporary, write_page_checksum=True)


def read_design_table(path: Path) -> pa.Table:
    """Read the rows of a design. Raises StoreError if it cannot be read."""
    try:
        table = read_parquet(path)
    except (OSError, DamagedError) as error:
        raise StoreError(
            f"{path} cannot be read: {error}. It is drawn from study.toml: stability resume "
            f"{path.parent} draws the same again"
        ) from error
    if len(set(table.column_names)) < len(table.column_names):
        raise StoreError(f"{path} is no design: two columns have the same name")
    for column in IDENTITY_COLUMNS:
        if column.name not in table.column_names:
            raise StoreError(f"{path} is no design: it has no column {column.name}")
        if table.schema.field(column.name).type != column.type or table[column.name].null_count:
            raise StoreError(f"{path} is no design: {column.name} has another type or empty values")
    return table


def read_design(study: Study, path: Path) -> Design:
    """The trials as they were written. Raises StoreError where the file is not that design."""
    return as_design(study, path, read_design_table(path))


def as_design(study: Study, path: Path, table: pa.Table) -> Design:
    """The trials that `table`, read from `path`, has. Raises StoreError as `read_design` does."""
    expected = design_schema(study.space)
    if (
        not set(expected.names) <= set(table.column_names)
        or table.select(expected.names).schema.types != expected.types
        or len(table) != study.trials
        or table["study"].unique().to_pylist() != [study.hash]
    ):
        raise _wrong_design(path)
    return Design(study, path, table)


def _wrong_design(path: Path) -> StoreError:
    return StoreError(f"{path} is not the design of the study.toml beside it")
