"""What becomes of the runs of a foreign sweep."""

import math
from typing import Any

import pandas as pd
import pytest
from foreign_sources import cells, table_of

from analysis import TableError
from analysis.importers import ChanceLevel, ExternalSweep, ImportOptions, convert_sweep
from analysis.importers.chance import error_spikes


def foreign(**columns: list[Any]) -> ExternalSweep:
    frame = pd.DataFrame({n: pd.Series(cells, dtype=object) for n, cells in columns.items()})
    return ExternalSweep(name="mine", format="table", frame=frame)


def faults_of(source: ExternalSweep, **wish: Any) -> list[str]:
    with pytest.raises(TableError) as caught:
        convert_sweep(source, ImportOptions(**wish))
    return list(caught.value.faults)


def test_a_table_keeps_its_rows_columns_and_types() -> None:
    source = foreign(error=[5.0, 90.0], n=[1, None], name=["x", None], flag=[True, False])
    table = table_of(source, constants={"model": "a", "epochs": 5})
    assert list(table) == ["model", "epochs", "n", "name", "flag", "outcome", "error"]
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
    assert fault == "mine, row 2: a: got 312.5, allowed as percent is 0 to 100; a loss: --unit raw"


def test_other_errors_follow_the_unit() -> None:
    source = foreign(error=[0.1, 0.2], best_val_error=[0.05, None], chance=[0.9, 0.9])
    table = table_of(source, unit="fraction")
    assert table["error"].tolist() == [10.0, 20.0]
    assert cells(table["best_val_error"]) == [5.0, None]
    assert table["chance"].tolist() == [90.0, 90.0]
    # else every run would be collapsed
    (fault,) = faults_of(foreign(error=[10.0, 20.0], chance=[0.9, 0.9]))
    assert fault.startswith("mine: chance: no value is above 1, beside errors in percent: --unit ")


def test_states_mean_what_the_person_says_and_nothing_is_guessed() -> None:
    source = foreign(error=[5.0, 6.0, math.inf, 7.0], s=["fine", "Boom", "fine", "OK"])
    wish: dict[str, Any] = {"columns": {"outcome": "s"}}
    faults = faults_of(source, **wish)
    assert [fault.partition("; say")[0] for fault in faults] == [
        "mine: 2 runs are fine: not a known state",
        "mine: 1 run is Boom: not a known state",
    ]
    table = table_of(source, **wish, outcomes={"FINE": "ok", "boom": "out_of_memory"})
    assert table["outcome"].tolist() == ["ok", "out_of_memory", "diverged", "ok"]
    assert cells(table["error"]) == [5.0, None, None, 7.0]
    (fault,) = faults_of(source, **wish, outcomes={"fine": "ok", "boom": "crashed", "x": "ok"})
    assert fault == "mine: --map-outcome x=...: there is no such value, there are: fine, Boom, OK"


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ("N-A", "e is 'N-A', expected a number"),
        (-1.0, "e: got -1, allowed as percent is 0 to 100; minus"),
        (True, "e is True, expected a number"),
    ],
)
def test_what_is_no_error_is_named_with_its_row(bad: object, said: str) -> None:
    (fault,) = faults_of(foreign(e=[1.0, bad]), columns={"error": "e"})
    assert fault.startswith(f"mine, row 2: {said}")


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
