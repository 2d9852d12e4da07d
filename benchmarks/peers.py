"""Whole commands: the same trials by `stability sweep` and by other tools, in one run.

    python -m benchmarks.peers [--trials 16] [--rounds 1] [--json]

In each round every contestant trains the same trials of the main job (vitc-nano, SGD, 5 epochs of
digits) from an empty process to its end, one contestant after the other, the order turned by one
each round. A ratio is a rival's seconds over ours in the same round. Each rival runs twice:

plain   the training loop as PyTorch's tutorials write it (`benchmarks/plain_loop.py`), which is
        what a study brings that has no `stability`: the ratio is what our tool is worth.
ours    our own objective, which takes a fifth less a trial and loads faster: the ratio is what our
        dispatch, files, table and picture cost, and nothing else.

`bare` is one process per core that does nothing but train. Exits 0 where the median ratios reach
the aims, 1 otherwise, also where a rival is not installed (`pip install "ray[tune]"`).
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from benchmarks.coverage_table import machine
from benchmarks.overhead import bare_seconds, command_seconds

ROOT = Path(__file__).parent.parent
WHAT = {
    "submitit": "one submitit job a trial, a core each (pycls)",
    "optuna": "Optuna, study.optimize in one process",
    "ray": "Ray Tune, a core a trial",
    "bare": "bare loops, one a core",
}
LOOPS = {"plain": "benchmarks.plain_loop", "ours": "benchmarks.bare_loop"}
AIMS = {
    "submitit, plain": 2.2,
    "optuna, plain": 1.2,
    "ray, plain": 2.5,
    "bare, plain": 1.0,
    "bare, ours": 0.92,
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
        for name in rounds[0]
        if name != "stability"
    }
    facts = {"machine": machine(), "trials": given.trials, "rounds": rounds, "ratios": ratios}
    print(json.dumps(facts, indent=2) if given.json else table(rounds, ratios))
    return 0 if all(ratios.get(name, 0.0) >= aim for name, aim in AIMS.items()) else 1


def one_round(trials: int, number: int) -> dict[str, float]:
    """Seconds of each contestant that is installed."""
    contestants: dict[str, Callable[[], float]] = {
        "stability": lambda: command_seconds(trials)["command"]
    }
    for loop, module in LOOPS.items():
        contestants[f"bare, {loop}"] = lambda module=module: bare_seconds(trials, module)["bare"]  # type: ignore[misc]
        for rival in ("submitit", "optuna", "ray"):
            if find_spec(rival) is not None:
                contestants[f"{rival}, {loop}"] = partial(rival_seconds, rival, loop, trials)
    names = list(contestants)
    turned = names[number % len(names) :] + names[: number % len(names)]
    return {name: contestants[name]() for name in turned}


def rival_seconds(rival: str, loop: str, trials: int) -> float:
    """The rival's whole process."""
    start = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "benchmarks.rivals", rival, loop, str(trials)],
        check=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=sys.stderr,
    )
    return time.perf_counter() - start


def table(rounds: list[dict[str, float]], ratios: dict[str, float]) -> str:
    """Seconds and ratios, a block for each loop that the rivals run."""
    lines = [f"{'stability sweep':46} {seconds_of('stability', rounds):6.1f} s   ratio"]
    for loop in LOOPS:
        lines.append(f"rivals with {'the plain loop' if loop == 'plain' else 'our objective'}:")
        lines += [row(what, f"{name}, {loop}", rounds, ratios) for name, what in WHAT.items()]
    return "\n".join(lines)


def row(what: str, name: str, rounds: list[dict[str, float]], ratios: dict[str, float]) -> str:
    """One rival's line."""
    if name not in ratios:
        return f"  {what:44} not measured: it is not installed"
    line = f"  {what:44} {seconds_of(name, rounds):6.1f} s  {ratios[name]:6.2f}"
    if name in AIMS:
        line += f"  aim {AIMS[name]:4.2f} {'met' if ratios[name] >= AIMS[name] else 'missed'}"
    return line


def seconds_of(name: str, rounds: list[dict[str, float]]) -> float:
    """The median over the rounds."""
    return statistics.median(r[name] for r in rounds)


if __name__ == "__main__":
    sys.exit(main())
