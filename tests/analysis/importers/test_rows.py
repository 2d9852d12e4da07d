"""Which rows are runs, which names are names, and in which order the runs were drawn."""

from pathlib import Path
from typing import Any

import pytest
from foreign_tables import faults_of, foreign, outcomes_of

from analysis import ImportOptions, TableError, load, samples
from analysis.importers import convert_sweep


def test_epochs_of_one_run_are_no_runs() -> None:
    source = foreign(epoch=[1, 2, 3], lr=[0.1] * 3, error=[30.0, 20.0, 10.0], trial_id=["a"] * 3)
    (fault,) = faults_of(source)
    assert "the rows are steps of runs, not runs: 'epoch' differs within each 'trial_id'" in fault
    table = convert_sweep(source, ImportOptions(last_of="trial_id")).table
    assert table["error"].tolist() == [10.0]
    (fault,) = faults_of(foreign(epoch=[1, 2, 3], lr=[0.1] * 3, error=[30.0, 20.0, 10.0]))
    assert "the rows look like steps of a run" in fault


def test_steps_of_several_runs_are_no_runs() -> None:
    source = foreign(run=["a", "a", "b", "b"], step=[1, 2, 1, 2], error=[9.0, 5.0, 8.0, 7.0])
    assert "--last-of run keeps the last row of each" in faults_of(source)[0]
    table = convert_sweep(source, ImportOptions(last_of="run")).table
    assert table["error"].tolist() == [5.0, 7.0]
    assert "there is no column 'rum'" in faults_of(source, last_of="rum")[0]


def test_numbered_draws_are_runs() -> None:
    source = foreign(iteration=[0, 1, 2], learning_rate=[0.1, 0.2, 0.3], error=[9.0, 5.0, 8.0])
    assert outcomes_of(source) == ["ok"] * 3
    grouped = foreign(name=["a", "a", "b"], epoch=[5, 5, 5], error=[9.0, 5.0, 8.0])
    assert outcomes_of(grouped) == ["ok"] * 3


def test_runs_that_were_stopped_early_are_asked_about() -> None:
    source = foreign(error=[9.0, 50.0, 8.0], training_iteration=[10, 3, 10], lr=[1, 2, 3])
    (fault,) = faults_of(source)
    assert "1 of 3 finished runs have a smaller 'training_iteration' than the others" in fault
    for outcome in ("timed_out", "ok"):
        found = outcomes_of(source, outcomes={"shorter": outcome})
        assert found == ["ok", outcome, "ok"]


def test_the_last_epoch_is_held_against_the_length_of_the_run() -> None:
    rows: dict[str, list[Any]] = {"error": [9.0, 7.0] * 8, "epochs": [5, 10] * 8}
    assert outcomes_of(foreign(**rows, epoch=[4, 9] * 8)) == ["ok"] * 16
    assert outcomes_of(foreign(**rows, epoch=[5, 10] * 8)) == ["ok"] * 16
    assert "4 of 16" in faults_of(foreign(**rows, epoch=[4, 9, 4, 8] * 4))[0]


def test_steps_in_any_order_with_gaps_are_no_runs() -> None:
    rows = {"run": ["a", "a", "a", "b", "b"], "error": [5.0, 9.0, 20.0, 7.0, 8.0]}
    source = foreign(**rows, step=[3, 2, 1, 2, None])
    assert "--last-of run keeps the last row of each" in faults_of(source)[0]
    table = convert_sweep(source, ImportOptions(last_of="run")).table
    assert table["error"].tolist() == [5.0, 7.0]
    seeds = foreign(seed=[0, 0, 1, 1], step=[1, 2, 1, 2], lr=[1, 1, 2, 2], error=[9, 5, 8, 7])
    assert "'step' differs within each 'seed'" in faults_of(seeds)[0]
    drawn = foreign(seed=[0, 0, 1, 1], step=[1, 2, 1, 2], lr=[1, 2, 3, 4], error=[9, 5, 8, 7])
    assert outcomes_of(drawn) == ["ok"] * 4


