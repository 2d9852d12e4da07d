"""The EDF and its bands keep their closed forms, their published numbers and their invariances."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kstwo

from analysis import EDF, Sample, count_bounds, half_width, method_for, share_interval

# fmt: off
TWENTY = [31.42, 28.77, 45.10, 29.86, 27.95, 33.08, 62.47, 30.21, 38.54, 29.13,
          54.02, 28.31, 35.66, 78.90, 30.95, 32.27, 41.83, 29.48, 49.75, 36.91]
# fmt: on
values = st.floats(-1e3, 1e3).map(lambda x: round(x, 2)) | st.just(math.inf)
samples = st.lists(values, min_size=1, max_size=30)


def test_counts_values_up_to_and_including_x() -> None:
    edf = EDF.of([1, 2, 2])
    assert [edf(0.0), edf(1.0), edf(2.0)] == [0.0, 1 / 3, 1.0]
    assert edf.x.tolist() == [1.0, 2.0]  # ties are one jump
    assert edf.n == 3


def test_is_right_continuous_at_every_jump() -> None:
    """Looks just before each jump with nextafter: a fixed 1e-15 changes nothing at 30."""
    edf = EDF.of(TWENTY)
    before = edf(np.nextafter(edf.x, -np.inf))
    assert before.tolist() == [k / 20 for k in range(20)]
    assert edf(edf.x).tolist() == [k / 20 for k in range(1, 21)]


def test_a_number_gives_a_float_and_an_array_an_array_of_its_shape() -> None:
    edf = EDF.of([1.0])
    assert type(edf(1.0)) is float
    assert edf(np.zeros((2, 3))).shape == (2, 3)
    assert type(edf.quantile(0.5)) is float


@pytest.mark.parametrize(
    ("errors", "said"),
    [
        ([], "n at least 1"),
        ([[1.0]], r"got shape \(1, 1\)"),
        ([1.0, math.nan, math.nan], "2 NaN and 0 -inf"),
        ([-math.inf], "0 NaN and 1 -inf"),
    ],
)
def test_refuses_what_has_no_place_on_the_axis(errors: list[float], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        EDF.of(errors)


def test_refuses_to_be_read_at_nan() -> None:
    with pytest.raises(ValueError, match="NaN"):
        EDF.of([1.0])(math.nan)


def test_infinite_errors_stay_in_the_denominator() -> None:
    edf = EDF.of([1.0, math.inf, math.inf])
    assert edf(1e300) == 1 / 3
    assert edf(math.inf) == 1.0
    assert edf.quantile(0.5) == math.inf
    assert EDF.of([math.inf])(1e300) == 0.0


def test_all_equal_is_one_jump() -> None:
    edf = EDF.of([7.0] * 5)
    assert (edf(np.nextafter(7.0, 0)), edf(7.0)) == (0.0, 1.0)


@given(samples, st.randoms())
def test_order_does_not_matter(errors: list[float], random: object) -> None:
    shuffled = sorted(errors)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    a, b = EDF.of(errors), EDF.of(shuffled)
    assert a.x.tolist() == b.x.tolist()
    assert a.height.tolist() == b.height.tolist()


@given(samples)
def test_monotone_transforms_carry_the_curve_and_its_band_along(errors: list[float]) -> None:
    """Units and any increasing map of the axis move the jumps and leave the heights."""
    edf, scaled = EDF.of(errors), EDF.of([8.0 * e - 3.0 for e in errors])
    curves = zip((edf, *edf.band()), (scaled, *scaled.band()), strict=True)
    for curve, moved in curves:
        assert moved(8.0 * edf.x - 3.0).tolist() == curve(edf.x).tolist()


@given(samples, st.floats(0.001, 1.0))
def test_the_quantile_is_the_smallest_x_that_reaches_p(errors: list[float], p: float) -> None:
    edf = EDF.of(errors)
    x = edf.quantile(p)
    assert edf(x) >= p
    assert x in errors
    assert edf(float(np.nextafter(x, -np.inf))) < p


@pytest.mark.parametrize("p", [0.0, -0.1, 1.1, math.nan])
def test_quantiles_exist_for_shares_only(p: float) -> None:
    with pytest.raises(ValueError, match="p: got"):
        EDF.of([1.0]).quantile(p)


def test_quantiles_of_a_band_may_lie_beyond_the_sample() -> None:
    lower, upper = EDF.of(TWENTY).band()
    assert lower.quantile(0.99) == math.inf
    assert upper.quantile(0.2) == -math.inf
    assert upper.quantile(0.5) < EDF.of(TWENTY).quantile(0.5) < lower.quantile(0.5)


def test_a_million_values() -> None:
    errors = np.random.default_rng(0).random(1_000_000)
    edf = EDF.of(errors)
    lower, upper = edf.band(method="ks")
    assert (edf.n, edf(1.0)) == (1_000_000, 1.0)
    assert 0.0027 < upper(0.5) - lower(0.5) < 0.0028


def test_half_widths_are_the_published_ones() -> None:
    assert half_width(20, method="dkw") == pytest.approx(0.3036807310, abs=1e-9)
    assert half_width(20, method="ks") == pytest.approx(0.2940753144, abs=1e-9)
    assert round(half_width(64, method="dkw"), 3) == 0.170
    assert round(half_width(64, method="ks"), 3) == 0.167
    assert half_width(184, method="dkw") > 0.1 > half_width(185, method="dkw")
    assert half_width(737, method="dkw") > 0.05 > half_width(738, method="dkw")


@pytest.mark.parametrize(("n", "coverage"), [(4, 0.977), (20, 0.961), (64, 0.956)])
def test_dkw_covers_more_than_it_says_and_ks_exactly(n: int, coverage: float) -> None:
    assert kstwo.cdf(half_width(n, method="dkw"), n) == pytest.approx(coverage, abs=5e-4)
    assert kstwo.cdf(half_width(n, method="ks"), n) == pytest.approx(0.95, abs=1e-9)


@pytest.mark.parametrize("method", ["ks", "dkw"])
def test_the_band_is_the_curve_plus_and_minus_eps_clipped(method: str) -> None:
    edf = EDF.of(TWENTY)
    eps = half_width(20, 0.9, method)  # type: ignore[arg-type]
    lower, upper = edf.band(0.9, method)  # type: ignore[arg-type]
    x = np.linspace(20, 90, 500)
    np.testing.assert_allclose(lower(x), np.clip(edf(x) - eps, 0, 1), atol=1e-15)
    np.testing.assert_allclose(upper(x), np.clip(edf(x) + eps, 0, 1), atol=1e-15)
    assert upper(-1e9) == pytest.approx(eps)  # below the smallest value: not zero


def test_half_widths_belong_to_bands_of_constant_width() -> None:
    with pytest.raises(ValueError, match="method: 'ld' is not one of 'ks', 'dkw'"):
        half_width(20, method="ld")  # type: ignore[arg-type]


def test_the_default_band_is_the_narrow_one_near_the_best() -> None:
    edf = EDF.of(TWENTY)
    assert edf.band()[1](0.0) == edf.band(0.95, "ld")[1](0.0) != edf.band(0.95, "ks")[1](0.0)


def test_large_samples_fall_back_where_a_figure_must_be_drawn() -> None:
    assert [method_for(n, "ld-equal-tailed") for n in (1, 10_000)] == ["ld-equal-tailed"] * 2
    assert method_for(1_000_000, "ld") == "ks"


def test_the_default_band_is_ld_up_to_its_limit_and_ks_beyond() -> None:
    assert [method_for(n) for n in (1, 10_000, 10_001)] == ["ld", "ld", "ks"]
    large = Sample(label="a", errors=np.linspace(1, 80, 10_001))
    for default, ks in zip(large.band(), large.band(method="ks"), strict=True):
        assert default.height.tolist() == ks.height.tolist()
    assert share_interval(large, 40.0) == share_interval(large, 40.0, method="ks")
    with pytest.raises(ValueError, match="allowed up to 10000"):
        large.band(method="ld")


@pytest.mark.parametrize("method", ["ld", "ld-equal-tailed", "ks"])
@pytest.mark.parametrize("n", [2, 16])
def test_bands_cover_at_their_level(n: int, method: str) -> None:
    """Simulated: the level lies within 4 standard errors of the share of bands that hold.

    A band is left, if anywhere, at a jump or just before one.
    """
    rng = np.random.default_rng(n)
    inside = 0
    for _ in range(2000):
        edf = EDF.of(rng.random(n))
        lower, upper = edf.band(0.8, method)  # type: ignore[arg-type]
        before = upper(np.nextafter(edf.x, -np.inf))
        inside += bool((lower(edf.x) <= edf.x).all() and (edf.x <= before).all())
    assert inside / 2000 == pytest.approx(0.8, abs=4 * math.sqrt(0.8 * 0.2 / 2000))


@pytest.mark.parametrize("n", [1, 2])
def test_bands_of_the_smallest_samples(n: int) -> None:
    lower, upper = EDF.of(range(n)).band(method="ks")
    assert upper(-1.0) == pytest.approx({1: 0.975, 2: 0.8419}[n], abs=1e-4)
    assert lower(float(n)) == pytest.approx(1 - upper(-1.0))


@pytest.mark.parametrize("method", ["ld", "ld-equal-tailed", "ks", "dkw"])
@pytest.mark.parametrize("n", [1, 2, 3, 50])
def test_bounds_by_count_are_symmetric_and_rise(n: int, method: str) -> None:
    lower, upper = count_bounds(n, 0.95, method)  # type: ignore[arg-type]
    np.testing.assert_allclose(lower, 1 - upper[::-1], atol=1e-15)
    assert (np.diff(lower) >= 0).all()
    assert (np.diff(upper) >= 0).all()
    assert (lower <= upper).all()
    assert (lower[0], upper[n]) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((0, 0.95, "ks"), "n = 0"),
        ((5, 1.0, "ks"), "confidence: got 1.0"),
        ((5, math.nan, "ks"), "confidence: got nan"),
        ((5, 0.95, "kss"), r"'kss' is not one of 'ld', .*, 'dkw' \(did you mean 'ks'\?\)"),
        (
            (10_001, 0.95, "ld"),
            "'ld' for 10001 values, allowed up to 10000; beyond, 'ks' and 'dkw'",
        ),
    ],
)
def test_bands_refuse_bad_arguments(arguments: tuple[int, float, str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        count_bounds(*arguments)  # type: ignore[arg-type]


def test_raising_a_curve_lifts_its_start_too_and_stops_at_one() -> None:
    edf = EDF.of([1.0, 2.0, 3.0, 4.0]).raised(2)
    assert edf([0.0, 1.0, 2.0, 3.0]).tolist() == [0.5, 0.75, 1.0, 1.0]
    with pytest.raises(ValueError, match="count: got -1"):
        edf.raised(-1)


def test_the_band_of_a_raised_curve_is_the_raised_band() -> None:
    edf = EDF.of(TWENTY)
    lifted, upper = edf.raised(2).band(method="ks")[1], edf.band(method="ks")[1]
    x = np.linspace(20, 45, 200)  # further right both are clipped at 1
    np.testing.assert_allclose(lifted(x), np.minimum(upper(x) + 0.1, 1.0), atol=1e-12)


@given(st.integers(1, 400), st.integers(0, 399), st.integers(1, 40))
def test_ties_within_d_are_never_lost(n_eval: int, best: int, d: int) -> None:
    """A run that is exactly d points worse counts, one with one wrong answer more does not."""
    wrong = np.array([best, best + d * n_eval / 100, best + d * n_eval / 100 + 1])
    edf = EDF.of(100.0 * wrong / n_eval)
    assert edf.share_within(d, edf.minimum) == 2 / 3
    assert edf.delta(edf.minimum)(float(d)) == 2 / 3


def test_subtraction_alone_would_lose_the_tie() -> None:
    """Shows that the test above can fail."""
    assert 8.3 - 4.3 > 4.0
    assert EDF.of([4.3, 8.3]).share_within(4.0, 4.3) == 1.0


def test_distances_from_a_reference() -> None:
    edf = EDF.of([5.0, 7.0, math.inf]).delta(5.0)
    assert edf.x.tolist() == [0.0, 2.0, math.inf]
    assert edf.n == 3
    assert edf(1e9) == 2 / 3
    zero = EDF.of([0.0, math.inf]).delta(0.0)
    assert zero(0.0) == 0.5


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_references_distances_and_limits_are_finite(bad: float) -> None:
    edf = EDF.of([1.0])
    for call in (
        lambda: edf.delta(bad),
        lambda: edf.share_within(1.0, bad),
        lambda: edf.share_within(bad, 1.0),
        lambda: edf.area(bad),
    ):
        with pytest.raises(ValueError, match="allowed: a finite number"):
            call()


def test_negative_distances_and_limits_are_refused() -> None:
    with pytest.raises(ValueError, match="d: got -1"):
        EDF.of([1.0]).share_within(-1.0, 0.0)
    with pytest.raises(ValueError, match="limit: got 0"):
        EDF.of([1.0]).area(0.0)


@given(st.lists(st.floats(0, 50), min_size=1, max_size=20))
def test_the_area_is_one_minus_the_mean_capped_distance(distances: list[float]) -> None:
    expected = 1 - np.mean(np.minimum(1, np.array(distances) / 10))
    assert EDF.of(distances).area(10) == pytest.approx(expected, abs=1e-12)


def test_a_step_function_checks_itself_and_cannot_be_changed() -> None:
    one = np.array([1.0])
    with pytest.raises(ValueError, match="must be alike"):
        EDF(one, np.array([0.5, 1.0]), 2)
    with pytest.raises(ValueError, match="rising heights"):
        EDF(np.array([1.0, 2.0]), np.array([0.9, 0.5]), 2)
    with pytest.raises(ValueError, match="increasing x"):
        EDF(np.array([2.0, 1.0]), np.array([0.5, 1.0]), 2)
    with pytest.raises(ValueError, match="rising heights"):
        EDF(one, np.array([0.5]), 2, start=0.6)
    with pytest.raises(ValueError, match="rising heights"):
        EDF(one, np.array([1.5]), 2)
    with pytest.raises(ValueError, match="rising heights"):
        EDF(one, np.array([np.nan]), 2)
    with pytest.raises(ValueError, match="read-only"):
        EDF.of([1.0]).x[0] = 2.0
