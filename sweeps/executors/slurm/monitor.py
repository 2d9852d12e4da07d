"""Who is provably gone, asked of Slurm without waiting for it."""

import threading
import time
from collections.abc import Iterable

from sweeps.errors import ExecutorError
from sweeps.executors.slurm import commands
from sweeps.executors.slurm.jobs import Snapshot, Task, look, remembered, submissions
from sweeps.store import claims
from sweeps.store.owner import Owner
from sweeps.store.run_directory import RunDirectory

SHARE = 50  # of the time between two questions, at most a fiftieth is spent by the controller
SHORT_SECONDS = 0.1  # that squeue has at least, where another command took the patience
BETWEEN_SECONDS = (2.0, 60.0)

TAKEN = ("NODE_FAIL", "BOOT_FAIL", "PREEMPTED", "REVOKED")
"""Ends of a job whose place was taken away."""
NO_FAULT = ("CANCELLED", *TAKEN, "DEADLINE")
"""Ends that say nothing about the trial in hand: it is trained again and counts no failure."""
OUTCOMES = {"OUT_OF_MEMORY": "out_of_memory", "TIMEOUT": "timed_out"}


class JobMonitor:
    """Keeps the latest snapshot; judges owners by this system's processes and by Slurm.

    An owner is judged only by a snapshot that was asked for after the owner had been seen: an older
    one may show a job in the queue that has begun since.
    """

    def __init__(self, run: RunDirectory) -> None:
        self.run = run
        self.snapshot: Snapshot | None = None
        self.trouble = ""
        """Why the last question had no answer; empty where it had one."""
        self._seen: dict[Owner, float] = {}
        self._unexplained: dict[str, set[Owner]] = {}
        """By trial: who had it in hand when they ended, nobody knows why."""
        self._known: set[str] = set()
        """Submissions of which the controller has told."""
        self._cluster: str | None = None
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def is_gone(self, owner: Owner) -> bool:
        """Whether no process of `owner` can be running; False also where nothing is known."""
        if owner.is_gone:
            return True
        if not owner.job or owner.is_visible:
            return False
        seen = self._seen.setdefault(owner, time.monotonic())
        snapshot = self.snapshot
        if snapshot is None or snapshot.began <= seen:
            return False
        return snapshot.says_gone(owner, self._known)

    def see(self, owners: Iterable[Owner | None]) -> None:
        """Remember that they were there: the next snapshot judges them."""
        for owner in owners:
            if owner is not None and owner.job:
                self._seen.setdefault(owner, time.monotonic())

    def refresh(self, patience: float = commands.PATIENCE_SECONDS) -> bool:
        """Ask now, for `patience` seconds in all; False where there is no answer.

        Asked for is what was written down here, and what the owners say that were seen: where a
        file in `jobs/` is damaged or gone, its jobs run on.
        """
        began = time.monotonic()
        try:
            names = {submission.name for submission in submissions(self.run)}
            names |= {owner.submission for owner in list(self._seen)}
            if names:
                cluster = self.cluster(patience)
                left = max(SHORT_SECONDS, began + patience - time.monotonic())
                snapshot = look(names, cluster, left, began=began)
                self._known |= {task.submission for task in snapshot.tasks.values()}
                self.snapshot = snapshot
        except (ExecutorError, OSError) as error:
            self.trouble = str(error)
            return False
        self.trouble = ""
        return True

    def cluster(self, patience: float = commands.PATIENCE_SECONDS) -> str:
        """Name of the cluster that answers here, empty where not told. Raises SlurmAwayError."""
        if self._cluster is None:
            self._cluster = commands.config(patience).get("ClusterName", "")
        return self._cluster

    def watch(self) -> None:
        """Ask again and again, in a thread of its own."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._watch, daemon=True, name="squeue")
            self._thread.start()

    def _watch(self) -> None:
        while not self._stop.is_set():
            start = time.monotonic()
            self.refresh()
            low, high = BETWEEN_SECONDS
            self._stop.wait(min(high, max(low, SHARE * (time.monotonic() - start))))

    def close(self) -> None:
        """Ask no more."""
        self._stop.set()

    def tasks(self) -> list[Task]:
        """Jobs of this run that Slurm knows, as of the last answer."""
        return list(self.snapshot.tasks.values()) if self.snapshot else []

    def fault(self, owner: Owner) -> tuple[str, str] | None:
        """Outcome and message for the trial that a gone `owner` had in hand; None for no fault."""
        task = self.end_of(owner)
        if task is None:
            return self._unexplained_again(owner)
        if task.is_queued or task.restarts > owner.restarts or task.state in NO_FAULT:
            return None
        outcome = OUTCOMES.get(task.state, "crashed")
        return outcome, (
            f"its worker ended without a result: Slurm job {owner.job} on {owner.node} "
            f"{task.state} (exit {task.exit_code or 'unknown'})"
        )

    def _unexplained_again(self, owner: Owner) -> tuple[str, str] | None:
        """An end of which nobody knows why is a fault from the second one on for the same trial.

        Once, a node or a controller that lost its records may be behind it; but a trial that kills
        its worker must not be tried for ever. Asked while the claims of `owner` stand.
        """
        in_hand = [trial for trial, holder in claims.held(self.run).items() if holder == owner]
        for trial in in_hand:
            self._unexplained.setdefault(trial, set()).add(owner)
        if not any(len(self._unexplained[trial]) > 1 for trial in in_hand):
            return None
        return "crashed", (
            f"its worker ended without a result, not the first one: Slurm job {owner.job} on "
            f"{owner.node}, of which Slurm knows nothing any more"
        )

    def end_of(self, owner: Owner) -> Task | None:
        """The owner's job, by the controller or, once it has forgotten, by accounting."""
        key = (owner.submission, owner.job)
        known = self.snapshot.tasks.get(key) if self.snapshot else None
        return known or remembered(*reversed(key))
