"""What a neighbouring study has finished is taken over, bit by bit, and only that."""

import os
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from command_line import call
from drivers import IS_ROOT, SOMEBODY, run_of
from toys import make_toy

from sweeps.confirm import confirmation
from sweeps.driver.adopt import adopt, adoptable
from sweeps.store import views
from sweeps.store.parts import PartWriter
from sweeps.store.run_directory import RunDirectory
from sweeps.study.design import draw_design
from sweeps.study.trial import Result


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


def as_strangers(run: RunDirectory) -> None:
    os.chown(run.path, SOMEBODY, SOMEBODY)


def part_as_strangers(run: RunDirectory) -> None:
    os.chown(next(run.parts.iterdir()), SOMEBODY, SOMEBODY)


def open_to_all(run: RunDirectory) -> None:
    run.parts.chmod(0o777)


def with_an_open_study(run: RunDirectory) -> None:
    run.study.chmod(0o666)


def with_parts_elsewhere(run: RunDirectory) -> None:
    run.parts.rename(run.path.parent.parent / "parts")
    run.parts.symlink_to(run.path.parent.parent / "parts")


def with_a_self_linked_part(run: RunDirectory) -> None:
    run.part("x", 0).symlink_to(run.part("x", 0))


def with_a_pipe_as_design(run: RunDirectory) -> None:
    run.design.unlink()
    os.mkfifo(run.design)


def with_a_huge_design(run: RunDirectory) -> None:
    with run.design.open("wb") as file:
        file.truncate(1 << 40)


def with_another_table_as_design(run: RunDirectory) -> None:
    pq.write_table(pa.table({"trial": [[1], [2]]}), run.design)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (as_strangers, "it can be written by others"),
        (part_as_strangers, "it can be written by others"),
        (open_to_all, "it can be written by others"),
        (with_an_open_study, "it can be written by others"),
        (with_parts_elsewhere, "a folder in it is a link"),
        (with_a_self_linked_part, "it cannot be read"),
        (with_a_pipe_as_design, "it cannot be read"),
        (with_a_huge_design, "it cannot be read"),
        (with_another_table_as_design, "it cannot be read"),
    ],
)
def test_a_neighbour_that_is_not_ours_or_odd_is_left_out_and_named(
    tmp_path: Path, change: Callable[[RunDirectory], None], reason: str
) -> None:
    if change in (as_strangers, part_as_strangers) and not IS_ROOT:
        pytest.skip("only root can give files away")
    change(run_of(make_toy(draws=4), tmp_path / "runs" / "odd"))
    run_of(make_toy(draws=3), tmp_path / "runs" / "sound")
    said: list[str] = []
    run, design = RunDirectory(tmp_path / "runs" / "new"), draw_design(make_toy(draws=4))
    found = adoptable(run, design, say=said.append)
    assert {path.name: len(rows) for path, rows in found.items()} == {"sound": 6}
    assert said == [f"nothing is taken over from odd: {reason}"]


def test_parts_of_a_neighbour_that_are_none_are_named_and_the_others_taken(
    small: RunDirectory, tmp_path: Path
) -> None:
    pq.write_table(pa.table({"a": [1]}), small.part("odd", 0))
    os.mkfifo(small.part("pipe", 0))
    said: list[str] = []
    run, design = RunDirectory(tmp_path / "large"), draw_design(make_toy(draws=4))
    (rows,) = adoptable(run, design, say=said.append).values()
    assert len(rows) == 8
    assert said == ["nothing is taken over from small/parts/odd-0000.parquet: it cannot be read"]


def test_folders_that_are_no_run_directories_are_passed_over(
    small: RunDirectory, tmp_path: Path
) -> None:
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "itself").symlink_to(tmp_path / "itself")
    (tmp_path / "study.toml").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "nested" / "study.toml").mkdir(parents=True)
    said: list[str] = []
    run, design = RunDirectory(tmp_path / "large"), draw_design(make_toy(draws=4))
    (rows,) = adoptable(run, design, say=said.append).values()
    assert len(rows) == 8
    assert said == ["nothing is taken over from loop, nested: it cannot be read"]


def test_more_fresh_seeds_begin_with_those_that_are_there(small: RunDirectory) -> None:
    run_of(confirmation(small, 2), small.confirmation(2).path)
    found = adoptable(small.confirmation(5), draw_design(confirmation(small, 5)))
    assert [len(rows) for rows in found.values()] == [4]  # two models, two seeds


@pytest.mark.slow
def test_a_longer_sweep_says_what_it_takes_over_and_trains_the_rest(tmp_path: Path) -> None:
    words = ["sweep", "--model", "vitc", "--optim", "sgd", "--epochs", "1", "--executor", "inline"]
    call(*words, "--trials", "2", cwd=tmp_path)
    asked = call(*words, "--trials", "3", "--dry-run", cwd=tmp_path)
    assert "2 trials taken over from runs/" in asked.stdout
    assert len(list((tmp_path / "runs").iterdir())) == 1  # nothing was written
    said = call(*words, "--trials", "3", cwd=tmp_path)
    assert said.returncode == 0, said.stderr
    assert "2 of 3 trials finished already; training 1 trial " in said.stdout


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
