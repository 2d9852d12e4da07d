"""What `stability status` says of the driver, and how long it waits for Slurm."""

import fcntl
import json
import os
import socket
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
from toys import make_run

from stability.cli.commands import status
from stability.cli.commands.status import describe_state, show_status, state_of
from sweeps.driver.driver import sole_driver
from sweeps.executors.slurm.jobs import Submission
from sweeps.store.owner import Owner
from sweeps.store.run_directory import RunDirectory

NAME = "stability-0123456789ab"
NOBODY = "no worker is running: stability resume"


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return make_run(tmp_path / "run")


def test_a_driver_is_named_as_long_as_it_holds_its_lock(run: RunDirectory) -> None:
    assert state_of(run)["driver"] is None
    with sole_driver(run):
        state = state_of(run)
        assert state["driver"] == f"pid {os.getpid()} on {socket.gethostname()}"
        assert f"driver running: {state['driver']}" in describe_state(state).splitlines()
        assert NOBODY not in describe_state(state)
    assert state_of(run)["driver"] is None  # this process lives on, and drives no more
    assert NOBODY in describe_state(state_of(run))


def test_a_driver_on_another_host_is_known_by_its_lock(run: RunDirectory) -> None:
    far = Owner(**{**vars(Owner.this_process("driver")), "host": "far", "pid": 3, "boot": "x"})
    run.lock.write_text(far.to_json())
    assert state_of(run)["driver"] is None
    with run.lock.open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert state_of(run)["driver"] == "pid 3 on far"
        run.lock.write_text("{")
        assert state_of(run)["driver"] == "a process that did not say which"


def test_the_lock_of_a_driver_that_ended_is_left_alone(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a driver that starts just then could be turned away."""
    tried: list[Path] = []
    monkeypatch.setattr(status, "is_locked", lambda path: tried.append(path))
    dead = Owner(**{**vars(Owner.this_process("driver")), "started": "1"})
    run.lock.write_text(dead.to_json())
    assert state_of(run)["driver"] is None
    assert tried == []


def test_watching_goes_on_while_a_driver_lives(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It starts workers, or waits until Slurm takes some."""
    looks = 0
    with ExitStack() as held:
        held.enter_context(sole_driver(run))

        def sleep(seconds: float) -> None:
            nonlocal looks
            looks += 1
            if looks == 2:
                held.close()

        monkeypatch.setattr("stability.cli.commands.status.time.sleep", sleep)
        show_status(run.path, watch=True)
    assert looks == 2
    assert capsys.readouterr().out.count("driver running") == 2


def test_json_is_one_line_for_each_look(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with ExitStack() as held:
        held.enter_context(sole_driver(run))
        monkeypatch.setattr(
            "stability.cli.commands.status.time.sleep", lambda seconds: held.close()
        )
        show_status(run.path, watch=True, as_json=True)
    looks = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [look["driver"] is None for look in looks] == [False, True]


def test_slurm_is_waited_for_once(
    run: RunDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever of its commands hang."""
    folder = run.jobs / "0123456789ab"
    folder.mkdir()
    Submission(name=NAME, cluster="c", slots=("cpu:0",), workers=("w",)).write(folder)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(status, "SLURM_SECONDS", 2.0)
    for scontrol in ("exec sleep 30", "sleep 1.8; echo 'ClusterName = c'"):
        for name, line in (("scontrol", scontrol), ("squeue", "exec sleep 30")):
            (tmp_path / name).write_text(f"#!/bin/sh\n{line}\n")
            (tmp_path / name).chmod(0o755)
        start = time.monotonic()
        state = state_of(run)
        assert "has not answered" in state["slurm"]
        assert time.monotonic() - start < 3.2
