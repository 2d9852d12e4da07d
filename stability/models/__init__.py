"""The models: a table of variants that needs no torch, and the modules behind it."""

from stability.models.variants import FAMILIES, VARIANTS, RegNetConfig, ViTConfig, resolve

__all__ = ["FAMILIES", "VARIANTS", "RegNetConfig", "ViTConfig", "resolve"]
