"""Trials that are alike in all that shapes the computation, trained as one.

Each has its own weights, data order, augmentation and hyperparameters, all from its own seed as
when it is trained alone (`loop.train`): its result depends on its cohort only by rounding.
"""

import gc
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor

from stability.training.augment.batches import inputs
from stability.training.batchnorm import set_precise_statistics, tracking
from stability.training.engines.slots import Slot, by_epoch, start_or_resume_slot
from stability.training.engines.stack import Stack, Weights
from stability.training.loop import Epoch, Job, build_job_model, curve_row, epoch_metrics
from stability.training.outcome import Evaluation, Training, evaluate_stacked
from stability.training.schedule import lr_at
from stability.training.state import Checkpoint, device_name
from stability.training.tensors import TensorData, TensorPart

SIZES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128)
"""Sizes that a cohort is repacked to: few, since each needs a new capture on a GPU."""

Prepare = Callable[[Stack], Callable[[], None]]
"""From a stack to the function that makes its steps: `Stack.step` itself, or captured."""


def as_it_is(stack: Stack) -> Callable[[], None]:
    """The step operation by operation."""
    return stack.step


def train_cohort(
    jobs: Sequence[Job],
    data: TensorData,
    on_epoch: Callable[[int, Epoch], None],
    saved: Sequence[Checkpoint | None] = (),
    *,
    prepare: Prepare = as_it_is,
) -> Iterator[tuple[int, Training]]:
    """Train `jobs` as one on the device of `data`; gives the index of each and how it ended.

    Those that diverge come at the end of the epoch in which they did, the others at the end.
    `on_epoch` is called with an index and a row of that trial's curve; its seconds are those of
    the cohort. `can_stack` must have nothing against the jobs.

    `saved` is each one's, as for `loop.train`. Those that go on from different epochs are trained
    one group after the other. Where all go on from the same one, and none had diverged, they end as
    they would have, to the bit on the same device; else to rounding, in another cohort.
    """
    saved = saved or [None] * len(jobs)
    slots = [
        start_or_resume_slot(i, job, checkpoint, data.device)
        for i, (job, checkpoint) in enumerate(zip(jobs, saved, strict=True))
    ]
    for group in by_epoch(slots):
        cohort = _start_or_resume(group, data, on_epoch)
        cohort.step = prepare(cohort.stack)
        for epoch in range(cohort.epoch + 1, cohort.epochs + 1):
            cohort.train_epoch(epoch)
            yield from cohort.end_epoch(epoch)
            if not any(slot.alive for slot in cohort.slots):
                break
            if epoch < cohort.epochs:
                cohort.maybe_save()
                cohort.repack(prepare)
        else:
            yield from cohort.ended()
        del cohort  # its memory, before the next is made


def _start_or_resume(
    group: list[Slot], data: TensorData, on_epoch: Callable[[int, Epoch], None]
) -> "_Cohort":
    """A cohort as an interrupted training left it, or before its first step; its rows so far."""
    cohort = _Cohort(group, data, on_epoch)
    if cohort.epoch:
        try:
            cohort.restore()
        except Exception as error:  # whatever unknown bytes lead to
            cohort = _Cohort([slot.restarted(error) for slot in group], data, on_epoch)
    for slot in cohort.slots:
        for row in slot.history.rows:
            on_epoch(slot.index, Epoch(**row))
    if not cohort.epoch:
        cohort.report(0, cohort.evaluate(data.validation))
    return cohort


