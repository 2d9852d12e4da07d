"""A worker's time in a Slurm job: takes what fits, gives back what does not, returns to the queue.

Signals: SIGUSR2 comes before the wall time ends and before a preemption (`--signal`), SIGTERM with
scancel. After SIGUSR2 a training goes on to the end of its epoch where that is near, and its state
is kept. Then, or at once, it unwinds through the worker, which gives its claim back. The handlers
are not submitit's, which take a refused requeue for an error of the training, and count every
signal of a job under ten minutes as a time-out.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from types import FrameType

from sweeps.errors import ChangedCodeError, ExecutorError
from sweeps.executors.slurm import commands
from sweeps.store.parts import Ledger
from sweeps.study.trial import TRAINED, Result, Trial
from sweeps.system.slurm_job import SlurmJobId, parse_slurm_time
from sweeps.worker.worker import AskedToEnd, JobLifetime, OutOfTimeError, WorkerSpec, work

RESERVE = 1.2  # a trial may take so many times what its like took
BARREN = 3  # so many failures and nothing trained: it is the node
PATIENCE = 0.8  # of the notice, for the epoch to end: the rest is for the way back into the queue
COARSE_SECONDS = 60.0  # Slurm may send its signal so much earlier than asked for


SIGNALS = (signal.SIGTERM, signal.SIGUSR2, signal.SIGALRM)


def notice(wall_seconds: float | None) -> float:
    """How long before the end of its wall time a job asks to be told.

    >>> notice(3600), notice(60), notice(None)
    (60.0, 15.0, 60.0)
    """
    return 60.0 if wall_seconds is None else min(60.0, wall_seconds / 4)


class SlurmJobLifetime(JobLifetime):
    """Lifetime of a worker in a Slurm job, which may end at any signal."""

    def __init__(self, seconds: float | None, node: str = "") -> None:
        """`seconds`: wall time that is left; None for no limit. `node`: where the job runs."""
        self.node = node
        self.begun = time.monotonic()
        self.patience = PATIENCE * notice(seconds)
        """Seconds that a training may go on after a signal."""
        self.ends = None if seconds is None else self.begun + seconds - notice(seconds)
        self.wants_more = False
        """Whether work was left for which there was no time: back into the queue."""
        self._per_epoch: dict[str, float] = {}
        """Longest seconds per epoch of what this worker has trained, by model."""
        self._training: Trial | None = None
        self._since = self.begun
        self._taken = self._trained = self._failed = 0
        self._has_progressed = False
        """Whether a checkpoint was made: of the first trial, where nothing else was taken."""
        self._is_over = self._stops_at_epoch = False
        self._epoch_began = self.begun
        self._longest_epoch: float | None = None
        """Seconds, of the training in hand; None where none has ended yet."""

    @property
    def left(self) -> float:
        """Seconds until Slurm's signal is due."""
        return float("inf") if self.ends is None else self.ends - time.monotonic()

    def fits(self, trial: Trial, ledger: Ledger) -> bool:
        """Whether there is time for `trial`. The first of a job always gets its chance."""
        if self._taken and RESERVE * self.expected(trial, ledger) > self.left:
            self.wants_more = True
            return False
        return True

    def expected(self, trial: Trial, ledger: Ledger) -> float:
        """Seconds that `trial` should take: by its model here, else by anything anywhere."""
        if trial.model in self._per_epoch:
            return trial.epochs * self._per_epoch[trial.model]
        if self._per_epoch:
            return trial.epochs * max(self._per_epoch.values())
        return ledger.longest

    def begin(self, trial: Trial) -> None:
        """It is trained from now on."""
        self._training, self._since = trial, time.monotonic()
        self._epoch_began, self._longest_epoch = self._since, None
        self._taken += 1

    def epoch_ended(self) -> bool:
        """Remember how long it took; whether the training ends here."""
        if threading.current_thread() is not threading.main_thread():
            return False  # of several side by side: what is raised would not end the others
        now = time.monotonic()
        self._longest_epoch = max(self._longest_epoch or 0.0, now - self._epoch_began)
        self._epoch_began = now
        return self._stops_at_epoch

    def progressed(self) -> None:
        """Its state was kept: the next job goes on from here. Raises AskedToEnd."""
        self._has_progressed = True
        if self._stops_at_epoch:
            signal.setitimer(signal.ITIMER_REAL, 0.0)
            raise AskedToEnd(0)

    def can_end_epoch(self) -> bool:
        """Whether the epoch in hand ends soon enough after a signal; if so, the training does."""
        if self._training is None or self._longest_epoch is None:
            return False
        left = RESERVE * self._longest_epoch - (time.monotonic() - self._epoch_began)
        if 0 < left < self.patience:
            self.wants_more = self._is_over = self._stops_at_epoch = True
        return self._stops_at_epoch

    def end(self, result: Result, seconds_before: float = 0.0) -> None:
        """It has ended: remember how long it took."""
        trial, self._training = self._training, None
        if trial is None or result.outcome not in TRAINED:
            self._failed += 1
            return
        self._trained += 1
        seconds = (seconds_before + time.monotonic() - self._since) / max(1, trial.epochs)
        self._per_epoch[trial.model] = max(self._per_epoch.get(trial.model, 0.0), seconds)

    def is_over(self, ledger: Ledger) -> bool:
        """Whether a signal came, or everything fails here."""
        if (why := ledger.hosts.bad.get(self.node)) is not None:
            print(f"{self.node}: {why}; nothing more is trained here", file=sys.stderr)
            self._is_over = True
        return self._is_over or (self._failed >= BARREN and not self._trained)

    def signalled(self) -> None:
        """Slurm wants the place back. Raises what unwinds through the training.

        A trial that had all of the wall time has timed out, unless a checkpoint was made in it.
        """
        self.wants_more, self._is_over = True, True
        time_is_up = self.left < COARSE_SECONDS
        had_all = self._training is not None and self._taken == 1
        if time_is_up and had_all and not self._has_progressed:
            minutes = (time.monotonic() - self.begun) / 60
            raise OutOfTimeError(
                "neither ended nor made a checkpoint within the wall time: "
                f"{minutes:.1f} minutes in, Slurm asked for the place; a longer --time is needed"
            )
        raise AskedToEnd(0)


