"""Secondary statistics of two samples: described, not decided by; no p-value is adjusted.

Without a reference from elsewhere they are of raw errors, and then mix peak and stability: a model
that is one point better everywhere wins every pair at equal stability. All runs at chance tie.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from analysis.arrays import FloatArray
from analysis.comparison.dominance import difference_of
from analysis.comparison.estimand import Estimand, capped, distances
from analysis.comparison.pairs import Pairs
from analysis.edf.intervals import Interval
from analysis.edf.samples import Sample

PERMUTATIONS = 999
NO_VARIANCE = 1e-15


def secondary_statistics(
    a: Sample,
    b: Sample,
    estimand: Estimand,
    pairs: Pairs | None,
    rng: np.random.Generator | None,
) -> pd.DataFrame:
    """Describe the difference of two samples in further ways.

    Rows: `area` (mean height of the delta-EDF over 10 points or 2.5 d of a loss, A minus B, its
    interval from the same two bands as the primary one), `ks` (largest distance of the EDFs, by
    permutation, within pairs where there are any; only with a generator), `p_a_better` (Brunner and
    Munzel 2000, with ties half: P(A < B) + P(A = B) / 2; its p by studentised permutation, only
    with a generator), and, for pairs, `tau_b` (whether configurations rank alike). The last three
    leave out trials of unknown error.

    Args:
        a: first sample.
        b: second sample.
        estimand: names reference, level and band.
        pairs: of `pair_up`, or None.
        rng: for the permutations.

    Returns:
        Indexed by the statistic: `estimate`, `low`, `high`, `p` (NaN where there is none), `of`
        (distances or raw errors). `attrs["note"]` says that nothing here is adjusted.

    Raises:
        ValueError: as `distances`.

    """
    values_a, values_b = capped(a, estimand), capped(b, estimand)
    if pairs is not None:
        values_a, values_b = values_a[pairs.a], values_b[pairs.b]
    paired, nothing = pairs is not None, float("nan")
    of = "distances" if estimand.fixed else "raw errors"
    rows: dict[str, tuple[float, float, float, float, str]] = {
        "area": (*area_difference(a, b, estimand), nothing, "distances")
    }
    if values_a.size and values_b.size:
        if rng is not None:
            ks, p = ks_permutation(values_a, values_b, rng, paired=paired)
            rows["ks"] = (ks, nothing, nothing, p, of)
        better, _ = brunner_munzel(values_a, values_b, estimand.confidence, paired=paired)
        p = nothing if rng is None else order_permutation(values_a, values_b, rng, paired=paired)
        rows["p_a_better"] = (*better, p, of)
        if paired:
            rows["tau_b"] = (tau_b(values_a, values_b), nothing, nothing, nothing, of)
    table = pd.DataFrame.from_dict(
        rows, orient="index", columns=["estimate", "low", "high", "p", "of"]
    )
    table.attrs["note"] = "secondary statistics; p-values and intervals are not adjusted"
    return table


def area_difference(a: Sample, b: Sample, estimand: Estimand) -> Interval:
    """Difference of the areas under the delta-EDFs up to 10 points (2.5 d of a loss), by two bands.

    Both bands have 1 - alpha/2, so that the bounds hold together, whether or not the samples are
    independent of each other.

    >>> a, b = (Sample(label=x, errors=np.array([5.0, 10.0])) for x in "ab")
    >>> area_difference(a, b, Estimand()).estimate
    0.0
    """
    level = (1.0 + estimand.confidence) / 2.0
    of_a, of_b = (
        Interval(*(curve.area(estimand.area_limit) for curve in distances(s, estimand, level)))
        for s in (a, b)
    )
    return difference_of(of_a, of_b)


def ks_permutation(
    a: FloatArray,
    b: FloatArray,
    rng: np.random.Generator,
    *,
    paired: bool = False,
    permutations: int = PERMUTATIONS,
) -> tuple[float, float]:
    """Largest distance of two EDFs and its p-value by permutation: p = (1 + b) / (1 + B).

    Exact with ties, where the distance has no known law. Of the B permutations b reach the
    distance observed; the sample itself is one of all permutations, so that p is never 0.

    Args:
        a: of shape (n,), +inf allowed.
        b: of shape (m,); with `paired` (n,), b[i] for the configuration of a[i].
        rng: draws the permutations.
        paired: exchange values within pairs only, instead of among all.
        permutations: B, at least 1.

    Returns:
        (distance in [0, 1], p in (0, 1]).

    Raises:
        ValueError: an empty sample, or pairs of unequal number.

    >>> rng = np.random.default_rng(0)
    >>> ks_permutation(np.arange(5.0), np.arange(5.0) + 9, rng)[0]
    1.0

    """
    if not a.size or not b.size or (paired and a.size != b.size):
        raise ValueError(f"got {a.size} and {b.size} values, allowed: some, and as many in pairs")
    _, place = np.unique(np.concatenate((a, b)), return_inverse=True)
    # whole numbers, n m times the jumps of both curves: exact, so that ties are ties
    weights = np.repeat([float(b.size), -float(a.size)], [a.size, b.size])
    observed = _largest(place, weights)
    reached = 0
    for _ in range(permutations):
        if paired:
            signs = rng.choice((-1.0, 1.0), a.size)
            shuffled = weights * np.concatenate((signs, signs))
        else:
            shuffled = rng.permutation(weights)
        reached += _largest(place, shuffled) >= observed
    return observed / (a.size * b.size), (1 + reached) / (1 + permutations)


def _largest(place: "np.ndarray[tuple[int], np.dtype[np.intp]]", weights: FloatArray) -> float:
    return float(np.abs(np.cumsum(np.bincount(place, weights))).max())


def brunner_munzel(
    a: FloatArray, b: FloatArray, confidence: float = 0.95, *, paired: bool = False
) -> tuple[Interval, float]:
    """P(A < B) + P(A = B) / 2 with its interval and p-value against 1/2; higher: A has less error.

    The mean of the placements of b among a; its variance is that of Brunner and Munzel (2000)
    with Welch's degrees of freedom, or for pairs that of Konietschke and Pauly (2012). Student's
    t; an approximation, poor below about 10 values. Where the variance is 0 (all of one side
    better, all equal) there is neither interval nor p-value.

    Args:
        a: of shape (n,), +inf allowed.
        b: of shape (m,); with `paired` (n,).
        confidence: in (0, 1).
        paired: b[i] and a[i] belong together.

    Returns:
        (estimate and ends in [0, 1], p).

    >>> better, p = brunner_munzel(np.array([1.0, 2.0, 4.0]), np.array([3.0, 4.0, 5.0]))
    >>> round(better.estimate, 3)
    0.833

    """
    from scipy.stats import t  # takes over a second to import

    estimate, variance, freedom = (float(x) for x in _order(a, b, paired=paired))
    if min(a.size, b.size) < 2 or variance < NO_VARIANCE:
        return Interval(estimate, np.nan, np.nan), np.nan
    error = np.sqrt(variance)
    half = float(t.ppf((1.0 + confidence) / 2.0, freedom)) * error
    p = float(2.0 * t.sf(abs(estimate - 0.5) / error, freedom))
    return Interval(estimate, max(estimate - half, 0.0), min(estimate + half, 1.0)), p


def order_permutation(
    a: FloatArray,
    b: FloatArray,
    rng: np.random.Generator,
    *,
    paired: bool = False,
    permutations: int = PERMUTATIONS,
) -> float:
    """p-value of P(A < B) + P(A = B) / 2 against 1/2 by studentised permutation: (1 + b) / (1 + B).

    The statistic is that of `brunner_munzel`. Exact where both have the same law, whatever the
    ties, and still right for many trials where they only agree in P (Neubert and Brunner 2007, for
    pairs Konietschke and Pauly 2012); Student's approximation is not: its size at 5% is up to 5.8%.

    Args:
        a: of shape (n,), +inf allowed.
        b: of shape (m,); with `paired` (n,).
        rng: draws the permutations.
        paired: exchange values within pairs only, instead of among all.
        permutations: B, at least 1.

    Returns:
        p in (0, 1]; NaN for less than two values.

    >>> a, b = np.arange(5.0), np.arange(5.0) + 9
    >>> order_permutation(a, b, np.random.default_rng(0), permutations=99) < 0.05
    True

    """
    n = a.size
    if min(n, b.size) < 2:
        return float("nan")
    if paired:
        swap = rng.random((permutations, n)) < 0.5
        shuffled = np.where(swap, b, a), np.where(swap, a, b)
    else:
        every = rng.permuted(np.tile(np.concatenate((a, b)), (permutations, 1)), axis=1)
        shuffled = every[:, :n], every[:, n:]
    observed = _studentised(a, b, paired=paired)
    reached = np.sum(_studentised(*shuffled, paired=paired) >= observed - 1e-9)
    return float((1 + reached) / (1 + permutations))


def _studentised(a: FloatArray, b: FloatArray, *, paired: bool) -> FloatArray:
    """Distance of P from 1/2 in standard errors; infinite where there is one and no variance."""
    estimate, variance, _ = _order(a, b, paired=paired)
    distance = np.abs(estimate - 0.5)
    errors = np.sqrt(np.maximum(variance, NO_VARIANCE))
    nothing = np.where(distance > 0, np.inf, 0.0)
    return np.where(variance < NO_VARIANCE, nothing, distance / errors)


def _order(
    a: FloatArray, b: FloatArray, *, paired: bool
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """(P, its variance, degrees of freedom) along the last axis."""
    from scipy.stats import rankdata  # takes over a second to import

    n, m = a.shape[-1], b.shape[-1]
    ranks = rankdata(np.concatenate((a, b), axis=-1), axis=-1)
    # share of a under each b, of b under each a
    above = (ranks[..., n:] - rankdata(b, axis=-1)) / n
    below = (ranks[..., :n] - rankdata(a, axis=-1)) / m
    estimate = above.mean(axis=-1)
    if min(n, m) < 2:
        return estimate, np.zeros_like(estimate), np.ones_like(estimate)
    if paired:
        variance = (above - below).var(axis=-1, ddof=1) / n
        return estimate, variance, np.full_like(variance, n - 1.0)
    of_a, of_b = below.var(axis=-1, ddof=1) / n, above.var(axis=-1, ddof=1) / m
    squares = of_b**2 / (m - 1) + of_a**2 / (n - 1)
    freedom = (of_a + of_b) ** 2 / np.where(squares > 0, squares, 1.0)
    return estimate, of_a + of_b, freedom


def tau_b(a: FloatArray, b: FloatArray) -> float:
    """Kendall's tau-b: whether configurations rank alike, in [-1, 1]; NaN if one side is all ties.

    Args:
        a: of shape (n,), +inf allowed.
        b: b[i] for the configuration of a[i].

    >>> tau_b(np.array([1.0, 2.0, np.inf]), np.array([5.0, 6.0, 7.0]))
    1.0

    """
    from scipy.stats import kendalltau  # takes over a second to import

    if np.unique(a).size < 2 or np.unique(b).size < 2:
        return float("nan")
    ranks = (np.unique(values, return_inverse=True)[1] for values in (a, b))
    return float(kendalltau(*ranks).statistic)


def holm(p: Sequence[float]) -> list[float]:
    """Adjust p-values for several tests (Holm 1979): any of them may be judged at one level.

    Sorted, p_(i) becomes max over j <= i of min(1, (m - j + 1) p_(j)).

    Args:
        p: of m tests, in [0, 1], dependent or not.

    Returns:
        In [0, 1], in the order given.

    >>> [round(x, 3) for x in holm([0.01, 0.04, 0.03])]
    [0.03, 0.06, 0.06]

    """
    values = np.asarray(p, dtype=np.float64)
    order = np.argsort(values, kind="stable")
    factors = np.arange(values.size, 0, -1)
    adjusted = np.minimum(np.maximum.accumulate(factors * values[order]), 1.0)
    result = np.empty_like(values)
    result[order] = adjusted
    return [float(x) for x in result]
