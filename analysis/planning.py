"""Before a study: how many trials, with what chance to tell two groups apart, at what cost.

The power is that of the primary question: the difference of two shares within d of references that
are held fixed. It is worked out for the shares that a pilot saw and for both ends of the pilot's
interval of their difference, since a point that a few trials gave is no plan: planned by it, half
of all studies are too small.
"""

from bisect import bisect_left
from collections.abc import Callable
from functools import lru_cache, partial
from math import ceil, hypot, sqrt
from typing import Literal, NamedTuple, get_args

import pandas as pd

from analysis.comparison.estimand import Estimand
from analysis.comparison.shares import Share, share_difference, share_near, share_of
from analysis.edf.bands import count_bounds, half_width
from analysis.edf.intervals import Interval
from analysis.edf.samples import Sample
from analysis.errors import TableError, check_confidence, invalid_choice
from analysis.table.groups import complete_prefix, describe
from analysis.table.load import as_table

Planned = Literal["share", "difference", "ks", "dkw", "ld", "ld-equal-tailed"]
"""What is to be narrow: one share, a difference of two, or a band over all errors at once."""
MIN_HALF_WIDTH = 0.001
MAX_TRIALS = 10_000
"""Trials of a group up to which a power is looked for; no one trains more for one comparison."""
WANTED_POWER = 0.8
COST_GROUPS = ("model", "optim", "epochs", "data")


def trials_for(width: float, of: Planned = "dkw", confidence: float = 0.95) -> int:
    """Trials for which an interval or band is nowhere wider than +- a half-width.

    `share` and `difference` (trials of each group) at a distance declared beforehand, where they
    are widest, at shares of 1/2; `ks` and `dkw`: `half_width`; `ld`: the widest place of the band.

    Args:
        width: half-width, a share, from .001, below 1.
        of: see `Planned`.
        confidence: in (0, 1).

    Returns:
        The smallest n (of `ld` up to 10,000) that is enough.

    Raises:
        ValueError: arguments out of range; `ld` that would need more than 10,000.

    >>> trials_for(0.1), trials_for(0.05)
    (185, 738)
    >>> trials_for(0.1, "ks"), trials_for(0.1, "ld"), trials_for(0.1, "share")
    (181, 250, 104)

    """
    if of not in get_args(Planned):
        raise ValueError(invalid_choice("of", of, get_args(Planned)))
    if not MIN_HALF_WIDTH <= width < 1.0:
        raise ValueError(f"width: got {width}, allowed: from {MIN_HALF_WIDTH:g}, below 1")
    check_confidence(confidence)
    n = trials_for(width, "ks", confidence) if of.startswith("ld") else 1  # a good first guess
    while (reached := _widest(of, n, confidence)) > width:
        # widths fall almost as 1/sqrt(n), a little slower than that at first
        n = max(n + 1, ceil(n * (reached / width) ** 2) - 2)
    while n > 1 and _widest(of, n - 1, confidence) <= width:
        n -= 1
    return n


