"""The real rival of an engine: eager trainings in processes of their own that share one device.

python -m benchmarks.packed MODEL BATCH DEVICE is one of them, which `benchmarks.engine` starts.

Each trains without end. Its steps are counted in windows of time that are the same for all and
begin when all are warm: the steps alone, without building and evaluations. They share a GPU in
turns, or at once where an MPS server runs.
"""

import sys
import time
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from benchmarks.children import OUT_OF_TIME, Child, ChildError, Parent, in_words
from benchmarks.gpu import data_of, job_of, synchronise
from stability.training.augment.batches import Streams
from stability.training.loop import Job, StepRunner, train
from stability.training.optimizers import Optimizer
from stability.training.state import TrainState
from stability.training.tensors import TensorData

STEPS = 100  # of a pass over the data, as where engines are measured
WARM_UP = 10  # steps
START_SECONDS = 90.0  # until all are warm
LATE_SECONDS = 30.0  # after the end of a window


def steps_a_second(
    model: str,
    batch: int,
    device: str,
    counts: Sequence[int],
    *,
    seconds: float,
    deadline: float,
) -> dict[int, float | str]:
    """Steps a second of so many processes together, in a window of `seconds`; why not, in words.

    `deadline` is by time.monotonic().
    """
    found: dict[int, float | str] = {}
    children: list[Child] = []
    try:
        for _ in range(max(counts)):
            children.append(Child("benchmarks.packed", model, str(batch), device))
        for child in children:
            child.hear(_left(START_SECONDS, deadline))
        for count in sorted(counts, reverse=True):
            while len(children) > count:
                children.pop().close()
            found[count] = _together(children, seconds, deadline)
    except ChildError as error:
        over = time.monotonic() >= deadline
        why = OUT_OF_TIME if over else f"one of them: {error}"
        found |= dict.fromkeys(set(counts) - set(found), why)
    finally:
        for child in children:
            child.close()
    return {count: found[count] for count in counts}


def _left(most: float, deadline: float) -> float:
    return max(min(most, deadline - time.monotonic()), 0.0)


def _together(children: Sequence[Child], seconds: float, deadline: float) -> float:
    start = time.monotonic() + 0.2  # when all have been told
    for child in children:
        child.tell({"start": start, "end": start + seconds})
    most = seconds + LATE_SECONDS
    rates = [float(child.hear(_left(most, deadline))["rate"]) for child in children]
    if min(rates) <= 0:
        raise ChildError("no step in the window")
    return sum(rates)


class OverError(Exception):
    """The parent wants no more."""


class Endless(StepRunner):
    """Trains on and on; tells the parent what a window showed, and is told the next one.

    The first window is a warm-up that ends after some steps; the one evaluation falls into it.
    """

    def __init__(self, parent: Parent, device: torch.device) -> None:
        self._parent, self._device = parent, device
        self._start, self._end, self._least = time.monotonic(), 0.0, WARM_UP
        self._steps = -1
        """Of the window, that were given out."""

    def initial_model(
        self, job: Job, data: TensorData, streams: Streams
    ) -> tuple[nn.Module, Optimizer]:
        """As every runner; each step is noticed by its forward pass."""
        model, optimizer = super().initial_model(job, data, streams)
        model.register_forward_pre_hook(self._step_begins)
        return model, optimizer

    def epoch(self, state: TrainState, data: TensorData, lrs: Sequence[float]) -> Tensor:
        """Never returns, so nothing is evaluated. Raises OverError when the parent is gone."""
        while True:
            super().epoch(state, data, lrs)

    def _step_begins(self, module: nn.Module, inputs: object) -> None:
        self._steps += 1
        if self._steps < self._least or time.monotonic() < self._end:
            return
        synchronise(self._device)  # what was given out is done, and counts with its time
        self._parent.tell({"rate": self._steps / (time.monotonic() - self._start)})
        window = self._parent.hear()
        if window is None:
            raise OverError
        time.sleep(max(window["start"] - time.monotonic(), 0.0))
        self._start, self._end, self._least = time.monotonic(), window["end"], 1
        self._steps = 0


def main() -> int:
    """One of the processes."""
    model, batch, device = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    torch.set_num_threads(1)
    torch.backends.cudnn.allow_tf32 = False
    parent = Parent()
    try:
        data = data_of(model, device, images=STEPS * batch)
        train(job_of(model, batch, device), data, runner=Endless(parent, data.device))
    except OverError:
        return 0
    except Exception as error:  # which is the parent's to judge
        parent.tell({"fault": in_words(error)})
    return 1


if __name__ == "__main__":
    sys.exit(main())