def test_the_row_that_counts_is_the_one_that_is_named() -> None:
    source = foreign(run=["a", "a", "b"], error=[5.0, "bad", 6.0])
    assert faults_of(source, last_of="run")[0].startswith("mine, row 2: error is 'bad'")
    nameless = foreign(run=["a", None, "b"], error=[5.0, 7.0, 6.0])
    assert "mine, row 2: 'run' is empty" in faults_of(nameless, last_of="run")[0]


def test_a_run_that_diverged_early_has_diverged() -> None:
    rows = {"error": [9.0, float("nan"), 8.0], "epoch": [90, 3, 90], "lr": [1, 2, 3]}
    assert outcomes_of(foreign(**rows)) == ["ok", "diverged", "ok"]


def test_models_may_have_lengths_of_their_own() -> None:
    rows: dict[str, list[Any]] = {"model": ["a", "b"] * 3, "error": [9.0, 7.0, 8.0] * 2}
    assert outcomes_of(foreign(**rows, epoch=[90, 30] * 3)) == ["ok"] * 6
    assert "1 of 6" in faults_of(foreign(**rows, epoch=[90, 30, 90, 30, 90, 20]))[0]
    crashed = foreign(error=[9.0, None], state=["done", "failed"], epochs=[5, 5], epoch=[5, 2])
    assert outcomes_of(crashed) == ["ok", "crashed"]


def test_a_column_called_number_that_repeats_is_no_order() -> None:
    source = foreign(number=[7, 3, 7], error=[5.0, 9.0, 7.0])
    assert convert_sweep(source, ImportOptions()).table["number"].tolist() == [7, 3, 7]


def test_a_table_sorted_by_another_result_has_lost_the_order_too() -> None:
    states = ["finished"] * 5 + ["pending"] * 2
    losses = [0.1, 0.2, 0.3, 0.4, 0.5, None, None]
    source = foreign(test_err=[5.0, 9.0, 7.0, 8.0, 6.0, None, None], val_loss=losses, state=states)
    (fault,) = faults_of(source)
    assert "the rows are sorted by 'val_loss'" in fault
    assert fault.endswith("--map-outcome pending=timed_out")
    blocks = foreign(
        model=["a"] * 5 + ["b"] * 5 + ["a", "b"],
        error=[5.0, 6.0, 7.0, 8.0, 9.0] * 2 + [None, None],
        state=["finished"] * 10 + ["running"] * 2,
    )
    assert "the rows are sorted by 'error'" in faults_of(blocks)[0]


def test_a_table_sorted_by_its_errors_has_lost_the_place_of_unfinished_runs() -> None:
    states = ["finished"] * 5 + ["running"] * 2
    errors = [5.0, 6.0, 7.0, 8.0, 9.0, None, None]
    (fault,) = faults_of(foreign(error=errors, state=states))
    assert "the place of the 2 unfinished runs in the order of the draws is lost" in fault
    kept = outcomes_of(foreign(error=errors, state=states), outcomes={"running": "timed_out"})
    assert kept.count("timed_out") == 2
    numbered = foreign(error=errors, state=states, number=[6, 1, 2, 3, 4, 0, 5])
    table = convert_sweep(numbered, ImportOptions()).table
    assert table["number"].tolist() == list(range(7))
    assert table["outcome"].tolist()[0] == "missing"
    assert outcomes_of(foreign(error=[7.0, 5.0, 8.0, 6.0, None], state=[*states[:4], "running"]))


def test_logs_and_steps_of_jobs_are_no_runs() -> None:
    log = foreign(step=[1, 2, 3], lr=[0.3, 0.2, 0.1], error=[9.0, 5.0, 4.0])
    assert "the rows look like steps of a run" in faults_of(log)[0]
    nameless = foreign(epoch=[1, 2, 3] * 4, error=[9.0, 5.0, 4.0] * 4)
    assert "the rows look like steps of a run" in faults_of(nameless)[0]
    jobs = ["12_0", "12_0.batch", "12_0.extern", "12_1"]
    (fault,) = faults_of(foreign(JobID=jobs, error=[9.0, None, None, 8.0], State=["COMPLETED"] * 4))
    assert "leave them out, as sacct -X does" in fault


