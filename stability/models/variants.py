"""Every model by name, as numbers alone, so that the command line can check names without torch.

A name is `<family>-<size>`: `vitp` (patchify stem), `vitc` (convolutional stem, one block less),
`regnety` or `resnet`, and a size. `stability.models.names` adds the choices of a ViT. Sources:

[1] "Early Convolutions Help Transformers See Better" (Xiao et al., NeurIPS 2021, arXiv 2106.14881)
[2] "Fast and Accurate Model Scaling" (Dollár et al., CVPR 2021, arXiv 2103.06877)
[3] "Deep Residual Learning for Image Recognition" (He et al., CVPR 2016, arXiv 1512.03385)
"""

from dataclasses import dataclass, replace
from typing import Literal

FAMILIES = {"vitp": "vit", "vitc": "vit", "regnety": "regnety", "resnet": "regnety"}
"""Model prefix -> family of its ranges of lr and weight decay ([1], Table 4).

ResNets have RegNetY's: [1] trains all its CNNs with one setting (section 6).
"""

LAYER_NORM_EPS = 1e-6
"""pycls' default is 1e-5; the configurations of [1] set 1e-6."""

STEMS = {
    "patchify": "arXiv 2010.11929, section 3.1",
    "conv": "[1] section 3",
    "s1": "[1] Table 3",
    "s2": "[1] Table 3",
    "s3": "[1] Table 3",
    "s4": "[1] Table 3",
    "patchify-bn-relu": "[1] Figure 7, P (bn)",
    "conv-ln": "[1] Figure 7, C (ln)",
    "conv-nonorm": "a factor of arXiv 2109.03810",
    "conv-noact": "a factor of arXiv 2109.03810",
    "conv-linear": "a factor of arXiv 2109.03810",
    "patchify-frozen": "arXiv 2104.02057, section 4",
    "hmlp": "arXiv 2203.09795, section 5",
    "dual-patchnorm": "arXiv 2302.01327",
}
"""Stems that any ViT may have, and where each is from; built in `stability.models.stems`."""

CONV_STEMS = ("conv", "s1", "s2", "s3", "s4", "conv-ln", "conv-nonorm", "conv-noact", "conv-linear")
"""Stems that end in a 1x1 convolution: `stem_init` says how they start."""

BATCHNORM_STEMS = ("conv", "s1", "s2", "s3", "s4", "patchify-bn-relu", "conv-noact", "hmlp")
"""Stems with BatchNorm."""

STEM_INITS = ("main", "release")
"""Initial weights of the conv stems: those of pycls' main branch (from commit 5b23abd, September
2021), or those of its first public ViT code (July and August 2021)."""

LATE_PATCHIFY = {"s1": 2, "s2": 4, "s3": 8, "s4": 16}
"""Stride of the patchify convolution that ends the 3x3s of S1 to S4: at most that of the stem."""


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
    conv_channels: tuple[int, ...]
    """Outputs of the 3x3 convolutions of the conv stem of this size; a 1x1 to `width` follows."""
    conv_strides: tuple[int, ...]
    """Strides of these convolutions; their product is `patch`."""
    stem: str = "patchify"
    """One of `STEMS`."""
    pool: Literal["token", "mean"] = "token"
    """What the head reads: the class token, or the mean of all tokens (there is none then)."""


@dataclass(frozen=True, kw_only=True)
class RegNetConfig:
    """A RegNetY: four numbers a stage, squeeze-and-excitation in every block."""

    image: int
    """Side of the square images that it is counted on, in pixels; it takes any."""
    stem_width: int
    """Channels after the first 3x3 convolution."""
    depths: tuple[int, ...]
    """Blocks of each stage; the first block of a stage has stride two."""
    widths: tuple[int, ...]
    """Channels of each stage."""
    group_width: int
    """Channels of one group of the 3x3 convolutions."""
    se_ratio: float = 0.25
    """Squeeze-and-excitation width as a share of the block's *input* width."""
    stem_stride: int = 2
    """Stride of the first convolution."""


@dataclass(frozen=True, kw_only=True)
class ResNetConfig:
    """A ResNet of bottleneck blocks, with the stride on the 3x3 (as in pycls and torchvision)."""

    image: int
    """Side of the square images that it is counted on, in pixels; it takes any."""
    depths: tuple[int, ...]
    """Blocks of each stage."""
    strides: tuple[int, ...] = (1, 2, 2, 2)
    """Stride of the first block of each stage."""
    widths: tuple[int, ...] = (64, 128, 256, 512)
    """Channels of each stage's 3x3 convolutions; blocks give four times as many."""
    stem_width: int = 64
    """Channels after the first convolution."""
    stem_kernel: int = 7
    """Side of the first convolution's kernel."""
    stem_stride: int = 2
    """Stride of the first convolution."""
    stem_pool: bool = True
    """Whether a 3x3 maximum of stride two follows it."""


Config = ViTConfig | RegNetConfig | ResNetConfig

