"""What waits for Slurm's own clocks: the end of a wall time, a node given up."""

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from slurm_cluster import Sweep, new_sweep, wait_for

from sweeps.store import claims

New = Callable[..., Sweep]
__all__ = ["new_sweep"]  # a fixture: pytest finds it by its name
pytestmark = pytest.mark.slow


def test_a_worker_goes_back_to_the_queue_where_its_time_would_not_suffice(
    new_sweep: New, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOY_SECONDS", "8")
    sweep = new_sweep(draws=8)
    chosen = ("--executor", "slurm", "--parallel", "1", "--time", "1")
    assert sweep.start(*chosen).wait(240) == 0, sweep.said()
    sweep.assert_complete()
    assert {row["attempt"] for row in sweep.rows()} == {1}
    assert any(row["worker"].endswith("-r1") for row in sweep.rows())
    assert len(sweep.jobs()) == 1


def test_a_trial_longer_than_the_wall_time_has_timed_out(
    new_sweep: New, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOY_SECONDS", "300")
    sweep = new_sweep(draws=1)
    sweep.start("--executor", "slurm", "--parallel", "1", "--time", "1")
    wait_for(lambda: bool(sweep.state()["failed"]), 120)
    (failed,) = sweep.state()["failed"]
    assert "neither ended nor made a checkpoint within the wall time" in failed["message"]
    assert sweep.call("cancel").returncode == 0
    (row,) = sweep.rows()
    assert row["outcome"] == "timed_out"


def test_a_process_that_comes_back_with_its_node_doubles_nothing(
    new_sweep: New, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The node is given up and its job runs elsewhere, while its old process trains on."""
    monkeypatch.setenv("TOY_SECONDS", "4")
    sweep = new_sweep(draws=40)
    driver = sweep.start("--executor", "slurm", "--parallel", "2")
    wait_for(lambda: int(sweep.state()["finished"]) >= 2)
    old = claims.workers(sweep.run)[0]
    sandbox = Path(os.environ["SLURM_CONF"]).parent.parent
    os.kill(int((sandbox / "run" / f"{old.node}.pid").read_text()), signal.SIGKILL)
    wait_for(lambda: old not in claims.workers(sweep.run), 150)
    wait_for(lambda: old.is_gone or not Path(f"/proc/{old.pid}").exists(), 30)
    logs = "".join(log.read_text() for log in sweep.run.jobs.glob("*/*_log.out"))
    assert "given to others" in logs or "taken for dead" in logs
    subprocess.run(["bash", str(Path(__file__).with_name("up.sh"))], check=True)
    assert driver.wait(240) == 0, sweep.said()
    sweep.assert_complete()
    parts = [pq.read_table(part, columns=["trial"]) for part in sweep.run.parts.iterdir()]
    trials = [trial for part in parts for trial in part["trial"].to_pylist()]
    assert len(trials) == len(set(trials)) == 40
