"""Where workers run: here through submitit, or in this process. Changes nothing else."""

from sweeps.dispatch.base import Dispatcher
from sweeps.dispatch.inline import InlineDispatcher
from sweeps.dispatch.local import LocalDispatcher

EXECUTORS: dict[str, type[Dispatcher]] = {"local": LocalDispatcher, "inline": InlineDispatcher}

__all__ = ["EXECUTORS", "Dispatcher", "InlineDispatcher", "LocalDispatcher"]
