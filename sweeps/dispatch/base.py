"""One interface for here and for a cluster."""

from abc import ABC, abstractmethod
from collections.abc import Callable

from sweeps.run_directory import RunDirectory
from sweeps.worker import Order


class Dispatcher(ABC):
    """Starts workers and knows which of those that it started still run."""

    def __init__(self, run: RunDirectory, after_each: Callable[[], None]) -> None:
        self.run = run
        self.after_each = after_each
        """Called after a result by workers that share the driver's process."""

    @abstractmethod
    def start(self, order: Order) -> None:
        """Start a worker. Raises DispatchError where that is not possible."""

    @abstractmethod
    def busy(self) -> set[str]:
        """Slots whose worker, started here, has not ended yet."""

    @abstractmethod
    def stop(self) -> None:
        """Ask the workers that were started here to end, and see to it that they do."""

    @abstractmethod
    def complaint(self) -> str:
        """The last words of a worker that ended badly; empty where there are none."""
