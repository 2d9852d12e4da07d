"""What the benchmarks of GPUs share: random images, a job, arithmetic of a step, the machine."""

import platform
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from stability.models import config_of
from stability.models.build import build
from stability.models.variants import counted_on
from stability.training.loop import Job
from stability.training.settings import Recipe
from stability.training.tensors import TensorData, TensorPart

SIDE = 8192  # of the square matrices whose product gives the peak
DATA_SHEET = {"NVIDIA H100 80GB HBM3": 989e12, "NVIDIA H200": 989e12}
"""bfloat16, without sparsity: NVIDIA's data sheets of H100 SXM and H200 SXM (1,979 with it)."""
NOT_MEASURED = "not measured"
NO_GPU = "no GPU"
BUDGET = 280.0
"""Seconds of the five minutes that a benchmark may measure; the rest is for imports and the end."""


def data_of(
    model: str, device: str, *, images: int = 1024, held: tuple[int, int] = (64, 64)
) -> TensorData:
    """Random images for a model: so many to train on, `held` to validate and to test."""
    (channels, classes), side = counted_on(model), config_of(model).image
    generator, shape = torch.Generator().manual_seed(0), (channels, side, side)

    def part(n: int) -> TensorPart:
        pixels = torch.randint(256, (n, *shape), dtype=torch.uint8, generator=generator)
        labels = torch.randint(classes, (n,), generator=generator)
        mean = torch.full((channels, 1, 1), 127.5, device=device)
        return TensorPart(pixels.to(device), labels.to(device), mean, mean / 2)

    return TensorData(shape, classes, part(images), part(held[0]), part(held[1]))


def job_of(
    model: str, batch: int, device: str, precision: str | None = None, **settings: Any
) -> Job:
    """A training with SGD, without augmentation unless `settings` say so.

    `precision` is bfloat16 on a GPU and float32 on a CPU unless it is given.
    """
    precision = precision or ("bfloat16" if device == "cuda" else "float32")
    # So low a rate that no trial of noise diverges and ends before its time.
    recipe = Recipe.of({"lr": 1e-3, "weight_decay": 1e-4, **settings, "batch_size": batch})
    return Job(
        model=model, optimizer="sgd", recipe=recipe, epochs=1, seed=0, precision=precision
    )  # fmt: skip


def flops_of(model: str) -> int:
    """Of a training step, for one image."""
    (channels, classes), side = counted_on(model), config_of(model).image
    generator = torch.Generator().manual_seed(0)
    plain = build(model, channels=channels, classes=classes, generator=generator)
    return train_flops(plain, torch.zeros(1, channels, side, side))


def train_flops(model: nn.Module, image: torch.Tensor) -> int:
    """Floating-point operations of a training step for one image (1, C, H, W).

    Of matrix products and convolutions, a multiply-add being two, three times those of the forward
    pass; as computed, so that a ViT's last block counts the class token alone.
    """
    model.eval()
    # Of all kinds of attention this one is made of matrix products that the counter knows.
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        model(image)
    return 3 * int(counter.get_total_flops())


def synchronise(device: torch.device) -> None:
    """Wait for what was given out."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def matmul_rate(device: str, side: int = SIDE, *, dtype: torch.dtype = torch.bfloat16) -> float:
    """Floating-point operations a second of products of random square matrices."""
    one, other = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    return 2 * side**3 / seconds_of_many(lambda: one @ other, device)


def copy_rate(device: str, size: int) -> float:
    """Bytes a second, read and written, of copies of `size` bytes within the device's memory."""
    source = torch.randint(256, (size,), dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return 2 * size / seconds_of_many(lambda: target.copy_(source), device)


def seconds_of_many(work: Callable[[], object], device: str) -> float:
    """Seconds that `work` takes, the mean of 20 after 5 that are not counted."""
    for _ in range(5):
        work()
    synchronise(torch.device(device))
    start = time.perf_counter()
    for _ in range(20):
        work()
    synchronise(torch.device(device))
    return (time.perf_counter() - start) / 20


def peak_flops(device: str) -> float | None:
    """Operations a second of a large bfloat16 matrix product, here and now; None without a GPU.

    MFU is told as a share of this: what a data sheet promises depends on clocks and power.
    """
    if device != "cuda":
        return None
    found = matmul_rate(device)
    torch.cuda.empty_cache()  # the processes that measure need the memory
    return found


def peak_of(flops: float | None, device: str) -> dict[str, Any]:
    """What MFU is a share of, where that number is from, and what the data sheet says."""
    name = machine(device)["device"]
    return {
        "flops": flops,
        "source": f"a bfloat16 product of {SIDE} x {SIDE} matrices, measured in this run",
        "data_sheet_flops": DATA_SHEET.get(name),
    }


def peak_in_words(peak: dict[str, Any]) -> str:
    """A line of the table."""
    if peak["flops"] is None:
        return f"MFU: {NOT_MEASURED}; of {peak['source'].replace('measured', 'to be measured')}"
    sheet = peak["data_sheet_flops"]
    known = f"; data sheet {sheet / 1e12:.0f}, dense" if sheet else ""
    return f"MFU: of {peak['flops'] / 1e12:.0f} TFLOP/s, {peak['source']}{known}"


def machine(device: str) -> dict[str, Any]:
    """Where it is measured, and with which versions."""
    return {
        "device": torch.cuda.get_device_name() if device == "cuda" else "cpu, one thread",
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),  # type: ignore[no-untyped-call]
        "numpy": np.__version__,
        "platform": platform.platform(),
        "python": platform.python_version(),
    }


def run_facts(module: str, argv: list[str] | None, device: str, start: float) -> dict[str, Any]:
    """What the JSON of a run begins with; `start` is by time.monotonic()."""
    given = sys.argv[1:] if argv is None else argv
    return {
        "machine": machine(device),
        "command": " ".join(["python -m", module, *given]),
        "seconds": round(time.monotonic() - start, 1),
    }


def verdict(value: float | None, least: float, unit: str = "x", word: str = "aim") -> str:
    """A value beside its aim.

    >>> verdict(1.4, 1.3), verdict(None, 8, word="moonshot")
    ('1.40x, aim 1.3x: met', 'not measured, moonshot 8x')
    """
    if value is None:
        return f"{NOT_MEASURED}, {word} {least:,g}{unit}"
    said = f"{value:,.0f}" if value >= 1000 else f"{value:.2f}"
    return f"{said}{unit}, {word} {least:,g}{unit}: {'met' if value >= least else 'missed'}"
