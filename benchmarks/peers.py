"""Whole commands: the same trials by `stability sweep` and by other tools, in one run.

    python -m benchmarks.peers [--trials 16] [--rounds 1] [--json]

In each round every contestant trains the same trials of the main job (vitc-nano, SGD, 5 epochs of
digits) from an empty process to its end, one contestant after the other, the order turned by one
each round. A ratio is a rival's seconds over ours in the same round; `bare` is one process per core
that does nothing but train. Exits 0 where the median ratios reach the aims, 1 otherwise, also where
a rival is not installed (`pip install "ray[tune]"`).
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from benchmarks.coverage_table import machine
from benchmarks.overhead import bare_seconds, command_seconds

ROOT = Path(__file__).parent.parent
AIMS = {"submitit": 2.2, "optuna": 1.2, "ray": 2.5, "bare": 0.92}
WHAT = {
    "submitit": "one submitit job a trial, a core each (pycls)",
    "optuna": "Optuna, study.optimize in one process",
    "ray": "Ray Tune, a core a trial",
    "bare": "bare loops, one a core",
}


def main() -> int:
    """Run the rounds and print what they say."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    rounds = [one_round(given.trials, number) for number in range(given.rounds)]
    ratios = {
        name: statistics.median(r[name] / r["stability"] for r in rounds)
        for name in WHAT
        if name in rounds[0]
    }
    facts = {"machine": machine(), "trials": given.trials, "rounds": rounds, "ratios": ratios}
    if given.json:
        print(json.dumps(facts, indent=2))
    else:
        show(rounds, ratios)
    return 0 if all(ratios.get(name, 0.0) >= aim for name, aim in AIMS.items()) else 1


def one_round(trials: int, number: int) -> dict[str, float]:
    """Seconds of each contestant that is installed."""
    contestants: dict[str, Callable[[], float]] = {
        "stability": lambda: command_seconds(trials)["command"],
        "bare": lambda: bare_seconds(trials)["bare"],
    }
    for rival in ("submitit", "optuna", "ray"):
        if find_spec(rival) is not None:
            contestants[rival] = lambda rival=rival: rival_seconds(rival, trials)  # type: ignore[misc]
    names = list(contestants)
    turned = names[number % len(names) :] + names[: number % len(names)]
    return {name: contestants[name]() for name in turned}


def rival_seconds(rival: str, trials: int) -> float:
    """The rival's whole process."""
    start = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "benchmarks.rivals", rival, str(trials)],
        check=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=sys.stderr,
    )
    return time.perf_counter() - start


def show(rounds: list[dict[str, float]], ratios: dict[str, float]) -> None:
    """The table."""
    ours = statistics.median(r["stability"] for r in rounds)
    print(f"{'stability sweep':46} {ours:6.1f} s   ratio    aim")
    for name, what in WHAT.items():
        if name not in ratios:
            print(f"{what:46} not measured: it is not installed")
            continue
        seconds = statistics.median(r[name] for r in rounds)
        met = "met" if ratios[name] >= AIMS[name] else "missed"
        print(f"{what:46} {seconds:6.1f} s  {ratios[name]:6.2f}  {AIMS[name]:5.2f} {met}")


if __name__ == "__main__":
    sys.exit(main())