def test_the_mean_under_a_spreadsheet_is_no_run() -> None:
    (fault,) = faults_of(foreign(model=["a", "a", "b", "mean"], error=[9.0, 8.0, 7.0, 8.0]))
    assert fault == "mine, row 4: model is 'mean', a summary and no run: remove it"


def test_runs_are_put_into_the_order_of_their_start() -> None:
    times = [f"2026-11-{28 - i} 10:00:00" for i in range(6)]
    source = foreign(
        start_time=times,
        error=[None, None, 8.0, 9.0, 7.0, 6.0],
        status=["RUNNING"] * 2 + ["FINISHED"] * 4,
    )
    table = convert_sweep(source, ImportOptions()).table
    assert table["outcome"].tolist() == ["ok"] * 4 + ["missing"] * 2
    assert [s.n for s in samples(table)] == [4]


def test_copies_and_repeats_are_seen() -> None:
    twice = foreign(lr=[0.1, 0.2, 0.1, 0.2], error=[9.0, 8.0, 9.0, 8.0])
    assert faults_of(twice)[0] == "mine, row 3: 2 rows are a copy of an earlier row: remove copies"
    once = foreign(lr=[0.1, 0.2, 0.3, 0.1], error=[9.0, 8.0, 7.0, 9.0])
    assert faults_of(once)[0] == "mine, row 4: 1 row is a copy of an earlier row: remove copies"
    folds = foreign(
        lr=[0.1, 0.2] * 3, fold=[1, 1, 2, 2, 3, 3], error=[9.0, 8.0, 7.0, 6.0, 5.0, 4.0]
    )
    notes = convert_sweep(folds, ImportOptions()).notes
    assert any("2 configurations have 3 rows each" in note for note in notes)


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_names_are_text(tmp_path: Path) -> None:
    rows = "1_2,5\n1_3,6\n12,7\n012,8\nvit ,9\nvit,10\n"
    path = write(tmp_path / "a.csv", "model,error\n" + rows)
    assert [(s.label, s.n) for s in samples(load(path))] == [
        ("1_2", 1), ("1_3", 1), ("12", 1), ("012", 1), ("vit", 2),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("model,error\nvit,12.5,\nvit,13,\n", "3 cells"),
        ("model,error,error\nvit,12,13\n", "'error' is there twice"),
        ("model,error\nvit,1000\n", "got 1000, allowed as percent is 0 to 100"),
        ("model,error,test_acc\nvit,,91\nvit,,92\n", "--accuracy test_acc"),
        ("model,error\nvit,5\nvit,6\nvit,7\nvit,12.5 %\n", "line 5: error is '12.5 %'"),
    ],
)
def test_what_import_refuses_is_not_read_at_all(tmp_path: Path, text: str, fault: str) -> None:
    with pytest.raises(TableError) as caught:
        load(write(tmp_path / "a.csv", text))
    assert fault in caught.value.faults[0]


def test_the_largest_double_is_infinity(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "model,error\na,5\na,1.7976931348623157e308\na,Infinity\n")
    assert load(path)["outcome"].tolist() == ["ok", "diverged", "diverged"]


def test_numbers_as_json_texts_are_numbers(tmp_path: Path) -> None:
    rows = '{"error": 5.5}\n{"error": "NaN"}\n{"error": "Infinity"}\n{"error": "6.5"}\n'
    table = load(write(tmp_path / "a.jsonl", rows))
    assert table["outcome"].tolist() == ["ok", "diverged", "diverged", "ok"]


def test_every_fault_has_a_command_that_settles_it(tmp_path: Path) -> None:
    path = write(
        tmp_path / "own.csv",
        "run_id,arch,opt,learning_rate,wd,val_acc,status\n"
        + "".join(f"r{i},vit,sgd,0.{i + 1},0.1,0.{9 - i},ended\n" for i in range(5)),
    )
    with pytest.raises(TableError) as caught:
        load(path)
    assert caught.value.hint == (
        f"stability import {path} --accuracy val_acc --unit fraction --map-outcome ended=OUTCOME "
        "--out own.parquet"
    )
