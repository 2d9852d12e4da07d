"""A worker: takes cohorts until none is left, and writes each result as it comes.

Started by submitit here or on a cluster, or called in the driver's own process. What it is told
is a folder and its place; everything else it reads from the run directory.
"""

import importlib
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from time import perf_counter
from types import FrameType
from typing import Any

from sweeps import claims
from sweeps.errors import SpecError
from sweeps.files import atomic_write
from sweeps.owner import Owner
from sweeps.parts import Ledger, PartWriter
from sweeps.plain import is_plain, of_plain
from sweeps.run_directory import RunDirectory
from sweeps.trial import FAILED, Cohort, Objective, Result, Trial


@dataclass(frozen=True, kw_only=True)
class Order:
    """What a worker is told."""

    run: str
    """The run directory."""
    name: str
    """What it is called: in claims, and in the names of its parts."""
    slot: str
    """Its place on the host: `cpu:0`, `cuda:1`."""
    max_failures: int
    """Trials that failed more often, not counting what was before `since`, are left alone."""
    since: datetime
    submission_folder: str
    """Where the user's own objective may lie: searched last."""
    visible_gpu: str = ""
    """The one GPU that a worker on `cuda` sees, as CUDA names it."""

    @property
    def device(self) -> str:
        """`cpu` or `cuda`."""
        return self.slot.partition(":")[0]


def work(order: Order, after_each: Callable[[], None] = lambda: None) -> int:
    """Train cohorts until none is left; returns how many trials got a result.

    `after_each` is called after each result. Raises what importing the objective raises.
    """
    run = RunDirectory(Path(order.run))
    if order.device == "cuda":  # before torch is imported; submitit itself always takes GPU 0
        os.environ["CUDA_VISIBLE_DEVICES"] = order.visible_gpu
    writer = PartWriter(run, order.name)
    results = 0
    # Registered before torch is imported, which takes seconds in which a driver must see it.
    with registered(run, Owner.this_process(order.name, order.slot)) as owner:
        trials = run.read_design()
        objective = import_objective(trials[0].objective, order.submission_folder)
        for cohort in cohorts(run, trials, owner, order):
            failed = False
            for result, circumstances in outcomes(objective, cohort):
                attempt = 1 + cohort.failures[result.trial]
                writer.append(result, attempt=attempt, host=owner.host, **circumstances)
                claims.release(run, result.trial)
                failed |= result.outcome in FAILED
                results += 1
                after_each()
            if failed and order.device == "cuda":
                break  # after some errors CUDA fails everything in a process: a new one goes on
    return results


def work_as_job(order: Order) -> int:
    """`work` in a process of its own, which SIGTERM ends in an orderly way."""

    def stop(signum: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a second one must not cut this short
        raise SystemExit(0)  # unwinds through the worker, which gives its claim back

    signal.signal(signal.SIGTERM, stop)
    return work(order)


def import_objective(name: str, submission_folder: str) -> Objective:
    """The function that `module:function` names, a plain one as an objective of cohorts.

    Raises SpecError where there is none.
    """
    module, _, function = name.partition(":")
    if submission_folder not in sys.path:
        sys.path.append(submission_folder)  # last: a user's own `sweeps/` must not shadow ours
    try:
        found = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise SpecError([f"objective {name!r} cannot be imported: {error}"]) from error
    return of_plain(found) if is_plain(found) else found


@contextmanager
def registered(run: RunDirectory, owner: Owner) -> Iterator[Owner]:
    """Say that this worker lives; at the end, however it comes, give back what it still holds."""
    with atomic_write(run.worker(owner.name)) as temporary:
        temporary.write_text(owner.to_json(), encoding="utf-8")
    try:
        yield owner
    finally:
        for trial, holder in claims.held(run).items():
            if holder == owner:
                claims.release(run, trial)
        with suppress(FileNotFoundError):
            run.worker(owner.name).unlink()


@dataclass(frozen=True, kw_only=True)
class ClaimedCohort(Cohort):
    """A cohort that this worker holds."""

    failures: dict[str, int]
    """How often each of its trials has failed before."""


def cohorts(
    run: RunDirectory, trials: list[Trial], owner: Owner, order: Order
) -> Iterator[ClaimedCohort]:
    """Claim one cohort after the other, in the order of the design, until none is left."""
    ledger = Ledger(run, order.since)
    ledger.refresh()
    waiting = list(trials)
    while waiting:
        waiting = [t for t in waiting if is_open(ledger, t, order)]
        for trial in waiting:
            # Looked up again once it is claimed: whoever had it may have finished since.
            if claims.take(run, trial.id, owner):
                ledger.refresh()
                if is_open(ledger, trial, order):
                    failures = {trial.id: ledger[trial.id].failures}
                    yield ClaimedCohort(trials=(trial,), device=order.device, failures=failures)
                    ledger.refresh()
                    break
                claims.release(run, trial.id)
        else:
            return


def is_open(ledger: Ledger, trial: Trial, order: Order) -> bool:
    """Whether a trial has no result yet and has not failed too often."""
    record = ledger[trial.id]
    return record.outcome is None and record.failures_since <= order.max_failures


def outcomes(objective: Objective, cohort: Cohort) -> Iterator[tuple[Result, dict[str, Any]]]:
    """Each trial's result with its cost and circumstances; an exception fails what is left."""
    size, start = len(cohort.trials), perf_counter()
    left = {trial.id for trial in cohort.trials}

    def cost() -> dict[str, Any]:
        return {"seconds": (perf_counter() - start) / size, "cohort_size": size}

    try:
        for result in objective(cohort):
            left.discard(result.trial)
            yield result, cost()
        if left:
            raise RuntimeError(f"the objective gave no result for {', '.join(sorted(left))}")
    except Exception as error:  # a failure of the infrastructure, whatever it is: run again
        for trial in sorted(left):
            yield Result(trial=trial, outcome=failure(error)), {"message": says(error), **cost()}


def failure(error: Exception) -> str:
    """Outcome of a trial whose training raised `error`."""
    out_of_memory = type(error).__name__ in ("MemoryError", "OutOfMemoryError")
    return "out_of_memory" if out_of_memory else "crashed"


def says(error: Exception) -> str:
    """The error in one line, and where it was raised."""
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    where = f" ({place.tb_frame.f_code.co_filename}:{place.tb_lineno})" if place else ""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:500]}{where}"
