"""How a training ends that does not stay finite, or that learns nothing."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from trainings import Train, job, keeping, plain_training, small

from stability.models.build import build
from stability.training import loop
from stability.training.loop import Epoch, first_non_finite
from stability.training.outcome import Evaluation, Training

FINITE = Evaluation(wrong=1, n=10, loss=1.0, chance=90.0, constant=False)


@pytest.fixture
def train(monkeypatch: pytest.MonkeyPatch) -> Train:
    """The training function; the model that it trained is kept."""
    return keeping(monkeypatch)


@pytest.mark.parametrize(
    ("model", "lr", "epochs"),
    [
        ("vitp-nano", 20.0, 6),
        ("vitc-nano", 20.0, 6),
        ("vitp-nano", 1e20, 2),
        ("vitc-nano", 1e20, 2),
    ],
)
def test_too_large_a_learning_rate_diverges_at_the_step_of_the_plain_loop(
    train: Train, model: str, lr: float, epochs: int
) -> None:
    """A result without an error, counted from the first step of the training."""
    one = job(model=model, lr=lr, epochs=epochs, batch_size=25)  # three steps an epoch
    losses, _ = plain_training(one, small())
    assert len(losses) < 3 * epochs
    found = train(one)
    step = len(losses) - 1
    assert found.training == Training(outcome="diverged", diverged_at=step, devices=("cpu",))
    assert [row.epoch for row in found.curve] == list(range(step // 3 + 1))
    assert np.isfinite([row.loss for row in found.curve]).all()
    assert np.isfinite([row.train_loss for row in found.curve[1:]]).all()


def test_first_step_with_a_non_finite_loss_is_found() -> None:
    model = nn.Linear(2, 2)
    for losses, step in [
        ([1.0, float("nan"), 1.0], 1),
        ([float("inf"), float("nan")], 0),
        ([1.0, 1.0, -float("inf")], 2),
    ]:
        assert first_non_finite(torch.tensor(losses), model, FINITE) == step
    assert first_non_finite(torch.ones(3), model, FINITE) is None


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("name", ["0.weight", "1.bias", "1.running_var", "1.running_mean"])
def test_one_non_finite_weight_is_caught_behind_finite_losses(name: str, value: float) -> None:
    """Weights are looked at when the epoch ends, and so is the running state of a norm."""
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    model.state_dict()[name].view(-1)[-1] = value
    assert first_non_finite(torch.ones(5), model, FINITE) == 4


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_a_non_finite_validation_loss_is_caught(loss: float) -> None:
    validation = replace(FINITE, loss=loss)
    assert first_non_finite(torch.ones(5), nn.Linear(2, 2), validation) == 4


def test_a_non_finite_weight_that_no_loss_shows_ends_the_training(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = loop.train_epoch

    def spoil(model: nn.Module, *args: Any) -> Tensor:
        losses = real(model, *args)
        with torch.no_grad():
            model.spare.fill_(float("nan"))
        return losses

    def with_spare(*args: Any, **kwargs: Any) -> nn.Module:
        model = build(*args, **kwargs)
        model.register_buffer("spare", torch.zeros(1))
        return model

    monkeypatch.setattr(loop, "train_epoch", spoil)
    monkeypatch.setattr(loop, "build", with_spare)
    rows: list[Epoch] = []
    training = loop.train(job(), small(), rows.append)
    assert training == Training(outcome="diverged", diverged_at=3, devices=("cpu",))
    assert [row.epoch for row in rows] == [0]


def test_a_constant_model_is_collapsed(train: Train) -> None:
    """A learning rate of nearly nothing leaves the zero head's one answer for every image."""
    found = train(job(lr=1e-300, model="vitp-nano", epochs=1))
    assert found.training.outcome == "collapsed"
    assert found.training.test.constant
    assert len(found.curve) == 2
