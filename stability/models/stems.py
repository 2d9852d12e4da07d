"""Stems: modules that turn images (B, channels, H, W) into a grid of tokens (B, D, h, w).

One function each, with its source; [1] is "Early Convolutions Help Transformers See Better" (Xiao
et al., NeurIPS 2021, arXiv 2106.14881). None changes the rest of the model.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial

from torch import Tensor, nn

from stability.models.stacked import linear
from stability.models.variants import LATE_PATCHIFY, LAYER_NORM_EPS, ViTConfig


def patches(images: Tensor, side: int) -> Tensor:
    """(B, c, H, W) to (B, H / side, W / side, c * side * side), in the order of a kernel."""
    b, c, height, width = images.shape
    h, w = height // side, width // side
    split = images.reshape(b, c, h, side, w, side).permute(0, 2, 4, 1, 3, 5)
    return split.reshape(b, h, w, c * side * side)


class Patchify(nn.Conv2d):
    """One convolution whose kernel is its stride, computed as a reshape and a matrix product.

    The same function of the same weights as `nn.Conv2d`; on a CPU several times faster.
    """

    def forward(self, images: Tensor) -> Tensor:
        tokens = linear(patches(images, self.stride[0]), self.weight.flatten(-3), self.bias)
        return tokens.permute(0, 3, 1, 2)  # (B, D, h, w)


class StemProjection(nn.Conv2d):
    """The conv stem's last 1x1, a type of its own because it is initialised in its own way."""


class UnnormedConv(nn.Conv2d):
    """A convolution that no norm follows, so that the scale of its weights matters."""

    gain = 1.0
    """Of the variance: 2 where a ReLU follows, which halves it."""


