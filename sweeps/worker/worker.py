"""A worker: takes cohorts until none is left, and writes each result as it comes.

Started by submitit here or on a cluster, or called in the driver's own process. What it is told
is a folder and its place; everything else it reads from the run directory.
"""

import os
import signal
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from types import FrameType

from sweeps.errors import ChangedCodeError, EvictedError, SpoiltError
from sweeps.objective.attempt import outcomes
from sweeps.objective.imported import ImportedCode, import_code
from sweeps.objective.user_code import UserCode
from sweeps.store import claims
from sweeps.store.accepted import accepted
from sweeps.store.answers import question
from sweeps.store.checkpoints import Checkpoints
from sweeps.store.failure_detection import same_failure, suspicion
from sweeps.store.owner import Owner
from sweeps.store.parts import Ledger, PartWriter
from sweeps.store.run_directory import RunDirectory
from sweeps.study.design import Design
from sweeps.study.trial import FAILED, Cohort, Objective, Result, Trial
from sweeps.study.units import judged
from sweeps.system import interrupts
from sweeps.system.files import atomic_write, put_away
from sweeps.system.interrupts import AskedToEnd as AskedToEnd
from sweeps.system.interrupts import OutOfTimeError as OutOfTimeError
from sweeps.worker.cohort_builder import ALONE, CohortBuilder
from sweeps.worker.engine import AUTO, engines_of, in_words, settle
from sweeps.worker.queue import TrialQueue

INLINE = "inline-"
"""Begins the names of workers that share the driver's process: what ends one ends the other."""


@dataclass(frozen=True, kw_only=True)
class WorkerSpec:
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
    """Where the user's own objective or models may lie: searched last; empty where none is used."""
    engine: str = AUTO
    """That is asked for, where none has been settled yet."""
    workers: int = 1
    """How many there are to be."""
    wall_seconds: float | None = None
    """Wall time that a job of a cluster asks for, where the cluster does not say what it gave."""
    code: UserCode | None = None
    """The user's code that results are to come from; None for whatever is there."""
    visible_gpu: str | None = None
    """The one GPU that a worker on `cuda` sees, as CUDA names it; None leaves it to the cluster."""

    @property
    def device(self) -> str:
        """`cpu` or `cuda`."""
        return self.slot.partition(":")[0]


class JobLifetime:
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


def work(
    order: WorkerSpec,
    after_each: Callable[[], None] = lambda: None,
    shift: JobLifetime | None = None,
) -> int:
    """Train cohorts until none is left; returns how many trials got a result.

    `after_each` is called after each result. Raises what importing the objective raises, and
    ChangedCodeError where the user's code is another version than the order says.
    """
    run, shift = RunDirectory(Path(order.run)), shift or JobLifetime()
    if order.device == "cuda" and order.visible_gpu is not None:
        # Before torch is imported; submitit's local jobs always take GPU 0.
        os.environ["CUDA_VISIBLE_DEVICES"] = order.visible_gpu
    owner = Owner.this_process(order.name, order.slot, run.identity)
    owner = replace(owner, name=unused(run, order.name, owner.restarts))
    # Registered before torch is imported, which takes seconds in which a driver must see it.
    with registered(run, owner):
        trials = run.read_design()
        imported = import_code(
            trials[0].objective, trials.models, order.submission_folder, order.code
        )
        try:
            taken = cohorts(
                run, trials, owner, order, shift, forming_of(run, imported.objective, trials, order)
            )
            return train(run, owner, order, taken, imported, after_each, shift)
        except (EvictedError, SpoiltError) as error:
            print(error, file=sys.stderr)
            return 0


