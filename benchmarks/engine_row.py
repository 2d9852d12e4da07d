"""The process in which `benchmarks.engine` measures, and the rows that it makes of the answers.

python -m benchmarks.engine_row DEVICE answers requests, each a measurement of one engine.
"""

import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from typing import Any

import torch

from benchmarks.children import Measurer, serve
from benchmarks.gpu import data_of, flops_of, job_of, synchronise
from stability.training.engines.choice import measure_step
from stability.training.engines.names import Engine, parse_engine
from stability.training.engines.train_with import GRAPHS, train_with
from stability.training.loop import Job
from stability.training.recipes import settings_of
from stability.training.tensors import TensorData

LEAST_SECONDS = 1e-6
"""Of a step and trial: one kernel alone takes longer to give out. What is below is no time."""
STEPS = 100  # of an epoch that is measured, where it fits
FEWEST = 10
ROW_SECONDS = 120.0  # a row that takes longer hangs
EDF_IMAGES = (5_000, 10_000)  # validation and test of CIFAR-10
EDF_STEPS = 10  # of an epoch where what is beside the steps is measured


@dataclass(frozen=True, kw_only=True)
class Case:
    """A model and a batch, and how much of it fits into the time."""

    model: str
    batch: int
    load: int
    """Steps of single trials in an epoch that is measured: K trials have STEPS at most, load / K
    otherwise. Each takes longer then, so that what an epoch costs at its end stays small."""
    repeats: int = 1
    """Of an engine of one trial at a time; the others, whose steps are many, are measured once."""

    def steps(self, engine: Engine) -> int:
        """Of an epoch."""
        return max(min(STEPS, self.load // engine.trials), min(FEWEST, self.load))


@dataclass(frozen=True, kw_only=True)
class Row:
    """One measurement; None where there is none."""

    model: str
    batch: int
    engine: str
    ms: float | None = None
    """Per step and trial."""
    images: float | None = None
    """A second, of all trials together."""
    mfu: float | None = None
    memory: float | None = None
    """GiB, reserved at most."""
    steps: int | None = None
    """Of each epoch that was measured; of packed processes in their window, all together."""
    took: float | None = None
    """Seconds, with all that is left out of `ms`."""
    fault: str = ""


class Rows:
    """Makes rows: asks the measurer, and knows what MFU is a share of."""

    def __init__(
        self, device: str, peak: float | None, measurer: Measurer, most: float = ROW_SECONDS
    ) -> None:
        """`most`: seconds after which a row is given up."""
        self.device, self._peak, self.measurer, self.most = device, peak, measurer, most

    def of(self, case: Case, name: str) -> Row:
        """One engine; why not, where it cannot be measured."""
        engine, empty = parse_engine(name), Row(model=case.model, batch=case.batch, engine=name)
        answer = self.measurer.ask(request(case, engine) | {"what": "step"}, self.most)
        if "fault" in answer:
            return replace(empty, fault=answer["fault"])
        own = {name: answer[name] for name in ("memory", "took", "steps")}
        return self.told(replace(empty, **own), answer["seconds"])

    def told(self, row: Row, seconds: float) -> Row:
        """With what follows from seconds per step and trial; a fault where they are none."""
        if not seconds >= LEAST_SECONDS:
            return replace(row, fault=f"got {seconds:g} s for a step: no time was measured")
        images = row.batch / seconds
        mfu = images * flops_once(row.model) / self._peak if self._peak else None
        return replace(row, ms=1e3 * seconds, images=images, mfu=mfu)


flops_once = cache(flops_of)


def request(case: Case, engine: Engine) -> dict[str, Any]:
    """As `answer` takes it."""
    repeats = case.repeats if engine.trials == 1 else 1
    return asdict(case) | {
        "engine": str(engine),
        "steps": case.steps(engine),
        "repeats": repeats,
    }


def answer(asked: dict[str, Any], device: str) -> dict[str, Any]:
    """A measurement. Raises whatever the engine raises."""
    start, engine = time.perf_counter(), parse_engine(asked["engine"])
    if device == "cuda":
        GRAPHS.clear()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    measured = edf_seconds if asked["what"] == "edf" else step_seconds
    content = measured(engine, asked, device)
    memory = torch.cuda.max_memory_reserved() / 2**30 if device == "cuda" else None
    return content | {
        "memory": memory,
        "took": time.perf_counter() - start,
        "steps": asked["steps"],
    }


def step_seconds(engine: Engine, asked: dict[str, Any], device: str) -> dict[str, Any]:
    """Of a step and trial, without augmentation."""
    data = data_of(asked["model"], device)
    job = job_of(asked["model"], asked["batch"], device)
    seconds = measure_step(engine, job, data, steps=asked["steps"], repeats=asked["repeats"])
    return {"seconds": seconds}


def edf_seconds(engine: Engine, asked: dict[str, Any], device: str) -> dict[str, Any]:
    """What an EDF of the recipe `micro` is made of, by one engine.

    `seconds` per step and trial; of `trials` trained at a time: `first`, of one epoch of `few`
    steps, with all that is paid once in a process; `again`, the same; `longer`, of three epochs.
    Evaluated are as many images as CIFAR-10 has.
    """
    settings = settings_of("micro", "sgd") | {"batch_size": asked["batch"]}
    job = job_of(asked["model"], asked["batch"], device, **settings)
    plain = data_of(asked["model"], device)
    seconds = measure_step(engine, job, plain, steps=asked["steps"], repeats=asked["repeats"])
    few = min(EDF_STEPS, asked["steps"])
    images = few * asked["batch"]
    data = data_of(asked["model"], device, images=images, held=asked.get("held", EDF_IMAGES))
    jobs = [replace(job, seed=i) for i in range(engine.trials)]
    first, again = whole_seconds(engine, jobs, data, 1), whole_seconds(engine, jobs, data, 1)
    return {
        "seconds": seconds,
        "few": few,
        "trials": engine.trials,
        "settings": settings,
        "first": first,
        "again": again,
        "longer": whole_seconds(engine, jobs, data, 3),
    }


def whole_seconds(engine: Engine, jobs: Sequence[Job], data: TensorData, epochs: int) -> float:
    """Of trainings from their models to their last evaluation."""
    start = time.perf_counter()
    longer = [replace(job, epochs=epochs) for job in jobs]
    for _, training in train_with(engine.name, longer, data, lambda i, epoch: None):
        if training.outcome == "diverged":
            raise ValueError("a trial diverged: its time says nothing")
    synchronise(data.device)
    return time.perf_counter() - start


def main() -> None:
    """Answer until nobody asks."""
    torch.set_num_threads(1)
    torch.backends.cudnn.allow_tf32 = False
    serve(lambda asked: answer(asked, sys.argv[1]))


if __name__ == "__main__":
    main()
