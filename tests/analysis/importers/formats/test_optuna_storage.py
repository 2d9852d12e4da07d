"""An Optuna storage: every trial is kept, and nothing is written."""

from pathlib import Path
from typing import Any

import optuna
import pytest
from foreign_sources import cells, table_of, write_optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from analysis import TableError
from analysis.importers import ImportOptions, convert_sweep, read_sweep
from analysis.importers.source import ExternalSweep


def faults_of(source: ExternalSweep, **wish: Any) -> list[str]:
    with pytest.raises(TableError) as caught:
        convert_sweep(source, ImportOptions(**wish))
    return list(caught.value.faults)


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
        assert fault.startswith("a b#1: 1 run is PRUNED: stopped because they looked bad")


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
    assert "left out: 1 unfinished run without model" in imported.notes


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


def test_directions_and_places_are_those_of_the_storage(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/d.db"
    for name, directions in (("a", ["minimize", "maximize"]), ("b", ["minimize", "minimize"])):
        study = optuna.create_study(storage=url, study_name=name, directions=directions)
        study.optimize(lambda trial: (trial.suggest_float("x", 0, 1), 2.0), n_trials=2)
    one = read_sweep(url, studies=("a",))
    assert one.directions == {"values_0": "minimize", "values_1": "maximize"}
    assert list(one.places) == ["trial 0", "trial 1"]
    both = read_sweep(url)
    assert both.directions == {"values_0": "minimize"}
    assert both.places[2] == "study 'b', trial 0"
    assert both.notes == (
        "values_1: some studies minimize it, others maximize it; read one kind at a time (--study)",
    )
