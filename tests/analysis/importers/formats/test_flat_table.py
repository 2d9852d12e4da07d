"""Tables of any program: what their cells are in each format."""

import json
import math
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from foreign_sources import cells, table_of

from analysis import TableError
from analysis.importers import read_sweep


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
            pq.write_table(pa.Table.from_pylist(rows), path)
    table = table_of(read_sweep(str(path)), empty="crashed")
    assert table["outcome"].tolist() == ["ok", "diverged", "crashed"]
    assert cells(table["error"]) == [5.5, None, None]
    assert cells(table["act"]) == ["relu", None, None]
    assert set(table["model"]) == {"t"}


def test_structs_of_parquet_become_columns(tmp_path: Path) -> None:
    rows = [
        {"error": 5.0, "config": {"lr": 0.1, "opt": {"name": "sgd"}}, "layers": [1, 2]},
        {"error": None, "config": None, "layers": None},
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "t.parquet")
    sweep = read_sweep(str(tmp_path / "t.parquet"))
    assert list(sweep.frame) == ["error", "config.lr", "config.opt.name", "layers"]
    assert sweep.frame.loc[0].tolist() == [5.0, 0.1, "sgd", "[1, 2]"]
    assert sweep.frame.loc[1].tolist() == [None] * 4
    assert list(sweep.places) == ["row 1", "row 2"]


def test_a_parquet_file_without_rows_or_with_a_column_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"error": pa.array([], pa.float64())}), path)
    with pytest.raises(TableError, match="no rows"):
        read_sweep(str(path))
    pq.write_table(pa.Table.from_arrays([pa.array([1]), pa.array([2])], ["a", "a"]), path)
    with pytest.raises(TableError, match="the column 'a' is there twice"):
        read_sweep(str(path))
    path.write_text("no")
    with pytest.raises(TableError, match="cannot be read"):
        read_sweep(str(path))


def test_trials_of_keras_tuner_as_lines_of_json_are_a_table(tmp_path: Path) -> None:
    trials = [
        {
            "trial_id": f"000{i}",
            "hyperparameters": {"values": {"lr": 0.1}},
            "metrics": {
                "metrics": {
                    "val_accuracy": {
                        "direction": "max",
                        "observations": [{"value": [score], "step": 0}],
                    }
                }
            },
            "score": score,
            "status": "COMPLETED" if score else "FAILED",
        }
        for i, score in enumerate((0.9, 0.8, None))
    ]
    (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, trials)))
    sweep = read_sweep(str(tmp_path / "t.jsonl"))
    assert {"score", "status", "hyperparameters.values.lr"} <= {*sweep.frame}
    observed = sweep.frame["metrics.metrics.val_accuracy.observations"][0]
    assert observed == '[{"step": 0, "value": [0.9]}]'
    table = table_of(sweep, accuracy="score", unit="fraction")
    assert table["outcome"].tolist() == ["ok", "ok", "crashed"]
    assert cells(table["error"].round(9)) == [10.0, 20.0, None]


def test_a_table_of_pandas_in_any_way_of_to_json_is_the_same(tmp_path: Path) -> None:
    frame = pd.DataFrame({"error": [5.5, 6.5, None], "act": ["relu", "gelu", "relu"]})
    for way in ("columns", "records", "table", "index", "split"):
        frame.to_json(tmp_path / "t.json", orient=way)
        sweep = read_sweep(str(tmp_path / "t.json"))
        assert sweep.frame["error"].tolist() == [5.5, 6.5, None], way
        assert sweep.frame["act"].tolist() == ["relu", "gelu", "relu"]
        assert any("pandas writes NaN as null" in n for n in sweep.notes) == (way != "records")
    (tmp_path / "t.json").write_text(json.dumps(frame.iloc[:2].to_dict("list")))
    assert read_sweep(str(tmp_path / "t.json")).frame["error"].tolist() == [5.5, 6.5]
    assert read_sweep(str(tmp_path / "t.json")).places[1] == "row 2"
