"""Every model by name, as numbers alone, so that the command line can check names without torch.

A name is `<family>-<size>`: `vitp` (patchify stem), `vitc` (convolutional stem, one block less)
or `regnety`, and a size. Source of the families: "Early Convolutions Help Transformers See
Better" (Xiao et al., NeurIPS 2021, arXiv 2106.14881), section 3 and Table 1.
"""

from dataclasses import dataclass
from typing import Literal

FAMILIES = {"vitp": "vit", "vitc": "vit", "regnety": "regnety"}
"""Model prefix -> family; a family shares its ranges of lr and weight decay (Table 4)."""


@dataclass(frozen=True, kw_only=True)
class ViTConfig:
    """A vision transformer: a stem that makes tokens, then identical pre-norm blocks."""

    image: int
    """Side of the square input, in pixels."""
    patch: int
    """Total stride of the stem; there are (image / patch)^2 tokens."""
    width: int
    """Hidden size of a token."""
    depth: int
    """Number of transformer blocks."""
    heads: int
    """Attention heads; width / heads is the size of each."""
    mlp: int
    """Hidden size of each block's MLP."""
    stem: Literal["patchify", "conv"]
    """One patch x patch convolution of that stride, or stacked 3x3 convolutions of stride two."""
    stem_channels: tuple[int, ...] = ()
    """Outputs of the conv stem's 3x3 convolutions, stride two each; a 1x1 to `width` follows."""


@dataclass(frozen=True, kw_only=True)
class RegNetConfig:
    """A RegNetY: four numbers a stage, squeeze-and-excitation in every block."""

    image: int
    """Side of the square input, in pixels."""
    stem_width: int
    """Channels after the first 3x3 convolution of stride two."""
    depths: tuple[int, ...]
    """Blocks of each stage; the first block of a stage has stride two."""
    widths: tuple[int, ...]
    """Channels of each stage."""
    group_width: int
    """Channels of one group of the 3x3 convolutions."""
    se_ratio: float = 0.25
    """Squeeze-and-excitation width as a share of the block's *input* width."""


VARIANTS: dict[str, ViTConfig | RegNetConfig] = {
    # Scaled from Table 1 to 32x32 pixels: 16 tokens and the class token. The conv stem keeps the
    # paper's rule (3x3 of stride two doubles the channels, then a 1x1) and costs 0.69 MFLOPs on
    # one channel, against 0.73 for the block that it replaces.
    "vitp-nano": ViTConfig(image=32, patch=8, width=64, depth=4, heads=4, mlp=192, stem="patchify"),
    "vitc-nano": ViTConfig(
        image=32,
        patch=8,
        width=64,
        depth=3,
        heads=4,
        mlp=192,
        stem="conv",
        stem_channels=(16, 32, 64),
    ),
    # The CNN of reference: 1.5 M multiply-adds on one channel. The ViTs have 2.9 M and are yet the
    # faster ones on a CPU, where grouped convolutions are slow.
    "regnety-nano": RegNetConfig(
        image=32, stem_width=16, depths=(1, 2, 3), widths=(32, 64, 128), group_width=8
    ),
}


def resolve(name: str, size: str) -> str:
    """Full name of a model: `vitc` means the size that suits the data, `vitc-nano` itself.

    Raises KeyError where there is no such model; the caller names the nearest match.

    >>> resolve("vitc", size="nano")
    'vitc-nano'
    """
    full = name if name in VARIANTS else f"{name}-{size}"
    if full not in VARIANTS:
        raise KeyError(name)
    return full


def family(full_name: str) -> str:
    """Family of a full model name, the key of its ranges.

    >>> family("vitc-nano")
    'vit'
    """
    return FAMILIES[full_name.split("-")[0]]
