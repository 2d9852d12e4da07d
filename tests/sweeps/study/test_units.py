"""Units of an objective's errors: what is accepted and asked, how it is stored and analysed."""

import json
from pathlib import Path
from typing import Any

import objectives
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from command_line import call, faults_of, request
from drivers import asking
from drivers import drive_in_unit as drive
from toys import make_toy

from analysis import TableError, load, summarise
from analysis.table.checks import impossible_rows
from stability.cli.study.unit import check_unit
from sweeps.driver.adopt import adopt, adoptable
from sweeps.driver.tally import Tally
from sweeps.errors import ExecutorError, UnitError
from sweeps.objective.function_objective import result_of
from sweeps.store import views
from sweeps.store.answers import unit_question
from sweeps.store.parts import Ledger
from sweeps.store.run_directory import RunDirectory
from sweeps.study.design import draw_design
from sweeps.study.study import Study
from sweeps.study.units import faults_in_unit as faults_in

FINE = (12.0, 30.0, 14.5, 80.0, 20.0, 16.0, 13.0, 15.0)
FRACTIONS = (0.12, 0.3, 0.145, 0.8, 0.2, 0.16, 0.13, 0.07)


def rows_of(run: RunDirectory) -> dict[int, dict[str, Any]]:
    return {row["which"]: row for row in pq.read_table(run.results).to_pylist()}


# What is possible in a unit.

IMPOSSIBLE = [
    ({"error": 250.0}, "percent", "error is 250.0"),
    ({"error": -1.0}, "percent", "error is -1.0"),
    ({"error": 1.2}, "fraction", "error is 1.2"),
    ({"error": 5.0, "val_error": 101.0}, "percent", "val_error is 101.0"),
    ({"error": 5.0, "chance": 0.0}, "percent", "chance is 0.0"),
    ({"error": 5.0, "chance": 101.0}, "percent", "chance is 101.0"),
    ({"error": 0.5, "chance": 90.0}, "fraction", "chance is 90.0"),
    ({"error": 0.5, "chance": 0.9}, "raw", "chance is 0.9"),
    ({"error": 50.0, "wrong": 5, "n_eval": 4}, "percent", "wrong is 5"),
    ({"error": 50.0, "wrong": 2, "n_eval": 0}, "percent", "n_eval is 0"),
    ({"error": 50.0, "wrong": 1.5, "n_eval": 3}, "percent", "wrong is 1.5"),
    ({"error": 50.0, "wrong": -1, "n_eval": 3}, "percent", "wrong is -1"),
    ({"error": 40.0, "wrong": 2, "n_eval": 4}, "percent", "error is 40.0"),
    ({"error": 50.0, "wrong": 2, "n_eval": 4}, "fraction", "error is 50.0"),
]


@pytest.mark.parametrize(("values", "unit", "said"), IMPOSSIBLE)
def test_an_impossible_value_is_named_with_the_unit(
    values: dict[str, float], unit: str, said: str
) -> None:
    assert faults_in(values, unit)[0].startswith(said)


@pytest.mark.parametrize(
    ("values", "unit"),
    [
        ({"error": 0.0, "chance": 90.0, "wrong": 0, "n_eval": 4}, "percent"),
        ({"error": 100.0, "val_error": None}, "percent"),
        ({"error": 0.5, "chance": 0.9, "wrong": 2, "n_eval": 4}, "fraction"),
        ({"error": 33.3, "wrong": 1, "n_eval": 3}, "percent"),
        ({"error": -1e9, "val_error": 250.0}, "raw"),
        ({"error": 0.5, "wrong": 2, "n_eval": 4}, ""),
        ({"error": float("nan")}, "percent"),
    ],
)
def test_a_possible_value_is_no_fault(values: dict[str, float], unit: str) -> None:
    assert faults_in(values, unit) == []


@pytest.mark.parametrize("values", [v for v, unit, _ in IMPOSSIBLE if unit == "percent"])
def test_analysis_has_the_same_rule_of_what_is_impossible(values: dict[str, float]) -> None:
    table = pd.DataFrame([{"outcome": "ok", **values}])
    assert list(impossible_rows(table)) == [0]


# One bad value fails its trial and blocks nothing.


