"""Training images a second of ViT_C at 224 pixels, against timm's ViTs of the same cost.

    python -m benchmarks.vit_throughput [--rounds 5] [--budget SECONDS] [--json]

bfloat16 (autocast), torch.compile, torch's fused AdamW, random images on the GPU: the same step for
both, in turn within one run. vitc-4gf against vit_small_patch16_224, vitc-18gf against
vit_base_patch16_224 (4.6 and 17.6 GFLOPs: arXiv 2012.12877, Table 5 has both). Ours in the layout
in which it is trained on a GPU (NCHW), which is what the aims are of, and in channels-last. MFU is
the share of a large bfloat16 matrix product's rate, measured in the same run. Needs a GPU and timm;
without them it says "not measured", there is no part for a CPU. What fails is a row with its
reason, what the budget (280 s) leaves no time for is "not measured". Exits 0 where ours is at least
as fast and reaches 35% MFU in both pairs, 1 otherwise.
"""

import argparse
import importlib.util
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from functools import cache
from importlib.metadata import version
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from benchmarks.children import Measurer, serve
from benchmarks.gpu import (
    BUDGET,
    NO_GPU,
    NOT_MEASURED,
    machine,
    peak_flops,
    peak_in_words,
    peak_of,
    run_facts,
    synchronise,
    train_flops,
    verdict,
)
from stability.models.build import build
from stability.training.precision import arithmetic

MODULE = "benchmarks.vit_throughput"
PAIRS = {"vitc-4gf": ("vit_small_patch16_224", 256), "vitc-18gf": ("vit_base_patch16_224", 128)}
"""Ours to timm's and the batch."""
LAYOUTS = {"NCHW": torch.contiguous_format, "NHWC": torch.channels_last}
"""Of weights and images; the first is what `build` gives on a GPU."""
TRAINED = "NCHW"
SIDE, CLASSES = 224, 1000
WARM_UP = 5  # steps
STEPS = 20  # of a round
LEAST_RATIO, LEAST_MFU = 1.0, 0.35

Step = Callable[[], None]


def main(argv: list[str] | None = None) -> int:
    """Measure the pairs and judge them."""
    given, start = parsed(argv), time.monotonic()
    if given.serve:
        serve(answer)
        return 0
    missing = why_not()
    device = "cpu" if missing else "cuda"
    peak = peak_flops(device)
    rows = requests(given.rounds)
    if missing:
        rows = [row | {"fault": missing} for row in rows]
    else:
        with Measurer(MODULE, ["--serve"], start + given.budget) as measurer:
            rows = [row | measurer.ask(row, given.budget) for row in rows]
        rows = [row if "fault" in row else with_mfu(row, peak) for row in rows]
    aims = judged(rows)
    if given.json:
        facts = run_facts(MODULE, argv, device, start) | {"mfu_of": peak_of(peak, device)}
        timm = version("timm") if importlib.util.find_spec("timm") else None
        facts["machine"] |= {"timm": timm}
        print(json.dumps(facts | {"rows": rows, "aims": aims}, indent=2))
    else:
        show(rows, aims, device, peak_of(peak, device))
    return 0 if all(aim["met"] for aim in aims) else 1


def parsed(argv: list[str] | None) -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--budget", type=float, default=BUDGET, metavar="SECONDS")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args(argv)


def why_not() -> str:
    """What is missing for a measurement; empty where nothing is."""
    if not torch.cuda.is_available():
        return NO_GPU
    return "" if importlib.util.find_spec("timm") else "timm is not installed"


def requests(rounds: int) -> list[dict[str, Any]]:
    """The rows before they are measured, the most important first."""
    return [
        {"model": ours, "layout": layout, "batch": batch, "rival": theirs, "rounds": rounds}
        for layout in LAYOUTS
        for ours, (theirs, batch) in PAIRS.items()
    ]


def answer(asked: dict[str, Any], device: str = "cuda") -> dict[str, Any]:
    """Images a second of both, in turn; medians over the rounds, and of the rounds' ratios."""
    ours, theirs, batch = asked["model"], asked["rival"], asked["batch"]
    made = [prepared(ours, asked["layout"], batch, device), rival(theirs, batch, device)]
    found: list[list[float]] = [[], []]
    for number in range(asked["rounds"]):
        for i in (0, 1) if number % 2 == 0 else (1, 0):
            found[i].append(rate(made[i][0], batch, device))
    mine, other = map(statistics.median, found)
    return {
        "images": mine,
        "rival_images": other,
        "ratio": statistics.median(a / b for a, b in zip(*found, strict=True)),
        "flops": made[0][1],
        "rival_flops": made[1][1],
    }


