"""Intervals: the band, read at a share, a quantile or an area; pairs; fewer trials, exactly."""

import itertools
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
    area_interval,
    clopper_pearson,
    compare,
    exact_coverage,
    paired_interval,
    quantile_interval,
    samples,
    score_by_trials,
    share_interval,
    within_interval,
)
from analysis.comparison.pairs import mcnemar, pair_up, paired_result

METHODS = ("ld", "ld-equal-tailed", "ks", "dkw")
errors_lists = st.lists(st.integers(0, 60).map(float), min_size=1, max_size=30)


def sample(*errors: float, **fields: object) -> Sample:
    return Sample(**{"label": "a", "errors": np.array(errors), "chance": 90.0, **fields})  # type: ignore[arg-type]


@pytest.mark.parametrize("method", METHODS)
def test_a_share_lies_between_the_bounds_of_the_band(method: str) -> None:
    edf = EDF.of(np.arange(40.0))
    lower, upper = edf.band(0.9, method)  # type: ignore[arg-type]
    for x in (-1.0, 0.0, 17.5, 39.0, 50.0):
        assert share_interval(edf, x, 0.9, method) == (edf(x), lower(x), upper(x))  # type: ignore[arg-type]


def test_distances_are_read_at_the_reference_and_keep_ties() -> None:
    edf = EDF.of([4.3, 8.3, 40.0])
    assert within_interval(edf, 4.0) == share_interval(edf, 8.3)
    assert within_interval(edf, 4.0, reference=0.0) == share_interval(edf, 4.0)
    assert within_interval(edf, 4.0, reference=0.0).estimate == 0.0


@given(errors_lists, st.floats(0.01, 1.0), st.sampled_from(METHODS))
@settings(max_examples=60, deadline=None)
def test_the_quantile_inverts_the_band(errors: list[float], p: float, method: str) -> None:
    """An error x is below the interval exactly where F(x) = p is outside the band."""
    edf = EDF.of(errors)
    lower, upper = edf.band(0.9, method)  # type: ignore[arg-type]
    estimate, low, high = quantile_interval(edf, p, 0.9, method)  # type: ignore[arg-type]
    assert low <= estimate <= high
    for x in np.arange(-0.5, 61.5, 0.5):
        assert (x >= low) == (upper(x) >= p)
        assert (x >= high) == (lower(x) >= p)


def test_quantiles_of_a_sample_end_at_what_an_error_can_be() -> None:
    few = sample(10.0, 20.0)
    assert quantile_interval(few, 0.5) == (10.0, 0.0, 90.0)
    assert quantile_interval(few.edf(), 0.5) == (10.0, -math.inf, math.inf)
    assert quantile_interval(sample(10.0, 20.0, chance=None), 0.5).high == math.inf


@given(errors_lists, st.sampled_from(METHODS))
@settings(max_examples=60, deadline=None)
def test_the_area_is_the_mean_height_of_the_band(errors: list[float], method: str) -> None:
    """Compared with a sum over a fine grid; integers jump only on it."""
    edf = EDF.of(errors)
    middles = edf.minimum + np.arange(0.25, 10, 0.5)
    lower, upper = edf.band(0.95, method)  # type: ignore[arg-type]
    area = area_interval(edf, method=method)  # type: ignore[arg-type]
    for got, curve in zip(area, (edf, lower, upper), strict=True):
        assert got == pytest.approx(curve(middles).mean(), abs=1e-12)
    distances = np.minimum(1, (np.array(errors) - edf.minimum) / 10)
    assert area.estimate == pytest.approx(1 - distances.mean(), abs=1e-12)


def test_unknown_errors_widen_every_interval_to_both_sides() -> None:
    """The ends are those of the worst and of the best that the unknown errors can be."""
    known = np.arange(10.0, 30.0)
    half = sample(*known, unknown=4)
    worst, best = sample(*known, *[90.0] * 4), sample(*known, *[0.0] * 4)
    calls = (
        lambda s: share_interval(s, 15.0),
        lambda s: within_interval(s, 4.0, 10.0),
        lambda s: area_interval(s, 10.0),
    )
    for call in calls:
        assert call(half).low == call(worst).low
        assert call(half).high == pytest.approx(call(best).high)
        assert call(half).estimate == call(worst).estimate
    low, high = quantile_interval(best, 0.7).low, quantile_interval(worst, 0.7).high
    assert quantile_interval(half, 0.7)[1:] == (low, high)


