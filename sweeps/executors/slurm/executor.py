"""Workers as arrays of submitit jobs on a Slurm cluster.

Everything that may wait for Slurm happens in threads: the driver goes by the latest snapshot.
"""

import os
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from sweeps.errors import ExecutorError
from sweeps.executors.base import Executor
from sweeps.executors.slurm import commands
from sweeps.executors.slurm.jobs import Submission, Task, name_of, new_token, submissions
from sweeps.executors.slurm.lifetime import work_in_slurm
from sweeps.executors.slurm.options import SlurmOptions
from sweeps.store import claims
from sweeps.store.run_directory import RunDirectory
from sweeps.system.files import last_lines
from sweeps.system.trust import check_exclusive, private_folder
from sweeps.words import count
from sweeps.worker.worker import WorkerSpec

AGAIN_SECONDS = 20.0  # after what Slurm did not take
STOP_SECONDS = 90.0  # for jobs to end after scancel: KillWait is 30 s where nobody changed it
LEAVE_SECONDS = 5.0  # for workers with nothing left to do to end of themselves

SAID_BY_JOBS = ("SUBMITIT_", "SLURM_", "SLURMD_", "SRUN_", "SBATCH_MEM_BIND", "SBATCH_CPU_BIND")
"""How the variables begin that Slurm sets in a job and its steps."""
OF_THE_CLUSTER = ("SLURM_CONF", "SLURM_CONF_SERVER", "SLURM_JWT", "SLURM_CLUSTERS")
"""Which cluster answers, and to whom; no job sets them."""