def work_in_slurm(spec: WorkerSpec) -> int:
    """`work` as a job: returns to the queue where there was no time for what is left."""
    place, pid = SlurmJobId.here(), os.getpid()
    left = seconds_left(place.job)
    lifetime = SlurmJobLifetime(spec.wall_seconds if left is None else left, place.node)

    def stop(signum: int, frame: FrameType | None) -> None:
        if os.getpid() != pid:  # a child, of a data loader: not ours to handle
            return
        if signum == signal.SIGUSR2 and lifetime.can_end_epoch():
            signal.signal(signal.SIGUSR2, signal.SIG_IGN)
            signal.signal(signal.SIGALRM, stop)
            signal.setitimer(signal.ITIMER_REAL, lifetime.patience)
            return
        ignore(SIGNALS)  # a second one must not cut this short
        if signum == signal.SIGTERM:
            lifetime.wants_more = False  # cancelled; whom it preempts, Slurm takes back of itself
            raise AskedToEnd(0)
        lifetime.signalled()

    for number in (signal.SIGTERM, signal.SIGUSR2):
        signal.signal(number, stop)
    try:
        return work(spec, lifetime=lifetime)
    except ChangedCodeError as error:
        print(error, file=sys.stderr)
        return 0
    finally:
        ignore(SIGNALS)
        if lifetime.wants_more:
            back_to_the_queue(place.job)


def ignore(numbers: Sequence[signal.Signals]) -> None:
    """From now on."""
    for number in numbers:
        signal.signal(number, signal.SIG_IGN)


def back_to_the_queue(job: str) -> None:
    """The same job again, later; where Slurm refuses, the driver or `resume` starts another."""
    try:
        commands.requeue(job)
    except ExecutorError as error:
        print(f"not put back into the queue: {error}", file=sys.stderr)


def seconds_left(job: str, environment: Mapping[str, str] = os.environ) -> float | None:
    """Wall time that is left to a job; None where it has no limit or Slurm does not say."""
    if end := environment.get("SLURM_JOB_END_TIME"):  # Slurm 23.02 and later
        return float(end) - time.time()
    try:
        answer = commands.run("squeue", "-h", "-j", job, "-O", "TimeLeft:|")
    except ExecutorError:
        return None
    return parse_slurm_time(answer.strip().rstrip("|"))
