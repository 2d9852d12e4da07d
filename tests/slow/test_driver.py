"""Workers and driver as real processes: started, killed, started again."""

import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from drivers import (
    PATIENCE,
    assert_complete_and_single,
    drive,
    drive_inline,
    finished,
    new_run,
    results,
    spawn,
    trainings,
    wait_for,
)
from toys import HELPERS

from sweeps.driver.driver import DispatchOptions, Driver, sole_driver
from sweeps.errors import ExecutorError, SpecError
from sweeps.executors import LocalExecutor
from sweeps.objective.imported import import_objective
from sweeps.store import claims, views
from sweeps.store.owner import Owner
from sweeps.store.parts import Ledger
from sweeps.store.run_directory import RunDirectory
from sweeps.study.design import draw_design

pytestmark = [pytest.mark.slow, pytest.mark.alone, pytest.mark.usefixtures("toy_log")]


def test_every_trial_is_trained_once_by_two_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOY_SECONDS", "0.2")  # else the first may be done before the second begins
    run = new_run(tmp_path, draws=10)
    drive(run)
    assert_complete_and_single(run, tmp_path)
    assert {len(spans) for spans in trainings(tmp_path).values()} == {1}
    assert {row["worker"][:4] for row in pq.read_table(run.results).to_pylist()} == {"cpu0", "cpu1"}


def test_inline_and_local_give_the_same_results(tmp_path: Path) -> None:
    run = new_run(tmp_path)
    drive_inline(run)
    inline = results(run)
    other = RunDirectory(tmp_path / "run-local")
    study = run.read_study()
    other.create(study, draw_design(study))
    drive(other)
    assert results(other) == inline


def test_a_killed_worker_is_replaced_and_its_trial_trained_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOY_SECONDS", "0.3")
    run = new_run(tmp_path, draws=6)
    driver = spawn(run)
    wait_for(lambda: finished(run) >= 2 and len(claims.held(run)) == 2)
    first = claims.living_workers(run)
    victim = first[0]
    os.kill(victim.pid, signal.SIGKILL)
    assert driver.wait(PATIENCE) == 0
    assert_complete_and_single(run, tmp_path)
    rows = pq.read_table(run.results).to_pylist()
    assert Counter(row["attempt"] for row in rows)[2] == 1
    assert {row["worker"] for row in rows} - {owner.name for owner in first}, "nobody took over"


def test_after_a_killed_driver_its_living_workers_are_adopted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOY_SECONDS", "0.3")
    run = new_run(tmp_path, draws=8)
    driver = spawn(run)
    wait_for(lambda: finished(run) >= 2)
    driver.kill()
    driver.wait()
    before = {owner.name for owner in claims.living_workers(run)}
    assert len(before) == 2
    assert spawn(run).wait(PATIENCE) == 0
    assert_complete_and_single(run, tmp_path)
    rows = pq.read_table(run.results).to_pylist()
    assert {row["worker"] for row in rows} == before  # nobody was started beside them
    assert {row["attempt"] for row in rows} == {1}


