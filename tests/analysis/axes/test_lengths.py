"""Schedule length, optimizer gap and convergence: what is chosen, compared and counted."""

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from analysis import (
    TableError,
    edge_warnings,
    epochs_to_reach,
    importance,
    landscape,
    load_curves,
    lr_sensitivity,
    marginals,
    optimizer_gap,
    schedule_length,
    span_of_the_best,
    summarise,
    tau_b,
    training_curves,
)

CHANCE = 90.0


def runs(epochs: int, errors: list[float | None], **columns: object) -> pd.DataFrame:
    """Make the trials of one length; None is a diverged one."""
    base = {"model": "a", "optim": "sgd", "epochs": epochs, "chance": CHANCE, "study": "s"}
    return pd.DataFrame({**base, "draw": range(len(errors)), "error": errors, **columns})


LONG, SHORT = [20.0, 25.0, 40.0, None], [30.0, 28.0, 80.0, None]
BOTH = pd.concat([runs(50, LONG), runs(5, SHORT)], ignore_index=True)


def test_gaps_of_best_and_quartiles_are_those_of_each_length_alone() -> None:
    found = schedule_length(BOTH).set_index("epochs")
    assert found.index.tolist() == [5, 50]
    assert found.loc[5, ["n", "diverged", "selected", "gap"]].tolist() == [4, 1, 28.0, 8.0]
    quartiles = [np.quantile([*e[:3], CHANCE], [0.25, 0.5, 0.75]) for e in (SHORT, LONG)]
    assert quartiles[0].tolist() == [29.5, 55.0, 82.5]
    assert found.loc[5, ["q25", "q50", "q75"]].tolist() == [29.5, 55.0, 82.5]
    gaps = (quartiles[0] - quartiles[1]).tolist()
    assert found.loc[5, ["gap_q25", "gap_q50", "gap_q75"]].tolist() == gaps
    assert found.loc[50, ["gap", "gap_q50", "gap_q50_low", "gap_q50_high"]].tolist() == [0.0] * 4
    assert found["within"].tolist() == [0.5, 0.25]  # 28 and 30; 20 alone
    tau = tau_b(np.array([*SHORT[:3], CHANCE]), np.array([*LONG[:3], CHANCE]))
    assert found.loc[5, "tau"] == pytest.approx(tau)
    assert found.loc[5, "pairs"] == 4


def test_the_best_is_chosen_on_validation_and_reported_on_test() -> None:
    table = BOTH.assign(val_error=[22.0, 21.0, 41.0, None, 29.0, 31.0, 80.0, None])
    found = schedule_length(table)
    assert found["selected"].tolist() == [30.0, 25.0]
    assert found["selected_on"].tolist() == ["validation"] * 2
    assert "reported on the test part" in found.attrs["note"]
    assert "too good" in schedule_length(BOTH).attrs["note"]


def test_best_and_selected_are_two_names_for_two_numbers() -> None:
    """Issue: 'best' was the smallest test error in one table and the selected run in the other."""
    table = BOTH.assign(val_error=[22.0, 21.0, 41.0, None, 29.0, 31.0, 80.0, None])
    assert summarise(table)["best"].tolist() == [20.0, 28.0]
    found = schedule_length(table)
    assert "best" not in found
    assert (
        "Selected: the smallest validation error, reported on the test part."
        in (found.attrs["note"])
    )
    points = landscape(table.assign(lr=[0.1, 0.2, 0.3, 0.4] * 2))
    assert points.loc[points["selected"], "error"].tolist() == [25.0, 30.0]
    assert points["selected_on"].eq("validation").all()


def test_a_tie_on_validation_goes_to_the_smaller_loss_and_else_to_the_mean() -> None:
    tied = runs(5, [10.0, 20.0, 50.0], val_error=[12.0, 12.0, 40.0])
    assert schedule_length(tied)["selected"].tolist() == [15.0]
    assert schedule_length(tied.assign(loss=[0.5, 0.4, 2.0]))["selected"].tolist() == [20.0]


