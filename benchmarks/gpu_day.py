"""Check and measure everything that needs a GPU, in one command of five minutes at most.

    python benchmarks/gpu_day.py [--stages a,b,...] [--device cuda|cpu] [--budget SECONDS]
                                 [--out DIR]

Stages run one after the other, the most valuable first. Each is a process with a time limit of its
own: a stage that crashes or hangs costs only itself. What a stage found is in DIR/STAGE.json after
each measurement, so a time limit keeps what was measured. DIR/log.txt has everything printed.
`--device cpu` is a dry run: the same code on the smallest models, to show that it works.

This process imports the standard library only, so that it reports even where torch is broken.
docs/gpu.md says how to run it on a machine without a network.
"""

import argparse
import os
import platform
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TextIO

ROOT = Path(__file__).resolve().parent.parent
if __name__ == "__main__":  # a script's own folder comes first: benchmarks/coverage.py and others
    sys.path[0] = str(ROOT)  # would be imported in place of packages of the same name

from benchmarks.gpu_report import (  # noqa: E402 - after the path is right
    OUT_OF_TIME,
    read_report,
    write_report,
)

BUDGET = 300.0
"""Seconds of all stages together."""
EARLY = 2.0
"""Seconds, at most, by which a stage is asked to end before its time limit."""
TOKEN = "GPU_DAY_STAGE"
"""Environment variable of each process of a stage, by which its descendants are found."""
PACKAGES = ("torch", "triton", "numpy", "scipy", "pandas", "pyarrow", "scikit-learn",
            "matplotlib", "seaborn", "pillow", "typer", "timm", "pytest",
            "optuna", "submitit", "pydantic", "tomli-w")  # fmt: skip
PASSED, FAILED, SKIPPED, TIMED_OUT, CRASHED = "passed", "failed", "skipped", "timed out", "crashed"
SHOWN_ERRORS = 5  # of a stage in the summary; the JSON has all


@dataclass(frozen=True)
class Stage:
    """A part of the run."""

    name: str
    title: str
    seconds: float
    """Time limit with the usual budget."""


STAGES = (
    Stage("a", "versions, peak rates, eager training against the CPU", 45),
    Stage("b", "tests marked cuda", 75),
    Stage("c", "engine table", 100),
    Stage("d", "ViT_C at 224 px against timm", 40),
    Stage("e", "stability sweep by submitit against inline", 40),
)
"""In the order in which they run."""


def main(argv: list[str] | None = None) -> int:
    """Run the stages and print a summary.

    Returns:
        0 if every stage that was asked for ended without an error, 1 otherwise. A stage whose
        tests were all skipped on a CPU counts as no error; on a GPU it is one.
    """
    given = parsed(argv)
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # kills the stage
    given.out.mkdir(parents=True, exist_ok=True)
    start, spare, reports = time.monotonic(), 0.0, []
    asked = sys.argv[1:] if argv is None else argv
    facts = {
        "command": shlex.join(["python", "benchmarks/gpu_day.py", *asked]),
        "device": given.device,
        "device_name": device_name(given.device),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "versions": {name: version_of(name) for name in PACKAGES},
    }
    print(f"{facts['device_name']}, Python {facts['python']}, torch {facts['versions']['torch']}")
    with (given.out / "log.txt").open("w", encoding="utf-8") as log:
        for stage in given.stages:
            # What earlier stages left over is added, so the sum of all limits is the budget.
            limit = stage.seconds * given.budget / BUDGET + spare
            report = run_stage(stage, given.out, limit, facts, log)
            spare = max(limit - report["seconds"], 0.0)
            reports.append(report)
            print(*in_words(report), sep="\n", flush=True)
    statuses = {report["stage"]: report["status"] for report in reports}
    seconds = round(time.monotonic() - start, 1)
    write_report(given.out / "summary.json", facts | {"seconds": seconds, "stages": statuses})
    said = ", ".join(f"{name} {status}" for name, status in statuses.items())
    print(f"stages: {said}; {seconds:.0f} s; results are in {given.out}")
    return 0 if {*statuses.values()} <= {PASSED, SKIPPED} else 1


def parsed(argv: list[str] | None) -> argparse.Namespace:
    """Parse the options; exits with status 2 if one is wrong."""
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0],
        epilog="Stages: " + "; ".join(f"{s.name} {s.title} ({s.seconds:g} s)" for s in STAGES),
    )
    names = ",".join(stage.name for stage in STAGES)
    parser.add_argument("--stages", default=names, metavar="a,b,...", help="default: all")
    parser.add_argument(
        "--device", choices=("cuda", "cpu"), default="cuda", help="cpu is a dry run; default: cuda"
    )
    parser.add_argument("--budget", type=float, default=BUDGET, metavar="SECONDS",
                        help="time limit of all stages; each stage's own is scaled with it; "
                        f"default: {BUDGET:g}")  # fmt: skip
    parser.add_argument("--out", type=Path, default=Path("gpu-day"), metavar="DIR",
                        help="where results are written; default: gpu-day")  # fmt: skip
    given = parser.parse_args(argv)
    asked = given.stages.split(",")
    if unknown := [name for name in asked if name not in names.split(",")]:
        parser.error(f"--stages: got {','.join(unknown)!r}, allowed are {names}")
    if not 0 < given.budget < float("inf"):
        parser.error(f"--budget: got {given.budget:g}, allowed is a number above 0")
    given.stages = [stage for stage in STAGES if stage.name in asked]
    return given


