"""Signals reach only processes that are proven to be workers of the run directory at hand."""

import ast
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from toys import HELPERS, ROOT, make_run

from stability.cli.commands.cancel import cancel_run
from sweeps.driver.driver import DispatchOptions, Driver, sole_driver
from sweeps.executors import LocalExecutor
from sweeps.store import claims
from sweeps.store.owner import Owner
from sweeps.store.run_directory import RunDirectory
from sweeps.system import processes

SENDS = {"kill", "killpg", "send_signal", "terminate", "pidfd_send_signal", "cancel_job"}


def test_no_other_module_sends_signals() -> None:
    modules = [path for name in ("sweeps", "stability") for path in (ROOT / name).rglob("*.py")]
    senders = {
        path.name
        for path in modules
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and node.attr in SENDS
    }
    assert senders == {"processes.py"}


@pytest.fixture
def sleeper() -> Iterator["subprocess.Popen[bytes]"]:
    child = subprocess.Popen(["sleep", "60"], start_new_session=True)
    yield child
    child.kill()
    child.wait()


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return make_run(tmp_path / "run")


def worker_of(child: "subprocess.Popen[bytes]", run: RunDirectory) -> Owner:
    """As if the child were a worker that has registered in `run`."""
    start = processes.start_time(child.pid)
    assert start is not None
    return replace(Owner.this_process("w", "cpu:0", run.identity), pid=child.pid, started=start)


def without_pidfd(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "pidfd_open", raising=False)


def with_refused_pidfd(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(pid: int) -> int:
        raise PermissionError

    monkeypatch.setattr(os, "pidfd_open", refuse, raising=False)


@pytest.mark.parametrize("how", [lambda patch: None, without_pidfd, with_refused_pidfd])
def test_a_proven_worker_gets_the_signal(
    sleeper: "subprocess.Popen[bytes]",
    run: RunDirectory,
    monkeypatch: pytest.MonkeyPatch,
    how: Callable[[pytest.MonkeyPatch], None],
) -> None:
    how(monkeypatch)
    worker = worker_of(sleeper, run)
    assert not replace(worker, started="1").send(signal.SIGTERM, run.identity)
    assert worker.send(signal.SIGTERM, run.identity)
    assert sleeper.wait(5) == -signal.SIGTERM
    assert not worker.send(signal.SIGTERM, run.identity)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"started": "1"}, None),
        ({"boot": "another"}, "container"),
        ({"namespace": "pid:[1]"}, "container"),
        ({"host": "far"}, "another host"),
        ({"directory": ""}, "earlier version"),
        ({"directory": "1:2"}, "a copy"),
    ],
)
def test_who_is_not_proven_gets_none(
    sleeper: "subprocess.Popen[bytes]", run: RunDirectory, change: dict[str, str], why: str | None
) -> None:
    worker = replace(worker_of(sleeper, run), **change)
    assert not worker.send(signal.SIGKILL, run.identity)
    run.worker("w").write_text(worker.to_json())
    local = LocalExecutor(run, lambda: None)
    local.stop()
    assert (sleeper.poll(), local.ended) == (None, set())
    told = worker.why_unproven(run.identity)
    assert told is None if why is None else why in str(told)


@pytest.mark.parametrize("pid", [0, 1, -1, -(2**40), 2**31, 2**80])
def test_numbers_that_name_no_single_process_are_never_signalled(
    monkeypatch: pytest.MonkeyPatch, pid: int
) -> None:
    monkeypatch.setattr(processes, "start_time", lambda pid: "now")
    monkeypatch.setattr(os, "kill", lambda *sent: pytest.fail(str(sent)))
    assert not processes.signal_process(pid, "now", signal.SIGTERM)
    assert not processes.signal_process(os.getpid(), "now", signal.SIGTERM)


@pytest.mark.parametrize("pid", [0, -1, 2**31, 2**80, "14", 1.0, True, None, [14], {}])
def test_a_worker_file_with_such_a_pid_is_garbage(run: RunDirectory, pid: object) -> None:
    fields = json.loads(Owner.this_process("w", "cpu:0", run.identity).to_json())
    run.worker("w").write_text(json.dumps({**fields, "pid": pid}))
    assert claims.workers(run) == []
    LocalExecutor(run, lambda: None).stop()
    claims.release_orphaned(run)
    assert list(run.workers.iterdir()) == []


