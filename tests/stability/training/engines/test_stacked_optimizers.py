"""The optimizers of K trials at once are `torch.optim`'s of each."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from stability.training.engines.stacked_optimizers import (
    STACKED_OPTIMIZER_CLASSES,
    StackedOptimizer,
)
from stability.training.settings import OPTIMIZERS, Recipe

STEPS, DECAYED, P = 100, 7, 12
RECIPES = [
    Recipe(lr=0.1, weight_decay=0.3),
    Recipe(lr=0.03, weight_decay=0.0, momentum=0.0, beta2=0.9),
    Recipe(lr=0.5, weight_decay=0.01, momentum=0.5, beta1=0.5, beta2=0.99),
]


def start() -> Tensor:
    return torch.randn(len(RECIPES), P, generator=torch.Generator().manual_seed(0))


def steps(n: int = STEPS) -> Iterator[tuple[Tensor, list[float]]]:
    """Gradients of sizes from 1e-3 to 1, and a learning rate for each trial."""
    generator = torch.Generator().manual_seed(1)
    for step in range(n):
        size = 10 ** (-3 * torch.rand(1, P, generator=generator))
        gradients = size * torch.randn(len(RECIPES), P, generator=generator)
        yield gradients, [recipe.lr * (1 - step / STEPS) for recipe in RECIPES]


def column(values: list[float]) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)[:, None]


ALL = torch.ones(len(RECIPES), 1, dtype=torch.bool)


def moved(optimizer: StackedOptimizer, n: int = STEPS, alive: Tensor = ALL) -> Tensor:
    for gradients, lrs in steps(n):
        optimizer.step(gradients.clone(), column(lrs), alive)
    return optimizer.weights


@pytest.mark.parametrize("nesterov", [True, False])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_hundred_steps_are_torchs_own_of_each_trial(name: str, nesterov: bool) -> None:
    recipes = [Recipe(**{**vars(recipe), "nesterov": nesterov}) for recipe in RECIPES]
    found = moved(STACKED_OPTIMIZER_CLASSES[name](start(), DECAYED, recipes))
    assert found.dtype == torch.float32
    for k, recipe in enumerate(recipes):
        weights = [
            part.clone().requires_grad_() for part in start()[k].split([DECAYED, P - DECAYED])
        ]
        groups = [
            {"params": weights[:1], "weight_decay": recipe.weight_decay},
            {"params": weights[1:], "weight_decay": 0.0},
        ]
        if name == "sgd":
            used = nesterov and recipe.momentum > 0  # else torch refuses it
            theirs = torch.optim.SGD(groups, lr=1.0, momentum=recipe.momentum, nesterov=used)
        else:
            theirs = torch.optim.AdamW(groups, lr=1.0, betas=(recipe.beta1, recipe.beta2))
        for gradients, lrs in steps():
            for weight, gradient in zip(
                weights, gradients[k].split([DECAYED, P - DECAYED]), strict=True
            ):
                weight.grad = gradient.clone()
            for group in theirs.param_groups:
                group["lr"] = lrs[k]
            theirs.step()
        expected = torch.cat([weight.detach() for weight in weights])
        assert (found[k] - expected).abs().max() < 1e-6 * expected.abs().max()
        assert (found[k] - start()[k]).abs().min() > 1e-4


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_who_is_not_alive_stays_and_touches_nobody(name: str) -> None:
    """To the bit, whatever its gradients are."""
    expected = moved(STACKED_OPTIMIZER_CLASSES[name](start(), DECAYED, RECIPES))
    optimizer = STACKED_OPTIMIZER_CLASSES[name](start(), DECAYED, RECIPES)
    alive = torch.tensor([[True], [False], [True]])
    for gradients, lrs in steps():
        spoilt = gradients.clone()
        spoilt[1] = float("nan")
        optimizer.step(spoilt, column(lrs), alive)
    assert torch.equal(optimizer.weights[1], start()[1])
    assert torch.equal(optimizer.weights[[0, 2]], expected[[0, 2]])
    assert not torch.equal(expected[1], start()[1])


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_those_that_are_kept_go_on_as_before(name: str) -> None:
    """Memories, settings and Adam's count go along."""
    expected = moved(STACKED_OPTIMIZER_CLASSES[name](start(), DECAYED, RECIPES))
    rows = torch.tensor([0, 2])
    optimizer = STACKED_OPTIMIZER_CLASSES[name](start(), DECAYED, RECIPES)
    for step, (gradients, lrs) in enumerate(steps()):
        if step == STEPS // 2:
            kept = iter([values[rows] for values in optimizer.state()])
            optimizer.load_state(optimizer.weights[rows], kept)
        chosen = rows if step >= STEPS // 2 else torch.arange(3)
        optimizer.step(gradients[chosen], column(lrs)[chosen], ALL[chosen])
    assert torch.equal(optimizer.weights, expected[rows])
