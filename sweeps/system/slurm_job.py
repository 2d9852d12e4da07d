"""The Slurm job of this process, from its environment."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

JOB_NAME = re.compile(r"stability-[0-9a-f]{12}")
"""Names of the jobs that this package submits."""


@dataclass(frozen=True, kw_only=True)
class SlurmJobId:
    """A job, or a task of an array, that this package submitted. Empty anywhere else.

    A local sweep within an allocation of the user's own is no such job.
    """

    job: str = ""
    """`1234`, or `1234_5` for a task of an array."""
    submission: str = ""
    """The job's name: ids can be given twice, after a controller has lost its state."""
    restarts: int = 0
    """How often the job was requeued: it keeps its id."""
    cluster: str = ""
    node: str = ""

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> "SlurmJobId":
        """Read it from the environment of a process.

        >>> array = {"SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "1", "SLURM_JOB_ID": "8"}
        >>> SlurmJobId.of({**array, "SLURM_JOB_NAME": "stability-0123456789ab"}).job
        '7_1'
        >>> SlurmJobId.of({**array, "SLURM_JOB_NAME": "interactive"}).job
        ''
        """
        name = environment.get("SLURM_JOB_NAME", "")
        if "SLURM_JOB_ID" not in environment or not JOB_NAME.fullmatch(name):
            return cls()
        array, task = (environment.get(f"SLURM_ARRAY_{name}_ID") for name in ("JOB", "TASK"))
        return cls(
            job=f"{array}_{task}" if array and task else environment["SLURM_JOB_ID"],
            submission=name,
            restarts=int(environment.get("SLURM_RESTART_COUNT") or 0),
            cluster=environment.get("SLURM_CLUSTER_NAME", ""),
            node=environment.get("SLURMD_NODENAME", ""),
        )

    @classmethod
    def here(cls) -> "SlurmJobId":
        """Of this process."""
        return cls.of(os.environ)


def parse_slurm_time(text: str) -> float | None:
    """Convert a duration as Slurm writes it to seconds; None if it is none.

    >>> [parse_slurm_time(text) for text in ("1-02:03:04", "03:04", "UNLIMITED")]
    [93784.0, 184.0, None]
    """
    if not (found := re.fullmatch(r"(?:(?:(\d+)-)?(\d+):)?(\d+):(\d+)", text)):
        return None
    days, hours, minutes, seconds = (float(part or 0) for part in found.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds
