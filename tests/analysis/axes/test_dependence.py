"""What the error depends on: one hyperparameter at a time, the learning rate, the seed."""

import os
from itertools import permutations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis import (
    Estimand,
    Sample,
    TableError,
    clopper_pearson,
    importance,
    lr_sensitivity,
    marginals,
    share_interval,
    tau_b,
    variance_components,
    variance_shares,
)

CHANCE = 90.0
BOX = {"lr": (0.001, 1.0)}


def table_of(lr: list[float], error: list[float | None], **columns: object) -> pd.DataFrame:
    base = {"model": "a", "draw": range(len(lr)), "chance": CHANCE, "weight_decay": 0.1}
    return pd.DataFrame({**base, "lr": lr, "error": error, **columns})


PARTS = table_of([0.001, 0.002, 0.005, 0.05, 0.06, 1.0], [10.0, 12.0, 30.0, 11.0, None, None])


def test_bins_are_equal_in_log_units_and_count_everything() -> None:
    found = marginals(PARTS, "lr", BOX, bins=3)
    assert found["low"].tolist() == pytest.approx([0.001, 0.01, 0.1])
    assert found["high"].tolist() == pytest.approx([0.01, 0.1, 1.0])
    assert found["n"].tolist() == [3, 2, 1]
    assert found["diverged"].tolist() == [0, 1, 1]
    assert found["within"].tolist() == [2 / 3, 0.5, 0.0]
    assert found["q50"].tolist() == [12.0, (11.0 + 90.0) / 2, 90.0]


def test_an_interval_at_the_observed_best_is_that_of_the_bins_band() -> None:
    row = marginals(PARTS, "lr", BOX, bins=3).iloc[0]
    bin_ = Sample(label="", errors=np.array([10.0, 12.0, 30.0]), chance=CHANCE)
    assert row[["within_low", "within_high"]].tolist() == list(share_interval(bin_, 14.0)[1:])
    fixed = marginals(PARTS, "lr", BOX, bins=3, estimand=Estimand(reference=9.0))
    assert fixed.loc[0, ["within_low", "within_high"]].tolist() == list(clopper_pearson(2, 3))
    assert "Clopper and Pearson" in fixed.attrs["note"]


def test_unknown_trials_widen_the_interval_and_a_dependent_design_has_none() -> None:
    crashed = PARTS.assign(outcome=["ok", "ok", "crashed", "ok", "diverged", "diverged"])
    row = marginals(crashed, "lr", BOX, bins=3, estimand=Estimand(reference=9.0)).iloc[0]
    assert row["n"] == 3
    assert row["within_low"] == clopper_pearson(2, 3)[0]
    assert row["within_high"] == clopper_pearson(3, 3)[1]
    grid = marginals(PARTS.assign(sampler="grid"), "lr", BOX, bins=3)
    assert grid[["within_low", "within_high"]].isna().all(axis=None)
    assert grid["within"].tolist() == [2 / 3, 0.5, 0.0]


def test_empty_bins_and_failed_groups() -> None:
    found = marginals(table_of([0.001], [5.0]), "lr", BOX, bins=2)
    assert found["n"].tolist() == [1, 0]
    assert np.isnan(found.loc[1, "within"])
    failed = marginals(table_of([0.001, 0.5], [None, None]), "lr", BOX, bins=2)
    assert failed["within"].tolist() == [0.0, 0.0]
    assert failed["q50"].tolist() == [90.0, 90.0]


def test_bad_bins_are_answered() -> None:
    with pytest.raises(
        TableError, match=r"lr: 1 trials of 'a' lie outside the search space, 0\.001 to 0\.5"
    ):
        marginals(PARTS, "lr", {"lr": (0.001, 0.5)})
    with pytest.raises(ValueError, match="bins: got 0"):
        marginals(PARTS, "lr", BOX, bins=0)
    with pytest.raises(ValueError, match="pilot: got 2"):
        marginals(PARTS, "lr", BOX, estimand=Estimand(pilot=2))


def test_units_and_order_of_rows_change_nothing() -> None:
    plain = marginals(PARTS, "lr", BOX, bins=3)
    other = PARTS.assign(lr=PARTS["lr"] * 1e6).sample(frac=1, random_state=0)
    again = marginals(other, "lr", {"lr": (1e3, 1e6)}, bins=3)
    pd.testing.assert_frame_equal(
        again.drop(columns=["low", "high"]), plain.drop(columns=["low", "high"])
    )


