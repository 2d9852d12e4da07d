"""Initial weights: every parameter from its law, from its seed, and from nothing else."""

import math
import random
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from nets import EVERY, each_model, each_vit, every_model, fresh, reduced
from scipy import stats
from torch import nn

from stability.models import ViTConfig, config_of
from stability.models.init import init_weights
from stability.models.names import has_batchnorm, has_conv_stem, has_squeeze_excitation
from stability.models.regnet import SqueezeExcitation
from stability.models.stems import StemProjection
from stability.models.vit import ViT

SEEDS = 8  # pooled, so that the smallest layers have enough weights to be judged


Laws = dict[nn.Module, dict[str, Any]]
"""By module and parameter: a distribution, or a number where nothing is drawn."""


def uniform(bound: float) -> Any:
    return stats.uniform(-bound, 2 * bound)


def normal(variance: float) -> Any:
    return stats.norm(scale=math.sqrt(variance))


def xavier_bound(layer: nn.Linear) -> float:
    return math.sqrt(6 / (layer.in_features + layer.out_features))


def stem_law(conv: nn.Conv2d, stem: str, stem_init: str) -> Any:
    """Fan in for patches, and where no norm sets the scale; outputs for the convs of ViT_C."""
    size = conv.kernel_size[0]
    fan_in = conv.in_channels * size**2
    if size == conv.stride[0] > 1:
        return normal(1 / fan_in)
    if size == 1:
        return normal({"main": 1, "release": 2}[stem_init] / conv.out_channels)
    if stem in ("conv-nonorm", "conv-linear"):
        return normal({"conv-nonorm": 2, "conv-linear": 1}[stem] / fan_in)
    if stem_init == "release":
        return uniform(1 / math.sqrt(fan_in))
    return normal(2 / conv.out_channels)


def vit_laws(model: ViT, stem: str, stem_init: str) -> Laws:
    """Those of pycls, by the place of the module and not by its type."""
    laws: Laws = {
        model: {"class_token": 0.0, "positions": stats.norm(scale=0.02)},
        model.head: {"weight": 0.0, "bias": 0.0},
    }
    convs = [m for m in model.stem.modules() if isinstance(m, nn.Conv2d)]
    laws |= {conv: {"weight": stem_law(conv, stem, stem_init), "bias": 0.0} for conv in convs}
    for block in model.blocks:
        qkv, project = block.attention.qkv, block.attention.project
        laws[qkv] = {"weight": uniform(xavier_bound(qkv)), "bias": 0.0}
        laws[project] = {"weight": uniform(1 / math.sqrt(project.in_features)), "bias": 0.0}
        for layer in (block.mlp[0], block.mlp[2]):
            laws[layer] = {"weight": uniform(xavier_bound(layer)), "bias": normal(1e-12)}
    return laws


def resnet_laws(model: nn.Module, revision: int) -> Laws:
    """ResNet's: by fan out, 0.01 for the head. From revision 2 on biases have torch's default."""
    laws: Laws = {model.head: {"weight": stats.norm(scale=0.01), "bias": 0.0}}
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            fan_out = module.kernel_size[0] ** 2 * module.out_channels
            fan_in = module.kernel_size[0] ** 2 * module.in_channels // module.groups
            bias = 0.0 if revision == 1 else uniform(1 / math.sqrt(fan_in))
            laws[module] = {"weight": normal(2 / fan_out), "bias": bias}
    return laws


def laws_of(name: str, model: nn.Module, stem_init: str, revision: int) -> Laws:
    norms = (m for m in model.modules() if isinstance(m, nn.LayerNorm | nn.BatchNorm2d))
    config = config_of(name)
    if isinstance(config, ViTConfig):
        assert isinstance(model, ViT)
        laws = vit_laws(model, config.stem, stem_init)
    else:
        laws = resnet_laws(model, revision)
    return laws | {norm: {"weight": 1.0, "bias": 0.0} for norm in norms}


@cache
def drawn(name: str, **how: Any) -> list[nn.Module]:
    return [fresh(name, seed, **how) for seed in range(SEEDS)]


NEW: dict[str, Any] = {"stem_init": "release", "revision": 2}
CHANGED = [name for name in EVERY if has_conv_stem(name) or has_squeeze_excitation(name)]
BOTH = [*((name, {}) for name in EVERY), *((name, NEW) for name in CHANGED)]


@pytest.mark.parametrize("how", [{}, NEW], ids=["old", "new"])
@each_model
def test_every_parameter_starts_from_its_law(name: str, how: dict[str, Any]) -> None:
    hold(name, drawn(name, **how), **how)


@pytest.mark.parametrize(("name", "how"), BOTH)
def test_every_parameter_of_the_registry_starts_from_its_law(
    name: str, how: dict[str, Any]
) -> None:
    """One draw each, in the published widths."""
    hold(name, [fresh(reduced(name), channels=3, **how)], **how)


