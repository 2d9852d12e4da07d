"""What the tests of the training share: a slice of the digits, a small job, a plain loop."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn

from stability.data import load_data
from stability.models.build import build
from stability.training import loop
from stability.training.loop import Epoch, Job
from stability.training.optimizers import build_optimizer
from stability.training.outcome import Training, evaluate
from stability.training.recipes import settings_of
from stability.training.schedule import lr_at
from stability.training.settings import Recipe
from stability.training.tensors import TensorData, TensorPart
from sweeps.study.trial import Trial

LR = {"sgd": 0.05, "adamw": 1e-3}


@cache
def small() -> TensorData:
    """A slice of the digits: 75 to train on, 30 and 40 to evaluate."""
    data = TensorData.of(load_data("digits"), "cpu")

    def first(part: TensorPart, n: int) -> TensorPart:
        return replace(part, images=part.images[:n], labels=part.labels[:n])

    parts = {"validation": first(data.validation, 30), "test": first(data.test, 40)}
    return replace(data, train=first(data.train, 75), **parts)


def job(**changes: Any) -> Job:
    """Four steps of 16 images an epoch; 11 images are left over."""
    optimizer = changes.pop("optimizer", "sgd")
    settings = {"lr": LR[optimizer], "weight_decay": 1e-3, "batch_size": 16}
    own = {key: changes.pop(key) for key in ("model", "epochs", "seed") if key in changes}
    plain = {"model": "vitc-nano", "epochs": 2, "seed": 3}
    return Job(optimizer=optimizer, recipe=Recipe(**settings | changes), **plain | own)


@dataclass
class Trained:
    """What a training leaves, its times set to zero."""

    training: Training
    curve: list[Epoch]
    model: nn.Module

    def same_bits(self, other: "Trained") -> bool:
        ours, theirs = self.model.state_dict(), other.model.state_dict()
        return (
            self.training == other.training
            and self.curve == other.curve
            and all(torch.equal(ours[name], theirs[name]) for name in ours)
        )


Train = Callable[..., Trained]


def keeping(monkeypatch: pytest.MonkeyPatch) -> Train:
    """The training function; the model that it trained is kept."""

    def trained(job: Job, data: TensorData | None = None) -> Trained:
        models: list[nn.Module] = []
        curve: list[Epoch] = []

        def build_and_keep(*args: Any, **kwargs: Any) -> nn.Module:
            models.append(build(*args, **kwargs))
            return models[-1]

        monkeypatch.setattr(loop, "build", build_and_keep)
        training = loop.train(job, data or small(), curve.append)
        assert [row.seconds for row in curve] == sorted(row.seconds for row in curve)
        return Trained(training, [replace(row, seconds=0.0) for row in curve], models[-1])

    return trained


def plain_training(
    job: Job, data: TensorData, on_norm: Callable[[float], None] = lambda norm: None
) -> tuple[list[float], nn.Module]:
    """The same training step by step; its losses up to the first that is not finite.

    `on_norm` is given the norm of each step's gradient, computed in double precision.
    """
    seeds = np.random.SeedSequence(job.seed).generate_state(2, np.uint64)
    weights, order = (torch.Generator().manual_seed(int(seed)) for seed in seeds)
    model = build(job.model, channels=1, classes=10, generator=weights)
    model = model.to(memory_format=torch.channels_last)
    optimizer = build_optimizer(job.optimizer, model, job.recipe)
    batch, losses = job.recipe.batch_size, []
    steps = len(data.train.labels) // batch
    for epoch in range(job.epochs):
        model.train()
        shuffled = torch.randperm(len(data.train.labels), generator=order)
        for step in range(epoch * steps, (epoch + 1) * steps):
            rows = shuffled[(step - epoch * steps) * batch :][:batch]
            pixels = data.train.images[rows].float()
            logits = model((pixels - data.train.mean) / data.train.std)
            loss = F.cross_entropy(
                logits, data.train.labels[rows], label_smoothing=job.recipe.label_smoothing
            )
            losses.append(loss.item())
            optimizer.lr = lr_at(step, steps * job.epochs, job.recipe)
            optimizer.zero_grad()
            loss.backward()
            gradients = [p.grad.flatten() for p in model.parameters() if p.grad is not None]
            on_norm(torch.cat(gradients).double().norm().item())
            optimizer.step()
            if not np.isfinite(losses[-1]):
                return losses, model
        if not np.isfinite(evaluate(model, data.validation).loss):
            return losses, model
    return losses, model


def losses_and_norms(job: Job) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Of each step of `plain_training` on `small`; norms over all parameters."""
    norms: list[float] = []
    losses, _ = plain_training(job, small(), norms.append)
    return np.array(losses), np.array(norms)


def trial(number: int = 0, **changes: Any) -> Trial:
    """One epoch of four steps on the digits."""
    settings = {**settings_of("nano", "sgd"), "lr": 0.05, "weight_decay": 1e-4, "batch_size": 256}
    fields = {
        "id": f"trial-{number}",
        "study": "0" * 12,
        "draw": number,
        "model": "vitp-nano",
        "optim": "sgd",
        "epochs": 1,
        "seed": number,
        "data": "digits",
        "fingerprint": load_data("digits").fingerprint,
        "hyperparameters": {"lr": 0.05, "weight_decay": 1e-4},
        "settings": settings | changes.pop("settings", {}),
        "precision": "float32",
        "objective": "stability.objective:train_images",
    }
    return Trial(**{**fields, **changes})
