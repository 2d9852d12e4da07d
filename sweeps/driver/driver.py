"""The driver: keeps workers at work until the study is done. One at a time for a run directory."""

import os
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from sweeps.driver.crash_loop import MOST, CrashLoop
from sweeps.driver.tally import RETRIES, Tally
from sweeps.errors import DisplacedError, ExecutorError, StoreError
from sweeps.executors.base import Executor
from sweeps.objective.user_code import UserCode
from sweeps.store import checkpoints, claims
from sweeps.store.answers import unit_question
from sweeps.store.cleanup import remove_leftovers
from sweeps.store.failure_detection import same_failure
from sweeps.store.owner import Owner
from sweeps.store.parts import EVER, Ledger, PartWriter
from sweeps.store.run_directory import Identity, RunDirectory
from sweeps.study.trial import Result, Trial
from sweeps.system import interrupts, locks
from sweeps.system.files import remove_or_set_aside
from sweeps.words import count
from sweeps.worker.engine import AUTO
from sweeps.worker.worker import INLINE, WorkerSpec

TICK_SECONDS = 0.5
ENDED = (
    "the process ended in this trial: killed, out of memory, or ended by the objective; "
    "with --executor local the other trials go on"
)


@dataclass(frozen=True, kw_only=True)
class DispatchOptions:
    """How a study is driven: none of it decides a result."""

    slots: tuple[str, ...]
    """Places that workers may fill: `cpu:0`, `cpu:1`, ..."""
    submission_folder: Path | None = None
    """Where the user's own objective or models may lie; None where the study uses none."""
    retry_failed: bool = False
    """Whether trials that failed too often are tried again."""
    detach: bool = False
    """Whether to leave once the workers are started."""
    engine: str = AUTO
    """That is asked for."""
    wall_seconds: float | None = None
    """Wall time that is asked for, for each worker; None where there is no limit."""


