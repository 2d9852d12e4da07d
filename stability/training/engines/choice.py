"""Measures in a few seconds which engine trains the jobs of one kind fastest on this device."""

import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import pairwise

import torch

from stability.models.names import is_external
from stability.training.engines.calibration_job import calibration_data, calibration_job
from stability.training.engines.names import Engine
from stability.training.engines.parity import parity_fault
from stability.training.engines.stackable import can_stack
from stability.training.engines.train_with import GRAPHS, prepare, train_with
from stability.training.loop import Job, steps_per_epoch
from stability.training.tensors import TensorData

MEASURED_EPOCHS = (
    4  # of a measured training: the first may hold what is paid once, three differences remain
)
BUDGET = 3.0  # seconds, about, for these epochs
PROBED = 2  # steps of each of the two epochs that say how many the budget allows
FULL_STEP_SECONDS = 0.03
"""Seconds of an eager step that fill a GPU: several trials at a time then gain nothing."""
COMPILING = 60.0  # seconds, about; how many it really were is measured where it is tried
WORTH = 10  # a study that takes so many times longer by graphs alone may gain from compiling
AT_A_TIME = {"streams": (2, 4), "stacked": (4, 16, 64)}


class NotMeasuredError(Exception):
    """A measurement that gave no number."""


@dataclass(frozen=True, kw_only=True)
class Workload:
    """The trials of one kind that a study has still to train."""

    trials: int
    steps: int
    """Steps of one trial over all epochs."""
    keeps_graphs: bool = True
    """Whether a graph serves all trials of the kind; else it is captured anew for each cohort."""


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a trial costs by one engine."""

    step: float
    """Seconds per step and trial: an epoch's time divided by its steps, so with each step's share
    of evaluation, precise statistics, signals and transfers."""
    beside: float = 0.0
    """Seconds per trial beside its epochs: models built, the first evaluation, its share of what
    its cohort or its kind captures or compiles once. The last evaluation is left out."""

    def seconds(self, steps: int) -> float:
        """Seconds of a trial of `steps` steps.

        >>> Cost(step=0.5, beside=10.0).seconds(100)
        60.0
        """
        return self.beside + steps * self.step


@dataclass
class Measurement:
    """Results for one kind of trial."""

    costs: dict[str, Cost | str] = field(default_factory=dict)
    """By engine; or why there is none."""
    is_spoilt: bool = False
    """Whether a graph failed for another reason than memory: torch may believe that a capture is
    still under way, and this process should train nothing."""

    def why_not(self, engine: str) -> str | None:
        """Why an engine cannot be used; None if it can, or was not tried."""
        found = self.costs.get(engine)
        return found if isinstance(found, str) else None

    def step(self, engine: str) -> float | None:
        """Seconds of a step by an engine; None if it has no costs."""
        found = self.costs.get(engine)
        return found.step if isinstance(found, Cost) else None


Measure = Callable[[Engine, Job, TensorData, Workload], Cost]


def candidates(trials: int) -> list[list[Engine]]:
    """Engines to measure on a GPU for so many trials of a kind, as lists of growing batches.

    A list is followed as long as it gets faster.

    >>> [str(engine) for ladder in candidates(3) for engine in ladder]
    ['eager', 'captured', 'captured+compile', 'streams:2']
    """
    ladders = [[Engine("eager")], [Engine("captured")], [Engine("captured+compile")]]
    for name, sizes in AT_A_TIME.items():
        ladders.append([Engine(name, k) for k in sizes if k <= trials])
    return [ladder for ladder in ladders if ladder]


def measure_engines(
    job: Job, data: TensorData, workload: Workload, measure: Measure | None = None
) -> Measurement:
    """Measure each candidate that may pay; an engine without costs has a reason instead."""
    found = Measurement()
    for ladder in candidates(workload.trials):
        if ladder[0].is_compiled and not may_pay_to_compile(found, workload):
            continue
        best = math.inf
        for engine in ladder:
            cost = _tried(engine, job, data, workload, found, measure or cost_of)
            found.costs[str(engine)] = cost
            if isinstance(cost, str) or cost.seconds(workload.steps) > 0.95 * best:
                break
            best = cost.seconds(workload.steps)
    return found


def may_pay_to_compile(found: Measurement, workload: Workload) -> bool:
    """Whether the trials of a kind take so long that compiling may cost less than it saves."""
    step = found.step("captured")
    if step is None or not workload.keeps_graphs:
        return False
    return step * workload.steps * workload.trials >= WORTH * COMPILING


def _tried(
    engine: Engine,
    job: Job,
    data: TensorData,
    workload: Workload,
    found: Measurement,
    measure: Measure,
) -> Cost | str:
    try:
        return _left_out(engine, job, data, found) or measure(engine, job, data, workload)
    except NotMeasuredError as error:
        return str(error)
    except Exception as error:  # whatever it is: this way is not taken
        found.is_spoilt |= engine.base != "eager" and spoils_process(error)
        return error_line(error)


def spoils_process(error: Exception) -> bool:
    """Whether a graph that failed by this error leaves a process that should train nothing."""
    return not isinstance(error, torch.OutOfMemoryError)


def error_line(error: Exception) -> str:
    """The error in a line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"


