"""The optimizers do what their equations say, and decay what the paper decays."""

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from nets import NANO
from torch import nn

from stability.models.build import build
from stability.training.optimizers import build_optimizer, set_lr
from stability.training.recipe import OPTIMIZERS, Recipe

STEPS = 100
Array = np.ndarray


def recipe(**changes: float) -> Recipe:
    return Recipe(**{"lr": 0.1, "weight_decay": 0.3, **changes})


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("name", [*NANO, "vitp-nano+patchify-frozen"])
def test_every_parameter_is_optimized_exactly_once(name: str, optimizer: str) -> None:
    model = build(name, channels=1, classes=10, generator=torch.Generator().manual_seed(0))
    built = build_optimizer(optimizer, model, recipe())
    found = [id(p) for group in built.param_groups for p in group["params"]]
    assert sorted(found) == sorted(id(p) for p in model.parameters() if p.requires_grad)
    assert [group["weight_decay"] for group in built.param_groups] == [0.3, 0.0]


def test_an_unknown_optimizer_is_a_key_error() -> None:
    with pytest.raises(KeyError, match="adam"):
        build_optimizer("adam", nn.Linear(2, 2), recipe())


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_settings_reach_torch(optimizer: str) -> None:
    built = build_optimizer(
        optimizer, nn.Linear(2, 2), recipe(momentum=0.5, nesterov=False, beta1=0.6, beta2=0.7)
    )
    for group in built.param_groups:
        assert group["lr"] == 0.1
        if optimizer == "sgd":
            assert (group["momentum"], group["nesterov"], group["dampening"]) == (0.5, False, 0)
        else:
            assert (group["betas"], group["eps"], group["amsgrad"]) == ((0.6, 0.7), 1e-8, False)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_set_lr_reaches_every_group(optimizer: str) -> None:
    built = build_optimizer(optimizer, nn.Linear(2, 2), recipe())
    set_lr(built, 0.025)
    assert [group["lr"] for group in built.param_groups] == [0.025, 0.025]


# --- their equations ---------------------------------------------------------------------------


def lr_of(step: int) -> float:
    return 0.05 * (1.5 + np.sin(step))


def sgd(p: Array, gradients: list[Array], decay: float) -> Iterator[Array]:
    """Nesterov momentum 0.9 (Sutskever et al. 2013, as torch writes it), L2 in the gradient."""
    velocity = np.zeros_like(p)
    for step, gradient in enumerate(gradients):
        coupled = gradient + decay * p
        velocity = 0.9 * velocity + coupled
        p = p - lr_of(step) * (coupled + 0.9 * velocity)
        yield p


def adamw(p: Array, gradients: list[Array], decay: float) -> Iterator[Array]:
    """Loshchilov and Hutter (2019), algorithm 2: the decay never enters the moments."""
    first, second = np.zeros_like(p), np.zeros_like(p)
    for step, gradient in enumerate(gradients):
        lr = lr_of(step)
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * gradient**2
        mean, square = first / (1 - 0.9 ** (step + 1)), second / (1 - 0.999 ** (step + 1))
        p = p - lr * decay * p - lr * mean / (np.sqrt(square) + 1e-8)
        yield p


@pytest.mark.parametrize(("name", "reference"), [("sgd", sgd), ("adamw", adamw)])
def test_hundred_steps_follow_the_equations(
    name: str, reference: Callable[[Array, list[Array], float], Iterator[Array]]
) -> None:
    """With another learning rate at each step, in both groups, to 1e-6 of each value."""
    model = nn.Sequential(nn.Linear(5, 4), nn.LayerNorm(4)).double()
    rng = np.random.default_rng(0)
    start, gradients, expected = {}, {}, {}
    for path, parameter in model.named_parameters():
        with torch.no_grad():
            parameter.copy_(torch.tensor(rng.normal(size=parameter.shape)))
        start[path] = parameter.detach().numpy().copy()
        gradients[path] = list(rng.normal(size=(STEPS, *parameter.shape)))
        decay = 0.3 if path == "0.weight" else 0.0
        expected[path] = list(reference(start[path], gradients[path], decay))
    optimizer = build_optimizer(name, model, recipe())
    for step in range(STEPS):
        set_lr(optimizer, lr_of(step))
        for path, parameter in model.named_parameters():
            parameter.grad = torch.tensor(gradients[path][step])
        optimizer.step()
        for path, parameter in model.named_parameters():
            found = parameter.detach().numpy()
            np.testing.assert_allclose(found, expected[path][step], rtol=1e-6, err_msg=path)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_decay_is_scaled_by_the_learning_rate(name: str) -> None:
    """Without a gradient, one step of lr takes lr * decay of a weight in both."""
    layer = nn.Linear(3, 3).double()
    before = layer.weight.detach().clone()
    optimizer = build_optimizer(name, layer, recipe(momentum=0.0, nesterov=False))
    set_lr(optimizer, 0.02)
    for parameter in layer.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    torch.testing.assert_close(before - layer.weight.detach(), 0.02 * 0.3 * before)
