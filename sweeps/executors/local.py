"""Workers as submitit jobs on this machine."""

import os
import signal
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from sweeps.errors import ExecutorError
from sweeps.executors.base import Executor
from sweeps.executors.environment import ENVIRONMENT, visible_gpu
from sweeps.executors.forked import SideTask, work_side_by_side
from sweeps.store import claims
from sweeps.store.owner import Owner, wait_for_any_end
from sweeps.store.run_directory import RunDirectory
from sweeps.system.files import last_lines, parse_json, read_text
from sweeps.system.processes import signal_child
from sweeps.system.trust import is_own_file, private_folder
from sweeps.worker.worker import WorkerSpec, work_as_job

YEARS_MIN = 60 * 24 * 365 * 10  # submitit's default is two minutes; a local worker has no limit
GRACE_SECONDS = 10.0


class LocalExecutor(Executor):
    """Workers in submitit jobs, whose results and states are hints, never the truth.

    One job a slot; or, where `shared` names a module that all workers need, one job that imports it
    and forks the workers and the process of the `side_task`.
    """

    def __init__(
        self,
        run: RunDirectory,
        after_each: Callable[[], None] = lambda: None,
        shared: str | None = None,
        side_task: SideTask | None = None,
    ) -> None:
        super().__init__(run, after_each)
        self._shared, self._side_task = shared, side_task
        # A fresh folder a dispatch: submitit finds results by job id, here a pid, and those
        # come again.
        self.folder = run.jobs.absolute() / uuid.uuid4().hex
        self._answer = self.folder / "answer.json"
        self._jobs: dict[str, tuple[Any, str, Path]] = {}
        """By slot: its job, the worker's name, where the names of the ended are written."""
        self._submitted: list[Any] = []
        self._last_log: Path | None = None

    def start(self, specs: Sequence[WorkerSpec]) -> None:
        """Submit the workers."""
        specs = [replace(spec, visible_gpu=visible_gpu(spec.slot)) for spec in specs]
        ended = self.folder / f"{uuid.uuid4().hex}.ended"
        if self._shared is not None:
            task, self._side_task = self._side_task, None
            job = self._submit(work_side_by_side, self._shared, specs, ended, task, self._answer)
            self._jobs |= {spec.slot: (job, spec.name, ended) for spec in specs}
            return
        for spec in specs:
            self._jobs[spec.slot] = (self._submit(work_as_job, spec), spec.name, ended)

    def answer(self) -> dict[str, Any] | None:
        """The answer of the side task; None as long as there is none."""
        if not self._answer.exists():
            return None
        return dict(parse_json(read_text(self._answer)))

    def start_detached(self, specs: Sequence[WorkerSpec]) -> None:
        """Also without what they would inherit: a pipe would stay open, a closed terminal kill."""
        with ignoring(signal.SIGHUP), silenced():
            self.start(specs)

    def _submit(self, function: Callable[..., object], *arguments: object) -> Any:
        import submitit

        private_folder(self.folder, self.run.path)  # submitit's pickles
        executor = submitit.LocalExecutor(folder=self.folder)
        executor.update_parameters(timeout_min=YEARS_MIN, stderr_to_stdout=True)
        try:
            with environment(ENVIRONMENT), ignoring(signal.SIGINT):
                self._submitted.append(executor.submit(function, *arguments))
                return self._submitted[-1]
        except OSError as error:
            raise ExecutorError(f"no worker can be started: {error}") from error

    def busy(self) -> set[str]:
        """Slots whose worker still runs."""
        for slot, (job, name, ended) in list(self._jobs.items()):
            if job.done() or (ended.exists() and name in read_text(ended).splitlines()):
                self._last_log = job.paths.stdout
                del self._jobs[slot]
        return set(self._jobs)

    def rest(self, seconds: float) -> None:
        """Let so long pass, or less where a worker ends."""
        wait_for_any_end([o for o in claims.living_workers(self.run) if o.is_here], seconds)

    def stop(self) -> None:
        """SIGTERM to every worker of this run on this host, then SIGKILL after the grace."""
        here = self.run.identity
        for number in (signal.SIGTERM, signal.SIGKILL):
            # A child that was not waited for keeps its pid. It is the workers' parent, and forwards
            # SIGTERM.
            for job in self._submitted:
                if not job.done():
                    signal_child(int(job.job_id), number)
            # Only workers whose files this user wrote: anybody could write down a pid of ours.
            workers = [
                owner
                for owner in claims.living_workers(self.run)
                if owner.is_here
                and is_own_file(self.run.worker(owner.name))
                and owner.send(number, here)
            ]
            deadline = time.monotonic() + GRACE_SECONDS
            while time.monotonic() < deadline and (
                any(map(alive, workers)) or not all(job.done() for job in self._submitted)
            ):
                time.sleep(0.05)
            self.ended |= {owner.name for owner in workers if not alive(owner)}

    def last_log_line(self) -> str:
        """Last line that the last ended worker printed."""
        lines = last_lines(self._last_log) if self._last_log is not None else []
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