class ChannelNorm(nn.LayerNorm):
    """LayerNorm over the channels of each pixel of (B, C, h, w)."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class DualPatchNorm(nn.Module):
    """LayerNorm of the pixels of each patch, their projection, LayerNorm of the token."""

    def __init__(self, channels: int, width: int, patch: int) -> None:
        super().__init__()
        self.before = nn.LayerNorm(channels * patch**2, eps=LAYER_NORM_EPS)
        self.project = Patchify(channels, width, kernel_size=patch, stride=patch)
        self.after = nn.LayerNorm(width, eps=LAYER_NORM_EPS)

    def forward(self, images: Tensor) -> Tensor:
        x = self.before(patches(images, self.project.stride[0]))
        x = linear(x, self.project.weight.flatten(-3), self.project.bias)
        return self.after(x).permute(0, 3, 1, 2)  # type: ignore[no-any-return]


def patchify(config: ViTConfig, channels: int) -> nn.Module:
    """ViT_P: one patch x patch convolution of that stride, with a bias ([1] section 3)."""
    return Patchify(channels, config.width, kernel_size=config.patch, stride=config.patch)


def patchify_frozen(config: ViTConfig, channels: int) -> nn.Module:
    """A patchify stem that stays as it was drawn (MoCo v3: Chen et al. 2021, arXiv 2104.02057)."""
    return patchify(config, channels).requires_grad_(False)


def patchify_bn_relu(config: ViTConfig, channels: int) -> nn.Module:
    """A patchify stem, BatchNorm and ReLU ([1] Figure 7, "P (bn)").

    Its convolution has no bias, as all that a BatchNorm follows: the norm would take it away.
    """
    size = config.patch
    return nn.Sequential(
        Patchify(channels, config.width, kernel_size=size, stride=size, bias=False),
        nn.BatchNorm2d(config.width),
        nn.ReLU(inplace=True),
    )


def dual_patchnorm(config: ViTConfig, channels: int) -> nn.Module:
    """A patchify stem between two LayerNorms (Kumar et al. 2023, arXiv 2302.01327)."""
    return DualPatchNorm(channels, config.width, config.patch)


def hmlp(config: ViTConfig, channels: int) -> nn.Module:
    """Patches that grow: 4x4, then 2x2 and 2x2, each with BatchNorm, all but the last with GELU.

    Patches never see each other (Touvron et al. 2022, arXiv 2203.09795, section 5; a quarter of
    the width until the last, as in DeiT's code, whose biases before a BatchNorm are left out).
    Smaller stems than 16 begin with a smaller patch.
    """
    kernels = [size for size in (config.patch // 4, 2, 2) if size > 1]
    layers: list[nn.Module] = []
    width_in = channels
    for size in kernels[:-1]:
        width_out = config.width // 4
        layers += [
            Patchify(width_in, width_out, kernel_size=size, stride=size, bias=False),
            nn.BatchNorm2d(width_out),
            nn.GELU(),
        ]
        width_in = width_out
    size = kernels[-1]
    last = Patchify(width_in, config.width, kernel_size=size, stride=size, bias=False)
    return nn.Sequential(*layers, last, nn.BatchNorm2d(config.width))


def conv(
    config: ViTConfig,
    channels: int,
    *,
    norm: Callable[[int], nn.Module] | None = nn.BatchNorm2d,
    relu: bool = True,
) -> nn.Module:
    """ViT_C: 3x3 convolutions without bias, each with BatchNorm and ReLU, and a 1x1.

    The 1x1 has a bias and neither norm nor activation ([1] section 3; pycls' `ViTStemConv`).

    Args:
        config: of the model.
        channels: of the images.
        norm: layer after each 3x3; without one, the 3x3s have the biases that the norms had.
        relu: whether a ReLU follows each 3x3.
    """
    layers: list[nn.Module] = []
    width_in = channels
    for width_out, stride in zip(config.conv_channels, config.conv_strides, strict=True):
        kind = nn.Conv2d if norm else UnnormedConv
        layer = kind(width_in, width_out, 3, stride=stride, padding=1, bias=norm is None)
        if isinstance(layer, UnnormedConv) and relu:
            layer.gain = 2.0
        layers += [layer, *([norm(width_out)] if norm else []), *([nn.ReLU(inplace=True)] * relu)]
        width_in = width_out
    return nn.Sequential(*layers, StemProjection(width_in, config.width, 1))


S_WIDTHS = {"s1": 13 / 12, "s2": 2 / 3, "s3": 17 / 48, "s4": 1 / 6}
"""Channels before the 1x1 as a share of the token's: 416, 256, 136 and 64 of 384 in Table 3."""


def late_patchify(config: ViTConfig, channels: int) -> nn.Module:
    """S1 to S4: the conv stem with a patchify convolution for its last 1 to 4 strides of two.

    All but the 1x1 have BatchNorm and ReLU, channels double, the 3x3s that are left over have
    stride one ([1] Table 3, which prints 42 for the first width of S1: its flops, parameters and
    activations are those of 52). For other sizes than 4GF the widths scale with the token's.
    """
    size = LATE_PATCHIFY[config.stem]
    count, merged = int(math.log2(config.patch)), int(math.log2(size))
    first = round(config.width * S_WIDTHS[config.stem] / 2 ** (count - 1))
    strides = [2] * (count - merged) + [1] * (merged - 1)  # of the 3x3s, of which there are count-1
    layers: list[nn.Module] = []
    width_in = channels
    for i, stride in enumerate(strides):
        width_out = first * 2**i
        layers += _normed(
            nn.Conv2d(width_in, width_out, 3, stride=stride, padding=1, bias=False), width_out
        )
        width_in = width_out
    last = Patchify(width_in, 2 * width_in, kernel_size=size, stride=size, bias=False)
    layers += _normed(last, 2 * width_in)
    return nn.Sequential(*layers, StemProjection(2 * width_in, config.width, 1))


def _normed(layer: nn.Module, width: int) -> Sequence[nn.Module]:
    return [layer, nn.BatchNorm2d(width), nn.ReLU(inplace=True)]


BUILD: dict[str, Callable[[ViTConfig, int], nn.Module]] = {
    "patchify": patchify,
    "conv": conv,
    **dict.fromkeys(LATE_PATCHIFY, late_patchify),
    "patchify-bn-relu": patchify_bn_relu,
    # LayerNorm over channels for BatchNorm ([1] Figure 7, "C (ln)").
    "conv-ln": partial(conv, norm=partial(ChannelNorm, eps=LAYER_NORM_EPS)),
    # Whether convolutions stabilise or their norm and ReLU do: Wang et al. 2022, arXiv 2109.03810.
    "conv-nonorm": partial(conv, norm=None),
    "conv-noact": partial(conv, relu=False),
    "conv-linear": partial(conv, norm=None, relu=False),  # a linear map
    "patchify-frozen": patchify_frozen,
    "hmlp": hmlp,
    "dual-patchnorm": dual_patchnorm,
}
"""The functions behind `STEMS`."""


def build_stem(config: ViTConfig, channels: int) -> nn.Module:
    """The stem that the configuration names."""
    return BUILD[config.stem](config, channels)
