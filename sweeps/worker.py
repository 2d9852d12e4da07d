"""A worker: takes cohorts until none is left, and writes each result as it comes.

Started by submitit here or on a cluster, or called in the driver's own process. What it is told
is a folder and its place; everything else it reads from the run directory.
"""

import importlib
import os
import signal
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from time import perf_counter
from types import FrameType
from typing import Any

from sweeps import claims
from sweeps.alike import same_failure, suspicion
from sweeps.checkpoints import Checkpoints
from sweeps.design import Design
from sweeps.engine import AUTO, engines_of, in_words, settle
from sweeps.errors import EvictedError, SpecError, SpoiltError
from sweeps.files import atomic_write, put_away
from sweeps.forming import ALONE, Forming
from sweeps.owner import Owner
from sweeps.parts import Ledger, PartWriter
from sweeps.plain import is_plain, of_plain
from sweeps.run_directory import RunDirectory
from sweeps.trial import FAILED, Cohort, Objective, Result, Trial
from sweeps.waiting import Waiting


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
    begun: datetime
    """When the driver began: since then hosts are judged, and all workers end where all fails."""
    submission_folder: str
    """Where the user's own objective may lie: searched last."""
    engine: str = AUTO
    """That is asked for, where none has been settled yet."""
    workers: int = 1
    """How many there are to be."""
    wall_seconds: float | None = None
    """Wall time that a job of a cluster asks for, where the cluster does not say what it gave."""
    visible_gpu: str | None = None
    """The one GPU that a worker on `cuda` sees, as CUDA names it; None leaves it to the cluster."""

    @property
    def device(self) -> str:
        """`cpu` or `cuda`."""
        return self.slot.partition(":")[0]


class Shift:
    """How long a worker may go on: without a limit here, with one on a cluster."""

    def fits(self, trial: Trial, ledger: Ledger) -> bool:
        """Whether there is time for `trial`; asked before it is claimed."""
        return True

    def begin(self, trial: Trial) -> None:
        """It is trained from now on."""

    def epoch_ended(self) -> bool:
        """An epoch has ended, of one trial or of a cohort as one; whether to keep the state now."""
        return False

    def progressed(self) -> None:
        """Its state was kept: an interruption now costs little. Raises AskedToEnd."""

    def end(self, result: Result, earlier: float = 0.0) -> None:
        """It has ended, after `earlier` seconds in the hands of others."""

    def is_over(self, ledger: Ledger) -> bool:
        """Whether nothing more should be taken; asked before each cohort."""
        return False


class AskedToEnd(SystemExit):
    """Unwinds through the worker, which gives its claims back: no error, no end of the training."""


class OutOfTimeError(BaseException):
    """The wall time ended a training that had all of it: not caught as an error of the training."""


def work(
    order: Order, after_each: Callable[[], None] = lambda: None, shift: Shift | None = None
) -> int:
    """Train cohorts until none is left; returns how many trials got a result.

    `after_each` is called after each result. Raises what importing the objective raises.
    """
    run, shift = RunDirectory(Path(order.run)), shift or Shift()
    if order.device == "cuda" and order.visible_gpu is not None:
        # Before torch is imported; submitit's local jobs always take GPU 0.
        os.environ["CUDA_VISIBLE_DEVICES"] = order.visible_gpu
    owner = Owner.this_process(order.name, order.slot, run.identity)
    owner = replace(owner, name=unused(run, order.name, owner.restarts))
    # Registered before torch is imported, which takes seconds in which a driver must see it.
    with registered(run, owner):
        trials = run.read_design()
        objective = import_objective(trials[0].objective, order.submission_folder)
        try:
            taken = cohorts(
                run, trials, owner, order, shift, forming_of(run, objective, trials, order)
            )
            return train(run, owner, order, taken, objective, after_each, shift)
        except (EvictedError, SpoiltError) as error:
            print(error, file=sys.stderr)
            return 0


def forming_of(run: RunDirectory, objective: Objective, trials: Design, order: Order) -> Forming:
    """How cohorts are formed; the first worker of a study settles how its trials are trained."""
    engines = engines_of(objective)
    settled = settle(run, engines, trials, order.device, order.engine, order.name)
    if settled.is_special:
        for line in in_words(settled):
            print(line, file=sys.stderr)
    return Forming(
        engines=engines,
        settled=settled,
        trials=trials,
        workers=order.workers,
    )


def unused(run: RunDirectory, name: str, restarts: int) -> str:
    """A job that was put back into the queue runs the same order again: its parts are its own."""
    name = f"{name}-r{restarts}" if restarts else name
    return f"{name}-{uuid.uuid4().hex[:8]}" if run.part(name, 0).exists() else name


