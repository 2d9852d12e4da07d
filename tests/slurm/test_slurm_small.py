"""A Slurm without accounting, whose arrays have at most three tasks."""

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from slurm_cluster import Sweep, new_sweep, slurm, wait_for

from sweeps.store import claims

New = Callable[..., Sweep]
pytestmark = pytest.mark.slow
__all__ = ["new_sweep"]  # a fixture: pytest finds it by its name
HERE = Path(__file__).parent
PORTS = 100  # so far from those of the Slurm beside it


@pytest.fixture(scope="module")
def cluster() -> Iterator[dict[str, str]]:
    """What its commands need in their environment."""
    sandbox = f"/tmp/stability-small-{os.getpid()}"
    port = int(os.environ.get("SLURM_BASE_PORT", "27800")) + PORTS
    small = {"SLURM_SANDBOX": sandbox, "SLURM_BASE_PORT": str(port), "ACCOUNTING": "0"}
    environment = {**os.environ, **small, "MAX_ARRAY": "3"}
    try:
        subprocess.run(["bash", str(HERE / "up.sh")], env=environment, check=True)
        yield {**small, "SLURM_CONF": f"{sandbox}/etc/slurm.conf"}
    finally:
        down = ["bash", str(HERE / "down.sh"), "--purge"]
        subprocess.run(down, env=environment, check=True)


@pytest.fixture
def small(cluster: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Slurm's commands speak to it."""
    for name, value in cluster.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def sweep(small: None, new_sweep: New) -> Sweep:
    """Of 40 trials; its jobs are ended while `small` still holds."""
    return new_sweep(draws=40)


def arrays(sweep: Sweep) -> list[int]:
    """How many tasks each submission had."""
    records = sweep.run.jobs.glob("*/slurm.json")
    return sorted(len(json.loads(record.read_text())["slots"]) for record in records)


def test_more_workers_than_an_array_may_have_are_several_arrays(sweep: Sweep) -> None:
    assert "MaxArraySize            = 3" in slurm("scontrol", "show", "config")
    assert sweep.start("--executor", "slurm", "--parallel", "7").wait(120) == 0, sweep.said()
    sweep.assert_complete()
    assert arrays(sweep) == [1, 3, 3]
    assert len({row["worker"] for row in sweep.rows()}) == 7


def test_without_accounting_ends_are_known(sweep: Sweep) -> None:
    """A killed worker costs its trial an attempt, a cancelled one does not."""
    answer = subprocess.run(["sacct"], capture_output=True, text=True, check=False)
    assert "accounting storage is disabled" in answer.stderr
    driver = sweep.start("--executor", "slurm", "--parallel", "2")
    wait_for(lambda: sweep.state()["finished"] >= 2 and len(claims.held(sweep.run)) == 2)
    killed, cancelled = claims.workers(sweep.run)
    os.kill(killed.pid, signal.SIGKILL)
    slurm("scancel", cancelled.job)
    assert driver.wait(120) == 0, sweep.said()
    sweep.assert_complete()
    assert sorted(row["attempt"] for row in sweep.rows())[-2:] == [1, 2]
    assert sweep.call("status").stdout.splitlines()[1] == "40 of 40 trials finished: 40 ok"
