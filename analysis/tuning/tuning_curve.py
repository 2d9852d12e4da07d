"""What a study with fewer trials would have reported: exact, by order statistics."""

from collections.abc import Iterable

import numpy as np
import pandas as pd

from analysis.arrays import FloatArray
from analysis.edf.bands import Method
from analysis.edf.intervals import quantile_interval, sample_quantile
from analysis.edf.samples import Sample
from analysis.edf.step_function import TIE
from analysis.table.units import near_distance


def score_by_trials(
    sample: Sample,
    trials: Iterable[int] | None = None,
    d: float | None = None,
    confidence: float = 0.95,
    method: Method | None = None,
) -> pd.DataFrame:
    """Best error and share within d of it, for studies of m of the n trials.

    Means over all C(n, m) subsets, hence unbiased for a study of m independent draws: the best of
    m has rank i with probability C(n - i, m - 1) / C(n, m), and the other m - 1 lie anywhere among
    the n - i above it. The share within d of the best falls with m, for some models faster than
    for others: that is why studies of unequal size cannot be compared by it.

    The median of the best of m draws is the quantile 1 - 2^(-1/m) of F (`sample_quantile`; for
    m = 1 the median of the sample); its interval inverts the simultaneous band, so that all rows
    hold together.

    Args:
        sample: independent draws; failed trials count as bad.
        trials: numbers of trials m, each 1 to n; None for 1, 2, 4, ... and n.
        d: distance from the best, 0 or more; 4 points by default. Required for a loss, in its unit.
        confidence: of the simultaneous band, in (0, 1).
        method: of the band, see `EDF.band`.

    Returns:
        Indexed by m: `expected`, `median`, `median_low`, `median_high` of the best of m, in
        percent; `within`, the mean share of the m trials that are within d of their best.

    Raises:
        ValueError: m outside 1 to n, d negative, an empty sample, no band for it.

    >>> sample = Sample(label="a", errors=np.array([10.0, 13.0, 20.0]), chance=90.0)
    >>> score_by_trials(sample, [1, 2, 3])[["expected", "within"]].round(3).values.tolist()
    [[14.333, 1.0], [11.0, 0.667], [10.0, 0.667]]

    """
    edf = sample.edf()
    n, d = edf.n, near_distance(d, sample.unit)
    doublings = [*(2**k for k in range(n.bit_length()) if 2**k < n), n]
    sizes = doublings if trials is None else list(trials)
    bad = [m for m in sizes if not 1 <= m <= n]
    if bad:
        raise ValueError(f"trials: got {bad[0]}, allowed: 1 to {n}")
    if not d >= 0:
        raise ValueError(f"d: got {d}, allowed: 0 or more")
    values = np.repeat(edf.x, np.rint(np.diff(edf.height * n, prepend=0.0)).astype(np.intp))
    usable = np.where(values < (np.inf if sample.chance is None else sample.chance), values, np.inf)
    reached = np.searchsorted(
        usable, usable + d + TIE * np.maximum(np.abs(usable), d), side="right"
    )
    reached[np.isinf(usable)] = 0  # among useless runs there is no best to be near to
    rows = []
    for m in sizes:
        chosen = _rank_of_best(n, m)
        p = 1.0 - 0.5 ** (1.0 / m)
        ends = quantile_interval(sample, p, confidence, method)[1:]
        possible = chosen > 0  # an infinite error that cannot be the best must not count
        rows.append(
            (
                float(values[possible] @ chosen[possible]),
                sample_quantile(sample, p),
                *ends,
                _share(reached, chosen, m),
            )
        )
    columns = ["expected", "median", "median_low", "median_high", "within"]
    return pd.DataFrame(rows, columns=columns, index=pd.Index(sizes, name="m"))


def _rank_of_best(n: int, m: int) -> FloatArray:
    """P(the best of m drawn without replacement has rank i), i = 1 to n: shape (n,).

    P(rank > i) = C(n - i, m) / C(n, m), as a product whose factors are at most 1.
    """
    i = np.arange(n)
    beyond = np.cumprod(np.maximum(n - i - m, 0) / (n - i))
    return -np.diff(beyond, prepend=1.0)


def _share(
    reached: "np.ndarray[tuple[int], np.dtype[np.intp]]", chosen: FloatArray, m: int
) -> float:
    """Mean share within d of the best: itself, and those of the m - 1 others that are as near."""
    n = chosen.size
    rank = np.arange(1, n + 1)
    others = (m - 1) * (reached - rank) / np.maximum(n - rank, 1)
    return float(chosen @ np.where(reached > 0, 1.0 + others, 0.0)) / m
