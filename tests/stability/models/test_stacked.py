"""Layers and models that are K in one do what the K do alone; `torch.func.vmap` is the oracle."""

import re
from collections.abc import Callable
from functools import partial

import pytest
import torch
from nets import CLASSES, EVERY, NANO, fresh, images, images_for, reduced
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from stability.models.build import build
from stability.models.stacked import for_rows, linear, stack, statistics, unstackable_layer
from stability.models.stems import ChannelNorm, DualPatchNorm, Patchify
from stability.models.vit import Attention
from stability.training.batchnorm import tracking
from stability.training.optimizers import decay_groups
from stability.training.signals import first_layer

K, B = 3, 4

LAYERS = {
    "linear": (partial(nn.Linear, 6, 5), (6,)),
    "linear-of-tokens": (partial(nn.Linear, 6, 5), (7, 6)),
    "linear-without-bias": (partial(nn.Linear, 6, 5, bias=False), (7, 6)),
    "layernorm": (partial(nn.LayerNorm, 6), (7, 6)),
    "layernorm-without-bias": (partial(nn.LayerNorm, 6, bias=False), (6,)),
    "layernorm-without-weights": (
        lambda: nn.Sequential(nn.Linear(6, 6), nn.LayerNorm(6, elementwise_affine=False)),
        (6,),
    ),
    "layernorm-of-two-axes": (partial(nn.LayerNorm, (7, 6)), (7, 6)),
    "channelnorm": (partial(ChannelNorm, 6), (6, 5, 4)),
    "conv": (partial(nn.Conv2d, 4, 6, 3, stride=2, padding=1), (4, 9, 8)),
    "conv-1x1": (partial(nn.Conv2d, 4, 6, 1, bias=False), (4, 5, 5)),
    "conv-grouped": (partial(nn.Conv2d, 4, 6, 3, groups=2, dilation=2), (4, 9, 8)),
    "patchify": (partial(Patchify, 3, 6, kernel_size=4, stride=4), (3, 8, 12)),
    "dual-patchnorm": (partial(DualPatchNorm, 3, 6, 4), (3, 8, 12)),
    "batchnorm": (partial(nn.BatchNorm2d, 5), (5, 3, 4)),
    "batchnorm-without-weights": (
        lambda: nn.Sequential(nn.Conv2d(5, 5, 1), nn.BatchNorm2d(5, affine=False)),
        (5, 3, 4),
    ),
    "batchnorm-without-statistics": (
        partial(nn.BatchNorm2d, 5, track_running_stats=False),
        (5, 3, 4),
    ),
    "attention": (partial(Attention, 6, 2), (7, 6)),
}


def filled(model: nn.Module, seed: int) -> nn.Module:
    """Every value drawn; a variance stays positive, a count whole."""
    generator = torch.Generator().manual_seed(seed)
    for name, value in model.double().state_dict().items():
        if value.is_floating_point():
            value.copy_(torch.randn(value.shape, generator=generator))
            if "running_var" in name:
                value.abs_().add_(0.1)
    return model


