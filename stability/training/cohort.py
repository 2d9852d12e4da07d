"""Trials that are alike in all that shapes the computation, trained as one.

Each has its own weights, data order, augmentation and hyperparameters, all from its own seed as
when it is trained alone (`loop.train`), so that its result hangs on its cohort by rounding alone.
"""

import gc
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stability.models.build import build
from stability.models.names import is_own
from stability.models.stacked import stack, unstackable
from stability.training.batches import Streams, inputs
from stability.training.batchnorm import set_precise_statistics, tracking
from stability.training.checkpoint import device_name
from stability.training.loop import Epoch, Job, row_of, told
from stability.training.outcome import Evaluation, Training, ended, evaluate_stacked
from stability.training.recipe import Recipe
from stability.training.schedule import lr_at
from stability.training.signals import Losses
from stability.training.stack import Stack, Weights
from stability.training.tensors import TensorData, TensorPart

OWN = (
    "lr",
    "weight_decay",
    "momentum",
    "beta1",
    "beta2",
    "label_smoothing",
    "clip",
    "warmup",
    "warmup_epochs",
    "warmup_from",
    "floor",
    "lr_per",
)
"""Settings that each trial of a cohort may have its own of."""
SIZES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128)
"""How many a cohort is repacked to: few, since each is captured anew on a GPU."""

Prepare = Callable[[Stack], Callable[[], None]]
"""From a stack to the function that makes its steps: `Stack.step` itself, or captured."""


def as_it_is(stack: Stack) -> Callable[[], None]:
    """Each operation as Python gives it out."""
    return stack.step


def train_cohort(
    jobs: Sequence[Job],
    data: TensorData,
    on_epoch: Callable[[int, Epoch], None],
    *,
    prepare: Prepare = as_it_is,
) -> Iterator[tuple[int, Training]]:
    """Train `jobs` as one on the device of `data`; gives the index of each and how it ended.

    Those that diverge come at the end of the epoch in which they did, the others at the end.
    `on_epoch` is called with an index and a row of that trial's curve; its seconds are those of
    the cohort. `can_stack` must have nothing against the jobs.
    """
    cohort = _Cohort(jobs, data, on_epoch)
    cohort.report(0, cohort.evaluate(data.validation))
    cohort.step = prepare(cohort.stack)
    for epoch in range(1, jobs[0].epochs + 1):
        cohort.train_epoch(epoch)
        cohort.make_precise()
        validation = cohort.evaluate(data.validation)
        gone = cohort.diverged(epoch, validation)
        cohort.report(epoch, validation, gone)
        yield from cohort.lost(epoch, gone)
        if not any(slot.alive for slot in cohort.slots):
            return
        if epoch < jobs[0].epochs:
            cohort.repack(prepare)
    yield from cohort.ended()


@dataclass
class _Slot:
    """A place in the cohort."""

    index: int
    """Of the job."""
    job: Job
    streams: Streams
    losses: Losses
    alive: bool = True


