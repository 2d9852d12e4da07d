"""Signals of instability: the norms of a plain loop, spikes where they are planted."""

import numpy as np
import pytest
import torch
from nets import NANO
from numpy.typing import NDArray
from torch import nn
from trainings import Train, job, keeping, losses_and_norms

from stability.models.build import build
from stability.training.signals import (
    SPIKE_GAP,
    SPIKE_WINDOW,
    GradientMonitor,
    LossHistory,
    first_layer,
    spikes,
)


@pytest.fixture
def train(monkeypatch: pytest.MonkeyPatch) -> Train:
    return keeping(monkeypatch)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_norms_are_those_of_a_plain_loop(train: Train, optimizer: str) -> None:
    _, norms = losses_and_norms(job(optimizer=optimizer, epochs=3))
    expected = norms.reshape(3, 4)
    curve = train(job(optimizer=optimizer, epochs=3)).curve
    assert [row.grad_norm for row in curve[1:]] == pytest.approx(expected.mean(1), rel=1e-4)
    assert [row.grad_norm_max for row in curve[1:]] == pytest.approx(expected.max(1), rel=1e-4)
    before = curve[0]
    assert (before.grad_norm, before.grad_norm_max, before.loss_spikes) == (None, None, None)


def test_norms_are_those_before_clipping(train: Train) -> None:
    clipped, free = train(job(clip=0.01, epochs=1)), train(job(epochs=1))
    assert clipped.curve[1].grad_norm > 0.5
    assert clipped.curve[1].grad_norm != free.curve[1].grad_norm  # other weights from step 2 on


def test_the_first_layers_norm_is_of_its_weight_and_bias() -> None:
    model = nn.Sequential(nn.Sequential(nn.LayerNorm(4), nn.Linear(4, 3)), nn.Linear(3, 2))
    watch = GradientMonitor(model)
    norms = []
    for scale in (1.0, 5.0):
        model.zero_grad()
        (scale * model(torch.eye(4)).sum()).backward()
        watch.record(watch.norms())
        first = model[0][1]
        norms.append(torch.cat([first.weight.grad.flatten(), first.bias.grad]).norm().item())
    found = watch.epoch_signals(torch.tensor([1.0, 1.0]))
    assert found.grad_norm_first_layer == pytest.approx(np.mean(norms), rel=1e-5)
    assert found.grad_norm_first_layer_max == pytest.approx(max(norms), rel=1e-5)
    assert found.grad_norm > found.grad_norm_first_layer > 0


@pytest.mark.parametrize("name", NANO)
def test_the_first_layer_is_the_stems_first_convolution(name: str) -> None:
    model = build(name, channels=1, classes=10, generator=torch.Generator().manual_seed(0))
    first = first_layer(model)
    assert isinstance(first, nn.Conv2d)
    assert first.in_channels == 1  # it sees the image


def test_a_frozen_first_layer_has_no_norm(train: Train) -> None:
    row = train(job(model="vitp-nano+patchify-frozen", epochs=1)).curve[1]
    assert row.grad_norm > 0
    assert (row.grad_norm_first_layer, row.grad_norm_first_layer_max) == (None, None)


def test_a_parameter_that_is_not_used_has_norm_zero() -> None:
    model = nn.ModuleDict({"used": nn.Linear(2, 1), "unused": nn.Linear(2, 1)})
    model["used"](torch.ones(1, 2)).sum().backward()
    norms = GradientMonitor(model).norms()
    assert norms.tolist() == pytest.approx([2**0.5, 1, 0, 0])


def losses(n: int = 200, seed: int = 0) -> NDArray[np.float64]:
    """Falling, with noise."""
    return 2 * np.exp(-np.arange(n) / 80) + np.random.default_rng(seed).normal(0, 0.05, n)


def by_hand(values: NDArray[np.float64]) -> list[int]:
    """The definition, step by step."""
    found, last = [], None
    for t in range(32, len(values)):
        before = values[t - 32 : t]
        if values[t] > before.mean() + 3.2 * before.std(ddof=1):
            if last is None or t - last > 10:
                found.append(t)
            last = t
    return found


def test_spikes_are_where_they_were_planted() -> None:
    values = losses()
    assert spikes(values) == []
    for at in (40, 90, 95, 150):
        values[at] += 3
    assert spikes(values) == [40, 90, 150]  # 90 and 95 are one


@pytest.mark.parametrize(("second", "expected"), [(50, [40]), (51, [40, 51])])
def test_spikes_ten_steps_apart_are_one(second: int, expected: list[int]) -> None:
    values = losses()
    values[[40, second]] += 3
    assert spikes(values) == expected


@pytest.mark.parametrize("seed", range(5))
def test_spikes_are_those_of_the_definition(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = losses(1000, seed) + rng.standard_t(3, 1000) * 0.1
    assert len(by_hand(values)) > 4
    assert spikes(values) == by_hand(values)


def test_the_first_steps_are_not_judged() -> None:
    values = np.ones(SPIKE_WINDOW + 1) + 0.01 * np.arange(SPIKE_WINDOW + 1) % 0.02
    values[5] = 100
    assert spikes(values[:SPIKE_WINDOW]) == []
    assert spikes(np.array([])) == []


def test_noise_alone_is_rarely_a_spike() -> None:
    """0.18% of the steps: 36 of 20,000 expected; within 4 standard deviations."""
    values = np.random.default_rng(1).normal(0, 1, 20_000 + SPIKE_WINDOW)
    assert abs(len(spikes(values)) - 36) < 4 * 6


@pytest.mark.parametrize("steps", [1, 7, 50])
def test_epochs_count_what_the_whole_training_shows(steps: int) -> None:
    """However short an epoch is: each spike once, in the epoch in which it begins."""
    values = losses(350, 3)
    values[[60, 64, 70, 81, 120, 200, 206, 211]] += 2
    watch = GradientMonitor(nn.Linear(1, 1))
    counted = []
    for start in range(0, 350, steps):
        for _ in range(steps):
            watch.record(watch.norms())
        epoch = torch.tensor(values[start : start + steps], dtype=torch.float64)
        counted.append(watch.epoch_signals(epoch).loss_spikes)
    expected = np.zeros(len(counted), int)
    for step in spikes(values):
        expected[step // steps] += 1
    assert counted == expected.tolist()
    assert sum(counted) >= 4
    assert SPIKE_GAP == 10


def test_what_comes_after_a_loss_that_is_not_finite_is_left_out() -> None:
    """Norms that are not finite are left out too; they may come a step before the loss."""
    inf, nan = float("inf"), float("nan")
    values = torch.tensor([*losses(40), 3.0, nan, 5.0, inf])
    values[35] = 9.0
    total = torch.arange(44.0)
    total[40:] = torch.tensor([inf, 1e9, nan, 1e9])
    found = LossHistory().signals(total, total / 2, values)
    assert (found.grad_norm, found.grad_norm_max) == (19.5, 39.0)
    assert (found.grad_norm_first_layer, found.grad_norm_first_layer_max) == (9.75, 19.5)
    assert found.loss_spikes == 1


def test_the_largest_norms_have_a_mean() -> None:
    total = torch.tensor([3e38, 3e38])
    assert LossHistory().signals(total, None, torch.ones(2)).grad_norm == pytest.approx(3e38)
