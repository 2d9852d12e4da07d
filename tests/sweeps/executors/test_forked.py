"""Workers forked from one process, as real processes; the cost of a study measured beside them."""

import io
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from drivers import assert_complete_and_single, parent_of, wait_for
from rich.console import Console
from toys import HELPERS, make_run

from stability.cli.commands.sweep import Headline, machine_known
from stability.cli.output.progress import PATIENCE_SECONDS, Display
from stability.cli.site.cluster import SiteOptions
from stability.cli.site.machine import Machine, known_slots
from stability.cli.study.request import Options, read
from stability.cores import cores, quota
from sweeps.driver.driver import DispatchOptions, Driver
from sweeps.executors import LocalExecutor
from sweeps.executors.forked import SideTask
from sweeps.store import claims, views
from sweeps.store.owner import Owner
from sweeps.store.parts import Ledger
from sweeps.store.run_directory import RunDirectory
from sweeps.worker.worker import WorkerSpec

pytestmark = pytest.mark.alone
LIGHT = "sweeps.objective.function_objective"  # imported before the fork


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunDirectory:
    monkeypatch.setenv("TOY_LOG", str(tmp_path / "log"))
    monkeypatch.setenv("PYTHONPATH", str(HELPERS))
    return make_run(tmp_path / "run")


def forking(run: RunDirectory, side_task: SideTask | None = None) -> tuple[Driver, LocalExecutor]:
    dispatcher = LocalExecutor(run, lambda: None, LIGHT, side_task)
    plan = DispatchOptions(slots=("cpu:0", "cpu:1"), submission_folder=HELPERS)
    return Driver(run, run.read_design(), dispatcher, plan), dispatcher


def side_task(function: str) -> SideTask:
    return SideTask(function=f"objectives:{function}", question={"number": 21})


