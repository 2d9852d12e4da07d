"""Initial weights, by type of module, as in pycls.

The paper does not state its initialisation, and pycls changed that of the conv stem. `stem_init`
selects one of two:

    release   first public ViT code (July 2021, still so in August; `vitconfigs` branch)
              3x3: torch's default, uniform on +-1 / sqrt(fan_in); last 1x1: std sqrt(2 / out)
    main      main branch since commit 5b23abd (September 2021)
              3x3: std sqrt(2 / out); last 1x1: std sqrt(1 / out)

`release` is closest in time to the paper's runs. All other layers are the same in both.
"""

import math

from torch import Generator, nn

from stability.models.stems import Patchify, StemProjection, UnnormedConv
from stability.models.variants import STEM_INITS
from stability.models.vit import AttentionOutput, Head, QueryKeyValue, ViT

HEAD_STD_REGNET = 0.01
POSITION_STD = 0.02
MLP_BIAS_STD = 1e-6


def init_weights(
    model: nn.Module, generator: Generator, *, stem_init: str = "main", revision: int = 1
) -> None:
    """Fill every parameter and buffer of a model that was built without values.

    Args:
        model: a ViT, RegNet or ResNet of this package.
        generator: source of all random numbers.
        stem_init: `main` or `release`, for the conv stems of ViTs.
        revision: from 2 on, the biases of squeeze-and-excitation have torch's default law, as in
            pycls; before, they are 0.

    Raises:
        TypeError: a module has parameters of its own whose law is not written here.
        ValueError: `stem_init` is neither of the two.
    """
    if stem_init not in STEM_INITS:
        raise ValueError(f"stem_init: got {stem_init!r}, allowed is {' or '.join(STEM_INITS)}")
    for module in model.modules():
        if isinstance(model, ViT):
            _vit_layer(module, generator, stem_init)
        else:
            _resnet_layer(module, generator, revision)


def _vit_layer(module: nn.Module, generator: Generator, stem_init: str) -> None:
    match module:
        case ViT():
            if module.class_token is not None:
                nn.init.zeros_(module.class_token)
            nn.init.normal_(module.positions, std=POSITION_STD, generator=generator)
        case nn.Conv2d():
            _stem_layer(module, generator, stem_init)
        case QueryKeyValue():  # as nn.MultiheadAttention: Xavier on the stacked (3D, D)
            nn.init.xavier_uniform_(module.weight, generator=generator)
            _zero_bias(module)
        case AttentionOutput():  # as nn.MultiheadAttention: nn.Linear's default, zero bias
            _default_weight(module, generator)
            _zero_bias(module)
        case Head():  # so that the first loss is ln(classes)
            nn.init.zeros_(module.weight)
            _zero_bias(module)
        case nn.Linear():  # of an MLP
            nn.init.xavier_uniform_(module.weight, generator=generator)
            nn.init.normal_(module.bias, std=MLP_BIAS_STD, generator=generator)
        case _:
            _norm_or_nothing(module)


def _stem_layer(module: nn.Conv2d, generator: Generator, stem_init: str) -> None:
    match module:
        case Patchify():
            std = math.sqrt(1 / module.weight[0].numel())  # fan in
            # Cut at +-2 as torch does by default: in absolute terms, so hardly ever.
            nn.init.trunc_normal_(module.weight, std=std, generator=generator)
            _zero_bias(module)
        case StemProjection():
            gain = 2 if stem_init == "release" else 1
            _normal(module, gain / module.out_channels, generator)
        case UnnormedConv():  # not in pycls: keeps the variance, where no norm sets it (He 2015)
            _normal(module, module.gain / module.weight[0].numel(), generator)
        case _ if stem_init == "release":  # a 3x3 of the stem: torch's default
            _default_weight(module, generator)
            _zero_bias(module)
        case _:  # a 3x3 of the stem; out_channels, not fan_out: a BatchNorm follows
            _normal(module, 2 / module.out_channels, generator)


def _resnet_layer(module: nn.Module, generator: Generator, revision: int) -> None:
    match module:
        case nn.Conv2d():
            kernel_height, kernel_width = module.kernel_size
            fan_out = kernel_height * kernel_width * module.out_channels
            _normal(module, 2 / fan_out, generator)
            if module.bias is not None and revision >= 2:  # squeeze-and-excitation: torch's default
                bound = 1 / math.sqrt(module.weight[0].numel())
                nn.init.uniform_(module.bias, -bound, bound, generator=generator)
        case nn.Linear():  # the head
            nn.init.normal_(module.weight, std=HEAD_STD_REGNET, generator=generator)
            _zero_bias(module)
        case _:
            _norm_or_nothing(module)


def _normal(layer: nn.Conv2d, variance: float, generator: Generator) -> None:
    nn.init.normal_(layer.weight, std=math.sqrt(variance), generator=generator)
    _zero_bias(layer)


def _default_weight(layer: nn.Conv2d | nn.Linear, generator: Generator) -> None:
    """The default of `nn.Conv2d` and `nn.Linear`: uniform on +-1 / sqrt(fan_in)."""
    nn.init.kaiming_uniform_(layer.weight, a=math.sqrt(5), generator=generator)


def _zero_bias(layer: nn.Conv2d | nn.Linear) -> None:
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


def _norm_or_nothing(module: nn.Module) -> None:
    if isinstance(module, nn.LayerNorm | nn.BatchNorm2d):
        module.reset_parameters()  # ones and zeros: nothing is drawn
    elif any(True for _ in module.parameters(recurse=False)):
        raise TypeError(f"no initialisation is written for {type(module).__name__}")