def test_after_everything_was_killed_the_rest_is_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What died with the driver is no fault of the trials: it is their first attempt still."""
    monkeypatch.setenv("TOY_SECONDS", "0.3")
    run = new_run(tmp_path, draws=6)
    driver = spawn(run)
    wait_for(lambda: finished(run) >= 2 and len(claims.held(run)) == 2)
    driver.kill()
    driver.wait()
    workers = claims.living_workers(run)
    for owner in workers:
        os.kill(owner.pid, signal.SIGKILL)
    wait_for(lambda: all(owner.is_gone for owner in workers))
    drive(run)
    assert_complete_and_single(run, tmp_path)
    assert {row["attempt"] for row in pq.read_table(run.results).to_pylist()} == {1}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_driver_stops_its_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setenv("TOY_SECONDS", "0.3")
    run = new_run(tmp_path, draws=60)  # more than a busy machine does before the signal
    driver = subprocess.Popen(
        [sys.executable, str(HELPERS / "programs" / "drive.py"), str(run.path), "2"],
        stderr=subprocess.PIPE,
    )
    wait_for(lambda: finished(run) >= 2)
    workers = claims.living_workers(run)
    driver.send_signal(number)
    driver.communicate(timeout=PATIENCE)
    assert all(owner.is_gone for owner in workers)
    assert list(run.claims.iterdir()) == []
    assert 2 <= finished(run) < 120


def test_an_exception_is_tried_again(tmp_path: Path) -> None:
    run = new_run(tmp_path, objective="objectives:fails_once")
    drive_inline(run)
    rows = pq.read_table(run.results).to_pylist()
    assert [(row["outcome"], row["attempt"]) for row in rows] == [("ok", 2)] * 8


def test_what_always_fails_is_left_after_three_attempts_and_seen(tmp_path: Path) -> None:
    run = new_run(tmp_path, objective="objectives:always_fails")
    drive_inline(run)
    rows = pq.read_table(run.results).to_pylist()
    assert Counter((row["outcome"], row["attempt"]) for row in rows) == {
        ("ok", 1): 4,
        ("crashed", 3): 2,
        ("out_of_memory", 3): 2,
    }
    messages = {row["message"] for row in rows if row["outcome"] == "crashed"}
    assert any(text.startswith("ValueError: no luck with a (") for text in messages)
    drive_inline(run)
    ledger = Ledger(run)
    ledger.refresh()
    assert max(ledger[trial.id].failures for trial in run.read_design()) == 3
    drive_inline(run, retry_failed=True)
    ledger.refresh()
    assert max(ledger[trial.id].failures for trial in run.read_design()) == 6


def test_forgiveness_gives_each_trial_three_attempts_and_no_more(tmp_path: Path) -> None:
    run = new_run(tmp_path, objective="objectives:always_fails", draws=2)
    drive_inline(run, retry_failed=True)
    ledger = Ledger(run)
    ledger.refresh()
    assert {ledger[t.id].failures for t in run.read_design() if t.draw == 1} == {3}


def test_a_trial_held_elsewhere_is_left_and_does_not_hang_the_sweep(tmp_path: Path) -> None:
    run = new_run(tmp_path)
    held = run.read_design()[3]
    foreign = Owner(**{**Owner.this_process("far").__dict__, "host": "far", "slot": "cpu:0"})
    run.worker("far").write_text(foreign.to_json())
    run.claim(held.id).write_text(foreign.to_json())
    drive(run)
    assert {row[0] for row in results(run)} == {t.id for t in run.read_design()} - {held.id}
    assert claims.held(run) == {held.id: foreign}


def test_an_objective_that_gives_no_result_has_failed(tmp_path: Path) -> None:
    run = new_run(tmp_path, objective="objectives:forgets", draws=1)
    drive_inline(run)
    rows = pq.read_table(run.results).to_pylist()
    assert {row["outcome"] for row in rows} == {"crashed"}
    assert "gave no result" in rows[0]["message"]


def test_a_trial_that_kills_its_worker_costs_only_itself(tmp_path: Path) -> None:
    run = new_run(tmp_path, objective="objectives:dies", models=("a",))
    drive(run, slots=1)
    rows = pq.read_table(run.results).to_pylist()
    assert [(row["outcome"], row["attempt"]) for row in rows] == [
        ("ok", 2 if row["draw"] == 1 else 1) for row in rows
    ]
    assert len(rows) == 4


def test_workers_that_cannot_begin_stop_the_driver_with_their_last_log_line(tmp_path: Path) -> None:
    run = new_run(tmp_path, objective="no_such_module:train")
    with pytest.raises(ExecutorError, match="no_such_module"):
        drive(run, slots=1)
    with pytest.raises(SpecError, match="objective 'no_such_module:train' cannot be imported"):
        import_objective("no_such_module:train", str(HELPERS))


def test_a_second_driver_is_told_who_has_it(tmp_path: Path) -> None:
    run = new_run(tmp_path)
    with sole_driver(run):
        with (
            pytest.raises(ExecutorError, match=f"driver \\(pid {os.getpid()} on "),
            sole_driver(run),
        ):
            pass
        assert Owner.read(run.lock) is not None
    with sole_driver(run):  # free again
        pass


def test_a_users_own_sweeps_folder_is_not_picked_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for package in ("sweeps", "analysis", "stability"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text("raise RuntimeError('the wrong one')\n")
    monkeypatch.chdir(tmp_path)
    run = new_run(tmp_path, draws=1)
    drive(run, slots=1)
    assert len(results(run)) == 2


@pytest.mark.parametrize(
    ("slots", "outside", "seen"),
    [
        (("cuda:0", "cuda:1"), None, {"cuda 0", "cuda 1"}),
        (("cuda:0", "cuda:1"), "5,GPU-7f", {"cuda 5", "cuda GPU-7f"}),
        (("cpu:0",), "5", {"cpu "}),
    ],
)
def test_each_worker_sees_its_own_gpu_alone(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    slots: tuple[str, ...],
    outside: str | None,
    seen: set[str],
) -> None:
    monkeypatch.setenv("TOY_SECONDS", "0.1")
    if outside is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", outside)
    run = new_run(tmp_path, objective="objectives:sees_gpus", draws=8)
    chosen = DispatchOptions(slots=slots, submission_folder=HELPERS)
    Driver(run, run.read_design(), LocalExecutor(run, lambda: None), chosen).drive()
    views.rebuild(run)
    assert {row["device"] for row in pq.read_table(run.results).to_pylist()} <= seen
