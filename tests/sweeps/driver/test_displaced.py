"""A run directory that is moved or changed while it is driven; locks and forked children."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from drivers import wait_for
from toys import HELPERS, make_run

from sweeps.driver.driver import DispatchOptions, Driver, sole_driver
from sweeps.errors import DisplacedError, ExecutorError
from sweeps.executors import InlineExecutor
from sweeps.store import views
from sweeps.store.parts import Ledger
from sweeps.store.run_directory import RunDirectory
from sweeps.study.design import draw_design
from sweeps.study.trial import Cohort, Result
from sweeps.system import locks
from sweeps.worker.engine import one_at_a_time


def moved(run: RunDirectory) -> None:
    run.path.rename(run.path.with_name("elsewhere"))


def replaced(run: RunDirectory) -> None:
    moved(run)
    shutil.copytree(run.path.with_name("elsewhere"), run.path)


def lock_replaced(run: RunDirectory) -> None:
    run.lock.rename(run.lock.with_name("kept"))  # so that its number is not given again
    run.lock.touch()


MISHAPS: dict[str, Callable[[RunDirectory], object]] = {
    "run was moved or removed": moved,
    "run was replaced by another folder": replaced,
    "driver.lock was removed": lambda run: run.lock.unlink(),
    "driver.lock was replaced": lock_replaced,
    "run/workers was removed": lambda run: shutil.rmtree(run.workers),
    "run/claims was removed": lambda run: shutil.rmtree(run.claims),
    "run/parts was removed": lambda run: shutil.rmtree(run.parts),
    "run/jobs was removed": lambda run: shutil.rmtree(run.jobs),
}


def drive(run: RunDirectory) -> None:
    """What the command does."""
    run.create(run.read_study(), draw_design(run.read_study()))
    plan = DispatchOptions(slots=("cpu:0",), submission_folder=HELPERS)
    with sole_driver(run):
        Driver(run, run.read_design(), InlineExecutor(run, lambda: None), plan).drive()


@pytest.mark.parametrize("said", MISHAPS)
def test_what_is_moved_or_removed_is_named_and_the_same_command_repairs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str
) -> None:
    run, log = make_run(tmp_path / "run", models=("a",)), tmp_path / "log"

    def objective(cohort: Cohort) -> Iterator[Result]:
        with log.open("a") as file:
            file.write("begun\n")
        if log.read_text().count("begun") == 2:
            MISHAPS[said](run)
        yield Result(trial=cohort.trials[0].id, outcome="ok", values={"error": 5.0})

    monkeypatch.setattr("sweeps.objective.imported.import_objective", lambda *_: objective)
    if (pid := os.fork()) == 0:  # a driver ends with its process
        with suppress(BaseException):
            try:
                drive(run)
            except DisplacedError as error:
                (tmp_path / "said").write_text(str(error))
        os._exit(0)
    os.waitpid(pid, 0)
    assert said in (tmp_path / "said").read_text()
    if (elsewhere := tmp_path / "elsewhere").exists():
        assert "replaced" in said or not run.path.exists(), "nothing is made in its old place"
        run = RunDirectory(elsewhere)
    drive(run)
    views.rebuild(run)
    ledger = Ledger(run)
    ledger.refresh()
    assert all(ledger.is_trained(trial.id) for trial in run.read_design())
    assert list(run.claims.iterdir()) == []
    assert log.read_text().count("begun") <= 2 * 4


@pytest.fixture
def child() -> Iterator[Callable[[], int]]:
    """Forks a child that lives for a while, as an objective may leave one."""
    children: list[int] = []

    def fork() -> int:
        if (pid := os.fork()) == 0:
            time.sleep(60)
            os._exit(0)
        children.append(pid)
        return pid

    yield fork
    for pid in children:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def test_a_forked_child_does_not_keep_the_locks(tmp_path: Path, child: Callable[[], int]) -> None:
    run = make_run(tmp_path / "run")
    with sole_driver(run), one_at_a_time(run.engine_lock):
        pid = child()
        with (
            pytest.raises(ExecutorError, match=f"being driven by driver .pid {os.getpid()}"),
            sole_driver(run),
        ):
            pass
    os.kill(pid, 0)  # it lives
    wait_for(lambda: can_be_driven(run))  # a busy machine may start the child later
    with locks.open_lock(run.engine_lock) as handle:
        locks.acquire(handle)


def can_be_driven(run: RunDirectory) -> bool:
    try:
        with sole_driver(run):
            return True
    except ExecutorError:
        return False


def test_a_program_that_is_started_does_not_get_the_locks(tmp_path: Path) -> None:
    with locks.open_lock(tmp_path / "lock") as handle:
        locks.acquire(handle)
        code = f"import os; os.fstat({handle})"
        started = subprocess.run(
            [sys.executable, "-c", code], close_fds=False, capture_output=True, check=False
        )
    assert b"Bad file descriptor" in started.stderr