def _widest(of: Planned, n: int, confidence: float) -> float:
    if of == "ks" or of == "dkw":
        return half_width(n, confidence, of)
    if of == "ld" or of == "ld-equal-tailed":
        lower, upper = count_bounds(n, confidence, of)
        return float((upper - lower).max()) / 2.0
    share = share_of(n // 2, n, confidence=confidence)
    low, high = share.interval[1:] if of == "share" else share_difference(share, share)[1:]
    return (high - low) / 2.0


def power(share_a: float, share_b: float, n: int, confidence: float = 0.95) -> float:
    """Probability that n trials of each of two groups show that the first share is larger.

    Exact: the sum over all binomial counts for which the interval of `share_difference` lies
    above 0. Samples of the same configurations count as independent, which understates the power
    where the two rise and fall together.

    Args:
        share_a: true share of the first group within d of its reference, in [0, 1].
        share_b: that of the second.
        n: trials of each, at least 1.
        confidence: of the interval, in (0, 1).

    Returns:
        In [0, 1].

    Raises:
        ValueError: a share outside [0, 1], n below 1, confidence outside (0, 1).

    >>> round(power(0.55, 0.15, 64), 3), round(power(0.5, 0.5, 64), 3)
    (0.998, 0.021)

    """
    for name, share in (("share_a", share_a), ("share_b", share_b)):
        if not 0.0 <= share <= 1.0:
            raise ValueError(f"{name}: got {share}, allowed: 0 to 1")
    from scipy.stats import binom  # takes over a second to import

    shares = lru_cache(maxsize=None)(partial(share_of, n=n, confidence=confidence))
    total = 0.0
    likely = binom.ppf((1e-12, 1.0 - 1e-12), n, share_a).astype(int)
    for k in range(max(likely[0], 0), likely[1] + 1):
        # the interval falls as the second count rises: all counts below `first` show it
        first = bisect_left(range(n + 1), 1, key=partial(_hides, shares, k))
        total += binom.pmf(k, n, share_a) * binom.cdf(first - 1, n, share_b)
    return float(min(total, 1.0))


def _hides(shares: Callable[[int], Share], k: int, m: int) -> bool:
    return share_difference(shares(k), shares(m)).low <= 0.0


def trials_for_power(
    share_a: float, share_b: float, wanted: float = WANTED_POWER, confidence: float = 0.95
) -> int | None:
    """Trials of each group from which on the first share is shown to be larger often enough.

    The power rises with n in small teeth; n is one from which the power is reached, found by
    halving, not the tip of the first tooth.

    Args:
        share_a: true share of the first group, in [0, 1].
        share_b: that of the second.
        wanted: probability, in (0, 1).
        confidence: of the interval, in (0, 1).

    Returns:
        n; None where the first share is not larger or more than 10,000 trials would be needed.

    Raises:
        ValueError: wanted outside (0, 1); as `power`.

    >>> trials_for_power(0.55, 0.15), trials_for_power(0.5, 0.5)
    (24, None)

    """
    if not 0.0 < wanted < 1.0:
        raise ValueError(f"wanted: got {wanted}, allowed: between 0 and 1, both excluded")
    if share_a <= share_b or power(share_a, share_b, MAX_TRIALS, confidence) < wanted:
        return None
    high = 1
    while power(share_a, share_b, high, confidence) < wanted:
        high = min(2 * high, MAX_TRIALS)
    return 1 + bisect_left(
        range(1, high), 1, key=lambda n: power(share_a, share_b, n, confidence) >= wanted
    )


class Scenario(NamedTuple):
    """Two true shares, and what a study of them would find."""

    share_a: float
    share_b: float
    power: float
    """Probability that the study shows A and B in the order of the pilot."""
    trials: int | None
    """Of each group, for the power wanted; None where no number up to 10,000 is enough."""


def power_from_pilot(
    a: Sample,
    b: Sample,
    n: int,
    estimand: Estimand | None = None,
    wanted: float = WANTED_POWER,
) -> dict[str, Scenario]:
    """Power to tell A from B in a study of n new trials each, over what a pilot leaves open.

    `pilot` takes the shares of the pilot for true. `pessimistic` and `optimistic` move both to
    where the interval of their difference has its near and its far end. With `sample-min` the
    references are the best errors of the pilot, to be held fixed in the study.

    Args:
        a: pilot of the first group.
        b: pilot of the second.
        n: new trials of each.
        estimand: names d, reference and confidence, of the pilot's interval and of the study's.
        wanted: power for which the trials are looked for.

    Raises:
        ValueError: as `share_near`, `power` and `trials_for_power`.

    >>> import numpy as np
    >>> a = Sample(label="a", errors=np.linspace(5, 13, 32))
    >>> b = Sample(label="b", errors=np.linspace(5, 45, 32))
    >>> for name, found in power_from_pilot(a, b, 64).items():
    ...     print(name, round(found.power, 2), found.trials)
    pessimistic 0.26 246
    pilot 1.0 26
    optimistic 1.0 11

    """
    asked = Estimand(unit=a.unit) if estimand is None else estimand
    asked.check_unit(a, b)
    of_a, of_b = share_near(a, asked), share_near(b, asked)
    if of_a.least < of_b.least:
        found = power_from_pilot(b, a, n, asked, wanted)
        return {name: s._replace(share_a=s.share_b, share_b=s.share_a) for name, s in found.items()}
    near = hypot(of_a.least - of_a.low, of_b.high - of_b.least)
    far = hypot(of_a.high - of_a.least, of_b.least - of_b.low)
    shares = {
        "pessimistic": (_moved(of_a.least, of_a.low, near), _moved(of_b.least, of_b.high, near)),
        "pilot": (of_a.least, of_b.least),
        "optimistic": (_moved(of_a.least, of_a.high, far), _moved(of_b.least, of_b.low, far)),
    }
    return {
        name: Scenario(
            *two,
            power(*two, n, asked.confidence),
            trials_for_power(*two, wanted, asked.confidence),
        )
        for name, two in shares.items()
    }


def _moved(share: float, limit: float, reach: float) -> float:
    """Take the point of a share at which the sum of squares of both distances has its end."""
    return share + (limit - share) * abs(limit - share) / reach if reach else share


def seconds_by_group(table: pd.DataFrame) -> pd.DataFrame:
    """Seconds of a trial by model, optimizer, length and data, as a pilot measured them.

    Of unfinished groups only the complete prefix counts: diverged trials end first, long ones
    last.

    Args:
        table: of `load`, with the column `seconds` (of one training).

    Returns:
        Indexed by the label of the group: `timed` trials, their `mean` and standard deviation
        `sd` in seconds (NaN for a single trial), `trials` of the design.

    Raises:
        TableError: no column `seconds`, or a group without a single one.

    >>> table = pd.DataFrame({"model": "a", "error": [5.0, 6.0], "seconds": [2.0, 4.0]})
    >>> seconds_by_group(table)["mean"].tolist()
    [3.0]

    """
    table = as_table(table)
    if "seconds" not in table:
        raise TableError(["no column 'seconds': what a study costs is not in this table"])
    columns = [c for c in COST_GROUPS if c in table]
    parts = [part for _, part in table.groupby(columns, sort=False, dropna=False)]
    labels = describe([{c: part[c].iloc[0] for c in columns} for part in parts])[1]
    rows = {}
    for label, part in zip(labels, parts, strict=True):
        seconds = pd.to_numeric(complete_prefix(part)["seconds"], errors="coerce").dropna()
        rows[label] = (len(seconds), seconds.mean(), seconds.std(), len(part))
    untimed = [
        f"group {label!r}: no trial with its seconds" for label, r in rows.items() if not r[0]
    ]
    if untimed:
        raise TableError(untimed)
    return pd.DataFrame.from_dict(rows, orient="index", columns=["timed", "mean", "sd", "trials"])


def cost(seconds: pd.DataFrame, draws: int, workers: int = 1, confidence: float = 0.95) -> Interval:
    """Time that the training of a study takes, from the seconds of a pilot.

    draws sum(mean) / workers, with the interval of a normal law of variance sum(draws sd^2 +
    draws^2 sd^2 / timed): what trials differ by, and how well the pilot knows their mean. Without
    the start, the writing, and the wait for the last trial.

    Args:
        seconds: of `seconds_by_group`, measured with as many trainings at a time.
        draws: trials of each group, at least 1.
        workers: trainings at a time, at least 1.
        confidence: in (0, 1).

    Returns:
        Seconds; the ends are NaN where a group was timed once.

    Raises:
        ValueError: draws or workers below 1, confidence outside (0, 1).

    >>> table = pd.DataFrame({"timed": [25], "mean": [2.0], "sd": [0.5]}, index=["a"])
    >>> [round(x, 1) for x in cost(table, 100, workers=2)]
    [100.0, 89.0, 111.0]

    """
    if draws < 1 or workers < 1:
        raise ValueError(f"got {draws} draws and {workers} workers, allowed: 1 or more")
    check_confidence(confidence)
    from scipy.special import ndtri  # half a second to import

    variance = seconds["sd"].to_numpy(dtype=float) ** 2
    timed = seconds["timed"].to_numpy(dtype=float)
    total = draws * float(seconds["mean"].sum())
    spread = sqrt(float((draws * variance + draws**2 * variance / timed).sum()))
    half = float(ndtri((1.0 + confidence) / 2.0)) * spread
    return Interval(total / workers, max(total - half, 0.0) / workers, (total + half) / workers)
