"""Workers that end without a result: when another is started in their place, and when no more."""

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from conftest import TESTS, make_toy

from sweeps import checkpoints
from sweeps.design import draw_design
from sweeps.dispatch import InlineDispatcher
from sweeps.driver import BARREN_WORKERS, Driver, Plan
from sweeps.errors import DispatchError
from sweeps.parts import Ledger
from sweeps.run_directory import RunDirectory
from sweeps.worker import Order

MANY = 3 * BARREN_WORKERS


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    study = make_toy()
    directory = RunDirectory(tmp_path / "run")
    directory.create(study, draw_design(study))
    return directory


class Fruitless(InlineDispatcher):
    """Workers of which the first so many only do `instead`."""

    started = 0
    taken = False

    def __init__(self, run: RunDirectory, instead: Callable[[], object]) -> None:
        super().__init__(run, lambda: None)
        self._instead = instead

    def start(self, orders: Sequence[Order]) -> None:
        self.started += 1
        if self.started > MANY:
            super().start(orders)
        else:
            self._instead()

    def was_taken(self, slot: str) -> bool:
        return self.taken


def drive(run: RunDirectory, dispatcher: Fruitless) -> int:
    """How many trials have a result."""
    plan = Plan(slots=("cpu:0",), submission_folder=TESTS)
    Driver(run, run.read_design(), dispatcher, plan).drive()
    ledger = Ledger(run)
    ledger.refresh()
    return len(ledger.records)


def test_workers_that_only_end_are_not_started_for_ever(run: RunDirectory) -> None:
    dispatcher = Fruitless(run, lambda: None)
    with pytest.raises(DispatchError, match="3 workers in a row ended without a result"):
        drive(run, dispatcher)
    assert dispatcher.started == BARREN_WORKERS


def test_a_place_that_was_taken_away_counts_against_nobody(run: RunDirectory) -> None:
    """Preempted, again and again, before the first trial of each job had ended."""
    dispatcher = Fruitless(run, lambda: None)
    dispatcher.taken = True
    assert drive(run, dispatcher) == len(run.read_design())


def test_a_checkpoint_is_progress(run: RunDirectory) -> None:
    """A trial over several wall times, on a cluster that puts no job back into the queue."""

    def keep() -> None:
        path = run.checkpoint("some-trial")
        path.write_bytes(b"state")
        os.utime(path, (time.time() + 1,) * 2)

    assert drive(run, Fruitless(run, keep)) == len(run.read_design())


def test_an_old_checkpoint_is_none(run: RunDirectory) -> None:
    run.checkpoint("some-trial").write_bytes(b"state")
    os.utime(run.checkpoint("some-trial"), (1.0, 1.0))
    assert checkpoints.newest(run) == 1.0
    with pytest.raises(DispatchError, match="in a row ended without a result"):
        drive(run, Fruitless(run, lambda: None))
