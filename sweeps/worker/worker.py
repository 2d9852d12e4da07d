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
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from types import FrameType
from typing import Any

from sweeps.errors import ChangedCodeError, EvictedError, SpoiltError
from sweeps.objective.attempt import run_attempt
from sweeps.objective.imported import ImportedCode, import_code
from sweeps.objective.user_code import UserCode
from sweeps.store import claims
from sweeps.store.accepted import read_accepted
from sweeps.store.answers import unit_question
from sweeps.store.checkpoints import Checkpoints
from sweeps.store.failure_detection import same_failure, suspected_error
from sweeps.store.owner import Owner
from sweeps.store.parts import Ledger, PartWriter
from sweeps.store.run_directory import RunDirectory
from sweeps.study.design import Design
from sweeps.study.objectives import (
    ObjectiveFacts,
    register_objectives,
    registered_objectives,
)
from sweeps.study.trial import FAILED, Cohort, Objective, Result, Trial
from sweeps.study.units import validate_unit
from sweeps.system import interrupts
from sweeps.system.files import atomic_write, remove_or_set_aside
from sweeps.system.interrupts import AskedToEnd as AskedToEnd
from sweeps.system.interrupts import OutOfTimeError as OutOfTimeError
from sweeps.worker.cohort_builder import ALONE, CohortBuilder
from sweeps.worker.engine import AUTO, decide_engine, describe_engine, engines_of
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
    objectives: dict[str, ObjectiveFacts] = field(default_factory=registered_objectives)
    """Built-in objectives that the driver knows: a worker reads trials before it imports one."""

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

    def end(self, result: Result, seconds_before: float = 0.0) -> None:
        """It has ended, after `seconds_before` seconds in the hands of others."""

    def is_over(self, ledger: Ledger) -> bool:
        """Whether nothing more should be taken; asked before each cohort."""
        return False


def work(
    spec: WorkerSpec,
    after_each: Callable[[], None] = lambda: None,
    lifetime: JobLifetime | None = None,
) -> int:
    """Train cohorts until none is left; returns how many trials got a result.

    `after_each` is called after each result. Raises what importing the objective raises, and
    ChangedCodeError where the user's code is another version than the spec says.
    """
    register_objectives(spec.objectives)
    run, lifetime, results = RunDirectory(Path(spec.run)), lifetime or JobLifetime(), 0
    if spec.device == "cuda" and spec.visible_gpu is not None:
        # Before torch is imported; submitit's local jobs always take GPU 0.
        os.environ["CUDA_VISIBLE_DEVICES"] = spec.visible_gpu
    owner = Owner.this_process(spec.name, spec.slot, run.identity)
    owner = replace(owner, name=unused_name(run, spec.name, owner.restarts))
    # Registered before torch is imported, which takes seconds in which a driver must see it.
    with registered(run, owner):
        trials = run.read_design()
        imported = import_code(
            trials[0].objective, trials.models, spec.submission_folder, spec.code
        )
        try:
            builder = cohort_builder(run, imported.objective, trials, spec)
            writer = ResultWriter(run, owner, imported)
            checkpoints = Checkpoints.here(
                run, owner, lifetime.progressed, lifetime.epoch_ended, imported.code
            )
            for claimed in cohorts(run, trials, owner, spec, lifetime, builder):
                saved, failed = checkpoints.of(claimed), False
                versions = writer.versions(claimed)
                for answer in run_attempt(imported.objective, replace(claimed, saved=saved)):
                    result = writer.write(claimed, versions, *answer)
                    saved[result.trial].end(result)
                    writer.release(result)
                    failed |= result.outcome in FAILED
                    results += 1
                    after_each()
                # What is timed is the cohort.
                lifetime.end(result, sum(each.seconds_before for each in saved.values()))
                if failed and spec.device == "cuda":
                    break  # after some errors CUDA fails everything in a process: a new one goes on
        except (EvictedError, SpoiltError) as error:
            print(error, file=sys.stderr)
    return results


def cohort_builder(
    run: RunDirectory, objective: Objective, trials: Design, spec: WorkerSpec
) -> CohortBuilder:
    """How cohorts are built; the first worker of a study decides how its trials are trained."""
    engines = engines_of(objective)
    decision = decide_engine(run, engines, trials, spec.device, spec.engine, spec.name)
    if decision.is_special:
        for line in describe_engine(decision):
            print(line, file=sys.stderr)
    return CohortBuilder(engines=engines, decision=decision, trials=trials, workers=spec.workers)


