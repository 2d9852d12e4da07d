"""Nested objects become columns with dotted names."""

import json
import math
from pathlib import Path

import pandas as pd
import pytest

from analysis import TableError
from analysis.importers import read_sweep
from analysis.importers.formats.objects import parse_object


def test_keys_are_joined_by_dots_and_lists_stay_text(tmp_path: Path) -> None:
    rows = [
        {"name": "a", "config": {"lr": 0.1, "layers": [64, 64]}, "summary": {"_wandb": {"r": 1}}},
        {"name": "b", "config": {"opt": {"lr": 1}}, "summary": {"err": 5}, "_wandb": 3},
        {"name": "c", "config": None},
    ]
    (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, rows)))
    frame = read_sweep(str(tmp_path / "t.jsonl"), "table").frame
    assert list(frame) == [
        *("name", "config.lr", "config.layers", "config.opt.lr", "summary.err", "_wandb"),
    ]
    assert frame["config.layers"].tolist() == ["[64, 64]", None, None]
    assert frame["config.opt.lr"].tolist() == [None, 1, None]


@pytest.mark.parametrize(
    "rows",
    [
        [{"a.b": 1, "a": {"b": 2}}],
        [{"a.b": 1}, {"a": {"b": 2}}],
        [{"x": {"a": {"b": 2}, "a.b": 1}}],
    ],
)
def test_a_name_that_is_there_twice_is_refused(tmp_path: Path, rows: list[object]) -> None:
    (tmp_path / "t.json").write_text(json.dumps(rows))
    with pytest.raises(TableError, match=r"the column '(x\.)?a.b' is there twice, as a key and"):
        read_sweep(str(tmp_path / "t.json"))


@pytest.mark.parametrize("write", [json.dumps, str])
def test_cells_of_a_csv_that_hold_objects_become_columns(
    tmp_path: Path, write: "type[str]"
) -> None:
    configs = [{"lr": 0.1, "bn": True, "_wandb": {}}, {"lr": math.nan, "act": None}, None]
    cells = [None if config is None else write(config) for config in configs]
    frame = pd.DataFrame({"config": cells, "error": [5, 6, 7]})
    frame.to_csv(tmp_path / "t.csv", index=False)
    found = read_sweep(str(tmp_path / "t.csv")).frame
    assert list(found) == ["config.lr", "config.bn", "error", "config.act"]
    assert found["config.bn"].tolist() == [True, None, None]
    assert math.isnan(found["config.lr"][1])
    assert found["error"].tolist() == ["5", "6", "7"]


def test_a_column_with_another_text_stays_text_and_is_said(tmp_path: Path) -> None:
    frame = pd.DataFrame({"config": ['{"lr": 1}', "{lr: 1}"], "error": [5, 6]})
    frame.to_csv(tmp_path / "t.csv", index=False)
    sweep = read_sweep(str(tmp_path / "t.csv"))
    assert sweep.frame["config"].tolist() == ['{"lr": 1}', "{lr: 1}"]
    assert sweep.notes == ("column 'config' stays text: line 3 is no object",)


def test_a_key_with_the_name_of_a_column_is_refused(tmp_path: Path) -> None:
    frame = pd.DataFrame({"config": ['{"lr": 1}'], "config.lr": [5]})
    frame.to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(TableError, match=r"the column 'config\.lr' is there twice"):
        read_sweep(str(tmp_path / "t.csv"))


@pytest.mark.parametrize(
    "text",
    [
        "{'a': open('x')}",
        "{'a': __import__('os').system('true')}",
        "{'a': 1}['a']",
        "{1, 2}",
        '{"a": 1, "a": 2}',
        "{" * 5000,
        "{'a': " + "(" * 5000,
        "{'a': 1, 'a'",
        "{**x}",
    ],
)
def test_nothing_is_evaluated(text: str) -> None:
    assert parse_object(text) is None
