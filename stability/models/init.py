"""Initial weights, by type of module: pycls main's since commit 5b23abd (September 2021).

The paper does not state its initialisation. Its release differs in the stem alone (3x3: torch's
default; last 1x1: std sqrt(2 / out_channels)).
"""

import math

from torch import Generator, nn

from stability.models.regnet import RegNet
from stability.models.stems import Patchify, StemProjection
from stability.models.vit import Attention, ViT

HEAD_STD_REGNET = 0.01
POSITION_STD = 0.02
MLP_BIAS_STD = 1e-6


def init_weights(model: nn.Module, generator: Generator) -> None:
    """Fill every parameter and buffer of a model that was built without values.

    Raises TypeError for a module with parameters of its own whose law is not written here.
    """
    init_layer = _vit_layer if isinstance(model, ViT) else _resnet_layer
    for module in model.modules():
        _reset_norm(module)
        init_layer(module, generator)
    if isinstance(model, ViT):
        nn.init.zeros_(model.class_token)
        nn.init.normal_(model.positions, std=POSITION_STD, generator=generator)
        for block in model.blocks:
            _attention(block.attention, generator)
        nn.init.zeros_(model.head.weight)  # so that the first loss is ln(classes)
        nn.init.zeros_(model.head.bias)
    elif isinstance(model, RegNet):
        nn.init.normal_(model.head.weight, std=HEAD_STD_REGNET, generator=generator)


def _reset_norm(module: nn.Module) -> None:
    if isinstance(module, nn.LayerNorm | nn.BatchNorm2d):
        module.reset_parameters()  # ones and zeros: nothing is drawn


def _vit_layer(module: nn.Module, generator: Generator) -> None:
    match module:
        case Patchify():
            fan_in = module.weight[0].numel()
            std = math.sqrt(1 / fan_in)
            # Cut at +-2 as torch does by default: in absolute terms, so hardly ever.
            nn.init.trunc_normal_(module.weight, std=std, generator=generator)
            _zero_bias(module)
        case StemProjection():
            std = math.sqrt(1 / module.out_channels)
            nn.init.normal_(module.weight, std=std, generator=generator)
            _zero_bias(module)
        case nn.Conv2d():  # a 3x3 of the stem; out_channels, not fan_out: a BatchNorm follows
            std = math.sqrt(2 / module.out_channels)
            nn.init.normal_(module.weight, std=std, generator=generator)
        case nn.Linear():  # of an MLP; attention and head are set by the model
            nn.init.xavier_uniform_(module.weight, generator=generator)
            nn.init.normal_(module.bias, std=MLP_BIAS_STD, generator=generator)
        case _:
            _refuse_unknown(module)


def _attention(attention: Attention, generator: Generator) -> None:
    """As `nn.MultiheadAttention` does: Xavier on the stacked (3D, D), Linear's default after."""
    nn.init.xavier_uniform_(attention.qkv.weight, generator=generator)
    nn.init.kaiming_uniform_(attention.project.weight, a=math.sqrt(5), generator=generator)
    _zero_bias(attention.qkv)
    _zero_bias(attention.project)


def _resnet_layer(module: nn.Module, generator: Generator) -> None:
    match module:
        case nn.Conv2d():
            kernel_height, kernel_width = module.kernel_size
            fan_out = kernel_height * kernel_width * module.out_channels
            nn.init.normal_(module.weight, std=math.sqrt(2 / fan_out), generator=generator)
            _zero_bias(module)
        case nn.Linear():
            _zero_bias(module)  # its weight is the head's
        case _:
            _refuse_unknown(module)


def _zero_bias(layer: nn.Conv2d | nn.Linear) -> None:
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


def _refuse_unknown(module: nn.Module) -> None:
    known = (nn.LayerNorm, nn.BatchNorm2d, ViT)
    if not isinstance(module, known) and any(True for _ in module.parameters(recurse=False)):
        raise TypeError(f"no initialisation is written for {type(module).__name__}")
