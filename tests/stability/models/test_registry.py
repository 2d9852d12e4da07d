"""Every model that has a name learns: the published widths on small images, with few blocks.

What is held at full size, shapes and counts, is in `test_complexity.py`.
"""

import io
import math
from functools import cache

import pytest
import torch
import torch.nn.functional as F
from nets import CLASSES, EVERY, every_model, fresh, images_for, reduced
from torch import Tensor, nn

from stability.models import FAMILIES, STEMS, VARIANTS, ViTConfig, config_of
from stability.training.optimizers import decay_groups

LABELS = torch.arange(4) % CLASSES


@cache
def untouched(name: str) -> nn.Module:
    """Shared by the tests that change nothing: drawing the weights is what takes time."""
    return fresh(reduced(name), channels=3)


def loss_of(model: nn.Module, x: Tensor) -> Tensor:
    return F.cross_entropy(model(x), LABELS)


def is_frozen(name: str, path: str) -> bool:
    return "patchify-frozen" in name and path.startswith("stem.")


def test_every_family_has_its_sizes() -> None:
    for family, sizes in {
        "vitp": ["nano", "micro", "1gf", "4gf", "18gf", "36gf"],
        "vitc": ["nano", "micro", "1gf", "4gf", "18gf", "36gf"],
        "regnety": ["nano", "micro", "1gf", "4gf", "16gf", "32gf"],
        "resnet": ["nano", "micro", "50", "101", "152"],
    }.items():
        assert [n.split("-")[1] for n in VARIANTS if n.startswith(f"{family}-")] == sizes
    assert {name.split("-")[0] for name in VARIANTS} == set(FAMILIES)
    assert len(EVERY) == len(set(EVERY)) >= len(VARIANTS) + 3 * (len(STEMS) - 1) - 3


@every_model
def test_every_parameter_learns_and_what_is_frozen_stays(name: str) -> None:
    """No gradient is missing in the first step, none is zero in the second."""
    config = reduced(name)
    model, x = fresh(config, channels=3), images_for(config)
    before = {path: p.detach().clone() for path, p in model.named_parameters()}
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for step in range(2):
        optimizer.zero_grad()
        loss_of(model, x).backward()
        for path, parameter in model.named_parameters():
            if is_frozen(name, path):
                assert parameter.grad is None, path
                continue
            assert parameter.grad is not None, path
            assert torch.isfinite(parameter.grad).all(), path
            if step == 1:
                assert parameter.grad.abs().max() > 0, path
        optimizer.step()
    for path, parameter in model.named_parameters():
        if is_frozen(name, path):
            assert torch.equal(parameter, before[path]), path


@every_model
@pytest.mark.parametrize("training", [True, False])
def test_logits_are_finite_and_a_zero_head_starts_at_ln_of_the_classes(
    name: str, training: bool
) -> None:
    config = reduced(name)
    model = fresh(config, channels=3) if training else untouched(name)
    with torch.no_grad():
        logits = model.train(training)(images_for(config))
    assert logits.shape == (4, CLASSES)
    assert torch.isfinite(logits).all()
    if isinstance(config, ViTConfig):
        loss = F.cross_entropy(logits, LABELS).item()
        assert loss == pytest.approx(math.log(CLASSES), rel=1e-6)


@every_model
def test_norms_and_biases_are_not_decayed_everything_else_is(name: str) -> None:
    """They are the vectors of a model; class token and positions are (1, N, D) and decayed."""
    model = untouched(name)
    decayed, exempt = map(set, decay_groups(model))
    assert decay_groups(model, 1) == decay_groups(model, 2)
    for path, parameter in model.named_parameters():
        trained = not is_frozen(name, path)
        assert (parameter in decayed) == (trained and parameter.ndim > 1), path
        assert (parameter in exempt) == (trained and parameter.ndim == 1), path
    config = config_of(name)
    if isinstance(config, ViTConfig):
        assert model.positions in decayed
        assert (model.class_token in decayed) == (config.pool == "token")


@every_model
def test_weights_go_through_a_file_unchanged(name: str) -> None:
    config, file = reduced(name), io.BytesIO()
    model, other = fresh(config, seed=1, channels=3), fresh(config, seed=2, channels=3)
    loss_of(model.train(), images_for(config)).backward()  # moves the running statistics
    torch.save(model.state_dict(), file)
    file.seek(0)
    ours = model.state_dict()
    assert any(not torch.equal(v, ours[k]) for k, v in other.state_dict().items())
    other.load_state_dict(torch.load(file, weights_only=True))
    assert all(torch.equal(v, ours[k]) for k, v in other.state_dict().items())
    x = images_for(config)
    assert torch.equal(model.eval()(x), other.eval()(x))
