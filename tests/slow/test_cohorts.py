"""Workers that take several trials at a time: who is with whom, and what a failure of all costs."""

import os
import signal
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from drivers import drive, drive_inline, finished, new_run, results, spawn, wait_for

from sweeps.store import claims, views
from sweeps.store.run_directory import RunDirectory
from sweeps.worker import engine
from sweeps.worker.engine import EngineDecision, EnginePlan

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("toy_log")]
TOGETHER = "objectives:together"


@pytest.fixture(autouse=True)
def sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOY_COHORT", "4")


def cohorts(tmp_path: Path) -> list[tuple[str, list[int]]]:
    """Model and draws of each, in the order in which they were begun."""
    lines = (tmp_path / "log").read_text().splitlines()
    fields = [line.split() for line in lines]
    assert {field[2] for field in fields} == {"stacked"}
    return [(field[0], [int(draw) for draw in field[1].split(",")]) for field in fields]


def rows_of(run: RunDirectory) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = pq.read_table(run.results).to_pylist()
    return rows


def attempts(run: RunDirectory) -> list[dict[str, object]]:
    """Every row of every part."""
    paths = sorted(run.parts.glob("*.parquet"))
    return [row for path in paths for row in pq.read_table(path).to_pylist()]


def test_those_that_are_alike_are_taken_together_in_the_order_of_the_design(
    tmp_path: Path,
) -> None:
    """Two models in turn, ten draws, four at a time, one worker."""
    run = new_run(tmp_path, objective=TOGETHER, draws=10)
    drive_inline(run)
    assert cohorts(tmp_path) == [
        ("a", [0, 1, 2, 3]),
        ("b", [0, 1, 2, 3]),
        ("a", [4, 5, 6, 7]),
        ("b", [4, 5, 6, 7]),
        ("a", [8, 9]),
        ("b", [8, 9]),
    ]
    rows = rows_of(run)
    assert len(rows) == 20
    assert Counter(row["cohort_size"] for row in rows) == {4: 16, 2: 4}
    assert list(run.claims.iterdir()) == []


def test_the_results_are_those_of_one_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = new_run(tmp_path, objective=TOGETHER, draws=6)
    drive_inline(run)
    together = results(run)
    (tmp_path / "run").rename(tmp_path / "first")
    monkeypatch.setenv("TOY_COHORT", "1")
    again = new_run(tmp_path, objective=TOGETHER, draws=6)
    drive_inline(again)
    assert results(again) == together


def test_what_is_left_is_shared_among_the_workers(tmp_path: Path) -> None:
    run = new_run(tmp_path, objective=TOGETHER, models=("a",), draws=6)
    drive(run, slots=3)
    assert max(len(draws) for _, draws in cohorts(tmp_path)) == 2
    assert sorted(d for _, draws in cohorts(tmp_path) for d in draws) == list(range(6))


def test_a_cohort_that_is_out_of_memory_is_halved_until_it_fits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """16, 8 and 4 at a time are too many. It is no fault of a trial and ends no sweep."""
    monkeypatch.setenv("TOY_COHORT", "16")
    monkeypatch.setenv("TOY_FITS", "3")
    run = new_run(tmp_path, objective=TOGETHER, models=("a",), draws=20)
    drive_inline(run)
    tried = [len(draws) for _, draws in cohorts(tmp_path)]
    assert tried == [16, 8, 4, *[2] * 10]
    rows = rows_of(run)
    assert {row["outcome"] for row in rows} == {"ok"}
    assert {row["cohort_size"] for row in rows} == {2}
    lost = Counter(row["cohort_size"] for row in attempts(run) if row["outcome"] != "ok")
    assert lost == {16: 16, 8: 8, 4: 4}
    assert {row["attempt"] for row in rows} == {1}


