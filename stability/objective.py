"""The objective of image studies: trains the trials of a cohort with `stability.training`."""

import resource
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict
from functools import cache
from typing import Any

import torch

from stability.data import load
from stability.image_engines import ImageEngines
from stability.training.engines.train_with import train_with
from stability.training.loop import Epoch, Job, train
from stability.training.outcome import Training, chance_of
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
    if cohort.engine != "eager":
        yield from _together(cohort)
        return
    for trial in cohort.trials:
        curve: list[Epoch] = []
        data = _data(trial, cohort.device)
        training = train(_job(trial), data, curve.append, cohort.saved_of(trial))
        yield _result(trial, training, curve, cohort, data)


def _together(cohort: Cohort) -> Iterator[Result]:
    """Trials of one kind, by an engine that may train several at a time."""
    trials, curves = cohort.trials, defaultdict[int, list[Epoch]](list)
    data = _data(trials[0], cohort.device)  # alike, so that they have the same
    jobs = [_job(trial) for trial in trials]
    saved = [cohort.saved_of(trial) for trial in trials]

    def on_epoch(i: int, epoch: Epoch) -> None:
        curves[i].append(epoch)

    computed: list[float] = []
    for i, training in train_with(cohort.engine, jobs, data, on_epoch, saved):
        computed += [] if training.computed is None else [training.computed]
        yield _result(trials[i], training, curves[i], cohort, data)
    if computed:
        spared = 1 - sum(computed) / sum(job.epochs for job in jobs)
        print(
            f"trained {len(jobs)} trials as one: {spared:.1%} of their epochs were not computed, "
            "of trials that had diverged",
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
    values = _values(training, curve, cohort.device) | {"chance": chance_of(data.test)}
    return Result(
        trial=trial.id,
        outcome=outcome_of(training),
        values=values | circumstances,
        curve=[asdict(epoch) for epoch in curve],
    )


def outcome_of(training: Training) -> str:
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
    data = load(source)
    if data.fingerprint != trial.fingerprint:
        raise RuntimeError(
            f"the data {source!r} have fingerprint {data.fingerprint} here, "
            f"{trial.fingerprint} in the study: files changed or became (un)readable"
        )
    return _on_device(source, device)


@cache
def _on_device(name: str, device: str) -> TensorData:
    return TensorData.of(load(name), device)


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
