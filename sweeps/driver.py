"""The driver: keeps workers at work until the study is done. One at a time for a run directory."""

import fcntl
import os
import signal
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

from sweeps import claims
from sweeps.dispatch.base import Dispatcher
from sweeps.errors import DispatchError, StoreError
from sweeps.owner import Owner
from sweeps.parts import EVER, Ledger, PartWriter
from sweeps.run_directory import RunDirectory
from sweeps.trial import Result, Trial
from sweeps.worker import Order

TICK_SECONDS = 0.5
RETRIES = 2  # a failure of the infrastructure is run again at most twice
BARREN_WORKERS = 3  # so many workers in a row that end without a result stop the driver


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How a study is driven: none of it decides a result."""

    slots: tuple[str, ...]
    """Places that workers may fill: `cpu:0`, `cpu:1`, ..."""
    submission_folder: Path
    retry_failed: bool = False
    """Whether trials that failed too often are tried again."""


@dataclass
class Driver:
    """Starts workers where slots are free and work is left; voids what the dead have left."""

    run: RunDirectory
    trials: list[Trial]
    dispatcher: Dispatcher
    plan: Plan
    notify: Callable[[Ledger], None] = lambda ledger: None
    """Called every tick with the state of things."""
    since: datetime = EVER
    """Failures before this are forgiven."""
    ledger: Ledger = field(init=False)
    barren: Counter[str] = field(default_factory=Counter)
    """How many workers in a row ended in a slot without a result."""

    def __post_init__(self) -> None:
        if self.plan.retry_failed:
            self.since = datetime.now(UTC)
        self.ledger = Ledger(self.run, self.since)
        self._own_part: PartWriter | None = None

    def drive(self) -> None:
        """Return when every trial has a result, has failed too often, or is held elsewhere.

        Raises DispatchError where workers end without doing anything. Whatever ends it, the
        workers are stopped and what they held is free again.
        """
        claims.void(self.run)  # what an earlier dispatch left: no fault of those trials
        try:
            for max_failures in range(RETRIES + 1):
                self._round(max_failures)
        finally:
            self.dispatcher.stop()
            claims.void(self.run)
            self._look()

    def _round(self, max_failures: int) -> None:
        """Train every trial that has not failed more often than `max_failures`."""
        started: dict[str, str] = {}  # slot -> name of the worker that was started in it
        while True:
            # In this order: what a worker finishes while we look is then counted as done or as
            # still held, never as left.
            self._record_losses()
            claimed, busy = claims.held(self.run).keys(), self._busy()
            self._look()
            left = [trial for trial in self._open(max_failures) if trial not in claimed]
            if not left and not busy:
                return
            self._count_barren(started, busy, bool(left))
            for slot in self._free(busy)[: len(left)]:
                order = self._order(slot, max_failures)
                started[slot] = order.name
                self.dispatcher.start(order)
            time.sleep(TICK_SECONDS if self._busy() else 0)

    def _free(self, busy: set[str]) -> list[str]:
        """Slots that may get a worker. Raises DispatchError where none is left."""
        usable = [slot for slot in self.plan.slots if self.barren[slot] < BARREN_WORKERS]
        if not usable and not busy:
            raise DispatchError(
                f"{BARREN_WORKERS} workers in a row ended without a result; the last one said: "
                f"{self.dispatcher.complaint() or 'nothing'} (logs: {self.run.jobs})"
            )
        return [slot for slot in usable if slot not in busy]

    def _count_barren(self, started: dict[str, str], busy: set[str], is_work_left: bool) -> None:
        """Workers that cannot even begin must not be started for ever."""
        for slot in [slot for slot in started if slot not in busy]:
            has_results = self.run.part(started.pop(slot), 0).exists()
            self.barren[slot] = 0 if has_results or not is_work_left else self.barren[slot] + 1

    def _order(self, slot: str, max_failures: int) -> Order:
        return Order(
            run=str(self.run.path),
            name=f"{slot.replace(':', '')}-{uuid.uuid4().hex[:8]}",
            slot=slot,
            max_failures=max_failures,
            since=self.since,
            submission_folder=str(self.plan.submission_folder),
            visible_gpu=visible_gpu(slot),
        )

    def _look(self) -> None:
        self.ledger.refresh()
        self.notify(self.ledger)

    def _busy(self) -> set[str]:
        """Slots filled by workers of this driver or of an earlier one that still live."""
        adopted = {owner.slot for owner in claims.living_workers(self.run) if owner.is_here}
        return self.dispatcher.busy() | adopted

    def _open(self, max_failures: int) -> list[str]:
        """Trials without a result that may be tried."""
        records = ((trial.id, self.ledger[trial.id]) for trial in self.trials)
        return [t for t, r in records if r.outcome is None and r.failures_since <= max_failures]

    def _record_losses(self) -> None:
        """A worker that died under our eyes: its trial failed, and is tried again later."""
        for trial in claims.void(self.run):
            self.ledger.refresh()
            if self.ledger.is_trained(trial):
                continue
            self._own_part = self._own_part or PartWriter(self.run, f"driver-{time.time_ns()}")
            attempt = self.ledger[trial].failures + 1
            lost = Result(trial=trial, outcome="crashed")
            message = "its worker ended without a result: killed, or out of memory"
            self._own_part.append(lost, attempt=attempt, message=message)


def visible_gpu(slot: str) -> str:
    """What CUDA calls the GPU of a slot: a number counts within the GPUs that are visible here.

    >>> visible_gpu("cpu:1")
    ''
    """
    kind, _, number = slot.partition(":")
    if kind != "cuda":
        return ""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    return visible.split(",")[int(number)] if visible else number


@contextmanager
def sole_driver(run: RunDirectory) -> Iterator[None]:
    """Hold `driver.lock`; the system frees it when the process ends, however it ends.

    Raises DispatchError, saying who has it, where another driver lives.
    """
    try:
        lock = run.lock.open("a+", encoding="utf-8")
    except OSError as error:
        raise StoreError(f"{run.path} cannot be written: {error.strerror}") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise DispatchError(
                f"{run.path} is being driven by {Owner.read(run.lock) or 'another process'}; "
                f"to watch it: stability status {run.path}"
            ) from error
        lock.truncate(0)
        lock.write(Owner.this_process("driver").to_json())
        lock.flush()
        yield


@contextmanager
def sigterm_as_interrupt() -> Iterator[None]:
    """SIGTERM ends the driver as Ctrl-C does: workers stopped, views written."""

    def interrupt(signum: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
