"""Stage d of `gpu_day`: training images a second of ViT_C at 224 pixels, against timm's ViTs.

    python benchmarks/gpu_day.py --stages d
    python -m benchmarks.vit_throughput     # the process that trains one model; stage d starts it

bfloat16 (autocast), torch.compile, torch's fused AdamW, random images on the GPU: the same step for
all. vitc-4gf against vit_small_patch16_224, vitc-18gf against vit_base_patch16_224 (4.6 and 17.6
GFLOPs: arXiv 2012.12877, Table 5 has both). Each model has a process of its own; all compile at
once, and are measured in turn when no other runs. MFU is the share of a large bfloat16 matrix
product's rate, measured in the same run. What fails is a row with its reason: without timm only
ours are measured. On a CPU smaller models, nothing compiled: that it runs, not how fast.
"""

import os
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from benchmarks.children import OUT_OF_TIME, Child, ChildError, serve
from benchmarks.gpu import peak_flops, synchronise, train_flops
from benchmarks.gpu_report import Report
from stability.models.build import build
from stability.training.precision import arithmetic

MODULE = "benchmarks.vit_throughput"
PAIRS = {"vitc-4gf": ("vit_small_patch16_224", 256), "vitc-18gf": ("vit_base_patch16_224", 128)}
"""Ours to timm's and the batch."""
DRY = {"vitc-micro": ("vit_tiny_patch16_224", 2)}
SIDE, DRY_SIDE, CLASSES = 224, 32, 1000
WARM_UP = 5  # steps
STEPS = 10  # of a round
ROUNDS = 3
ROUND_SECONDS = 15.0  # a round that takes longer hangs
KEPT_SECONDS = 7.0
"""For the first rounds: a model that is not compiled by then is not measured."""
LEAST_RATIO, LEAST_MFU = 1.0, 0.35
"""Aims: ours over timm's, and the MFU of ours."""

Step = Callable[[], None]


@dataclass
class Row:
    """One model."""

    model: str
    batch: int
    rival: str = ""
    """The model of timm that it is held against; empty where it is timm's itself."""
    images: float | None = None
    """A second, the median of the rounds."""
    flops: int | None = None
    """Of a training step, for one image."""
    mfu: float | None = None
    ratio: float | None = None
    """Over its rival."""
    rounds: list[float] = field(default_factory=list)
    fault: str = ""


def stage(report: Report) -> None:
    """Have every model warm at once, then measure them in turn; rows are kept after each round."""
    on_gpu = report.device == "cuda"
    rows = rows_of(PAIRS if on_gpu else DRY)
    # Each process would start as many compilers as there are cores.
    os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", str(max((os.cpu_count() or 1) // 4, 1)))
    children: dict[str, Child] = {}
    try:
        for row in rows:
            children[row.model] = child = Child(MODULE, report.device)
            side = SIDE if on_gpu else DRY_SIDE
            asked = {
                "model": row.model,
                "batch": row.batch,
                "side": side,
                "is_ours": bool(row.rival),
            }
            tell(row, child, asked)
        report.content["peak_flops"] = peak = peak_flops(report.device)  # they still import torch
        kept = KEPT_SECONDS if on_gpu else 0.0
        for row in rows:  # they get ready side by side
            row.flops = hear(row, children[row.model], report.left - kept, "flops")
        for _ in range(ROUNDS if on_gpu else 1):
            for row in (row for row in rows if not row.fault):
                one_round(row, children[row.model], report.left)
            judge(rows, peak)
            report.content["rows"] = list(map(asdict, rows))
            report.save()
    finally:
        for child in children.values():
            child.close()
    for row in rows:
        report.say(line(row))
        if row.fault:
            report.fail(f"{row.model}: {row.fault}")


def rows_of(pairs: dict[str, tuple[str, int]]) -> list[Row]:
    """Every model of the pairs; the first pair first."""
    found = []
    for ours, (theirs, batch) in pairs.items():
        found += [Row(model=ours, batch=batch, rival=theirs), Row(model=theirs, batch=batch)]
    return found


def tell(row: Row, child: Child, asked: dict[str, Any]) -> None:
    """Ask a model's process; why that cannot be is the row's fault."""
    try:
        child.tell(asked)
    except ChildError as error:
        row.fault = str(error)


