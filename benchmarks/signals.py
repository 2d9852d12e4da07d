"""What the signals of instability cost: steps with and without them, in pairs within one run.

    python -m benchmarks.signals [--models vitp-nano,...] [--pairs 300] [--steps 4] [--json]

A pair is so many training steps with the watch, its end of an epoch included, and as many without,
of the same model one after the other; which first alternates. AdamW, random images, batch 64
(micro: 128), each step as Python gives it out: processor time of one thread on a CPU, bfloat16 and
seconds on a GPU. The interval of the median ratio is that of the sign test, at least 95%. Exits 0
if its upper end is at most 1.03 for each model, 1 otherwise.
"""

import argparse
import json
import statistics
import sys
import time
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from scipy.stats import binom
from torch import Tensor

from benchmarks.gpu import data_of, machine
from stability.training.loop import Job, StepRunner, epoch_metrics, initial_state
from stability.training.settings import Recipe
from stability.training.signals import GradientMonitor, Signals
from stability.training.state import TrainState

AIM = 1.03
MODELS = {
    "cpu": "vitp-nano,vitc-nano,regnety-nano",
    "cuda": "vitp-nano,vitc-nano,regnety-nano,vitp-micro,vitc-micro,regnety-micro",
}
UNCOUNTED = 2  # pairs before the first that counts
FEWEST = 6  # pairs: of fewer no interval of the sign test has 95%


class Blind(GradientMonitor):
    """Sees nothing."""

    def norms(self) -> Tensor:
        """Nothing: without clipping nobody asks for the norms."""
        return torch.empty(0)

    def epoch_signals(self, losses: Tensor) -> Signals:
        """Nothing."""
        return Signals(
            grad_norm=None,
            grad_norm_max=None,
            grad_norm_first_layer=None,
            grad_norm_first_layer_max=None,
            loss_spikes=0,
        )


@dataclass(frozen=True, kw_only=True)
class Row:
    """One model: milliseconds of a step, and the ratio of with to without."""

    model: str
    batch: int
    without: float
    ratio: float
    low: float
    high: float


def main() -> int:
    """Measure each model, print, judge."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--models")
    parser.add_argument("--pairs", type=int, default=300)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    if arguments.pairs < FEWEST:
        parser.error(f"--pairs: got {arguments.pairs}, allowed is from {FEWEST}")
    torch.set_num_threads(1)
    device, pairs, steps = arguments.device, arguments.pairs, arguments.steps
    models = (arguments.models or MODELS[device]).split(",")
    rows = [measured(model, device, pairs, steps) for model in models]
    if arguments.json:
        content: dict[str, Any] = {"machine": machine(device), "pairs": pairs, "steps": steps}
        print(json.dumps({**content, "rows": list(map(asdict, rows)), "aim": AIM}, indent=2))
    else:
        show(rows, device, pairs, steps)
    return 0 if all(row.high <= AIM for row in rows) else 1


def measured(model: str, device: str, pairs: int, steps: int) -> Row:
    """The pairs of one model."""
    batch = 128 if "micro" in model else 64
    data = data_of(model, device, images=batch * steps)
    recipe = Recipe(lr=1e-4, weight_decay=0.1, batch_size=batch)
    precision = "bfloat16" if device == "cuda" else "float32"
    job = Job(
        model=model, optimizer="adamw", recipe=recipe, epochs=1, seed=0, precision=precision
    )  # fmt: skip
    runner, lrs = StepRunner(), [recipe.lr] * steps
    seeing = initial_state(job, data, runner)
    blind = replace(seeing, monitor=Blind(seeing.model))

    def seconds(state: TrainState) -> float:
        start = now(device)
        losses = runner.epoch(state, data, lrs)
        epoch_metrics(lrs, losses, state.monitor.epoch_signals(losses))
        return now(device) - start

    times = [(seconds(seeing), seconds(blind)) for _ in range(UNCOUNTED)]
    for pair in range(pairs):
        if pair % 2:
            times.append((seconds(seeing), seconds(blind)))
        else:
            times.append((seconds(blind), seconds(seeing))[::-1])
    times = times[UNCOUNTED:]
    low, middle, high = median_of([with_them / without for with_them, without in times])
    without = 1e3 * statistics.median(without for _, without in times) / steps
    return Row(model=model, batch=batch, without=without, ratio=middle, low=low, high=high)


def now(device: str) -> float:
    """Seconds: of this process where it computes itself, else when the GPU is done."""
    if device == "cpu":
        return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter()


def median_of(values: list[float]) -> tuple[float, float, float]:
    """(low, median, high): order statistics that hold the median with 95% or more (sign test).

    >>> median_of([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    (1.0, 3.5, 6.0)
    """
    ordered, n = sorted(values), len(values)
    k = int(binom.ppf(0.025, n, 0.5))
    return ordered[k - 1], statistics.median(ordered), ordered[n - k]


def show(rows: list[Row], device: str, pairs: int, steps: int) -> None:
    """The table."""
    where = machine(device)
    print(f"{where['device']}, torch {where['torch']}; {pairs} pairs of {steps} steps")
    print("model          batch  ms/step   with/without  at least 95%")
    for row in rows:
        print(
            f"{row.model:14} {row.batch:5} {row.without:8.2f} {row.ratio:14.4f}"
            f"  {row.low:.4f} to {row.high:.4f}"
        )
    met = all(row.high <= AIM for row in rows)
    print(f"aim: upper ends at most {AIM}: {'met' if met else 'missed'}")


if __name__ == "__main__":
    sys.exit(main())
