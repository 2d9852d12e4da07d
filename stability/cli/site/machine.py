"""What this machine gives, asked of a process that has torch, so that this one needs none."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from importlib import metadata
from typing import Any

from stability.cli.study.data_names import source
from stability.cli.study.image_study import OBJECTIVE
from stability.cores import cores
from stability.data import load_data
from stability.models.names import is_external
from sweeps.errors import ExecutorError, SpecError
from sweeps.executors.environment import ENVIRONMENT
from sweeps.study.study import Study


@dataclass(frozen=True, kw_only=True)
class Machine:
    """Slots of this machine, and what the study costs on one of them."""

    slots: tuple[str, ...]
    seconds: float | None
    """Of training all trials of the study one after the other, estimated from a few steps; None
    where the objective is not ours, or its steps take too long to be timed."""
    is_measured: bool = True
    """False where only the slots are known."""


def known_slots(device: str) -> tuple[str, ...] | None:
    """Slots where torch need not be asked for GPUs; None where it must be, which takes seconds."""
    if device == "cpu" or (device == "auto" and metadata.version("torch").endswith("+cpu")):
        return tuple(f"cpu:{core}" for core in range(cores()))
    return None


def measure(study: Study, device: str, *, is_timed: bool = True) -> Machine:
    """Time a few steps of each model and optimizer; takes three seconds, large models a few more.

    Not `is_timed`: only look at the models that are not ours, where there are any.
    Raises SpecError where the device is not there or a model from elsewhere cannot be had,
    DispatchError where torch cannot be used.
    """
    asked = question(study, device, is_timed=is_timed)
    if not is_timed and not asked["jobs"]:
        return Machine(slots=(), seconds=None)
    probe = subprocess.run(
        [sys.executable, "-m", "stability.probe"],
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        env={**os.environ, **ENVIRONMENT},
        check=False,
    )
    last = " ".join(probe.stderr.strip().splitlines()[-1:])
    own = [model for model in study.models if is_external(model)]
    if own and (probe.returncode != 0 or not probe.stdout):
        ended = f"ended the process that checked it (status {probe.returncode}): {last}"
        raise SpecError([f"--model: {' or '.join(own)} {ended}"])
    if probe.returncode != 0:
        raise ExecutorError(f"torch cannot be used here: {last}")
    return machine_of(study, json.loads(probe.stdout))


def question(study: Study, device: str, *, is_timed: bool = True) -> dict[str, Any]:
    """What the probe is asked: a trial in the middle of the ranges for each model and optimizer.

    Where nothing is timed, of the models that are not ours alone.
    """
    kinds = [kind for kind in _kinds(study) if is_timed or is_external(kind[0])]
    jobs = [{**_job(study, *kind), "is_timed": is_timed} for kind in kinds]
    return {"device": device, "jobs": jobs}


def machine_of(study: Study, answer: dict[str, Any]) -> Machine:
    """The machine by what the probe answers.

    Raises SpecError where that is a fault, DispatchError where it could not.
    """
    if "faults" in answer:
        raise SpecError(answer["faults"])
    if "error" in answer:
        raise ExecutorError(f"torch cannot be used here: {answer['error']}")
    slots, costs = tuple(answer["slots"]), answer["seconds"]
    if not costs or None in costs:
        return Machine(slots=slots, seconds=None)
    jobs = [_job(study, *kind) for kind in _kinds(study)]
    seconds = sum(
        _seconds(study, job["settings"]["batch_size"], cost)
        for job, cost in zip(jobs, costs, strict=True)
    )
    return Machine(slots=slots, seconds=seconds)


def _kinds(study: Study) -> list[tuple[str, str]]:
    """Models and optimizers that the probe can time: those of our own objective."""
    if study.objective != OBJECTIVE:
        return []
    return [(model, optim) for model in study.models for optim in study.optims]


def _job(study: Study, model: str, optim: str) -> dict[str, Any]:
    """A trial in the middle of the ranges."""
    drawn = {h.name: h.at(0.5) for h in study.space if h.applies_to(model, optim)}
    settings = {**study.constants(model, optim), **drawn}
    return {"model": model, "optim": optim, "settings": settings, "data": source(study)}


def _seconds(study: Study, batch: int, cost: dict[str, float]) -> float:
    """Of all trials of one model and optimizer: steps, and an evaluation before and per epoch."""
    data = load_data(source(study))
    steps = len(data.train) // batch
    return study.draws * sum(
        epochs * steps * cost["step"]
        + ((epochs + 1) * len(data.validation) + len(data.test)) * cost["image"]
        for epochs in study.epochs
    )
