"""Which engine trains the jobs of one kind fastest here: measured in a few seconds."""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch

from stability.training.cohort import can_stack
from stability.training.engine_names import Engine
from stability.training.engines import RIGS, train_with
from stability.training.loop import Job
from stability.training.tensors import TensorData, TensorPart

STEPS = 20  # of an epoch while measuring
EPOCHS = (1, 3)  # the difference of the two is free of what is paid once
EVALUATED = 64  # images of each part that is evaluated while measuring
AT_A_TIME = {"streams": (2, 4), "stacked": (4, 16, 64)}

Measure = Callable[[Engine, Job, TensorData], float]


def candidates(trials: int) -> list[list[Engine]]:
    """What is measured on a GPU for so many trials of a kind, as ladders.

    A ladder is climbed as long as it gets faster; the first way of it is always measured.
    """
    ladders = [[Engine("eager")], [Engine("captured")]]
    for name, sizes in AT_A_TIME.items():
        ladders.append([Engine(name, k) for k in sizes if k <= trials])
    return [ladder for ladder in ladders if ladder]


def measured(
    job: Job, data: TensorData, trials: int, measure: Measure | None = None
) -> dict[str, float | str]:
    """Seconds per step and trial of each candidate, or why there are none."""
    found: dict[str, float | str] = {}
    for ladder in candidates(trials):
        best = float("inf")
        for engine in ladder:
            why = unstackable(job, data) if engine.way == "stacked" else None
            if why is not None:
                found[str(engine)] = why
                break
            try:
                seconds = (measure or seconds_of)(engine, job, data)
            except Exception as error:  # whatever it is: this way is not taken
                found[str(engine)] = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
                break
            found[str(engine)] = seconds
            if seconds > 0.95 * best:
                break
            best = min(best, seconds)
    return found


def unstackable(job: Job, data: TensorData) -> str | None:
    """Why jobs like this one cannot be trained as one; None where they can."""
    return can_stack([replace(job, seed=i) for i in range(2)], data)


def seconds_of(
    engine: Engine, job: Job, data: TensorData, *, steps: int = STEPS, repeats: int = 3
) -> float:
    """Seconds that a step of one trial takes, evaluations and all that is paid once left out.

    The median of `repeats` differences between trainings of three epochs and of one, of `steps`
    steps each.
    """
    short = shortened(data, steps * job.recipe.batch_size)
    jobs = [replace(job, seed=i) for i in range(engine.trials)]

    # On a CPU, where other processes have their turn too, what this one had.
    clock = time.perf_counter if data.device.type == "cuda" else time.process_time

    def lasts(epochs: int) -> float:
        start = clock()
        for _ in train_with(engine.name, in_epochs(jobs, epochs), short, lambda i, epoch: None):
            pass
        if data.device.type == "cuda":
            torch.cuda.synchronize(data.device)
        return clock() - start

    few, many = EPOCHS
    try:
        lasts(few)  # kernels are chosen and loaded, graphs captured
        slopes = [lasts(many) - lasts(few) for _ in range(repeats)]
    finally:
        RIGS.clear()
    return max(statistics.median(slopes) / ((many - few) * steps * engine.trials), 1e-9)


def in_epochs(jobs: Sequence[Job], epochs: int) -> list[Job]:
    """The jobs with another length, and without a warm-up in epochs that it might not have."""
    return [
        replace(job, epochs=epochs, recipe=replace(job.recipe, warmup_epochs=None)) for job in jobs
    ]


def shortened(data: TensorData, images: int) -> TensorData:
    """The data with so many training images, some of them again, and few to evaluate."""

    def part(whole: TensorPart, n: int) -> TensorPart:
        rows = torch.arange(n, device=data.device) % len(whole)
        return replace(whole, images=whole.images[rows], labels=whole.labels[rows])

    return replace(
        data,
        train=part(data.train, images),
        validation=part(data.validation, min(EVALUATED, len(data.validation))),
        test=part(data.test, min(EVALUATED, len(data.test))),
    )
