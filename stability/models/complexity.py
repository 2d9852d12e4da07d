"""What a model costs: multiply-adds, parameters, activations, as pycls counts them.

Source: "Fast and Accurate Model Scaling" (Dollár et al. 2021, arXiv 2103.06877) for activations,
and appendix D of arXiv 2106.14881: the outputs of all convolutions and matrix products, and, in
pycls (`blocks.py`, `pool2d_cx`) and in Table 2, of the maximum pooling of a ResNet's stem. Biases,
norms, activation functions and average pooling cost nothing.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode

from stability.models.build import assemble
from stability.models.variants import Config
from stability.models.vit import ViT

aten = torch.ops.aten


@dataclass(frozen=True, kw_only=True)
class Complexity:
    """Of one image."""

    flops: int
    """Multiply-adds."""
    params: int
    """Weights, frozen ones included."""
    acts: int
    """Numbers that convolutions, matrix products and maximum pooling put out."""


class _Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up what the convolutions, matrix products and maximum poolings under it do."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.flops = self.acts = 0

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        output = func(*args, **(kwargs or {}))
        match func:
            case aten.convolution.default:
                self._add(output, args[1][0].numel())  # a kernel, of its group's channels
            case aten.mm.default | aten.bmm.default:
                self._add(output, args[0].shape[-1])
            case aten.addmm.default:  # bias, matrix, matrix
                self._add(output, args[1].shape[-1])
            case aten.max_pool2d_with_indices.default | aten.max_pool2d.default:
                values = output if isinstance(output, torch.Tensor) else output[0]
                self._add(values, 0)
        return output

    def _add(self, output: torch.Tensor, products: int) -> None:
        self.acts += output.numel()
        self.flops += output.numel() * products


def complexity(config: Config, channels: int, classes: int) -> Complexity:
    """Count the model that `config` describes on one image of (channels, image, image).

    It is walked on torch's meta device: shapes are computed, numbers are not, so that the largest
    takes as long as the smallest. A ViT's last block is counted with all its tokens, as published
    numbers are, though `ViT` computes less of it.
    """
    with torch.device("meta"):
        model = assemble(config, channels, classes)
        images = torch.empty(1, channels, config.image, config.image)
    return complexity_of(model.eval(), images)


def complexity_of(module: nn.Module, x: torch.Tensor) -> Complexity:
    """Count what `module` does with `x`, a batch of one, both on the meta device or not."""
    hooks = [
        block.register_forward_pre_hook(lambda _, args, kwargs: (args, {}), with_kwargs=True)
        for block in (module.blocks if isinstance(module, ViT) else ())
    ]
    # Of all kinds of attention this one is made of matrix products that can be seen.
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), _Counter() as counter:
        module(x)
    for hook in hooks:
        hook.remove()
    params = sum(math.prod(p.shape) for p in module.parameters())
    return Complexity(flops=counter.flops, params=params, acts=counter.acts)
