"""Where workers run: here, on a cluster, or in this process. Changes nothing else."""

from sweeps.dispatch.base import Dispatcher
from sweeps.dispatch.inline import InlineDispatcher
from sweeps.dispatch.local import LocalDispatcher
from sweeps.dispatch.slurm import SlurmDispatcher

EXECUTORS: dict[str, type[Dispatcher]] = {
    "local": LocalDispatcher,
    "slurm": SlurmDispatcher,
    "inline": InlineDispatcher,
}

__all__ = ["EXECUTORS", "Dispatcher", "InlineDispatcher", "LocalDispatcher", "SlurmDispatcher"]