def hold(name: str, models: list[nn.Module], stem_init: str = "main", revision: int = 1) -> None:
    laws = laws_of(name, models[0], stem_init, revision)
    for path, module in models[0].named_modules():
        for parameter, _ in module.named_parameters(recurse=False):
            tensors = [m.get_submodule(path).get_parameter(parameter) for m in models]
            values = torch.cat([t.detach().flatten() for t in tensors])
            expected = laws[module][parameter]
            if isinstance(expected, float):
                assert (values == expected).all(), (path, parameter)
            else:
                p = stats.kstest(values[:20_000].numpy(), expected.cdf).pvalue
                assert p > 1e-5, (path, parameter, p)


PINNED = {
    "vitp-nano": (618.865001, 2.12091056),
    "vitc-nano": (494.797917, 7.67396731),
    "regnety-nano": (1759.95044, 79.3982356),
    "resnet-nano": (1037.99132, 0.336595616),
}
"""Of the weights of seed 0 on one channel: their sum, and their projection on a cosine."""

PINNED_NEW = PINNED | {
    "vitc-nano": (529.215191, -10.1022484),
    "regnety-nano": (1830.2469, 13.4854366),
}
"""The same with the stem of the release and revision 2."""


@each_model
def test_the_weights_of_a_seed_are_pinned(name: str) -> None:
    """Other weights for a seed would make every finished trial irreproducible.

    Up to rounding: the last bits of a normal number differ between processors.
    """
    values = torch.cat([p.detach().double().flatten() for p in fresh(name).parameters()])
    cosine = torch.cos(torch.arange(len(values), dtype=torch.float64))
    found = (float(values.sum()), float(values @ cosine))
    assert found == pytest.approx(PINNED[name], rel=0, abs=1e-3)


def test_new_weights_of_a_seed_are_pinned_too() -> None:
    for name, pinned in PINNED_NEW.items():
        model = fresh(name, **NEW)
        values = torch.cat([p.detach().double().flatten() for p in model.parameters()])
        cosine = torch.cos(torch.arange(len(values), dtype=torch.float64))
        found = (float(values.sum()), float(values @ cosine))
        assert found == pytest.approx(pinned, rel=0, abs=1e-3), name


@every_model
def test_what_a_name_says_of_its_layers_is_so(name: str) -> None:
    """The command line, which has no torch, decides by names which settings concern a model."""
    modules = list(fresh(reduced(name), channels=3).modules())
    assert has_conv_stem(name) == any(isinstance(m, StemProjection) for m in modules)
    assert has_batchnorm(name) == any(isinstance(m, nn.BatchNorm2d) for m in modules)
    gates = [m for m in modules if isinstance(m, SqueezeExcitation)]
    assert has_squeeze_excitation(name) == bool(gates)


def test_an_unknown_initialisation_is_refused() -> None:
    with pytest.raises(ValueError, match="stem_init: got 'mian', allowed is main or release"):
        fresh("vitc-nano", stem_init="mian")


@each_vit
def test_uniform_weights_reach_their_bound_and_do_not_pass_it(name: str) -> None:
    """A normal law of the same width would; Kolmogorov and Smirnov look at the middle."""
    for block in fresh(name).blocks:
        for layer, bound in [
            (block.attention.qkv, xavier_bound(block.attention.qkv)),
            (block.attention.project, 1 / math.sqrt(block.attention.project.in_features)),
            (block.mlp[0], xavier_bound(block.mlp[0])),
            (block.mlp[2], xavier_bound(block.mlp[2])),
        ]:
            assert 0.99 * bound < layer.weight.abs().max().item() <= bound * (1 + 1e-6)


@each_model
def test_running_statistics_start_at_zero_and_one(name: str) -> None:
    for module in fresh(name).modules():
        if isinstance(module, nn.BatchNorm2d):
            assert (module.running_mean == 0).all()
            assert (module.running_var == 1).all()
            assert module.num_batches_tracked == 0


def same(a: nn.Module, b: nn.Module) -> bool:
    theirs = b.state_dict()
    return all(torch.equal(value, theirs[name]) for name, value in a.state_dict().items())


@each_model
def test_same_seed_same_weights_whatever_the_global_generators_are(name: str) -> None:
    torch.manual_seed(1)
    first = fresh(name, seed=5)
    torch.manual_seed(2)
    assert same(first, fresh(name, seed=5))


@each_model
def test_another_seed_changes_everything_that_is_drawn(name: str) -> None:
    ours, theirs = fresh(name, seed=5), fresh(name, seed=6)
    for (path, a), b in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        is_drawn = float(a.detach().std()) > 0
        assert torch.equal(a, b) != is_drawn, path


@each_model
def test_global_generators_are_untouched(name: str) -> None:
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1:]  # noqa: NPY002
    fresh(name)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]
    after = np.random.get_state()[1:]  # noqa: NPY002
    assert all(np.array_equal(a, b) for a, b in zip(after, before[2], strict=True))


@each_model
def test_a_layer_without_a_law_is_refused(name: str) -> None:
    """A new layer cannot train from whatever lay in its memory."""
    model = fresh(name)
    model.extra = nn.PReLU()
    with pytest.raises(TypeError, match="no initialisation is written for PReLU"):
        init_weights(model, torch.Generator())
