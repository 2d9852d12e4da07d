"""The scale of a hyperparameter: as the study has it, as given, or as the values show it."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis import (
    TableError,
    edge_warnings,
    importance,
    landscape,
    marginals,
    search_space_of,
    subspace,
    tau_b,
)
from analysis.space.scale import inferred_scale
from analysis.space.search_space import scale_note, scales_of

EVEN = (np.arange(32) + 0.5) / 32


def drawn(**columns: object) -> pd.DataFrame:
    """Draws of lr and dropout, each even on its own scale, the errors without a pattern."""
    error = 20 + np.random.default_rng(0).permutation(32)
    base = {"model": "a", "draw": range(32), "chance": 90.0, "error": error.astype(float)}
    return pd.DataFrame({**base, "lr": 0.001 * 100**EVEN, "dropout": 0.3 * EVEN[::-1], **columns})


@pytest.mark.parametrize(
    ("values", "scale"),
    [
        (0.001 * 100**EVEN, "log"),
        (0.3 * EVEN, "linear"),
        (0.3 * EVEN - 0.01, "linear"),
        ([1, 2, 3, 4] * 8, "linear"),
        ([1, 1, 1, 2, 2, 2, 2, 3, 3, 4, 4, 4], "linear"),
        ([16, 32, 64, 128], "log"),
        ([1e-4] * 9 + [1e-3] * 11 + [1e-2] * 8, "log"),
        ([0.1, 0.1, 0.4], "log"),
        ([0.0, 1.0], "linear"),
        ([np.nan, 0.001, 0.01, 0.1, np.nan], "log"),
    ],
)
def test_the_scale_is_the_one_on_which_values_lie_evenly(values: object, scale: str) -> None:
    of = np.asarray(values, dtype=float)
    assert inferred_scale([of]) == scale
    assert inferred_scale([of, 7 * of]) == scale  # another unit


def test_few_values_do_not_tell_the_scale_and_many_do() -> None:
    """The docstring and the manual give these rates."""
    rng = np.random.default_rng(0)
    for n, low, high in ((16, 0.04, 0.15), (64, 0.0, 0.002)):
        u = rng.random((1000, n))
        for wrong, values in (("linear", 32**u), ("log", 1 + 31 * u)):
            assert low <= np.mean([inferred_scale([x]) == wrong for x in values]) <= high


def test_an_inferred_scale_is_said_and_a_given_one_is_taken() -> None:
    lr, dropout = search_space_of(drawn(), None, ["lr", "dropout"])
    assert (lr.scale, lr.source) == ("log", "observed, scale inferred")
    assert (dropout.scale, dropout.source) == ("linear", "observed, scale inferred")
    ends = search_space_of(drawn(), {"lr": (0.001, 0.1), "dropout": (0.0, 0.3)})
    assert [(r.scale, r.source) for r in ends] == [
        ("log", "given, scale inferred"),
        ("linear", "given, scale inferred"),
    ]
    (given,) = search_space_of(drawn(), {"dropout": (0.001, 0.3, "log")})
    assert (given.scale, given.source) == ("log", "given")
    with pytest.raises(TableError, match="dropout: scale: 'logg' is not one of 'log', 'linear'"):
        search_space_of(drawn(), {"dropout": (0.001, 0.3, "logg")})
    with pytest.raises(TableError, match=r"2 problems: .*no column 'depth'|no column 'depth'"):
        search_space_of(drawn(), {"depth": (1, 3)})


def test_edges_are_those_of_the_scale_and_the_note_names_it() -> None:
    """Issue: .219 of [0, .3] is no edge; on a log scale from the smallest draw it was one."""
    table = drawn(dropout=np.append(0.219, 0.3 * EVEN[1:]), error=np.append(5.0, [30.0] * 31))
    found = edge_warnings(table, hyperparameters=["dropout"])
    assert found["edge"].tolist() == [""]
    assert found["position"].iloc[0] == pytest.approx(0.73, abs=0.02)
    assert "Scale inferred from the values: dropout linear." in found.attrs["note"]
    forced = edge_warnings(table, {"dropout": (0.01, 0.3, "log")})
    assert forced["position"].iloc[0] == pytest.approx(np.log(21.9) / np.log(30))
    assert "inferred" not in forced.attrs["note"]


def test_bins_are_equal_on_the_inferred_scale() -> None:
    found = marginals(drawn(), "dropout", bins=4)
    assert found["n"].tolist() == [8, 8, 8, 8]
    assert np.diff(found["low"]) == pytest.approx(np.full(3, np.diff(found["low"])[0]))
    assert "dropout linear" in found.attrs["note"]
    assert marginals(drawn(), "lr", bins=4)["n"].tolist() == [8, 8, 8, 8]


def test_the_distance_from_the_optimum_is_taken_on_the_scale() -> None:
    table = drawn()
    table.loc[20, "error"] = 1.0
    for name, x in (("lr", np.log(table["lr"])), ("dropout", table["dropout"])):
        row = importance(table, hyperparameters=[name]).iloc[0]
        assert row["tau_distance"] == tau_b(np.abs(x - x[20]).to_numpy(), table["error"].to_numpy())
    other = importance(table, hyperparameters=["lr"], space={"lr": (0.001, 0.1, "linear")})
    assert other["tau_distance"].iloc[0] != importance(table)["tau_distance"].iloc[0]
    assert "lr log" in importance(table).attrs["note"]
    assert "inferred" not in other.attrs["note"]


STUDY = [
    {"name": "lr", "low": 0.001, "high": 0.1, "scale": "linear", "choices": [], "optims": []},
    {"name": "dropout", "low": 0.0, "high": 0.3, "scale": "linear"},
    {"name": "depth", "choices": [1, 2]},
    {"name": "gone", "low": 1.0, "high": 2.0},
]


def test_a_table_that_knows_its_study_has_its_ranges_and_scales() -> None:
    table = drawn(depth=2)
    table.attrs["search_space"] = STUDY
    found = search_space_of(table)
    assert [(r.name, r.low, r.high, r.scale, r.source) for r in found] == [
        ("lr", 0.001, 0.1, "linear", "study.toml"),
        ("dropout", 0.0, 0.3, "linear", "study.toml"),
    ]
    product = search_space_of(table, None, ["dropout", "lr*dropout"])
    assert [r.source for r in product] == ["study.toml", "observed, scale inferred"]
    assert list(edge_warnings(table)["hyperparameter"]) == ["lr", "dropout"]
    assert landscape(table).attrs["scales"]["lr"] == ("linear", False)
    assert list(importance(table)["hyperparameter"]) == ["lr", "dropout"]
    assert scale_note(scales_of(table, ["lr", "dropout"])) == ""
    table.attrs["search_space"] = [{"name": "lr", "low": 1.0, "high": 0.1}]
    with pytest.raises(TableError, match="no search space can be read"):
        search_space_of(table)


def test_a_subspace_is_the_search_space_of_its_trials() -> None:
    table = drawn()
    table.attrs["search_space"] = STUDY
    inner = subspace(table, {"dropout": (0.0, 0.15)})
    found = edge_warnings(inner).set_index("hyperparameter")
    assert found["high"].to_dict() == pytest.approx({"dropout": 0.15, "lr": 0.1})
    assert found["source"].eq("study.toml").all()


@pytest.mark.parametrize(("n", "share"), [(16, "44%"), (32, "19%"), (64, "4%"), (256, "below 1%")])
def test_no_flag_comes_with_the_chance_to_miss_an_edge(n: int, share: str) -> None:
    error = np.full(n, 30.0)
    error[n // 2] = 5.0
    table = pd.DataFrame({"model": "a", "error": error, "lr": 0.001 * 100 ** ((np.arange(n)) / n)})
    found = edge_warnings(table, {"lr": (0.001, 0.1, "log")})
    assert found[["edge", "n"]].values.tolist() == [["", n]]
    assert found["miss"].iloc[0] == pytest.approx(0.95**n)
    assert found.attrs["note"] == (
        "No selected run lies within 5% of an edge of the search space. How much a missing flag "
        "says depends on n: even if the error fell all the way to an edge, the best of n draws "
        f"would miss the outer 5% of that side with probability (1 - 0.05)^n, {share} at n = {n}."
    )
    grid = edge_warnings(table.assign(sampler="grid"), {"lr": (0.001, 0.1, "log")})
    assert np.isnan(grid["miss"].iloc[0])
    assert "not known: draws are not independent" in grid.attrs["note"]
    lost = edge_warnings(table.assign(error=None), {"lr": (0.001, 0.1, "log")})
    assert lost.attrs["note"].startswith("No run is better than chance")


def test_the_chance_to_miss_is_that_of_draws_whose_error_falls_to_the_edge() -> None:
    rng, missed = np.random.default_rng(1), 0
    for _ in range(200):
        u = rng.random(16)
        table = pd.DataFrame({"model": "a", "error": 50 - 40 * u, "lr": 0.001 * 100**u})
        missed += edge_warnings(table, {"lr": (0.001, 0.1, "log")})["edge"].iloc[0] == ""
    assert missed / 200 == pytest.approx(0.95**16, abs=0.1)


@pytest.mark.skipif("STABILITY_TABLES" not in os.environ, reason="names a folder of real tables")
def test_real_hyperparameters_have_the_scales_that_they_were_drawn_on() -> None:
    folder = Path(os.environ["STABILITY_TABLES"])
    table = pd.read_csv(folder / "deberta-base.csv").assign(model="base")
    table = table.assign(error=table["final_err"], draw=table["iteration"])
    names = ["learning_rate", "cls_drop_out", "num_train_epochs", "train_batch_size"]
    scales = [scale for scale, _ in scales_of(table, names).values()]
    assert scales == ["log", "linear", "linear", "linear"]
    found = edge_warnings(table, hyperparameters=["cls_drop_out"])
    assert found[["edge"]].values.tolist() == [[""]]
    assert marginals(table, "cls_drop_out", bins=6)["n"].min() > 100