def forming_of(
    run: RunDirectory, objective: Objective, trials: Design, order: WorkerSpec
) -> CohortBuilder:
    """How cohorts are formed; the first worker of a study settles how its trials are trained."""
    engines = engines_of(objective)
    settled = settle(run, engines, trials, order.device, order.engine, order.name)
    if settled.is_special:
        for line in in_words(settled):
            print(line, file=sys.stderr)
    return CohortBuilder(
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
    order: WorkerSpec,
    taken: Iterator["ClaimedCohort"],
    imported: ImportedCode,
    after_each: Callable[[], None],
    shift: JobLifetime,
) -> int:
    """Train what is taken, and write each result as it comes; returns how many there were."""
    writer, results = PartWriter(run, owner.name), 0
    code = imported.code
    markers = claims.Markers(run, owner)
    checkpoints = Checkpoints.here(run, owner, shift.progressed, shift.epoch_ended, code)
    for cohort in taken:
        failed, saved = False, checkpoints.of(cohort)
        versions = {trial.id: code.version(trial.model) for trial in cohort.trials}
        if not all(accepted(run).counts("ok", version) for version in versions.values()):
            raise ChangedCodeError("results of this version of the code do not count any more")
        for given, circumstances in outcomes(imported.objective, replace(cohort, saved=saved)):
            imported.check()
            result = judged(given, cohort.unit)
            if not claims.is_mine(run, result.trial, owner):
                raise EvictedError(f"{result.trial} of {owner} was given to others")
            attempt = 1 + cohort.failures[result.trial]
            host = owner.node or owner.host
            circumstances |= {"host": host, "code": versions[result.trial]}
            result = writer.append(result, attempt=attempt, **circumstances)
            saved[result.trial].end(result)
            claims.release(run, result.trial)
            if result.outcome in FAILED:
                failed = True
            else:
                markers.add(result.trial)
            results += 1
            after_each()
        # What is timed is the cohort.
        shift.end(result, sum(each.earlier for each in saved.values()))
        if failed and order.device == "cuda":
            break  # after some errors CUDA fails everything in a process: a new one goes on
    return results


def work_as_job(order: WorkerSpec) -> int:
    """`work` in a process of its own, which SIGTERM ends in an orderly way."""

    def stop(signum: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a second one must not cut this short
        interrupts.request(AskedToEnd(0))

    signal.signal(signal.SIGTERM, stop)
    try:
        return work(order)
    except ChangedCodeError as error:
        print(error, file=sys.stderr)
        return 0


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
    order: WorkerSpec,
    shift: JobLifetime,
    forming: CohortBuilder = ALONE,
) -> Iterator[ClaimedCohort]:
    """Claim one cohort after the other until none is left.

    In the order of the design; what has failed comes after everything else, unless it is alike
    with what comes first. Raises EvictedError.
    """
    ledger = Ledger(run, order.since, begun=order.begun, trusting=True)
    ledger.refresh()
    waiting = TrialQueue(trials, ledger, order.max_failures)
    while not (
        shift.is_over(ledger)
        or same_failure(ledger.rows, ledger.hosts)
        or question(ledger.counted, ledger.unit)
    ):
        taken: list[Trial] = []
        most, left = 1, len(waiting)
        for trial in waiting.in_turn(failed_first=bool(suspicion(ledger.rows, ledger.hosts))):
            if taken and (
                forming.alike(trial) != forming.alike(taken[0])
                or forming.most(trial, ledger, left) < most
            ):
                continue
            if shift.fits(trial, ledger) and claims.take(run, trial.id, owner):
                if not waiting.is_still_open(trial.id):
                    claims.put_back(run, trial.id)
                    continue
                most = most if taken else forming.most(trial, ledger, left)
                taken.append(trial)
                if len(taken) == most:
                    break
        if not taken:
            if waiting.is_complete():
                return
            continue
        shift.begin(taken[0])
        yield ClaimedCohort(
            trials=tuple(taken),
            device=order.device,
            engine=forming.way(taken[0]).engine,
            failures={trial.id: ledger[trial.id].failures for trial in taken},
            unit=ledger.unit,
        )
        waiting.cohort_ended(taken)