def test_importance_is_tau_b_of_the_value_and_of_its_distance_from_the_best() -> None:
    lr = np.array([0.001, 0.01, 0.03, 0.3, 1.0])
    error = np.array([40.0, 20.0, 10.0, 50.0, 60.0])
    (row,) = importance(table_of(list(lr), list(error))).to_dict("records")
    assert row["tau"] == tau_b(lr, error)
    assert row["tau_distance"] == tau_b(np.abs(np.log(lr / 0.03)), error)
    assert np.isnan(row["p"])
    assert np.isnan(importance(table_of([0.1, 0.2], [None, None]))["tau_distance"].iloc[0])


def test_p_values_are_those_of_all_permutations_with_the_best_found_in_each() -> None:
    lr, error = [0.001, 0.01, 0.03, 0.3, 1.0], np.array([40.0, 20.0, 10.0, 50.0, 60.0])
    rng = np.random.default_rng(0)
    row = importance(table_of(lr, list(error)), rng=rng, permutations=1500).iloc[0]
    x = np.log(lr)
    taus = []
    for order in permutations(range(5)):
        there = error[list(order)]
        far = np.abs(x - x[there.argmin()])
        taus.append((abs(tau_b(x, there)), abs(tau_b(far, there))))
    exact = (np.array(taus) >= np.array(taus[0]) - 1e-12).mean(axis=0)
    assert exact[1] == pytest.approx(1 / 6)  # with the observed best kept, 1 / 12
    assert row[["p", "p_distance"]].astype(float).to_numpy() == pytest.approx(exact, abs=0.03)


def test_strong_dependence_has_the_smallest_p_value() -> None:
    rng = np.random.default_rng(0)
    strong = table_of(list(np.geomspace(0.001, 1, 12)), list(np.arange(12.0)))
    row = importance(strong, rng=rng, permutations=99).iloc[0]
    assert row["p"] == row["p_distance"] == 0.01
    with pytest.raises(ValueError, match="permutations: got 0"):
        importance(strong, rng=rng, permutations=0)


def test_sensitivity_of_a_sweep_is_the_definition() -> None:
    """By hand: min(l, 90) = 30, 20, 25, 90; mean 41.25, minus the least."""
    table = table_of([0.001, 0.01, 0.1, 1.0], [30.0, 20.0, 25.0, None])
    (row,) = lr_sensitivity(table).to_dict("records")
    assert (row["kind"], row["least"], row["start"], row["rates"]) == ("sweep of lr", 20.0, 90.0, 4)
    assert row["sensitivity"] == pytest.approx(21.25)
    assert np.isnan(row["low"])
    twice = pd.concat([table, table.assign(draw=range(4, 8), error=[40.0, 20.0, 25.0, 80.0])])
    assert lr_sensitivity(twice)["sensitivity"].iloc[0] == pytest.approx(
        (35 + 20 + 25 + 85) / 4 - 20
    )


def test_on_random_configurations_it_is_a_box_mean_with_its_interval() -> None:
    rng = np.random.default_rng(3)
    covered = 0
    for _ in range(40):
        errors = 10 + 40 * rng.random(32)
        table = table_of(list(rng.random(32)), list(errors), weight_decay=rng.random(32))
        (row,) = lr_sensitivity(table).to_dict("records")
        assert row["kind"] == "box mean"
        assert row["sensitivity"] == pytest.approx(errors.mean() - errors.min())
        truth = np.mean(np.maximum(np.linspace(10, 50, 10_001) - row["least"], 0.0))
        covered += row["low"] <= truth <= row["high"]
    assert covered >= 38
    grid = lr_sensitivity(table.assign(sampler="grid"))
    assert np.isnan(grid["low"].iloc[0])
    assert grid["sensitivity"].iloc[0] == pytest.approx(row["sensitivity"])