def test_a_copy_has_another_identity_a_renamed_run_directory_has_not(
    run: RunDirectory, tmp_path: Path
) -> None:
    before = run.identity
    copy = RunDirectory(shutil.copytree(run.path, tmp_path / "copy", copy_function=os.link))
    moved = RunDirectory(run.path.rename(tmp_path / "moved"))
    assert before == moved.identity != copy.identity
    (tmp_path / "run").symlink_to(moved.path)
    assert run.identity == before
    assert RunDirectory(tmp_path / "nowhere").identity == ""


def test_workers_of_the_original_fill_no_slot_of_a_copy(
    sleeper: "subprocess.Popen[bytes]", run: RunDirectory, tmp_path: Path
) -> None:
    run.worker("w").write_text(worker_of(sleeper, run).to_json())
    copy = RunDirectory(Path(shutil.copytree(run.path, tmp_path / "copy")))
    plan = DispatchOptions(slots=("cpu:0",), submission_folder=HELPERS)
    busy = [
        Driver(each, each.read_design(), LocalExecutor(each, lambda: None), plan)._busy()
        for each in (run, copy)
    ]
    assert busy == [{"cpu:0"}, set()]
    assert len(claims.living_workers(copy)) == 1  # its claims stay: nothing proves that it ended


def test_the_driver_writes_its_run_directory_into_the_lock(run: RunDirectory) -> None:
    with sole_driver(run):
        driver = Owner.read(run.lock)
    assert driver is not None
    assert driver.directory == run.identity


def wait_for_workers(run: RunDirectory) -> list[Owner]:
    deadline = time.monotonic() + 60
    while len(claims.held(run)) < 2:
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)
    return claims.workers(run)


INSIDE = """
import sys, time
from pathlib import Path
from stability.cli.commands.cancel import cancel_run
from sweeps.store.run_directory import RunDirectory
from drivers import start_detached
run, end = RunDirectory(Path(sys.argv[1])), Path(sys.argv[2])
start_detached(run)
while not end.exists():
    time.sleep(0.05)
cancel_run(run.path)
"""


@pytest.mark.slow
def test_a_copy_of_a_live_run_directory_ends_nothing_of_the_original(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TOY_SECONDS", "0.3")
    run = make_run(tmp_path / "run", draws=50)
    monkeypatch.setenv("PYTHONPATH", f"{HELPERS}{os.pathsep}{ROOT}")
    started = INSIDE.partition("while")[0]  # by a process of its own, whose children they are
    subprocess.run([sys.executable, "-c", started, str(run.path), ""], cwd=HELPERS, check=True)
    workers = wait_for_workers(run)
    copy = RunDirectory(Path(shutil.copytree(run.path, tmp_path / "copy")))
    cancel_run(copy.path)
    said = capsys.readouterr().out
    assert "0 of 2 workers were ended" in said
    assert said.count("of which this one is a copy") == 2
    assert not any(worker.is_gone for worker in workers)
    cancel_run(run.path)
    assert "2 of 2 workers were ended" in capsys.readouterr().out
    assert all(worker.is_gone for worker in workers)


def may_unshare() -> bool:
    command = ["unshare", "--pid", "--fork", "--mount-proc", "true"]
    return bool(shutil.which("unshare")) and subprocess.run(command, check=False).returncode == 0


@pytest.mark.slow
@pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0 or not may_unshare(),
    reason="a pid namespace needs Linux, unshare and root",
)
@pytest.mark.parametrize("proc", [["--mount-proc"], []])
def test_workers_in_a_container_are_left_alone_from_outside_and_ended_inside(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    proc: list[str],
) -> None:
    """Also where its /proc is the one of the system around it."""
    monkeypatch.setenv("TOY_SECONDS", "0.3")
    monkeypatch.setenv("PYTHONPATH", f"{HELPERS}{os.pathsep}{ROOT}")
    run, end = make_run(tmp_path / "run", draws=50), tmp_path / "end"
    unshare = ["unshare", "--pid", "--fork", *proc, sys.executable, "-c", INSIDE]
    container = subprocess.Popen(
        [*unshare, str(run.path), str(end)],
        cwd=HELPERS, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        workers = wait_for_workers(run)
        outside = {worker.pid: processes.start_time(worker.pid) for worker in workers}
        cancel_run(run.path)
        said = capsys.readouterr().out
        assert "0 of 2 workers were ended" in said
        assert said.count("another container") == 2
        assert outside == {pid: processes.start_time(pid) for pid in outside}
        assert len(claims.workers(run)) == 2
        end.touch()
        assert "2 of 2 workers were ended" in container.communicate(timeout=60)[0]
    finally:
        container.kill()
        container.wait()