def hear(row: Row, child: Child, seconds: float, name: str) -> Any:
    """The answer's value; None where there is none, and why is the row's fault."""
    if row.fault:
        return None
    try:
        return child.hear(max(seconds, 0.1))[name]  # it may have answered long ago
    except ChildError as error:
        row.fault = (
            OUT_OF_TIME if seconds < ROUND_SECONDS and "no answer" in str(error) else str(error)
        )
        child.close()  # what it holds of the device is free for the others
        return None


def one_round(row: Row, child: Child, left: float) -> None:
    """Measure one model once."""
    tell(row, child, {"steps": STEPS if row.batch > 2 else 1})
    rate = hear(row, child, min(left, ROUND_SECONDS), "images")
    if rate is not None:
        row.rounds.append(rate)
        row.images = statistics.median(row.rounds)


def judge(rows: list[Row], peak: float | None) -> None:
    """MFU where the peak is known, and ours over timm's where both were measured."""
    images = {row.model: row.images for row in rows}
    for row in rows:
        if row.images is None or row.flops is None:
            continue
        row.mfu = row.images * row.flops / peak if peak else None
        other = images.get(row.rival)
        row.ratio = row.images / other if other else None


def line(row: Row) -> str:
    """Of the summary."""
    head = f"{row.model:22} batch {row.batch:3}"
    if row.images is None:
        return f"{head}  not measured: {row.fault}"
    said = f"{head} {row.images:9,.0f} images/s"
    said += "" if row.mfu is None else f", MFU {100 * row.mfu:.1f}%"
    said += f" (aim {100 * LEAST_MFU:.0f}%)" if row.mfu is not None and row.rival else ""
    ratio = f", {row.ratio:.3f}x {row.rival} (aim {LEAST_RATIO:g}x)" if row.ratio else ""
    return said + ratio


class Trainer:
    """In the process of one model: the first request makes it ready, each other is a round."""

    def __init__(self, device: str) -> None:
        self._device = device
        self._step: Step | None = None
        self._batch = 0

    def answer(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Flops of an image; then images a second of a round."""
        if self._step is None:
            self._batch, side = asked["batch"], asked["side"]
            model = ours if asked["is_ours"] else timms
            self._step, flops = warm(model(asked["model"], side, self._device), self._batch, side)
            return {"flops": flops}
        return {"images": rate(self._step, self._batch, self._device, asked["steps"])}


def ours(name: str, side: int, device: str) -> nn.Module:
    """Our model, placed as in training (`loop.StepRunner.fresh`)."""
    generator = torch.Generator().manual_seed(0)
    return build(
        name, channels=3, classes=CLASSES, generator=generator, device=device, image=(side, side)
    )


def timms(name: str, side: int, device: str) -> nn.Module:
    """A model of timm, without trained weights."""
    import timm

    made: nn.Module = timm.create_model(name, num_classes=CLASSES, img_size=side).to(device)
    return made


def warm(model: nn.Module, batch: int, side: int) -> tuple[Step, int]:
    """A training step after its first few, and the flops that it takes for an image."""
    device = next(model.parameters()).device
    flops = train_flops(model, torch.zeros(1, 3, side, side, device=device))
    step = step_of(model.train(), batch, side, device)
    for _ in range(WARM_UP if device.type == "cuda" else 1):
        step()
    synchronise(device)
    return step, flops


def step_of(model: nn.Module, batch: int, side: int, device: torch.device) -> Step:
    """A training step, given out but not waited for; on a GPU compiled and in bfloat16."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    images = torch.randn(batch, 3, side, side, device=device)
    labels = torch.randint(CLASSES, (batch,), device=device)
    is_fast = device.type == "cuda"
    forward = torch.compile(model, dynamic=False) if is_fast else model
    precision = "bfloat16" if is_fast else "float32"

    def step() -> None:
        with arithmetic(precision, device):
            loss = F.cross_entropy(forward(images), labels)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return step


def rate(step: Step, batch: int, device: str, steps: int) -> float:
    """Images a second of a round."""
    synchronise(torch.device(device))
    start = time.perf_counter()
    for _ in range(steps):
        step()
    synchronise(torch.device(device))
    return steps * batch / (time.perf_counter() - start)


def main() -> None:
    """Answer until nobody asks."""
    torch.set_num_threads(1)
    serve(Trainer(sys.argv[1]).answer)


if __name__ == "__main__":
    main()
