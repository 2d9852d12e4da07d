"""Readers of other tools' files, and what becomes of their runs."""

import json
import math
import shutil
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
import pytest
from foreign_sources import (
    pycls_job,
    wandb_rows,
    write_optuna,
    write_pycls,
    write_wandb,
)
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from analysis import TableError
from analysis.importers import ChanceLevel, ExternalSweep, ImportOptions, convert_sweep, read_sweep
from analysis.importers.chance import error_spikes
from analysis.importers.formats import recognise_format


def foreign(**columns: list[Any]) -> ExternalSweep:
    frame = pd.DataFrame({n: pd.Series(cells, dtype=object) for n, cells in columns.items()})
    return ExternalSweep(name="mine", format="table", frame=frame)


def table_of(source: ExternalSweep, **wish: Any) -> pd.DataFrame:
    return convert_sweep(source, ImportOptions(**wish)).table


def faults_of(source: ExternalSweep, **wish: Any) -> list[str]:
    with pytest.raises(TableError) as caught:
        convert_sweep(source, ImportOptions(**wish))
    return list(caught.value.faults)


def cells(column: "pd.Series[Any]") -> list[Any]:
    """Cells of a column, None where there is nothing."""
    return [None if pd.isna(cell) else cell for cell in column]


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "json", "parquet"])
def test_an_empty_cell_is_not_a_nan_in_any_format(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"t.{suffix}"
    rows = [{"error": 5.5, "act": "relu"}, {"error": math.nan, "act": None}, {"error": None}]
    match suffix:
        case "csv":
            path.write_text("error,act\n5.5,relu\nNaN,\n,NA\n")
        case "jsonl":
            path.write_text("\n".join(map(json.dumps, rows)) + "\n\n")
        case "json":
            path.write_text(json.dumps(rows))
        case _:
            import pyarrow as pa
            import pyarrow.parquet as pq

            pq.write_table(pa.Table.from_pylist(rows), path)
    table = table_of(read_sweep(str(path)), empty="crashed")
    assert table["outcome"].tolist() == ["ok", "diverged", "crashed"]
    assert cells(table["error"]) == [5.5, None, None]
    assert cells(table["act"]) == ["relu", None, None]
    assert set(table["model"]) == {"t"}


def test_a_table_keeps_its_rows_columns_and_types() -> None:
    source = foreign(error=[5.0, 90.0], n=[1, None], name=["x", None], ok=[True, False])
    table = table_of(source, constants={"model": "a", "epochs": 5})
    assert list(table) == ["model", "epochs", "n", "name", "ok", "outcome", "error"]
    assert [str(t) for t in table.dtypes] == [
        *("object", "Int64", "Int64", "object", "boolean", "object", "float64"),
    ]
    assert cells(table["n"]) == [1, None]


def test_a_column_with_one_of_our_names_is_kept_under_another() -> None:
    imported = convert_sweep(
        foreign(error=[1.0], test=[7.0]), ImportOptions(columns={"error": "test"})
    )
    assert imported.table["error"].tolist() == [7.0]
    assert imported.table["source_error"].tolist() == [1.0]
    assert any("kept as 'source_error'" in note for note in imported.notes)


def test_guesses_are_made_only_where_nothing_else_fits() -> None:
    assert table_of(foreign(err=[5.0], wd=[0.1])).columns.tolist()[:2] == ["model", "weight_decay"]
    assert "no column is known" in faults_of(foreign(err=[5.0], test_err=[6.0]))[0]
    assert "no column is known" in faults_of(foreign(err=[5.0], acc=[95.0]))[0]
    assert "no column is known" in faults_of(foreign(loss=[5.0]))[0]


@pytest.mark.parametrize(
    ("values", "unit", "error"),
    [
        ([90.0, 80.0], None, [10.0, 20.0]),
        ([0.9, 0.7], "fraction", [10.0, 30.0]),
        ([0.9, 0.7], "percent", [99.1, 99.3]),
    ],
)
def test_accuracies_become_errors(values: list[float], unit: Any, error: list[float]) -> None:
    table = table_of(foreign(a=values), accuracy="a", unit=unit)
    assert table["error"].tolist() == error


def test_a_unit_is_never_guessed_below_1() -> None:
    fault = "mine: a: no value is above 1: --unit fraction, or --unit percent"
    assert faults_of(foreign(a=[0.9, 0.7]), accuracy="a") == [fault]
    assert faults_of(foreign(a=[0.9, 1.0]), columns={"error": "a"}) == [fault]
    (fault,) = faults_of(foreign(a=[2.0, 312.5]), columns={"error": "a"})
    assert fault == "mine: a: got 312.5, allowed as percent is 0 to 100"


def test_other_errors_follow_the_unit() -> None:
    source = foreign(error=[0.1, 0.2], best_val_error=[0.05, None], chance=[0.9, 0.9])
    table = table_of(source, unit="fraction")
    assert table["error"].tolist() == [10.0, 20.0]
    assert cells(table["best_val_error"]) == [5.0, None]
    assert table["chance"].tolist() == [90.0, 90.0]
    # else every run would be collapsed
    (fault,) = faults_of(foreign(error=[10.0, 20.0], chance=[0.9, 0.9]))
    assert fault == "mine: chance: the column has values of at most 1 beside errors in percent"


def test_states_mean_what_the_person_says_and_nothing_is_guessed() -> None:
    source = foreign(error=[5.0, 6.0, math.inf, 7.0], s=["done", "Oom", "done", "OK"])
    wish: dict[str, Any] = {"columns": {"outcome": "s"}}
    faults = faults_of(source, **wish)
    assert [fault.partition(": say")[0] for fault in faults] == [
        "mine: 2 runs have the outcome 'done'",
        "mine: 1 runs have the outcome 'Oom'",
    ]
    table = table_of(source, **wish, outcomes={"DONE": "ok", "oom": "out_of_memory"})
    assert table["outcome"].tolist() == ["ok", "out_of_memory", "diverged", "ok"]
    assert cells(table["error"]) == [5.0, None, None, 7.0]
    (fault,) = faults_of(source, **wish, outcomes={"done": "ok", "oom": "crashed", "x": "ok"})
    assert fault == "mine: --map-outcome x=...: there is no such value, there are: done, Oom, OK"


@pytest.mark.parametrize(("bad", "said"), [("N-A", "'N-A'"), (-1.0, "-1.0"), (True, "True")])
def test_what_is_no_error_is_named_with_its_row(bad: object, said: str) -> None:
    (fault,) = faults_of(foreign(e=[1.0, bad]), columns={"error": "e"})
    assert fault.startswith(f"mine: e: row 2 is {said}, allowed is a number of 0 or more")


def test_constant_predictions_of_every_class_are_collapsed_given_the_shares() -> None:
    shares = [3479, 3123, 3213]
    errors = [round(100 * (1 - share / 9815), 4) for share in shares]
    others = [round(100 * wrong / 9815, 4) for wrong in (6183, 6282, 1178)]  # 63%, 64%, 12%
    source = foreign(error=[*errors, *others])
    expected = ["collapsed"] * 3 + ["ok", "collapsed", "ok"]
    table = table_of(source, chance=ChanceLevel.of_counts(shares))
    assert table["outcome"].tolist() == expected
    assert table["error"].tolist()[:3] == errors  # kept; the analysis counts them at chance
    assert table["wrong"].tolist()[:3] == [9815 - share for share in shares]
    assert set(table["n_eval"]) == {9815}
    # balanced classes are an assumption, and here a wrong one: c - 3 sd is 65.2
    balanced = table_of(source, chance=ChanceLevel.of_classes(3), n_eval=9815)
    assert balanced["outcome"].tolist()[0] == "ok"


def test_counts_are_stored_only_where_every_error_is_one() -> None:
    whole = table_of(foreign(error=[12.34, None, 50.0]), n_eval=10_000)
    assert cells(whole["wrong"]) == [1234, None, 5000]
    assert "wrong" not in table_of(foreign(error=[12.34, 50.0]), n_eval=150)


def test_heaps_are_named_and_change_nothing() -> None:
    errors = [*(10 + i / 100 for i in range(90)), *[64.5543] * 9, *[67.2644] * 11]
    imported = convert_sweep(foreign(error=errors), ImportOptions())
    assert set(imported.table["outcome"]) == {"ok"}
    assert any("9 at 64.5543%, 11 at 67.2644%" in note for note in imported.notes)


@pytest.mark.parametrize(
    "errors",
    [
        [],
        [5.0] * 20,
        [10 + i / 10 for i in range(64)],
        [5.0 * (i % 7) for i in range(64)],  # 20 images: every error is one of a few
        [0.0] * 30 + [20 + i for i in range(30)],  # a heap at the best is no failure
    ],
)
def test_no_heap_is_seen_where_there_is_none(errors: list[float]) -> None:
    assert error_spikes(errors) == {}


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("optuna") / "a b#1.db"
    write_optuna(f"sqlite:///{path}")
    return path


def test_an_optuna_study_keeps_every_trial(storage: Path) -> None:
    path = storage
    path.chmod(0o444)
    before = path.read_bytes()
    study = optuna.load_study(study_name="cnn", storage=f"sqlite:///{path}")
    wish: dict[str, Any] = {"columns": {"error": "value"}, "outcomes": {"PRUNED": "timed_out"}}
    table = table_of(read_sweep(str(path)), **wish)
    assert path.read_bytes() == before
    assert table["outcome"].tolist() == [
        *("ok", "ok", "ok", "crashed", "crashed", "diverged", "diverged", "timed_out"),
        *("diverged", "ok", "ok", "ok", "missing", "missing"),
    ]
    assert table["draw"].tolist() == list(range(14))
    assert set(table["study"]) == set(table["model"]) == {"cnn"}
    assert set(table["sampler"]) == {"unknown"}
    assert cells(table["lr"])[:12] == [trial.params["lr"] for trial in study.trials[:12]]
    assert cells(table["host"])[:2] == ["here", "here"]
    told = {**wish, "outcomes": {"PRUNED": "missing", "fail": "diverged"}}
    assert table_of(read_sweep(str(path)), **told)["outcome"].tolist()[3:5] == [
        "diverged",
        "diverged",
    ]


def test_pruned_trials_need_a_word_and_cannot_be_results(storage: Path) -> None:
    source = read_sweep(f"sqlite:///{storage}")
    for outcomes in ({}, {"PRUNED": "ok"}, {"PRUNED": "collapsed"}):
        (fault,) = faults_of(source, columns={"error": "value"}, outcomes=outcomes)
        assert fault.startswith("a b#1: 1 runs are PRUNED: stopped because they looked bad")


def test_studies_are_chosen_by_name_and_a_journal_is_a_storage_too(tmp_path: Path) -> None:
    path = tmp_path / "journal.log"
    storage = JournalStorage(JournalFileBackend(str(path)))
    write_optuna(storage, "first")
    second = optuna.create_study(
        storage=storage, study_name="second", directions=["minimize", "maximize"]
    )
    second.optimize(lambda trial: (trial.suggest_float("lr", 5, 6), 1.0), n_trials=3)
    before = path.read_bytes()
    assert len(read_sweep(str(path)).frame) == 17
    two = read_sweep(str(path), studies=("second",))
    assert path.read_bytes() == before
    table = table_of(two, columns={"error": "values_0"})
    assert (set(table["model"]), len(table)) == ({"second"}, 3)
    with pytest.raises(TableError, match="no study 'third', there are: 'first', 'second'"):
        read_sweep(str(path), studies=("third",))


def test_a_retried_trial_counts_once_at_its_first_place(tmp_path: Path) -> None:
    study = optuna.create_study(storage=f"sqlite:///{tmp_path}/r.db", study_name="r")
    distribution = {"lr": optuna.distributions.FloatDistribution(0.0, 1.0)}
    failed, complete = optuna.trial.TrialState.FAIL, optuna.trial.TrialState.COMPLETE

    def add(lr: float, value: float | None, **attributes: Any) -> None:
        state = failed if value is None else complete
        study.add_trial(
            optuna.create_trial(
                state=state,
                value=value,
                params={"lr": lr},
                distributions=distribution,
                system_attrs=attributes,
            )
        )

    add(0.1, None)
    add(0.2, 12.0)
    add(0.1, None, failed_trial=0, retry_history=[0])
    add(0.1, 11.0, failed_trial=0, retry_history=[0, 2])
    table = table_of(read_sweep(f"sqlite:///{tmp_path}/r.db"), columns={"error": "value"})
    assert cells(table["error"]) == [11.0, 12.0]
    assert cells(table["draw"]) == [0, 1]
    assert cells(table["attempt"]) == [3, None]


def test_a_trial_that_waits_has_no_model_and_is_named(tmp_path: Path) -> None:
    study = optuna.create_study(storage=f"sqlite:///{tmp_path}/w.db")
    study.optimize(lambda t: 10.0 + len(t.suggest_categorical("model", ["a", "bb"])), n_trials=3)
    study.ask()
    imported = convert_sweep(
        read_sweep(f"sqlite:///{tmp_path}/w.db"), ImportOptions(columns={"error": "value"})
    )
    assert set(imported.table["model"]) <= {"a", "bb"}
    assert len(imported.table) == 3
    assert "left out: 1 unfinished that have no model yet" in imported.notes


def test_what_is_no_storage_is_refused(tmp_path: Path) -> None:
    import sqlite3

    other = sqlite3.connect(tmp_path / "other.db")
    other.execute("create table t (x)")
    other.commit()
    other.close()
    with pytest.raises(TableError, match="is no Optuna storage that can be read"):
        read_sweep(str(tmp_path / "other.db"))
    with pytest.raises(TableError, match="no such file"):
        read_sweep(f"sqlite:///{tmp_path}/none.db")
    assert not (tmp_path / "none.db").exists()
    with pytest.raises(TableError) as caught:
        read_sweep("mysql://me:secret@nowhere/x")
    assert "secret" not in str(caught.value)


def test_a_wandb_export_is_put_into_its_order(tmp_path: Path) -> None:
    write_wandb(tmp_path / "export.csv")
    source = read_sweep(str(tmp_path / "export.csv"))
    assert source.format == "wandb"
    wish: dict[str, Any] = {"accuracy": "test/acc", "unit": "fraction"}
    table = table_of(source, **wish)
    assert table["Name"].tolist() == [row[0] for row in wandb_rows()]
    assert table["outcome"].tolist() == [
        *["ok"] * 6, "crashed", "crashed", "timed_out", "missing", "diverged", "diverged",
    ]  # fmt: skip
    assert table["error"].tolist()[:3] == [10.0, 11.0, 12.0]
    assert table["error"].isna().tolist() == [False] * 6 + [True] * 6
    assert table["model"].tolist()[:2] == ["a", "b"]  # from `arch`, by its name
    assert set(table["sampler"]) == {"unknown"}
    told = table_of(source, **wish, outcomes={"failed": "diverged"}, empty="missing")
    assert [told["outcome"][i] for i in (6, 7, 11)] == ["diverged", "crashed", "missing"]


def test_a_pycls_sweep_keeps_what_pycls_drops(tmp_path: Path) -> None:
    folder = tmp_path / "vit-sweep"
    folder.mkdir()
    write_pycls(folder / "sweep.json")
    table = table_of(read_sweep(str(folder / "sweep.json")), chance=ChanceLevel.of_classes(1000))
    assert table["draw"].tolist() == list(range(6))
    assert table["outcome"].tolist() == ["ok", "diverged", "ok", "missing", "missing", "missing"]
    assert cells(table["error"]) == [41.0, None, 43.0, None, None, None]  # EMA, last epoch
    assert cells(table["raw_error"])[0] == 40.0
    assert cells(table["best_val_error"])[:2] == [41.0, 71.0]
    assert cells(table["last_finite_error"])[:2] == [41.0, 71.0]  # before the loss was NaN
    assert table["lr"].tolist()[:3] == [1.0, 0.1, 0.01]
    assert cells(table["epochs"])[:2] == [3, 3]
    assert (set(table["model"]), set(table["sampler"])) == ({"vit-sweep"}, {"random"})
    assert "cfg.OPTIM.MOMENTUM" in table
    assert "cfg.TRAIN.IM_SIZE" not in table  # the same in every job
    assert set(table["optim"]) == {"adamw"}  # of the job without a log too


def test_the_last_epoch_counts_in_pycls_not_the_best(tmp_path: Path) -> None:
    job = pycls_job(0, test_ema_epoch=None)
    job["test_epoch"] = {**job["test_epoch"], "top1_err": [70.0, 30.0, 60.0]}
    (tmp_path / "s.json").write_text(json.dumps([job]))
    table = table_of(read_sweep(str(tmp_path / "s.json")))
    assert (table["error"][0], table["best_val_error"][0]) == (60.0, 30.0)
    assert "raw_error" not in table


def test_formats_are_recognised(tmp_path: Path, storage: Path) -> None:
    write_wandb(tmp_path / "w.csv")
    write_pycls(tmp_path / "p.json")
    shutil.copy(storage, tmp_path / "o.weird")
    (tmp_path / "t.csv").write_text("Name,error\na,1\n")
    (tmp_path / "t.json").write_text('[{"error": 5}]')
    (tmp_path / "t.txt").write_text("error\n5\n")
    names = ["w.csv", "p.json", "o.weird", "t.csv", "t.json"]
    found = [recognise_format(str(tmp_path / name)) for name in names]
    assert found == ["wandb", "pycls", "optuna", "table", "table"]
    assert recognise_format("mysql://host/x") == "optuna"
    with pytest.raises(TableError, match="its format is not recognised; allowed are"):
        recognise_format(str(tmp_path / "t.txt"))


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", "", "no rows"),
        ("a.csv", "error,error\n1,2\n", "the column 'error' is there twice"),
        ("a.csv", "error,b\n1\n", "row 1 has 1 cells, the first line has 2"),
        ("a.csv", "error\n\xff\n", "cannot be read"),
        ("a.jsonl", "{", "cannot be read"),
        ("a.jsonl", "[1]", "allowed is one object for each run"),
        ("a.json", "[]", "no rows"),
        ("a.parquet", "no", "cannot be read"),
    ],
)
def test_a_file_that_is_no_table_is_named(
    tmp_path: Path, name: str, content: str, said: str
) -> None:
    (tmp_path / name).write_bytes(content.encode("latin-1"))
    with pytest.raises(TableError, match=said):
        read_sweep(str(tmp_path / name))
