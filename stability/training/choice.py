"""Which engine trains the jobs of one kind fastest here: measured in a few seconds."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import torch

from stability.training.engines import RIGS, Engine, train_with
from stability.training.loop import Job
from stability.training.tensors import TensorData, TensorPart

GAIN = 1.3
"""Trials are trained as one only where that is so much faster than the best other way: one of them
that is slow or out of memory concerns all."""
STEPS = 20  # of an epoch while measuring
EPOCHS = (1, 3)  # the difference of the two is free of what is paid once
EVALUATED = 64  # images of each part that is evaluated while measuring
AT_A_TIME = {"streams": (2, 4), "stacked": (4, 16, 64)}
USUAL = {"streams": 4, "stacked": 16}
"""How many at a time where nobody says."""
NAMES = ("eager", "captured", "captured+compile", "streams", "streams+compile", "stacked")
MOST = 1024  # at a time

Measure = Callable[[Engine, Job, TensorData], float]


def parse(text: str) -> Engine:
    """`stacked:16` as an engine. Raises ValueError with what is allowed.

    >>> parse("stacked"), str(parse("streams+compile:2")), str(parse("eager"))
    (Engine(name='stacked', trials=16), 'streams+compile:2', 'eager')
    """
    name, colon, number = text.partition(":")
    usual = USUAL.get(Engine(name).way)
    if name not in NAMES:
        raise ValueError(f"got {text!r}, allowed is auto, {', '.join(NAMES)}")
    if not colon:
        return Engine(name, usual or 1)
    if usual is None:
        raise ValueError(f"got {text!r}, {name} trains one at a time: no number")
    if not (number.isascii() and number.isdigit() and 1 <= int(number) <= MOST):
        raise ValueError(f"got {text!r}, allowed is {name}:K with K from 1 to {MOST}")
    return Engine(name, int(number))


def fault(engine: Engine, device: str) -> str | None:
    """Why `engine` cannot be used on `cpu` or `cuda`; None where it can."""
    if device != "cuda" and engine.way in ("captured", "streams"):
        return f"{engine} needs a CUDA device, the trials run on {device}"
    return None


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
            if why := unstackable(engine, job, data):
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


def unstackable(engine: Engine, job: Job, data: TensorData) -> str | None:
    """Why jobs like this one cannot be trained as one."""
    if engine.way != "stacked":
        return None
    from stability.training.cohort import can_stack

    return can_stack([replace(job, seed=i) for i in range(2)], data)


def fastest(found: Mapping[str, float | str]) -> Engine:
    """The one to take of what was measured; stacked only where it gains enough.

    >>> str(fastest({"eager": 7.7, "captured": 1.7, "stacked:16": 1.4}))
    'captured'
    >>> str(fastest({"eager": 7.7, "captured": 1.7, "stacked:16": 1.3}))
    'stacked:16'
    """
    seconds = {parse(text): value for text, value in found.items() if isinstance(value, float)}
    if not seconds:
        return Engine("eager")
    order = sorted(seconds, key=lambda engine: seconds[engine])
    others = [engine for engine in order if engine.way != "stacked"]
    first = order[0]
    if first.way != "stacked" or not others:
        return first
    return first if seconds[others[0]] >= GAIN * seconds[first] else others[0]


def seconds_of(engine: Engine, job: Job, data: TensorData) -> float:
    """Seconds that a step of one trial takes, evaluations and all that is paid once left out."""
    short = shortened(data, STEPS * job.recipe.batch_size)
    jobs = [replace(job, seed=i) for i in range(engine.trials)]

    def lasts(epochs: int) -> float:
        start = time.perf_counter()
        for _ in train_with(engine.name, in_epochs(jobs, epochs), short, lambda i, epoch: None):
            pass
        if data.device.type == "cuda":
            torch.cuda.synchronize(data.device)
        return time.perf_counter() - start

    try:
        lasts(1)  # kernels are chosen and loaded, graphs captured
        few, many = EPOCHS
        slopes = [lasts(many) - lasts(few) for _ in range(3)]
    finally:
        RIGS.clear()
    steps = (many - few) * STEPS * engine.trials
    return max(statistics.median(slopes) / steps, 1e-9)


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

    few = {
        name: part(getattr(data, name), min(EVALUATED, len(getattr(data, name))))
        for name in ("validation", "test")
    }
    return replace(data, train=part(data.train, images), **few)
