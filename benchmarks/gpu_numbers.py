"""Stage a of `gpu_day`: versions, peak rates, and eager training held against the CPU."""

import math
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import torch

from benchmarks.children import in_words
from benchmarks.gpu import copy_rate, data_of, job_of, machine, matmul_rate
from benchmarks.gpu_report import OUT_OF_TIME, Report
from stability.training.engines.train_with import train_with
from stability.training.loop import Epoch
from stability.training.precision import exact_float32

MODELS = ("vitc-nano", "vitp-micro", "vitc-micro", "regnety-micro")
STEPS, EPOCHS, LR = 4, 2, 0.005
NEAR = {"float32": 1e-3, "bfloat16": 3e-2}
"""Largest relative difference from the CPU's float32 loss that is accepted."""
COLUMNS = {"loss": 1, "train_loss": 1, "grad_norm": 10}
"""Compared columns of a curve, with how many times that difference is accepted for each."""
FULL = {"models": MODELS, "batch": 32, "side": 8192, "bytes": 1 << 30}
DRY = {"models": ("vitp-nano",), "batch": 4, "side": 64, "bytes": 1 << 20}
"""A CPU without bfloat16 instructions takes a hundred times as long for it."""


def stage(report: Report) -> None:
    """Measure, row by row."""
    device = report.device
    size: dict[str, Any] = FULL if device == "cuda" else DRY
    torch.set_num_threads(1 if device == "cpu" else 8)  # the reference is trained on the CPU
    if device == "cuda" and not torch.cuda.is_available():
        report.fail(f"torch {torch.__version__} sees no CUDA device")
        return
    exact_float32()
    report.add({"what": "machine", **machine(device), **card(device)})
    rates(report, size["side"], size["bytes"])
    for model in size["models"]:
        expected = curve(model, "cpu", "float32", size["batch"])
        for precision in NEAR:
            if report.left <= 0:
                report.fail(f"{model} {precision}: {OUT_OF_TIME}")
                continue
            try:
                compare(report, model, precision, size["batch"], expected)
            except Exception as error:  # the other models are still worth a try
                report.fail(f"{model} {precision}: {in_words(error)}")


def compare(
    report: Report, model: str, precision: str, batch: int, expected: Sequence[Epoch]
) -> None:
    """Add a row for one training; its error where it differs from the CPU's too much."""
    found, near = curve(model, report.device, precision, batch), NEAR[precision]
    apart = {name: difference(found, expected, name) for name in COLUMNS}
    row = {"what": "training", "model": model, "precision": precision, "difference": apart}
    curves = {"curve": list(map(asdict, found)), "cpu_curve": list(map(asdict, expected))}
    far = {name: value for name, value in apart.items() if not value <= COLUMNS[name] * near}
    said = ", ".join(f"{name} {value:.1e}" for name, value in far.items())
    wrong = f"{model} {precision} differs from the CPU's float32: {said}; allowed is {near:g} of "
    wrong += "a loss, ten times as much of a gradient norm"
    report.add(row | curves, wrong if far else "")
    said = ", ".join(f"{name} {value:.1e}" for name, value in apart.items())
    report.say(f"{model} {precision}, relative difference from the CPU: {said}")


def card(device: str) -> dict[str, Any]:
    """What torch knows of the GPU."""
    if device != "cuda":
        return {}
    found = torch.cuda.get_device_properties(0)
    return {
        "capability": f"{found.major}.{found.minor}",
        "memory_gib": round(found.total_memory / 2**30, 1),
        "multiprocessors": found.multi_processor_count,
    }


def rates(report: Report, side: int, size: int) -> None:
    """Rates of matrix products and copies, a row each."""
    for name, dtype in (("bfloat16", torch.bfloat16), ("float32", torch.float32)):
        rate = matmul_rate(report.device, side, dtype=dtype)
        report.add({"what": "matmul", "dtype": name, "side": side, "flops_per_s": rate})
        report.say(f"matmul {name}: {rate / 1e12:.2f} TFLOP/s ({side} x {side})")
    rate = copy_rate(report.device, size)
    report.add({"what": "copy", "bytes": size, "bytes_per_s": rate})
    report.say(f"copy: {rate / 1e9:.1f} GB/s, read and written")


def curve(model: str, device: str, precision: str, batch: int) -> list[Epoch]:
    """Train a few steps eagerly; the rows of its epochs, the first of them before training."""
    data = data_of(model, device, images=batch * STEPS, held=(batch, batch))
    job = replace(job_of(model, batch, device, precision, lr=LR), epochs=EPOCHS)
    rows: list[Epoch] = []
    for _ in train_with("eager", [job], data, lambda i, row: rows.append(row)):
        pass
    return rows


def difference(found: Sequence[Epoch], expected: Sequence[Epoch], name: str) -> float:
    """Largest relative difference of one column; infinite where a value is missing or not finite.

    >>> rows = [Epoch(epoch=0, loss=2.0, seconds=0.0)]
    >>> difference(rows, rows, "loss"), difference([], rows, "loss")
    (0.0, inf)
    """
    if len(found) != len(expected):
        return math.inf
    pairs = [(getattr(a, name), getattr(b, name)) for a, b in zip(found, expected, strict=True)]
    pairs = [(a, b) for a, b in pairs if b is not None]  # before training there is no train_loss
    if not all(a is not None and math.isfinite(a) for a, _ in pairs):
        return math.inf
    return float(max(abs(a - b) / abs(b) for a, b in pairs))