# ViT_P by size. The head has 64 channels from micro on, as in [1].
VITP: dict[str, ViTConfig] = {
    # Scaled from Table 1 to 32x32 pixels: 16 tokens and the class token. The conv stem keeps the
    # rule (a 3x3 of stride two doubles the channels, then a 1x1) and costs 0.69 MFLOPs on one
    # channel, against 0.73 for the block that it replaces.
    "nano": ViTConfig(
        image=32,
        patch=8,
        width=64,
        depth=4,
        heads=4,
        mlp=192,
        conv_channels=(16, 32, 64),
        conv_strides=(2, 2, 2),
    ),
    # The blocks of 1GF, half as many, on 32x32 pixels in patches of 4: 64 tokens. The conv stem
    # costs 24.9 MFLOPs on three channels, against 25.7 for the block that it replaces.
    "micro": ViTConfig(
        image=32,
        patch=4,
        width=192,
        depth=6,
        heads=3,
        mlp=576,
        conv_channels=(48, 96, 192),
        conv_strides=(1, 2, 2),
    ),
    # [1] Table 1, and section 3 for the stems.
    "1gf": ViTConfig(
        image=224,
        patch=16,
        width=192,
        depth=12,
        heads=3,
        mlp=576,
        conv_channels=(24, 48, 96, 192),
        conv_strides=(2, 2, 2, 2),
    ),
    "4gf": ViTConfig(
        image=224,
        patch=16,
        width=384,
        depth=12,
        heads=6,
        mlp=1152,
        conv_channels=(48, 96, 192, 384),
        conv_strides=(2, 2, 2, 2),
    ),
    "18gf": ViTConfig(
        image=224,
        patch=16,
        width=768,
        depth=12,
        heads=12,
        mlp=3072,
        conv_channels=(64, 128, 128, 256, 256, 512),
        conv_strides=(2, 2, 1, 2, 1, 2),
    ),
    "36gf": ViTConfig(  # with the 3x3s of 18GF: matching a block would be "unreasonably large"
        image=224,
        patch=16,
        width=1024,
        depth=14,
        heads=16,
        mlp=4096,
        conv_channels=(64, 128, 128, 256, 256, 512),
        conv_strides=(2, 2, 1, 2, 1, 2),
    ),
}

REGNETY: dict[str, RegNetConfig] = {
    # The CNNs of reference cost about half of the ViTs of their size and are yet the slower ones
    # on a CPU, where grouped convolutions are slow.
    "nano": RegNetConfig(
        image=32, stem_width=16, depths=(1, 2, 3), widths=(32, 64, 128), group_width=8
    ),
    "micro": RegNetConfig(
        image=32,
        stem_width=32,
        stem_stride=1,
        depths=(2, 6, 4),
        widths=(96, 192, 384),
        group_width=16,
    ),
    # Those of [2], which [1] refers to, at the resolutions at which they are trained there. They
    # are not the RegNetYs of the same name in arXiv 2003.13678.
    "1gf": RegNetConfig(
        image=232, stem_width=32, depths=(1, 4, 10, 3), widths=(40, 120, 328, 904), group_width=4
    ),
    "4gf": RegNetConfig(
        image=240, stem_width=32, depths=(2, 6, 16, 2), widths=(96, 192, 512, 1216), group_width=32
    ),
    "16gf": RegNetConfig(
        image=256, stem_width=32, depths=(2, 7, 18, 2), widths=(168, 336, 896, 2128), group_width=56
    ),
    "32gf": RegNetConfig(
        image=268,
        stem_width=32,
        depths=(2, 7, 20, 2),
        widths=(216, 432, 1152, 2808),
        group_width=72,
    ),
}

RESNET: dict[str, ResNetConfig] = {
    "nano": ResNetConfig(
        image=32,
        depths=(1, 2, 3),
        strides=(1, 2, 2),
        widths=(8, 16, 32),
        stem_width=16,
        stem_kernel=3,
        stem_pool=False,
    ),
    # The stem of [3] for 32x32 images (section 4.2): a 3x3 that keeps the resolution.
    "micro": ResNetConfig(
        image=32,
        depths=(2, 3, 6),
        strides=(1, 2, 2),
        widths=(32, 64, 128),
        stem_width=32,
        stem_kernel=3,
        stem_stride=1,
        stem_pool=False,
    ),
    "50": ResNetConfig(image=224, depths=(3, 4, 6, 3)),  # [3] Table 1
    "101": ResNetConfig(image=224, depths=(3, 4, 23, 3)),
    "152": ResNetConfig(image=224, depths=(3, 8, 36, 3)),
}


VARIANTS: dict[str, Config] = {
    **{f"vitp-{size}": config for size, config in VITP.items()},
    # The conv stem takes the place of one block ([1] section 3).
    **{
        f"vitc-{size}": replace(config, stem="conv", depth=config.depth - 1)
        for size, config in VITP.items()
    },
    **{f"regnety-{size}": config for size, config in REGNETY.items()},
    **{f"resnet-{size}": config for size, config in RESNET.items()},
}


def model_source(name: str) -> str:
    """Where the model `name` of `VARIANTS` is from, in a few words.

    >>> model_source("vitc-4gf"), model_source("resnet-nano")
    ('Xiao et al. 2021', 'here')
    """
    kind, _, size = name.partition("-")
    if size in ("nano", "micro"):
        return "here"
    authors = {"regnety": "Dollár et al. 2021", "resnet": "He et al. 2016"}
    return authors.get(kind, "Xiao et al. 2021")


def counted_on(name: str) -> tuple[int, int]:
    """(channels, classes) for which the model `name` is counted in tables.

    Those of digits for nano, of CIFAR-10 for micro, of ImageNet-1k for the published sizes.

    >>> counted_on("vitp-nano"), counted_on("vitp-4gf")
    ((1, 10), (3, 1000))
    """
    size = name.partition("-")[2].partition("+")[0]
    return {"nano": (1, 10), "micro": (3, 10)}.get(size, (3, 1000))