@pytest.mark.parametrize("bad", [-1.0, 250.0, True, 1j, {"wrong": 5, "n_eval": 0}, {"wrong": 9}])
def test_one_bad_answer_fails_its_trial_once(tmp_path: Path, bad: Any) -> None:
    run = asking(tmp_path / "run", [*FINE[:5], bad, *FINE[6:]])
    tally = drive(run)
    assert (tally.done, tally.left(), len(tally.failed)) == (7, 0, 1)
    assert sorted(objectives.ASKED) == list(range(8))
    failed = rows_of(run)[5]
    assert (failed["outcome"], failed["attempt"]) == ("crashed", 1)
    assert summarise(load(run.path))[["n", "ok", "failed"]].values.tolist() == [[8, 7, 1]]
    objectives.ANSWERS[5] = 11.0
    assert drive(run).done == 7  # it is left alone
    assert drive(run, retry_failed=True).done == 8


def test_a_bad_value_of_an_objective_of_cohorts_fails_its_trial(tmp_path: Path) -> None:
    answers: list[Any] = [{"error": error} for error in FINE]
    answers[2] = {"error": 20.0, "val_error": -3.0}
    tally = drive(asking(tmp_path / "run", answers, "yielded"))
    assert (tally.done, len(tally.failed)) == (7, 1)
    (message,) = [tally.ledger[trial].message for trial in tally.failed]
    assert message is not None
    assert "val_error is -3.0, allowed with unit percent: 0 to 100" in message


def test_where_every_answer_is_impossible_the_sweep_stops(tmp_path: Path) -> None:
    run = asking(tmp_path / "run", [-error for error in FINE])
    with pytest.raises(ExecutorError, match="allowed with unit percent"):
        drive(run)
    assert len(objectives.ASKED) == 3
    assert drive(run, "raw", 1.0).done == 8  # what failed by another unit is tried again


def test_an_impossible_value_of_an_earlier_version_counts_as_failed(tmp_path: Path) -> None:
    run = asking(tmp_path / "run", FINE)
    drive(run)
    for part in run.parts.glob("*.parquet"):
        table = pq.read_table(part).drop_columns(["error_unit"])
        rows = table.to_pylist()
        rows[2]["error"] = -1.0
        table = pa.Table.from_pylist(rows, table.schema)
        pq.write_table(table, part, write_page_checksum=True)
    frame = pd.read_parquet(run.results).drop(columns="error_unit")
    frame.loc[2, "error"] = -1.0
    frame.to_parquet(run.results)
    with pytest.warns(UserWarning, match="counts as failed: error is -1"):
        assert load(run.path)["outcome"].tolist().count("ok") == 7  # the view as it was
    tally = Tally(run.read_design(), Ledger(run))
    tally.look()
    assert (tally.done, tally.left(), len(tally.failed)) == (7, 0, 1)
    assert [why.partition(",")[0] for why in views.rebuild(run).values()] == [
        "the objective's return value cannot be used: error is -1.0"
    ]
    assert load(run.path)["outcome"].tolist().count("ok") == 7


def test_a_table_from_elsewhere_with_such_a_value_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    path.write_text("model,error\na,12\na,250\na,-1\n")
    with pytest.raises(TableError, match="line 3: error: got 250"):
        load(path)


# The unit is asked for.


@pytest.mark.parametrize(
    "answers",
    [
        FRACTIONS,
        (0.0,) * 8,
        [{"error": 30 * e, "chance": 0.9, "n_eval": 400} for e in FRACTIONS],
    ],
)
def test_the_first_three_results_may_ask_for_the_unit(tmp_path: Path, answers: Any) -> None:
    run = asking(tmp_path / "run", answers)
    assert drive(run).done == 3
    assert len(objectives.ASKED) == 3
    with pytest.raises(UnitError, match="--unit fraction"):
        check_unit(run, looked(run))
    assert drive(run).done == 3  # nothing more


def test_a_study_of_two_trials_is_asked_about_when_both_are_trained(tmp_path: Path) -> None:
    run = asking(tmp_path / "run", FRACTIONS[:2])
    assert drive(run).done == 2
    with pytest.raises(UnitError, match="The first two errors are"):
        check_unit(run, looked(run))