def device_name(device: str) -> str:
    """Describe the device without torch: on CUDA by name, driver and memory."""
    if device == "cpu":
        return f"cpu, {os.cpu_count()} cores"
    query = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        return f"unknown GPU (nvidia-smi: {type(error).__name__})"
    return "; ".join(done.stdout.strip().splitlines()) or "no GPU"


def version_of(package: str) -> str | None:
    """Return the installed version; None if there is none."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def run_stage(
    stage: Stage, out: Path, limit: float, facts: Mapping[str, Any], log: TextIO
) -> dict[str, Any]:
    """Run one stage in a process group of its own and return its report, which is also written.

    Args:
        stage: Which one.
        out: Folder of the report.
        limit: Seconds after which every process of the stage is killed.
        facts: What all reports begin with.
        log: Where the stage prints.
    """
    path, start = out / f"{stage.name}.json", time.monotonic()
    head = {"stage": stage.name, "title": stage.title, "status": "running", **facts}
    write_report(path, head | {"limit_s": round(limit, 1), "rows": [], "errors": []})
    print(f"== stage {stage.name}: {stage.title}", file=log, flush=True)
    token = f"{stage.name}.{os.getpid()}"
    soon = limit - min(EARLY, limit / 10)
    command = [stage.name, facts["device"], str(soon), str(path.absolute())]
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.gpu_stages", *command],
        stdin=subprocess.PIPE,  # a stage ends when nobody holds the other end any more
        stdout=log,
        stderr=log,
        cwd=ROOT,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": import_path(), TOKEN: token},
    )
    try:
        process.wait(limit)
    except subprocess.TimeoutExpired:
        pass
    finally:
        is_over = process.poll() is None
        kill_all(process, token)
    report = read_report(path)
    errors, status = judged(report, None if is_over else process.returncode)
    ended = {"status": status, "seconds": round(time.monotonic() - start, 1), "errors": errors}
    write_report(path, report | ended)
    return report | ended


def import_path() -> str:
    """Return PYTHONPATH for a stage: this repository first; absolute, as stage e changes folder."""
    given = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    return os.pathsep.join([str(ROOT), *map(os.path.abspath, given)])


def judged(report: Mapping[str, Any], code: int | None) -> tuple[list[str], str]:
    """Return the errors and the status of a stage whose exit status is `code`.

    `code` is None if the stage was killed at its time limit.
    """
    errors = list(report["errors"])
    if code is None:
        return [*errors, f"killed at its time limit of {report['limit_s']:g} s"], TIMED_OUT
    if code < 0:
        return [*errors, f"killed by {signal.Signals(-code).name}; see log.txt"], CRASHED
    if not report.get("is_complete"):
        return [*errors, f"ended early with exit status {code}; see log.txt"], CRASHED
    if errors:
        is_late = all(error.endswith(OUT_OF_TIME) for error in errors)
        return errors, TIMED_OUT if is_late else FAILED
    return errors, SKIPPED if report.get("is_skipped") else PASSED


def kill_all(process: subprocess.Popen[bytes], token: str) -> None:
    """Kill a stage's process group and its descendants in other groups, and wait for their end.

    A descendant with a session of its own is found by the variable that it inherited.
    """
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    with suppress(subprocess.TimeoutExpired):  # a driver that hangs can hold even a killed process
        process.wait(10)
    deadline = time.monotonic() + 5
    while (left := descendants(token)) and time.monotonic() < deadline:
        for pid in left:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)


def descendants(token: str) -> list[int]:
    """Return the processes started with this token, as Linux lists them; none elsewhere."""
    found, mark = [], f"{TOKEN}={token}".encode()
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if mark in (folder / "environ").read_bytes().split(b"\0"):
                found.append(int(folder.name))
    return found


def in_words(report: Mapping[str, Any]) -> Sequence[str]:
    """Return the lines of the summary for one stage."""
    said = f"{report['status']:9}  {report['seconds']:5.1f} s of {report['limit_s']:.0f} s"
    lines = [f"{report['stage']}  {said}  {report['title']}", *report.get("summary", [])]
    errors = report["errors"]
    shown = [f"error: {' '.join(error.split())[:200]}" for error in errors[:SHOWN_ERRORS]]
    more = len(errors) - len(shown)
    tail = [f"{more} more errors in {report['stage']}.json"] if more > 0 else []
    return [lines[0], *(f"     {line}" for line in (*lines[1:], *shown, *tail))]


if __name__ == "__main__":
    sys.exit(main())
