"""What this machine gives: its devices, and what a step costs on one. Run as a process of its own.

    echo '{"device": "auto", "jobs": []}' | python -m stability.training.probe

The command line itself never imports torch; it asks here while it does something else.
"""

import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from stability.data import load
from stability.models.build import build
from stability.models.names import is_own
from stability.models.own import OwnModelError, check_logits
from stability.training.batches import Streams, training_batch
from stability.training.cores import cores
from stability.training.outcome import evaluate
from stability.training.recipe import Recipe
from stability.training.tensors import TensorData

STEPS = 9  # the median of these; the first are slower
FEW = 2  # images of the step that says whether whole ones can be waited for
PATIENCE_SECONDS = 10.0  # that a whole step may take to be timed
PASSES = 3  # forward, and backward twice as much


def slots(device: str) -> list[str]:
    """Places for workers on this machine: a core each on a CPU, or a GPU each.

    `device` is `auto`, `cpu`, `cuda` or `cuda:i`. Raises ValueError where there is no such GPU.
    """
    gpus = [f"cuda:{i}" for i in range(torch.cuda.device_count())]
    if device == "cpu" or (device == "auto" and not gpus):
        return [f"cpu:{core}" for core in range(cores())]
    found = [gpu for gpu in gpus if device in ("auto", "cuda", gpu)]
    if not found:
        raise ValueError(f"got {device!r}, torch sees {', '.join(gpus) or 'no GPU'} here")
    return found


def model_of(job: dict[str, Any], data: TensorData, streams: Streams) -> nn.Module:
    """The job's model; raises OwnModelError where it is a user's own and cannot be trained."""
    model = build(
        job["model"],
        channels=data.shape[0],
        classes=data.classes,
        generator=streams.weights,
        device=data.device,
        image=data.shape[1:],
    )
    if is_own(job["model"]):
        check_logits(model, job["model"], data.shape, data.classes)
        model.train()
    return model


def seconds_of(job: dict[str, Any], device: str) -> dict[str, float]:
    """Seconds a training step and the evaluation of an image take, by a few of each.

    Of a model so large that whole steps cannot be waited for, by the step of two images.

    `job`: model, settings, data. The optimizer's own work, a few percent of a step, is left out:
    torch takes as long as all of this to load its optimizers.
    """
    data = TensorData.of(load(job["data"]), device)
    recipe, streams, classes = Recipe.of(job["settings"]), Streams.of(0), data.classes
    model = model_of(job, data, streams)
    # On a CPU workers may be starting beside this: what counts is its own share of the core.
    clock = time.process_time if device == "cpu" else time.perf_counter

    def step(images: int = recipe.batch_size) -> float:
        start, rows = clock(), torch.arange(images)
        pixels, targets = training_batch(data.train, rows, classes, recipe, streams)
        loss = F.cross_entropy(model(pixels), targets)
        loss.backward()  # type: ignore[no-untyped-call]
        float(loss.detach())  # waits for the device
        return clock() - start

    if recipe.batch_size > FEW:
        each = min(step(FEW), step(FEW)) / FEW  # the first loads what all need
        if each * recipe.batch_size > PATIENCE_SECONDS:
            return {"step": each * recipe.batch_size, "image": each / PASSES}
    steps = [step() for _ in range(STEPS)]
    start = clock()
    evaluate(model, data.validation)
    image = (clock() - start) / len(data.validation)
    return {"step": statistics.median(steps), "image": image}


def answer(question: dict[str, Any]) -> dict[str, Any]:
    """Slots, and the seconds of each job; or `faults`."""
    torch.set_num_threads(1)
    try:
        places = slots(question["device"])
    except ValueError as error:
        return {"faults": [f"--device: {error}"]}
    device = "cpu" if places[0].startswith("cpu") else places[0]
    sys.path.append(str(Path.cwd()))  # last, as in a worker: where a user's own model may lie
    faults: list[str] = []
    seconds = []
    for job in question["jobs"]:
        try:
            if question.get("timed", True):
                seconds.append(seconds_of(job, device))
            else:
                model_of(job, TensorData.of(load(job["data"]), device), Streams.of(0))
        except OwnModelError as error:
            faults.append(f"--model: {error}")
    if faults:
        return {"faults": list(dict.fromkeys(faults))}
    return {"slots": places, "seconds": seconds}


if __name__ == "__main__":
    json.dump(answer(json.load(sys.stdin)), sys.stdout)
