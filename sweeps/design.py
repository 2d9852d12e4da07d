"""The design: the table of all trials, drawn once and written before anything runs."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from sweeps import sampling
from sweeps.errors import StoreError
from sweeps.files import atomic_write
from sweeps.schema import IDENTITY, design_schema
from sweeps.study import Study
from sweeps.trial import Trial, trial_id

DAMAGED = ".damaged"  # follows the name of what was set aside


def draw_design(study: Study) -> list[Trial]:
    """All trials of `study`, draw by draw; the models of a pair stand side by side.

    Draw i is the same point of the unit cube, and the same training seed, for every model,
    optimizer and length. Where the configurations are listed, draw i is the training seed alone.
    """
    if study.sampler == "listed":
        return [
            _resolve(study, draw, c.hyperparameters, c.model, c.optim, c.epochs)
            for draw in range(study.draws)
            for c in study.configurations
        ]
    points = sampling.draw(study.sampler, study.space, study.draws, study.seed)
    names = sampling.names_of(study.space)
    return [
        _trial(study, draw, dict(zip(names, point, strict=True)), model, optim, epochs)
        for draw, point in enumerate(points.tolist())
        for epochs in study.epochs
        for optim in study.optims
        for model in study.models
    ]


def training_seed(seed: int, draw: int) -> int:
    """Seed of the training of draw `draw`: 32 bits that numpy promises never to change."""
    return int(np.random.SeedSequence([seed, draw]).generate_state(1)[0])


def _trial(
    study: Study, draw: int, point: dict[str, float], model: str, optim: str, epochs: int
) -> Trial:
    drawn = {h.name: h.at(point[h.name]) for h in study.space if h.applies_to(model, optim)}
    return _resolve(study, draw, drawn, model, optim, epochs)


def _resolve(
    study: Study, draw: int, drawn: dict[str, Any], model: str, optim: str, epochs: int
) -> Trial:
    resolved: dict[str, Any] = {
        "seed": training_seed(study.seed, draw),
        "settings": {**study.recipe[optim], **drawn},
        "precision": study.precision,
        "fingerprint": study.fingerprint,
        "objective": study.objective,
    }
    return Trial(
        id=trial_id(model, optim, epochs, resolved),
        study=study.hash,
        draw=draw,
        model=model,
        optim=optim,
        epochs=epochs,
        data=study.data,
        data_source=study.data_source,
        hyperparameters=drawn,
        **resolved,
    )


def write_design(study: Study, trials: list[Trial], path: Path) -> None:
    """One row per trial, in the order of the design."""
    rows = [
        {
            "trial": t.id,
            "study": t.study,
            "draw": t.draw,
            "model": t.model,
            "optim": t.optim,
            "epochs": t.epochs,
            "seed": t.seed,
            "data": t.data,
            **t.hyperparameters,
        }
        for t in trials
    ]
    with atomic_write(path) as temporary:
        table = pa.Table.from_pylist(rows, schema=design_schema(study.space))
        pq.write_table(table, temporary, write_page_checksum=True)


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a design. Raises StoreError where it cannot be read."""
    if path.exists() and not path.is_file():  # a pipe would be waited for
        raise StoreError(f"{path} is no regular file")
    try:
        table = pq.read_table(path, page_checksum_verification=True)
    except (OSError, pa.ArrowException) as error:
        raise StoreError(
            f"{path} cannot be read: {error}. It is drawn from study.toml: stability resume "
            f"{path.parent} draws the same again"
        ) from error
    if missing := {column.name for column in IDENTITY} - set(table.column_names):
        raise StoreError(f"{path} is no design: it has no column {min(missing)}")
    rows: list[dict[str, Any]] = table.to_pylist()
    return rows


def read_design(study: Study, path: Path) -> list[Trial]:
    """The trials as they were written. Raises StoreError where the file is not that design."""
    rows = read_rows(path)
    names = sampling.names_of(study.space)
    other = f"{path} is not the design of the study.toml beside it"
    try:
        trials = [
            _resolve(
                study,
                row["draw"],
                {name: row[name] for name in names if row[name] is not None},
                row["model"],
                row["optim"],
                row["epochs"],
            )
            for row in rows
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise StoreError(other) from error
    if [t.id for t in trials] != [row["trial"] for row in rows]:
        raise StoreError(other)
    return trials
