"""The exact bands: published numbers, exact coverage, and intervals that are the shortest."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.stats import beta, binom, kstwo

from analysis import count_bounds, exact_coverage
from analysis.edf.ld import (
    LD_MAX_N,
    equal_tailed,
    highest_density,
    ld_bounds,
    pointwise_coverage,
)

METHODS = ("ld", "ld-equal-tailed")


@pytest.mark.parametrize(
    ("n", "method", "q"),
    [
        (20, "ld-equal-tailed", 0.995229304),
        (20, "ld", 0.994850120),
        (64, "ld-equal-tailed", 0.9973551384),
        (512, "ld-equal-tailed", 0.9987242212),
        (4096, "ld-equal-tailed", 0.9992116785),
    ],
)
def test_pointwise_coverages_are_the_published_ones(n: int, method: str, q: float) -> None:
    assert pointwise_coverage(n, 0.95, method) == pytest.approx(q, abs=6e-10)  # type: ignore[arg-type]


def test_bounds_below_the_smallest_of_twenty_are_the_published_ones() -> None:
    assert ld_bounds(20, 0.95, "ld-equal-tailed")[1][0] == pytest.approx(0.260603, abs=5e-7)
    assert ld_bounds(20, 0.95, "ld")[1][0] == pytest.approx(0.231596, abs=5e-7)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("confidence", [1e-6, 0.5, 0.95, 0.999, 1 - 1e-9])
@pytest.mark.parametrize("n", [1, 2, 3, 7, 100])
def test_bands_have_exactly_the_confidence_asked_for(
    n: int, confidence: float, method: str
) -> None:
    bounds = count_bounds(n, confidence, method)  # type: ignore[arg-type]
    assert exact_coverage(*bounds) == pytest.approx(confidence, abs=1e-11)


@pytest.mark.parametrize("n", [1, 2, 5, 20, 64, 140])
@pytest.mark.parametrize("eps", [0.7, 1.36, 2.5])
def test_the_walk_agrees_with_kolmogorov_and_smirnov(n: int, eps: float) -> None:
    """Up to 140 values scipy is exact; its formula beyond is off by up to 2.5e-7."""
    k = np.arange(n + 1) / n
    half = eps / np.sqrt(n)
    covered = exact_coverage(np.clip(k - half, 0, 1), np.clip(k + half, 0, 1))
    assert covered == pytest.approx(kstwo.cdf(half, n), abs=1e-12)


def test_the_walk_agrees_with_scipy_where_scipy_is_exact_for_many_values() -> None:
    """The matrix algorithm of Durbin, Marsaglia, Tsang and Wang, which scipy keeps inside."""
    durbin = pytest.importorskip("scipy.stats._ksstats")._kolmogn_DMTW
    bounds = count_bounds(1000, 0.95, "ks")
    eps = float(kstwo.ppf(0.95, 1000))
    assert exact_coverage(*bounds) == pytest.approx(float(durbin(1000, eps, True)), abs=1e-12)


@given(st.integers(1, 40), st.integers(0, 10**6))
@settings(max_examples=30)
def test_the_walk_of_one_bound_is_binomial(n: int, seed: int) -> None:
    """A band that asks for i values at one point alone is a statement about a binomial count.

    Neither bound mirrors the other: both halves of the walk are used.
    """
    rng = np.random.default_rng(seed)
    i, t = int(rng.integers(1, n + 1)), float(rng.random())
    upper = np.where(np.arange(n + 1) < i, t, 1.0)  # fewer than i values are <= x: F(x) <= t
    at_least = binom.sf(i - 1, n, t)
    assert exact_coverage(np.zeros(n + 1), upper) == pytest.approx(at_least, abs=1e-12)
    lower = np.where(np.arange(n + 1) < i, 0.0, t)
    fewer = binom.cdf(i - 1, n, t)
    assert exact_coverage(lower, np.ones(n + 1)) == pytest.approx(fewer, abs=1e-12)


def test_the_walk_agrees_with_simulation_for_a_crooked_band() -> None:
    rng = np.random.default_rng(5)
    lower, upper = np.sort(rng.random((2, 9)) * 0.5, axis=1)
    upper += 0.45
    values = np.sort(np.random.default_rng(6).random((200_000, 8)), axis=1)
    holds = ((lower[1:] <= values) & (values <= upper[:-1])).all(axis=1)
    exact = exact_coverage(lower, upper)
    assert 0.01 < exact < 0.99
    assert holds.mean() == pytest.approx(exact, abs=4 * np.sqrt(exact * (1 - exact) / 200_000))


def test_bands_that_cannot_or_must_hold() -> None:
    assert exact_coverage(np.zeros(5), np.ones(5)) == pytest.approx(1.0, abs=1e-14)
    assert exact_coverage(np.full(5, 0.5), np.ones(5)) == pytest.approx(0.5**4, abs=1e-14)
    assert exact_coverage(np.zeros(5), np.array([0.2, 0.2, 0.2, 0.2, 1])) == pytest.approx(0.2**4)
    assert exact_coverage(np.full(5, 0.5), np.full(5, 0.5)) == 0.0


@pytest.mark.parametrize(
    ("lower", "upper", "said"),
    [
        ([0.0, 0.5], [0.5, 1.0, 1.0], r"got \(2,\) and \(3,\)"),
        ([0.0], [1.0], r"allowed: both \(n \+ 1,\)"),
        ([0.5, 0.2], [0.5, 1.0], "lower: allowed"),
        ([0.0, 0.2], [0.5, 1.1], "upper: allowed"),
        ([0.0, np.nan], [0.5, 1.0], "lower: allowed"),
    ],
)
def test_bounds_are_checked(lower: list[float], upper: list[float], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        exact_coverage(np.array(lower), np.array(upper))


@pytest.mark.parametrize("n", [2, 3, 4, 21, 300])
@pytest.mark.parametrize("tail", [1e-10, 0.005, 0.5, 0.999])
def test_highest_density_intervals_have_their_coverage_and_equal_densities(
    n: int, tail: float
) -> None:
    low, high = highest_density(n, tail)
    assert (low[0], high[-1]) == (0.0, 1.0)
    i = np.arange(1, n // 2 + 1)  # the others mirror these, but near 1 floats are too coarse
    law = beta(i, n + 1 - i)
    low, high = low[i - 1], high[i - 1]
    np.testing.assert_allclose(law.cdf(low) + law.sf(high), tail, rtol=1e-9)
    np.testing.assert_allclose(law.logpdf(low)[1:], law.logpdf(high)[1:], atol=1e-9)


@pytest.mark.parametrize("i", [2, 3, 10, 20])
def test_highest_density_intervals_are_the_shortest(i: int) -> None:
    low, high = highest_density(20, 0.01)
    law = beta(i, 21 - i)
    best = minimize_scalar(
        lambda p: law.isf(0.01 - p) - law.ppf(p), bounds=(0, 0.01), options={"xatol": 1e-9}
    )
    assert high[i - 1] - low[i - 1] == pytest.approx(best.fun, abs=1e-8)


@pytest.mark.parametrize("intervals", [highest_density, equal_tailed])
@pytest.mark.parametrize("n", [1, 2, 3, 8, 201])
def test_intervals_mirror_each_other(intervals: object, n: int) -> None:
    low, high = intervals(n, 0.01)  # type: ignore[operator]
    np.testing.assert_allclose(low, 1 - high[::-1], atol=1e-14)
    assert (np.diff(low) > 0).all()
    assert (np.diff(high) > 0).all()


def test_highest_density_is_narrower_at_the_ends() -> None:
    """Why it is the default: the question is how many runs are near the best."""
    (dense_low, dense), (tails_low, tails) = (ld_bounds(64, 0.95, m) for m in METHODS)  # type: ignore[arg-type]
    assert dense[0] < tails[0]
    assert (dense - dense_low).sum() < (tails - tails_low).sum()


def test_a_band_is_searched_once_and_cannot_be_changed() -> None:
    first, again = (ld_bounds(31, 0.9, "ld") for _ in range(2))
    assert first[0] is again[0]
    with pytest.raises(ValueError, match="read-only"):
        first[0][0] = 1.0


def test_large_samples_are_refused_with_what_works() -> None:
    with pytest.raises(ValueError, match="'ks' and 'dkw' take no time"):
        ld_bounds(LD_MAX_N + 1, 0.95, "ld")