def test_one_configuration_can_be_followed_through_the_lengths() -> None:
    found = schedule_length(BOTH, tuned_at=5).set_index("epochs")
    assert found["selected"].to_dict() == {5: 28.0, 50: 25.0}
    assert found.loc[5, "gap"] == 3.0
    with pytest.raises(TableError, match="tuned_at: got 7, allowed in 'a': one of 5, 50"):
        schedule_length(BOTH, tuned_at=7)


def test_draws_that_do_not_repeat_over_the_lengths_cannot_be_followed() -> None:
    apart = BOTH.assign(study=BOTH["epochs"].map({5: "s", 50: "t"}))  # two studies, own draws
    with pytest.raises(TableError, match="has no trial at 50 epochs: draws do not repeat over"):
        schedule_length(apart, tuned_at=5)
    assert schedule_length(apart)["selected"].tolist() == [28.0, 20.0]
    half = BOTH.assign(outcome=["missing"] * 4 + ["ok"] * 3 + ["diverged"])
    half["error"] = half["error"].where(half["outcome"].eq("ok"))
    found = schedule_length(half, tuned_at=5).set_index("epochs")  # it may still arrive
    assert found.loc[5, "selected"] == 28.0
    assert np.isnan(found.loc[50, "selected"])


def test_the_interval_of_the_median_gap_covers_and_needs_independent_draws() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(30):
        table = pd.concat([runs(5, list(10 + 9 * rng.random(40))), runs(9, list(rng.random(40)))])
        row = schedule_length(table).iloc[0]
        covered += row["gap_q50_low"] <= 14.0 <= row["gap_q50_high"]
        assert row["gap_q50_low"] < row["gap_q50"] < row["gap_q50_high"]
    assert covered >= 28  # conservative: two simultaneous bands
    row = schedule_length(BOTH.assign(sampler="sobol")).iloc[0]
    assert np.isnan(row[["gap_q50_low", "within_low"]].astype(float)).all()
    assert row["gap_q50"] == 55.0 - 32.5


@pytest.mark.parametrize("errors", [[None, None], [7.0], [7.0, 7.0], [None]])
def test_few_equal_and_failed_trials_have_numbers_or_none(errors: list[float | None]) -> None:
    table = pd.concat([runs(5, errors), runs(9, errors)])
    found = schedule_length(table)
    alive = errors[0] is not None
    assert found["gap"].isna().all() if not alive else found["gap"].eq(0).all()
    assert found["tau"].isna().all()
    assert found["gap_q50"].eq(0).all()


def test_nothing_depends_on_the_order_of_rows() -> None:
    shuffled = BOTH.sample(frac=1, random_state=3)
    pd.testing.assert_frame_equal(schedule_length(shuffled), schedule_length(BOTH))


def test_a_table_without_lengths_says_so() -> None:
    with pytest.raises(TableError, match="no column 'epochs'"):
        schedule_length(BOTH.drop(columns="epochs"))


def optimizers(sgd: list[float | None], adamw: list[float | None], epochs: int = 5) -> pd.DataFrame:
    return pd.concat([runs(epochs, sgd), runs(epochs, adamw, optim="adamw")], ignore_index=True)


def test_the_optimizer_gap_is_that_of_the_best_of_each() -> None:
    found = optimizer_gap(optimizers([33.0, 34.0], [27.7, None]))
    assert found.loc[0, ["sgd", "adamw", "n_sgd", "n_adamw"]].tolist() == [33.0, 27.7, 2, 2]
    assert found.loc[0, "gap"] == pytest.approx(5.3)
    assert np.isnan(found.loc[0, "eval_low"])  # chosen on the images it is reported on
    flipped = optimizer_gap(optimizers([33.0], [27.7]), optims=("adamw", "sgd"))
    assert flipped.loc[0, "gap"] == pytest.approx(-5.3)


def test_the_evaluation_interval_is_that_of_two_binomials() -> None:
    table = optimizers([20.0], [10.0]).assign(val_error=[21.0, 11.0], wrong=[80, 40], n_eval=400)
    row = optimizer_gap(table).iloc[0]
    assert row["eval_low"] < 10.0 - 1.96 * 100 * np.sqrt(0.16 / 400 + 0.09 / 400)
    assert row["eval_high"] == pytest.approx(18.2, abs=1.0)
    beyond = table.assign(error=[95.0, 10.0], wrong=[380, 40])  # capped at chance: no such count
    assert np.isnan(optimizer_gap(beyond).iloc[0]["eval_low"])


