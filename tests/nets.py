"""What the tests of models share."""

import pytest
import torch
from torch import Tensor, nn

from stability.models import VARIANTS, ViTConfig
from stability.models.build import build

CLASSES = 10
each_model = pytest.mark.parametrize("name", VARIANTS)
each_vit = pytest.mark.parametrize(
    "name", [name for name, config in VARIANTS.items() if isinstance(config, ViTConfig)]
)


def fresh(name: str, seed: int = 0, channels: int = 1) -> nn.Module:
    generator = torch.Generator().manual_seed(seed)
    return build(name, channels=channels, classes=CLASSES, generator=generator)


def images(n: int = 8, channels: int = 1, dtype: torch.dtype = torch.float32) -> Tensor:
    generator = torch.Generator().manual_seed(7)
    return torch.randn(n, channels, 32, 32, generator=generator).to(dtype)
