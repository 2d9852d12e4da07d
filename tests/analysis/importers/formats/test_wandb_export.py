"""Exports of Weights & Biases: the runs table, and files of runs of the API."""

import csv
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from foreign_sources import cells, table_of, wandb_api_runs, wandb_rows, write_wandb

from analysis import TableError
from analysis.importers import read_sweep


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


def write_export(path: Path, *rows: list[str]) -> str:
    with path.open("w", newline="") as file:
        csv.writer(file, quoting=csv.QUOTE_ALL).writerows(rows)
    return str(path)


def test_name_and_state_are_enough_where_all_states_are_those_of_wandb(tmp_path: Path) -> None:
    names = ["Name", "State", "err"]
    source = write_export(tmp_path / "e.csv", names, ["a", "finished", "5"], ["b", "Running", ""])
    assert read_sweep(source).format == "wandb"
    assert any("no column 'Created': rows are taken" in note for note in read_sweep(source).notes)
    other = write_export(tmp_path / "o.csv", names, ["a", "finished", "5"], ["b", "done", "6"])
    assert read_sweep(other).format == "table"


def test_a_run_without_a_time_keeps_the_order_and_is_named(tmp_path: Path) -> None:
    names = ["Name", "State", "Created", "Sweep", "err"]
    times = ["2025-01-02T00:00:00Z", "", "2025-01-01T00:00:00Z"]
    rows = [[f"r{i}", "finished", time, "sw1", f"{i}"] for i, time in enumerate(times)]
    sweep = read_sweep(write_export(tmp_path / "e.csv", names, *rows))
    assert "a run has no 'Created' (line 3): rows are taken to stand oldest first" in sweep.notes
    assert not any("no column 'Created'" in note for note in sweep.notes)
    assert sweep.frame["Name"].tolist() == ["r0", "r1", "r2"]
    assert sweep.frame["Sweep"].tolist() == ["sw1"] * 3


def test_sorted_rows_keep_their_places(tmp_path: Path) -> None:
    write_wandb(tmp_path / "export.csv")
    sweep = read_sweep(str(tmp_path / "export.csv"))
    oldest = sweep.frame.index[0]
    assert (sweep.frame["Name"].iloc[0], sweep.places[oldest]) == ("fancy-sweep-0", "line 13")


@pytest.mark.parametrize("ending", ["json", "jsonl"])
def test_runs_of_the_api_are_recognised(tmp_path: Path, ending: str) -> None:
    path, runs = tmp_path / f"runs.{ending}", wandb_api_runs()
    path.write_text(json.dumps(runs) if ending == "json" else "\n".join(map(json.dumps, runs)))
    sweep = read_sweep(str(path))
    assert sweep.format == "wandb"
    assert list(sweep.frame) == [
        *("summary.test_err", "summary._runtime", "config.lr", "config.opt.name", "name", "state"),
    ]
    table = table_of(sweep, columns={"error": "summary.test_err"})
    assert table["outcome"].tolist() == ["ok", "diverged", "crashed"]
    assert cells(table["error"]) == [12.5, None, None]
    assert table["config.opt.name"].tolist() == ["sgd"] * 3


def test_the_csv_of_the_api_example_is_read_and_its_lack_of_states_is_said(tmp_path: Path) -> None:
    runs = [{name: run[name] for name in ("summary", "config", "name")} for run in wandb_api_runs()]
    pd.DataFrame(runs).to_csv(tmp_path / "project.csv")
    sweep = read_sweep(str(tmp_path / "project.csv"))
    assert sweep.format == "wandb"
    assert sweep.frame["config.lr"].tolist() == [0.1, 0.2, 0.3]
    assert sweep.frame["index"].tolist() == ["0", "1", "2"]
    assert any("no state of the runs" in note for note in sweep.notes)
    assert "outcome" not in sweep.columns


def raw_runs() -> list[dict[str, Any]]:
    """Runs with the config as W&B stores it."""
    runs = wandb_api_runs()
    for run in runs:
        stored = {name: {"value": value, "desc": None} for name, value in run["config"].items()}
        run["config"] = {**stored, "_wandb": {"value": {"t": 1}}, "wandb_version": 1}
    return runs


@pytest.mark.parametrize("ending", ["json", "jsonl", "csv"])
def test_a_config_as_wandb_stores_it_has_the_same_columns(tmp_path: Path, ending: str) -> None:
    path, runs = tmp_path / f"runs.{ending}", raw_runs()
    match ending:
        case "json":
            path.write_text(json.dumps(runs))
        case "jsonl":
            path.write_text("\n".join(map(json.dumps, runs)))
        case _:
            pd.DataFrame(runs).to_csv(path)
    frame = read_sweep(str(path)).frame
    config = [name for name in frame if name.startswith("config.")]
    assert config == ["config.lr", "config.opt.name"]
    assert frame["config.lr"].tolist() == [0.1, 0.2, 0.3]


@pytest.mark.parametrize("other", [{"value": 5, "unit": "s"}, {"desc": None}, 5])
def test_a_config_with_entries_of_another_shape_stays_as_it_is(
    tmp_path: Path, other: object
) -> None:
    runs = raw_runs()
    runs[2]["config"]["time"] = other
    (tmp_path / "runs.json").write_text(json.dumps(runs))
    frame = read_sweep(str(tmp_path / "runs.json")).frame
    assert frame["config.lr.value"].tolist() == [0.1, 0.2, 0.3]


@pytest.mark.parametrize("first", ["Step", "epoch"])
def test_a_chart_is_refused(tmp_path: Path, first: str) -> None:
    names = [first, *(f"run-a - val/err{end}" for end in ("", "__MIN", "__MAX"))]
    source = write_export(tmp_path / "c.csv", names, ["0", "9", "9", "9"], ["1", "8", "8", "8"])
    with pytest.raises(TableError) as caught:
        read_sweep(source)
    assert list(caught.value.faults) == [
        f"{source}: a chart of W&B, which is the history of one metric by step and not a table of "
        "runs; export the runs table"
    ]
    alike = write_export(tmp_path / "t.csv", ["err", "err__MIN", "err__MAX"], ["5", "4", "6"])
    assert read_sweep(alike).format == "table"


def test_an_export_without_states_is_refused(tmp_path: Path) -> None:
    source = write_export(tmp_path / "e.csv", ["Name", "err"], ["a", "5"])
    with pytest.raises(TableError, match="no column 'State': show it in the runs table"):
        read_sweep(source, "wandb")


def test_an_unknown_state_beside_other_columns_of_the_page_needs_a_word(tmp_path: Path) -> None:
    names = ["Name", "State", "Runtime", "err"]
    source = write_export(tmp_path / "e.csv", names, ["a", "hibernating", "9", "Infinity"])
    sweep = read_sweep(source)
    assert sweep.format == "wandb"
    with pytest.raises(TableError, match="1 run is hibernating"):
        table_of(sweep)
    found = table_of(sweep, outcomes={"hibernating": "ok"})
    assert found["outcome"].tolist() == ["diverged"]
