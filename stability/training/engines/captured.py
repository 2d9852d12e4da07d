"""A training step whose tensors stay where they are, so that a CUDA graph can replay it.

Eager, a small model's step is hundreds of kernels of a few microseconds, each given out by Python:
the GPU waits for it. A graph of the whole step is given out once. Everything that changes from
step to step or from trial to trial lies in tensors on the device: learning rate and weight decay,
the epoch's order of images, crops, the number of the step. So one graph serves all trials that
differ in nothing else.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from threading import Lock
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stability.training.augment.batches import Streams
from stability.training.engines.epoch_batches import EpochBatches
from stability.training.engines.stack import Stack
from stability.training.loop import Job, StepContext, StepRunner
from stability.training.optimizers import Optimizer
from stability.training.precision import arithmetic, for_the_loss
from stability.training.settings import Recipe
from stability.training.signals import Watch
from stability.training.tensors import TensorData, TensorPart

WARM_UP = 3  # steps before the capture: torch's own number; libraries choose their kernels in them
FREE: dict[str, Any] = {
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


def kind_of(job: Job) -> Job:
    """What a graph of the step of `job` hangs on: equal for trials that one graph serves.

    >>> recipe = Recipe(lr=0.1, weight_decay=1e-4)
    >>> one = Job(model="vitc-nano", optimizer="sgd", recipe=recipe, epochs=5, seed=0)
    >>> kind_of(one) == kind_of(replace(one, recipe=replace(recipe, lr=0.3), seed=7))
    True
    >>> kind_of(one) == kind_of(replace(one, recipe=replace(recipe, batch_size=32)))
    False
    """
    return replace(job, recipe=replace(job.recipe, **FREE), epochs=1, seed=0)


class CapturedStepRunner(StepRunner):
    """Trains one trial at a time by replaying one graph; each trial's weights are copied in.

    Several rigs may train side by side, each in a thread: a stream, a graph and memory of its own.
    With `capture` off the same step is taken without a graph, on any device: for tests.
    """

    def __init__(
        self, kind: Job, data: TensorData, *, compiled: bool = False, capture: bool = True
    ) -> None:
        """`kind`: of `kind_of`. `compiled`: the model by torch.compile, a minute at first.

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
        with self.lane():
            self._allocate(compiled=compiled)
            self._take: Callable[[], None] = self._captured() if capture else self._step

    def lane(self) -> AbstractContextManager[object]:
        """Under which everything of a training of this rig happens: its own stream."""
        return nullcontext() if self._stream is None else torch.cuda.stream(self._stream)

    def _allocate(self, *, compiled: bool) -> None:
        kind, data = self._kind, self._data
        # Weight decay is applied by `_decay`: to torch's kernels it is a constant.
        self._model, self._optimizer = super().fresh(kind, data, Streams.of(0))
        self._forward = torch.compile(self._model, dynamic=False) if compiled else self._model
        self._memory = _remember(self._optimizer, kind.optimizer)
        self._watch = Watch(self._model)
        device = data.device
        steps = len(data.train) // kind.recipe.batch_size
        parameters = sum(p.requires_grad for p in self._model.parameters())

        def empty(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
            return torch.zeros(shape, dtype=dtype, device=device)

        self._at = empty(1, dtype=torch.int64)  # number of the step in the epoch
        self._lr, self._weight_decay = empty(), empty()
        self._optimizer.lr = self._lr  # type: ignore[assignment]  # torch's kernels take both
        self._lrs, self._losses = empty(steps), empty(steps)
        self._norms = empty(steps, parameters)
        self._batches = EpochBatches(data, kind.recipe)

    def fresh(self, job: Job, data: TensorData, streams: Streams) -> tuple[nn.Module, Optimizer]:
        """The rig's own model with the weights of `job` in it, and an optimizer without memory.

        Raises ValueError for a job of another kind or other data.
        """
        if kind_of(job) != self._kind or data is not self._data:
            raise ValueError(f"this graph is of {self._kind}, got {job}")
        with _building:
            model, _ = super().fresh(job, data, streams)
        with torch.no_grad():
            torch._foreach_copy_(_tensors(self._model), _tensors(model))
        torch._foreach_zero_(self._memory)
        self._weight_decay.fill_(job.recipe.weight_decay)
        return self._model, self._optimizer

    def epoch(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        part: TensorPart,
        recipe: Recipe,
        lrs: list[float],
        beside: StepContext,
    ) -> Tensor:
        """As `loop.train_epoch`, to rounding: the same images, crops and learning rates."""
        model.train()
        streams = [beside.streams]
        self._batches.draw(streams)
        self._lrs.copy_(torch.tensor(lrs))
        self._at.zero_()
        for step in range(len(lrs)):
            self._batches.prepare(step, streams)
            self._take()
            if beside.average is not None:
                beside.average.follow()
        beside.watch.note(self._norms.clone())
        return self._losses.clone()

    def _step(self) -> None:
        """One step; nothing in it waits for the device or hangs on a number that Python knows."""
        recipe = self._kind.recipe
        self._lr.copy_(self._lrs.index_select(0, self._at).squeeze(0))
        images, targets = self._batches.of_step(self._at)
        with arithmetic(self._kind.precision, images.device):
            logits = for_the_loss(self._forward(images))
        loss = F.cross_entropy(logits, targets, label_smoothing=recipe.label_smoothing)
        self._optimizer.zero_grad()  # in a capture the gradients then lie in the graph's memory
        loss.backward()  # type: ignore[no-untyped-call]
        norms = self._watch.norms()
        if recipe.clip is not None:
            nn.utils.clip_grads_with_norm_(self._model.parameters(), recipe.clip, norms.norm())
        self._decay()
        self._optimizer.step()
        self._losses.index_copy_(0, self._at, loss.detach().view(1))
        self._norms.index_copy_(0, self._at, norms.view(1, -1))
        self._at.add_(1)

    @torch.no_grad()
    def _decay(self) -> None:
        """Weight decay as the optimizers apply it, with a factor that lies on the device."""
        group = self._optimizer.groups[0].parameters
        decayed: list[Tensor] = [p for p in group if p.grad is not None]
        if not decayed:
            return
        if self._kind.optimizer == "adamw":
            torch._foreach_mul_(decayed, 1 - self._lr * self._weight_decay)
        else:
            gradients = [p.grad for p in decayed if p.grad is not None]
            torch._foreach_add_(gradients, list(torch._foreach_mul(decayed, self._weight_decay)))

    def _captured(self) -> Callable[[], None]:
        """Recorded with whatever weights there are: each trial's are copied in."""
        self._model.train()
        return recorded(self._step, self._at)


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
        stack.at,
    ]
    before = [tensor.clone() for tensor in changed]
    stack.weights.module.train()
    replay = recorded(stack.step, stack.at)
    with torch.no_grad():
        for tensor, value in zip(changed, before, strict=True):
            tensor.copy_(value)
    return replay


def _tensors(model: nn.Module) -> list[Tensor]:
    """Weights and buffers, those too that a module keeps out of its state."""
    return [*model.parameters(), *model.buffers()]


def _remember(optimizer: Optimizer, name: str) -> list[Tensor]:
    """Give each parameter its memory now; returns all of it. Zeros are what a first step has."""
    tensors: list[Tensor] = []
    for group in optimizer.groups:
        for p in group.parameters:
            if name == "sgd":
                group.memory[p] = torch.zeros_like(p)
                tensors.append(group.memory[p])
            else:
                count = torch.zeros((), device=p.device)
                group.memory[p] = (torch.zeros_like(p), torch.zeros_like(p), count)
                tensors += group.memory[p]
    return tensors