def prepared(name: str, layout: str, batch: int, device: str) -> tuple[Step, int]:
    """A warm step of our model, placed as in training (`loop.Rig.fresh`), and an image's flops."""
    generator = torch.Generator().manual_seed(0)
    model = build(name, channels=3, classes=CLASSES, generator=generator, device=device)
    return warm(model.to(memory_format=LAYOUTS[layout]), layout, batch, device)  # type: ignore[call-overload]


@cache
def rival(name: str, batch: int, device: str) -> tuple[Step, int]:
    """The same of a model of timm, made once for all rows of this process."""
    import timm

    return warm(timm.create_model(name, num_classes=CLASSES).to(device), "NCHW", batch, device)


def warm(model: nn.Module, layout: str, batch: int, device: str) -> tuple[Step, int]:
    """A training step after its first few, and the flops that it takes for an image."""
    flops = train_flops(model, torch.zeros(1, 3, SIDE, SIDE, device=device))
    step = step_of(model.train(), layout, batch, torch.device(device))
    for _ in range(WARM_UP):
        step()
    return step, flops


def step_of(model: nn.Module, layout: str, batch: int, device: torch.device) -> Step:
    """A training step, given out but not waited for."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    images = torch.randn(batch, 3, SIDE, SIDE, device=device)
    images = images.to(memory_format=LAYOUTS[layout])
    labels = torch.randint(CLASSES, (batch,), device=device)
    forward = torch.compile(model, dynamic=False)

    def step() -> None:
        with arithmetic("bfloat16", device):
            loss = F.cross_entropy(forward(images), labels)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return step


def rate(step: Step, batch: int, device: str) -> float:
    """Images a second of a round."""
    synchronise(torch.device(device))
    start = time.perf_counter()
    for _ in range(STEPS):
        step()
    synchronise(torch.device(device))
    return STEPS * batch / (time.perf_counter() - start)


def with_mfu(row: dict[str, Any], peak: float | None) -> dict[str, Any]:
    """MFU of both, where the peak is known."""
    assert peak is not None
    return row | {
        "mfu": row["images"] * row["flops"] / peak,
        "rival_mfu": row["rival_images"] * row["rival_flops"] / peak,
    }


def judged(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Both aims, of the worse pair in the layout of training; None unless both were measured."""
    ours = [row for row in rows if row["layout"] == TRAINED]
    is_measured = not any("fault" in row for row in ours)
    return [
        {
            "aim": name,
            "value": (value := min(row[key] for row in ours) if is_measured else None),
            "least": least,
            "met": value is not None and value >= least,
        }
        for name, key, least in (
            ("ours over timm's, the slower pair", "ratio", LEAST_RATIO),
            ("MFU, the lower", "mfu", LEAST_MFU),
        )
    ]


def show(
    rows: Sequence[dict[str, Any]],
    aims: Sequence[dict[str, Any]],
    device: str,
    peak: dict[str, Any],
) -> None:
    """The table."""
    where = machine(device)
    print(f"{where['device']}, torch {where['torch']}, CUDA {where['cuda'] or '-'}")
    print(peak_in_words(peak))
    print(
        "model      layout batch  images/s    MFU  timm, NCHW              images/s    MFU  ratio"
    )
    for r in rows:
        head = f"{r['model']:10} {r['layout']:6} {r['batch']:5}"
        if "fault" in r:
            print(f"{head}  {NOT_MEASURED}: {r['fault']} (against {r['rival']})")
            continue
        print(
            f"{head} {r['images']:9,.0f} {100 * r['mfu']:5.1f}%  {r['rival']:22}"
            f" {r['rival_images']:9,.0f} {100 * r['rival_mfu']:5.1f}% {r['ratio']:6.3f}"
        )
    print(f"{TRAINED} is what is trained on a GPU; the aims are of it")
    for aim, scale, unit in zip(aims, (1, 100), ("x", "%"), strict=True):
        value = None if aim["value"] is None else scale * aim["value"]
        print(f"{aim['aim']}: {verdict(value, scale * aim['least'], unit)}")


if __name__ == "__main__":
    sys.exit(main())
