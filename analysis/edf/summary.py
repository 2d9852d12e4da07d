"""The table of numbers under every figure: one row per group."""

import math

import numpy as np
import pandas as pd

from analysis.edf.bands import method_for
from analysis.edf.intervals import if_band, sample_quantile, within_interval
from analysis.edf.samples import Sample, samples
from analysis.errors import check_confidence
from analysis.table.groups import describe
from analysis.table.policies import Policy
from analysis.table.units import NEAR_POINTS, Unit, one_unit

DISTANCES = (1, 2, 4, 5, 10)
"""Points above the best of the sample; 4 is the primary one, the others are secondary."""
PRIMARY = NEAR_POINTS
CONFIDENCE = 0.95


def summarise(
    table: pd.DataFrame, policy: Policy = "chance", *, within: float | None = None
) -> pd.DataFrame:
    """Describe each group of a table in one row.

    Args:
        table: of `load`, or any frame with the columns `model` and `error`.
        policy: where diverged runs count.
        within: primary distance from the best; None means 4 points, for a loss no shares.

    Returns:
        Indexed by the group's label; columns: see `summary_row`. `attrs["title"]` is what is
        common to all groups, `attrs["intervals"]` says what kind the intervals are.

    Raises:
        ValueError: unknown policy.
        TableError: a fault of the table.

    >>> table = pd.DataFrame({"model": "a", "error": [5.0, 9.0, 10.0, None], "chance": 90.0})
    >>> summarise(table).loc["a", ["n", "diverged", "best", "median", "within_4"]].tolist()
    [4.0, 1.0, 5.0, 9.5, 0.5]

    """
    rows = samples(table, policy)
    summary = pd.DataFrame(
        [summary_row(sample, within) for sample in rows],
        index=pd.Index([sample.label for sample in rows], name="group"),
    )
    summary.attrs["title"] = describe([sample.group for sample in rows])[0]
    methods = dict.fromkeys(method_for(s.n) for s in rows if s.has_band)
    unit = one_unit([sample.unit for sample in rows])
    summary.attrs["distances"] = distances = distances_of(unit, within)
    d = distances[2] if distances else math.nan
    summary.attrs["unit"] = unit
    summary.attrs["intervals"] = (
        f"within_{d:g}_low and _high: {100 * CONFIDENCE:g}% simultaneous band "
        f"({', '.join(methods) or 'none: no independent draws'}), "
        f"for F(m + {d:g}) at the observed best m of each sample"
    )
    return summary


def distances_of(unit: Unit, within: float | None = None) -> list[float]:
    """Distances that shares are given at: 1, 2, 4, 5, 10 points, in this ratio to another `within`.

    >>> distances_of("percent"), distances_of("raw"), distances_of("raw", 0.4)
    ([1.0, 2.0, 4.0, 5.0, 10.0], [], [0.1, 0.2, 0.4, 0.5, 1.0])
    """
    if within is None and unit == "raw":
        return []
    scale = 1.0 if within is None else within / PRIMARY
    return [float(f"{d * scale:.6g}") for d in DISTANCES]


def summary_row(sample: Sample, within: float | None = None) -> dict[str, float | int]:
    """Numbers of one sample.

    Args:
        sample: of any policy.
        within: as for `summarise`.

    Returns:
        `trials` of the design; `n`, those that the shares refer to: fewer where a run is
        unfinished (the complete prefix of the design) or the policy drops; `ok`, `collapsed`,
        `diverged`, `failed` (crashed, out of memory, timed out) among the trials used;
        `unfinished`, those without a result; `best`, the smallest known error, and `median`, of
        all n (`sample_quantile`), in percent, NaN where there is none; `within_D`, the share of n
        at most D points above the best of the sample, ties counted exactly; `within_4_low` and
        `within_4_high`, the ends of a 95% interval (`within_interval`) for the primary one, NaN
        where the points of a design are not independent. With failed trials the
        shares are lower bounds: the upper ones are failed/n higher (`Sample.share_within`), and
        the median is an upper bound.

    >>> row = summary_row(Sample(label="a", errors=np.array([5.0, 9.0, 10.0])))
    >>> row["median"], row["within_5"]
    (9.0, 1.0)

    """
    empty = sample.n == 0
    distances = distances_of(sample.unit, within)
    ends = {}
    if distances:
        d = distances[2]
        primary = if_band(within_interval, sample, d, None, CONFIDENCE)
        ends = {f"within_{d:g}_low": primary.low, f"within_{d:g}_high": primary.high}
    return {
        "trials": sample.trials,
        "n": sample.n,
        "ok": sample.ok,
        "collapsed": sample.collapsed,
        "diverged": sample.diverged,
        "failed": sample.unknown,
        "unfinished": sample.unfinished,
        "best": sample.best,
        "median": sample_quantile(sample, 0.5),
        **{f"within_{d:g}": np.nan if empty else sample.share_within(d)[0] for d in distances},
        **ends,
    }


def diverged_share(sample: Sample, confidence: float = 0.95) -> tuple[float, float, float]:
    """Share of diverged runs with its Clopper-Pearson interval.

    Of n trials k diverged; u have an unknown outcome, so the interval reaches from the lower
    limit for k to the upper limit for k + u.

    Args:
        sample: of any policy; a dropped run is counted here all the same.
        confidence: in (0, 1).

    Returns:
        (share k/n, lower, upper), each in [0, 1].

    Raises:
        ValueError: an empty sample, confidence outside (0, 1).

    >>> share, lower, upper = diverged_share(Sample(label="a", errors=np.full(10, 9.0), ok=10))
    >>> share, lower, round(upper, 4)
    (0.0, 0.0, 0.3085)

    """
    lower, _ = clopper_pearson(sample.diverged, sample.used, confidence)
    _, upper = clopper_pearson(sample.diverged + sample.unknown, sample.used, confidence)
    return sample.diverged / sample.used, lower, upper


def clopper_pearson(count: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Exact interval for a binomial share: equal tails, coverage at least the confidence.

    With alpha = 1 - confidence: lower = alpha/2 quantile of Beta(k, n - k + 1), upper =
    1 - alpha/2 quantile of Beta(k + 1, n - k); 0 at k = 0 and 1 at k = n (Clopper and Pearson
    1934).

    Args:
        count: successes k, 0 to n.
        n: independent trials, at least 1.
        confidence: in (0, 1).

    Returns:
        (lower, upper), in [0, 1].

    Raises:
        ValueError: count outside 0 to n, n below 1, confidence outside (0, 1).

    >>> [round(limit, 4) for limit in clopper_pearson(3, 10)]
    [0.0667, 0.6525]

    """
    if n < 1 or not 0 <= count <= n:
        raise ValueError(f"got {count} of {n}, allowed: 0 to n of n, n at least 1")
    check_confidence(confidence)
    from scipy.special import betaincinv  # half a second to import

    tail = (1.0 - confidence) / 2.0
    lower = float(betaincinv(count, n - count + 1, tail)) if count > 0 else 0.0
    upper = float(betaincinv(count + 1, n - count, 1.0 - tail)) if count < n else 1.0
    return lower, upper