def test_one_alone_that_is_out_of_memory_has_three_attempts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOY_FITS", "0")
    monkeypatch.setenv("TOY_COHORT", "2")
    run = new_run(tmp_path, objective=TOGETHER, models=("a",), draws=2)
    drive_inline(run)
    assert [len(draws) for _, draws in cohorts(tmp_path)] == [2, *[1] * 6]
    assert {row["outcome"] for row in rows_of(run)} == {"out_of_memory"}


def test_a_trial_that_fails_its_cohort_fails_no_other_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What failed is tried again alone: the culprit has its three attempts, the others one more."""
    monkeypatch.setenv("TOY_POISON", "1")
    run = new_run(tmp_path, objective=TOGETHER, models=("a",), draws=8)
    drive_inline(run)
    assert [draws for _, draws in cohorts(tmp_path)][:2] == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert [(row["draw"], row["outcome"], row["attempt"]) for row in rows_of(run)] == [
        (0, "ok", 1),  # its result came before the failure and is kept
        (1, "crashed", 3),
        (2, "ok", 2),
        (3, "ok", 2),
        *((draw, "ok", 1) for draw in range(4, 8)),
    ]


def test_a_killed_worker_with_a_cohort_in_hand_loses_and_doubles_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOY_SECONDS", "1.0")
    run = new_run(tmp_path, objective=TOGETHER, draws=8)
    driver = spawn(run)
    wait_for(lambda: len(list(run.claims.glob("*.json"))) >= 6)
    held = claims.held(run)
    victim = next(owner for owner in held.values() if owner is not None)
    os.kill(victim.pid, signal.SIGKILL)
    assert driver.wait(60) == 0
    views.rebuild(run)
    assert [row[0] for row in results(run)] == [trial.id for trial in run.read_design()]
    assert {row[1] for row in results(run)} == {"ok"}
    trained = Counter(row["trial"] for row in attempts(run) if row["outcome"] == "ok")
    assert set(trained.values()) == {1}
    crashed = [row["trial"] for row in attempts(run) if row["outcome"] == "crashed"]
    assert sorted(crashed) == sorted(trial for trial, owner in held.items() if owner == victim)
    assert len(crashed) > 1
    assert list(run.claims.iterdir()) == []


def test_a_stopped_driver_gives_all_claims_of_a_cohort_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOY_SECONDS", "30")
    run = new_run(tmp_path, objective=TOGETHER, draws=8)
    driver = spawn(run, slots=1)
    wait_for(lambda: len(list(run.claims.glob("*.json"))) == 4)
    driver.send_signal(signal.SIGTERM)
    driver.wait(60)
    assert list(run.claims.iterdir()) == []
    assert finished(run) == 0
    monkeypatch.setenv("TOY_SECONDS", "0")
    drive(run, slots=1)
    assert {row["attempt"] for row in rows_of(run)} == {1}


def test_the_choice_is_written_once_and_every_worker_reads_it(tmp_path: Path) -> None:
    run = new_run(tmp_path, objective=TOGETHER, models=("a",), draws=3)
    fixed = EngineDecision(
        device="cpu", asked="auto", by="me", ways={"a": EnginePlan(engine="stacked", trials=2)}
    )
    engine.write_engine_file(run.engine, fixed)
    drive_inline(run)
    assert [len(draws) for _, draws in cohorts(tmp_path)] == [2, 1]
    assert engine.read_engine_file(run.engine) == fixed


def test_a_worker_that_choosing_has_spoilt_trains_nothing_and_another_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOY_SPOILT", "yes")
    monkeypatch.setenv("TOY_CHOICES", str(tmp_path / "choices"))
    run = new_run(tmp_path, objective=TOGETHER, models=("a",), draws=8)
    drive(run, slots=1)
    (spoilt,) = (tmp_path / "choices").read_text().split()
    trained = {line.split()[-1] for line in (tmp_path / "log").read_text().splitlines()}
    assert len(trained) == 1
    assert trained != {spoilt}
    assert finished(run) == 8
