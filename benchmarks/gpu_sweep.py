"""Stage e of `gpu_day`: the real `stability sweep` by submitit's local executor, against inline."""

import importlib
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.gpu_report import OUT_OF_TIME, Report

NEEDED = ("optuna", "submitit", "pydantic", "tomli_w")
"""Packages of `sweeps` that a GPU machine may lack (docs/gpu.md)."""
STUDY = ("--optim", "sgd", "--epochs", "1", "--engine", "eager", "--lr", "0.005:0.05")
"""Learning rates at which nothing diverges: there rounding is all that two runs may differ by."""
ON_GPU = ("--model", "vitp-micro", "--data", "synthetic:n=4000", "--device", "cuda")
DRY = ("--model", "vitp-nano", "--data", "digits", "--set", "batch_size=512", "--device", "cpu",
       "--workers", "1")  # fmt: skip
TRIALS, DRY_TRIALS = 16, 2
NEAR_POINTS, NEAR_LOSS = 3.0, 0.05
"""On a GPU two trainings are equal to rounding: percentage points of the test error, and relative
difference of the validation loss. On a CPU they must be equal."""
LOG_LINES = 25  # of a sweep that fails, kept in the report


def stage(report: Report) -> None:
    """Run both sweeps, then compare their results trial by trial."""
    if missing := missing_packages():
        names = ", ".join(missing)
        how = "it as a wheel" if len(missing) == 1 else "them as wheels"
        report.fail(f"stability sweep needs {names}: carry {how} (docs/gpu.md)")
        return
    on_gpu = report.device == "cuda"
    trials = TRIALS if on_gpu else DRY_TRIALS
    study = (*STUDY, "--trials", str(trials), *(ON_GPU if on_gpu else DRY))
    with TemporaryDirectory() as folder, ThreadPoolExecutor() as pool:
        # In folders of their own: a sweep takes over finished trials of a study beside it.
        runs = {name: Path(folder) / name / "run" for name in ("local", "inline")}
        futures = [pool.submit(sweep, name, study, run, report.left) for name, run in runs.items()]
        for future in as_completed(futures):
            report.add(*future.result())
        if not report.content["errors"]:
            compare(report, trials, *map(results, runs.values()))


def missing_packages() -> list[str]:
    """Those of `NEEDED` that cannot be imported."""
    missing = []
    for name in NEEDED:
        try:
            importlib.import_module(name)
        except ImportError:
            missing.append(name)
    return missing


def sweep(
    executor: str, study: Sequence[str], run: Path, seconds: float
) -> tuple[dict[str, Any], str]:
    """Run one sweep as a user would, from another folder.

    Returns:
        A row of the report and what went wrong; empty if nothing did.
    """
    run.parent.mkdir()
    command = ["stability", "sweep", *study, "--executor", executor, "--out", str(run)]
    start, code = time.monotonic(), "from stability.cli import main; main()"
    row: dict[str, Any] = {"executor": executor, "command": " ".join(command)}
    try:
        done = subprocess.run(
            [sys.executable, "-c", code, *command[1:]],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=run.parent,
            timeout=seconds,
            check=False,
        )
        said, fault = done.stdout, f"exit status {done.returncode}" if done.returncode else ""
    except subprocess.TimeoutExpired as error:
        said, fault = (error.stdout or b"").decode(errors="replace"), OUT_OF_TIME
    print(said, file=sys.stderr)
    row["seconds"] = round(time.monotonic() - start, 1)
    if not fault:
        return row, ""
    lines = said.splitlines()[-LOG_LINES:]
    row |= {"output": lines, "worker_log": worker_log(run)}
    if fault != OUT_OF_TIME:
        fault += f"; {' '.join(filter(None, lines[-3:]))[-150:]}"
    return row, f"stability sweep --executor {executor}: {fault}"


def worker_log(run: Path) -> list[str]:
    """The last lines that the workers printed."""
    lines = []
    for path in sorted(run.glob("jobs/**/*_log.*")):
        lines += path.read_text(errors="replace").splitlines()[-LOG_LINES:]
    return lines


def results(run: Path) -> dict[str, dict[str, Any]]:
    """What the results table says of each trial."""
    import pandas as pd

    columns = ["trial", "outcome", "error", "loss", "device", "engine", "seconds"]
    table = pd.read_parquet(run / "results.parquet")[columns]
    rows = [{str(name): value for name, value in row.items()} for row in table.to_dict("records")]
    return {row.pop("trial"): row for row in rows}


def compare(
    report: Report,
    trials: int,
    local: dict[str, dict[str, Any]],
    inline: dict[str, dict[str, Any]],
) -> None:
    """Hold the results of both sweeps against each other."""
    if len(local) != trials or local.keys() != inline.keys():
        report.fail(f"got {len(local)} trials by submitit and {len(inline)} inline of {trials}")
        return
    points = {t: abs(row["error"] - inline[t]["error"]) for t, row in local.items()}
    losses = {t: abs(row["loss"] / inline[t]["loss"] - 1) for t, row in local.items()}
    allowed = (NEAR_POINTS, NEAR_LOSS) if report.device == "cuda" else (0.0, 0.0)
    far = [
        trial
        for trial, row in local.items()
        if row["outcome"] != inline[trial]["outcome"]
        or not (points[trial] <= allowed[0] and losses[trial] <= allowed[1])
    ]
    row = {"trials": [{"trial": t, "local": local[t], "inline": inline[t]} for t in local]}
    fault = f"{len(far)} of {trials} trials differ between submitit and inline: {', '.join(far)}"
    report.add(row, fault if far else "")
    report.say(
        f"{trials} trials, largest difference: {max(points.values()):.2f} points of error, "
        f"{max(losses.values()):.1e} of the loss; allowed {allowed[0]:g} and {allowed[1]:g}"
    )
