"""The models: a table of variants that needs no torch, and the modules behind it."""

from stability.models.names import ModelNameError, config_of, family_of, resolve_model
from stability.models.variants import (
    FAMILIES,
    STEMS,
    VARIANTS,
    Config,
    RegNetConfig,
    ResNetConfig,
    ViTConfig,
)

__all__ = [
    "FAMILIES",
    "STEMS",
    "VARIANTS",
    "Config",
    "ModelNameError",
    "RegNetConfig",
    "ResNetConfig",
    "ViTConfig",
    "config_of",
    "family_of",
    "resolve_model",
]
