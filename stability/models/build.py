"""From a name to an initialised module."""

import torch
from torch import nn

from stability.models.init import init_weights
from stability.models.regnet import RegNet
from stability.models.variants import VARIANTS, ViTConfig
from stability.models.vit import ViT


def build(
    name: str,
    *,
    channels: int,
    classes: int,
    generator: torch.Generator,
    device: torch.device | str = "cpu",
) -> nn.Module:
    """The model `name` with fresh weights drawn from `generator` (a CPU generator).

    Takes images (B, channels, image, image), gives logits (B, classes). The weights are drawn on
    the CPU and then moved, so that a seed means the same weights on every device.
    Raises KeyError for a name that is not in `VARIANTS`.
    """
    config = VARIANTS[name]
    # On `meta` nothing is drawn: torch's own initialisation would read the global generator.
    with torch.device("meta"):
        model: nn.Module = (
            ViT(config, channels, classes)
            if isinstance(config, ViTConfig)
            else RegNet(config, channels, classes)
        )
    model.to_empty(device="cpu")
    init_weights(model, generator)
    return model.to(device)
