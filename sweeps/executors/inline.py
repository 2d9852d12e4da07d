"""Workers in the driver's own process: for tests and the debugger."""

from collections.abc import Sequence
from dataclasses import replace

from sweeps.executors.base import Executor
from sweeps.executors.environment import visible_gpu
from sweeps.worker.worker import INLINE, WorkerSpec, work


class InlineExecutor(Executor):
    """Trains everything before `start` returns; an exception outside of a trial is raised."""

    def start(self, specs: Sequence[WorkerSpec]) -> None:
        """Run each worker until no trial is left."""
        for spec in specs:
            name, gpu = INLINE + spec.name, visible_gpu(spec.slot)
            work(replace(spec, name=name, visible_gpu=gpu), self.after_each)

    def busy(self) -> set[str]:
        """Nothing: `start` has returned."""
        return set()

    def stop(self) -> None:
        """Nothing to stop."""

    def last_log_line(self) -> str:
        """Nothing: exceptions are raised."""
        return ""
