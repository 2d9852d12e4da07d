"""How many configurations are within d of a reference, and how two such shares differ.

With d declared beforehand the count of one sample is binomial, so that no simultaneous band is
needed: each share has the exact limits of Clopper and Pearson, and the distances of both shares
from their limits are squared and added (Newcombe, Interval estimation for the difference between
independent proportions, 1998, with exact limits in place of Wilson's; Zou and Donner 2008 give the
general argument). Of n configurations each, no pair of true shares on a grid is covered less than
.944 at nominal .95 for n = 16, .956 for 64, .953 for 256, and the size is at most .026, .042 and
.047; below 16 shares close to opposite ends fall short (.933 for 8). `benchmarks/coverage.py`
computes these exactly.

A reference that is the best of the sample is held fixed and never resampled: the difference is that
of the shares within d of these two observed errors. Given its best error the other n - 1 runs are
independent draws beyond it, so that the lower limit leaves the best run itself out.
"""

from math import sqrt
from typing import NamedTuple

import numpy as np

from analysis.comparison.estimand import Estimand
from analysis.edf.intervals import Interval
from analysis.edf.samples import Sample
from analysis.edf.summary import clopper_pearson

BoolArray = np.ndarray[tuple[int], np.dtype[np.bool_]]


class Share(NamedTuple):
    """A share of configurations with its limits, each of which allows for unknown runs."""

    least: float
    """Without the unknown runs: the estimate."""
    most: float
    """With all of them."""
    low: float
    """Lower limit, of `least`."""
    high: float
    """Upper limit, of `most`."""

    @property
    def interval(self) -> Interval:
        """The share by itself, at the confidence of its limits."""
        return Interval(self.least, self.low, self.high)


def share_of(
    count: int, n: int, unknown: int = 0, confidence: float = 0.95, *, own: int = 0
) -> Share:
    """Share of n configurations with Clopper-Pearson limits.

    Args:
        count: configurations within d of the reference, the unknown left out.
        n: all configurations, at least 1.
        unknown: those that could be either; low counts none of them, high all.
        confidence: of the two limits together, in (0, 1).
        own: 1 where the reference is the best of the same sample, which is always near itself:
            the lower limit is then that of count - 1 of n - 1.

    Raises:
        ValueError: counts that do not fit n, confidence outside (0, 1).

    >>> [round(x, 4) for x in share_of(3, 10).interval]
    [0.3, 0.0667, 0.6525]

    """
    high = clopper_pearson(count + unknown, n, confidence)[1]
    low = clopper_pearson(count - own, n - own, confidence)[0] if count > own else 0.0
    return Share(count / n, (count + unknown) / n, low, high)


def share_difference(a: Share, b: Share, correlation: float = 0.0) -> Interval:
    """Interval for the difference of two shares, by squaring and adding.

    With x and y the distances of the two shares from the limits that are furthest apart, low =
    difference - sqrt(x^2 + y^2 - 2 r x y), and the mirror image for high (Newcombe 1998).

    Args:
        a: first share.
        b: second share, with limits of the same confidence, which is that of the interval.
        correlation: r of the two estimates, in [-1, 1]; 0 for independent samples.

    Returns:
        Share of the first minus share of the second, in [-1, 1].

    >>> [round(x, 3) for x in share_difference(share_of(35, 64), share_of(10, 64))]
    [0.391, 0.219, 0.538]

    """

    def reach(x: float, y: float) -> float:
        return sqrt(max(x * x + y * y - 2.0 * correlation * x * y, 0.0))

    return Interval(
        a.least - b.least,
        a.least - b.most - reach(a.least - a.low, b.high - b.most),
        a.most - b.least + reach(a.high - a.most, b.least - b.low),
    )


def is_near(sample: Sample, estimand: Estimand) -> BoolArray:
    """Tell which known errors are within d of the reference, ties counted; useless runs never are.

    Raises:
        ValueError: no reference for this label.

    >>> is_near(Sample(label="a", errors=np.array([4.3, 8.3, 9.0])), Estimand()).tolist()
    [True, True, False]

    """
    base = estimand.reference_of(sample)
    if base is None:  # nothing is near a best that does not exist
        return np.zeros(sample.errors.size, dtype=bool)
    # rounded, so that ties survive the subtraction
    found: BoolArray = np.round(sample.failures_beyond().errors - base, 10) <= estimand.d
    return found


def share_near(sample: Sample, estimand: Estimand) -> Share:
    """Share within d of the reference, with limits of the confidence of the estimand.

    Raises:
        ValueError: an empty sample, dependent points, no reference for this label.

    >>> share_near(Sample(label="a", errors=np.array([5.0, 60])), Estimand()).least
    0.5

    """
    if sample.sampler != "random":
        raise ValueError(
            f"no interval: the points of a {sample.sampler} design are not independent"
        )
    if not sample.n:
        raise ValueError(f"{sample.label!r} is empty, allowed: at least 1 configuration")
    count = int(is_near(sample, estimand).sum())
    own = int(not estimand.fixed)
    return share_of(count, sample.n, sample.unknown, estimand.confidence, own=own)


def near_difference(a: Sample, b: Sample, estimand: Estimand) -> Interval:
    """Difference of the shares within d of the references; see `share_difference`.

    Samples of the same configurations are nearly always alike in what is near, which makes their
    difference surer than that of independent ones. That is not made use of, since the correlation
    of few pairs is too uncertain; where they are opposed, the interval is widened by it.

    >>> a, b = (Sample(label=x, errors=np.array(e)) for x, e in (("a", [5.0, 6]), ("b", [5.0, 20])))
    >>> [round(x, 3) for x in near_difference(a, b, Estimand())]
    [0.5, -0.59, 1.0]

    """
    shares = share_near(a, estimand), share_near(b, estimand)
    return share_difference(*shares, opposition(a, b, estimand))


def opposition(a: Sample, b: Sample, estimand: Estimand) -> float:
    """Correlation of the two shares by the configurations that the samples have in common.

    phi sqrt(m/n_a m/n_b) of the m common configurations with known errors, where it is negative;
    else, and without any, 0.

    >>> a, b = (Sample(label=x, errors=np.array(e), points=(0, 1)) for x, e in
    ...         (("a", [5.0, 20]), ("b", [20.0, 5])))
    >>> opposition(a, b, Estimand())
    -1.0

    """
    places = {point: i for i, point in enumerate(b.points[: b.errors.size])}
    both = [(i, places[p]) for i, p in enumerate(a.points[: a.errors.size]) if p in places]
    if not both:
        return 0.0
    in_a, in_b = np.array(both).T
    x, y = is_near(a, estimand)[in_a], is_near(b, estimand)[in_b]
    spread = float(x.std() * y.std())
    phi = float(np.mean(x & y) - x.mean() * y.mean()) / spread if spread else 0.0
    return min(phi, 0.0) * len(both) / sqrt(a.n * b.n)
