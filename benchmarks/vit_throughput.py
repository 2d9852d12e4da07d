"""Training images a second of ViT_C at 224 pixels, against timm's ViTs of the same cost.

    python -m benchmarks.vit_throughput [--rounds 5] [--json]

bfloat16 (autocast), torch.compile, torch's fused AdamW, random images on the GPU: the same step for
both, in turn within one run. vitc-4gf against vit_small_patch16_224, vitc-18gf against
vit_base_patch16_224 (4.6 and 17.6 GFLOPs: arXiv 2012.12877, Table 5 has both). MFU is the share of
a large bfloat16 matrix product's rate, measured in the same run. Needs a GPU and timm; without them
it says "not measured". Exits 0 where ours is at least as fast and reaches 35% MFU, 1 otherwise.
"""

import argparse
import importlib.util
import json
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from benchmarks.gpu import NOT_MEASURED, machine, peak_flops, train_flops, verdict
from stability.models.build import build
from stability.training.precision import arithmetic

PAIRS = {"vitc-4gf": ("vit_small_patch16_224", 256), "vitc-18gf": ("vit_base_patch16_224", 128)}
"""Ours to timm's and the batch."""
SIDE, CLASSES = 224, 1000
STEPS = 20  # of a round
LEAST_MFU = 0.35


def main() -> int:
    """Measure the pairs and judge them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    missing = why_not()
    device = "cpu" if missing else "cuda"
    peak = peak_flops(device)
    rows = [
        {"model": ours, "rival": theirs, "batch": batch}
        | ({} if missing else pair(ours, theirs, batch, arguments.rounds, peak or 1.0))
        for ours, (theirs, batch) in PAIRS.items()
    ]
    met = not missing and all(r["ratio"] >= 1 and r["mfu"] >= LEAST_MFU for r in rows)
    if arguments.json:
        content = {"machine": machine(device), "peak_flops": peak, "rows": rows, "met": met}
        print(json.dumps(content | {"missing": missing}, indent=2))
    else:
        show(rows, missing, device, peak)
    return 0 if met else 1


def why_not() -> str:
    """What is missing for a measurement; empty where nothing is."""
    if not torch.cuda.is_available():
        return "no GPU"
    return "" if importlib.util.find_spec("timm") else "timm is not installed"


def pair(ours: str, theirs: str, batch: int, rounds: int, peak: float) -> dict[str, Any]:
    """Images a second of both, in turn; medians over the rounds, and of the rounds' ratios."""
    import timm

    generator = torch.Generator().manual_seed(0)
    models = {
        ours: build(ours, channels=3, classes=CLASSES, generator=generator),
        theirs: timm.create_model(theirs, num_classes=CLASSES),
    }
    flops = {
        name: train_flops(model, torch.zeros(1, 3, SIDE, SIDE)) for name, model in models.items()
    }
    steps = {name: step_of(model.cuda().train(), batch) for name, model in models.items()}
    for step in steps.values():
        for _ in range(5):
            step()
    found: dict[str, list[float]] = {name: [] for name in steps}
    for number in range(rounds):
        for name in list(steps)[:: 1 if number % 2 == 0 else -1]:
            found[name].append(rate(steps[name], batch))
    ratios = [a / b for a, b in zip(found[ours], found[theirs], strict=True)]
    mine, other = (statistics.median(found[name]) for name in (ours, theirs))
    return {
        "images": mine,
        "rival_images": other,
        "ratio": statistics.median(ratios),
        "mfu": mine * flops[ours] / peak,
        "rival_mfu": other * flops[theirs] / peak,
        "gflops": flops[ours] / 6e9,
        "rival_gflops": flops[theirs] / 6e9,
    }


def step_of(model: nn.Module, batch: int) -> Callable[[], None]:
    """A training step, given out but not waited for."""
    device = torch.device("cuda")
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    images = torch.randn(batch, 3, SIDE, SIDE, device=device)
    labels = torch.randint(CLASSES, (batch,), device=device)
    forward = torch.compile(model, dynamic=False)

    def step() -> None:
        with arithmetic("bfloat16", device):
            loss = F.cross_entropy(forward(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def rate(step: Callable[[], None], batch: int) -> float:
    """Images a second of a round."""
    torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(STEPS):
        step()
    torch.cuda.synchronize()
    return STEPS * batch / (time.perf_counter() - start)


def show(rows: list[dict[str, Any]], missing: str, device: str, peak: float | None) -> None:
    """The table."""
    where = machine(device)
    print(f"{where['device']}, torch {where['torch']}, CUDA {where['cuda'] or '-'}")
    rate = f"{peak / 1e12:.0f} TFLOP/s of a bfloat16 matrix product" if peak else NOT_MEASURED
    print(f"peak: {rate}")
    print("model      batch  images/s    MFU  timm                    images/s    MFU   ratio")
    for r in rows:
        head = f"{r['model']:10} {r['batch']:5}"
        if missing:
            print(f"{head}  {NOT_MEASURED}: {missing} (against {r['rival']})")
            continue
        print(
            f"{head} {r['images']:9,.0f} {100 * r['mfu']:5.1f}%  {r['rival']:22}"
            f" {r['rival_images']:9,.0f} {100 * r['rival_mfu']:5.1f}%  {r['ratio']:6.3f}"
        )
    worst = min((r["ratio"] for r in rows), default=None) if not missing else None
    mfu = min(r["mfu"] for r in rows) / LEAST_MFU if not missing else None
    print(f"ours over timm's, the slower pair: {verdict(worst, 1.0)}")
    print(f"MFU over {100 * LEAST_MFU:.0f}%, the lower: {verdict(mfu, 1.0)}")


if __name__ == "__main__":
    sys.exit(main())
