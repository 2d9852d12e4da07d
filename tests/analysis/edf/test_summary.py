"""Samples and their numbers: every policy, unfinished and failed trials, exact counts.

And the numbers of two samples that are secondary to their comparison.
"""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from analysis import (
    EDF,
    Estimand,
    Sample,
    TableError,
    brunner_munzel,
    clopper_pearson,
    compare,
    diverged_share,
    errors_under,
    ks_permutation,
    summarise,
    tau_b,
)
from analysis import samples as samples_of

CHANCE = 90.0


def group(outcomes: list[str], errors: list[float | None], **columns: object) -> pd.DataFrame:
    """Make one group; `chance=None` leaves the column out."""
    columns = {"chance": CHANCE, **columns}
    table = pd.DataFrame({"model": "vitc", "outcome": outcomes, "error": errors, **columns})
    return table.drop(columns=[name for name, value in columns.items() if value is None])


MIXED = group(
    ["ok", "ok", "collapsed", "diverged", "diverged", "crashed"],
    [10.0, 95.0, 88.0, None, None, None],
    last_finite_error=[None, None, 88.0, 40.0, None, None],
    best_val_error=[9.0, 80.0, 70.0, 20.0, None, None],
)


@pytest.mark.parametrize(
    ("policy", "errors"),
    [
        ("chance", [10.0, 90.0, 90.0, 90.0, 90.0]),
        ("last", [10.0, 90.0, 90.0, 40.0, 90.0]),
        ("best", [9.0, 80.0, 70.0, 20.0, 90.0]),
        ("drop", [10.0, 90.0, 90.0]),
    ],
)
def test_each_policy_places_failures_where_it_says(policy: str, errors: list[float]) -> None:
    """The run worse than chance ties with the diverged ones: a NaN must not beat it."""
    assert errors_under(MIXED, policy).tolist() == errors  # type: ignore[arg-type]


def test_the_policy_decides_the_share_and_the_sample_names_it() -> None:
    at_50 = {}
    for policy in ("chance", "last", "best", "drop"):
        (sample,) = samples_of(MIXED, policy)  # type: ignore[arg-type]
        assert sample.policy == policy
        at_50[policy] = sample.edf()(50.0)
    assert at_50 == {"chance": 1 / 6, "last": 2 / 6, "best": 2 / 6, "drop": 1 / 4}


def test_without_chance_failures_lie_beyond_every_threshold() -> None:
    table = group(["ok", "collapsed", "diverged"], [10.0, 88.0, None], chance=None)
    assert errors_under(table).tolist() == [10.0, math.inf, math.inf]


def test_last_needs_no_column_and_best_needs_its_own() -> None:
    table = group(["ok", "diverged"], [10.0, None])
    assert errors_under(table, "last").tolist() == [10.0, CHANCE]
    with pytest.raises(TableError, match="policy 'best': 1 finished runs have no best_val_error"):
        errors_under(table, "best")


def test_an_unknown_policy_is_answered_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"'drops' is not one of 'chance', .* mean 'drop'\?"):
        errors_under(MIXED, "drops")  # type: ignore[arg-type]


def test_errors_come_from_counts_where_there_are_counts() -> None:
    """Errors that were stored rounded would make ties of what is none, or lose some."""
    table = group(["ok", "ok"], [33.3, 37.3], wrong=[100, 112], n_eval=300)
    assert errors_under(table).tolist() == [100 / 3, 112 / 3]
    (sample,) = samples_of(table)
    assert sample.share_within(4.0) == (1.0, 1.0)


