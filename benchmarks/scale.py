"""What 1,000 to 100,000 trials cost beside their training, step by step.

    python -m benchmarks.scale [--trials 1000,3000,10000,30000,100000] [--folder DIR] [--json]

The objective costs nothing, so whatever takes time is ours. For each number of trials, in processes
of their own (`benchmarks.scale_steps`):

design: a random design is drawn and written. collect: the views are rebuilt. status: `stability
status`, the whole command, the median of three. work: what a worker takes from one training to the
next, with results written to the disk. drive: what the driver of two workers takes for each trial,
in time of a processor, with its display.

The last two train real trials in a run directory where all but 500 are finished already, in parts
as workers leave them: so they are measured in the state in which a sweep of this size ends, where
whatever grows with the trials that are known is at its largest. Besides, one sweep of 3,000 trials
is driven from nothing to its end, and `stability sweep` trains 500 trials of a millisecond by 30
workers. Without `--json` also
benchmarks/scale.json, docs/scale.png and the table of docs/scale.md are written. Exits 0 if every
aim is met at the largest number, 1 otherwise.
"""

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.scale_page import AIMS, value, write_page

SIZES = "1000,3000,10000,30000,100000"
WHOLE = 3000  # trials of the sweep from nothing
WORKERS, SHORT = 30, 500  # workers, and trials of a millisecond, of the sweep by many workers
ROOT = Path(__file__).parent.parent
STEPS = ("design", "fill", "collect", "work", "drive")

Row = dict[str, Any]


def main() -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", default=SIZES, help="numbers of trials, with commas")
    parser.add_argument("--folder", type=Path, help="where run directories are made for a while")
    parser.add_argument("--json", action="store_true", help="print numbers, write nothing")
    arguments = parser.parse_args()
    start, where = time.perf_counter(), machine()
    rows = []
    for trials in sorted(map(int, arguments.trials.split(","))):
        rows.append(measured(trials, arguments.folder))
        print(f"{trials} trials: measured", file=sys.stderr)
    whole, many = from_nothing(arguments.folder), many_workers(arguments.folder)
    seconds = time.perf_counter() - start
    found = {"machine": where, "seconds": seconds, "whole": whole, "many": many, "rows": rows}
    print(json.dumps(found, indent=1))
    if not arguments.json:
        write_page(found, ROOT)
    return 0 if all(value(rows[-1], key) <= aim.limit for key, aim in AIMS.items()) else 1


def measured(trials: int, folder: Path | None) -> Row:
    """All steps in one run directory, which is removed."""
    with tempfile.TemporaryDirectory(dir=folder) as place:
        run = Path(place, "run")
        row: Row = {"trials": trials}
        for name in STEPS:
            row[name] = step(name, run, trials)
            if name == "fill":
                row["status"] = status(run)
    return row


def from_nothing(folder: Path | None) -> dict[str, float]:
    """A sweep of which nothing is trained yet."""
    with tempfile.TemporaryDirectory(dir=folder) as place:
        run = Path(place, "run")
        step("design", run, WHOLE)
        return step("drive", run, WHOLE)


def many_workers(folder: Path | None) -> dict[str, float]:
    """`stability sweep`, the whole command, with far more workers than cores and short trials."""
    objective = "import time\n\n\ndef fit(trial):\n    time.sleep(0.001)\n    return trial['x']\n"
    words = f"--vary x=1:50 --trials {SHORT} --workers {WORKERS} --out run".split()
    with tempfile.TemporaryDirectory(dir=folder) as place:
        Path(place, "short.py").write_text(objective)
        command = [str(Path(sys.executable).with_name("stability")), "sweep"]
        command += ["--objective", "short:fit", *words]
        load = os.getloadavg()[0]
        start, before = time.perf_counter(), processor_seconds()
        subprocess.run(
            command, check=True, cwd=place, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        seconds, cpu = time.perf_counter() - start, processor_seconds() - before
    numbers = {"workers": WORKERS, "trials": SHORT, "seconds": seconds, "cpu": cpu, "load": load}
    return {name: float(number) for name, number in numbers.items()}


def step(name: str, run: Path, trials: int) -> dict[str, float]:
    """One step, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.scale_steps", name, str(run), str(trials)]
    done = subprocess.run(command, check=True, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    numbers: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return numbers


def status(run: Path) -> dict[str, float]:
    """The whole command, as somebody calls it."""
    command = [str(Path(sys.executable).with_name("stability")), "status", str(run)]
    seconds, spent = [], []
    for _ in range(3):
        start, before = time.perf_counter(), processor_seconds()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        seconds.append(time.perf_counter() - start)
        spent.append(processor_seconds() - before)
    return {"seconds": statistics.median(seconds), "cpu": statistics.median(spent)}


def processor_seconds() -> float:
    """What the commands that have ended took of a processor."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def machine() -> str:
    """Where it was measured, and what else it did in the five minutes before."""
    names: Sequence[str] = ()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    name = names[0] if names else platform.processor()
    return (
        f"{name}, {len(os.sched_getaffinity(0))} cores, {platform.system()}, with a load of "
        f"{os.getloadavg()[1]:.1f}"
    )


if __name__ == "__main__":
    sys.exit(main())
