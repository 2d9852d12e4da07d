"""Workers as submitit jobs on this machine."""

import os
import signal
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from sweeps import claims
from sweeps.dispatch.base import Dispatcher
from sweeps.dispatch.environment import ENVIRONMENT, visible_gpu
from sweeps.errors import DispatchError
from sweeps.owner import Owner
from sweeps.run_directory import RunDirectory
from sweeps.trust import is_own, private_folder
from sweeps.worker import Order, work_as_job

YEARS_MIN = 60 * 24 * 365 * 10  # submitit's default is two minutes; a local worker has no limit
GRACE_SECONDS = 10.0


class LocalDispatcher(Dispatcher):
    """One submitit job a slot. submitit's results and states are hints, never the truth."""

    def __init__(self, run: RunDirectory, after_each: Callable[[], None]) -> None:
        super().__init__(run, after_each)
        # A fresh folder a dispatch: submitit finds results by job id, here a pid, and those
        # come again.
        self.folder = run.jobs / uuid.uuid4().hex
        self._jobs: dict[str, Any] = {}
        self._last_log: Path | None = None

    def start(self, orders: Sequence[Order]) -> None:
        """Submit one worker for the slot of each order."""
        for order in orders:
            self._start(order)

    def start_detached(self, orders: Sequence[Order]) -> None:
        """Also without what they would inherit: a pipe would stay open, a closed terminal kill."""
        with ignoring(signal.SIGHUP), silenced():
            self.start(orders)

    def _start(self, order: Order) -> None:
        import submitit

        private_folder(self.folder, self.run.path, self.run.jobs)  # submitit's pickles
        executor = submitit.LocalExecutor(folder=self.folder)
        executor.update_parameters(timeout_min=YEARS_MIN, stderr_to_stdout=True)
        try:
            with environment(ENVIRONMENT), ignoring(signal.SIGINT):
                told = replace(order, visible_gpu=visible_gpu(order.slot))
                self._jobs[order.slot] = executor.submit(work_as_job, told)
        except OSError as error:
            raise DispatchError(f"no worker can be started: {error}") from error

    def busy(self) -> set[str]:
        """Slots whose job still runs."""
        for slot, job in list(self._jobs.items()):
            if job.done():
                self._last_log = job.paths.stdout
                del self._jobs[slot]
        return set(self._jobs)

    def stop(self) -> None:
        """SIGTERM to every worker of this run on this host, then SIGKILL after the grace."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            # Anybody could write down the pid of a process that is no worker.
            workers = [
                owner
                for owner in claims.living_workers(self.run)
                if owner.is_here and is_own(self.run.worker(owner.name))
            ]
            self.busy()
            # A job's id is the pid of the worker's parent, which forwards SIGTERM.
            parents = [int(job.job_id) for job in self._jobs.values()]
            for pid in [owner.pid for owner in workers] + parents:
                with suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, number)
            deadline = time.monotonic() + GRACE_SECONDS
            while time.monotonic() < deadline and (self.busy() or any(map(alive, workers))):
                time.sleep(0.05)

    def complaint(self) -> str:
        """Last line that the last ended worker printed."""
        if self._last_log is None or not self._last_log.exists():
            return ""
        lines = self._last_log.read_text(errors="replace").splitlines()
        return lines[-1] if lines else ""


def alive(owner: Owner) -> bool:
    """Whether `owner` still runs."""
    return not owner.is_gone


@contextmanager
def environment(variables: dict[str, str]) -> Iterator[None]:
    """Variables that processes started within inherit."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def silenced() -> Iterator[None]:
    """Processes started within have nothing of our output and error: theirs is in their logs."""
    sys.stdout.flush()
    kept = {number: os.dup(number) for number in (1, 2)}
    nothing = os.open(os.devnull, os.O_WRONLY)
    try:
        for number in kept:
            os.dup2(nothing, number)
        yield
    finally:
        for number, copy in kept.items():
            os.dup2(copy, number)
            os.close(copy)
        os.close(nothing)


@contextmanager
def ignoring(number: signal.Signals) -> Iterator[None]:
    """Processes started within ignore it: Ctrl-C reaches the driver alone, which stops them."""
    before = signal.signal(number, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(number, before)
