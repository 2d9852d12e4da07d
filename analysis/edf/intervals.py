"""Shares, quantiles and areas with their intervals, all read off one simultaneous band.

Because the band holds at all x at once, these intervals hold together, for every x, p and d that
anybody asks for after seeing the data. Each takes an `EDF` or a `Sample`; with failed trials of a
sample, whose errors are unknown, the estimate counts them as bad and the interval covers both.

Distances need a reference. Where it is the best of the sample ("sample-min", the default here) the
interval is for F(m + d) at the observed best m: the share of configurations within d of *that*
error. It is no interval for the share within d of the best error possible, which is lower, by an
unknown amount, the more so the more sensitive the model is. Useless runs of a `Sample` are beyond
every distance.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from analysis.edf.bands import Method
from analysis.edf.samples import Sample
from analysis.edf.step_function import EDF


class Interval(NamedTuple):
    """An estimate and the ends of its interval, in the same unit."""

    estimate: float
    low: float
    high: float


NO_INTERVAL = Interval(np.nan, np.nan, np.nan)
"""Where none can be given: no trials, or draws that are not independent."""


def share_interval(
    of: EDF | Sample, x: float, confidence: float = 0.95, method: Method | None = None
) -> Interval:
    """Share of configurations with an error of at most x: F(x), between the bounds of the band.

    Args:
        of: independent draws.
        x: in the unit of the errors.
        confidence: of the simultaneous band, in (0, 1).
        method: of the band, see `EDF.band`.

    Returns:
        Shares, in [0, 1].

    Raises:
        ValueError: x is NaN, no band for this sample or these arguments.

    >>> [round(share, 3) for share in share_interval(EDF.of(np.arange(64.0)), 31.0)]
    [0.5, 0.314, 0.686]

    """
    return Interval(*(curve(x) for curve in _curves(of, confidence, method)))


def within_interval(
    of: EDF | Sample,
    d: float,
    reference: float | None = None,
    confidence: float = 0.95,
    method: Method | None = None,
) -> Interval:
    """Share of configurations within d of a reference: F(reference + d), ties counted.

    Args:
        of: independent draws.
        d: distance, 0 or more, in the unit of the errors.
        reference: in the same unit, fixed beforehand or measured elsewhere; None for the observed
            best m, and then the interval is for F(m + d) at that m. Where no run is better than
            chance the share is 0 and its upper limit that of the runs better than chance.
        confidence: of the simultaneous band, in (0, 1).
        method: of the band, see `EDF.band`.

    Returns:
        Shares, in [0, 1].

    Raises:
        ValueError: d negative, reference not finite, no band for this sample or these arguments.

    >>> sample = Sample(label="a", errors=np.array([10.0, 14.0, 90.0]), chance=90.0)
    >>> [round(share, 3) for share in within_interval(sample, 4.0)]
    [0.667, 0.056, 1.0]

    """
    curves = _curves(_failures_beyond(of), confidence, method)
    base = best_of_sample(of) if reference is None else reference
    if base is None:
        return _nothing_usable(curves)
    return Interval(*(curve.share_within(d, base) for curve in curves))


def quantile_interval(
    of: EDF | Sample, p: float, confidence: float = 0.95, method: Method | None = None
) -> Interval:
    """Error that a share p of configurations reaches, by inverting the band.

    Q(p) = min{x: F(x) >= p} lies between the quantiles of the upper and of the lower bound. An
    end beyond the sample is infinite for an `EDF`; for a `Sample` it is 0 or the error of chance,
    where that is known. The estimate here is Q of the EDF, one of the errors; `sample_quantile`,
    which tables and figures report, lies at most one order statistic from it, and between the same
    ends.

    Args:
        of: independent draws.
        p: share, in (0, 1].
        confidence: of the simultaneous band, in (0, 1).
        method: of the band, see `EDF.band`.

    Returns:
        In the unit of the errors.

    Raises:
        ValueError: p outside (0, 1], no band for this sample or these arguments.

    >>> quantile_interval(EDF.of(np.arange(64.0)), 0.5)
    Interval(estimate=31.0, low=19.0, high=44.0)

    """
    edf, lower, upper = _curves(of, confidence, method)
    low, high = upper.quantile(p), lower.quantile(p)
    if isinstance(of, Sample):
        least = 0.0 if of.unit == "percent" else -np.inf
        low, high = max(low, least), min(high, np.inf if of.chance is None else of.chance)
    return Interval(edf.quantile(p), low, high)


def sample_quantile(sample: Sample, p: float) -> float:
    """Quantile of the errors as tables and figures report it; p = 0.5 is the usual median.

    The linear rule (type 7 of Hyndman and Fan 1996, the default of `numpy.quantile`): the sorted
    errors e_1 .. e_n lie at 0, 1/(n - 1), .. 1, and Q is interpolated in between, so that the
    median of an even number of errors is the mean of the middle two. Errors are capped at chance,
    and unknown ones count there: with failed trials it is an upper bound. Interpolating with an
    error of +inf gives +inf. `EDF.quantile`, which bands are inverted by, is always one of the
    errors: e_k with k = ceil(n p). This one lies between e_(k-1) and e_(k+1), and so within the
    ends of `quantile_interval` at the levels in use (50% and more).

    Args:
        sample: of any policy and size.
        p: share, in [0, 1].

    Returns:
        In the unit of the errors; NaN for an empty sample.

    Raises:
        ValueError: p outside [0, 1].

    >>> sample_quantile(Sample(label="a", errors=np.array([5.0, 7.0, 10.0, np.inf])), 0.5)
    8.5

    """
    if not 0.0 <= p <= 1.0:
        raise ValueError(f"p: got {p}, allowed: 0 to 1")
    if not sample.n:
        return np.nan
    worst = np.inf if sample.chance is None else sample.chance
    errors = np.sort(np.append(sample.errors, np.full(sample.unknown, worst)))
    place = (errors.size - 1) * p
    if abs(place - round(place)) < 1e-9:  # to rounding: a neighbour may be infinite
        return float(errors[round(place)])
    i = int(place)
    if errors[i] == errors[i + 1]:
        return float(errors[i])
    return float((i + 1 - place) * errors[i] + (place - i) * errors[i + 1])


def area_interval(
    of: EDF | Sample,
    reference: float | None = None,
    limit: float = 10.0,
    confidence: float = 0.95,
    method: Method | None = None,
) -> Interval:
    """Area A = 1 - mean(min(1, delta / limit)) under the delta-EDF, by integrating the band.

    A is the mean of F(reference + d) over d in [0, limit], so that bounds on F at all d at once
    are bounds on A.

    Args:
        of: independent draws.
        reference: in the unit of the errors; None for the observed best, see `within_interval`.
        limit: positive, in the same unit; what is further away counts as useless.
        confidence: of the simultaneous band, in (0, 1).
        method: of the band, see `EDF.band`.

    Returns:
        In [0, 1].

    Raises:
        ValueError: limit not positive, reference not finite, no band for this sample or these
            arguments.

    >>> [round(area, 3) for area in area_interval(EDF.of(np.arange(64.0)), 0.0)]
    [0.086, 0.016, 0.226]

    """
    curves = _curves(_failures_beyond(of), confidence, method)
    base = best_of_sample(of) if reference is None else reference
    if base is None:
        return _nothing_usable(curves)
    return Interval(*(curve.delta(base).area(limit) for curve in curves))


def if_band(interval: Callable[..., Interval], sample: Sample, *arguments: object) -> Interval:
    """Take an interval of a sample where it has a band, else NaN.

    >>> if_band(share_interval, Sample(label="a", errors=np.zeros(9), sampler="grid"), 1.0)
    Interval(estimate=nan, low=nan, high=nan)
    """
    return interval(sample, *arguments) if sample.has_band else NO_INTERVAL


def best_of_sample(of: EDF | Sample) -> float | None:
    """Smallest known error; None where no run is better than chance.

    >>> best_of_sample(EDF.of([3.0, 2.5])), best_of_sample(EDF.of([np.inf]))
    (2.5, None)
    """
    best = of.best if isinstance(of, Sample) else of.minimum
    return best if np.isfinite(best) else None


def _failures_beyond(of: EDF | Sample) -> EDF | Sample:
    return of.failures_beyond() if isinstance(of, Sample) else of


def _curves(of: EDF | Sample, confidence: float, method: Method | None) -> tuple[EDF, EDF, EDF]:
    edf = of.edf() if isinstance(of, Sample) else of
    return edf, *of.band(confidence, method)


def _nothing_usable(curves: tuple[EDF, EDF, EDF]) -> Interval:
    """Nothing is near a best that does not exist; what may be usable is bounded by the band."""
    edf, _, upper = curves
    return Interval(0.0, 0.0, upper(float(np.nextafter(edf.minimum, -np.inf))))