class SlurmExecutor(Executor):
    """Keeps workers queued or running; submitit's results and states are never asked."""

    def __init__(
        self, run: RunDirectory, after_each: Callable[[], None], options: SlurmOptions
    ) -> None:
        super().__init__(run, after_each)
        self.options = options
        self._specs: list[WorkerSpec] = []
        """Not yet with Slurm: being submitted, or to be tried again."""
        self._submitted: dict[str, tuple[str, float]] = {}
        """Submission and time of the last worker of each slot."""
        self._records: dict[str, Submission] = {}
        self._thread: threading.Thread | None = None
        self._error: ExecutorError | None = None
        self._next_try = 0.0
        self._avoid: tuple[str, ...] = ()
        self._told: set[tuple[str, int]] = set()
        """Jobs, each with its restarts, that were told in the queue which nodes to avoid."""
        self._telling: threading.Thread | None = None
        self._stuck: dict[str, Task] = {}
        """By job: those that were cancelled as they would never start, as they were."""

    def settle(self) -> None:
        """One question now, then a thread that goes on asking."""
        self.monitor.see([*claims.held(self.run).values(), *claims.workers(self.run)])
        self.monitor.refresh()
        self.monitor.watch()

    def start(self, specs: Sequence[WorkerSpec]) -> None:
        """Hand over to the thread that submits; `refusal` is what it met.

        Raises StoreError where others could exchange what the workers load.
        """
        check_exclusive(self.run.path, self.run.jobs)
        self._specs += specs
        self._submit_again()

    def busy(self) -> set[str]:
        """Slots whose worker is being submitted, queued or running, an earlier driver's too."""
        self._submit_again()
        # In this order: what is accepted meanwhile is among the one or the other.
        slots = {spec.slot for spec in list(self._specs)} | self._unanswered()
        alive = self._alive()
        self._cancel_stuck(alive)
        self._exclude_from_queued(alive)
        return slots | {slot for task in alive if (slot := self._slot(task))}

    def refusal(self) -> ExecutorError | None:
        """What Slurm said at the last submission, where it is final and none of ours lives.

        A limit of jobs is final where none was ever accepted: then it is not they who fill it.
        """
        error = self._error
        if error is None or isinstance(error, commands.SlurmAwayError):
            return None
        was_one_accepted = self._submitted or self.monitor.tasks()
        if isinstance(error, commands.SlurmFullError) and was_one_accepted:
            return None
        if self._unanswered() or self._alive():
            return None
        return ExecutorError(f"Slurm refuses the workers: {error}")

    def _unanswered(self) -> set[str]:
        """Slots whose worker was accepted after Slurm's last answer was asked for: it lives."""
        began = self.monitor.snapshot.began if self.monitor.snapshot else 0.0
        return {slot for slot, (_, when) in list(self._submitted.items()) if when >= began}

    def queued(self) -> set[str]:
        """Slots whose worker waits for its turn."""
        running = {self._slot(task) for task in self._alive() if not task.is_queued}
        return self.busy() - {slot for slot in running if slot}

    def _alive(self) -> list[Task]:
        return [task for task in self.monitor.tasks() if not task.has_ended]

    def _own(self, tasks: list[Task]) -> list[Task]:
        """Those that may be changed or cancelled: submitted by this user for this folder."""
        ours = {submission.name for submission in submissions(self.run, own=True)} if tasks else ()
        return [task for task in tasks if task.submission in ours]

    def _slot(self, task: Task) -> str | None:
        """The slot of a task, by what was written when it was submitted."""
        if task.submission not in self._records:
            self._records = {record.name: record for record in submissions(self.run)}
        record = self._records.get(task.submission)
        return record.slots[task.number] if record and task.number < len(record.slots) else None

    def _submit_again(self) -> None:
        """Start the submitting thread where there is something to submit and it is time."""
        if self._thread is not None and self._thread.is_alive():
            return
        if self._specs and time.monotonic() >= self._next_try:
            self._thread = threading.Thread(target=self._submit, daemon=True, name="sbatch")
            self._thread.start()

    def _submit(self) -> None:
        try:
            largest = commands.largest_array(commands.config())
            while self._specs:
                batch = self._specs[:largest]
                self._send(batch)
                del self._specs[: len(batch)]
            self._error = None
        except ExecutorError as error:
            self._error = error
        except Exception as error:  # submitit's, which carries what sbatch said
            said = re.search(r"sbatch: error: .*", str(error), re.DOTALL)
            self._error = commands.refusal(said[0] if said else str(error))
        self._next_try = time.monotonic() + (AGAIN_SECONDS if self._error else 0)

    def _send(self, specs: list[WorkerSpec]) -> None:
        """One sbatch. What it stands for is written down first."""
        from submitit.slurm.slurm import SlurmExecutor

        token = new_token(self.run)
        folder = self.run.jobs / token
        private_folder(folder, self.run.path)  # submitit's pickles
        name = name_of(token)
        record = Submission(
            name=name,
            cluster=self.monitor.cluster(),
            slots=tuple(spec.slot for spec in specs),
            workers=tuple(spec.name for spec in specs),
        )
        record.write(folder)
        executor = SlurmExecutor(folder=folder)
        executor.update_parameters(
            **self.options.parameters(name, self._avoid), array_parallelism=len(specs)
        )
        with outside_of_jobs(), executor.batch():
            for spec in specs:
                executor.submit(work_in_slurm, spec)
        now = time.monotonic()
        self._submitted |= {spec.slot: (name, now) for spec in specs}

    def _cancel_stuck(self, tasks: list[Task]) -> None:
        """What never starts of itself must not hold a slot for ever."""
        stuck = [task for task in tasks if task.is_stuck and task.job not in self._stuck]
        new = {task.job: task for task in self._own(stuck)}
        if new:
            self._stuck |= new
            threading.Thread(target=self._end, args=(list(new),), daemon=True).start()

    def _end(self, stuck: list[str]) -> None:
        if not quietly(stuck):
            for job in stuck:  # again at the next look
                del self._stuck[job]

    def avoid(self, hosts: Sequence[str]) -> None:
        """Exclude these nodes from the next submissions, and from what is queued then."""
        if not set(hosts) <= set(self._avoid):
            self._told.clear()
        self._avoid = tuple(hosts)

    def _exclude_from_queued(self, tasks: list[Task]) -> None:
        """What was submitted before a node went bad must not begin there.

        A job that ran meanwhile and is back in the queue has the list that it had.
        """
        if not self._avoid or (self._telling is not None and self._telling.is_alive()):
            return
        queued = [t for t in tasks if t.is_queued and (t.job, t.restarts) not in self._told]
        new = self._own(queued)
        if new:
            self._told |= {(task.job, task.restarts) for task in new}
            self._telling = threading.Thread(
                target=self._tell, args=(new, self._avoid), daemon=True, name="scontrol"
            )
            self._telling.start()

    def _tell(self, queued: list[Task], avoid: tuple[str, ...]) -> None:
        """A refusal costs nothing: who has begun on a bad node ends of itself."""
        try:
            commands.exclude([task.job for task in queued], self.options.excluded(avoid))
        except commands.SlurmAwayError:
            time.sleep(AGAIN_SECONDS)
            self._told.difference_update((task.job, task.restarts) for task in queued)
        except ExecutorError:
            pass

    def stop(self) -> None:
        """Cancel every job of the run, and wait until Slurm says that they ended."""
        self.monitor.close()
        self._specs = []
        if self._thread is not None:
            self._thread.join(STOP_SECONDS)
        start, cancelled = time.monotonic(), set[str]()
        workers, in_hurry = claims.workers(self.run), bool(claims.held(self.run))
        while time.monotonic() - start < STOP_SECONDS:
            asked = self.monitor.refresh()
            alive = self._own(self._alive())
            if asked and not alive:
                self.ended = {owner.name for owner in workers if owner.job in cancelled}
                return
            patience_is_over = in_hurry or time.monotonic() - start > LEAVE_SECONDS
            jobs = [t.job for t in alive if t.is_queued or patience_is_over]
            if set(jobs) - cancelled and quietly(jobs):
                cancelled |= set(jobs)
            time.sleep(0.5)
        alive = self._own(self._alive())
        names = ", ".join(sorted({task.job.partition("_")[0] for task in alive}))
        self.closing_note = (
            f"not confirmed by Slurm ({self.monitor.trouble or 'still completing'}): the end of "
            f"jobs {names or 'of this run'}; stability cancel {self.run.path} tries again"
        )

    def detach(self) -> None:
        """Wait until Slurm has the workers. Raises ExecutorError where it does not take them."""
        while self._thread is not None and self._thread.is_alive():
            self._thread.join(1.0)
        self.monitor.close()
        if self._error is not None:
            count = f"{len(self._specs)} of the" if self._submitted else "the"
            raise ExecutorError(f"Slurm does not take {count} workers: {self._error}")

    def last_log_line(self) -> str:
        """Last line of the newest log of a job that ended, or Slurm's word on it."""
        ended = [task for task in self.monitor.tasks() if task.has_ended]
        for task in sorted(ended, key=lambda task: task.started, reverse=True):
            # Of an array that is cancelled before it starts one record is left, without numbers.
            alike = [t for t in list(self._stuck.values()) if t.submission == task.submission]
            if alike and task.state == "CANCELLED":
                why = alike[-1].reason or alike[-1].state
                return f"Slurm job {task.job}: cancelled, as it would never start: {why}"
            if line := last_line(self._log(task)):
                return line
        return f"Slurm job {ended[-1].job}: {ended[-1].state}" if ended else ""

    def _log(self, task: Task) -> Path:
        token = task.submission.partition("-")[2]
        return next(self.run.jobs.glob(f"{token}*/{task.job}_0_log.out"), self.run.jobs / "none")

    def state(self) -> str:
        """How many workers run and wait, and for what."""
        alive = self._alive()
        reasons = Counter(task.reason for task in alive if task.is_queued)
        running = sum(not task.is_queued for task in alive)
        words = [f"{count(running, 'worker')} running"] if running else []
        words += [f"{n} queued ({reason})" for reason, n in reasons.most_common(2)]
        words += [f"left out: {', '.join(self._avoid)}"] if self._avoid else []
        if trouble := str(self._error or self.monitor.trouble):
            words.append(f"Slurm: {trouble}")
        return ", ".join(words)