def test_a_length_that_failed_is_copied_only_on_demand_and_marked() -> None:
    table = pd.concat(
        [
            optimizers([30.0], [25.0], 5),
            optimizers([28.0], [21.0], 10),
            optimizers([None], [20.0], 40),
        ]
    )
    plain = optimizer_gap(table)
    assert np.isnan(plain.loc[2, "sgd"])
    assert np.isnan(plain.loc[2, "gap"])
    copied = optimizer_gap(table, copy_shorter=True)
    assert copied.loc[2, ["sgd", "gap", "from_sgd", "from_adamw"]].tolist() == [28.0, 8.0, 10, 40]
    assert "Copied, dashed" in copied.attrs["note"]
    assert "Copied" not in plain.attrs["note"]
    pd.testing.assert_frame_equal(copied.iloc[:2], plain.iloc[:2], check_dtype=False)


def test_the_copy_is_of_the_same_model() -> None:
    other = optimizers([1.0], [1.0], 5).assign(model="b")
    table = pd.concat([other, optimizers([None], [20.0], 40)])
    assert np.isnan(optimizer_gap(table, copy_shorter=True).set_index("model").loc["a", "sgd"])


def test_unknown_optimizers_are_named() -> None:
    table = optimizers([1.0], [2.0])
    with pytest.raises(TableError, match="optims: 'adam' is not one of 'sgd', 'adamw'"):
        optimizer_gap(table, optims=("sgd", "adam"))
    with pytest.raises(TableError, match="no column 'optim'"):
        optimizer_gap(table.drop(columns="optim"))
    apart = table.assign(model=["a", "b"])
    with pytest.raises(TableError, match="no model was trained with both"):
        optimizer_gap(apart)


def curves(**errors: list[float | None]) -> pd.DataFrame:
    rows = [(t, e, v) for t, values in errors.items() for e, v in enumerate(values)]
    return pd.DataFrame(rows, columns=["trial", "epoch", "val_error"])


TRIALS = pd.DataFrame(
    {
        "model": "a",
        "trial": ["p", "q", "r", "s"],
        "outcome": ["ok", "ok", "diverged", "crashed"],
        "error": [5.0, 30.0, None, None],
        "chance": CHANCE,
    }
)
CURVES = curves(p=[91, 20, 8, 9], q=[90, 60, 40, 30], r=[90, 10, None, None])


def test_time_to_an_error_keeps_those_that_never_arrive() -> None:
    found = epochs_to_reach(CURVES, TRIALS, [10.0, 50.0]).set_index("level")
    assert found.loc[10.0, ["n", "reached", "share", "length"]].tolist() == [4, 2, 0.5, 3]
    assert found.loc[10.0, ["q25", "q50", "q75"]].tolist() == [1.0, 2.0, np.inf]
    assert found.loc[50.0, ["q25", "q50", "q75"]].tolist() == [1.0, 1.0, 2.0]
    assert found.loc[50.0, "reached"] == 3
    assert found.loc[50.0, "share_high"] == 1.0  # the crashed one may have
    assert (found["q50_high"] == np.inf).all()


def test_the_median_time_covers() -> None:
    rng = np.random.default_rng(1)
    names = [f"t{i}" for i in range(30)]
    table = pd.DataFrame({"model": "a", "trial": names, "error": 5.0, "chance": CHANCE})
    covered = 0
    for _ in range(40):
        times = rng.integers(1, 10, 30)  # median 5
        made = curves(
            **{n: [50.0] * t + [5.0] * (10 - t) for n, t in zip(names, times, strict=True)}
        )
        row = epochs_to_reach(made, table, [10.0]).iloc[0]
        covered += row["q50_low"] <= 5 <= row["q50_high"]
    assert covered >= 38


