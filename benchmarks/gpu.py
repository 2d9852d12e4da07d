"""What the benchmarks of GPUs share: random images, arithmetic of a step, the machine."""

import platform
import time
from typing import Any

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from stability.training.tensors import TensorData, TensorPart

SIDE = 8192  # of the square matrices whose product gives the peak
NOT_MEASURED = "not measured"


def noise(shape: tuple[int, int, int], classes: int, images: int, device: str) -> TensorData:
    """Random images: what they show costs nothing."""
    generator = torch.Generator().manual_seed(0)

    def part(n: int) -> TensorPart:
        pixels = torch.randint(256, (n, *shape), dtype=torch.uint8, generator=generator)
        labels = torch.randint(classes, (n,), generator=generator)
        mean = torch.full((shape[0], 1, 1), 127.5, device=device)
        return TensorPart(pixels.to(device), labels.to(device), mean, mean / 2)

    return TensorData(shape, classes, part(images), part(64), part(64))


def train_flops(model: nn.Module, image: torch.Tensor) -> int:
    """Floating-point operations of a training step for one image (1, C, H, W).

    Of matrix products and convolutions, a multiply-add being two, three times those of the forward
    pass; as computed, so that a ViT's last block counts the class token alone.
    """
    model.eval()
    # Of all kinds of attention this one is made of matrix products that the counter knows.
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        model(image)
    return 3 * counter.get_total_flops()


def peak_flops(device: str) -> float | None:
    """Operations a second of a large bfloat16 matrix product, here and now; None without a GPU.

    MFU is told as a share of this: what a data sheet promises depends on clocks and power.
    """
    if device != "cuda":
        return None
    one, other = (torch.randn(SIDE, SIDE, device=device).bfloat16() for _ in range(2))
    for _ in range(5):
        one @ other
    torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(20):
        one @ other
    torch.cuda.synchronize()
    return 20 * 2 * SIDE**3 / (time.perf_counter() - start)


def machine(device: str) -> dict[str, Any]:
    """Where it is measured."""
    return {
        "device": torch.cuda.get_device_name() if device == "cuda" else "cpu, one thread",
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "platform": platform.platform(),
        "python": platform.python_version(),
    }


def verdict(value: float | None, aim: float) -> str:
    """A ratio beside its aim."""
    if value is None:
        return f"{NOT_MEASURED}, aim {aim:g}x"
    return f"{value:.2f}x, aim {aim:g}x: {'met' if value >= aim else 'missed'}"
