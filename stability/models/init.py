"""Initial weights, by type of module: pycls main's since commit 5b23abd (September 2021).

The paper does not state its initialisation. Its release differs in the stem alone (3x3: torch's
default; last 1x1: std sqrt(2 / out_channels)).
"""

import math

from torch import Generator, nn

from stability.models.stems import Patchify, StemProjection, UnnormedConv
from stability.models.vit import AttentionOutput, Head, QueryKeyValue, ViT

HEAD_STD_REGNET = 0.01
POSITION_STD = 0.02
MLP_BIAS_STD = 1e-6


def init_weights(model: nn.Module, generator: Generator) -> None:
    """Fill every parameter and buffer of a model that was built without values.

    Raises TypeError for a module with parameters of its own whose law is not written here.
    """
    init_layer = _vit_layer if isinstance(model, ViT) else _resnet_layer
    for module in model.modules():
        init_layer(module, generator)


def _vit_layer(module: nn.Module, generator: Generator) -> None:
    match module:
        case ViT():
            if module.class_token is not None:
                nn.init.zeros_(module.class_token)
            nn.init.normal_(module.positions, std=POSITION_STD, generator=generator)
        case nn.Conv2d():
            _stem_layer(module, generator)
        case QueryKeyValue():  # as nn.MultiheadAttention: Xavier on the stacked (3D, D)
            nn.init.xavier_uniform_(module.weight, generator=generator)
            _zero_bias(module)
        case AttentionOutput():  # as nn.MultiheadAttention: nn.Linear's default, zero bias
            nn.init.kaiming_uniform_(module.weight, a=math.sqrt(5), generator=generator)
            _zero_bias(module)
        case Head():  # so that the first loss is ln(classes)
            nn.init.zeros_(module.weight)
            _zero_bias(module)
        case nn.Linear():  # of an MLP
            nn.init.xavier_uniform_(module.weight, generator=generator)
            nn.init.normal_(module.bias, std=MLP_BIAS_STD, generator=generator)
        case _:
            _norm_or_nothing(module)


def _stem_layer(module: nn.Conv2d, generator: Generator) -> None:
    match module:
        case Patchify():
            std = math.sqrt(1 / module.weight[0].numel())  # fan in
            # Cut at +-2 as torch does by default: in absolute terms, so hardly ever.
            nn.init.trunc_normal_(module.weight, std=std, generator=generator)
            _zero_bias(module)
        case StemProjection():
            _normal(module, 1 / module.out_channels, generator)
        case UnnormedConv():  # not in pycls: keeps the variance, where no norm sets it (He 2015)
            _normal(module, module.gain / module.weight[0].numel(), generator)
        case _:  # a 3x3 of the stem; out_channels, not fan_out: a BatchNorm follows
            _normal(module, 2 / module.out_channels, generator)


def _resnet_layer(module: nn.Module, generator: Generator) -> None:
    match module:
        case nn.Conv2d():
            kernel_height, kernel_width = module.kernel_size
            fan_out = kernel_height * kernel_width * module.out_channels
            _normal(module, 2 / fan_out, generator)
        case nn.Linear():  # the head
            nn.init.normal_(module.weight, std=HEAD_STD_REGNET, generator=generator)
            _zero_bias(module)
        case _:
            _norm_or_nothing(module)


def _normal(layer: nn.Conv2d, variance: float, generator: Generator) -> None:
    nn.init.normal_(layer.weight, std=math.sqrt(variance), generator=generator)
    _zero_bias(layer)


def _zero_bias(layer: nn.Conv2d | nn.Linear) -> None:
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


def _norm_or_nothing(module: nn.Module) -> None:
    if isinstance(module, nn.LayerNorm | nn.BatchNorm2d):
        module.reset_parameters()  # ones and zeros: nothing is drawn
    elif any(True for _ in module.parameters(recurse=False)):
        raise TypeError(f"no initialisation is written for {type(module).__name__}")