@pytest.mark.parametrize("chance", [90.0, None])
def test_without_a_usable_run_the_interval_is_that_of_usable_runs(chance: float | None) -> None:
    bad = sample(*[90.0 if chance else math.inf] * 20, chance=chance)
    upper = bad.band()[1](89.0)
    assert 0.1 < upper < 0.3
    assert within_interval(bad, 4.0) == (0.0, 0.0, upper)
    assert area_interval(bad) == (0.0, 0.0, upper)


def test_dependent_points_have_no_interval() -> None:
    for call in (lambda s: share_interval(s, 1.0), lambda s: quantile_interval(s, 0.5)):
        with pytest.raises(ValueError, match="sobol design are not independent"):
            call(sample(1.0, 2.0, sampler="sobol"))


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="p: got 0"):
        quantile_interval(EDF.of([1.0]), 0.0)
    with pytest.raises(ValueError, match="d: got -1"):
        within_interval(EDF.of([1.0]), -1.0)
    with pytest.raises(ValueError, match="limit: got 0"):
        area_interval(EDF.of([1.0]), limit=0.0)


@pytest.mark.parametrize("shape", [1, 4])
def test_intervals_at_the_observed_best_hold_together_as_often_as_they_say(shape: int) -> None:
    """F(m + d) at the observed m, at five d at once, and the area: never less than the band.

    A percentile bootstrap of the area covers .88 here, where 5% of runs are usable.
    """
    rng = np.random.default_rng(shape)
    n, rounds, usable = 40, 400, 0.3
    d = np.array([0.0, 1.0, 2.0, 4.0, 10.0])
    grid = np.linspace(0, 10, 2001)

    def truth(x: np.ndarray) -> np.ndarray:  # 70% at chance, a power of x up to 30 below it
        return usable * np.clip(x / 30, 0, 1) ** shape

    missed = 0
    for _ in range(rounds):
        errors = np.where(rng.random(n) < usable, 30 * rng.random(n) ** (1 / shape), 90.0)
        edf = EDF.of(errors)
        m = edf.minimum
        shares = [within_interval(edf, float(x)) for x in d]
        real = truth(m + d)
        area, mean = area_interval(edf), truth(m + grid).mean()
        held = all(s.low <= r <= s.high for s, r in zip(shares, real, strict=True))
        missed += not (held and area.low <= mean <= area.high)
    assert exact_coverage(*(np.array(b) for b in _count_bounds(n))) == pytest.approx(0.95)
    assert missed / rounds <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / rounds)


def _count_bounds(n: int) -> tuple[list[float], list[float]]:
    lower, upper = EDF.of(np.arange(float(n))).band()
    return [lower(x) for x in range(-1, n)], [upper(x) for x in range(-1, n)]


@given(errors_lists, st.randoms())
@settings(max_examples=30, deadline=None)
def test_order_and_units_do_not_matter(errors: list[float], random: object) -> None:
    """Eight times the errors, distances and limits: errors eight times, shares the same."""
    shuffled = sorted(errors)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    one, other = EDF.of(errors), EDF.of([8.0 * e for e in shuffled])
    assert share_interval(other, 8.0 * 7.0) == share_interval(one, 7.0)
    assert within_interval(other, 8.0 * 4.0) == within_interval(one, 4.0)
    assert quantile_interval(other, 0.5) == tuple(8.0 * x for x in quantile_interval(one, 0.5))
    assert area_interval(other, limit=80.0) == pytest.approx(area_interval(one, limit=10.0))


def subsets(errors: list[float], m: int) -> tuple[float, float]:
    """Mean best and mean share within 4 of it, over all subsets of m: by listing them."""
    rows = [np.array(s) for s in itertools.combinations(errors, m)]
    return (
        float(np.mean([r.min() for r in rows])),
        float(np.mean([np.mean(r <= r.min() + 4) for r in rows])),
    )


@given(st.lists(st.integers(0, 20).map(float), min_size=1, max_size=9))
@settings(max_examples=25, deadline=None)
def test_scores_of_fewer_trials_are_means_over_all_subsets(errors: list[float]) -> None:
    scores = score_by_trials(sample(*errors), range(1, len(errors) + 1))
    for m, row in scores.iterrows():
        expected = subsets(errors, int(m))  # type: ignore[call-overload]
        assert (row["expected"], row["within"]) == pytest.approx(expected, abs=1e-12)