def unused_name(run: RunDirectory, name: str, restarts: int) -> str:
    """The name of a worker; a requeued job gets another one, as it writes its own parts."""
    name = f"{name}-r{restarts}" if restarts else name
    return f"{name}-{uuid.uuid4().hex[:8]}" if run.part(name, 0).exists() else name


class ResultWriter:
    """Writes the results of a worker, as long as the trials are its own."""

    def __init__(self, run: RunDirectory, owner: Owner, imported: ImportedCode) -> None:
        self._run, self._owner, self._imported = run, owner, imported
        self._part, self._markers = PartWriter(run, owner.name), claims.Markers(run, owner)

    def versions(self, cohort: Cohort) -> dict[str, str | None]:
        """Version of the user's code by trial. Raises ChangedCodeError where one does not count."""
        code = self._imported.code
        versions = {trial.id: code.version(trial.model) for trial in cohort.trials}
        if not all(read_accepted(self._run).counts("ok", version) for version in versions.values()):
            raise ChangedCodeError("results of this version of the code do not count any more")
        return versions

    def write(
        self,
        cohort: "ClaimedCohort",
        versions: dict[str, str | None],
        given: Result,
        circumstances: dict[str, Any],
    ) -> Result:
        """Write what the objective gave for a trial of the cohort.

        Returns the result as it was written. Raises EvictedError, ChangedCodeError.
        """
        self._imported.check()
        result = validate_unit(given, cohort.unit)
        if not claims.is_mine(self._run, result.trial, self._owner):
            raise EvictedError(f"{result.trial} of {self._owner} was given to others")
        circumstances |= {
            "attempt": 1 + cohort.failures[result.trial],
            "host": self._owner.node or self._owner.host,
            "code": versions[result.trial],
        }
        return self._part.append(result, **circumstances)

    def release(self, result: Result) -> None:
        """Release the claim on a trial whose result is written."""
        claims.release(self._run, result.trial)
        if result.outcome not in FAILED:
            self._markers.add(result.trial)


def work_as_job(spec: WorkerSpec) -> int:
    """`work` in a process of its own, which SIGTERM ends in an orderly way."""

    def stop(signum: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a second one must not cut this short
        interrupts.raise_request(AskedToEnd(0))

    signal.signal(signal.SIGTERM, stop)
    try:
        return work(spec)
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
        remove_or_set_aside(run.worker(owner.name))


@dataclass(frozen=True, kw_only=True)
class ClaimedCohort(Cohort):
    """A cohort that this worker holds."""

    failures: dict[str, int]
    """How often each of its trials has failed before."""


def cohorts(
    run: RunDirectory,
    trials: Design,
    owner: Owner,
    spec: WorkerSpec,
    lifetime: JobLifetime,
    builder: CohortBuilder = ALONE,
) -> Iterator[ClaimedCohort]:
    """Claim one cohort after the other until none is left.

    In the order of the design; what has failed comes after everything else, unless it is alike
    with what comes first. Raises EvictedError.
    """
    ledger = Ledger(run, spec.since, begun=spec.begun, trusting=True)
    ledger.refresh()
    queue = TrialQueue(trials, ledger, spec.max_failures)
    while not (
        lifetime.is_over(ledger)
        or same_failure(ledger.rows, ledger.hosts)
        or unit_question(ledger.counted, ledger.unit)
    ):
        cohort: list[Trial] = []
        most, left = 1, len(queue)
        for trial in queue.in_turn(failed_first=bool(suspected_error(ledger.rows, ledger.hosts))):
            if cohort and (
                builder.cohort_key(trial) != builder.cohort_key(cohort[0])
                or builder.most(trial, ledger, left) < most
            ):
                continue
            if lifetime.fits(trial, ledger) and claims.acquire(run, trial.id, owner):
                if not queue.is_still_open(trial.id):
                    claims.withdraw(run, trial.id)
                    continue
                most = most if cohort else builder.most(trial, ledger, left)
                cohort.append(trial)
                if len(cohort) == most:
                    break
        if not cohort:
            if queue.is_complete():
                return
            continue
        lifetime.begin(cohort[0])
        yield ClaimedCohort(
            trials=tuple(cohort),
            device=spec.device,
            engine=builder.plan(cohort[0]).engine,
            failures={trial.id: ledger[trial.id].failures for trial in cohort},
            unit=ledger.unit,
        )
        queue.cohort_ended(cohort)
