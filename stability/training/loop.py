"""One training, from fresh weights to its outcome."""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stability.models.build import build
from stability.training.augment.batches import Streams, inputs, training_batch
from stability.training.batchnorm import set_precise_statistics, tracking
from stability.training.ema import Average
from stability.training.optimizers import Optimizer, build_optimizer, set_lr
from stability.training.outcome import Evaluation, Training, evaluate
from stability.training.precision import arithmetic, for_the_loss
from stability.training.schedule import lr_at
from stability.training.settings import Recipe
from stability.training.signals import Signals, Watch, finite_steps
from stability.training.state import History, Saved, TrainState, device_name, refuse
from stability.training.tensors import TensorData, TensorPart, sent


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """One row of a trial's curve; epoch 0 is before training.

    Where the training diverges in the epoch, the row is of its steps before the first loss that is
    not finite, which may be none.
    """

    epoch: int
    lr: float | None = None
    """At the last of the steps."""
    train_loss: float | None = None
    """Mean over the steps of the loss that is minimised (label smoothing included)."""
    loss: float | None = None
    """Cross-entropy on the validation part; None where the training diverges."""
    val_error: float | None = None
    """Percent of the validation part; None where the training diverges."""
    seconds: float
    """Since the start of the training, evaluations included."""
    grad_norm: float | None = None
    """This and what follows: see `signals.Signals`."""
    grad_norm_max: float | None = None
    grad_norm_first_layer: float | None = None
    grad_norm_first_layer_max: float | None = None
    loss_spikes: int | None = None
    diverged_at: int | None = None
    """As `Training.diverged_at`, in the epoch of that step."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """What is trained, how, and from which seed."""

    model: str
    optimizer: str
    recipe: Recipe
    epochs: int
    seed: int
    precision: str = "float32"
    """Of the forward pass: see `precision.arithmetic`."""


def model_of(job: Job, data: TensorData, streams: Streams) -> nn.Module:
    """The job's model for these data, with weights drawn from `streams`, on their device."""
    return build(
        job.model,
        channels=data.shape[0],
        classes=data.classes,
        generator=streams.weights,
        device=data.device,
        image=data.shape[1:],
        stem_init=job.recipe.stem_init,
        revision=job.recipe.revision,
    )


class StepRunner:
    """What takes the steps of a training: this one, each as Python gives it out."""

    def fresh(self, job: Job, data: TensorData, streams: Streams) -> tuple[nn.Module, Optimizer]:
        """A model with weights drawn from `streams`, and its optimizer."""
        model = model_of(job, data, streams)
        return model, build_optimizer(job.optimizer, model, job.recipe)

    def epoch(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        part: TensorPart,
        recipe: Recipe,
        lrs: list[float],
        beside: "StepContext",
    ) -> Tensor:
        """One pass over `part`; returns the loss of each step."""
        return train_epoch(model, optimizer, part, recipe, lrs, beside.streams.order, beside)


def train(
    job: Job,
    data: TensorData,
    on_epoch: Callable[[Epoch], None] = lambda epoch: None,
    saved: Saved | None = None,
    rig: StepRunner | None = None,
) -> Training:
    """Train `job` on `data` (on the device where `data` lies) and judge how it ended.

    A loss or weight that becomes non-finite ends the training as `diverged`: a result, not an
    error. `on_epoch` is called with each row of the curve, first before training. Everything
    random comes from `job.seed`; the global generators are neither read nor set. Where the recipe
    averages the weights, the averaged model is the one that is evaluated.

    `saved` is offered the state between epochs. Where it has that of an interrupted training of
    this job, the training goes on from there, with all rows so far for `on_epoch`, and ends as it
    would have: to the bit on the same device, but for the times.
    """
    recipe, steps = job.recipe, steps_of(job, data)
    rig, judge = rig or StepRunner(), partial(evaluate, precision=job.precision)
    start = time.perf_counter()
    live, past = begun(job, data, saved, rig)
    start -= past.seconds
    beside = StepContext(data.classes, live.streams, live.watch, live.average, job.precision)
    judged = live.model if live.average is None else live.average.model
    devices = tuple(dict.fromkeys((*past.devices, device_name(data.device))))
    rows = list(past.rows)

    def report(epoch: int, val: Evaluation, **trained: Any) -> None:
        row = row_of(epoch, val, time.perf_counter() - start, **trained)
        rows.append(asdict(row))
        on_epoch(row)

    def packed() -> bytes:
        return live.packed(History(rows=rows, seconds=time.perf_counter() - start, devices=devices))

    for row in past.rows:
        on_epoch(Epoch(**row))
    if not past.rows:
        report(0, judge(live.model, data.validation))
    for epoch in range(len(rows), job.epochs + 1):
        first, total = (epoch - 1) * steps, steps * job.epochs
        lrs = [lr_at(first + i, total, recipe, job.epochs) for i in range(steps)]
        losses = rig.epoch(live.model, live.optimizer, data.train, recipe, lrs, beside)
        make_precise(live.model, data.train, recipe, beside)
        validation = judge(judged, data.validation)
        bad_step = first_non_finite(losses, live.model, validation)
        diverged_at = None if bad_step is None else first + bad_step
        seen = told(lrs, losses, live.watch.epoch(losses))
        report(epoch, validation, diverged_at=diverged_at, **seen)
        if diverged_at is not None:
            return Training(outcome="diverged", diverged_at=diverged_at, devices=devices)
        if saved is not None and epoch < job.epochs:
            saved.offer(packed)
    raw = None if live.average is None else judge(live.model, data.test)
    test = judge(judged, data.test)
    return Training(outcome="ok", test=test, raw_test=raw, devices=devices)


