"""What the conv stem costs: training time of ViT_C over ViT_P, in pairs within one run.

    python -m benchmarks.parity [--sizes nano,micro,1gf] [--pairs 50] [--json]

A pair is a training step of each model of a size, one after the other, which first alternates:
forward, backward and SGD on the same random images. So both see the same machine, whatever else it
does. The paper's own minutes per ImageNet epoch on 8 V100 (arXiv 2106.14881, Table 1) stand beside
it. It judges nothing and exits 0.
"""

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F

from stability.models import config_of
from stability.models.build import build
from stability.models.variants import VITP, counted_on
from stability.training.optimizers import build_optimizer
from stability.training.settings import Recipe

PAPER = {"1gf": (2.7, 2.6), "4gf": (3.9, 3.8), "18gf": (11.4, 11.5), "36gf": (18.6, 18.8)}
"""Minutes per epoch of ViT_C and of ViT_P."""
BATCH = {
    "cpu": {"nano": 64, "micro": 64, "1gf": 8, "4gf": 4, "18gf": 2, "36gf": 2},
    "cuda": {"nano": 1024, "micro": 1024, "1gf": 512, "4gf": 256, "18gf": 128, "36gf": 64},
}
UNCOUNTED = 2  # steps of each model before the first pair


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where and how it is timed."""

    device: str
    precision: str


def main() -> int:
    """Time the pairs and print what they say."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", default="nano,micro,1gf")
    parser.add_argument("--pairs", type=int, default=50)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    sizes = arguments.sizes.split(",")
    if unknown := [size for size in sizes if size not in VITP]:
        parser.error(f"--sizes: got {', '.join(unknown)}, allowed are {', '.join(VITP)}")
    if arguments.device == "cpu":
        torch.set_num_threads(1)  # as a worker does
    place = Place(device=arguments.device, precision=arguments.precision)
    rows = [row(size, arguments.pairs, place) for size in sizes]
    if arguments.json:
        print(json.dumps({"machine": machine(place), "sizes": rows}, indent=2))
    else:
        show(rows, place)
    return 0


def row(size: str, pairs: int, place: Place) -> dict[str, Any]:
    """Microseconds per image of both models in every pair, and quartiles of their ratio."""
    batch = BATCH[place.device.partition(":")[0]][size]
    steps = {kind: training(f"{kind}-{size}", batch, place) for kind in ("vitc", "vitp")}
    for step in [*steps.values()] * UNCOUNTED:
        step()
    found = [pair(steps, number, batch) for number in range(pairs)]
    low, middle, high = statistics.quantiles([p["vitc"] / p["vitp"] for p in found], n=4)
    conv, patchify = PAPER.get(size, (None, None))
    return {
        "size": size,
        "batch": batch,
        "pairs": found,
        "vitc": statistics.median(p["vitc"] for p in found),
        "vitp": statistics.median(p["vitp"] for p in found),
        "ratio": middle,
        "quartiles": [low, high],
        "paper": conv / patchify if conv and patchify else None,
    }


def pair(steps: dict[str, Callable[[], None]], number: int, batch: int) -> dict[str, float]:
    """Microseconds per image of a step of each; the one that goes first alternates."""
    taken = {}
    for kind in list(steps)[:: 1 if number % 2 == 0 else -1]:
        start = time.perf_counter()
        steps[kind]()
        taken[kind] = 1e6 * (time.perf_counter() - start) / batch
    return taken


def training(name: str, batch: int, place: Place) -> Callable[[], None]:
    """A function that trains the model for one step, to the end of it."""
    kind = place.device.partition(":")[0]
    (channels, classes), side = counted_on(name), config_of(name).image
    generator = torch.Generator().manual_seed(0)
    model = build(
        name, channels=channels, classes=classes, generator=generator, device=place.device
    )
    optimizer = build_optimizer("sgd", model, Recipe(lr=1e-3, weight_decay=1e-4))
    images = torch.randn(batch, channels, side, side, generator=generator).to(place.device)
    labels = (torch.arange(batch) % classes).to(place.device)

    def step() -> None:
        with torch.autocast(kind, torch.bfloat16, enabled=place.precision == "bfloat16"):
            loss = F.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        if kind == "cuda":
            torch.cuda.synchronize()

    return step


def machine(place: Place) -> dict[str, Any]:
    """Where it was measured."""
    gpu = torch.cuda.get_device_name() if place.device.startswith("cuda") else None
    return {
        "platform": platform.platform(),
        "cores": len(os.sched_getaffinity(0)),
        "device": gpu or "cpu, one thread",
        "precision": place.precision,
        "torch": torch.__version__,
    }


def show(rows: list[dict[str, Any]], place: Place) -> None:
    """The table."""
    where = machine(place)
    print(f"{where['device']}, {where['precision']}, torch {where['torch']}; {where['platform']}")
    print("size   batch    vitc us    vitp us   C / P  quartiles       pairs  paper")
    for r in rows:
        low, high = r["quartiles"]
        paper = "-" if r["paper"] is None else f"{r['paper']:.3f}"
        print(
            f"{r['size']:5} {r['batch']:6} {r['vitc']:10.1f} {r['vitp']:10.1f}  {r['ratio']:6.3f}  "
            f"{low:.3f} .. {high:.3f}  {len(r['pairs']):5}  {paper:>5}"
        )
    print("us: median of a training step, per image; C / P: median of the pairs' ratios")


if __name__ == "__main__":
    sys.exit(main())
