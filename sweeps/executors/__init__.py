"""Where workers run: here, on a cluster, or in this process. Changes nothing else."""

from sweeps.executors.base import Executor
from sweeps.executors.inline import InlineExecutor
from sweeps.executors.local import LocalExecutor
from sweeps.executors.slurm.executor import SlurmExecutor

# docs/architecture.md, "Where to add or find things", lists what else changes.
EXECUTORS: dict[str, type[Executor]] = {
    "local": LocalExecutor,
    "slurm": SlurmExecutor,
    "inline": InlineExecutor,
}

__all__ = ["EXECUTORS", "Executor", "InlineExecutor", "LocalExecutor", "SlurmExecutor"]
