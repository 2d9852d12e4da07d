"""Stems: modules that turn images (B, channels, H, W) into a grid of tokens (B, D, h, w)."""

import torch.nn.functional as F
from torch import Tensor, nn

from stability.models.variants import ViTConfig


class Patchify(nn.Conv2d):
    """One convolution whose kernel is its stride, computed as a reshape and a matrix product.

    The same function of the same weights as `nn.Conv2d`; on a CPU several times faster.
    """

    def forward(self, images: Tensor) -> Tensor:
        p, _ = self.stride
        b, c, height, width = images.shape
        h, w = height // p, width // p
        patches = images.reshape(b, c, h, p, w, p).permute(0, 2, 4, 1, 3, 5)  # (B, h, w, c, p, p)
        tokens = F.linear(patches.reshape(b, h, w, c * p * p), self.weight.flatten(1), self.bias)
        return tokens.permute(0, 3, 1, 2)  # (B, D, h, w)


class StemProjection(nn.Conv2d):
    """The conv stem's last 1x1, a type of its own because it is initialised in its own way."""


def patchify(config: ViTConfig, channels: int) -> nn.Module:
    """ViT_P: one patch x patch convolution of that stride, with a bias (section 3)."""
    return Patchify(channels, config.width, kernel_size=config.patch, stride=config.patch)


def conv(config: ViTConfig, channels: int) -> nn.Module:
    """ViT_C: 3x3 convolutions of stride two without bias, each with BatchNorm and ReLU, a 1x1.

    The 1x1 has a bias and neither norm nor activation (section 3; pycls' `ViTStemConv`).
    """
    layers: list[nn.Module] = []
    for width_in, width_out in zip(
        (channels, *config.stem_channels), config.stem_channels, strict=False
    ):
        layers += [
            nn.Conv2d(width_in, width_out, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(width_out),
            nn.ReLU(inplace=True),
        ]
    return nn.Sequential(*layers, StemProjection(config.stem_channels[-1], config.width, 1))


def build_stem(config: ViTConfig, channels: int) -> nn.Module:
    """The stem that the configuration names."""
    return {"patchify": patchify, "conv": conv}[config.stem](config, channels)
