"""Arithmetic of the forward pass: float32, or bfloat16 where that is exact enough and faster."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn

from stability.training.settings import PRECISIONS


def arithmetic(precision: str, device: torch.device) -> AbstractContextManager[object]:
    """Under which a model's forward pass has this precision.

    bfloat16 is torch's autocast: matrix products, convolutions and attention take and give
    bfloat16; weights, gradients and the optimizer stay float32, as do layer norms, softmax and
    loss; a batch norm keeps its statistics in float32. It has the range of float32, so no loss is
    scaled. A backward pass runs outside: it follows the types of the forward pass.
    Raises ValueError for another precision.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"got {precision!r}, allowed is {' or '.join(PRECISIONS)}")
    if precision == "float32":
        return nullcontext()
    # No cache of cast weights: each is used once, and a CUDA graph must not find one made before.
    return torch.autocast(device.type, torch.bfloat16, cache_enabled=False)


def exact_float32() -> None:
    """Have float32 mean it in this process: cuDNN's convolutions round to 10 bits by default."""
    torch.backends.cudnn.allow_tf32 = False


def logits_of(model: nn.Module, images: Tensor, precision: str) -> Tensor:
    """Forward pass in this precision; logits below float32 are widened to it for the loss."""
    with arithmetic(precision, images.device):
        logits = model(images)
    return logits.to(torch.promote_types(logits.dtype, torch.float32))  # type: ignore[no-any-return]
