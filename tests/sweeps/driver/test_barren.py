"""Workers that bring nothing close their slot; those that are told to end do not."""

import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path

import long_trials
import pyarrow.parquet as pq
import pytest
from drivers import drive_inline
from objectives import result
from toys import HELPERS, make_run

from sweeps.driver.crash_loop import CrashLoop
from sweeps.driver.driver import DispatchOptions, Driver
from sweeps.errors import ExecutorError
from sweeps.executors import InlineExecutor, LocalExecutor
from sweeps.executors.slurm.jobs import Snapshot, Submission, Task
from sweeps.store import checkpoints, claims, views
from sweeps.store.owner import Owner
from sweeps.store.parts import Ledger, PartWriter
from sweeps.worker.worker import WorkerSpec

EPOCHS = 6


def never(worker: str) -> bool:
    return False


def always(worker: str) -> bool:
    return True


def test_who_brings_nothing_closes_its_slot_and_who_brings_something_opens_it(
    tmp_path: Path,
) -> None:
    run = make_run(tmp_path / "run")
    barren, (trial, other) = CrashLoop(run), run.read_design()[:2]
    for name in "abc":
        assert not barren.is_closed("cpu:0")
        barren.ended("cpu:0", name, never)
    assert barren.is_closed("cpu:0")
    assert not barren.is_closed("cpu:1")
    PartWriter(run, "d-r1").append(result(trial))  # after it was put back into the queue
    barren.ended("cpu:0", "d", never)
    assert barren.in_a_row["cpu:0"] == 0
    barren.ended("cpu:0", "e", always)  # its place was taken away before it began
    barren.see({trial.id: (owner := Owner.this_process("f-r1"))})
    barren.ended("cpu:0", "f", never)  # it gave its trial back
    assert barren.in_a_row["cpu:0"] == 0
    barren.crashed(owner)
    barren.ended("cpu:0", "f", never)
    assert barren.in_a_row["cpu:0"] == 1
    barren.see({other.id: owner})
    run.checkpoints.mkdir(exist_ok=True)
    run.checkpoint(trial.id).touch()  # of a trial that is in other hands by now
    barren.ended("cpu:0", "f", never)
    assert barren.in_a_row["cpu:0"] == 2
    run.checkpoint(other.id).touch()
    barren.ended("cpu:0", "f", never)
    assert barren.in_a_row["cpu:0"] == 0


@pytest.mark.parametrize(
    ("job", "state", "taken"),
    [
        ("7_1", "PREEMPTED", True),
        ("7_1", "NODE_FAIL", True),
        ("7_0", "NODE_FAIL", False),  # another worker's
        ("7_1", "CANCELLED", False),  # as is a job that could never begin
        ("7_1", "FAILED", False),
    ],
)
def test_whose_place_was_taken_away(tmp_path: Path, job: str, state: str, taken: bool) -> None:
    run, name = make_run(tmp_path / "run"), "stability-0123456789ab"
    (run.jobs / "f").mkdir()
    slots = ("cpu:0", "cpu:1")
    Submission(name=name, cluster="c", slots=slots, workers=("v", "w")).write(run.jobs / "f")
    dispatcher = InlineExecutor(run, lambda: None)
    assert not dispatcher.was_taken("w")
    task = Task(job=job, state=state, submission=name)
    dispatcher.monitor.snapshot = Snapshot(
        began=0.0, cluster="c", asked=frozenset(), tasks={(name, job): task}
    )
    assert dispatcher.was_taken("w") is taken


class ShortWallTime(LocalExecutor):
    """Ends each worker once it has trained a few epochs, and does not take it back."""

    started = 0

    def start(self, orders: Sequence[WorkerSpec]) -> None:
        self.started += len(orders)
        self._ends: dict[str, float] = {}
        super().start(orders)

    def rest(self, seconds: float) -> None:
        time.sleep(0.05)
        for owner in claims.held(self.run).values():
            if owner is not None and time.monotonic() > self._ends.setdefault(
                owner.name, time.monotonic() + 0.4
            ):
                os.kill(owner.pid, signal.SIGTERM)
                self._ends[owner.name] = float("inf")


@pytest.mark.slow
@pytest.mark.parametrize("every", ["0", "60"])
def test_a_trial_of_many_wall_times_ends_though_none_is_taken_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, every: str
) -> None:
    """With a checkpoint an epoch. Where there is none, preempted workers are no reason to stop."""
    monkeypatch.setenv("LONG_LOG", str(tmp_path / "log"))
    monkeypatch.setenv("LONG_SECONDS", "0.3")
    monkeypatch.setenv(checkpoints.INTERVAL_VARIABLE, every)
    fields = {"objective": "long_trials:chain", "epochs": (EPOCHS,), "draws": 1, "models": ("a",)}
    run = make_run(tmp_path / "run", **fields)
    dispatcher = ShortWallTime(run, lambda: None)
    driver = Driver(
        run,
        run.read_design(),
        dispatcher,
        DispatchOptions(slots=("cpu:0",), submission_folder=HELPERS),
    )

    def quiet_at_last(ledger: Ledger) -> None:
        if dispatcher.started == 5 and every != "0":
            monkeypatch.setattr(os, "kill", lambda pid, number: None)

    driver.notify = quiet_at_last
    driver.drive()
    views.rebuild(run)
    (row,), (trial,) = pq.read_table(run.results).to_pylist(), run.read_design()
    assert (row["outcome"], row["attempt"]) == ("ok", 1)
    assert row["wrong"] == long_trials.answer(trial.seed, EPOCHS)
    assert dispatcher.started >= 4
    (epochs,) = long_trials.epochs_trained(tmp_path / "log").values()
    assert (epochs == sorted(epochs)) == (every == "0")


@pytest.mark.slow
def test_a_training_that_kills_every_worker_closes_the_slot(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", objective="objectives:kills", draws=20)
    dispatcher = LocalExecutor(run, lambda: None)
    plan = DispatchOptions(slots=("cpu:0",), submission_folder=HELPERS)
    with pytest.raises(ExecutorError, match="3 workers in a row ended without a result"):
        Driver(run, run.read_design(), dispatcher, plan).drive()


def test_an_objective_that_exits_has_failed(tmp_path: Path) -> None:
    """Else its worker would end in order, and another would take the trial, for ever."""
    run = make_run(tmp_path / "run", objective="objectives:exits", draws=1)
    drive_inline(run)
    rows = pq.read_table(run.results).to_pylist()
    assert {(row["outcome"], row["attempt"]) for row in rows} == {("crashed", 3)}
    assert rows[0]["message"].startswith("SystemExit: 2 (")