def test_whatever_else_varies_makes_it_no_sweep_and_is_named() -> None:
    """Further columns of a foreign table may be hyperparameters."""
    table = table_of([0.1, 0.2], [5.0, 7.0]).assign(depth=[3, 4], weight_decay=0.1)
    kinds = [lr_sensitivity(table, others=o)["kind"].iloc[0] for o in (None, [], ["depth"])]
    assert kinds == ["box mean", "sweep of lr", "box mean"]
    assert "lr varies together with depth" in lr_sensitivity(table).attrs["note"]
    fixed = table.assign(
        depth=3, seed=[1, 2], val_error=[6.0, 8.0], host=["x", "y"], seconds=[1, 2]
    )
    assert lr_sensitivity(fixed)["kind"].tolist() == ["sweep of lr"]
    fixed["score"] = [0.1, 0.2]  # a metric of the objective, as the study of the table shows
    assert lr_sensitivity(fixed)["kind"].tolist() == ["box mean"]
    fixed.attrs["search_space"] = [{"name": "lr", "low": 0.01, "high": 1.0}]
    assert lr_sensitivity(fixed)["kind"].tolist() == ["sweep of lr"]
    fixed.attrs["search_space"].append({"name": "depth", "choices": [3, 4]})
    assert lr_sensitivity(fixed.assign(depth=[3, 4]))["kind"].tolist() == ["box mean"]
    with pytest.raises(TableError, match="others: no column 'width'"):
        lr_sensitivity(table, others=["width"])


def test_the_loss_is_cut_at_its_value_before_training() -> None:
    table = table_of([0.01, 0.1, 1.0], [20.0, 30.0, None], trial=list("pqr"), loss=[0.5, 7.0, None])
    curves = pd.DataFrame({"trial": list("pqr"), "epoch": 0, "loss": [2.3, 2.5, 2.4]})
    (row,) = lr_sensitivity(table, curves, of="loss").to_dict("records")
    assert row["sensitivity"] == pytest.approx((0.5 + 2.5 + 2.4) / 3 - 0.5)
    with pytest.raises(TableError, match="got no curves"):
        lr_sensitivity(table, of="loss")
    with pytest.raises(TableError, match="no loss at epoch 0 for 1 trials"):
        lr_sensitivity(table, curves.iloc[:2], of="loss")
    with pytest.raises(TableError, match="no chance"):
        lr_sensitivity(table.drop(columns="chance"))
    with pytest.raises(ValueError, match="'los' is not one of"):
        lr_sensitivity(table, of="los")  # type: ignore[arg-type]


def test_without_a_usable_run_there_is_no_sensitivity() -> None:
    (row,) = lr_sensitivity(table_of([0.1, 0.2], [None, None])).to_dict("records")
    assert np.isnan(row["sensitivity"])
    assert np.isnan(row["least"])


def seeds(values: np.ndarray, **columns: object) -> pd.DataFrame:  # type: ignore[type-arg]
    k, r = values.shape
    return pd.DataFrame(
        {
            "model": "a",
            "draw": np.repeat(np.arange(k), r),
            "seed": np.tile(np.arange(r), k),
            "error": values.ravel(),
            "chance": CHANCE,
            **columns,
        }
    )


def test_variance_components_are_those_of_the_textbook() -> None:
    """By hand: means 2, 8, 5; MSW = (2 + 2 + 0) / 3; MSB = 2 * 18 / 2."""
    values = [np.array([1.0, 3.0]), np.array([7.0, 9.0]), np.array([5.0, 5.0])]
    found = variance_components(values)
    assert found.seed == pytest.approx(4 / 3)
    assert found.hyper == pytest.approx((18 - 4 / 3) / 2)
    assert found.share.low < found.share.estimate < found.share.high
    turned = [10 - 3 * v for v in values]
    assert variance_components(turned).share == pytest.approx(found.share)


def test_unequal_numbers_of_seeds_have_an_estimate_and_no_interval() -> None:
    rng = np.random.default_rng(0)
    sizes = rng.integers(1, 6, 4000)
    values = [2 * rng.normal() + rng.normal(size=s) for s in sizes]
    found = variance_components(values)
    assert found.seed == pytest.approx(1.0, rel=0.05)
    assert found.hyper == pytest.approx(4.0, rel=0.1)
    assert np.isnan(found.share.low)
    for bad in ([], [np.ones(3)], [np.ones(1), np.ones(1)]):
        with pytest.raises(ValueError, match="allowed: 2 of them, 2 seeds"):
            variance_components(bad)
    with pytest.raises(ValueError, match="not finite"):
        variance_components([np.array([1.0, np.inf]), np.ones(2)])