def row_of(
    epoch: int, val: Evaluation, seconds: float, diverged_at: int | None = None, **trained: Any
) -> Epoch:
    """A row of the curve; `trained` of `told`, nothing at epoch 0."""
    if diverged_at is None:
        trained |= {"loss": val.loss, "val_error": val.error}
    return Epoch(epoch=epoch, seconds=seconds, diverged_at=diverged_at, **trained)


def told(lrs: Sequence[float], losses: Tensor, signals: Signals) -> dict[str, Any]:
    """Columns of `Epoch`, from learning rate and loss (S,) of each step, and their `signals`."""
    n = finite_steps(losses)
    lr, train_loss = (lrs[n - 1], float(losses[:n].mean())) if n else (None, None)
    return {"lr": lr, "train_loss": train_loss, **asdict(signals)}


def steps_of(job: Job, data: TensorData) -> int:
    """Of an epoch; the partial batch is dropped."""
    return len(data.train) // job.recipe.batch_size


def fresh(job: Job, data: TensorData, rig: StepRunner) -> TrainState:
    """A training before its first step."""
    streams = Streams.of(job.seed)
    model, optimizer = rig.fresh(job, data, streams)
    steps = steps_of(job, data) * job.epochs
    average = Average(model, job.recipe, job.epochs, steps) if job.recipe.ema else None
    return TrainState(model, optimizer, streams, Watch(model), average)


def begun(
    job: Job, data: TensorData, saved: Saved | None, rig: StepRunner
) -> tuple[TrainState, History]:
    """A training as an interrupted one left it, or before its first step."""
    live, content = fresh(job, data, rig), saved.load() if saved is not None else None
    if saved is None or content is None:
        return live, History()
    try:
        return live, live.restore(content)
    except Exception as error:  # whatever unknown bytes lead to
        refuse(saved, error)
        return fresh(job, data, rig), History()


@dataclass(frozen=True)
class StepContext:
    """What a step needs beside the model, and what follows it."""

    classes: int
    streams: Streams
    watch: Watch
    average: Average | None = None
    precision: str = "float32"


def train_epoch(
    model: nn.Module,
    optimizer: Optimizer,
    part: TensorPart,
    recipe: Recipe,
    lrs: list[float],
    order: torch.Generator,
    beside: StepContext,
) -> Tensor:
    """One pass over `part` in an order drawn from `order`; returns the loss of each step."""
    model.train()
    shuffled = sent(torch.randperm(len(part), generator=order), part.labels.device)
    losses = []
    for step, lr in enumerate(lrs):
        rows = shuffled[step * recipe.batch_size :][: recipe.batch_size]
        images, targets = training_batch(part, rows, beside.classes, recipe, beside.streams)
        set_lr(optimizer, lr)
        with arithmetic(beside.precision, images.device):
            logits = for_the_loss(model(images))
        loss = F.cross_entropy(logits, targets, label_smoothing=recipe.label_smoothing)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        norms = beside.watch.look()
        if recipe.clip is not None:
            nn.utils.clip_grads_with_norm_(model.parameters(), recipe.clip, norms.norm())
        optimizer.step()
        if beside.average is not None:
            beside.average.follow()
        losses.append(loss.detach())
    return torch.stack(losses)


def make_precise(model: nn.Module, part: TensorPart, recipe: Recipe, beside: StepContext) -> None:
    """Where the recipe says so, BatchNorm's precise statistics for the models to be evaluated.

    Of whole batches of images, augmented but not mixed, the same for both models.
    """
    if recipe.precise_bn is None or not tracking(model):
        return
    statistics, average = beside.streams.statistics, beside.average
    rows = torch.randperm(len(part), generator=statistics)[: recipe.precise_bn]
    size = min(recipe.batch_size, len(rows))
    whole = torch.split(sent(rows[: len(rows) // size * size], part.labels.device), size)
    state = statistics.get_state()
    for each in [model] if average is None else [model, average.model]:
        statistics.set_state(state)  # made anew for each: held, they could fill the device
        batches = (inputs(part, some, recipe, statistics)[0] for some in whole)
        set_precise_statistics(each, batches, beside.precision, recipe.revision)


def first_non_finite(losses: Tensor, model: nn.Module, validation: Evaluation) -> int | None:
    """First step of the epoch whose training loss is not finite, None where all is finite.

    Weights, running statistics and the validation loss are looked at when the epoch ends: where
    only they are not finite, it is the epoch's last step.
    """
    finite = finite_steps(losses)
    if finite < len(losses):
        return finite
    state = [t for t in model.state_dict().values() if t.is_floating_point()]
    finite = bool(torch.stack([torch.isfinite(t).all() for t in state]).all())
    return None if finite and np.isfinite(validation.loss) else len(losses) - 1
