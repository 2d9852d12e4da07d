"""The optimizers do what their equations say, and decay what the paper decays."""

import subprocess
import sys
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from nets import NANO
from recording import Recording
from torch import nn
from trainings import job, small

from stability.models.build import build
from stability.training.augment.batches import Streams
from stability.training.engines.captured import CapturedStepRunner, graph_kind
from stability.training.optimizers import build_optimizer, decay_groups
from stability.training.settings import OPTIMIZERS, Recipe

STEPS = 100
Array = np.ndarray


def recipe(**changes: float) -> Recipe:
    return Recipe(**{"lr": 0.1, "weight_decay": 0.3, **changes})


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("name", [*NANO, "vitp-nano+patchify-frozen"])
def test_every_parameter_is_optimized_exactly_once(name: str, optimizer: str) -> None:
    model = build(name, channels=1, classes=10, generator=torch.Generator().manual_seed(0))
    built = build_optimizer(optimizer, model, recipe())
    found = [id(p) for group in built.groups for p in group.parameters]
    assert sorted(found) == sorted(id(p) for p in model.parameters() if p.requires_grad)
    assert [group.weight_decay for group in built.groups] == [0.3, 0.0]


def test_an_unknown_optimizer_is_a_key_error() -> None:
    with pytest.raises(KeyError, match="adam"):
        build_optimizer("adam", nn.Linear(2, 2), recipe())


def torchs_own(name: str, model: nn.Module, used: Recipe) -> torch.optim.Optimizer:
    """The optimizer of torch, with the same settings."""
    decayed, exempt = decay_groups(model)
    groups = [
        {"params": decayed, "weight_decay": used.weight_decay},
        {"params": exempt, "weight_decay": 0.0},
    ]
    if name == "sgd":
        momentum = {"momentum": used.momentum, "nesterov": used.nesterov}
        return torch.optim.SGD(groups, lr=used.lr, fused=True, **momentum)
    return torch.optim.AdamW(groups, lr=used.lr, fused=True, betas=(used.beta1, used.beta2))


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize(
    "changes",
    [{}, {"momentum": 0.5, "nesterov": False, "beta1": 0.6, "beta2": 0.7}, {"momentum": 0.0}],
)
def test_hundred_steps_are_torchs_own_bit_by_bit(name: str, changes: dict[str, float]) -> None:
    """With another rate at each step, and a parameter that is without a gradient now and then."""
    if changes.get("momentum") == 0.0:
        changes = {**changes, "nesterov": False}
    used = recipe(**changes)
    ours, theirs = (nn.Sequential(nn.Linear(5, 4), nn.LayerNorm(4)) for _ in range(2))
    theirs.load_state_dict(ours.state_dict())
    optimizer, own = build_optimizer(name, ours, used), torchs_own(name, theirs, used)
    generator = torch.Generator().manual_seed(0)
    for step in range(STEPS):
        optimizer.lr = lr_of(step)
        for group in own.param_groups:
            group["lr"] = lr_of(step)
        optimizer.zero_grad()
        own.zero_grad()
        for place, (p, q) in enumerate(zip(ours.parameters(), theirs.parameters(), strict=True)):
            if place == 1 and step % 3 == 1:
                continue
            p.grad = torch.randn(p.shape, generator=generator)
            q.grad = p.grad.clone()
        optimizer.step()
        own.step()
        for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
            assert torch.equal(p, q), step


@pytest.mark.parametrize("decay", [0.3, 0.0])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_hundred_captured_steps_are_torchs_own(name: str, decay: float) -> None:
    """To 1e-6 of each parameter's largest value, with rate and decay in tensors.

    Recorded with neither, then done again with another rate at each step; after another trial.
    """
    one = job(model="vitp-nano", optimizer=name, weight_decay=decay)
    runner = CapturedStepRunner(graph_kind(one), small(), capture=False)
    parameters = list(runner._model.parameters())
    for p in parameters:
        p.grad = torch.zeros_like(p)

    lr = runner._optimizer.lr = torch.zeros(())
    recording, generator = Recording(runner._optimizer.step), torch.Generator().manual_seed(0)

    def moved(step: int) -> None:
        for p in parameters:
            p.grad.copy_(torch.randn(p.shape, generator=generator))
        lr.fill_(lr_of(step))
        recording.replay()

    runner.initial_model(
        job(model="vitp-nano", optimizer=name, weight_decay=0.7), small(), Streams.of(1)
    )
    moved(0)
    runner.initial_model(one, small(), Streams.of(2))
    theirs = build("vitp-nano", channels=1, classes=10, generator=Streams.of(2).weights)
    own, followers = torchs_own(name, theirs, one.recipe), list(theirs.parameters())
    for step in range(STEPS):
        state = generator.get_state()
        moved(step)
        generator.set_state(state)
        for q in followers:
            q.grad = torch.randn(q.shape, generator=generator)
        for group in own.param_groups:
            group["lr"] = lr_of(step)
        own.step()
    for p, q in zip(parameters, followers, strict=True):
        far = (p - q).detach().abs().max()
        assert far < 1e-6 * q.detach().abs().max()


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_parameter_may_wake_up_later(name: str) -> None:
    layer = nn.Linear(2, 2)
    optimizer = build_optimizer(name, layer, recipe())
    for asleep in (True, False):
        layer.weight.grad = torch.ones(2, 2)
        layer.bias.grad = None if asleep else torch.ones(2)
        before = layer.bias.detach().clone()
        optimizer.step()
        assert torch.equal(before, layer.bias) == asleep


def test_no_compiler_is_loaded_by_a_step() -> None:
    """It takes one to two seconds of every worker."""
    code = (
        "import sys, torch; from torch import nn;"
        "from stability.training.optimizers import build_optimizer as b;"
        "from stability.training.settings import Recipe as R;"
        "m = nn.Linear(2, 2); m(torch.ones(2)).sum().backward();"
        "[b(n, m, R(lr=.1, weight_decay=.1)).step() for n in ('sgd', 'adamw')];"
        "print('torch._dynamo' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


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
        optimizer.lr = lr_of(step)
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
    optimizer.lr = 0.02
    for parameter in layer.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    torch.testing.assert_close(before - layer.weight.detach(), 0.02 * 0.3 * before)
