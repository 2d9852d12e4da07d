"""Columns by their names: what is taken, what is refused, what is noted."""

from pathlib import Path

import pytest
from foreign_tables import faults_of, foreign

from analysis import ImportOptions, load, samples
from analysis.importers import convert_sweep


@pytest.mark.parametrize(
    ("said", "fault"),
    [
        ({"columns": {"error": "val_acc"}}, "an accuracy by its name: --accuracy val_acc"),
        ({"columns": {"error": "top1"}}, "an accuracy by its name: --accuracy top1"),
        ({"accuracy": "test_err"}, "an error by its name: --map error=test_err"),
        ({"accuracy": "learning_rate"}, "a hyperparameter by its name"),
        ({"columns": {"modle": "arch", "error": "test_err"}}, "did you mean 'model'?"),
        ({"accuracy": "val_accuracy"}, "--accuracy val_accuracy: there is no column"),
    ],
)
def test_a_column_that_is_something_else_by_its_name_is_refused(
    said: dict[str, object], fault: str
) -> None:
    source = foreign(
        arch=["a", "b"], learning_rate=[0.1, 0.2], val_acc=[90, 91], top1=[80, 81], test_err=[9, 8]
    )
    assert any(fault in found for found in faults_of(source, **said))


def test_names_of_errors_are_no_accuracies() -> None:
    table = convert_sweep(foreign(top1_err=[9.0, 8.0]), ImportOptions()).table
    assert table["error"].tolist() == [9.0, 8.0]


def test_what_may_be_meant_otherwise_is_noted() -> None:
    def notes(**columns: list[object]) -> str:
        return " ".join(convert_sweep(foreign(**columns), ImportOptions()).notes)

    assert "no column 'model': all rows are one group, 'mine'" in notes(error=[5.0, 6.0])
    assert "column 'seed' has 2 values" in notes(error=[5.0, 6.0, 7.0, 8.0], seed=[0, 1, 0, 1])
    first = notes(error=[None, 6.0], status=["running", "done"], model=["a", "a"])
    assert "the first run of a is unfinished, so none of its runs counts" in first
    percent = ImportOptions(accuracy="acc", unit="percent")
    said = convert_sweep(foreign(acc=[0.9, 0.8]), percent).notes
    assert any("all errors are 99% or more: are these fractions?" in note for note in said)


def test_one_table_of_several_sweeps_is_pooled_where_asked(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(
        "model,seed,lr,error\n" + "".join(f"a,{i % 2},{i},{8 + i}\n" for i in range(20))
    )
    options = ImportOptions(columns={"sweep": "seed"})
    assert [s.n for s in samples(load(path, options))] == [10, 10]
    table = load(path, options, pool=True)
    assert [s.n for s in samples(table)] == [20]
    assert "pooled as one sample: 0, 1 (--pool)" in table.attrs["notes"]
    assert "nothing was pooled: one sweep (--pool)" in load(path, pool=True).attrs["notes"]