class _Cohort:
    """What `train_cohort` does in each epoch."""

    def __init__(
        self, jobs: Sequence[Job], data: TensorData, on_epoch: Callable[[int, Epoch], None]
    ) -> None:
        self.start, self.data, self.on_epoch = time.perf_counter(), data, on_epoch
        self.slots = [_Slot(i, job, Streams.of(job.seed), Losses()) for i, job in enumerate(jobs)]
        self.recipe, self.epochs = jobs[0].recipe, jobs[0].epochs
        self.devices = (device_name(data.device),)
        models = [_model(slot.job, data, slot.streams.weights) for slot in self.slots]
        self.stack = Stack(jobs, models, data)
        self.step: Callable[[], None] = self.stack.step
        self._too_large = len(jobs) + 1
        """A size at which a new step did not fit into the memory."""
        self._idle = 0
        """Epochs computed for slots whose trial had diverged before."""

    def train_epoch(self, epoch: int) -> None:
        """One pass over the training part, each trial in an order of its own."""
        stack, total = self.stack, self.stack.steps * self.epochs
        of_epoch = range((epoch - 1) * stack.steps, epoch * stack.steps)
        self.lrs = [
            [lr_at(i, total, slot.job.recipe, self.epochs) for slot in self.slots] for i in of_epoch
        ]
        streams = [slot.streams for slot in self.slots]
        self._idle += sum(not slot.alive for slot in self.slots)
        stack.begin_epoch(self.lrs, streams)
        for i in range(stack.steps):
            stack.batches.prepare(i, streams)
            self.step()
            if stack.averages is not None:
                stack.averages.follow()

    @property
    def _judged(self) -> Weights:
        averages = self.stack.averages
        return self.stack.weights if averages is None else averages.weights

    def evaluate(self, part: TensorPart, judged: Weights | None = None) -> list[Evaluation]:
        """Each slot's model on `part`."""
        module = (judged or self._judged).module
        return evaluate_stacked(module, len(self.slots), part, self.stack.precision)

    def make_precise(self) -> None:
        """As `loop.make_precise`."""
        weights, recipe, part = self.stack.weights, self.recipe, self.data.train
        if recipe.precise_bn is None or not tracking(weights.module):
            return
        generators = [slot.streams.statistics for slot in self.slots]
        rows = torch.stack([torch.randperm(len(part), generator=g) for g in generators])
        rows = rows[:, : recipe.precise_bn]
        size = min(recipe.batch_size, rows.shape[1])
        whole = rows[:, : rows.shape[1] // size * size].to(part.labels.device)
        states = [g.get_state() for g in generators]
        for each in [weights] if self._judged is weights else [weights, self._judged]:
            for generator, state in zip(generators, states, strict=True):
                generator.set_state(state)
            batches = (
                torch.cat(
                    [
                        inputs(part, mine, recipe, g)[0]
                        for mine, g in zip(some, generators, strict=True)
                    ]
                )
                for some in torch.split(whole, size, dim=1)
            )
            set_precise_statistics(each.module, batches, self.stack.precision)

    def diverged(self, epoch: int, validation: list[Evaluation]) -> dict[int, int]:
        """Slots that did in this epoch, with the step, as `loop.first_non_finite` sees it.

        They are masked.
        """
        steps, before = self.stack.steps, (epoch - 1) * self.stack.steps
        finite = self.stack.losses.isfinite().cpu()  # (S, K)
        weights = self.stack.weights.finite().tolist()
        gone = {}
        for k, slot in enumerate(self.slots):
            bad = torch.nonzero(~finite[:, k])
            if slot.alive and (len(bad) or not weights[k] or not math.isfinite(validation[k].loss)):
                slot.alive = False
                gone[k] = before + (int(bad[0]) if len(bad) else steps - 1)
        self.stack.alive.copy_(torch.tensor([slot.alive for slot in self.slots])[:, None])
        return gone

    def lost(self, epoch: int, gone: Mapping[int, int]) -> Iterator[tuple[int, Training]]:
        """How those that diverged in this epoch ended."""
        is_end = not any(slot.alive for slot in self.slots)
        computed = epoch + (self._idle / len(gone) if gone and is_end else 0.0)
        for k, at in gone.items():
            training = Training(outcome="diverged", diverged_at=at, computed=computed)
            yield self.slots[k].index, replace(training, devices=self.devices)

    def report(
        self, epoch: int, validation: list[Evaluation], gone: Mapping[int, int] | None = None
    ) -> None:
        """A row for each trial that is alive, or has diverged in this epoch: in `gone`."""
        gone = gone or {}
        seconds = time.perf_counter() - self.start
        losses, norms = self.stack.losses.cpu(), self.stack.norms.cpu()
        for k, slot in enumerate(self.slots):
            if not slot.alive and k not in gone:
                continue
            trained: dict[str, Any] = {}
            if epoch > 0:
                mine, (total, first) = losses[:, k], norms[:, k].unbind(1)
                signals = slot.losses.signals(total, first if self.stack.has_first else None, mine)
                trained = told([lrs[k] for lrs in self.lrs], mine, signals)
            row = row_of(epoch, validation[k], seconds, gone.get(k), **trained)
            self.on_epoch(slot.index, row)

    def repack(self, prepare: Prepare) -> None:
        """Leave out slots of the diverged where a smaller size holds the others.

        The memory of the old step is freed before the new one is made, and what there was waits on
        the host: where even the smaller step is out of memory, the cohort goes on as it was.
        """
        rows = self._remaining()
        if len(rows) >= min(len(self.slots), self._too_large):
            return
        before = [values.cpu() for values in self.stack.state()]
        if self._remade(prepare, (values[rows] for values in before)):
            self.slots = [self.slots[k] for k in rows]
        else:
            self._too_large = len(rows)
            self._become(prepare, before)

    def _remaining(self) -> list[int]:
        """The slots of the smallest size that holds those that are alive."""
        alive = [k for k, slot in enumerate(self.slots) if slot.alive]
        size = next((size for size in SIZES if size >= len(alive)), len(self.slots))
        gone = [k for k, slot in enumerate(self.slots) if not slot.alive]
        return sorted(alive + gone[: max(0, size - len(alive))])

    def _remade(self, prepare: Prepare, state: Iterable[Tensor]) -> bool:
        """Whether the memory suffices to go on with `state`."""
        try:
            self._become(prepare, state)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            return False
        return True

    def _become(self, prepare: Prepare, state: Iterable[Tensor]) -> None:
        self.step = self.stack.step  # a captured step holds all memory that it runs in
        if self.data.device.type == "cuda":
            gc.collect()  # of a step that failed, frames may hold each other
            torch.cuda.empty_cache()  # a graph's memory is of use to no other before
        self.stack.become(values.to(self.data.device) for values in state)
        self.step = prepare(self.stack)

    def ended(self) -> Iterator[tuple[int, Training]]:
        """How those that are alive ended."""
        test = self.evaluate(self.data.test)
        raw: list[Evaluation] | list[None] = [None] * len(test)
        if self.stack.averages is not None:
            raw = self.evaluate(self.data.test, self.stack.weights)
        alive = [k for k, slot in enumerate(self.slots) if slot.alive]
        computed = self.epochs + self._idle / len(alive)
        for k in alive:
            training = ended(test[k], raw[k])
            yield (
                self.slots[k].index,
                replace(training, devices=self.devices, computed=computed),
            )


def is_out_of_memory(error: BaseException | None) -> bool:
    """Or raised because of that: a capture that was out of memory may fail to end, too.

    >>> is_out_of_memory(torch.OutOfMemoryError()), is_out_of_memory(RuntimeError("no such kernel"))
    (True, False)
    """
    if error is None:
        return False
    # What CUDA itself says, of a graph that it cannot hold, has no type of its own.
    mine = isinstance(error, torch.OutOfMemoryError) or "out of memory" in str(error)
    return mine or is_out_of_memory(error.__context__)


def _model(job: Job, data: TensorData, weights: torch.Generator) -> nn.Module:
    return build(
        job.model,
        channels=data.shape[0],
        classes=data.classes,
        generator=weights,
        device=data.device,
        image=data.shape[1:],
    )


def can_stack(jobs: Sequence[Job], data: TensorData) -> str | None:
    """None where `jobs` can be trained as one on `data`, else a sentence that says why not.

    A model from elsewhere is tried: two of it on a few images, stacked and alone.
    """
    different = _difference(jobs)
    if different is not None:
        return different
    job = jobs[0]
    model = _model(job, data, Streams.of(job.seed).weights)
    fault = unstackable(model)
    if fault is None and is_own(job.model):
        other = _model(job, data, Streams.of(job.seed + 1).weights)
        fault = _mismatch([model, other], data)
    return f"{job.model} cannot be stacked: {fault}" if fault else None


def _difference(jobs: Sequence[Job]) -> str | None:
    """What shapes the computation and is not the same for all."""
    common = {f.name for f in fields(Recipe)} - set(OWN)
    for name in ("model", "optimizer", "epochs", "precision", *sorted(common)):
        values = [getattr(job.recipe if name in common else job, name) for job in jobs]
        different = list(dict.fromkeys(values))
        if len(different) > 1:
            return f"trials trained as one have one {name}, these have {different}"
    return None


def _mismatch(models: Sequence[nn.Module], data: TensorData) -> str | None:
    """What a stack of models does otherwise than each alone, on a few images, in training mode.

    In double precision: in single, rounding alone moves gradients of conv nets by per cents.
    """
    k = len(models)
    n = min(8, len(data.train) // k)  # other images for each: else a mean over all would pass
    images, labels = data.train.batch(torch.arange(k * n, device=data.device))
    images = images.double()
    own = zip(models, torch.split(images, n), torch.split(labels, n), strict=True)
    gpus = [data.device] if data.device.type == "cuda" else []
    try:
        with torch.random.fork_rng(devices=gpus):  # which a model may read
            alone = [_learnt(model.double(), x, y, 1) for model, x, y in own]
            both = _learnt(stack(models), images, labels, k)
    except Exception as error:  # whatever a stranger's code does
        return f"{type(error).__name__}: {error}"
    for each, stacked in zip(zip(*alone, strict=True), both, strict=True):
        expected = torch.cat(each)
        if not torch.allclose(
            stacked, expected, rtol=1e-6, atol=1e-6 * float(expected.abs().max())
        ):
            return "two of it as one do not what each does alone"
    return None


def _learnt(module: nn.Module, images: Tensor, labels: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Logits and all gradients, (k, n) each. Raises ValueError where a parameter has none."""
    logits = module.train()(images)
    losses = F.cross_entropy(logits, labels, reduction="none").view(k, -1).mean(1)
    parameters = [p for p in module.parameters() if p.requires_grad]
    found = torch.autograd.grad(losses.sum(), parameters, allow_unused=True)
    gradients = [g.reshape(k, -1) for g in found if g is not None]
    if len(gradients) < len(parameters):
        raise ValueError("some of its parameters get no gradient")
    return logits.detach().reshape(k, -1), torch.cat(gradients, dim=1)