def test_a_study_of_useless_runs_alone_scores_nothing() -> None:
    scores = score_by_trials(sample(88.0, 90.0, 90.0, 90.0), [1, 2, 4])
    assert scores["within"].tolist() == pytest.approx([1 / 4, 1 / 4, 1 / 4])
    assert scores["expected"].tolist() == pytest.approx([89.5, 89.0, 88.0])
    assert within_interval(sample(88.0, 90.0, 90.0, 90.0), 4.0).estimate == 0.25
    assert area_interval(sample(88.0, 90.0, 90.0, 90.0)).estimate == 0.25


def test_the_score_of_all_trials_is_that_of_the_sample() -> None:
    errors = np.random.default_rng(0).gamma(2, 5, 300)
    row = score_by_trials(sample(*errors)).loc[300]
    assert row["expected"] == pytest.approx(errors.min())
    assert row["within"] == pytest.approx(sample(*errors).share_within(4.0)[0])


def test_the_median_of_the_best_is_a_quantile_with_its_interval() -> None:
    errors = sample(*np.random.default_rng(1).gamma(2, 5, 100))
    scores = score_by_trials(errors)
    assert scores.index.tolist() == [1, 2, 4, 8, 16, 32, 64, 100]
    for m, p in ((1, 0.5), (2, 1 - math.sqrt(0.5))):
        got = scores.loc[m, ["median", "median_low", "median_high"]].tolist()
        assert got[0] == pytest.approx(np.quantile(errors.errors, p))
        assert got[1:] == list(quantile_interval(errors, p)[1:])
        assert got[1] <= got[0] <= got[2]
    assert (np.diff(scores["expected"]) < 0).all()


def test_failures_without_a_place_make_the_mean_infinite_only_where_they_can_be_the_best() -> None:
    scores = score_by_trials(sample(1.0, 2.0, math.inf, chance=None), [1, 2])
    assert scores["expected"].tolist() == [math.inf, pytest.approx(4 / 3)]