@pytest.mark.parametrize("n_eval", [297, 300, 397, 400, 10_000, 50_000])
def test_shares_within_whole_points_agree_with_whole_numbers(n_eval: int) -> None:
    """Counted in integers: 100 (wrong - fewest) <= d n_eval."""
    wrong = np.random.default_rng(n_eval).integers(n_eval // 50, n_eval // 5, 200)
    table = group(["ok"] * 200, list(100 * wrong / n_eval))
    row = summarise(table).iloc[0]
    for d in (1, 2, 4, 5, 10):
        assert row[f"within_{d}"] == np.sum(100 * (wrong - wrong.min()) <= d * n_eval) / 200


def test_failed_trials_are_bounded_neither_dropped_nor_bad() -> None:
    (sample,) = samples_of(MIXED)
    assert (sample.n, sample.unknown) == (6, 1)
    assert sample.share_within(5.0) == (1 / 6, 2 / 6)
    assert sample.edf()(CHANCE) == 1.0  # no error is larger, not even an unknown one
    lower, upper = sample.band(method="ks")
    whole = Sample(label="", errors=np.array([10, 90, 90, 90, 90, 90.0]), chance=CHANCE)
    assert lower(50.0) == whole.band(method="ks")[0](50.0)
    assert upper(50.0) == pytest.approx(whole.band(method="ks")[1](50.0) + 1 / 6)
    assert upper(0.0) == pytest.approx(
        whole.band(method="ks")[1](0.0) + 1 / 6
    )  # the unknown may be the best


def test_the_band_holds_wherever_the_unknown_errors_lie() -> None:
    known = np.arange(20.0)
    lower, upper = Sample(label="", errors=known, unknown=2, chance=CHANCE).band()
    x = np.linspace(-1, 91, 400)
    for hidden in ([0.0, 0.0], [90.0, 90.0], [3.0, 50.0]):
        low, high = Sample(label="", errors=np.append(known, hidden), chance=CHANCE).band()
        inside = x >= min(hidden)
        assert (lower(x) <= low(x) + 1e-12).all()
        assert (high(x)[inside] <= upper(x)[inside] + 1e-12).all()


def test_half_finished_groups_are_cut_to_the_prefix_of_the_design() -> None:
    """The late finisher with the best error must not enter: what is there is a biased sample."""
    table = group(["ok", "diverged", "missing", "ok"], [10.0, None, None, 1.0])
    (sample,) = samples_of(table)
    assert sample.errors.tolist() == [10.0, CHANCE]
    assert (sample.trials, sample.used, sample.unfinished) == (4, 2, 1)
    assert sample.note == "first 2 of 4 trials"
    row = summarise(table).iloc[0]
    assert (row["trials"], row["n"], row["unfinished"], row["best"]) == (4, 2, 1, 10.0)


def test_each_group_has_its_own_prefix() -> None:
    a = group(["ok", "missing"], [1.0, None])
    b = group(["ok", "ok"], [2.0, 3.0]).assign(model="vitp")
    assert [s.n for s in samples_of(pd.concat([a, b]))] == [1, 2]


def test_a_group_without_any_result_is_a_row_without_numbers() -> None:
    row = summarise(group(["missing", "ok"], [None, 1.0])).iloc[0]
    assert (row["trials"], row["n"], row["unfinished"]) == (2, 0, 1)
    assert row[["best", "median", "within_4", "within_4_low", "within_4_high"]].isna().all()


@pytest.mark.parametrize("chance", [CHANCE, None])
def test_where_all_failed_nothing_is_within_any_distance_of_a_best(chance: float | None) -> None:
    """Taking chance as the best would call a model stable that never trains."""
    row = summarise(group(["diverged", "collapsed"], [None, 89.0], chance=chance)).iloc[0]
    assert math.isnan(row["best"])
    assert row[[f"within_{d}" for d in (1, 2, 4, 5, 10)]].eq(0.0).all()


def test_the_primary_share_comes_with_its_interval_and_the_kind_of_it() -> None:
    errors = [10.0, 13.0, 14.0, 30.0, 60.0]
    summary = summarise(group(["ok"] * 5, errors))  # type: ignore[arg-type]
    row = summary.iloc[0]
    lower, upper = EDF.of(errors).band(0.95, "ld")
    assert (row["within_4_low"], row["within_4_high"]) == (lower(14.0), upper(14.0))
    assert 0 < row["within_4_low"] < row["within_4"] < row["within_4_high"] < 1
    assert summary.attrs["intervals"] == (
        "within_4_low and _high: 95% simultaneous band (ld), for F(m + 4) at the observed best m "
        "of each sample"
    )


def test_the_interval_covers_unknown_errors_and_is_absent_without_independent_points() -> None:
    (sample,) = samples_of(MIXED)
    row = summarise(MIXED).iloc[0]
    assert row["within_4_low"] == sample.band()[0](14.0)
    assert row["within_4_high"] == sample.band()[1](14.0)
    sobol = summarise(group(["ok", "ok"], [1.0, 2.0], sampler="sobol"))
    assert sobol[["within_4_low", "within_4_high"]].isna().all(axis=None)
    assert "(none: no independent draws)" in sobol.attrs["intervals"]


def test_large_samples_have_the_interval_of_another_band_which_is_named() -> None:
    large = summarise(group(["ok"] * 10_001, list(np.linspace(1, 80, 10_001))))
    sample = one("", np.linspace(1, 80, 10_001))
    assert large["within_4_low"].iloc[0] == sample.band(method="ks")[0](5.0)
    assert "simultaneous band (ks)" in large.attrs["intervals"]


def test_near_chance_nothing_is_within_reach_by_being_useless() -> None:
    row = summarise(group(["ok", "diverged", "collapsed"], [88.0, None, None])).iloc[0]
    assert row["within_4"] == 1 / 3
    assert row["within_4_high"] < 1.0


def test_all_equal_and_single_runs() -> None:
    for n in (1, 2, 5):
        row = summarise(group(["ok"] * n, [7.0] * n)).iloc[0]
        assert (row["n"], row["best"], row["median"], row["within_1"]) == (n, 7.0, 7.0, 1.0)


def test_counts_add_up_to_the_trials_used() -> None:
    summary = summarise(MIXED)
    assert summary.loc["vitc", ["ok", "collapsed", "diverged", "failed"]].tolist() == [2, 1, 2, 1]
    assert summary.loc["vitc", "n"] == 6
    assert summarise(MIXED, "drop").loc["vitc", "n"] == 4


def test_the_order_of_rows_does_not_change_the_numbers() -> None:
    pd.testing.assert_frame_equal(summarise(MIXED.iloc[::-1]), summarise(MIXED))


def test_groups_are_labelled_by_what_differs() -> None:
    parts = [
        group(["ok"], [float(epochs)]).assign(optim=optim, epochs=epochs, data="digits")
        for optim in ("sgd", "adamw")
        for epochs in (5, 15)
    ]
    summary = summarise(pd.concat(parts))
    assert summary.attrs["title"] == "digits, vitc"
    assert summary.index.tolist() == [
        "sgd 5 epochs",
        "sgd 15 epochs",
        "adamw 5 epochs",
        "adamw 15 epochs",
    ]
    assert summary["best"].tolist() == [5.0, 15.0, 5.0, 15.0]


def test_columns_may_be_named_to_group_by() -> None:
    table = group(["ok"] * 3, [1.0, 2.0, 3.0], depth=[2, 2, 3])
    assert [(s.label, s.n) for s in samples_of(table, by=["model", "depth"])] == [
        ("2", 2),
        ("3", 1),
    ]
    with pytest.raises(TableError, match=r"by: 'dept' is not one of .* mean 'depth'\?"):
        samples_of(table, by=["dept"])


def test_trials_of_one_drawn_point_are_never_pooled() -> None:
    """N is the number of configurations: lengths and seeds of one point are not independent."""
    table = group(
        ["ok"] * 4, [1.0, 2.0, 3.0, 4.0], study="s", draw=[0, 1, 0, 1], epochs=[5, 5, 9, 9]
    )
    assert [s.n for s in samples_of(table)] == [2, 2]
    with pytest.raises(TableError, match="draw 0 appears more than once"):
        samples_of(table, by=["model"])
    two_studies = table.assign(study=["s", "s", "t", "t"], epochs=5)
    assert [s.n for s in samples_of(two_studies)] == [2, 2]  # of one law? that is not known
    assert [s.n for s in samples_of(two_studies.assign(sweep=None))] == [4]  # pooled by `load`


def test_points_that_are_not_independent_have_no_band() -> None:
    (sample,) = samples_of(group(["ok"] * 4, [1.0, 2.0, 3.0, 4.0], sampler="sobol"))
    assert sample.note == "sobol design: no band"
    with pytest.raises(ValueError, match="points of a sobol design are not independent"):
        sample.band()


def test_a_faulty_table_is_refused_here_too() -> None:
    with pytest.raises(TableError, match="outcome: 'fine' is not one of"):
        summarise(group(["fine"], [1.0]))


@pytest.mark.parametrize("n", [1, 2, 10, 64])
@pytest.mark.parametrize("confidence", [0.5, 0.95])
def test_clopper_pearson_is_scipys_exact_interval(n: int, confidence: float) -> None:
    for count in range(n + 1):
        expected = stats.binomtest(count, n).proportion_ci(confidence, method="exact")
        got = clopper_pearson(count, n, confidence)
        assert got == pytest.approx((expected.low, expected.high), abs=1e-12)


@pytest.mark.parametrize("arguments", [(-1, 5), (6, 5), (0, 0), (1, 5, 1.0), (1, 5, math.nan)])
def test_clopper_pearson_refuses_what_is_no_share(arguments: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="allowed"):
        clopper_pearson(*arguments)


def test_the_diverged_share_counts_dropped_runs_and_doubts_unknown_ones() -> None:
    for policy in ("chance", "drop"):
        (sample,) = samples_of(MIXED, policy)  # type: ignore[arg-type]
        share, lower, upper = diverged_share(sample)
        assert share == 2 / 6
        assert lower == clopper_pearson(2, 6)[0]
        assert upper == clopper_pearson(3, 6)[1]


STABLE, SHAKY = np.linspace(5, 8, 64), np.linspace(4, 64, 64)


def one(label: str, errors: object, *, paired: bool = False) -> Sample:
    values = np.asarray(errors, dtype=float)
    points = tuple((i,) for i in range(values.size)) if paired else ()
    return Sample(label=label, errors=values, chance=CHANCE, points=points)


def test_the_permutation_test_counts_the_sample_itself() -> None:
    a, b = np.arange(8.0), np.arange(8.0) + 100
    distance, p = ks_permutation(a, b, np.random.default_rng(0), permutations=199)
    assert (distance, p) == (1.0, 1 / 200)  # never 0
    assert ks_permutation(a, a, np.random.default_rng(0))[1] == 1.0


@given(st.lists(st.integers(0, 9), min_size=1, max_size=20), st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_the_distance_is_that_of_kolmogorov_and_smirnov(a: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    b = rng.integers(0, 9, 7)
    distance = ks_permutation(np.array(a, float), b.astype(float), rng, permutations=1)[0]
    assert distance == pytest.approx(stats.ks_2samp(a, b, method="asymp").statistic)


@pytest.mark.parametrize("within_pairs", [False, True])
def test_the_permutation_test_keeps_its_size_with_ties(within_pairs: bool) -> None:
    rng = np.random.default_rng(4)
    rejected = 0
    for _ in range(300):
        a, b = rng.integers(0, 4, (2, 12)).astype(float)
        rejected += ks_permutation(a, b, rng, paired=within_pairs, permutations=59)[1] <= 0.1
    assert stats.binomtest(rejected, 300, 0.1, alternative="greater").pvalue > 0.01


def test_exchanges_within_pairs_are_sign_flips() -> None:
    """Four pairs, all in favour of one side: 2 of the 16 exchanges are as extreme."""
    a, b = np.zeros(4), np.ones(4)
    p = ks_permutation(a, b, np.random.default_rng(0), paired=True, permutations=3999)[1]
    assert p == pytest.approx(2 / 16, abs=0.02)
    with pytest.raises(ValueError, match="got 4 and 3 values"):
        ks_permutation(a, a[:3], np.random.default_rng(0), paired=True)


@given(st.integers(0, 1000))
@settings(max_examples=30, deadline=None)
def test_brunner_munzel_agrees_with_scipy(seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = rng.integers(0, 12, 15).astype(float), rng.integers(2, 14, 11).astype(float)
    better, p = brunner_munzel(a, b)
    assert p == pytest.approx(stats.brunnermunzel(a, b).pvalue, abs=1e-9)
    less, ties = (a[:, None] < b).mean(), (a[:, None] == b).mean()
    assert better.estimate == pytest.approx(less + ties / 2)
    assert (better.low > 0.5 or better.high < 0.5) == (p < 0.05)


def test_paired_brunner_munzel_uses_the_pairs() -> None:
    """Closed form: the variance of the difference of placements."""
    rng = np.random.default_rng(1)
    a = rng.random(20)
    b = a + 0.1 + 0.05 * rng.random(20)
    better, p = brunner_munzel(a, b, paired=True)
    z = (a[None, :] < b[:, None]).mean(axis=1) - (b[None, :] < a[:, None]).mean(axis=1)
    error = z.std(ddof=1) / math.sqrt(20)
    assert better.high - better.low == pytest.approx(2 * stats.t.ppf(0.975, 19) * error)
    assert p == pytest.approx(2 * stats.t.sf((better.estimate - 0.5) / error, 19))
    assert p < brunner_munzel(a, b)[1]


def test_two_failures_tie_and_nothing_beats_them_by_noise() -> None:
    failed = np.full(6, np.inf)
    better, p = brunner_munzel(failed, failed)
    assert better.estimate == 0.5
    assert math.isnan(p)
    worse, good = one("w", [CHANCE] * 6), one("g", [5.0] * 6)
    table = compare(good, worse, Estimand(reference=80.0)).secondary
    assert table.loc["p_a_better", "estimate"] == 1.0
    both = compare(one("v", [CHANCE] * 6), worse, rng=np.random.default_rng(0)).secondary
    assert both.loc[["p_a_better", "ks"], "estimate"].tolist() == [0.5, 0.0]


def test_tau_b_is_that_of_scipy_and_absent_where_all_tie() -> None:
    a, b = np.array([1.0, 2.0, 2.0, 5.0, np.inf]), np.array([2.0, 1.0, 4.0, 5.0, np.inf])
    finite = [np.nan_to_num(x, posinf=99.0) for x in (a, b)]
    assert tau_b(a, b) == pytest.approx(stats.kendalltau(*finite).statistic)
    assert math.isnan(tau_b(a, np.ones(5)))


def test_secondary_statistics_say_what_they_are_of_and_that_they_are_not_adjusted() -> None:
    a, b = one("a", STABLE, paired=True), one("b", SHAKY, paired=True)
    table = compare(a, b, rng=np.random.default_rng(0)).secondary
    assert table.index.tolist() == ["area", "ks", "p_a_better", "tau_b"]
    assert table.loc["p_a_better", "of"] == "raw errors"
    assert "not adjusted" in table.attrs["note"]
    fixed = compare(a, b, Estimand(reference=4.0)).secondary
    assert fixed.index.tolist() == ["area", "p_a_better", "tau_b"]  # no generator, no permutations
    assert fixed.loc["p_a_better", "of"] == "distances"
    delta = [np.minimum(1, (s.errors - s.best) / 10).mean() for s in (a, b)]
    assert table.loc["area", "estimate"] == pytest.approx(delta[1] - delta[0])
    assert table.loc["area", "low"] > 0


def test_the_same_generator_gives_the_same_answer_and_no_global_one_is_touched() -> None:
    before = np.random.get_state()[1].tolist()  # noqa: NPY002
    a, b = one("s", STABLE), one("t", SHAKY[:10])
    p = [compare(a, b, rng=np.random.default_rng(3)).secondary.loc["ks", "p"] for _ in range(2)]
    assert p[0] == p[1]
    assert np.random.get_state()[1].tolist() == before  # noqa: NPY002
