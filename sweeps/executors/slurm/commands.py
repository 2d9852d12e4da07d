"""Slurm's commands, each with a time limit: a controller that is away must never block us."""

import re
import shutil
import subprocess
from collections.abc import Iterable, Sequence

from sweeps.errors import ExecutorError

NEEDED = ("sbatch", "squeue", "scancel", "scontrol", "srun")
PATIENCE_SECONDS = 20.0  # Slurm's own MessageTimeout is 10 s
AWAY = re.compile(
    r"unable to contact|connection refused|timed? ?out|connect failure|not responding|"
    r"communication|unable to establish|zero bytes|in standby|try again|temporarily un|"
    r"could not establish a configuration source|munge|authentication|unable to resolve|"
    r"lookup failure|connection reset|unreachable|no route to host",
    re.IGNORECASE,
)
"""What commands say where the controller does not answer, as opposed to refusing."""
LIMIT = re.compile(r"(QOS|Assoc)\w*Submit\w*Limit")
"""What sbatch says where a person has as many jobs as a site allows: `AssocMaxSubmitJobLimit`."""


class SlurmAwayError(ExecutorError):
    """Slurm does not answer: nothing is known, and nothing may be concluded from it."""


class SlurmRefusedError(ExecutorError):
    """Slurm answered, and refused."""


class SlurmFullError(SlurmRefusedError):
    """Slurm takes no more jobs of this person as long as those that it has are not done."""


def run(*command: str, patience: float = PATIENCE_SECONDS) -> str:
    """What a Slurm command prints.

    Raises SlurmAwayError where there is no answer in time, SlurmRefusedError with Slurm's own
    words where it refuses.
    """
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=patience, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise SlurmAwayError(f"{command[0]} has not answered for {patience:.2g} s") from error
    except OSError as error:
        raise SlurmAwayError(f"{command[0]} cannot be run: {error.strerror}") from error
    if done.returncode == 0:
        return done.stdout
    raise refusal(done.stderr or done.stdout or f"{command[0]} ended with {done.returncode}")


def refusal(words: str) -> ExecutorError:
    """The error that a command's words stand for.

    >>> refusal("sbatch: error: Unable to contact slurm controller (connect failure)")
    SlurmAwayError('Unable to contact slurm controller (connect failure)')
    >>> refusal("sbatch: error: invalid partition specified: none")
    SlurmRefusedError('invalid partition specified: none')
    >>> refusal("sbatch: error: AssocMaxSubmitJobLimit")
    SlurmFullError('AssocMaxSubmitJobLimit')
    """
    lines = [line.strip() for line in words.strip().splitlines() if line.strip()] or [""]
    said = [re.sub(r"^\w+: (fatal: |error: )?", "", line) for line in lines]
    text = said[0] if len(said) == 1 or said[0] in said[-1] else f"{said[0]}; {said[-1]}"
    if AWAY.search(words):
        return SlurmAwayError(text)
    return SlurmFullError(text) if LIMIT.search(words) else SlurmRefusedError(text)


def missing() -> list[str]:
    """Those of Slurm's commands that are needed and not on this machine."""
    return [name for name in NEEDED if shutil.which(name) is None]


def config(patience: float = PATIENCE_SECONDS) -> dict[str, str]:
    """The cluster's configuration; empty where a site lets nobody see it. Raises SlurmAwayError."""
    try:
        lines = run("scontrol", "show", "config", patience=patience).splitlines()
    except SlurmRefusedError:
        return {}
    pairs = (line.partition("=") for line in lines if "=" in line)
    return {name.strip(): value.strip() for name, _, value in pairs}


def largest_array(settings: dict[str, str]) -> int:
    """How many tasks one array may have: MaxArraySize and max_array_tasks.

    >>> largest_array({"MaxArraySize": "1001", "SchedulerParameters": "max_array_tasks=40,x=1"})
    40
    """
    sizes = [int(settings.get("MaxArraySize", "1001"))]  # Slurm's own default
    found = re.search(r"max_array_tasks=(\d+)", settings.get("SchedulerParameters", ""))
    return max(1, min([*sizes, *([int(found[1])] if found else [])]))


def cancel(jobs: Sequence[str]) -> None:
    """End jobs, queued or running. Raises SlurmAwayError; jobs that have ended are no error."""
    if not jobs:
        return
    try:
        run("scancel", *jobs)
    except SlurmRefusedError as error:
        if "nvalid job id" not in str(error):
            raise


def exclude(jobs: Sequence[str], nodes: str) -> None:
    """Have queued jobs begin on none of `nodes`, whatever they excluded before.

    Raises SlurmAwayError; SlurmRefusedError where some have begun or ended, after the others.
    """
    run("scontrol", "update", f"JobId={job_list(jobs)}", f"ExcNodeList={nodes}")


def job_list(jobs: Iterable[str]) -> str:
    """As scontrol takes them: one by one, the tasks of an array would be as many requests.

    >>> job_list(["7_0", "8", "7_2"])
    '7_[0,2],8'
    """
    tasks: dict[str, list[str]] = {}
    for job in jobs:
        array, _, task = job.partition("_")
        tasks.setdefault(array, []).extend([task] if task else [])
    return ",".join(f"{a}_[{','.join(t)}]" if t else a for a, t in tasks.items())


def requeue(job: str) -> None:
    """Put a running job back into the queue. Raises ExecutorError where Slurm refuses."""
    run("scontrol", "requeue", job, patience=60.0)
