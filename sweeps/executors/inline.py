"""Workers in the driver's own process: for tests and the debugger."""

from collections.abc import Sequence
from dataclasses import replace

from sweeps.executors.base import Executor
from sweeps.executors.environment import visible_gpu
from sweeps.worker.worker import INLINE, WorkerSpec, work


class InlineExecutor(Executor):
    """Trains everything before `start` returns; an exception outside of a trial is raised."""

    def start(self, orders: Sequence[WorkerSpec]) -> None:
        """Work off everything."""
        for order in orders:
            told = replace(order, name=INLINE + order.name, visible_gpu=visible_gpu(order.slot))
            work(told, self.after_each)

    def busy(self) -> set[str]:
        """Nothing: `start` has returned."""
        return set()

    def stop(self) -> None:
        """Nothing to stop."""

    def complaint(self) -> str:
        """Nothing: exceptions are raised."""
        return ""