class _Cohort:
    """What `train_cohort` does in each epoch."""

    def __init__(
        self, slots: list[Slot], data: TensorData, on_epoch: Callable[[int, Epoch], None]
    ) -> None:
        """`slots`: of trials with equally many epochs behind them."""
        self.start, self.data, self.on_epoch = time.perf_counter(), data, on_epoch
        self.slots, self.epoch = slots, slots[0].epochs
        jobs = [slot.job for slot in slots]
        self.recipe, self.epochs = jobs[0].recipe, jobs[0].epochs
        models = [build_job_model(slot.job, data, slot.streams) for slot in slots]
        self.stack = Stack(jobs, models, data)
        self.step: Callable[[], None] = self.stack.step
        self._too_large = len(jobs) + 1
        """A size at which a new step did not fit into the memory."""
        self._idle = 0.0
        """Epochs computed for slots whose trial had diverged before."""

    def restore(self) -> None:
        """Load the states of the slots. Raises ValueError where they do not fit.

        All must be of the end of the same epoch.
        """
        loaded = [slot.loaded for slot in self.slots if slot.loaded is not None]
        rows = zip(*(each["values"] for each in loaded), strict=True)
        state = [torch.stack(values) for values in rows]
        forms = ([(v.shape, v.dtype) for v in values] for values in (state, self.stack.state()))
        if next(forms) != next(forms):
            raise ValueError("the model has other weights")
        for ours, theirs in zip(self.stack.shared(), loaded[0]["shared"], strict=True):
            ours.copy_(theirs)
        self.stack.load_state(values.to(self.data.device) for values in state)
        if self.stack.averages is not None:
            self.stack.averages.step = self.epoch * self.stack.steps
        self._idle = sum(each["idle"] for each in loaded)
        for slot in self.slots:
            slot.loaded = None

    def maybe_save(self) -> None:
        """Offer the states of all that are alive, which are saved together if that is due."""
        alive = [k for k, slot in enumerate(self.slots) if slot.alive]
        state = cache(lambda: [values.cpu() for values in self.stack.state()])
        shared = {
            "kind": self.data.device.type,
            "shared": self.stack.shared(),
            "idle": self._idle / len(alive),
        }

        def serialized(k: int) -> bytes:
            slot = self.slots[k]
            seconds = slot.history.seconds + time.perf_counter() - self.start
            history = replace(slot.history, seconds=seconds, devices=self._devices(slot))
            return slot.serialize(history, [values[k] for values in state()], shared)

        offers = [
            (saved, partial(serialized, k))
            for k in alive
            if (saved := self.slots[k].saved) is not None
        ]
        if offers:
            (first, its), *others = offers
            first.offer(its, others)

    def _devices(self, slot: Slot) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*slot.history.devices, device_name(self.data.device))))

    def train_epoch(self, epoch: int) -> None:
        """One pass over the training part, in another order for each trial."""
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
                stack.averages.update()

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
            set_precise_statistics(each.module, batches, self.stack.precision, recipe.revision)

    def end_epoch(self, epoch: int) -> Iterator[tuple[int, Training]]:
        """Evaluate and report; gives the trials that diverged in this epoch."""
        self.make_precise()
        validation = self.evaluate(self.data.validation)
        gone = self.diverged(epoch, validation)
        self.report(epoch, validation, gone)
        is_end = not any(slot.alive for slot in self.slots)
        computed = epoch + (self._idle / len(gone) if gone and is_end else 0.0)
        for k, at in gone.items():
            training = Training(outcome="diverged", diverged_at=at, computed=computed)
            yield self.slots[k].index, replace(training, devices=self._devices(self.slots[k]))

    def diverged(self, epoch: int, validation: list[Evaluation]) -> dict[int, int]:
        """Slots that diverged in this epoch, with the step; as `loop.first_non_finite`.

        They are masked from now on.
        """
        steps, before = self.stack.steps, (epoch - 1) * self.stack.steps
        finite = self.stack.tables.losses.isfinite().cpu()  # (S, K)
        weights = self.stack.weights.finite().tolist()
        gone = {}
        for k, slot in enumerate(self.slots):
            bad = torch.nonzero(~finite[:, k])
            if slot.alive and (len(bad) or not weights[k] or not math.isfinite(validation[k].loss)):
                slot.alive = False
                gone[k] = before + (int(bad[0]) if len(bad) else steps - 1)
        self.stack.alive.copy_(torch.tensor([slot.alive for slot in self.slots])[:, None])
        return gone

    def report(
        self, epoch: int, validation: list[Evaluation], gone: Mapping[int, int] | None = None
    ) -> None:
        """A row for each trial that is alive, or has diverged in this epoch: in `gone`."""
        gone = gone or {}
        seconds = time.perf_counter() - self.start
        losses, norms = self.stack.tables.losses.cpu(), self.stack.tables.norms.cpu()
        for k, slot in enumerate(self.slots):
            if not slot.alive and k not in gone:
                continue
            metrics: dict[str, Any] = {}
            if epoch > 0:
                mine, (total, first) = losses[:, k], norms[:, k].unbind(1)
                signals = slot.losses.signals(
                    total, first if self.stack.first_layer else None, mine
                )
                metrics = epoch_metrics([lrs[k] for lrs in self.lrs], mine, signals)
            since = slot.history.seconds + seconds
            row = curve_row(epoch, validation[k], since, gone.get(k), **metrics)
            slot.history.rows.append(asdict(row))
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
            self._load_state(prepare, before)

    def _remaining(self) -> list[int]:
        """The slots of the smallest size that holds those that are alive."""
        alive = [k for k, slot in enumerate(self.slots) if slot.alive]
        size = next((size for size in SIZES if size >= len(alive)), len(self.slots))
        gone = [k for k, slot in enumerate(self.slots) if not slot.alive]
        return sorted(alive + gone[: max(0, size - len(alive))])

    def _remade(self, prepare: Prepare, state: Iterable[Tensor]) -> bool:
        """Whether the memory suffices to go on with `state`."""
        try:
            self._load_state(prepare, state)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            return False
        return True

    def _load_state(self, prepare: Prepare, state: Iterable[Tensor]) -> None:
        self.step = self.stack.step  # a captured step holds all memory that it runs in
        if self.data.device.type == "cuda":
            gc.collect()  # of a step that failed, frames may hold each other
            torch.cuda.empty_cache()  # a graph's memory is of use to no other before
        self.stack.load_state(values.to(self.data.device) for values in state)
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
            yield (
                self.slots[k].index,
                Training(
                    outcome="ok",
                    test=test[k],
                    raw_test=raw[k],
                    devices=self._devices(self.slots[k]),
                    computed=computed,
                ),
            )


def is_out_of_memory(error: BaseException | None) -> bool:
    """Whether `error` or its cause is out of memory; a capture may fail to end because of it.

    >>> is_out_of_memory(torch.OutOfMemoryError()), is_out_of_memory(RuntimeError("no such kernel"))
    (True, False)
    """
    if error is None:
        return False
    # CUDA's own error, for a graph that does not fit, has no type of its own.
    mine = isinstance(error, torch.OutOfMemoryError) or "out of memory" in str(error)
    return mine or is_out_of_memory(error.__context__)