def train(
    run: RunDirectory,
    owner: Owner,
    order: Order,
    taken: Iterator["ClaimedCohort"],
    objective: Objective,
    after_each: Callable[[], None],
    shift: Shift,
) -> int:
    """Train what is taken, and write each result as it comes; returns how many there were."""
    writer, results = PartWriter(run, owner.name), 0
    checkpoints = Checkpoints.here(run, owner, shift.progressed, shift.epoch_ended)
    for cohort in taken:
        failed, saved = False, checkpoints.of(cohort)
        for result, circumstances in outcomes(objective, replace(cohort, saved=saved)):
            if not claims.is_mine(run, result.trial, owner):
                raise EvictedError(f"{result.trial} of {owner} was given to others")
            attempt = 1 + cohort.failures[result.trial]
            host = owner.node or owner.host
            writer.append(result, attempt=attempt, host=host, **circumstances)
            saved[result.trial].end(result)
            claims.release(run, result.trial)
            failed |= result.outcome in FAILED
            results += 1
            after_each()
        # What is timed is the cohort.
        shift.end(result, sum(each.earlier for each in saved.values()))
        if failed and order.device == "cuda":
            break  # after some errors CUDA fails everything in a process: a new one goes on
    return results


def work_as_job(order: Order) -> int:
    """`work` in a process of its own, which SIGTERM ends in an orderly way."""

    def stop(signum: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a second one must not cut this short
        raise AskedToEnd(0)

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
        put_away(run.worker(owner.name))


@dataclass(frozen=True, kw_only=True)
class ClaimedCohort(Cohort):
    """A cohort that this worker holds."""

    failures: dict[str, int]
    """How often each of its trials has failed before."""


def cohorts(
    run: RunDirectory,
    trials: Design,
    owner: Owner,
    order: Order,
    shift: Shift,
    forming: Forming = ALONE,
) -> Iterator[ClaimedCohort]:
    """Claim one cohort after the other until none is left.

    In the order of the design; what has failed comes after everything else, unless it is alike
    with what comes first. Raises EvictedError.
    """
    ledger = Ledger(run, order.since, begun=order.begun, trusting=True)
    ledger.refresh()
    waiting = Waiting(trials, ledger, order.max_failures)
    while not shift.is_over(ledger) and not same_failure(ledger.rows, ledger.hosts):
        taken: list[Trial] = []
        most, left = 1, len(waiting)
        for trial in waiting.in_turn(failed_first=bool(suspicion(ledger.rows, ledger.hosts))):
            if taken and (
                forming.alike(trial) != forming.alike(taken[0])
                or forming.most(trial, ledger, left) < most
            ):
                continue
            # Looked up again once it is claimed: whoever had it may have finished since.
            if shift.fits(trial, ledger) and claims.take(run, trial.id, owner):
                ledger.refresh()
                if not waiting.is_open(trial.id):
                    claims.release(run, trial.id)
                    continue
                most = most if taken else forming.most(trial, ledger, left)
                taken.append(trial)
                if len(taken) == most:
                    break
        if not taken:
            return
        shift.begin(taken[0])
        yield ClaimedCohort(
            trials=tuple(taken),
            device=order.device,
            engine=forming.way(taken[0]).engine,
            failures={trial.id: ledger[trial.id].failures for trial in taken},
        )
        ledger.refresh()


def outcomes(objective: Objective, cohort: Cohort) -> Iterator[tuple[Result, dict[str, Any]]]:
    """Each trial's result with its cost and circumstances; an exception fails what is left.

    The seconds are of all pieces of the training; what an interruption lost is not among them.
    """
    size, start = len(cohort.trials), perf_counter()
    left = {trial.id for trial in cohort.trials}

    def cost(trial: str) -> dict[str, Any]:
        earlier = cohort.saved[trial].earlier if trial in cohort.saved else 0.0
        return {"seconds": earlier + (perf_counter() - start) / size, "cohort_size": size}

    try:
        for result in objective(cohort):
            left.discard(result.trial)
            yield result, cost(result.trial)
        if left:
            raise RuntimeError(f"the objective gave no result for {', '.join(sorted(left))}")
    except OutOfTimeError as error:
        for trial in sorted(left):
            yield Result(trial=trial, outcome="timed_out"), {"message": str(error), **cost(trial)}
    except AskedToEnd:
        raise
    except (Exception, SystemExit) as error:  # of the infrastructure, whatever it is: run again
        for trial in sorted(left):
            told = {"message": says(error), **cost(trial)}
            yield Result(trial=trial, outcome=failure(error)), told


def failure(error: BaseException) -> str:
    """Outcome of a trial whose training raised `error`."""
    out_of_memory = type(error).__name__ in ("MemoryError", "OutOfMemoryError")
    return "out_of_memory" if out_of_memory else "crashed"


def says(error: BaseException) -> str:
    """The error in one line, and where it was raised."""
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    where = f" ({place.tb_frame.f_code.co_filename}:{place.tb_lineno})" if place else ""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:500]}{where}"