@pytest.mark.parametrize(("k", "r"), [(8, 3), (16, 2), (64, 3)])
def test_the_interval_covers_for_normal_effects_and_less_for_others(k: int, r: int) -> None:
    """The docstring of the result says so: exponential effects, k = 64, 3 seeds: .85 of 2000."""
    rng = np.random.default_rng(k)
    covered = {"normal": 0, "exponential": 0}
    for law in covered:
        for _ in range(1000):
            hyper = rng.normal(size=k) if law == "normal" else rng.exponential(size=k)
            share = variance_components(list(hyper[:, None] + rng.normal(size=(k, r)))).share
            covered[law] += share.low <= 0.5 <= share.high
    assert covered["normal"] >= 930  # 950 - 3 sd
    assert covered["exponential"] < 935


def test_shares_of_a_table() -> None:
    values = np.array([[10.0, 12.0], [20.0, 24.0], [30.0, 29.0], [40.0, 44.0]])
    (row,) = variance_shares(seeds(values)).to_dict("records")
    parts = variance_components(list(values))
    assert row["seed_sd"] == pytest.approx(parts.seed**0.5)
    assert row["share_hyper"] == pytest.approx(parts.share.estimate)
    assert (row["configurations"], row["seeds"], row["pairs"]) == (4, 2, 2)
    assert (row["same_order"], row["same_low"]) == (1.0, clopper_pearson(2, 2)[0])
    shuffled = variance_shares(seeds(values).sample(frac=1, random_state=1))
    assert shuffled.to_dict("records") == [row]


def test_failures_count_under_the_policy_and_are_named_where_seeds_disagree() -> None:
    values = np.array([[10.0, np.nan], [np.nan, np.nan], [30.0, 29.0], [40.0, 44.0]])
    table = seeds(values)
    (row,) = variance_shares(table).to_dict("records")
    filled = np.where(np.isnan(values), CHANCE, values)
    assert row["seed_sd"] == pytest.approx(variance_components(list(filled)).seed ** 0.5)
    assert row["mixed"] == 1
    (dropped,) = variance_shares(table, "drop").to_dict("records")
    assert dropped["configurations"] == 2
    with pytest.raises(TableError, match="no chance to count them at"):
        variance_shares(table.drop(columns="chance"))
    with pytest.raises(TableError, match="0 draws with two seeds"):
        variance_shares(table[table["seed"] == 0])
    with pytest.raises(TableError, match="no column 'draw'"):
        variance_shares(table.drop(columns="draw"))


def test_all_equal_has_no_share() -> None:
    (row,) = variance_shares(seeds(np.full((3, 2), 7.0))).to_dict("records")
    assert np.isnan(row["share_hyper"])
    assert row["same_order"] == 1.0


def test_the_order_of_two_configurations_is_counted_over_disjoint_pairs() -> None:
    """Its interval is exact: the truth is 1/2 where the seed is everything."""
    rng = np.random.default_rng(5)
    covered = 0
    for _ in range(60):
        (row,) = variance_shares(seeds(50 + rng.normal(size=(20, 2)))).to_dict("records")
        covered += row["same_low"] <= 0.5 <= row["same_high"]
    assert covered >= 55


@pytest.mark.skipif("STABILITY_TABLES" not in os.environ, reason="names a folder of real tables")
def test_real_tables_depend_on_the_learning_rate_alone() -> None:
    folder = Path(os.environ["STABILITY_TABLES"])
    table = pd.read_csv(folder / "deberta-base.csv").assign(model="base")
    table = table.assign(error=table["final_err"], draw=table["iteration"])
    names = ["learning_rate", "cls_drop_out"]
    found = importance(table, hyperparameters=names, rng=np.random.default_rng(0), permutations=99)
    assert found["p_distance"].tolist()[0] == 0.01
    assert abs(found["tau"].tolist()[1]) < 0.05
    bins = marginals(table, "learning_rate", bins=8)
    assert bins["n"].sum() == 1024
    assert bins["within"].iloc[1] == 1.0
    assert bins["within"].iloc[-1] == 0.0
