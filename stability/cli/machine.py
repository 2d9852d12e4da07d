"""What this machine gives, asked of a process that has torch, so that this one needs none."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

from stability.cli.data_names import source
from stability.cli.image_study import OBJECTIVE
from stability.data import load
from sweeps.dispatch.environment import ENVIRONMENT
from sweeps.errors import DispatchError, SpecError
from sweeps.study import Study


@dataclass(frozen=True, kw_only=True)
class Machine:
    """Slots of this machine, and what the study costs on one of them."""

    slots: tuple[str, ...]
    seconds: float | None
    """Of training all trials of the study one after the other, estimated from a few steps; None
    where the objective is not ours."""


def measure(study: Study, device: str) -> Machine:
    """Time a few steps of each model and optimizer; takes about three seconds.

    Raises SpecError where the device is not there or a model from elsewhere cannot be had,
    DispatchError where torch cannot be used.
    """
    ours = study.objective == OBJECTIVE
    kinds = [(model, optim) for model in study.models for optim in study.optims if ours]
    jobs = [_job(study, *kind) for kind in kinds]
    probe = subprocess.run(
        [sys.executable, "-m", "stability.training.probe"],
        input=json.dumps({"device": device, "jobs": jobs}),
        capture_output=True,
        text=True,
        env={**os.environ, **ENVIRONMENT},
        check=False,
    )
    if probe.returncode != 0:
        last = probe.stderr.strip().splitlines()[-1:]
        raise DispatchError(f"torch cannot be used here: {' '.join(last)}")
    answer = json.loads(probe.stdout)
    if "faults" in answer:
        raise SpecError(answer["faults"])
    costs = zip(jobs, answer["seconds"], strict=True)
    seconds = sum(_seconds(study, job["settings"]["batch_size"], cost) for job, cost in costs)
    return Machine(slots=tuple(answer["slots"]), seconds=seconds if ours else None)


def _job(study: Study, model: str, optim: str) -> dict[str, Any]:
    """A trial in the middle of the ranges."""
    drawn = {h.name: h.at(0.5) for h in study.space if h.applies_to(model, optim)}
    settings = {**study.recipe[optim], **drawn}
    return {"model": model, "optim": optim, "settings": settings, "data": source(study)}


def _seconds(study: Study, batch: int, cost: dict[str, float]) -> float:
    """Of all trials of one model and optimizer: steps, and an evaluation before and per epoch."""
    data = load(source(study))
    steps = len(data.train) // batch
    return study.draws * sum(
        epochs * steps * cost["step"]
        + ((epochs + 1) * len(data.validation) + len(data.test)) * cost["image"]
        for epochs in study.epochs
    )