@pytest.mark.slow
def test_each_slot_has_a_process_of_its_own_and_one_job(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOY_SECONDS", "0.2")
    driver, dispatcher = forking(run, side_task("double"))
    driver.drive()
    views.rebuild(run)
    rows = pq.read_table(run.results).to_pylist()
    assert sorted(row["trial"] for row in rows) == sorted(t.id for t in run.read_design())
    assert {row["attempt"] for row in rows} == {1}
    assert len({row["worker"] for row in rows}) == 2
    assert len(list(dispatcher.folder.glob("*_submitted.pkl"))) == 1
    wait_for(lambda: dispatcher.answer() == {"twice": 42})


@pytest.mark.slow
def test_a_killed_one_is_replaced_while_the_other_goes_on(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOY_SECONDS", "0.3")
    killed: list[str] = []

    def kill_one(ledger: Ledger) -> None:
        holders = [owner for owner in claims.held(run).values() if owner is not None]
        if not killed and holders:
            killed.append(holders[0].name)
            os.kill(holders[0].pid, signal.SIGKILL)

    driver, _ = forking(run)
    driver.notify = kill_one
    driver.drive()
    views.rebuild(run)
    rows = pq.read_table(run.results).to_pylist()
    assert len(killed) == 1
    assert len(rows) == len({row["trial"] for row in rows}) == 8
    assert sorted(row["attempt"] for row in rows) == [1] * 7 + [2]


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["parent", "its parent", "both", "a worker too"])
def test_workers_outlive_the_process_that_forked_them(
    run: RunDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, victim: str
) -> None:
    """No trial is lost or trained twice; nobody is started beside those that live."""
    monkeypatch.setenv("TOY_SECONDS", "0.3")
    first: list[Owner] = []

    def kill(ledger: Ledger) -> None:
        workers = claims.living_workers(run)
        if first or len(workers) < 2 or len(claims.held(run)) < 2:
            return
        first.extend(workers)
        (parent,) = {parent_of(worker.pid) for worker in workers}
        assert parent != os.getpid()
        above = parent_of(parent)
        assert str(above) == dispatcher._submitted[0].job_id
        killed = {"its parent": [above], "both": [above, parent]}.get(victim, [parent])
        for pid in [*killed, *([workers[0].pid] if victim == "a worker too" else [])]:
            os.kill(pid, signal.SIGKILL)

    driver, dispatcher = forking(run)
    driver.notify = kill
    driver.drive()
    views.rebuild(run)
    rows = pq.read_table(run.results).to_pylist()
    assert_complete_and_single(run, tmp_path)
    names = {owner.name for owner in first}
    assert len(names) == 2
    if victim == "a worker too":
        assert len(dispatcher._submitted) == 2, "nobody was to take over"
        assert sorted(row["attempt"] for row in rows) == [1] * 7 + [2]
    else:
        assert {row["worker"] for row in rows} == names
        assert {row["attempt"] for row in rows} == {1}
    assert claims.living_workers(run) == []


@pytest.mark.slow
def test_all_are_started_again_where_their_parent_dies_before_they_are_there(
    run: RunDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver, dispatcher = forking(run)
    start = dispatcher.start

    def start_and_kill(orders: Sequence[WorkerSpec]) -> None:
        start(orders)
        if len(dispatcher._submitted) == 1:
            above = int(dispatcher._submitted[0].job_id)
            children = Path(f"/proc/{above}/task/{above}/children")
            wait_for(lambda: children.read_text() != "")
            os.kill(int(children.read_text()), signal.SIGKILL)

    monkeypatch.setattr(dispatcher, "start", start_and_kill)
    driver.drive()
    views.rebuild(run)
    assert_complete_and_single(run, tmp_path)
    assert len(dispatcher._submitted) == 2


@pytest.mark.slow
def test_all_end_with_their_driver(run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOY_SECONDS", "30")
    driver, dispatcher = forking(run)
    dispatcher.start([driver._spec("cpu:0"), driver._spec("cpu:1")])
    wait_for(lambda: len(claims.held(run)) == 2)
    workers = claims.living_workers(run)
    assert dispatcher.busy() == {"cpu:0", "cpu:1"}
    dispatcher.stop()
    assert all(owner.is_gone for owner in workers)
    assert claims.held(run) == {}  # ended in an orderly way: they gave back what they held
    wait_for(lambda: dispatcher.busy() == set())


@pytest.mark.parametrize(("function", "said"), [("double", "KeyError"), ("none", "AttributeError")])
def test_a_side_task_that_fails_says_so(tmp_path: Path, function: str, said: str) -> None:
    code = f"""
from pathlib import Path
from sweeps.executors.forked import SideTask, work_side_by_side
side_task = SideTask(function="objectives:{function}", question={{}})
work_side_by_side("json", [], Path("ended"), side_task, Path("answer.json"))
"""
    environment = {**os.environ, "PYTHONPATH": str(HELPERS)}
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, check=True)
    assert said in (tmp_path / "answer.json").read_text()
    assert (tmp_path / "ended").read_text() == "side_task\n"


# --- what is said first ------------------------------------------------------------------------


def display(run: RunDirectory, headline: Headline) -> tuple[Display, io.StringIO, Ledger]:
    shown = io.StringIO()
    console = Console(file=shown, width=80)
    return Display(run.read_design(), 2, headline, console=console), shown, Ledger(run)


def test_the_cost_is_said_before_anything_else(
    run: RunDirectory, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    known = Machine(slots=("cpu:0",), seconds=None, is_measured=False)
    headline = Headline(known, lambda machine: f"about {machine.seconds}")
    headline.answer = lambda: None
    screen, shown, ledger = display(run, headline)
    monkeypatch.setattr("stability.cli.output.progress.QUIET_SECONDS", -1.0)
    with closing(screen):
        screen.update(ledger)
        assert (capsys.readouterr().out, shown.getvalue()) == ("", "")
        headline.answer = lambda: Machine(slots=("cpu:0",), seconds=8.0)
        screen.update(ledger)
        screen.update(ledger)
    assert capsys.readouterr().out == "about 8.0\n"
    assert "0/8 trials" in shown.getvalue()


def test_it_is_not_waited_for_for_ever(
    run: RunDirectory, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    headline = Headline(Machine(slots=("cpu:0",), seconds=None), lambda m: f"about {m.seconds}")
    headline.answer = lambda: None
    screen, _, ledger = display(run, headline)
    screen._start -= PATIENCE_SECONDS
    with closing(screen):
        screen.update(ledger)
    assert capsys.readouterr().out == "about None\n"


# --- places for workers ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"cpu.max": "150000 100000\n"}, 1.5),
        ({"cpu.max": "max 100000\n"}, float("inf")),
        ({"cpu/cpu.cfs_quota_us": "400000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 4.0),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, float("inf")),
        ({}, float("inf")),
    ],
)
def test_the_quota_of_a_container(tmp_path: Path, files: dict[str, str], expected: float) -> None:
    (tmp_path / "cpu").mkdir()
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    assert quota(tmp_path) == expected
    assert cores(tmp_path) == max(1, min(len(os.sched_getaffinity(0)), int(min(expected, 999))))


def test_slots_are_known_without_torch_only_where_it_has_no_gpu(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    places = tuple(f"cpu:{i}" for i in range(cores()))
    for version, device, known in (
        ("2.13.0+cpu", "auto", places),
        ("2.13.0+cu130", "auto", None),
        ("2.13.0", "auto", None),
        ("2.13.0", "cpu", places),
        ("2.13.0+cpu", "cuda", None),
    ):
        monkeypatch.setattr(
            "stability.cli.site.machine.metadata.version", lambda name, v=version: v
        )
        assert known_slots(device) == known


@pytest.mark.parametrize(
    ("changes", "platform", "at_once"),
    [
        ({}, "linux", True),
        ({}, "darwin", False),
        ({"detach": True}, "linux", False),
        ({"executor": "inline"}, "linux", False),
    ],
)
def test_workers_start_before_the_measurement_only_where_they_can_be_forked(
    monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], platform: str, at_once: bool
) -> None:
    monkeypatch.setattr("sys.platform", platform)
    asked = read(Options(model="vitp", optim="sgd"), SiteOptions(device="cpu", **changes))
    assert (machine_known(asked) is not None) == at_once
