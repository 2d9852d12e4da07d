"""What a neighbouring study has finished is taken over, bit by bit, and only that."""

from pathlib import Path

import pandas as pd
import pytest
from conftest import make_toy
from test_cli import call
from test_confirm import run_of

from sweeps import views
from sweeps.adopt import adopt, adoptable
from sweeps.confirm import confirmation
from sweeps.design import draw_design
from sweeps.parts import PartWriter
from sweeps.run_directory import RunDirectory
from sweeps.trial import Result


@pytest.fixture
def small(tmp_path: Path) -> RunDirectory:
    return run_of(make_toy(draws=4), tmp_path / "small")


def made(tmp_path: Path, **changes: object) -> RunDirectory:
    study = make_toy(**changes)
    run = RunDirectory(tmp_path / "large")
    adopted = adoptable(run, draw_design(study))
    run.create(study, draw_design(study))
    adopt(run, adopted)
    views.rebuild(run)
    return run


def test_a_larger_study_has_the_trials_of_the_smaller_one(
    small: RunDirectory, tmp_path: Path
) -> None:
    large = made(tmp_path, draws=6)
    before, after = (pd.read_parquet(run.results).drop(columns="study") for run in (small, large))
    pd.testing.assert_frame_equal(before, after)  # where and when it was trained included
    curves = [pd.read_parquet(run.curves) for run in (small, large)]
    pd.testing.assert_frame_equal(*curves)


def test_other_ranges_and_other_recipes_have_no_trial_in_common(
    small: RunDirectory, tmp_path: Path
) -> None:
    for changes in ({"recipe": {"sgd": {"momentum": 0.8}}}, {"seed": 1}, {"fingerprint": "x"}):
        design = draw_design(make_toy(**changes))
        assert adoptable(RunDirectory(tmp_path / "large"), design) == {}


def test_of_two_neighbours_each_trial_is_taken_once(small: RunDirectory, tmp_path: Path) -> None:
    run_of(make_toy(draws=3), tmp_path / "smaller")
    found = adoptable(RunDirectory(tmp_path / "large"), draw_design(make_toy(draws=6)))
    assert {path.name: len(rows) for path, rows in found.items()} == {"small": 8}


def test_a_failure_is_not_taken_over(tmp_path: Path) -> None:
    run_of(make_toy(objective="objectives:always_fails"), tmp_path / "small")
    design = draw_design(make_toy(objective="objectives:always_fails"))
    (rows,) = adoptable(RunDirectory(tmp_path / "large"), design).values()
    assert set(rows["outcome"].to_pylist()) == {"ok"}
    assert len(rows) == 4  # the draws 1 and 2 of both models failed


def test_a_damaged_neighbour_is_passed_over(small: RunDirectory, tmp_path: Path) -> None:
    large, design = RunDirectory(tmp_path / "large"), draw_design(make_toy())
    for part in small.parts.iterdir():
        part.write_bytes(b"not a table")
    assert adoptable(large, design) == {}
    small.design.write_bytes(b"nor this")
    assert adoptable(large, design) == {}


def test_more_fresh_seeds_begin_with_those_that_are_there(small: RunDirectory) -> None:
    run_of(confirmation(small, 2), small.confirmation(2).path)
    found = adoptable(small.confirmation(5), draw_design(confirmation(small, 5)))
    assert [len(rows) for rows in found.values()] == [4]  # two models, two seeds


@pytest.mark.slow
def test_a_longer_sweep_says_what_it_takes_over_and_trains_the_rest(tmp_path: Path) -> None:
    words = ["sweep", "--model", "vitc", "--optim", "sgd", "--epochs", "1", "--executor", "inline"]
    call(*words, "--trials", "2", cwd=tmp_path)
    asked = call(*words, "--trials", "3", "--dry-run", cwd=tmp_path)
    assert "2 trials were trained in runs/" in asked.stdout
    assert len(list((tmp_path / "runs").iterdir())) == 1  # nothing was written
    said = call(*words, "--trials", "3", cwd=tmp_path)
    assert said.returncode == 0, said.stderr
    assert "2 of 3 trials are finished already; training 1 trials" in said.stdout


@pytest.mark.parametrize(("device", "there"), [("cpu", "cuda"), ("NVIDIA H200", "cpu")])
def test_what_was_trained_on_another_kind_of_device_is_not_taken_over(
    tmp_path: Path, device: str, there: str
) -> None:
    study = make_toy(draws=2)
    other, run = RunDirectory(tmp_path / "other"), RunDirectory(tmp_path / "run")
    trials = other.create(study, draw_design(study))
    writer = PartWriter(other, "w")
    for trial in trials:
        values = {"error": 1.0, "device": device}
        writer.append(Result(trial=trial.id, outcome="ok", values=values), attempt=1)
    assert adoptable(run, trials, device=there) == {}
    here = "cuda" if there == "cpu" else "cpu"
    assert [len(rows) for rows in adoptable(run, trials, device=here).values()] == [len(trials)]
