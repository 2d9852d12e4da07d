"""What Slurm says of the jobs of a run directory.

The controller (squeue) is the authority on whether a process can still run: accounting calls a
cancelled job ended while its processes have seconds to live, is often off, and lags. sacct is asked
only why something ended that the controller has forgotten.
"""

import hashlib
import json
import time
import uuid
from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from sweeps.errors import ExecutorError
from sweeps.executors.slurm import commands
from sweeps.store.owner import Owner
from sweeps.store.run_directory import RunDirectory
from sweeps.system.files import atomic_write, parse_json, read_text
from sweeps.system.slurm_job import JOB_NAME
from sweeps.system.trust import is_own_file

MOST_BYTES = 16 << 20
QUEUED = ("PENDING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "SPECIAL_EXIT", "RESV_DEL_HOLD")
ENDED = (
    "BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY",
    "PREEMPTED", "REVOKED", "TIMEOUT",
)  # fmt: skip
STUCK = (
    "launch failed", "JobHoldMaxRequeue", "BadConstraints", "DependencyNeverSatisfied",
    "PartitionTimeLimit", "PartitionNodeLimit",
)  # fmt: skip
"""Reasons for which a queued job never starts of itself. Of nodes that are down or drained, or of
several partitions one of which would do, Slurm gives others."""
FIELDS = ("JobArrayID", "State", "RestartCnt", "Name", "NodeList", "StartTime", "exit_code")


@dataclass(frozen=True, kw_only=True)
class Task:
    """A job or a task of an array, as Slurm sees it."""

    job: str
    state: str
    restarts: int = 0
    submission: str = ""
    node: str = ""
    started: str = ""
    exit_code: str = ""
    reason: str = ""

    @property
    def number(self) -> int:
        """Of a task in its array; 0 of a job alone."""
        return int(self.job.partition("_")[2] or 0)

    @property
    def is_queued(self) -> bool:
        """Whether it waits: nothing of it runs."""
        return self.state in QUEUED

    @property
    def has_ended(self) -> bool:
        """Whether it ended, processes and all; a completing one has not."""
        return self.state in ENDED

    @property
    def is_stuck(self) -> bool:
        """Whether it waits for what will not come."""
        held = self.state in ("REQUEUE_HOLD", "SPECIAL_EXIT")
        reason = self.reason.replace("_", " ")  # by version: launch_failed_requeued_held
        return self.is_queued and (held or reason.startswith(STUCK))


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """The controller's answer at one moment."""

    began: float
    """When it was asked, on the monotonic clock: of what came later it says nothing."""
    cluster: str
    """Its name; empty where it does not say."""
    asked: frozenset[str]
    """Names of the jobs that were asked for: of others it says nothing either."""
    tasks: dict[tuple[str, str], Task]
    """By submission and job."""

    def says_gone(self, owner: Owner, known: Collection[str] = ()) -> bool:
        """Whether no process of `owner`, seen before this was asked, can be running.

        `known`: submissions that this controller has told of. Where it does not say its name, only
        of these it is sure that they are not another cluster's.

        A job that the controller no longer knows has ended. (One that was killed within seconds of
        a submission may have lost the job that it started: that one's claim is then void while it
        runs, it notices that it was taken for dead, and the first result counts.)
        """
        is_its_own = owner.cluster == self.cluster if self.cluster else owner.submission in known
        if not is_its_own or owner.submission not in self.asked:
            return False
        task = self.tasks.get((owner.submission, owner.job))
        return task is None or task.is_queued or task.has_ended or task.restarts > owner.restarts


@dataclass(frozen=True, kw_only=True)
class Submission:
    """One sbatch, written down before it is sent: nothing that Slurm has can be lost sight of."""

    name: str
    """Of the job; unique."""
    cluster: str
    slots: tuple[str, ...]
    """Of each task."""
    workers: tuple[str, ...]
    """Names of each task's workers."""

    def write(self, folder: Path) -> None:
        """Into the folder of the submission."""
        with atomic_write(folder / "slurm.json") as temporary:
            temporary.write_text(json.dumps(asdict(self)), encoding="utf-8")


def submissions(run: RunDirectory, *, own: bool = False) -> list[Submission]:
    """Every sbatch of a run directory; what has a foreign name is none.

    `own`: only what this user wrote, and only jobs that were submitted for this very folder.
    Anybody could write down the name of another job, and a copy of the run directory names those of
    the original: neither may have it cancelled.
    """
    found = []
    for path in sorted(run.jobs.glob("*/slurm.json")):
        if own and not is_own_file(path):
            continue
        submission = _read(path)
        if JOB_NAME.fullmatch(submission.name) and (not own or is_for(run, submission.name)):
            found.append(submission)
    return found


def new_token(run: RunDirectory) -> str:
    """Name of a new folder in `jobs/`, whose first digits (those of the job's name) prove `run`.

    Half of the 12 digits are random, the others a hash of these and of the folder's inode: a
    renamed run directory keeps it, also on other hosts that mount it; a copy has another.
    """
    salt = uuid.uuid4().hex
    return salt[:6] + _mark(run, salt[:6]) + salt[12:]


def is_for(run: RunDirectory, name: str) -> bool:
    """Whether the job of this name was submitted for the folder that `run` is now."""
    digits = name.rpartition("-")[2]
    return digits[6:] == _mark(run, digits[:6])


def _mark(run: RunDirectory, salt: str) -> str:
    inode = run.identity.partition(":")[2]
    return hashlib.sha256(f"{salt} {inode}".encode()).hexdigest()[:6]


def _read(path: Path) -> Submission:
    """What was written down; of a damaged file, the name that its folder gives away."""
    try:
        content = parse_json(read_text(path, MOST_BYTES))
        return Submission(
            name=str(content["name"]),
            cluster=str(content["cluster"]),
            slots=tuple(map(str, content["slots"])),
            workers=tuple(map(str, content["workers"])),
        )
    except (OSError, ValueError, TypeError, KeyError):
        return Submission(name=name_of(path.parent.name), cluster="", slots=(), workers=())


def name_of(token: str) -> str:
    """Of the job whose files lie in the folder of this name."""
    return f"stability-{token[:12]}"


def look(
    names: Iterable[str], cluster: str, patience: float = 20.0, *, began: float | None = None
) -> Snapshot:
    """Ask the controller for the jobs of these names. Raises SlurmAwayError, SlurmRefusedError.

    `began`: when the names were gathered, where that was before; what was submitted since then may
    not be among them.
    """
    began = time.monotonic() if began is None else began
    wanted = sorted({name for name in names if JOB_NAME.fullmatch(name)})
    tasks: dict[tuple[str, str], Task] = {}
    if wanted:
        asked = ",".join(f"{field}:|" for field in (*FIELDS, "Reason"))
        command = ("squeue", "-h", "-a", "-r", "-t", "all", f"--name={','.join(wanted)}")
        answer = commands.run(*command, "-O", asked, patience=patience)
        found = [task for line in answer.splitlines() if (task := read_line(line))]
        tasks = {(task.submission, task.job): task for task in found}
    return Snapshot(began=began, cluster=cluster, asked=frozenset(wanted), tasks=tasks)


def read_line(line: str) -> Task | None:
    """A task, from a line of squeue; None where it is none.

    >>> read_line("7_1|RUNNING|2|stability-0123456789ab|n1|2026-01-02T03:04:05|0|None|").restarts
    2
    """
    parts = [part.strip() for part in line.split("|", len(FIELDS))]
    if len(parts) <= len(FIELDS) or not parts[2].isdigit():
        return None
    job, state, restarts, name, node, started, exit_code, reason = parts
    return Task(
        job=job,
        state=state,
        restarts=int(restarts),
        submission=name,
        node=node,
        started=started,
        exit_code=exit_code,
        reason=reason.rstrip("|"),
    )


def remembered(job: str, submission: str) -> Task | None:
    """What accounting says of a job that the controller has forgotten; None where it is off."""
    fields = "JobID,State,JobName,NodeList,ExitCode"
    try:
        answer = commands.run("sacct", "-n", "-P", "-X", "-j", job, "-o", fields)
    except ExecutorError:
        return None
    for line in answer.splitlines():
        parts = line.split("|")
        if len(parts) == 5 and (parts[0], parts[2]) == (job, submission):
            state = parts[1].partition(" ")[0]  # `CANCELLED by 0`
            return Task(job=job, state=state, submission=submission, node=parts[3],
                        exit_code=parts[4])  # fmt: skip
    return None
