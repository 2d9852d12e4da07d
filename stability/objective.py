"""The objective of image studies: trains the trials of a cohort with `stability.training`."""

import resource
import sys
from collections.abc import Iterator
from dataclasses import asdict
from functools import cache
from typing import Any

import torch

from stability.data import load
from stability.training.checkpoint import device_name
from stability.training.loop import Epoch, Job, train
from stability.training.outcome import Training, chance_of
from stability.training.recipe import Recipe
from stability.training.tensors import TensorData
from sweeps.trial import Cohort, Result, Trial


def train_images(cohort: Cohort) -> Iterator[Result]:
    """Train each trial of the cohort, one by one, and judge it on the test part.

    Raises RuntimeError where the data here are not those that the study was made with.
    """
    if cohort.device == "cpu":
        torch.set_num_threads(1)  # one process a core; and equal bits whatever the workers
    else:
        # float32 means it: cuDNN's convolutions would round to 10 bits by default.
        torch.backends.cudnn.allow_tf32 = False
    for trial in cohort.trials:
        curve: list[Epoch] = []
        data = _data(trial, cohort.device)
        training = train(_job(trial), data, curve.append, cohort.saved_of(trial))
        yield Result(
            trial=trial.id,
            outcome=training.outcome,
            values=_values(training, curve, cohort.device) | {"chance": chance_of(data.test)},
            curve=[asdict(epoch) for epoch in curve],
        )


def _job(trial: Trial) -> Job:
    return Job(
        model=trial.model,
        optimizer=trial.optim,
        recipe=Recipe.of(trial.settings),
        epochs=trial.epochs,
        seed=trial.seed,
    )


def _data(trial: Trial, device: str) -> TensorData:
    source = trial.data_source or trial.data
    data = load(source)
    if data.fingerprint != trial.fingerprint:
        raise RuntimeError(
            f"the data {source!r} have fingerprint {data.fingerprint} here, "
            f"{trial.fingerprint} in the study"
        )
    return _on_device(source, device)


@cache
def _on_device(name: str, device: str) -> TensorData:
    return TensorData.of(load(name), device)


def _values(training: Training, curve: list[Epoch], device: str) -> dict[str, Any]:
    values: dict[str, Any] = {
        "engine": "eager",
        "precision": "float32",
        "device": " + ".join(training.devices or [device_name(torch.device(device))]),
        "peak_memory": _peak_memory(device),
        "diverged_at": training.diverged_at,
    }
    trained = curve[1:]
    if trained:
        best = min(trained, key=lambda row: row.val_error)  # the first of equals
        last = trained[-1]
        values |= {"best_val_error": best.val_error, "best_epoch": best.epoch}
        values |= {"last_finite_error": last.val_error}
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
