"""Detached workers on this machine, looked at and ended from other processes."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from toys import HELPERS, make_run

from stability.cli.commands.status import state_of
from sweeps.store import claims
from sweeps.store.run_directory import RunDirectory

pytestmark = [pytest.mark.slow, pytest.mark.alone]
STABILITY = str(Path(sys.executable).with_name("stability"))
LOCAL = ("--executor", "local", "--workers", "2", "--device", "cpu")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunDirectory:
    monkeypatch.setenv("TOY_SECONDS", "0.3")
    return make_run(tmp_path / "run", draws=20)


def call(command: str, run: RunDirectory, *options: str) -> "subprocess.CompletedProcess[str]":
    words = [STABILITY, command, str(run.path), *options]
    return subprocess.run(words, cwd=HELPERS, capture_output=True, text=True, check=False)


def wait_for_results(run: RunDirectory, count: int) -> None:
    deadline = time.monotonic() + 60
    while state_of(run)["finished"] < count:
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def test_detached_workers_go_on_are_cancelled_and_resumed(run: RunDirectory) -> None:
    left = call("resume", run, *LOCAL, "--detach")
    assert left.returncode == 0, left.stderr
    assert "stability status" in left.stdout
    wait_for_results(run, 2)
    workers = claims.workers(run)
    assert len(workers) == 2
    seen = call("status", run).stdout
    assert "2 workers running" in seen
    assert ", for " in seen
    cancelled = call("cancel", run)
    assert (cancelled.returncode, cancelled.stderr) == (0, "")
    assert "2 of 2 workers ended" in cancelled.stdout
    assert all(owner.is_gone for owner in workers)
    assert list(run.claims.iterdir()) == []
    assert state_of(run)["finished"] < 40
    resumed = call("resume", run, *LOCAL)
    assert resumed.returncode == 0, resumed.stderr
    assert len(pq.read_table(run.results)) == 40
    assert {row["attempt"] for row in pq.read_table(run.results).to_pylist()} == {1}


def test_detached_workers_outlive_their_terminal(run: RunDirectory) -> None:
    driver = subprocess.Popen(
        [STABILITY, "resume", str(run.path), *LOCAL, "--detach"],
        cwd=HELPERS,
        start_new_session=True,
    )
    assert driver.wait(60) == 0
    wait_for_results(run, 1)
    os.killpg(driver.pid, signal.SIGHUP)  # what a terminal that is closed sends
    done = state_of(run)["finished"]
    wait_for_results(run, done + 4)
    assert call("cancel", run).returncode == 0


def test_cancel_ends_a_driver_and_nothing_is_left(run: RunDirectory) -> None:
    driver = subprocess.Popen([STABILITY, "resume", str(run.path), *LOCAL], cwd=HELPERS)
    wait_for_results(run, 2)
    assert call("cancel", run).returncode == 0
    assert driver.wait(20) == 130
    assert claims.workers(run) == []
    assert not run.cancel.exists()
    again = call("cancel", run)
    assert "0 of 0 workers ended" in again.stdout
    assert call("cancel", RunDirectory(run.path / "nowhere")).returncode == 2
