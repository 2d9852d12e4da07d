"""What this machine gives: its devices, and what a step costs on one. Run as a process of its own.

    echo '{"device": "auto", "jobs": []}' | python -m stability.probe

The command line itself never imports torch; it asks here while it does something else.
"""

import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

from stability.cores import cores
from stability.data import load_data
from stability.models.build import build
from stability.models.names import is_external
from stability.models.own import OwnModelError, check_logits
from stability.training.augment.batches import Streams, training_batch
from stability.training.outcome import evaluate
from stability.training.settings import Recipe
from stability.training.tensors import TensorData

TIMED_STEPS = 9  # the median of these; the first are slower
LIMIT_SECONDS = 10.0  # for all jobs together: a step of a large model can take minutes on a CPU
FORWARD = 1 / 3  # of a step: the backward pass costs twice as much


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


def time_job(job: dict[str, Any], device: str, patience: float) -> dict[str, float] | None:
    """Seconds a training step and the evaluation of an image take, by a few of each.

    `job`: model, settings, data, and `is_timed`: where it is false, or `patience` seconds are none,
    a model from elsewhere is looked at, and None is the answer. Where steps of the whole batch do
    not fit into `patience`, they are reckoned by those of fewer images. The optimizer's own work, a
    few percent of a step, is left out: torch takes as long as all of this to load its optimizers.
    """
    is_timed = job["is_timed"] and patience > 0
    if not is_timed and not is_external(job["model"]):
        return None
    start = time.perf_counter()
    data = TensorData.of(load_data(job["data"]), device)
    recipe, streams = Recipe.of(job["settings"]), Streams.of(0)
    model = build(
        job["model"],
        channels=data.shape[0],
        classes=data.classes,
        generator=streams.weights,
        device=data.device,
        image=data.shape[1:],
    )
    if is_external(job["model"]):
        check_logits(model, job["model"], data.shape, data.classes)
        model.train()
    if not is_timed:
        return None
    # On a CPU workers may be starting beside this: what counts is its own share of the core.
    clock = time.process_time if device == "cpu" else time.perf_counter

    def step(size: int) -> float:
        start_time = clock()
        rows = torch.arange(size)
        images, targets = training_batch(data.train, rows, data.classes, recipe, streams)
        loss = F.cross_entropy(model(images), targets)
        loss.backward()  # type: ignore[no-untyped-call]
        float(loss.detach())  # waits for the device
        return clock() - start_time

    def left() -> float:
        return patience - (time.perf_counter() - start)

    def forward(count: int) -> float:
        start_time, part = clock(), data.validation
        evaluate(model, replace(part, images=part.images[:count], labels=part.labels[:count]))
        return clock() - start_time

    return time_steps(step, recipe.batch_size, forward, len(data.validation), left)


def time_steps(
    step: Callable[[int], float],
    batch: int,
    forward: Callable[[int], float],
    most: int,
    left: Callable[[], float],
) -> dict[str, float]:
    """Seconds of a step and of the evaluation of an image, as well as the time `left` allows.

    `step` and `forward` of so many images give their seconds; there are `most` to evaluate.
    """
    image, is_whole = by_image(step, batch, left)
    if not is_whole:
        return {"step": image * batch, "image": image * FORWARD}
    steps = [image * batch]
    while len(steps) < TIMED_STEPS and steps[-1] < left():
        steps.append(step(batch))
    seconds = statistics.median(steps)
    expected = FORWARD * seconds / batch
    count = min(most, int(left() / expected))
    return {"step": seconds, "image": forward(count) / count if count > 0 else expected}


def by_image(
    step: Callable[[int], float], batch: int, left: Callable[[], float]
) -> tuple[float, bool]:
    """Seconds of a step by its images, and whether it was one of the whole batch.

    Four times as many images are tried as long as four times the seconds are left, which holds the
    memory within bounds too.
    """
    size = min(2, batch)  # BatchNorm needs two
    seconds = step(size)
    while size < batch and 4 * seconds < left():
        size = min(4 * size, batch)
        seconds = step(size)
    return seconds / size, size == batch


def answer(question: dict[str, Any]) -> dict[str, Any]:
    """Slots, and the seconds of each job, None where they are not known; or `faults`."""
    torch.set_num_threads(1)
    try:
        places = slots(question["device"])
    except ValueError as error:
        return {"faults": [f"--device: {error}"]}
    device = "cpu" if places[0].startswith("cpu") else places[0]
    if any(is_external(job["model"]) for job in question["jobs"]):
        sys.path.append(str(Path.cwd()))  # last, as in a worker: where a user's own model may lie
    faults: list[str] = []
    seconds = []
    jobs, end = question["jobs"], time.perf_counter() + LIMIT_SECONDS
    for i, job in enumerate(jobs):
        patience = (end - time.perf_counter()) / (len(jobs) - i)
        try:
            seconds.append(time_job(job, device, patience))
        except OwnModelError as error:
            faults.append(f"--model: {error}")
        except Exception as error:
            if not is_external(job["model"]):
                raise
            fault = f"a training step failed: {type(error).__name__}: {error}"
            faults.append(f"--model: {job['model']}: {fault}")
    if faults:
        return {"faults": list(dict.fromkeys(faults))}
    return {"slots": places, "seconds": seconds}


def main() -> None:
    """Answer on standard output; what a model from elsewhere prints goes to standard error."""
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as out:
        os.dup2(2, 1)
        json.dump(answer(json.load(sys.stdin)), out)


if __name__ == "__main__":
    main()
