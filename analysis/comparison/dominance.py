"""Bounds on the difference of two delta-EDFs at every distance at once, and who is above whom."""

from typing import Literal, NamedTuple

import numpy as np

from analysis.comparison.estimand import Estimand, distances
from analysis.edf.intervals import Interval
from analysis.edf.samples import Sample

Verdict = Literal["A", "B", "unresolved"]
DistanceRanges = tuple[tuple[float, float], ...]


class Dominance(NamedTuple):
    """Which curve is above the other, as far as the bands can tell."""

    verdict: Literal["A", "B", "cross", "unresolved"]
    """`A` or `B`: above somewhere, nowhere below; `cross`: each above the other somewhere."""
    a_above: DistanceRanges
    """Distances [from, to) in points at which A is above B; the last may end at the limit."""
    b_above: DistanceRanges
    estimates_cross: bool
    """Whether the curves themselves cross, resolved or not."""


def verdict_of(difference: Interval) -> Verdict:
    """Who is better: the side of 0 on which the whole interval lies.

    >>> verdict_of(Interval(0.2, 0.1, 0.3)), verdict_of(Interval(0.2, 0.0, 0.4))
    ('A', 'unresolved')
    """
    return "A" if difference.low > 0 else "B" if difference.high < 0 else "unresolved"


def difference_of(a: Interval, b: Interval) -> Interval:
    """Difference of two quantities whose intervals hold together: the ends furthest apart.

    >>> difference_of(Interval(0.5, 0.25, 0.75), Interval(0.25, 0.0, 0.5))
    Interval(estimate=0.25, low=-0.25, high=0.75)
    """
    return Interval(a.estimate - b.estimate, a.low - b.high, a.high - b.low)


def dominance(a: Sample, b: Sample, estimand: Estimand, limit: float | None = None) -> Dominance:
    """Compare the curves at all distances up to a limit, each with a band of 1 - alpha/2.

    All statements hold together with the confidence of the estimand; a true crossing that the
    trials cannot resolve stays hidden, so `A` says "above here, nowhere seen below".

    Args:
        a: first sample.
        b: second sample.
        estimand: names the reference, the level and the kind of band; its d is not used.
        limit: largest distance, in points or the unit of a loss; None for that of the estimand.

    >>> a = Sample(label="a", errors=np.linspace(5, 7, 64))
    >>> b = Sample(label="b", errors=np.linspace(5, 35, 64))
    >>> dominance(a, b, Estimand()).verdict
    'A'

    """
    level = (1.0 + estimand.confidence) / 2.0
    limit = estimand.limit if limit is None else limit
    (at_a, low_a, high_a), (at_b, low_b, high_b) = (distances(s, estimand, level) for s in (a, b))
    x = np.unique(np.concatenate([[0.0], *(curve.x for curve in (at_a, at_b, low_a, low_b))]))
    x = x[(x >= 0.0) & (x <= limit)]
    a_above = _ranges(x, low_a(x) > high_b(x), limit)
    b_above = _ranges(x, low_b(x) > high_a(x), limit)
    gap = at_a(x) - at_b(x)
    crossing = bool((gap > 0).any() and (gap < 0).any())
    if a_above and b_above:
        return Dominance("cross", a_above, b_above, crossing)
    verdict: Verdict = "A" if a_above else "B" if b_above else "unresolved"
    return Dominance(verdict, a_above, b_above, crossing)


def _ranges(
    x: "np.ndarray[tuple[int], np.dtype[np.float64]]",
    holds: "np.ndarray[tuple[int], np.dtype[np.bool_]]",
    limit: float,
) -> DistanceRanges:
    """Merge neighbouring steps on which something holds into ranges [from, to)."""
    changes = np.flatnonzero(np.diff(np.concatenate(([False], holds, [False])).astype(int)))
    ends = np.append(x, limit)[changes]
    return tuple((float(p), float(q)) for p, q in ends.reshape(-1, 2))