def test_quantiles_of_curves_hold_failures_in_the_denominator() -> None:
    found = training_curves(CURVES, TRIALS, [0.25, 0.3, 0.5, 1.0]).set_index("epoch")
    assert found["alive"].tolist() == [3, 3, 2, 2]
    assert found["n"].eq(4).all()
    assert found.loc[0, ["q25", "q50", "q100"]].tolist() == [90.0, 90.0, 90.0]  # capped at chance
    now = np.quantile([8.0, 40.0, 90.0, 90.0], [0.25, 0.3, 0.5, 1.0])
    assert found.loc[2, ["q25", "q30", "q50", "q100"]].tolist() == pytest.approx(now)
    without = training_curves(CURVES, TRIALS.drop(columns="chance"), [1.0])
    assert np.isinf(without["q100"].iloc[-1])


def test_an_epoch_that_a_trial_did_not_log_keeps_its_last_error() -> None:
    made = CURVES[~((CURVES["trial"] == "q") & (CURVES["epoch"] == 2))]
    found = training_curves(made, TRIALS, [0.5]).set_index("epoch")
    assert found["alive"].tolist() == [3, 3, 2, 2]
    assert found.loc[2, "q50"] == (60.0 + 90.0) / 2


def test_the_row_of_the_epoch_of_divergence_has_no_error_and_changes_nothing() -> None:
    logged = CURVES.dropna()
    for epoch in (2, 4):  # 4: later than all others
        row = pd.DataFrame({"trial": ["r"], "epoch": [epoch], "val_error": [np.nan]})
        made = pd.concat([logged, row])
        assert_frame_equal(training_curves(made, TRIALS), training_curves(logged, TRIALS))
        assert_frame_equal(
            epochs_to_reach(made, TRIALS, [10.0, 5.0]),
            epochs_to_reach(logged, TRIALS, [10.0, 5.0]),
        )


def test_bad_curves_are_answered(tmp_path: pytest.TempPathFactory) -> None:
    with pytest.raises(TableError, match="none for 1 trials of 'a'"):
        epochs_to_reach(CURVES[CURVES["trial"] != "q"], TRIALS, [10.0])
    with pytest.raises(TableError, match="curves: no column 'val_error'"):
        training_curves(CURVES.drop(columns="val_error"), TRIALS)
    with pytest.raises(TableError, match="same epoch twice"):
        training_curves(pd.concat([CURVES, CURVES]), TRIALS)
    with pytest.raises(ValueError, match="levels: got none"):
        epochs_to_reach(CURVES, TRIALS, [])
    with pytest.raises(TableError, match="cannot be read"):
        load_curves(str(tmp_path))
    with pytest.raises(TableError, match="no run directory"):
        load_curves([])


def test_a_half_finished_study_has_numbers_for_what_is_there() -> None:
    """The longest length has no result yet; its groups keep their rows."""
    rows = BOTH.assign(
        trial=[f"t{i}" for i in range(8)],
        outcome=["missing"] * 4 + ["ok"] * 3 + ["diverged"],
        lr=[0.1, 0.2, 0.3, 0.4] * 2,
        weight_decay=0.1,
    ).assign(error=[None] * 4 + SHORT)
    found = schedule_length(rows).set_index("epochs")
    assert found["n"].to_dict() == {5: 4, 50: 0}
    assert np.isnan(found.loc[5, "gap"])
    assert found.loc[5, "selected"] == 28.0
    made = curves(t4=[90, 30], t5=[90, 28], t6=[90, 80], t7=[90, None])
    assert epochs_to_reach(made, rows, [30.0])["n"].tolist() == [0, 4]
    assert training_curves(made, rows)["epoch"].tolist() == [0, 1]
    assert marginals(rows, bins=1)["n"].tolist() == [0, 4]
    assert lr_sensitivity(rows)["sensitivity"].isna().tolist() == [True, False]
    assert span_of_the_best(rows)["no_winner"].tolist() == [1.0, pytest.approx(1 / 4)]
    assert importance(rows)["n"].tolist() == [0, 4]
    assert edge_warnings(rows)["group"].tolist() == ["5 epochs"]
    assert len(landscape(rows)) == 4