@contextmanager
def outside_of_jobs() -> Iterator[None]:
    """Without what a job around us says of itself, which sbatch would hand on to the workers.

    sbatch and srun read options from the same names: seen with SLURM_HINT and SLURM_DISTRIBUTION of
    the job around. What a person sets for sbatch (SBATCH_ACCOUNT and its like) stays, and on a
    login node all but submitit's. submitit's `clean_env` takes SLURM_CONF away too, and with it the
    cluster.
    """
    is_in_a_job = "SLURM_JOB_ID" in os.environ or "SLURM_JOBID" in os.environ
    said = SAID_BY_JOBS if is_in_a_job else ("SUBMITIT_",)
    taken = {
        name: os.environ.pop(name)
        for name in list(os.environ)
        if name.startswith(said) and name not in OF_THE_CLUSTER
    }
    try:
        yield
    finally:
        os.environ.update(taken)


def quietly(jobs: list[str]) -> bool:
    """Cancel; False where Slurm does not do it now."""
    try:
        commands.cancel(jobs)
    except ExecutorError:
        return False
    return True


def last_line(log: Path) -> str:
    """Of a file; empty where there is none."""
    # submitit's own lines begin with its name, srun's with its own.
    said = [
        line
        for line in last_lines(log)
        if line.strip() and not line.startswith(("submitit ", "srun:"))
    ]
    return said[-1].strip() if said else ""
