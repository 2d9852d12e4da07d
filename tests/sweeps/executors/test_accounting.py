"""The driver waits for no command of the cluster, accounting least of all."""

import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from drivers import far, seen
from objectives import result
from toys import HELPERS, make_run

from sweeps.driver.driver import DispatchOptions, Driver
from sweeps.executors import InlineExecutor
from sweeps.store import claims
from sweeps.store.owner import Owner
from sweeps.store.parts import Ledger, PartWriter
from sweeps.store.run_directory import RunDirectory
from sweeps.worker.worker import WorkerSpec


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return make_run(tmp_path / "run")


class SlowAccounting(InlineExecutor):
    """The controller knows its job no more, and accounting does not hurry."""

    def __init__(self, run: RunDirectory) -> None:
        super().__init__(run, lambda: None)
        self.looks: list[float] = []
        self.answered = 0.0

    def start(self, orders: Sequence[WorkerSpec]) -> None:
        for trial in self.run.read_design():
            if trial.id not in claims.held(self.run):
                PartWriter(self.run, f"w-{trial.id}").append(result(trial))

    def is_gone(self, owner: Owner) -> bool:
        self.looks.append(time.monotonic())
        return True

    def fault(self, owner: Owner | None) -> tuple[str, str] | None:
        time.sleep(0.5)
        self.answered = time.monotonic()
        return ("out_of_memory", "says sacct")

    def rest(self, seconds: float) -> None:
        time.sleep(0.02)


def test_the_driver_does_not_wait_for_accounting_and_loses_nothing(run: RunDirectory) -> None:
    trial, owner = run.read_design()[0], far()
    dispatcher = SlowAccounting(run)
    driver = Driver(
        run,
        run.read_design(),
        dispatcher,
        DispatchOptions(slots=("cpu:0",), submission_folder=HELPERS),
    )

    def die(ledger: Ledger) -> None:
        if not ledger.rows and not run.claim(trial.id).exists():
            run.claim(trial.id).write_text(owner.to_json())  # its job ends in this moment

    driver.notify = die
    driver.drive()
    found = [(row["outcome"], row["message"]) for row in rows(run) if row["trial"] == trial.id]
    assert found == [("out_of_memory", "says sacct"), ("ok", None)]
    assert len([look for look in dispatcher.looks if look < dispatcher.answered]) > 5
    assert claims.held(run) == {}


def test_accounting_is_asked_only_of_what_the_controller_has_forgotten(run: RunDirectory) -> None:
    dispatcher = InlineExecutor(run, lambda: None)
    assert dispatcher.knows_fault(None)
    assert dispatcher.knows_fault(Owner.this_process("w"))
    assert not dispatcher.knows_fault(far())
    dispatcher.monitor.snapshot = seen("FAILED")
    assert dispatcher.knows_fault(far())
    assert not dispatcher.knows_fault(far(job="8"))


def rows(run: RunDirectory) -> list[dict[str, object]]:
    ledger = Ledger(run)
    ledger.refresh()
    return ledger.rows