@pytest.mark.parametrize(
    ("arguments", "said"), [(([0],), "trials: got 0"), (([4],), "1 to 3"), (([1], -1.0), "d: got")]
)
def test_scores_refuse_what_is_not_there(arguments: tuple[object, ...], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        score_by_trials(sample(1.0, 2.0, 3.0), *arguments)  # type: ignore[arg-type]


def paired(label: str, errors: object, **fields: object) -> Sample:
    values = np.asarray(errors, dtype=float)
    points = tuple((i,) for i in range(values.size + int(str(fields.get("unknown", 0)))))
    return sample(*values, label=label, points=points, **fields)


def test_configurations_are_matched_where_the_designs_are_paired() -> None:
    rows = [
        {"model": m, "study": "s", "draw": i, "error": 10.0 * i + j, "outcome": "ok"}
        for j, m in enumerate("ab")
        for i in range(4)
    ]
    table = pd.DataFrame(rows)
    table.loc[1, ["outcome", "error"]] = ["crashed", None]
    table.loc[7, ["outcome", "error"]] = ["missing", None]
    a, b = samples(table)
    assert a.points == (("s", 0), ("s", 2), ("s", 3), ("s", 1))  # the unknown one last
    pairs = pair_up(a, b)
    assert pairs is not None
    assert (a.errors[pairs.a] + 1).tolist() == b.errors[pairs.b].tolist() == [1.0, 21.0]
    assert pairs.unknown == 1


def test_other_studies_dropped_runs_and_missing_draws_are_no_pairs() -> None:
    a = paired("a", [1.0, 2.0])
    assert pair_up(a, sample(1.0, 2.0, label="b")) is None
    assert pair_up(a, sample(1.0, 2.0, label="b", points=((0,), (7,)))) is None
    table = pd.DataFrame({"model": list("aabb"), "draw": [0, 1, 0, 1], "error": [1, None, None, 2]})
    assert pair_up(*samples(table)) is not None
    assert pair_up(*samples(table, "drop")) is None


def test_pairs_decide_only_with_a_reference_from_elsewhere() -> None:
    """With the best of each sample as reference such tests reject up to 59% of the time."""
    a, b = paired("a", np.linspace(5, 8, 64)), paired("b", np.linspace(4, 64, 64))
    assert compare(a, b).decision.by == "shares"
    assert any("pairs need a reference from elsewhere" in note for note in compare(a, b).notes)
    fixed = Estimand(reference={"a": 5.0, "b": 4.0}, named="confirmed")
    assert compare(a, b, fixed).decision.by == "pairs"
    pairs = pair_up(a, b)
    assert pairs is not None
    with pytest.raises(ValueError, match="cannot judge its own trials"):
        paired_result(a, b, pairs, Estimand())


def test_pairs_are_counted_with_ties_at_d_and_failures_far_away() -> None:
    a = paired("a", [4.3, 8.3, 8.4, 90.0, 5.0])
    b = paired("b", [9.0, 4.3, 4.0, 90.0, 90.0])
    pairs = pair_up(a, b)
    assert pairs is not None
    found = paired_result(a, b, pairs, Estimand(reference=4.3))
    assert (found.only_a, found.only_b, found.pairs) == (2, 1, 5)
    assert found.difference.estimate == pytest.approx(0.2)


@given(st.integers(0, 30), st.integers(0, 30))
@settings(max_examples=40)
def test_mcnemar_is_the_exact_binomial_test(b: int, c: int) -> None:
    expected = stats.binomtest(b, b + c).pvalue if b + c else 1.0
    assert mcnemar(b, c) == pytest.approx(expected, abs=1e-12)


def test_unknown_pairs_give_the_largest_p_and_an_interval_for_every_case() -> None:
    a = paired("a", [5.0] * 12, unknown=2)
    b = paired("b", [5.0, 5.0, *[50.0] * 10], unknown=2)
    pairs = pair_up(a, b)
    assert pairs is not None
    found = paired_result(a, b, pairs, Estimand(reference=5.0))
    assert (found.only_a, found.only_b, found.unknown, found.pairs) == (10, 0, 2, 14)
    cases = [(10 + i, j) for i in range(3) for j in range(3 - i)]
    assert found.p == max(mcnemar(*case) for case in cases)
    each = [paired_interval(*case, 14) for case in cases]
    assert found.difference.low <= min(x.low for x in each) + 1e-12
    assert found.difference.high >= max(x.high for x in each) - 1e-12


@pytest.mark.parametrize("n", [1, 5, 14])
def test_the_paired_interval_covers_at_every_truth(n: int) -> None:
    """Exact: all outcomes of n pairs are listed, for a grid of what pairs can do."""
    counts = [(b, c) for b in range(n + 1) for c in range(n + 1 - b)]
    intervals = np.array([paired_interval(b, c, n)[1:] for b, c in counts])
    for p, q in itertools.product((0.0, 0.03, 0.1, 0.3, 0.5, 0.9), repeat=2):
        if p + q <= 1:
            law = stats.multinomial.pmf(
                [(b, c, n - b - c) for b, c in counts], n, [p, q, max(1 - p - q, 0)]
            )
            held = (intervals[:, 0] <= p - q + 1e-12) & (p - q <= intervals[:, 1] + 1e-12)
            assert law[held].sum() >= 0.95


def test_the_paired_interval_is_that_of_direction_times_that_of_differing() -> None:
    direction, differing = clopper_pearson(20, 25, 0.955), clopper_pearson(25, 64, 0.995)
    low, high = ((2 * p - 1) * psi for p, psi in zip(direction, differing, strict=True))
    assert paired_interval(20, 5, 64) == pytest.approx((15 / 64, low, high))
    assert paired_interval(5, 20, 64) == pytest.approx((-15 / 64, -high, -low))
    assert paired_interval(0, 0, 64) == pytest.approx((0, *(-x for x in _none()[::-1])))


def _none() -> tuple[float, float]:
    most = clopper_pearson(0, 64, 0.995)[1]
    return -most, most


def test_the_paired_interval_excludes_zero_exactly_where_the_sign_test_rejects() -> None:
    for b, c in itertools.product(range(12), repeat=2):
        low, high = paired_interval(b, c, 30)[1:]
        assert (low > 0 or high < 0) == (mcnemar(b, c) <= 0.045)


def test_a_pilot_gives_the_reference_and_is_left_out() -> None:
    a, b = paired("a", [5.0, 3.0, 9.0, 7.5]), paired("b", [6.0, 8.0, 1.0, 2.0])
    found = compare(a, b, Estimand(pilot=2))
    assert found.estimand.reference == {"a": 3.0, "b": 6.0}
    assert found.estimand.named == "best of a pilot of 2"
    assert found.decision.paired is not None
    assert found.decision.paired[:3] == (2, 0, 2)  # 9 and 7.5 are beyond 3 + 4
    for bad in (0, 4):
        with pytest.raises(ValueError, match="pilot"):
            compare(a, b, Estimand(pilot=bad or 9))
    with pytest.raises(ValueError, match="none of the first 1 of 'c' is usable"):
        compare(a, sample(90.0, 1.0, 2.0, label="c"), Estimand(pilot=1))
