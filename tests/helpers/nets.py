"""What the tests of models share: the small ones whole, every one of the registry reduced."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from stability.models import (
    STEMS,
    VARIANTS,
    Config,
    ModelNameError,
    ResNetConfig,
    ViTConfig,
    config_of,
)
from stability.models.build import build

CLASSES = 10
NANO = [name for name in VARIANTS if name.endswith("-nano")]
each_model = pytest.mark.parametrize("name", NANO)
each_vit = pytest.mark.parametrize(
    "name", [name for name in NANO if isinstance(VARIANTS[name], ViTConfig)]
)


def exists(name: str) -> bool:
    """Whether the stem fits the patches."""
    try:
        config_of(name)
    except ModelNameError:
        return False
    return True


STEMMED = [
    name
    for base in ("vitp-nano", "vitp-micro", "vitp-4gf")
    for stem in STEMS
    if stem != "patchify" and exists(name := f"{base}+{stem}")
]
"""Every stem on patches of 8, 4 and 16 pixels; `test_stems.py` counts them."""
EVERY = [*VARIANTS, *STEMMED, "vitp-nano+gap", "vitc-4gf+gap"]
every_model = pytest.mark.parametrize("name", EVERY)


def fresh(name: str | Config, seed: int = 0, channels: int = 1, **how: Any) -> nn.Module:
    generator = torch.Generator().manual_seed(seed)
    return build(name, channels=channels, classes=CLASSES, generator=generator, **how)


def restless(*args: Any, **kwargs: Any) -> nn.Module:
    """As `build`, with a head that is not zero: else no gradient reaches what lies before it."""
    model = build(*args, **kwargs)
    drawn = torch.randn(model.head.weight.shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        model.head.weight.copy_(0.1 * drawn)
    return model


def apart(found: Tensor, expected: Tensor) -> float:
    """Norm of the difference, as a share of the norm of what is expected."""
    found, expected = found.double(), expected.double()
    return float((found - expected).norm() / expected.norm())


def images(n: int = 8, channels: int = 1, dtype: torch.dtype = torch.float32) -> Tensor:
    generator = torch.Generator().manual_seed(7)
    return torch.randn(n, channels, 32, 32, generator=generator).to(dtype)


def reduced(name: str) -> Config:
    """The model in its full width, on small images and with few blocks, so that it can be run.

    A ViT keeps two blocks and sees 2x2 patches or 32x32 pixels; a CNN keeps two blocks in its
    first stage, one in the others, and sees 64x64 pixels.
    """
    config = config_of(name)
    if isinstance(config, ViTConfig):
        return replace(config, image=32, depth=2)
    side = 64 if len(config.depths) == 4 else 32
    depths = (min(2, config.depths[0]), *(1 for _ in config.depths[1:]))
    if isinstance(config, ResNetConfig):
        return replace(config, image=side, depths=depths)
    return replace(config, image=side, depths=depths)


def images_for(config: Config, n: int = 4) -> Tensor:
    """Colour images of the model's size."""
    generator = torch.Generator().manual_seed(7)
    return torch.randn(n, 3, config.image, config.image, generator=generator)
