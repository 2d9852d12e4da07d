"""Averaged weights against a plain loop, and what a training says of them."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from trainings import Train, job, keeping, small

from stability.objective import _values
from stability.training.ema import Average, ema_rate
from stability.training.outcome import evaluate
from stability.training.settings import Recipe


@pytest.fixture
def train(monkeypatch: pytest.MonkeyPatch) -> Train:
    return keeping(monkeypatch)


def recipe(**settings: object) -> Recipe:
    plain = {"lr": 1.0, "weight_decay": 0.0, "batch_size": 64, "warmup": 0.2}
    return Recipe(**plain | settings)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("epochs", "expected"), [(50, 0.0131072), (100, 0.0065536), (200, 0.0032768), (400, 0.0016384)]
)
def test_the_papers_rates(epochs: int, expected: float) -> None:
    """1e-5 * 2048 / epochs * 32, as its authors' code has it."""
    assert ema_rate(recipe(batch_size=2048, ema=1e-5), epochs) == pytest.approx(expected, rel=1e-9)


def test_the_rate_is_at_most_one_and_off_it_has_none() -> None:
    assert ema_rate(recipe(ema=1.0), 1) == 1.0
    with pytest.raises(ValueError, match="ema: off"):
        ema_rate(recipe(), 1)


def net() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))


@pytest.mark.parametrize("period", [1, 3])
@pytest.mark.parametrize("warmup", [{"warmup": 0.2}, {"warmup_epochs": 1}])
def test_average_is_the_plain_loops(period: int, warmup: dict[str, float]) -> None:
    """Weights and buffers: a copy while it warms up, then a share of the way every few steps."""
    model, epochs, steps = net(), 5, 40
    settings = recipe(ema=0.002, ema_period=period, **warmup)
    average = Average(model, settings, epochs, steps)
    share = 0.002 * 64 / epochs * period
    expected = {name: value.clone() for name, value in model.state_dict().items()}
    generator = torch.Generator().manual_seed(0)
    for step in range(steps):
        model(torch.randn(8, 3, generator=generator))  # moves BatchNorm's statistics
        with torch.no_grad():
            for parameter in model.parameters():
                parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
        average.update()
        if step % period == 0:
            a = 1.0 if step < 8 else share
            for name, value in model.state_dict().items():
                if value.is_floating_point():
                    expected[name] = (1 - a) * expected[name] + a * value
    found = average.model.state_dict()
    for name, value in expected.items():
        if value.is_floating_point():
            assert torch.allclose(found[name], value, rtol=1e-5, atol=1e-6), name
            assert not torch.allclose(found[name], model.state_dict()[name]), name
    assert found["1.num_batches_tracked"] == 1 + (steps - 1) // period * period


def test_it_changes_nothing_in_the_training_itself(train: Train) -> None:
    plain, averaged = train(job()), train(job(ema=0.01, ema_period=1))
    ours, theirs = plain.model.state_dict(), averaged.model.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert [r.train_loss for r in plain.curve] == [r.train_loss for r in averaged.curve]
    assert plain.curve[-1].loss != averaged.curve[-1].loss  # the averaged weights are judged
    assert averaged.training.raw_test == plain.training.test
    assert averaged.training.test != plain.training.test


def test_a_rate_of_one_is_the_weights_themselves(train: Train) -> None:
    plain, copied = train(job()), train(job(ema=1.0, ema_period=1))
    assert copied.training.test == copied.training.raw_test == plain.training.test
    assert copied.curve == plain.curve


def test_the_error_is_that_of_the_averaged_weights_and_both_are_stored(train: Train) -> None:
    found = train(job(ema=0.02, ema_period=1, epochs=3))
    values = _values(found.training, found.curve, "cpu")
    assert values["raw_error"] == evaluate(found.model, small().test).error
    assert values["error"] == values["ema_error"] == found.training.test.error
    assert values["wrong"] == found.training.test.wrong
    plain = _values(replace(found.training, raw_test=None), found.curve, "cpu")
    assert not {"raw_error", "ema_error"} & set(plain)


def test_updates_are_counted_over_the_whole_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """977 in 50 epochs of 625 steps, where pycls, which counts anew in each epoch, makes 1,000."""
    epochs, steps = 50, 625
    updates: list[object] = []
    monkeypatch.setattr("stability.training.ema._copy", lambda *tensors: updates.append(tensors))
    plain = recipe(warmup=0.0, ema=1e-5, ema_period=32)
    average = Average(nn.Linear(1, 1), plain, epochs, epochs * steps)
    for _ in range(epochs * steps):
        average.update()
    assert len(updates) == 977
    assert "1,000 in 50 epochs, this class 977" in (Average.__doc__ or "")
    assert epochs * len(range(0, steps, 32)) == 1000
