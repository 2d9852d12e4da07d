"""The search space: where the best lies in it, its edges, subspaces, other laws."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toys import make_toy

from analysis import (
    EDF,
    SearchRange,
    TableError,
    edge_warnings,
    landscape,
    range_for,
    read_search_space,
    reweighted,
    samples,
    search_space_of,
    share_interval,
    span_of_the_best,
    subspace,
    winning_probabilities,
)
from sweeps.study.space import Hyperparameter

CHANCE = 90.0


def drawn(n: int = 8, **columns: object) -> pd.DataFrame:
    """Draws of lr from 0.001 to 0.1 and weight decay from 1 to 10, errors falling with the lr."""
    u = (np.arange(n) + 0.5) / n
    base = {"model": "a", "optim": "sgd", "draw": range(n), "chance": CHANCE}
    lr, decay = 0.001 * 100**u, 10 ** u[::-1]
    return pd.DataFrame({**base, "lr": lr, "weight_decay": decay, "error": 50 - 40 * u, **columns})


BOX = {"lr": (0.001, 0.1), "weight_decay": (1.0, 10.0)}


@pytest.mark.parametrize(("n", "m"), [(1, 1), (5, 1), (8, 2), (64, 16)])
def test_probabilities_to_win_are_those_of_resampling(n: int, m: int) -> None:
    """Brute force: the winner of m draws with replacement, as pycls draws them."""
    rng = np.random.default_rng(n)
    errors = rng.permutation(n).astype(float)
    exact = winning_probabilities(errors, m)
    assert exact.sum() == pytest.approx(1.0)
    rank = errors + 1
    assert exact == pytest.approx(((n - rank + 1) / n) ** m - ((n - rank) / n) ** m)
    winners = rng.integers(0, n, (20_000, m))
    first = winners[np.arange(20_000), errors[winners].argmin(axis=1)]
    seen = np.bincount(first, minlength=n) / 20_000
    assert np.abs(seen - exact).max() < 5 * np.sqrt(0.25 / 20_000)


def test_ties_share_what_they_win() -> None:
    rng = np.random.default_rng(0)
    errors = np.array([2.0, 1.0, 1.0, 1.0, np.inf, np.inf])
    exact = winning_probabilities(errors, 2)
    winners = rng.integers(0, 6, (40_000, 2))
    first = winners[np.arange(40_000), errors[winners].argmin(axis=1)]
    assert np.bincount(first, minlength=6) / 40_000 == pytest.approx(exact, abs=0.01)
    assert exact[1:4] == pytest.approx(np.full(3, exact[1]))
    with pytest.raises(ValueError, match="no NaN"):
        winning_probabilities(np.array([1.0, np.nan]), 1)


@given(st.lists(st.integers(0, 5), min_size=1, max_size=12), st.integers(1, 5))
@settings(max_examples=50, deadline=None)
def test_probabilities_follow_the_errors_not_the_rows(errors: list[int], m: int) -> None:
    values = np.array(errors, dtype=float)
    order = np.random.default_rng(0).permutation(values.size)
    there = winning_probabilities(values[order], m)
    assert there == pytest.approx(winning_probabilities(np.exp(values), m)[order])


def test_the_span_is_the_percentiles_of_the_winners_value() -> None:
    table = drawn(64)
    row = span_of_the_best(table, hyperparameters=["lr"]).iloc[0]
    rng = np.random.default_rng(0)
    picks = rng.integers(0, 64, (20_000, 16))
    errors, lr = table["error"].to_numpy(), table["lr"].to_numpy()
    winners = lr[picks[np.arange(20_000), errors[picks].argmin(axis=1)]]
    near = np.quantile(winners, [0.025, 0.5, 0.975])
    step = 100 ** (1 / 64)
    assert np.abs(
        np.log(row[["low", "median", "high"]].astype(float) / near)
    ).max() <= 1.01 * np.log(step)
    assert row["selected"] == lr[-1]
    assert row["m"] == 16
    assert 10 <= row["runs"] <= 13  # "about the top 12, whatever n"
    assert span_of_the_best(drawn(1024)).iloc[0]["runs"] == pytest.approx(row["runs"], abs=2)
    assert "no interval" in span_of_the_best(table).attrs["note"]


def test_failures_stay_in_the_resample_and_never_win() -> None:
    table = drawn(4, error=[10.0, None, None, None])
    row = span_of_the_best(table, hyperparameters=["lr"], fraction=0.5).iloc[0]
    assert row["no_winner"] == pytest.approx((3 / 4) ** 2)
    assert row["low"] == row["high"] == table["lr"].iloc[0]
    lost = span_of_the_best(drawn(3, error=None), hyperparameters=["lr"]).iloc[0]
    assert lost["no_winner"] == 1.0
    assert np.isnan(lost["low"])
    crashed = drawn(4, outcome=["ok", "crashed", "crashed", "crashed"])
    row = span_of_the_best(crashed, fraction=0.5).iloc[0]
    assert row["no_winner"] == pytest.approx((3 / 4) ** 2)


def test_products_and_unknown_hyperparameters() -> None:
    row = span_of_the_best(drawn(4), hyperparameters=["lr*weight_decay"]).iloc[0]
    assert row["selected"] == pytest.approx(drawn(4).eval("lr * weight_decay").iloc[-1])
    with pytest.raises(TableError, match="no column 'momentum'"):
        span_of_the_best(drawn(4), hyperparameters=["momentum"])
    with pytest.raises(TableError, match="model: got"):
        span_of_the_best(drawn(4), hyperparameters=["model"])
    with pytest.raises(TableError, match="no hyperparameter varies"):
        span_of_the_best(drawn(4)[["model", "error"]])
    with pytest.raises(ValueError, match="fraction 0"):
        span_of_the_best(drawn(4), fraction=0.0)


@pytest.mark.parametrize(
    ("lr", "edge"), [(0.00125, "low"), (0.00127, ""), (0.0785, ""), (0.0797, "high"), (0.1, "high")]
)
def test_an_optimum_within_a_twentieth_of_the_log_width_is_at_the_edge(
    lr: float, edge: str
) -> None:
    """0.001 * 100^0.05 is 0.001259, 0.001 * 100^0.95 is 0.0794."""
    table = drawn(3, lr=[lr, 0.01, 0.01], error=[5.0, 6.0, 7.0])
    found = edge_warnings(table, BOX, hyperparameters=["lr"])
    assert found["edge"].tolist() == [edge]
    assert found["position"].iloc[0] == pytest.approx(np.log(lr / 0.001) / np.log(100))
    assert ("At an edge" in found.attrs["note"]) == bool(edge)
    scaled = table.assign(lr=table["lr"] * 1000)
    assert edge_warnings(scaled, {"lr": (1.0, 100.0)})["edge"].tolist() == [edge]


def test_the_optimum_is_the_one_chosen_on_validation_and_ties_have_a_row_each() -> None:
    table = drawn(3, lr=[0.001, 0.01, 0.1], error=[9.0, 5.0, 9.0], val_error=[4.0, 6.0, 4.0])
    found = edge_warnings(table, BOX, hyperparameters=["lr"])
    assert found[["value", "edge"]].values.tolist() == [[0.001, "low"], [0.1, "high"]]
    assert edge_warnings(drawn(2, error=None), BOX).empty


def test_an_unknown_box_is_the_observed_one_and_says_so() -> None:
    found = edge_warnings(drawn(8))
    assert found["source"].eq("observed, scale inferred").all()
    assert found["edge"].tolist() == ["high", "low"]  # the outermost run is the best here
    assert "outermost values drawn" in found.attrs["note"]


def test_ranges_of_a_study_apply_to_their_optimizer(tmp_path: Path) -> None:
    """Written by `sweeps`, read without it."""
    space = (
        Hyperparameter(name="lr", low=0.01, high=1.0, optims=("sgd",)),
        Hyperparameter(name="lr", low=0.001, high=0.1, optims=("adamw",)),
        Hyperparameter(name="momentum", low=0.5, high=0.9, scale="linear", models=("b",)),
        Hyperparameter(name="batch_size", choices=(32, 64)),
    )
    make_toy(space=space).write(tmp_path / "study.toml")
    ranges = read_search_space(tmp_path)
    assert [(r.name, r.low, r.high, r.scale) for r in ranges] == [
        ("lr", 0.01, 1.0, "log"),
        ("lr", 0.001, 0.1, "log"),
        ("momentum", 0.5, 0.9, "linear"),
    ]
    of = range_for(ranges, "lr", {"model": "a", "optim": "adamw"})
    assert of is not None
    assert of.high == 0.1
    assert range_for(ranges, "momentum", {"model": "a", "optim": "sgd"}) is None
    assert ranges[2].position([0.5, 0.7]).tolist() == pytest.approx([0.0, 0.5])
    both = pd.concat([drawn(4, lr=0.01), drawn(4, optim="adamw", lr=0.01)])
    found = edge_warnings(both, tmp_path, hyperparameters=["lr"])
    assert found["position"].tolist() == pytest.approx([0.0, 0.5])
    assert found["source"].eq("study.toml").all()


def test_a_box_that_cannot_be_read_is_answered(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="no search space can be read"):
        read_search_space(tmp_path)
    (tmp_path / "study.toml").write_text("models = ['a']\n")
    with pytest.raises(TableError, match="no search space can be read"):
        edge_warnings(drawn(4), tmp_path)
    with pytest.raises(TableError, match=r"lr: got 1\.0 to 0\.1, allowed: a finite interval"):
        search_space_of(drawn(4), {"lr": (1.0, 0.1)})
    with pytest.raises(TableError, match="'momentum' is not one of 'lr', 'weight_decay'"):
        search_space_of(drawn(4), BOX, ["momentum"])


@pytest.mark.parametrize("scale", ["log", "linear"])
def test_positions_and_values_are_inverse(scale: str) -> None:
    of = SearchRange(name="x", low=0.02, high=0.8, scale=scale)  # type: ignore[arg-type]
    at = np.linspace(-0.2, 1.2, 9)
    assert of.position(of.at(at)) == pytest.approx(at)


def test_a_smaller_box_keeps_what_lies_inside_it() -> None:
    table = drawn(8)
    found = subspace(table, {"lr": (0.001, 0.01)}, BOX)
    assert found["draw"].tolist() == [0, 1, 2, 3]
    assert found.attrs["note"].startswith("4 of 8 trials inside")
    assert "fixed beforehand" in found.attrs["note"]
    both = subspace(table, {"lr": (0.001, 0.01), "weight_decay": (1.0, 10**0.75)}, BOX)
    assert both["draw"].tolist() == [2, 3]
    whole = subspace(table, BOX, BOX)
    assert whole["draw"].tolist() == list(range(8))


def test_a_relative_box_keeps_the_same_draws_of_each_optimizer() -> None:
    other = drawn(8, optim="adamw", lr=drawn(8)["lr"] / 100)
    table = pd.concat([drawn(8), other], ignore_index=True)
    found = subspace(table, {"lr": (0.5, 1.0)}, relative=True)
    assert found.groupby("optim")["draw"].apply(list).tolist() == [[4, 5, 6, 7]] * 2
    own = [
        SearchRange(name="lr", low=0.001, high=0.01, optims=("sgd",)),
        SearchRange(name="lr", low=0.0002, high=0.001, optims=("adamw",)),
    ]
    ranges = [
        SearchRange(name="lr", low=0.001, high=0.1, optims=("sgd",)),
        SearchRange(name="lr", low=0.00001, high=0.001, optims=("adamw",)),
    ]
    found = subspace(table, own, ranges)
    assert found.groupby("optim", sort=False)["draw"].apply(list).tolist() == [
        [0, 1, 2, 3],
        [5, 6, 7],
    ]


def test_a_box_chosen_after_the_errors_has_no_band() -> None:
    found = subspace(drawn(8), {"lr": (0.001, 0.01)}, BOX, beforehand=False)
    (sample,) = samples(found)
    with pytest.raises(ValueError, match="no band"):
        sample.band()
    assert "after its errors were seen: no band" in found.attrs["note"]


def test_a_box_that_is_not_inside_is_refused_with_every_fault() -> None:
    with pytest.raises(TableError, match=r"2 problems: lr: got 0\.0001 to .*weight_decay: got 5"):
        subspace(drawn(8), {"lr": (0.0001, 0.01), "weight_decay": (5.0, 20.0)}, BOX)
    with pytest.raises(TableError, match="allowed: within 0 to 1"):
        subspace(drawn(8), {"lr": (0.5, 1.5)}, BOX, relative=True)
    with pytest.raises(TableError, match="no trial lies inside"):
        subspace(drawn(8), {"lr": (0.001, 0.00101)}, BOX)
    with pytest.raises(TableError, match="'momentum' is not one of"):
        subspace(drawn(8), {"momentum": (0.1, 0.2)}, BOX)


def test_the_band_of_a_smaller_box_covers() -> None:
    """Given its count, what falls into a box fixed beforehand is an i.i.d. sample of it."""
    rng = np.random.default_rng(2)
    covered, repeats = 0, 80
    for _ in range(repeats):
        u = rng.random(24)
        table = drawn(24, lr=0.001 * 100**u, error=99 * u, chance=100.0)
        (sample,) = samples(subspace(table, {"lr": (0.001, 0.01)}, BOX))
        _, low, high = share_interval(sample, 19.8)
        covered += low <= 0.4 <= high  # P(u <= .2 | u <= .5)
    assert covered / repeats > 0.95


def test_weights_give_an_effective_n_and_no_band() -> None:
    errors = np.array([30.0, 10.0, 20.0, np.inf])
    same = reweighted(errors, np.full(4, 7.0))
    assert same.effective_n == pytest.approx(4.0)
    at = [9.0, 10.0, 20.0, 30.0, np.inf]
    assert same.edf(at).tolist() == EDF.of(errors)(at).tolist()
    one = reweighted(errors, [0.0, 1e-300, 0.0, 0.0])
    assert one.effective_n == 1.0
    assert one.edf(10.0) == 1.0
    with pytest.raises(ValueError, match="no band: the values were drawn from another law"):
        one.edf.band()
    with pytest.raises(ValueError, match="no band"):
        one.edf.delta(10.0).band()
    for bad in ([1.0, -1.0, 0.0, 0.0], [0.0] * 4, [np.nan, 1, 1, 1]):
        with pytest.raises(ValueError, match="weights: got a negative"):
            reweighted(errors, bad)
    with pytest.raises(ValueError, match="shape"):
        reweighted(errors, [1.0])


def test_weights_recover_the_other_law() -> None:
    """Log-uniform draws weighted by lr are uniform ones: P(lr <= x) = (x - low)/(high - low)."""
    lr = 0.01 * 100 ** ((np.arange(2000) + 0.5) / 2000)
    found = reweighted(lr, lr)
    assert found.edf([0.25, 0.5]).tolist() == pytest.approx([0.24 / 0.99, 0.49 / 0.99], abs=2e-3)


def test_the_landscape_holds_every_trial() -> None:
    table = drawn(3, error=[5.0, None, 7.0], val_error=[9.0, None, 8.0])
    found = landscape(table)
    assert found["error"].tolist() == [5.0, 7.0, 90.0] or found["error"].tolist() == [
        5.0,
        90.0,
        7.0,
    ]
    assert found.loc[found["selected"], "error"].tolist() == [7.0]
    assert found["selected_on"].eq("validation").all()
    assert found["usable"].sum() == 2


@pytest.mark.skipif("STABILITY_TABLES" not in os.environ, reason="names a folder of real tables")
def test_real_tables_have_their_best_inside_the_box() -> None:
    folder = Path(os.environ["STABILITY_TABLES"])
    names = ("deberta-base", "deberta-v3-base")
    parts = [pd.read_csv(folder / f"{n}.csv").assign(model=n) for n in names]
    table = pd.concat(parts).assign(error=lambda t: t["final_err"], draw=lambda t: t["iteration"])
    span = span_of_the_best(table, hyperparameters=["learning_rate"])
    assert span["runs"].tolist() == [13, 13]
    assert span["low"].between(1e-6, 1e-4).all()
    assert span["high"].between(1e-6, 1e-4).all()
    found = edge_warnings(table, {"learning_rate": (1e-6, 1e-3)})
    assert found["edge"].eq("").all()
