"""Differences of shares: closed forms, exact coverage and size, unknown runs, invariance."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from analysis import (
    Estimand,
    Interval,
    Sample,
    clopper_pearson,
    compare,
    share_difference,
    share_of,
)
from analysis.comparison.compare import decide_primary
from analysis.comparison.shares import is_near, near_difference, opposition, share_near

counts = st.integers(1, 80).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


def sample(label: str, errors: object, **fields: object) -> Sample:
    values = np.asarray(errors, dtype=float)
    return Sample(**{"label": label, "errors": values, "chance": 90.0, **fields})  # type: ignore[arg-type]


@given(counts, counts, st.floats(-1, 0))
def test_the_interval_lies_between_one_share_alone_and_the_ends_furthest_apart(
    a: tuple[int, int], b: tuple[int, int], correlation: float
) -> None:
    one, other = share_of(*a), share_of(*b)
    estimate, low, high = share_difference(one, other, correlation)
    assert estimate == one.least - other.least
    assert one.low - other.high - 1e-12 <= low <= estimate <= high <= one.high - other.low + 1e-12
    assert low <= estimate - max(one.least - one.low, other.high - other.least) + 1e-12
    assert share_difference(one, other, -1.0).low == pytest.approx(one.low - other.high)
    swapped = share_difference(other, one, correlation)
    assert (-swapped.high, -swapped.low) == pytest.approx((low, high))


@given(counts, counts)
def test_each_end_rises_with_the_first_count_and_falls_with_the_second(
    a: tuple[int, int], b: tuple[int, int]
) -> None:
    """What the power and the unknown runs rely on."""
    (k, n), (m, o) = a, b
    here = share_difference(share_of(k, n), share_of(m, o))
    if k < n:
        more = share_difference(share_of(k + 1, n), share_of(m, o))
        assert more.low >= here.low - 1e-12
        assert more.high >= here.high - 1e-12
    if m < o:
        more = share_difference(share_of(k, n), share_of(m + 1, o))
        assert more.low <= here.low + 1e-12
        assert more.high <= here.high + 1e-12


@pytest.mark.parametrize("sizes", [(16, 16), (24, 60)])
def test_coverage_and_size_are_kept_at_every_pair_of_true_shares(sizes: tuple[int, int]) -> None:
    """Exact: all counts of both samples. Below .95 only where shares are near opposite ends."""
    first, second = ([share_of(k, n) for k in range(n + 1)] for n in sizes)
    ends = np.array([[share_difference(a, b)[1:] for b in second] for a in first])
    low, high = ends[..., 0], ends[..., 1]
    truths = np.array([0.0, 0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9, 0.975, 0.99, 1.0])
    laws = [binom.pmf(np.arange(n + 1)[:, None], n, truths) for n in sizes]
    for (i, p), (j, q) in itertools.product(enumerate(truths), repeat=2):
        held = (low <= p - q + 1e-12) & (p - q - 1e-12 <= high)
        assert laws[0][:, i] @ held @ laws[1][:, j] >= (0.95 if abs(p - q) < 0.95 else 0.944)
        if p == q:
            decided = (low > 0) | (high < 0)
            assert laws[0][:, i] @ decided @ laws[1][:, i] <= 0.05


def test_what_two_bands_left_open_is_resolved() -> None:
    """.55 against .15 at n = 64: two bands told them apart half of the time."""
    chance = np.array([[binom.pmf([k], 64, p)[0] for k in range(65)] for p in (0.55, 0.15)])
    shares = [share_of(k, 64) for k in range(65)]
    above = [[share_difference(a, b).low > 0 for b in shares] for a in shares]
    assert chance[0] @ np.array(above) @ chance[1] == pytest.approx(0.998, abs=5e-4)


def test_unknown_runs_give_an_interval_for_every_case() -> None:
    a = sample("a", [5.0] * 12 + [50.0] * 6, unknown=2)
    b = sample("b", [5.0] * 4 + [50.0] * 13, unknown=3)
    question = Estimand(reference=5.0)
    found = near_difference(a, b, question)
    cases = [
        share_difference(share_of(12 + i, 20), share_of(4 + j, 20))
        for i in range(3)
        for j in range(4)
    ]
    assert found.low == pytest.approx(min(case.low for case in cases))
    assert found.high == pytest.approx(max(case.high for case in cases))
    assert found.estimate == pytest.approx(12 / 20 - 4 / 20)


def test_the_best_run_is_left_out_of_the_lower_limit_of_its_own_sample() -> None:
    one = sample("a", [5.0, 6.0, 8.0, 30.0, 40.0])
    assert share_near(one, Estimand())[2:] == (clopper_pearson(2, 4)[0], clopper_pearson(3, 5)[1])
    assert share_near(one, Estimand(reference=5.0))[2:] == clopper_pearson(3, 5)
    assert share_near(sample("a", [5.0]), Estimand())[2:] == (0.0, 1.0)


def test_ties_at_d_count_and_useless_runs_never_do() -> None:
    late = sample("a", [86.0, 90.0, 90.0])
    assert is_near(late, Estimand()).tolist() == [True, False, False]
    assert is_near(sample("a", [4.3, 8.3, 8.31]), Estimand()).tolist() == [True, True, False]
    none = sample("n", [90.0] * 9)
    assert share_near(none, Estimand()).interval == (0.0, 0.0, clopper_pearson(0, 9)[1])


def test_the_correlation_is_that_of_the_common_configurations_where_they_are_opposed() -> None:
    good = np.array([5.0, 5.0, 50.0, 50.0])
    a = sample("a", good, points=(1, 2, 3, 4))
    question = Estimand(reference=5.0)
    assert opposition(a, sample("b", good[::-1], points=(1, 2, 3, 4)), question) == -1.0
    assert opposition(a, sample("b", good[::-1], points=(1, 7, 8, 4)), question) == -0.5
    assert opposition(a, sample("b", good, points=(1, 2, 3, 4)), question) == 0.0
    assert opposition(a, sample("b", good[::-1]), question) == 0.0
    failed = sample("b", [50.0, 50.0, 5.0], points=(1, 2, 3, 4), unknown=1)
    assert opposition(a, failed, question) == pytest.approx(-0.75 * 1.0)


@pytest.mark.parametrize("reference", ["sample-min", 4.0])
def test_order_and_units_of_the_errors_do_not_matter(reference: float | str) -> None:
    """Ten times the errors, the distance and the reference: the same shares and verdict."""
    rng = np.random.default_rng(0)
    errors = [np.round(rng.uniform(4, top, 40), 2) for top in (12, 40)]
    plain = [sample(x, e) for x, e in zip("ab", errors, strict=True)]
    mixed = [sample(x, rng.permutation(e)) for x, e in zip("ab", errors, strict=True)]
    tenfold = [sample(x, 10 * e, chance=900.0) for x, e in zip("ab", errors, strict=True)]
    question = Estimand(reference=reference)  # type: ignore[arg-type]
    scaled = reference if isinstance(reference, str) else 10 * reference
    found = decide_primary(*plain, question)
    assert decide_primary(*mixed, question) == found
    assert decide_primary(*tenfold, Estimand(d=40.0, reference=scaled)) == found  # type: ignore[arg-type]


@pytest.mark.parametrize("n", [1, 2])
def test_the_smallest_samples_decide_nothing(n: int) -> None:
    a, b = sample("a", [5.0] * n), sample("b", [90.0] * n)
    for question in (Estimand(), Estimand(reference=5.0)):
        found = compare(a, b, question)
        assert found.decision.verdict == "unresolved"
        assert found.decision.difference.estimate == 1.0
        assert found.dominance.verdict == "unresolved"


def test_no_trial_at_all_is_refused() -> None:
    with pytest.raises(ValueError, match="'b' is empty, allowed: at least 1"):
        compare(sample("a", [5.0]), sample("b", []))


def test_all_failed_and_all_equal() -> None:
    failed, equal = sample("a", [90.0] * 64), sample("b", [5.0] * 64)
    both = compare(failed, sample("c", [90.0] * 64)).decision
    assert (both.difference.estimate, both.verdict) == (0.0, "unresolved")
    assert compare(failed, equal).decision.verdict == "B"
    same = compare(equal, sample("c", [7.0] * 64)).decision
    assert (same.share_a.estimate, same.verdict) == (1.0, "unresolved")
    assert same.difference == Interval(0.0, -same.difference.high, same.difference.high)
    assert 0 < same.difference.high < 0.1


def test_a_share_checks_its_counts() -> None:
    for bad in ((3, 2), (-1, 2), (0, 0), (2, 3, 2)):
        with pytest.raises(ValueError, match="allowed: 0 to n"):
            share_of(*bad)
    with pytest.raises(ValueError, match="confidence"):
        share_of(1, 2, confidence=1.0)
    assert math.isclose(share_of(1, 4, 1).most, 0.5)
