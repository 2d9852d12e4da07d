"""One training, from initial weights to its outcome."""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from stability.models.build import build
from stability.training.augment.batches import Streams, inputs, training_batch
from stability.training.batchnorm import set_precise_statistics, tracking
from stability.training.ema import Average
from stability.training.optimizers import Optimizer, build_optimizer
from stability.training.outcome import Evaluation, Training, evaluate
from stability.training.schedule import lr_at
from stability.training.settings import Recipe
from stability.training.signals import GradientMonitor, Signals, finite_steps
from stability.training.state import Checkpoint, History, TrainState, device_name, refuse
from stability.training.step import train_step
from stability.training.tensors import TensorData, TensorPart, to_device


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """One row of a trial's curve; epoch 0 is before training.

    In the epoch in which a training diverges, the row covers the steps before the first non-finite
    loss, possibly none.
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


def build_job_model(job: Job, data: TensorData, streams: Streams) -> nn.Module:
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
    """Takes the steps of a training: this one operation by operation, as Python issues them."""

    def initial_model(
        self, job: Job, data: TensorData, streams: Streams
    ) -> tuple[nn.Module, Optimizer]:
        """A model with weights drawn from `streams`, and its optimizer."""
        model = build_job_model(job, data, streams)
        return model, build_optimizer(job.optimizer, model, job.recipe)

    def epoch(self, state: TrainState, data: TensorData, lrs: Sequence[float]) -> Tensor:
        """One pass over the training part, in a new order; returns the loss of each step (S,)."""
        part, recipe = data.train, state.optimizer.recipe
        state.model.train()
        order = torch.randperm(len(part), generator=state.streams.order)
        shuffled = to_device(order, part.labels.device)
        losses = []
        for step, lr in enumerate(lrs):
            rows = shuffled[step * recipe.batch_size :][: recipe.batch_size]
            batch = training_batch(part, rows, data.classes, recipe, state.streams)
            loss, norms = train_step(
                state.model, state.optimizer, state.monitor, batch, lr, state.precision
            )
            state.monitor.record(norms)
            if state.average is not None:
                state.average.update()
            losses.append(loss)
        return torch.stack(losses)


def train(
    job: Job,
    data: TensorData,
    on_epoch: Callable[[Epoch], None] = lambda epoch: None,
    saved: Checkpoint | None = None,
    runner: StepRunner | None = None,
) -> Training:
    """Train `job` on the device of `data` and judge how the training ended.

    A loss or weight that becomes non-finite ends the training as `diverged`: a result, not an
    error. Everything random comes from `job.seed`; the global generators are neither read nor
    set. Where the recipe averages the weights, the averaged model is the one that is evaluated.

    Args:
        job: what is trained.
        data: on any device.
        on_epoch: called with each row of the curve, first before training.
        saved: is offered the state between epochs. An interrupted training goes on from the state
            that it holds, with all rows so far for `on_epoch`, and ends as it would have: to the
            bit on the same device, but for the times.
        runner: takes the steps.
    """
    recipe, steps = job.recipe, steps_per_epoch(job, data)
    runner, judge = runner or StepRunner(), partial(evaluate, precision=job.precision)
    start = time.perf_counter()
    state, history = start_or_resume(job, data, saved, runner)
    start -= history.seconds
    judged = state.model if state.average is None else state.average.model
    devices = tuple(dict.fromkeys((*history.devices, device_name(data.device))))
    rows = list(history.rows)

    def report(epoch: int, val: Evaluation, **trained: Any) -> None:
        row = curve_row(epoch, val, time.perf_counter() - start, **trained)
        rows.append(asdict(row))
        on_epoch(row)

    def serialized() -> bytes:
        seconds = time.perf_counter() - start
        return state.serialize(History(rows=rows, seconds=seconds, devices=devices))

    for row in history.rows:
        on_epoch(Epoch(**row))
    if not history.rows:
        report(0, judge(state.model, data.validation))
    for epoch in range(len(rows), job.epochs + 1):
        first, total = (epoch - 1) * steps, steps * job.epochs
        lrs = [lr_at(first + i, total, recipe, job.epochs) for i in range(steps)]
        losses = runner.epoch(state, data, lrs)
        make_precise(state, data.train, recipe)
        validation = judge(judged, data.validation)
        bad_step = first_non_finite(losses, state.model, validation)
        diverged_at = None if bad_step is None else first + bad_step
        metrics = epoch_metrics(lrs, losses, state.monitor.epoch_signals(losses))
        report(epoch, validation, diverged_at=diverged_at, **metrics)
        if diverged_at is not None:
            return Training(outcome="diverged", diverged_at=diverged_at, devices=devices)
        if saved is not None and epoch < job.epochs:
            saved.offer(serialized)
    raw = None if state.average is None else judge(state.model, data.test)
    test = judge(judged, data.test)
    return Training(outcome="ok", test=test, raw_test=raw, devices=devices)


def curve_row(
    epoch: int, val: Evaluation, seconds: float, diverged_at: int | None = None, **metrics: Any
) -> Epoch:
    """A row of the curve; `metrics` of `epoch_metrics`, none at epoch 0."""
    if diverged_at is None:
        metrics |= {"loss": val.loss, "val_error": val.error}
    return Epoch(epoch=epoch, seconds=seconds, diverged_at=diverged_at, **metrics)


def epoch_metrics(lrs: Sequence[float], losses: Tensor, signals: Signals) -> dict[str, Any]:
    """Columns of `Epoch`, from learning rate and loss (S,) of each step, and their `signals`."""
    n = finite_steps(losses)
    lr, train_loss = (lrs[n - 1], float(losses[:n].mean())) if n else (None, None)
    return {"lr": lr, "train_loss": train_loss, **asdict(signals)}


def steps_per_epoch(job: Job, data: TensorData) -> int:
    """Number of whole batches; the partial batch is dropped."""
    return len(data.train) // job.recipe.batch_size


def initial_state(job: Job, data: TensorData, runner: StepRunner) -> TrainState:
    """A training before its first step."""
    streams = Streams.of(job.seed)
    model, optimizer = runner.initial_model(job, data, streams)
    steps = steps_per_epoch(job, data) * job.epochs
    average = Average(model, job.recipe, job.epochs, steps) if job.recipe.ema else None
    monitor = GradientMonitor(model)
    return TrainState(model, optimizer, streams, monitor, average, job.precision)


def start_or_resume(
    job: Job, data: TensorData, saved: Checkpoint | None, runner: StepRunner
) -> tuple[TrainState, History]:
    """A training as an interrupted one left it, or before its first step."""
    state = initial_state(job, data, runner)
    content = None if saved is None else saved.load()
    if saved is None or content is None:
        return state, History()
    try:
        return state, state.restore(content)
    except Exception as error:  # whatever unknown bytes lead to
        refuse(saved, error)
        return initial_state(job, data, runner), History()


def make_precise(state: TrainState, part: TensorPart, recipe: Recipe) -> None:
    """Set BatchNorm's precise statistics of the models to be evaluated, if the recipe asks for it.

    They are of whole batches of images, augmented but not mixed, the same for both models.
    """
    if recipe.precise_bn is None or not tracking(state.model):
        return
    generator, average = state.streams.statistics, state.average
    rows = torch.randperm(len(part), generator=generator)[: recipe.precise_bn]
    size = min(recipe.batch_size, len(rows))
    whole = torch.split(to_device(rows[: len(rows) // size * size], part.labels.device), size)
    start = generator.get_state()
    for model in [state.model] if average is None else [state.model, average.model]:
        generator.set_state(start)  # images are made again for each model: kept, they fill the GPU
        batches = (inputs(part, some, recipe, generator)[0] for some in whole)
        set_precise_statistics(model, batches, state.precision, recipe.revision)


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
