"""The objective of image studies: trains the trials of a cohort with `stability.training`."""

import resource
import sys
from collections.abc import Iterator
from dataclasses import asdict
from functools import cache
from typing import Any

import torch

from stability.data import load_data
from stability.image_engines import ImageEngines
from stability.training.engines.train_with import train_with
from stability.training.loop import Epoch, Job
from stability.training.outcome import Training, majority_error
from stability.training.precision import exact_float32
from stability.training.settings import Recipe
from stability.training.state import device_name
from stability.training.tensors import TensorData
from sweeps.objective.collapse import is_collapsed
from sweeps.study.trial import Cohort, Result, Trial
from sweeps.worker.engine import trained_by


@trained_by(ImageEngines(lambda trial: _job(trial), lambda trial, device: _data(trial, device)))
def train_images(cohort: Cohort) -> Iterator[Result]:
    """Train each trial of the cohort, by its engine, and judge it on the test part.

    Raises RuntimeError where the data here are not those that the study was made with.
    """
    if cohort.device == "cpu":
        torch.set_num_threads(1)  # one process a core; and equal bits whatever the workers
    else:
        exact_float32()
        torch.cuda.reset_peak_memory_stats()  # what was measured or trained before is not its own
    # Trials that are trained one by one may differ in everything, their data too.
    groups = [[trial] for trial in cohort.trials] if cohort.engine == "eager" else [cohort.trials]
    computed: list[float] = []
    for trials in groups:
        data, curves = _data(trials[0], cohort.device), [list[Epoch]() for _ in trials]
        jobs, saved = [_job(trial) for trial in trials], [cohort.saved_of(t) for t in trials]

        def on_epoch(i: int, row: Epoch, curves: list[list[Epoch]] = curves) -> None:
            curves[i].append(row)

        for i, training in train_with(cohort.engine, jobs, data, on_epoch, saved):
            computed += [] if training.computed is None else [training.computed]
            yield _result(trials[i], training, curves[i], cohort, data)
    if computed:
        spared = 1 - sum(computed) / sum(trial.epochs for trial in cohort.trials)
        print(
            f"trained {len(cohort.trials)} trials as one: {spared:.1%} of their epochs were not "
            "computed, of trials that had diverged",
            file=sys.stderr,
        )


def _result(
    trial: Trial, training: Training, curve: list[Epoch], cohort: Cohort, data: TensorData
) -> Result:
    circumstances = {
        "engine": cohort.engine,
        "precision": trial.precision,
        "device": " + ".join(training.devices or [device_name(data.device)]),
    }
    values = _values(training, curve, cohort.device) | {"chance": majority_error(data.test)}
    return Result(
        trial=trial.id,
        outcome=image_outcome(training),
        values=values | circumstances,
        curve=[asdict(epoch) for epoch in curve],
    )


def image_outcome(training: Training) -> str:
    """`ok`, `collapsed` or `diverged`."""
    test = training.test
    if test is not None and is_collapsed(test.error, test.chance, test.n, constant=test.constant):
        return "collapsed"
    return training.outcome


def _job(trial: Trial) -> Job:
    return Job(
        model=trial.model,
        optimizer=trial.optim,
        recipe=Recipe.of(trial.settings),
        epochs=trial.epochs,
        seed=trial.seed,
        precision=trial.precision,
    )


def _data(trial: Trial, device: str) -> TensorData:
    source = trial.data_source or trial.data
    data = load_data(source)
    if data.fingerprint != trial.fingerprint:
        raise RuntimeError(
            f"the data {source!r} have fingerprint {data.fingerprint} here, "
            f"{trial.fingerprint} in the study: files changed or became (un)readable"
        )
    return _on_device(source, device)


@cache
def _on_device(name: str, device: str) -> TensorData:
    return TensorData.of(load_data(name), device)


def _values(training: Training, curve: list[Epoch], device: str) -> dict[str, Any]:
    values: dict[str, Any] = {
        "peak_memory": _peak_memory(device),
        "diverged_at": training.diverged_at,
        "computed": training.computed,
    }
    errors = {row.epoch: row.val_error for row in curve[1:] if row.val_error is not None}
    if errors:
        best, last = min(errors, key=errors.__getitem__), curve[-1]  # the first of equals
        values |= {"best_val_error": errors[best], "best_epoch": best}
        values |= {"last_finite_error": errors[max(errors)]}
    if training.test is not None:
        values |= {
            "error": training.test.error,
            "wrong": training.test.wrong,
            "n_eval": training.test.n,
            "val_error": last.val_error,
            "loss": last.loss,
            "train_loss": last.train_loss,
        }
    if training.test is not None and training.raw_test is not None:
        values |= {"raw_error": training.raw_test.error, "ema_error": training.test.error}
    return values


def _peak_memory(device: str) -> int:
    if device == "cuda":
        return torch.cuda.max_memory_allocated()
    unit = 1 if sys.platform == "darwin" else 1024  # Linux counts kibibytes, macOS bytes
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