def batches(*shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(9)
    return torch.randn(K, B, *shape, generator=generator, dtype=torch.float64)


def of_vmap(
    models: list[nn.Module], x: Tensor
) -> tuple[Tensor, dict[str, Tensor], dict[str, Tensor]]:
    """Outputs, gradients of the sum of their squares, and buffers afterwards."""
    states = [{n: v.detach().clone() for n, v in m.state_dict().items()} for m in models]
    stacked = {name: torch.stack([s[name] for s in states]) for name in states[0]}
    names = [name for name, _ in models[0].named_parameters()]
    parameters = {name: stacked[name] for name in names}
    buffers = {name: value for name, value in stacked.items() if name not in names}

    def squares(parameters: dict[str, Tensor], kept: dict[str, Tensor], x: Tensor) -> Tensor:
        return functional_call(models[0], (parameters, kept), (x,)).square().sum()

    copies = {name: value.clone() for name, value in buffers.items()}
    gradients = vmap(grad(squares))(parameters, copies, x)
    outputs = vmap(lambda p, b, x: functional_call(models[0], (p, b), (x,)))(parameters, buffers, x)
    return outputs, gradients, buffers


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", LAYERS)
def test_a_stacked_layer_is_vmap_of_the_layer(name: str, training: bool) -> None:
    make, shape = LAYERS[name]
    models = [filled(make(), seed).train(training) for seed in range(K)]
    stacked, x = stack(models), batches(*shape)
    with sdpa_kernel(SDPBackend.MATH):  # vmap has no rule for the others
        outputs, gradients, buffers = of_vmap(models, x)
    found = stacked(x.flatten(0, 1))
    assert torch.allclose(found, outputs.flatten(0, 1), rtol=1e-10, atol=1e-12)
    found.square().sum().backward()
    assert [n for n, _ in stacked.named_parameters()] == list(gradients)
    for own, parameter in stacked.named_parameters():
        assert torch.allclose(parameter.grad, gradients[own], rtol=1e-9, atol=1e-10), own
    for own, value in stacked.named_buffers():
        assert torch.allclose(value.double(), buffers[own].double(), rtol=1e-10), own
    assert len(statistics(stacked)) == len(buffers)


def test_a_stacked_layer_is_not_the_layer_of_another_model() -> None:
    """That the oracle can fail: with two models exchanged nothing fits."""
    for make, shape in (LAYERS["linear"], LAYERS["batchnorm"], LAYERS["channelnorm"]):
        models = [filled(make(), seed) for seed in range(K)]
        exchanged = stack([models[1], models[0], models[2]])(batches(*shape).flatten(0, 1))
        expected = of_vmap(models, batches(*shape))[0]
        assert torch.allclose(exchanged.unflatten(0, (K, B))[2], expected[2])
        assert not torch.isclose(exchanged.unflatten(0, (K, B))[:2], expected[:2]).all()


@pytest.mark.parametrize("queries", [1, 3])
def test_attention_of_the_first_tokens_is_that_of_all(queries: int) -> None:
    stacked = stack([filled(Attention(6, 2), seed) for seed in range(K)])
    x = batches(7, 6).flatten(0, 1)
    assert torch.allclose(stacked(x, queries), stacked(x)[:, :queries])


def restless(name: str, seed: int) -> nn.Module:
    """A model whose head is not zero, so that gradients reach the rest."""
    model = fresh(name, seed).double()
    generator = torch.Generator().manual_seed(seed)
    nn.init.normal_(model.head.weight, std=0.1, generator=generator)
    return model


def learnt(model: nn.Module, x: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Logits, and the gradients of the sum of their squares."""
    logits = model.train()(x)
    trained = [p for p in model.parameters() if p.requires_grad]
    return logits, list(torch.autograd.grad(logits.square().sum(), trained))


@pytest.mark.parametrize("name", [*NANO, "vitp-nano+gap", "vitp-nano+patchify-frozen"])
def test_a_stack_of_models_is_each_of_them(name: str) -> None:
    """Other images for each; in double precision, where nothing but the order of sums differs."""
    models = [restless(name, seed) for seed in range(K)]
    x = torch.randn(K, B, 1, 32, 32, generator=torch.Generator().manual_seed(1)).double()
    stacked = stack(models)
    logits, gradients = learnt(stacked, x.flatten(0, 1))
    for k, model in enumerate(models):
        own_logits, own = learnt(model, x[k])
        assert torch.allclose(logits.view(K, B, -1)[k], own_logits, rtol=1e-9, atol=1e-12)
        for ours, theirs in zip(gradients, own, strict=True):
            assert torch.allclose(ours[k], theirs, rtol=1e-7, atol=1e-10 * float(theirs.norm()))
        statistics_alone = dict(model.named_buffers())
        for own_name, value in stacked.named_buffers():
            assert torch.allclose(value[k].double(), statistics_alone[own_name].double())


SIZES = ("nano", "micro", "1gf", "4gf", "50")


@pytest.mark.parametrize("name", [n for n in EVERY if re.split(r"[-+]", n)[1] in SIZES])
def test_every_model_of_the_registry_stacks(name: str) -> None:
    """With another stem, another size, another depth."""
    config = reduced(name)
    models = [
        build(config, channels=3, classes=CLASSES, generator=torch.Generator().manual_seed(seed))
        for seed in range(2)
    ]
    assert unstackable_layer(models[0]) is None
    x = images_for(config, 2)
    with torch.no_grad():
        for model in models:  # not zero
            model.head.weight.normal_(generator=torch.Generator().manual_seed(3))
        found = stack(models).eval()(x.repeat(2, 1, 1, 1))
        alone = torch.cat([model.eval()(x) for model in models])
    assert torch.allclose(found, alone, rtol=1e-3, atol=1e-4 * float(alone.abs().max()))


@pytest.mark.parametrize("name", NANO)
def test_a_stack_of_one_is_the_model(name: str) -> None:
    """With the names, the groups of the optimizer and the first layer of the plain one."""
    model = restless(name, 0)
    stacked = stack([model])
    for mode in (True, False):
        plain, ours = model.train(mode)(images().double()), stacked.train(mode)(images().double())
        assert torch.allclose(plain, ours, rtol=1e-9, atol=1e-12)
    assert stacked.state_dict().keys() == model.state_dict().keys()
    for ours, theirs in zip(decay_groups(stacked), decay_groups(model), strict=True):
        assert [p.shape[1:] for p in ours] == [p.shape for p in theirs]
    names = [{id(m): n for n, m in net.named_modules()} for net in (stacked, model)]
    assert names[0][id(first_layer(stacked))] == names[1][id(first_layer(model))]
    assert len(tracking(stacked)) == len(tracking(model))


def test_the_models_are_not_touched() -> None:
    models = [fresh("vitc-nano", seed) for seed in range(2)]
    before = [{n: v.clone() for n, v in m.state_dict().items()} for m in models]
    stacked = stack(models)
    stacked(images().repeat(2, 1, 1, 1)).sum().backward()
    with torch.no_grad():
        for value in stacked.state_dict().values():
            value.zero_()
    for model, values in zip(models, before, strict=True):
        assert all(torch.equal(v, values[n]) for n, v in model.state_dict().items())
        assert all(p.grad is None for p in model.parameters())
        assert type(model.head) is not type(stacked.head)


def test_linear_and_rows_of_a_plain_weight_are_torchs() -> None:
    x, layer = torch.randn(4, 7, 6), nn.Linear(6, 5)
    assert torch.equal(linear(x, layer.weight, layer.bias), layer(x))
    shared = torch.randn(1, 7, 6)
    assert torch.equal(for_rows(shared, 4), shared.repeat(4, 1, 1))
    assert torch.equal(
        for_rows(torch.stack([shared, -shared]), 4)[1:3], torch.cat([shared, -shared])
    )


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.other = nn.Linear(4, 4), nn.Linear(4, 4)
        self.other.weight = self.one.weight


@pytest.mark.parametrize(
    ("model", "fault"),
    [
        (
            nn.Sequential(nn.Linear(2, 2), nn.GroupNorm(1, 2)),
            "its GroupNorm (1) has no stacked form",
        ),
        (nn.BatchNorm1d(3), "its BatchNorm1d has no stacked form"),
        (
            nn.Conv2d(1, 1, 3, padding_mode="reflect"),
            "its Conv2d pads with reflect, not with zeros",
        ),
        (nn.BatchNorm2d(3, momentum=None), "its BatchNorm2d keeps a cumulative average"),
        (nn.Sequential(nn.Dropout(0.1)), "its Dropout (0) draws from torch's global generator"),
        (
            nn.BatchNorm2d(3, affine=False, track_running_stats=False),
            "its BatchNorm2d has neither weights nor statistics",
        ),
        (Tied(), "two of its layers share weights"),
        (nn.Sequential(nn.Dropout(0.0), nn.ReLU(), nn.MaxPool2d(2)), None),
    ],
)
def test_what_has_no_stacked_form_says_so(model: nn.Module, fault: str | None) -> None:
    assert unstackable_layer(model) == fault


# --- in bfloat16 --------------------------------------------------------------------------------


def types(model: nn.Module, x: Tensor) -> dict[str, torch.dtype]:
    """Of what each module in `model` gives under autocast."""
    found: dict[str, torch.dtype] = {}

    def note(name: str) -> Callable[[nn.Module, object, Tensor], None]:
        return lambda module, args, out: found.update({name: out.dtype})

    hooks = [module.register_forward_hook(note(name)) for name, module in model.named_modules()]
    with torch.autocast("cpu", torch.bfloat16, cache_enabled=False):
        model(x)
    for hook in hooks:
        hook.remove()
    return found


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("given", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", LAYERS)
def test_under_autocast_a_stacked_layer_has_the_type_of_the_layer(
    name: str, given: torch.dtype, training: bool
) -> None:
    """A wider type would be other arithmetic, and twice the memory traffic of all that follows."""
    make, shape = LAYERS[name]
    models = [make().train(training) for _ in range(K)]
    x = batches(*shape).to(given)
    assert types(stack(models), x.flatten(0, 1)) == types(models[0], x[0])


@pytest.mark.parametrize("name", [*NANO, "vitp-nano+gap", "vitp-nano+dual-patchnorm"])
def test_under_autocast_all_layers_of_a_stack_have_the_types_of_the_model(name: str) -> None:
    models = [fresh(name, seed) for seed in range(2)]
    expected = types(models[0], images(4))
    assert torch.bfloat16 in expected.values()
    assert types(stack(models), images(4).repeat(2, 1, 1, 1)) == expected


def test_under_autocast_a_part_of_the_weights_gives_the_type_of_torchs() -> None:
    """As queries alone are made, which no hook sees."""
    x, layer = torch.randn(2 * B, 7, 6), nn.Linear(6, 5)
    with torch.autocast("cpu", torch.bfloat16, cache_enabled=False):
        both = linear(x, layer.weight.expand(2, -1, -1), layer.bias.expand(2, -1))
        assert both.dtype == linear(x, layer.weight, layer.bias).dtype == torch.bfloat16