def _left_out(engine: Engine, job: Job, data: TensorData, found: Measurement) -> str | None:
    """Why `engine` is not measured; None where it is."""
    if engine.name == "captured":
        return unusable_reason(engine, job, data)
    if engine.base == "eager":
        return None
    if (why := found.why_not("captured")) is not None:
        return f"not tried, as captured fails: {why}"
    if found.is_spoilt:
        return "not tried: a graph failed before"
    step = found.step("eager")
    if engine.trials > 1 and step is not None and step > FULL_STEP_SECONDS:
        return f"not measured: a step alone takes {1e3 * step:.0f} ms, which fills the device"
    return unstackable_kind(job, data) if engine.base == "stacked" else None


def unusable_reason(engine: Engine, job: Job, data: TensorData) -> str | None:
    """Why jobs like this one cannot be trained by `engine`; None where they can, as far as is seen.

    On a GPU a few steps of a model from elsewhere are captured. Raises what a capture raises.
    """
    why = unstackable_kind(job, data) if engine.base == "stacked" else None
    if (
        why is None
        and engine.base != "eager"
        and data.device.type == "cuda"
        and is_external(job.model)
    ):
        why = parity_fault(job, data)
    return why


def unstackable_kind(job: Job, data: TensorData) -> str | None:
    """Why jobs like this one cannot be trained as one; None where they can."""
    return can_stack([replace(job, seed=i) for i in range(2)], data)


def cost_of(engine: Engine, job: Job, data: TensorData, workload: Workload) -> Cost:
    """What a trial of the kind of `job` costs by `engine`; some seconds.

    Raises NotMeasuredError, and whatever the training raises.
    """
    try:
        plain = replace(engine, name=engine.base)  # to compile for a few steps would take a minute
        steps = affordable(plain, job, data)
        GRAPHS.clear()
        times = time_training(engine, job, data, steps)
    finally:
        GRAPHS.clear()
    sharing = workload.trials if workload.keeps_graphs else engine.trials
    return Cost(step=times.step, beside=times.once / sharing + times.start / engine.trials)


def measure_step(
    engine: Engine, job: Job, data: TensorData, *, steps: int, repeats: int = MEASURED_EPOCHS - 1
) -> float:
    """Seconds per step and trial, as `Cost.step`, of epochs of `steps` steps.

    The median of `repeats` epochs. Raises NotMeasuredError, and whatever the training raises.
    """
    try:
        return time_training(engine, job, data, steps, repeats + 1).step
    finally:
        GRAPHS.clear()


def affordable(engine: Engine, job: Job, data: TensorData) -> int:
    """Steps of an epoch to measure: the study's own, or as many as the budget allows."""
    step = time_training(engine, job, data, PROBED, epochs=2).step
    fits = int(BUDGET / (MEASURED_EPOCHS * step * engine.trials))
    return max(PROBED, min(fits, steps_per_epoch(job, data)))


@dataclass(frozen=True, kw_only=True)
class TrainingTimes:
    """Seconds of one measurement."""

    once: float
    """To capture graphs that are kept."""
    start: float
    """From the beginning of the trainings to their first epoch."""
    step: float
    """Per step and trial, as `Cost.step`."""


def time_training(
    engine: Engine, job: Job, data: TensorData, steps: int, epochs: int = MEASURED_EPOCHS
) -> TrainingTimes:
    """One training of as many jobs as the engine trains at a time, timed at the end of each epoch.

    Raises NotMeasuredError where a training ends early or its epochs took no time, and whatever
    the training raises.
    """
    short = calibration_data(data, job, steps)
    jobs = [
        replace(calibration_job(job, data, steps, epochs), seed=i) for i in range(engine.trials)
    ]
    # On a CPU, where other processes have their turn too, what this one had.
    clock = time.perf_counter if data.device.type == "cuda" else time.process_time
    stamps: list[list[float]] = [[] for _ in jobs]
    start_time = clock()
    prepare(engine.name, jobs, short)
    ready = clock()
    for i, training in train_with(
        engine.name, jobs, short, lambda i, epoch: stamps[i].append(clock())
    ):
        if training.outcome == "diverged":
            raise NotMeasuredError(
                f"not measured: trial {i} diverged at step {training.diverged_at}"
            )
    if any(len(rows) != epochs + 1 for rows in stamps):
        raise NotMeasuredError("not measured: a training ended before its last epoch")
    epoch = statistics.median(b - a for rows in stamps for a, b in pairwise(rows[1:]))
    if epoch <= 0:
        raise NotMeasuredError(f"not measured: the clock says {epoch:.3g} seconds for an epoch")
    start = statistics.median(rows[1] for rows in stamps) - ready - epoch
    return TrainingTimes(
        once=ready - start_time, start=max(start, 0.0), step=epoch / (steps * engine.trials)
    )
