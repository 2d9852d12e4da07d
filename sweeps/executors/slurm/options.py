"""What is asked of a cluster for each worker."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sweeps.executors.environment import ENVIRONMENT
from sweeps.executors.slurm.lifetime import notice

RESERVED = (
    "array", "job-name", "output", "error", "input", "open-mode", "signal", "requeue", "no-requeue",
    "ntasks", "nodes", "ntasks-per-core", "ntasks-per-gpu", "ntasks-per-node", "ntasks-per-socket",
    "tasks-per-node", "export", "export-file", "wrap", "chdir", "uid", "gid", "ignore-pbs",
    # sbatch must submit one job, to this cluster, say its id, and return.
    "clusters", "cluster-constraint", "wait", "test-only", "quiet", "parsable", "help", "usage",
    "version",
)  # fmt: skip
"""Options of sbatch that this package decides, since it relies on them."""


def is_reserved(key: str) -> bool:
    """Whether an option of sbatch is decided here; sbatch takes the beginning of a name for it.

    >>> is_reserved("clusters"), is_reserved("arr"), is_reserved("wait-all-nodes")
    (True, True, False)
    """
    return any(name.startswith(key) for name in RESERVED)


@dataclass(frozen=True, kw_only=True)
class SlurmOptions:
    """Of each worker, which is a job or a task of an array."""

    time: int = 240
    """Wall time in minutes; a worker that needs more goes back into the queue."""
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    memory: str | None = None
    """As Slurm writes it, such as `8G`; None for the cluster's default."""
    cpus: int = 1
    gpus: int = 0
    constraint: str | None = None
    exclude: str | None = None
    setup: tuple[str, ...] = ()
    """Lines of the script before the worker starts."""
    extra: dict[str, str] = field(default_factory=dict)
    """Any other option of sbatch; an empty value is a flag."""

    def excluded(self, avoid: tuple[str, ...] = ()) -> str:
        """Nodes for no worker, as Slurm takes them: those of the person, and `avoid`."""
        return ",".join(filter(None, (self.exclude, *avoid)))

    def parameters(self, name: str, avoid: tuple[str, ...] = ()) -> dict[str, Any]:
        """For submitit's executor; nodes in `avoid` are excluded too."""
        exports = [f"export {variable}={value}" for variable, value in ENVIRONMENT.items()]
        given = {
            "partition": self.partition,
            "account": self.account,
            "qos": self.qos,
            "mem": self.memory,
            "constraint": self.constraint,
            "exclude": self.excluded(avoid) or None,
            "gpus_per_node": self.gpus or None,
        }
        return {
            **{key: value for key, value in given.items() if value is not None},
            "job_name": name,
            "time": self.time,
            "cpus_per_task": self.cpus,
            "ntasks_per_node": 1,
            "signal_delay_s": int(notice(60.0 * self.time)),
            "setup": [*exports, *self.setup],
            "stderr_to_stdout": True,
            "wckey": None,  # submitit's own would be refused where keys are enforced
            # Since Slurm 22.05 srun does not take --cpus-per-task over from sbatch; and where a
            # site sets --export=NONE the exports above would be lost.
            "srun_args": [f"--cpus-per-task={self.cpus}", "--export=ALL"],
            "additional_parameters": {
                "requeue": True,
                **{key: value or True for key, value in self.extra.items()},
            },
        }


def script(options: SlurmOptions, folder: Path, name: str, workers: int) -> str:
    """The text that sbatch gets for an array of `workers`."""
    from submitit.slurm.slurm import SlurmExecutor

    executor = SlurmExecutor(folder=folder)
    executor.update_parameters(**options.parameters(name), array_parallelism=workers)
    if workers > 1:
        executor.parameters["map_count"] = workers
    return str(executor._make_submission_file_text(executor._submitit_command_str, ""))
