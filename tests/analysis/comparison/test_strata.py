"""Strata: all differences have one sign, and a stratum of one group ends no comparison."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis import Estimand, TableError
from analysis.comparison.strata import compare_strata, left_out, strata_of
from stability.cli import app


def table_of(*groups: tuple[str, str], n: int = 24) -> pd.DataFrame:
    """Trials of (model, optim) groups, in that order of rows; `b` is the better model."""
    rng = np.random.default_rng(0)
    parts = [
        pd.DataFrame({"model": m, "optim": o, "error": rng.uniform(5, 9 if m == "b" else 80, n)})
        for m, o in groups
    ]
    return pd.concat(parts)  # not renumbered: rows of several tables put together


MIXED = table_of(("a", "sgd"), ("b", "sgd"), ("b", "adamw"), ("a", "adamw"))


def test_every_stratum_subtracts_in_the_order_of_the_table() -> None:
    strata = compare_strata(MIXED, Estimand(reference=5.0), by="model")
    assert [s.title for s in strata] == ["sgd", "adamw"]
    assert [(s.pairs[0].a, s.pairs[0].b) for s in strata] == [("a", "b"), ("a", "b")]
    differences = [s.pairs[0].decision.difference.estimate for s in strata]
    assert all(d < -0.5 for d in differences)
    for stratum in strata:  # views are of the same groups
        row = stratum.pairs[0].sensitivity
        assert (row["difference"].dropna() < -0.5).all()


def test_the_rows_of_a_group_keep_their_order() -> None:
    adamw = strata_of(MIXED, "model")[1]
    assert adamw["model"].tolist() == ["a"] * 24 + ["b"] * 24
    errors = MIXED.query("optim == 'adamw' and model == 'a'")["error"]
    assert adamw["error"].tolist()[:24] == errors.tolist()


def test_a_stratum_of_one_group_is_left_out_and_named() -> None:
    table = table_of(("a", "sgd"), ("b", "sgd"), ("b", "adamw"))
    assert [s.title for s in compare_strata(table, Estimand(), by="model")] == ["sgd"]
    assert left_out(table, "model") == ["adamw is not compared: its only model is b"]
    assert left_out(MIXED, "model") == []


def test_without_two_groups_in_any_stratum_the_column_is_at_fault() -> None:
    apart = table_of(("a", "sgd"), ("b", "adamw"))
    with pytest.raises(TableError, match=r"model has one value in each stratum \(a, b\)"):
        compare_strata(apart, Estimand(), by="model")
    with pytest.raises(TableError, match=r"optim has one value \(sgd\)"):
        compare_strata(table_of(("a", "sgd"), ("b", "sgd")), Estimand(), by="optim")
    assert left_out(apart, "model") == []


@pytest.fixture
def compared(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Callable[..., str]:
    """What `stability compare` prints of a table with a stratum of one group."""
    path = tmp_path / "t.csv"
    table_of(("a", "sgd"), ("b", "sgd"), ("b", "adamw")).to_csv(path, index=False)

    def run(*options: str) -> str:
        app(["compare", str(path), "--by", "model", *options], standalone_mode=False)
        return capsys.readouterr().out

    return run


def test_the_command_says_what_it_leaves_out(compared: Callable[..., str]) -> None:
    assert "Note: adamw is not compared: its only model is b" in " ".join(compared().split())
    (stratum,) = json.loads(compared("--json"))
    assert stratum["notes"] == ["adamw is not compared: its only model is b"]
