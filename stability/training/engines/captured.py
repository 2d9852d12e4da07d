"""A training step whose tensors stay where they are, so that a CUDA graph can replay it.

An eager step of a small model launches hundreds of kernels of a few microseconds from Python, and
the GPU waits for them. A graph of the whole step is launched once. Everything that changes from
step to step or from trial to trial lies in tensors on the device: learning rate and weight decay,
the epoch's order of images, crops, the number of the step. So one graph serves all trials that
differ in nothing else.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from threading import Lock
from typing import Any

import torch
from torch import Tensor, nn

from stability.training.augment.batches import Streams
from stability.training.engines.epoch_batches import EpochBatches
from stability.training.engines.stack import Stack
from stability.training.loop import Job, StepRunner, steps_per_epoch
from stability.training.optimizers import Optimizer
from stability.training.signals import GradientMonitor
from stability.training.state import TrainState
from stability.training.step import StepTables, train_step
from stability.training.tensors import TensorData

WARM_UP = 3  # steps before the capture: torch's own number; libraries choose their kernels in them
GRAPH_FREE_SETTINGS: dict[str, Any] = {
    "lr": 1.0,
    "weight_decay": 0.0,
    "warmup": 0.0,
    "warmup_from": 1.0,
    "warmup_epochs": None,
    "floor": 0.0,
    "lr_per": "step",
    "ema": None,
    "ema_period": 1,
    "precise_bn": None,
}
"""Settings that may differ between the trials of one graph: none of them is in its kernels."""
_building = Lock()  # a model is built with torch's global generator put aside


def graph_kind(job: Job) -> Job:
    """What a graph of the step of `job` depends on: equal for trials that one graph serves.

    >>> from stability.training.settings import Recipe
    >>> recipe = Recipe(lr=0.1, weight_decay=1e-4)
    >>> one = Job(model="vitc-nano", optimizer="sgd", recipe=recipe, epochs=5, seed=0)
    >>> graph_kind(one) == graph_kind(replace(one, recipe=replace(recipe, lr=0.3), seed=7))
    True
    >>> graph_kind(one) == graph_kind(replace(one, recipe=replace(recipe, batch_size=32)))
    False
    """
    return replace(job, recipe=replace(job.recipe, **GRAPH_FREE_SETTINGS), epochs=1, seed=0)


class CapturedStepRunner(StepRunner):
    """Trains one trial at a time by replaying one graph; each trial's weights are copied in.

    Several may train side by side, each in a thread: a stream, a graph and memory of its own.
    With `capture` off the same step is taken without a graph, on any device: for tests.
    """

    def __init__(
        self, kind: Job, data: TensorData, *, compiled: bool = False, capture: bool = True
    ) -> None:
        """`kind`: of `graph_kind`. `compiled`: the model by torch.compile, a minute at first.

        Raises ValueError where a graph is wanted on another device than a GPU.
        """
        if capture and data.device.type != "cuda":
            raise ValueError(f"a CUDA graph needs a CUDA device, the data are on {data.device}")
        self._kind, self._data = kind, data
        self._stream: torch.cuda.Stream | None = None
        if data.device.type == "cuda":
            self._stream = torch.cuda.Stream(data.device)  # type: ignore[no-untyped-call]
        if self._stream is not None:  # the data may still be on their way
            self._stream.wait_stream(torch.cuda.current_stream(data.device))
        with self.stream():
            self._allocate(compiled=compiled)
            self._take_step: Callable[[], None] = self._step
            if capture:  # with whatever weights there are: those of each trial are copied in
                self._model.train()
                self._take_step = recorded(self._step, self._tables.at)

    def stream(self) -> AbstractContextManager[object]:
        """Context of its own stream, for everything in a training of this runner."""
        return nullcontext() if self._stream is None else torch.cuda.stream(self._stream)

    def _allocate(self, *, compiled: bool) -> None:
        kind, data = self._kind, self._data
        self._model, self._optimizer = super().initial_model(kind, data, Streams.of(0))
        self._forward: nn.Module = self._model
        if compiled:
            self._forward = torch.compile(self._model, dynamic=False)  # type: ignore[assignment]
        self._memory = self._optimizer.allocate()
        self._monitor = GradientMonitor(self._model)
        self._weight_decay = torch.zeros((), device=data.device)
        self._optimizer.groups[0].weight_decay = self._weight_decay
        steps, parameters = steps_per_epoch(kind, data), len(self._monitor.parameters)
        shapes = ((steps,), (steps,), (steps, parameters))
        self._tables = StepTables(*(torch.zeros(shape, device=data.device) for shape in shapes))
        self._batches = EpochBatches(data, kind.recipe)

    def initial_model(
        self, job: Job, data: TensorData, streams: Streams
    ) -> tuple[nn.Module, Optimizer]:
        """The runner's own model with the weights of `job`, and an optimizer without memory.

        Raises ValueError for a job of another kind or other data.
        """
        if graph_kind(job) != self._kind or data is not self._data:
            raise ValueError(f"this graph is of {self._kind}, got {job}")
        with _building:
            model, _ = super().initial_model(job, data, streams)
        with torch.no_grad():
            # Buffers too, those included that a module keeps out of its state.
            ours, theirs = ([*m.parameters(), *m.buffers()] for m in (self._model, model))
            torch._foreach_copy_(ours, theirs)
        torch._foreach_zero_(self._memory)
        self._weight_decay.fill_(job.recipe.weight_decay)
        return self._model, self._optimizer

    def epoch(self, state: TrainState, data: TensorData, lrs: Sequence[float]) -> Tensor:
        """As `StepRunner.epoch`, to rounding: the same images, crops and learning rates."""
        state.model.train()
        self._batches.draw([state.streams])
        self._tables.begin_epoch(lrs)
        for step in range(len(lrs)):
            self._batches.prepare(step, [state.streams])
            self._take_step()
            if state.average is not None:
                state.average.update()
        state.monitor.record(*self._tables.norms.clone())
        return self._tables.losses.clone()

    def _step(self) -> None:
        """One step; nothing in it waits for the device or depends on a number that Python knows."""
        tables, batch = self._tables, self._batches.of_step(self._tables.at)
        loss, norms = train_step(
            self._forward, self._optimizer, self._monitor, batch, tables.lr(), self._kind.precision
        )
        tables.record(loss, norms)


def recorded(step: Callable[[], None], at: Tensor) -> Callable[[], None]:
    """Take `step` a few times, then record it: torch's way of capturing a whole network.

    All on the current stream, which must not be the default one: cuBLAS has a workspace for each
    stream, which two graphs that run side by side must not share. `at`, the step's number, is put
    to zero before each.
    """
    stream = torch.cuda.current_stream()
    for _ in range(WARM_UP):
        at.zero_()
        step()
    at.zero_()
    stream.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=stream):
        step()
    return graph.replay


def captured_step(stack: Stack) -> Callable[[], None]:
    """The step of a stack as a graph, for `cohort.train_cohort`; its weights stay as they are."""
    changed = [
        stack.weights.matrix,
        *stack.optimizer.memories,
        *stack.optimizer.columns.values(),
        *stack.weights.module.buffers(),
        stack.alive,
        stack.tables.at,
    ]
    before = [tensor.clone() for tensor in changed]
    stack.weights.module.train()
    replay = recorded(stack.step, stack.tables.at)
    with torch.no_grad():
        for tensor, value in zip(changed, before, strict=True):
            tensor.copy_(value)
    return replay
