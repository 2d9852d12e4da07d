"""What the sweep costs on top of the training: the whole command against a bare loop per core.

    python -m benchmarks.overhead [--trials 64] [--pairs 1] [--json]

Each pair times `stability sweep` as a user calls it, into an empty folder, and the same trials in
one process per core that does nothing but train them one after the other; which goes first
alternates. The share is the training time of the bare loops, summed and divided by the cores, over
the command's whole time. Exits 0 if its median is at least 0.85, 1 otherwise.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from sweeps.executors.environment import ENVIRONMENT

AIM = 0.85
SWEEP = ["sweep", "--model", "vitc", "--optim", "sgd"]
CORES = len(os.sched_getaffinity(0))


def main() -> int:
    """Run the pairs and print what they say."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=64)
    parser.add_argument("--pairs", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    pairs = [pair(arguments.trials, i) for i in range(arguments.pairs)]
    share = statistics.median(p["share"] for p in pairs)
    if arguments.json:
        print(json.dumps({"machine": machine(), "trials": arguments.trials, "pairs": pairs}))
    else:
        show(arguments.trials, pairs, share)
    return 0 if share >= AIM else 1


def pair(trials: int, number: int) -> dict[str, float]:
    """Seconds of the command, of the bare loops, and of the training in them."""
    timed: dict[str, float] = {}
    steps = [command_seconds, bare_seconds]
    for step in steps if number % 2 == 0 else reversed(steps):
        timed |= step(trials)
    return {**timed, "share": timed["training"] / timed["command"]}


def command_seconds(trials: int) -> dict[str, float]:
    """The whole command, as a user calls it."""
    command = [str(Path(sys.executable).with_name("stability")), *SWEEP, "--trials", str(trials)]
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        subprocess.run([*command, "--out", str(Path(folder, "run"))], check=True, stdout=sys.stderr)
        return {"command": time.perf_counter() - start}


def bare_seconds(trials: int, loop: str = "benchmarks.bare_loop") -> dict[str, float]:
    """Every k-th trial in each of k processes: the whole of it, and the training in it."""
    start = time.perf_counter()
    loops = [
        subprocess.Popen(
            [sys.executable, "-m", loop, str(trials), str(core), str(CORES)],
            env={**os.environ, **ENVIRONMENT, "PYTHONSAFEPATH": ""},
            cwd=Path(__file__).parent.parent,
            stdout=subprocess.PIPE,
            text=True,
        )
        for core in range(CORES)
    ]
    training = [float(loop.communicate()[0]) for loop in loops]
    return {"bare": time.perf_counter() - start, "training": sum(training) / CORES}


def machine() -> dict[str, object]:
    """Where it was measured."""
    return {"platform": platform.platform(), "cores": CORES}


def show(trials: int, pairs: list[dict[str, float]], share: float) -> None:
    """The table."""
    print(f"{trials} trials of vitc-nano, sgd, 5 epochs of digits; {machine()}")
    print("pair  command  bare loops  training in them  share of training")
    for i, p in enumerate(pairs):
        print(
            f"{i:4}  {p['command']:6.1f}s  {p['bare']:9.1f}s  {p['training']:15.1f}s"
            f"  {p['share']:17.3f}"
        )
    print(f"median share {share:.3f}, aim {AIM}: {'met' if share >= AIM else 'missed'}")


if __name__ == "__main__":
    sys.exit(main())
