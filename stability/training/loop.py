"""One training, from fresh weights to its outcome."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stability.models.build import build
from stability.training.optimizers import Optimizer, build_optimizer, set_lr
from stability.training.outcome import Evaluation, Training, ended, evaluate
from stability.training.recipe import Recipe
from stability.training.schedule import lr_at
from stability.training.tensors import TensorData, TensorPart


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """One row of a trial's curve; epoch 0 is before training."""

    epoch: int
    lr: float | None
    """At the epoch's last step."""
    train_loss: float | None
    """Mean over the epoch's steps of the loss that is minimised (label smoothing included)."""
    loss: float
    """Cross-entropy on the validation part."""
    val_error: float
    """Percent of the validation part."""
    seconds: float
    """Since the start of the training, evaluations included."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """What is trained, how, and from which seed."""

    model: str
    optimizer: str
    recipe: Recipe
    epochs: int
    seed: int


def train(
    job: Job, data: TensorData, on_epoch: Callable[[Epoch], None] = lambda epoch: None
) -> Training:
    """Train `job` on `data` (on the device where `data` lies) and judge how it ended.

    A loss or weight that becomes non-finite ends the training as `diverged`: a result, not an
    error. `on_epoch` is called with each row of the curve, first before training. Everything
    random comes from `job.seed`; the global generators are neither read nor set.
    """
    start = time.perf_counter()
    weights, order = generators(job.seed)
    device = data.device
    model = build(
        job.model,
        channels=data.shape[0],
        classes=data.classes,
        generator=weights,
        device=device,
        image=data.shape[1:],
    )
    optimizer = build_optimizer(job.optimizer, model, job.recipe)
    steps = len(data.train) // job.recipe.batch_size  # of an epoch; the partial batch is dropped

    def report(epoch: int, lr: float | None, train_loss: float | None, val: Evaluation) -> None:
        seconds = time.perf_counter() - start
        row = {"loss": val.loss, "val_error": val.error, "seconds": seconds}
        on_epoch(Epoch(epoch=epoch, lr=lr, train_loss=train_loss, **row))

    validation = evaluate(model, data.validation)
    report(0, None, None, validation)
    for epoch in range(1, job.epochs + 1):
        first_step = (epoch - 1) * steps
        lrs = [lr_at(first_step + i, steps * job.epochs, job.recipe) for i in range(steps)]
        losses = train_epoch(model, optimizer, data.train, job.recipe, lrs, order)
        validation = evaluate(model, data.validation)
        bad_step = first_non_finite(losses, model, validation)
        if bad_step is not None:
            return Training(outcome="diverged", diverged_at=first_step + bad_step)
        report(epoch, lrs[-1], float(losses.mean()), validation)
    return ended(evaluate(model, data.test))


def train_epoch(
    model: nn.Module,
    optimizer: Optimizer,
    part: TensorPart,
    recipe: Recipe,
    lrs: list[float],
    order: torch.Generator,
) -> Tensor:
    """One pass over `part` in an order drawn from `order`; returns the loss of each step."""
    model.train()
    shuffled = torch.randperm(len(part), generator=order).to(part.labels.device)
    losses = []
    for step, lr in enumerate(lrs):
        images, labels = part.batch(shuffled[step * recipe.batch_size :][: recipe.batch_size])
        set_lr(optimizer, lr)
        loss = F.cross_entropy(model(images), labels, label_smoothing=recipe.label_smoothing)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        if recipe.clip is not None:
            nn.utils.clip_grad_norm_(model.parameters(), recipe.clip)
        optimizer.step()
        losses.append(loss.detach())
    return torch.stack(losses)


def first_non_finite(losses: Tensor, model: nn.Module, validation: Evaluation) -> int | None:
    """First step of the epoch whose training loss is not finite, None where all is finite.

    Weights, running statistics and the validation loss are looked at when the epoch ends: where
    only they are not finite, it is the epoch's last step.
    """
    bad = torch.nonzero(~torch.isfinite(losses))
    if len(bad):
        return int(bad[0])
    state = [t for t in model.state_dict().values() if t.is_floating_point()]
    finite = bool(torch.stack([torch.isfinite(t).all() for t in state]).all())
    return None if finite and np.isfinite(validation.loss) else len(losses) - 1


def generators(seed: int) -> tuple[torch.Generator, torch.Generator]:
    """Two independent generators on the CPU: for the weights, and for the order of the images."""
    children = np.random.SeedSequence(seed).generate_state(2, np.uint64)
    weights, order = (torch.Generator().manual_seed(int(child)) for child in children)
    return weights, order