@dataclass
class Driver:
    """Starts workers where slots are free and work is left; voids what the dead have left."""

    run: RunDirectory
    trials: Sequence[Trial]
    executor: Executor
    options: DispatchOptions
    notify: Callable[[Ledger], None] = lambda ledger: None
    """Called every tick with the state of things."""
    say: Callable[[str], None] = lambda line: None
    """Called with what a person should know while the study is trained."""
    code: UserCode | None = None
    """The user's code that results are to come from; None for whatever is there."""
    since: datetime = EVER
    """Failures before this are forgiven."""
    ledger: Ledger = field(init=False)

    def __post_init__(self) -> None:
        self.begun = datetime.now(UTC)
        if self.options.retry_failed:
            self.since = self.begun
        self.ledger = Ledger(self.run, self.since, begun=self.begun)
        self._tally = Tally(self.trials, self.ledger)
        self._own_part: PartWriter | None = None
        self._started: dict[str, str] = {}
        """By slot, the name of the worker that was started in it last."""
        self._crash_loop = CrashLoop(self.run)
        self._accounting = ThreadPoolExecutor(1, "sacct")
        self._asked: dict[Owner | None, Future[tuple[str, str] | None]] = {}
        self._nodes: set[str] = set()
        """Of the cluster, on which jobs of the run were: only those can be left out."""
        self._left_out: set[str] = set()
        self._edited: list[str] = []
        """Modules of the user that were edited since the sweep began."""
        self._identity = Identity(self.run)

    def drive(self) -> None:
        """Return when every trial has a result, has failed too often, or is held elsewhere.

        Raises ExecutorError where workers end without doing anything, or the first or last trials
        all fail alike; DisplacedError where the run directory was moved or removed meanwhile;
        KeyboardInterrupt where `stability cancel` asks for the end. Whatever ends it, the workers
        are stopped and what they held is free again, unless the options say to detach.
        """
        remove_or_set_aside(self.run.cancel)  # what was asked of an earlier driver
        self.executor.settle()
        self._settle_earlier()
        remove_leftovers(self.run, self.executor.is_gone)
        if self.options.detach:
            self._detach()
            return
        try:
            while (specs := self._next_workers()) is not None:
                if specs:
                    self.executor.start(specs)
                    self._started |= {spec.slot: spec.name for spec in specs}
                if self._busy() or self._asked:
                    self.executor.rest(TICK_SECONDS)
        finally:
            self._accounting.shutdown(wait=False, cancel_futures=True)
            self.executor.stop()
            self._check_place()
            claims.release_orphaned(self.run, self.executor.is_gone)
            remove_leftovers(self.run, self.executor.is_gone)
            self._look()
            checkpoints.remove_finished(self.run, self.ledger)

    def _settle_earlier(self) -> None:
        """Free what workers of earlier dispatches held: no fault of those trials.

        Except where the trial was trained in the driver's own process. Nobody saw that process end,
        so it may be the trial that ends it, and would end every driver that comes after.
        """
        for trial, owner in claims.orphaned_claims(self.run, self.executor.is_gone).items():
            if owner is not None and owner.name.startswith(INLINE) and owner.ended_alone:
                self._record_loss(trial, owner, ("crashed", ENDED))
            claims.release(self.run, trial)

    def _detach(self) -> None:
        self._look()
        busy = self._busy()
        free = self._free(busy)[: max(0, self._tally.left() - len(busy))]
        self.executor.start_detached([self._spec(slot) for slot in free])
        self.executor.detach()

    def _next_workers(self) -> list[WorkerSpec] | None:
        """The workers to start now; None when nothing is left to do. Raises ExecutorError."""
        interrupts.raise_pending()  # one that was raised where Python ignores exceptions
        self._check_place()
        # In this order: what a worker finishes while we look is then counted as done or as still
        # held, never as left.
        self._record_losses()
        held, busy, refusal = claims.held(self.run), self._busy(), self.executor.refusal()
        self._look()
        self._crash_loop.see(held)
        # Workers end where the unit has to be named; what they have in hand is finished.
        is_asked = unit_question(self.ledger.counted, self.ledger.unit) is not None
        left = 0 if is_asked else self._tally.left(held)
        # Who says that it works does not wait, whatever an older answer of the cluster says.
        at_work = claims.living_workers(self.run, self.executor.is_gone)
        waiting = (self.executor.queued() & busy) - {owner.slot for owner in at_work}
        if not left and not busy - waiting and not self._asked:
            # The last worker may have crashed since the losses were recorded: its trial is open.
            return [] if claims.orphaned_claims(self.run, self.executor.is_gone) else None
        if left and refusal is not None:
            raise refusal
        self._judge()
        for slot in [slot for slot in self._started if slot not in busy]:
            worker = self._started.pop(slot)
            if left:
                self._crash_loop.ended(slot, worker, self.executor.was_taken)
        free = self._free(busy)[: max(0, left - len(waiting))]
        return [self._spec(slot) for slot in free] if free and self._is_code_unchanged() else []

    def _check_place(self) -> None:
        """Raises DisplacedError where this is no longer the folder that the driver began with."""
        if (change := self._identity.change()) is not None:
            raise DisplacedError(change)

    def _is_code_unchanged(self) -> bool:
        """Whether a worker that starts now finds the user's code as it was when the sweep began.

        Else those that run go on with what they have imported. Raises ExecutorError when none does.
        """
        if self.code is None:
            return True
        now = self.code.search_again(self.options.submission_folder or Path.cwd())
        edited = self.code.differences(now)
        if edited and not self._busy():
            raise ExecutorError(
                f"{', '.join(edited)} was edited while the sweep ran, so no more workers are "
                f"started: {count(self._tally.left(), 'trial')} left. To go on, undo the edit and "
                "repeat the command, or repeat it with --retrain-changed (train again what the "
                "earlier version trained) or --keep-changed (keep those results)"
            )
        if edited and not self._edited:
            self.say(
                f"{', '.join(edited)} was edited: no more workers are started; running ones go on "
                "with the version that they have imported"
            )
        self._edited = edited
        return not edited

    def _judge(self) -> None:
        """Stop where nothing but one error comes, or a person asked for it; leave bad nodes out."""
        if self.run.cancel.exists():
            raise KeyboardInterrupt
        hosts = self.ledger.hosts
        if (error := same_failure(self.ledger.rows, hosts)) is not None:
            which, so_far = ("last", "") if hosts.trained else ("first", ", nothing was trained")
            raise ExecutorError(f"the {which} trials all fail alike{so_far}: {error}")
        self._nodes |= {task.node for task in self.executor.monitor.tasks()}
        bad = {host: why for host, why in hosts.bad.items() if host in self._nodes}
        for host in sorted(bad.keys() - self._left_out):
            self.say(f"{host} left out: {bad[host]}")
        self._left_out |= bad.keys()
        self.executor.avoid(list(bad))

    def _free(self, busy: set[str]) -> list[str]:
        """Slots that may get a worker. Raises ExecutorError where none is left."""
        usable = [slot for slot in self.options.slots if not self._crash_loop.is_closed(slot)]
        if not usable and not busy:
            raise ExecutorError(
                f"{MOST} workers in a row ended without a result; the last one said: "
                f"{self.executor.last_log_line() or 'nothing'} (logs: {self.run.jobs})"
            )
        return [slot for slot in usable if slot not in busy]

    def _spec(self, slot: str) -> WorkerSpec:
        return WorkerSpec(
            run=str(self.run.path),
            name=f"{slot.replace(':', '')}-{uuid.uuid4().hex[:8]}",
            slot=slot,
            max_failures=RETRIES,
            since=self.since,
            begun=self.begun,
            submission_folder=str(self.options.submission_folder or ""),
            engine=self.options.engine,
            workers=len(self.options.slots),
            wall_seconds=self.options.wall_seconds,
            code=self.code,
        )

    def _look(self) -> None:
        self._tally.look()
        self.notify(self.ledger)

    def _busy(self) -> set[str]:
        """Slots filled by workers of this driver or of an earlier one that still live."""
        here = self.run.identity  # in a copy, workers of the original fill no slot
        adopted = {
            owner.slot
            for owner in claims.living_workers(self.run)
            if owner.is_here and owner.directory in ("", here)
        }
        return self.executor.busy() | adopted

    def _record_losses(self) -> None:
        """A worker that died under our eyes: its trial failed, and is tried again later."""
        lost = claims.orphaned_claims(self.run, self.executor.is_gone)
        self._crash_loop.see(lost)
        for trial, owner in lost.items():
            self.ledger.refresh()
            asked = self._ask(owner)
            if not asked.done():
                continue  # it stays claimed until then
            fault = asked.result()
            self._asked.pop(owner, None)
            if fault is not None and owner is not None:
                self._crash_loop.crashed(owner)
            if fault is not None and not self.ledger.is_trained(trial):
                self._record_loss(trial, owner, fault)
            # Only now: who takes it before the failure is written would not count that attempt.
            claims.release(self.run, trial)

    def _ask(self, owner: Owner | None) -> "Future[tuple[str, str] | None]":
        """Whose fault its end was, asked beside the driver where accounting has to say it."""
        if owner not in self._asked:
            if self.executor.knows_fault(owner):
                known: Future[tuple[str, str] | None] = Future()
                known.set_result(self.executor.fault(owner))
                return known
            self._asked[owner] = self._accounting.submit(self.executor.fault, owner)
        return self._asked[owner]

    def _record_loss(self, trial: str, owner: Owner | None, fault: tuple[str, str]) -> None:
        self._own_part = self._own_part or PartWriter(self.run, f"driver-{time.time_ns()}")
        self.ledger.refresh()
        attempt = self.ledger[trial].failures + 1
        lost = Result(trial=trial, outcome=fault[0])
        host = (owner.node or owner.host) if owner else None
        self._own_part.append(lost, attempt=attempt, message=fault[1], host=host)


@contextmanager
def sole_driver(run: RunDirectory) -> Iterator[None]:
    """Hold `driver.lock`; the system frees it when the process ends, however it ends.

    Raises ExecutorError, saying who has it, where another driver lives.
    """
    with ExitStack() as stack:
        try:
            handle = stack.enter_context(locks.open_lock(run.lock))
        except OSError as error:
            raise StoreError(f"{run.path} cannot be written: {error.strerror}") from error
        try:
            locks.acquire(handle)
        except BlockingIOError as error:
            raise ExecutorError(
                f"{run.path} is being driven by {Owner.read(run.lock) or 'another process'}; "
                f"to watch it: stability status {run.path}"
            ) from error
        if not os.path.samestat(os.fstat(handle), run.lock.lstat()):
            raise ExecutorError(f"{run.lock} was replaced just now; the same command continues")
        driver = Owner.this_process("driver", directory=run.identity)
        os.ftruncate(handle, 0)
        os.pwrite(handle, driver.to_json().encode(), 0)
        yield
