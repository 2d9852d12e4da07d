"""Two samples of the same configurations: what a pair tells that two separate samples cannot."""

from typing import NamedTuple

import numpy as np

from analysis.comparison.estimand import Estimand
from analysis.comparison.shares import is_near
from analysis.edf.intervals import Interval
from analysis.edf.samples import Sample
from analysis.edf.summary import clopper_pearson

SHARE_OF_ALPHA = 0.9
"""Part of alpha spent on the direction of the difference; the rest on how many pairs differ."""


class Pairs(NamedTuple):
    """Which errors belong to the same configuration, in the order of the design."""

    a: "np.ndarray[tuple[int], np.dtype[np.intp]]"
    """Indices into the errors of the first sample. (pairs,)"""
    b: "np.ndarray[tuple[int], np.dtype[np.intp]]"
    """Indices into those of the second, alike. (pairs,)"""
    unknown: int
    """Further pairs, in which the infrastructure failed at least one trial."""


class PairedResult(NamedTuple):
    """Comparison of shares by pairs of the same configuration."""

    pairs: int
    """Pairs, the unknown included."""
    only_a: int
    """Pairs in which only the first is within d of its reference."""
    only_b: int
    """Pairs in which only the second is."""
    unknown: int
    p: float
    """Exact two-sided p-value of McNemar's test; the largest that the unknown pairs allow."""
    difference: Interval
    """Share of the first minus share of the second, exact interval."""


def pair_up(a: Sample, b: Sample) -> Pairs | None:
    """Match the configurations of two samples; None where the designs are not paired.

    They are, where every configuration of the smaller sample is one of the larger: two models of
    one study, also half finished; not, where a policy dropped runs.

    >>> a = Sample(label="a", errors=np.array([5.0, 6.0]), points=((0,), (1,)))
    >>> b = Sample(label="b", errors=np.array([7.0]), unknown=1, points=((1,), (0,)))
    >>> pair_up(a, b)
    Pairs(a=array([1]), b=array([0]), unknown=1)
    """
    places_a, places_b = ({p: i for i, p in enumerate(s.points)} for s in (a, b))
    common = [p for p in a.points if p in places_b]
    if not common or len(common) < min(a.n, b.n):
        return None
    both = [
        (places_a[p], places_b[p])
        for p in common
        if places_a[p] < a.errors.size and places_b[p] < b.errors.size
    ]
    indices = np.array(both, dtype=np.intp).reshape(-1, 2)
    return Pairs(indices[:, 0], indices[:, 1], len(common) - len(both))


def paired_result(a: Sample, b: Sample, pairs: Pairs, estimand: Estimand) -> PairedResult:
    """Compare the shares within d of the references pair by pair.

    Args:
        a: first sample.
        b: second sample.
        pairs: of `pair_up`.
        estimand: with a reference that does not come from these trials. With the best of each
            sample such tests reject up to 59% of the time at equal stability.

    Returns:
        Exact p-value and interval; both allow for the unknown pairs.

    Raises:
        ValueError: the reference is the best of each sample, or missing.

    >>> a = Sample(label="a", errors=np.array([5.0] * 8), points=tuple((i,) for i in range(8)))
    >>> b = Sample(label="b", errors=np.array([9.5] * 8), points=a.points)
    >>> result = paired_result(a, b, pair_up(a, b), Estimand(reference=5.0))
    >>> result.only_a, result.p, result.difference.estimate
    (8, 0.0078125, 1.0)

    """
    if not estimand.fixed:
        raise ValueError("reference: the best of each sample cannot judge its own trials in pairs")
    near_a, near_b = is_near(a, estimand)[pairs.a], is_near(b, estimand)[pairs.b]
    only_a, only_b = int((near_a & ~near_b).sum()), int((near_b & ~near_a).sum())
    n = near_a.size + pairs.unknown
    larger, smaller = max(only_a, only_b), min(only_a, only_b)
    return PairedResult(
        pairs=n,
        only_a=only_a,
        only_b=only_b,
        unknown=pairs.unknown,
        p=mcnemar(larger, min(smaller + pairs.unknown, larger)),
        difference=paired_interval(only_a, only_b, n, pairs.unknown, estimand.confidence),
    )


def mcnemar(only_a: int, only_b: int) -> float:
    """Exact two-sided p-value: under the null each differing pair falls on either side alike.

    p = min(1, 2 P(X <= min(b, c))), X ~ Binomial(b + c, 1/2) (McNemar 1947, in its exact form).

    Args:
        only_a: pairs in which only the first succeeds, 0 or more.
        only_b: pairs in which only the second does, 0 or more.

    >>> mcnemar(8, 1), mcnemar(0, 0)
    (0.0390625, 1.0)

    """
    from scipy.special import bdtr  # half a second to import

    total = only_a + only_b
    return min(1.0, 2.0 * float(bdtr(min(only_a, only_b), total, 0.5))) if total else 1.0


def paired_interval(
    only_a: int, only_b: int, n: int, unknown: int = 0, confidence: float = 0.95
) -> Interval:
    """Interval for the difference of two shares from n pairs; exact, not from a normal law.

    The difference is psi (2 pi - 1), psi the share of pairs that differ and pi the part of those
    in favour of the first. Clopper and Pearson's interval of pi has 0.9 alpha, that of psi the
    rest: the interval excludes 0 exactly where a sign test of pi at 0.9 alpha rejects 1/2.
    The score interval (Tango 1998) is sharper, and excludes 0 too often (docs/coverage.md).

    Args:
        only_a: pairs in which only the first succeeds.
        only_b: pairs in which only the second does.
        n: all pairs, at least 1, the unknown included.
        unknown: pairs that could fall anywhere; the interval covers every case.
        confidence: in (0, 1).

    Returns:
        Differences of shares, in [-1, 1].

    Raises:
        ValueError: counts that do not fit n, confidence outside (0, 1).

    >>> [round(x, 3) for x in paired_interval(20, 5, 64)]
    [0.234, 0.04, 0.497]

    """
    alpha = 1.0 - confidence
    differ = only_a + only_b
    most = min(differ + unknown, n)
    psi_low = clopper_pearson(differ, n, 1.0 - (1.0 - SHARE_OF_ALPHA) * alpha)[0]
    psi_high = clopper_pearson(most, n, 1.0 - (1.0 - SHARE_OF_ALPHA) * alpha)[1]
    level = 1.0 - SHARE_OF_ALPHA * alpha
    pi_low, pi_high = 0.0, 1.0
    if most:
        pi_low = clopper_pearson(only_a, only_a + only_b + unknown, level)[0]
        pi_high = clopper_pearson(only_a + unknown, only_a + only_b + unknown, level)[1]
    low, high = 2.0 * pi_low - 1.0, 2.0 * pi_high - 1.0
    return Interval(
        (only_a - only_b) / n,
        low * (psi_low if low > 0 else psi_high),
        high * (psi_low if high < 0 else psi_high),
    )