def looked(run: RunDirectory) -> Ledger:
    ledger = Ledger(run)
    ledger.refresh()
    return ledger


@pytest.mark.parametrize(
    "answers", [FINE, (0.5, 0.4, 30.0, *FINE[3:]), [{"wrong": 2, "n_eval": 400}] * 8]
)
def test_percent_is_not_asked_for(tmp_path: Path, answers: Any) -> None:
    assert drive(asking(tmp_path / "run", answers)).done == 8


def test_results_of_an_earlier_version_are_not_asked_about(tmp_path: Path) -> None:
    run = asking(tmp_path / "run", FRACTIONS)
    drive(run)
    for part in run.parts.glob("*.parquet"):
        pq.write_table(pq.read_table(part).drop_columns(["error_unit"]), part)
    assert drive(run).done == 8
    assert rows_of(run)[0]["error"] == 0.12


def test_what_was_trained_before_is_converted_when_the_unit_is_named(tmp_path: Path) -> None:
    answers = [
        {"error": e, "val_error": e / 2, "chance": 0.9, "n_eval": 400, "curve": [{"val_error": e}]}
        for e in FRACTIONS
    ]
    run = asking(tmp_path / "run", answers)
    before = run.read_study()
    drive(run)
    assert drive(run, "fraction").done == 8
    assert sorted(objectives.ASKED) == list(range(8))
    after = run.read_study()
    assert (after.unit, after.hash, after.name) == ("fraction", before.hash, before.name)
    found = rows_of(run)
    assert [found[i]["error"] for i in range(8)] == [12, 30, 14.5, 80, 20, 16, 13, 7]
    assert [found[i]["outcome"] for i in range(8)] == ["ok"] * 8
    assert {(row["chance"], row["error_unit"]) for row in found.values()} == {(90.0, "percent")}
    assert found[1]["val_error"] == 15.0
    curves = pq.read_table(run.curves)["val_error"].to_pylist()
    assert sorted(curves) == sorted(100 * e for e in FRACTIONS)


def test_a_collapsed_run_is_told_by_the_unit_that_is_named_later(tmp_path: Path) -> None:
    answers = [{"error": e, "chance": 0.9, "n_eval": 400} for e in (0.89, *FRACTIONS[1:])]
    run = asking(tmp_path / "run", answers)
    drive(run)
    drive(run, "fraction")
    found = rows_of(run)
    assert [found[i]["outcome"] for i in range(8)] == ["collapsed"] + ["ok"] * 7


def test_a_unit_that_was_wrong_can_be_named_anew(tmp_path: Path) -> None:
    run = asking(tmp_path / "run", (0.5, 0.9, 1.5, 2.5, 0.1, 0.2, 0.3, 0.4))
    assert drive(run, "fraction").done == 6  # 1.5 and 2.5 failed
    tally = drive(run, "raw", 0.5)
    assert (tally.done, tally.best) == (8, 0.1)
    assert drive(run, "percent").done == 8


def test_a_neighbour_in_another_unit_gives_what_its_objective_returned(tmp_path: Path) -> None:
    run = asking(tmp_path / "first", FRACTIONS)
    drive(run, "fraction")
    other = RunDirectory(tmp_path / "second")
    design = other.create(run.read_study().in_unit("percent"), draw_design(run.read_study()))
    other.name_unit(run.read_study().model_copy(update={"unit": ""}))
    adopt(other, adoptable(other, design))
    with pytest.raises(UnitError, match="trained with --unit fraction"):
        check_unit(other, looked(other))
    drive(other, "fraction")
    assert rows_of(other)[0]["error"] == 12.0


# The study and its identity.


def test_a_unit_changes_no_id_and_no_name() -> None:
    study = make_toy()
    for unit, within in (("percent", None), ("fraction", None), ("raw", 0.5)):
        named = study.in_unit(unit, within)  # type: ignore[arg-type]
        assert (named.hash, named.name) == (study.hash, study.name)
        assert [t.id for t in draw_design(named)] == [t.id for t in draw_design(study)]
        assert named.differences(study) == []
    other = study.in_unit("raw", 1.0).differences(study.in_unit("raw", 0.5))
    assert [difference.partition(":")[0] for difference in other] == ["primary"]


