"""Percent or fraction: one rule for every file, group and column."""

from pathlib import Path
from typing import Any

import pytest
from foreign_tables import faults_of, foreign

from analysis import ImportOptions, TableError, load
from analysis.importers import convert_sweep


def errors_of(source: Any, column: str = "error", **said: Any) -> list[float]:
    return convert_sweep(source, ImportOptions(**said)).table[column].tolist()


def test_load_asks_as_import_does(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("model,error\na,.08\na,.12\na,.9\n")
    with pytest.raises(TableError, match="no value is above 1") as caught:
        load(path)
    assert caught.value.hint == f"stability import {path} --unit fraction --out a.parquet"
    assert load(path, ImportOptions(unit="fraction"))["error"].tolist() == [8.0, 12.0, 90.0]
    assert load(path, ImportOptions(unit="percent"))["error"].tolist() == [0.08, 0.12, 0.9]


def test_rounding_does_not_make_a_fraction_a_percentage() -> None:
    source = foreign(acc=[0.9, 0.8, 1.0000001])
    assert "no value is above 1" in faults_of(source, accuracy="acc")[0]
    assert errors_of(source, accuracy="acc", unit="fraction") == [10.0, 20.0, 0.0]
    assert errors_of(foreign(acc=[90.0, 100.00001]), accuracy="acc") == [10.0, 0.0]
    assert "got 1.2, allowed as fraction" in faults_of(foreign(error=[1.2]), unit="fraction")[0]


def test_each_column_has_its_own_unit() -> None:
    source = foreign(acc=[0.92, 0.9], val_error=[8.1, 9.5])
    assert errors_of(source, "val_error", accuracy="acc", unit="fraction") == [8.1, 9.5]
    both = foreign(error=[8.0, 90.0], val_error=[0.07, 0.9])
    (fault,) = faults_of(both)
    assert "val_error: no value is above 1, beside errors in percent" in fault
    assert errors_of(both, "val_error", units={"val_error": "fraction"}) == [7.0, 90.0]
    assert errors_of(both, "val_error", units={"val_error": "percent"}) == [0.07, 0.9]
    fractions = foreign(error=[0.08, 0.9], val_error=[0.07, 0.9])
    assert errors_of(fractions, "val_error", unit="fraction") == [7.0, 90.0]


def test_a_group_of_fractions_among_percentages_is_asked_about() -> None:
    source = foreign(model=["a", "a", "b", "b"], error=[8.0, 90.0, 0.08, 0.9])
    (fault,) = faults_of(source)
    assert (
        "no value of b is above 1, the others reach 90. If all are percent: --unit percent" in fault
    )
    assert errors_of(source, unit="percent") == [8.0, 90.0, 0.08, 0.9]
    assert errors_of(foreign(model=["a", "b"], error=[8.0, 0.0])) == [8.0, 0.0]


def test_a_loss_and_minus_an_accuracy_can_be_converted() -> None:
    losses = foreign(loss=[-0.3, 250.0])
    assert errors_of(losses, columns={"error": "loss"}, unit="raw") == [-0.3, 250.0]
    table = convert_sweep(losses, ImportOptions(columns={"error": "loss"}, unit="raw")).table
    assert table["error_unit"].tolist() == ["raw", "raw"]
    minus = foreign(value=[-0.9, -0.8])
    assert "--negate" in faults_of(minus, accuracy="value")[0]
    assert errors_of(minus, accuracy="value", negate=True, unit="fraction") == [10.0, 20.0]


@pytest.mark.parametrize(
    ("direction", "said", "way"),
    [
        ("maximize", {"columns": {"error": "value"}}, "allowed: --accuracy value"),
        ("minimize", {"accuracy": "value"}, "allowed: --map error=value"),
        ("maximize", {"accuracy": "value", "negate": True}, "allowed: --accuracy value,"),
    ],
)
def test_the_direction_of_a_study_is_believed(direction: Any, said: Any, way: str) -> None:
    from dataclasses import replace

    source = replace(foreign(value=[37.0, 20.0]), directions={"value": direction})
    (fault,) = faults_of(source, **said)
    assert f"the study {direction}s 'value'" in fault
    assert way in fault
    (fault,) = faults_of(source)
    assert f"the study {direction}s value" in fault
    right = {"columns": {"error": "value"}} if direction == "minimize" else {"accuracy": "value"}
    assert len(errors_of(source, **right)) == 2


def test_other_errors_have_a_unit_in_each_group_too() -> None:
    rows = {"model": ["a", "a", "b", "b"], "error": [8.0, 90.0, 9.0, 50.0]}
    source = foreign(**rows, val_error=[0.19, 0.5, 20.0, 56.0])
    assert "val_error: no value of a is above 1" in faults_of(source)[0]


def test_an_empty_cell_of_a_group_is_asked_about() -> None:
    source = foreign(model=["a", "a", "a"], optim=["sgd", None, "sgd"], error=[8.0, 90.0, 9.0])
    assert faults_of(source)[0].startswith("mine, row 2: no optim, and a run that has begun")


def test_single_fractions_among_percentages_are_asked_about() -> None:
    accuracies = foreign(acc=[0.77, 0.8, 0.7, 93.1])
    assert (
        "acc: 3 of 4 values are at most 1, the others reach 93.1"
        in faults_of(accuracies, accuracy="acc")[0]
    )
    assert "1 of 4 values are at most 1" in faults_of(foreign(error=[0.12, 8.0, 12.0, 90.0]))[0]
    small = [0.4, 0.9, 1.2, 1.8, 2.5, 90.0]  # of an easy task
    assert errors_of(foreign(error=small)) == small


def test_percent_signs_say_the_unit() -> None:
    assert errors_of(foreign(error=["0.5 %", "0.9%", None]))[:2] == [0.5, 0.9]
    assert "expected a number" in faults_of(foreign(error=["0.5 %", "0.9"]))[0]


def test_rounding_below_0_is_no_negative_error() -> None:
    source = foreign(acc=[0.9, -1e-9, 0.8])
    assert errors_of(source, accuracy="acc", unit="fraction") == [10.0, 100.0, 20.0]
