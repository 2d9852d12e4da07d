"""Names of models: what may follow a size, and the one way to write each model. No torch.

    name   = model *( "+" choice )          vitp-4gf+conv+d13
    choice = a stem | "d" depth | "gap"     in this order

A model has one name, so that a trial has one identity: `vitc-4gf+conv` is `vitc-4gf`, and
`vitp-4gf+conv+d11` is it too. A stem never changes the depth.
"""

import re
from dataclasses import replace

from stability.models.variants import (
    BATCHNORM_STEMS,
    CONV_STEMS,
    FAMILIES,
    LATE_PATCHIFY,
    STEMS,
    VARIANTS,
    Config,
    RegNetConfig,
    ViTConfig,
)

SMALLEST_CNN_IMAGE = 32  # five strides of two leave one pixel
MODEL_COLLECTIONS = ("timm", "torchvision")
"""Packages of models that a name may begin with."""
DEEPEST = 999  # three digits
SUITS = {("resnet", "4gf"): "50"}  # of about 4 GFLOPs too
"""Family and size of the data -> size, where the family has no such size."""


class ModelNameError(KeyError):
    """A name that is no model's."""

    def __init__(
        self, name: str, fault: str = "", *, got: str = "", allowed: tuple[str, ...] = ()
    ) -> None:
        super().__init__(name)
        self.fault = fault
        """What is wrong, as a sentence; empty where `got` is not one of `allowed`."""
        self.got, self.allowed = got, allowed


def config_of(name: str) -> Config:
    """The numbers of a model by its full name, choices included. Raises ModelNameError.

    >>> config_of("vitp-nano+conv+d5").depth
    5
    """
    base, *choices = name.split("+")
    if base not in VARIANTS:
        raise ModelNameError(name, got=base, allowed=(*FAMILIES, *VARIANTS))
    config = VARIANTS[base]
    if not choices:
        return config
    if not isinstance(config, ViTConfig):
        raise ModelNameError(name, f"stem, depth and pooling are choices of ViTs; {base} is none")
    return _chosen(name, config, choices)


def resolve_model(name: str, size: str, *choices: str) -> str:
    """Full name of a model: `vitc` means the size that suits the data, `vitc-nano` itself.

    `choices` are added to those of the name. Raises ModelNameError where there is no such model.

    >>> resolve_model("vitc", "nano"), resolve_model("vitc+d4", "nano", "patchify")
    ('vitc-nano', 'vitp-nano')
    >>> resolve_model("resnet", "4gf")
    'resnet-50'
    """
    base, *named = name.split("+")
    full = base if base in VARIANTS else f"{base}-{SUITS.get((base, size), size)}"
    if full not in VARIANTS:
        raise ModelNameError(name, got=base, allowed=(*FAMILIES, *VARIANTS))
    try:
        config = config_of("+".join([full, *named, *choices]))
    except ModelNameError as error:
        raise ModelNameError(name, error.fault, got=error.got, allowed=error.allowed) from None
    return _canonical(full, config)


def family_of(full_name: str) -> str:
    """Family of a full model name, the key of its ranges.

    >>> family_of("vitc-nano"), family_of("vitp-4gf+s2")
    ('vit', 'vit')
    """
    return FAMILIES[full_name.split("-")[0]]


def is_external(name: str) -> bool:
    """Whether a model comes from elsewhere: `module:function`, `timm:NAME`, `torchvision:NAME`.

    >>> is_external("mymodels:tiny"), is_external("vitc-nano")
    (True, False)
    """
    return ":" in name


def has_conv_stem(name: str) -> bool:
    """Whether `stem_init` applies to the model: a ViT with one of `CONV_STEMS`.

    >>> has_conv_stem("vitc-nano"), has_conv_stem("vitp-nano+s2"), has_conv_stem("regnety-nano")
    (True, True, False)
    """
    config = None if is_external(name) else config_of(name)
    return isinstance(config, ViTConfig) and config.stem in CONV_STEMS


def has_batchnorm(name: str) -> bool:
    """Whether the model has BatchNorm; a model from elsewhere may have it and counts as one.

    >>> has_batchnorm("vitp-nano"), has_batchnorm("vitc-nano"), has_batchnorm("timm:resnet18")
    (False, True, True)
    """
    config = None if is_external(name) else config_of(name)
    return not isinstance(config, ViTConfig) or config.stem in BATCHNORM_STEMS


def has_squeeze_excitation(name: str) -> bool:
    """Whether the model is a RegNetY, the only family here with squeeze-and-excitation.

    >>> has_squeeze_excitation("regnety-nano"), has_squeeze_excitation("resnet-nano")
    (True, False)
    """
    return not is_external(name) and isinstance(config_of(name), RegNetConfig)


def is_vit_name(name: str) -> bool:
    """Whether `name`, with or without a size, is a ViT's: it has a stem, a depth, a pooling.

    >>> is_vit_name("vitp"), is_vit_name("vitc-4gf+d13"), is_vit_name("resnet-50")
    (True, True, False)
    """
    return FAMILIES.get(re.split(r"[-+]", name)[0]) == "vit"


def accepts_size(full_name: str, side: int) -> bool:
    """Whether the model takes square images of `side` pixels: a ViT those of its size alone.

    >>> accepts_size("vitp-nano", 32), accepts_size("vitp-4gf", 32), accepts_size("resnet-50", 32)
    (True, False, True)
    """
    config = config_of(full_name)
    return side == config.image if isinstance(config, ViTConfig) else side >= SMALLEST_CNN_IMAGE


def _chosen(name: str, config: ViTConfig, choices: list[str]) -> ViTConfig:
    found: dict[str, str | int] = {}
    for choice in choices:
        field, value = _read(name, choice)
        if field in found:
            raise ModelNameError(name, f"{name!r} names its {field} twice")
        found[field] = value
    chosen = replace(config, **found)  # type: ignore[arg-type]
    stride = 4 if chosen.stem == "hmlp" else LATE_PATCHIFY.get(chosen.stem, 1)
    if stride > chosen.patch:
        fault = f"the stem {chosen.stem} needs patches of at least {stride} pixels, "
        raise ModelNameError(name, f"{fault}{name.split('+')[0]} has {chosen.patch}")
    return chosen


def _read(name: str, choice: str) -> tuple[str, str | int]:
    """Field of the configuration and its value."""
    if choice in STEMS:
        return "stem", choice
    if choice == "gap":
        return "pool", "mean"
    if depth := re.fullmatch(r"d([1-9]\d{0,2})", choice):
        return "depth", int(depth[1])
    raise ModelNameError(name, got=choice, allowed=(*STEMS, f"d1 to d{DEEPEST}", "gap"))


def _canonical(base: str, config: Config) -> str:
    """The name with the fewest choices, of `vitp` and `vitc`; of two such, that of `vitp`."""
    if not isinstance(config, ViTConfig):
        return base
    size = base.partition("-")[2]
    names = []
    for kind in ("vitp", "vitc"):
        plain = VARIANTS[f"{kind}-{size}"]
        choices = {"stem": config.stem, "depth": f"d{config.depth}", "pool": "gap"}
        differing = [text for f, text in choices.items() if getattr(config, f) != getattr(plain, f)]
        names.append("+".join([f"{kind}-{size}", *differing]))
    return min(names, key=lambda name: name.count("+"))
