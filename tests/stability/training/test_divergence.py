"""How a training ends that does not stay finite, or that learns nothing."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from trainings import Train, job, keeping, losses_and_norms, plain_training, small

from stability.models.build import build
from stability.objective import image_outcome
from stability.training import loop
from stability.training.loop import Epoch, StepRunner, first_non_finite
from stability.training.outcome import Evaluation, Training
from stability.training.schedule import lr_at
from stability.training.state import TrainState

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
    *before, last = found.curve
    assert [row.epoch for row in found.curve] == list(range(step // 3 + 2))
    assert {row.diverged_at for row in before} == {None}
    assert np.isfinite([row.loss for row in before]).all()
    assert np.isfinite([row.train_loss for row in before[1:]]).all()
    assert (last.diverged_at, last.loss, last.val_error) == (step, None, None)


@pytest.mark.parametrize(
    ("settings", "finite"),
    [({"lr": 20.0}, 2), ({"lr": 1e20}, 1), ({"lr": 1e20, "batch_size": 75}, 1)],
    ids=["in its third step", "in its second step", "when it ends"],
)
def test_the_epoch_of_divergence_has_a_row_of_its_finite_steps(
    train: Train, settings: dict[str, Any], finite: int
) -> None:
    one = job(model="vitp-nano", epochs=6, **{"batch_size": 25, **settings})
    steps = 75 // one.recipe.batch_size
    losses, norms = losses_and_norms(one)
    found = train(one)
    last, first = found.curve[-1], found.training.diverged_at // steps * steps
    seen = slice(first, first + finite)
    assert np.isfinite(losses[seen]).all()
    assert last.train_loss == pytest.approx(losses[seen].mean(), rel=1e-4)
    assert last.lr == lr_at(first + finite - 1, 6 * steps, one.recipe, 6)
    ours = norms[seen][norms[seen] < 1e19]  # beyond that its square overflows
    assert len(ours)
    assert last.grad_norm == pytest.approx(ours.mean(), rel=1e-3)
    assert last.grad_norm_max == pytest.approx(ours.max(), rel=1e-3)
    assert last.grad_norm_first_layer_max >= last.grad_norm_first_layer >= 0
    assert last.loss_spikes == 0  # of the first 32 steps nothing is said


def test_an_epoch_without_a_finite_step_says_nothing(
    train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "evaluate", lambda *_, **__: FINITE)  # no look when an epoch ends
    found = train(job(lr=1e20, batch_size=75, epochs=3))  # a step an epoch
    last = found.curve[-1]
    assert last.diverged_at == found.training.diverged_at == last.epoch - 1
    assert (last.lr, last.train_loss, last.loss, last.val_error) == (None,) * 4
    assert (last.grad_norm, last.grad_norm_max, last.grad_norm_first_layer) == (None,) * 3
    assert last.loss_spikes == 0


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
    real = StepRunner.epoch

    def spoil(runner: StepRunner, state: TrainState, *args: Any) -> Tensor:
        losses = real(runner, state, *args)
        with torch.no_grad():
            state.model.spare.fill_(float("nan"))
        return losses

    def with_spare(*args: Any, **kwargs: Any) -> nn.Module:
        model = build(*args, **kwargs)
        model.register_buffer("spare", torch.zeros(1))
        return model

    monkeypatch.setattr(StepRunner, "epoch", spoil)
    monkeypatch.setattr(loop, "build", with_spare)
    rows: list[Epoch] = []
    training = loop.train(job(), small(), rows.append)
    assert training == Training(outcome="diverged", diverged_at=3, devices=("cpu",))
    assert [(row.epoch, row.diverged_at) for row in rows] == [(0, None), (1, 3)]
    assert rows[1].train_loss is not None
    assert rows[1].val_error is None


def test_a_constant_model_is_collapsed(train: Train) -> None:
    """A learning rate of nearly nothing leaves the zero head's one answer for every image."""
    found = train(job(lr=1e-300, model="vitp-nano", epochs=1))
    assert image_outcome(found.training) == "collapsed"
    assert found.training.test.constant
    assert len(found.curve) == 2