def test_errors_of_images_are_percent_and_never_asked_about(tmp_path: Path) -> None:
    study = make_toy(objective="stability.objective:train_images")
    study.write(tmp_path / "study.toml")
    assert RunDirectory(tmp_path).unit == "percent"
    row = {"outcome": "ok", "error": 0.1, "chance": 0.5, "wrong": None, "error_unit": "unknown"}
    assert unit_question([row] * 3, RunDirectory(tmp_path).unit) is None
    assert (
        unit_question([row] * 3, "")
        == "The objective gives chance 0.5 and first errors 0.1, 0.1, 0.1"
    )


def test_a_study_without_a_unit_is_written_as_before(tmp_path: Path) -> None:
    make_toy().write(tmp_path / "study.toml")
    assert "unit" not in (tmp_path / "study.toml").read_text().partition("\n")[2]
    named = make_toy().in_unit("raw", 0.5)
    named.write(tmp_path / "study.toml")
    assert Study.read(tmp_path / "study.toml") == named


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"unit": "permille"}, "--unit: 'permille' is not one of percent, fraction, raw"),
        ({"unit": "raw"}, "--unit: raw needs --within D"),
        ({"unit": "raw", "within": "0"}, "--within: got '0'"),
        ({"unit": "percent", "within": "2"}, "--within: allowed only with --unit raw"),
        ({"unit": "percent", "objective": None}, "--unit: got 'percent', allowed only with"),
    ],
)
def test_what_cannot_be_the_unit_is_said(
    changes: dict[str, Any], said: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    asked = {"objective": "objectives:answered", "vary": ["which=1,2"], "lr": [], "model": "a"}
    given = {**asked, "weight_decay": [], "optim": "own", "data": "d", **changes}
    if given["objective"] is None:
        given |= {"vary": [], "model": "vitc", "data": "digits", "optim": "sgd"}
    assert any(fault.startswith(said) for fault in faults_of(**given))


def test_a_study_file_names_the_unit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    text = 'objective = "objectives:answered"\nunit = "raw"\nwithin = 0.05\n'
    text += '[[space]]\nname = "which"\nchoices = [1, 2]\n'
    (tmp_path / "mine.toml").write_text(text)
    nothing = dict.fromkeys(("model", "optim", "draws", "epochs", "seed"))
    asked = {**nothing, "study": tmp_path / "mine.toml", "lr": [], "weight_decay": []}
    study = request(**asked).study
    assert (study.unit, study.primary.within, study.primary.policy) == ("raw", 0.05, "beyond")
    assert request(**asked, unit="percent", within=None).study.unit == "percent"


def test_a_plain_answer_keeps_what_was_returned() -> None:
    trial = draw_design(make_toy())[0]
    found = result_of(trial, {"error": 0.88, "chance": 0.9, "n_eval": 400}, "fraction")
    assert (found.outcome, found.values["error"]) == ("collapsed", 0.88)
    assert result_of(trial, {"wrong": 40, "n_eval": 400}, "fraction").values["error"] == 0.1


# The whole command.


@pytest.mark.slow
def test_a_sweep_of_fractions_is_asked_about_and_goes_on(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("def fit(trial):\n    return trial['C'] / 10\n")
    words = ["sweep", "--objective", "mine:fit", "--vary", "C=1:9:linear", "--trials", "6"]
    words += ["--out", "run", "--workers", "2"]
    asked = call(*words, cwd=tmp_path)
    assert asked.returncode == 2
    assert asked.stderr.count("stability resume run --unit fraction") == 1
    state = json.loads(call("status", "run", "--json", cwd=tmp_path).stdout)
    assert 3 <= state["finished"] <= 4
    assert "percent or fractions" in state["question"]
    done = call(*words, "--unit", "fraction", cwd=tmp_path)
    assert (done.returncode, "6/6 trials" in done.stderr) == (0, True), done.stderr
    errors = pd.read_parquet(tmp_path / "run" / "results.parquet")["error"]
    assert errors.between(10, 90).all()
    again = call("resume", "run", cwd=tmp_path)
    assert (again.returncode, "6 of 6 trials finished" in again.stdout) == (0, True)
