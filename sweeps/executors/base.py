"""One interface for here and for a cluster."""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

from sweeps.errors import ExecutorError
from sweeps.executors.slurm.jobs import submissions
from sweeps.executors.slurm.monitor import TAKEN, JobMonitor
from sweeps.store import claims
from sweeps.store.owner import Owner
from sweeps.store.run_directory import RunDirectory
from sweeps.worker.worker import WorkerSpec

LOST = "its worker ended without a result: killed, or out of memory"


class Executor(ABC):
    """Starts workers and knows which of those that it started still run."""

    def __init__(self, run: RunDirectory, after_each: Callable[[], None] = lambda: None) -> None:
        self.run = run
        self.after_each = after_each
        """Called after a result by workers that share the driver's process."""
        self.monitor = JobMonitor(run)
        """Judges who is gone; asks Slurm only of those that Slurm started."""
        self.ended: set[str] = set()
        """Names of workers that `stop` has ended."""
        self.closing_note = ""
        """What the user should know after the end; empty where there is nothing."""

    @abstractmethod
    def start(self, specs: Sequence[WorkerSpec]) -> None:
        """Start workers. Raises ExecutorError where that is not possible."""

    def start_detached(self, specs: Sequence[WorkerSpec]) -> None:
        """Start workers that go on without this process, its terminal and its pipes."""
        self.start(specs)

    @abstractmethod
    def busy(self) -> set[str]:
        """Slots whose worker, started here, has not ended yet."""

    def refusal(self) -> ExecutorError | None:
        """Why no worker is alive and none can be started; None where that is not so."""
        return None

    def rest(self, seconds: float) -> None:
        """Let so long pass, or less where something has happened that is worth a look."""
        time.sleep(seconds)

    def queued(self) -> set[str]:
        """Those of the busy slots whose worker waits to be begun."""
        return set()

    @abstractmethod
    def stop(self) -> None:
        """Ask the workers that were started here to end, and see to it that they do."""

    def detach(self) -> None:  # noqa: B027 - where workers live on of themselves
        """Wait until what was started needs this process no more."""

    @abstractmethod
    def last_log_line(self) -> str:
        """The last words of a worker that ended badly; empty where there are none."""

    def settle(self) -> None:
        """Learn what is known of the workers of earlier dispatches."""
        owners = [*claims.held(self.run).values(), *claims.workers(self.run)]
        if any(owner is not None and owner.job for owner in owners):
            self.monitor.see(owners)
            self.monitor.refresh()
            self.monitor.watch()

    def avoid(self, hosts: Sequence[str]) -> None:  # noqa: B027 - where there is one host
        """Have no more workers begin on `hosts`, where there is a choice."""

    def is_gone(self, owner: Owner) -> bool:
        """Whether no process of `owner` can be running."""
        return self.monitor.is_gone(owner)

    def was_taken(self, worker: str) -> bool:
        """Whether a cluster took the place of a worker of this name away: no fault of the worker.

        Not where its job was cancelled: so end those too that could never begin.
        """
        numbers = {
            (record.name, record.workers.index(worker))
            for record in submissions(self.run)
            if worker in record.workers
        }
        taken = [task for task in self.monitor.tasks() if task.state in TAKEN]
        places = {(task.submission, task.number) for task in taken}
        return not numbers.isdisjoint(places)

    def knows_fault(self, owner: Owner | None) -> bool:
        """Whether `fault` answers at once; else Slurm's accounting is asked, for 20 s at most."""
        if owner is None or not owner.job:
            return True
        snapshot = self.monitor.snapshot
        return snapshot is not None and (owner.submission, owner.job) in snapshot.tasks

    def fault(self, owner: Owner | None) -> tuple[str, str] | None:
        """Outcome and message of the trial that a worker had in hand when it died.

        None where it was no fault of the trial.
        """
        return self.monitor.fault(owner) if owner and owner.job else ("crashed", LOST)

    def state(self) -> str:
        """What a person should know of the workers, in a few words; or nothing."""
        return ""
