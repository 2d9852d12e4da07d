"""Confirmed peaks: the selected configuration of each group, trained again with fresh seeds.

A run directory keeps them in `confirm-r<seeds>/`, itself a run directory. Their mean error is the
reference of "within d points" that no lucky run has moved, and the peak that may be compared with
an interval: the seeds chose nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from analysis.arrays import FloatArray
from analysis.edf.intervals import Interval
from analysis.edf.samples import Sample
from analysis.table.groups import GROUPS
from analysis.table.load import load
from analysis.table.outcomes import DIVERGED, FAILED, MISSING
from analysis.table.policies import errors_under, policy_for
from analysis.table.units import (
    Unit,
    format_distance,
    format_error,
    format_number,
    one_unit,
    unit_of,
)

FOLDERS = "confirm-r*"


@dataclass(frozen=True, eq=False, kw_only=True)
class Confirmed:
    """Errors of one configuration, trained with several seeds."""

    errors: FloatArray
    """Percent, one per seed; diverged ones at chance."""
    group: Mapping[str, object]
    """`model`, `optim`, `epochs` and `data` of the configuration."""
    diverged: int = 0
    unit: Unit = "percent"

    @property
    def mean(self) -> float:
        """Mean error over the seeds, in percent.

        >>> Confirmed(errors=np.array([4.0, 6.0]), group={}).mean
        5.0
        """
        return float(self.errors.mean())

    def interval(self, confidence: float = 0.95) -> Interval:
        """Student's t-interval of the mean over seeds; of infinite width for one seed.

        mean -+ t(R - 1) s / sqrt(R). For error counts of a few seeds it is an approximation.

        Args:
            confidence: in (0, 1).

        >>> [round(x, 2) for x in Confirmed(errors=np.array([4.0, 6.0]), group={}).interval()]
        [5.0, -7.71, 17.71]

        """
        from scipy import stats

        r = self.errors.size
        if r < 2:
            return Interval(self.mean, -np.inf, np.inf)
        half = stats.t.ppf((1 + confidence) / 2, r - 1) * self.errors.std(ddof=1) / np.sqrt(r)
        return Interval(self.mean, float(self.mean - half), float(self.mean + half))


def confirmed(run: Path | str) -> list[Confirmed]:
    """Read the confirmed peaks of a run directory; of several confirmations, that of most seeds.

    Args:
        run: a run directory.

    Returns:
        One per group, in the order of the design; empty where nothing was confirmed. A group with
        an unfinished or failed training is left out: the mean of those that ended first would be
        that of a chosen few.

    Raises:
        TableError: a confirmation that cannot be read.

    >>> confirmed("no such folder")
    []

    """
    folders = sorted(Path(run).glob(FOLDERS), key=_seeds)
    if not folders:
        return []
    table = load(folders[-1])
    columns = [c for c in GROUPS if c in table]
    found = []
    for _, part in table.groupby(columns, sort=False, dropna=False):
        if part["outcome"].isin([*FAILED, MISSING]).any():
            continue
        diverged = int(part["outcome"].eq(DIVERGED).sum())
        group = {c: part[c].iloc[0] for c in columns}
        unit = unit_of(part)
        errors = errors_under(part, policy_for("chance", unit))
        found.append(Confirmed(errors=errors, group=group, diverged=diverged, unit=unit))
    return found


def peaks_of(groups: Sequence[Sample], found: Sequence[Confirmed]) -> dict[str, Confirmed]:
    """Give each sample its confirmed peak, by label; samples without one are left out.

    >>> peak = Confirmed(errors=np.array([5.0]), group={"model": "a", "epochs": 5})
    >>> sample = Sample(label="a", errors=np.array([4.0]), group={"model": "a"})
    >>> peaks_of([sample], [peak])["a"].mean
    5.0
    """
    return {
        sample.label: peak
        for sample in groups
        for peak in found
        if all(peak.group.get(c, value) == value for c, value in sample.group.items())
    }


def peak_difference(a: Confirmed, b: Confirmed, confidence: float = 0.95) -> Interval:
    """Mean error of A minus that of B, in points, with Welch's interval.

    Seeds are shared by the groups, but a seed means something else to each model: they are taken
    as independent. Of infinite width where one has a single seed.

    Args:
        a: peak of A.
        b: peak of B.
        confidence: in (0, 1).

    >>> a, b = (Confirmed(errors=np.array(x), group={}) for x in ([4.0, 6.0], [9.0, 11.0]))
    >>> [round(x, 2) for x in peak_difference(a, b)]
    [-5.0, -11.08, 1.08]

    """
    from scipy import stats

    difference = a.mean - b.mean
    if min(a.errors.size, b.errors.size) < 2:
        return Interval(difference, -np.inf, np.inf)
    if np.ptp(a.errors) == 0 == np.ptp(b.errors):
        return Interval(difference, difference, difference)
    welch = stats.ttest_ind(a.errors, b.errors, equal_var=False).confidence_interval(confidence)
    return Interval(difference, float(welch.low), float(welch.high))


def peak_sentence(
    labels: tuple[str, str], peaks: tuple[Confirmed, Confirmed], confidence: float = 0.95
) -> str:
    """Compare two confirmed peaks in a sentence.

    >>> a, b = (Confirmed(errors=np.array(x), group={}) for x in ([4.0, 6.0], [9.0, 11.0]))
    >>> print(peak_sentence(("a", "b"), (a, b)))
    Peak: the selected configuration of a, trained again with 2 fresh seeds, has 5.00% on average, \
that of b (2 seeds) 10.00%; difference -5.00 points, 95% interval -11.08 to +1.08 (Welch).
    """
    (a, b), difference = peaks, peak_difference(*peaks, confidence)
    unit = one_unit([a.unit, b.unit])
    bounds = " to ".join(format_number(x, unit, "+") for x in difference[1:])
    gap = format_distance(format_number(difference.estimate, unit, "+"), unit)
    return (
        f"Peak: the selected configuration of {labels[0]}, trained again with {a.errors.size} "
        f"fresh seeds, has {format_error(a.mean, unit)} on average, that of {labels[1]} "
        f"({b.errors.size} seeds) {format_error(b.mean, unit)}; difference {gap}, "
        f"{100 * confidence:g}% interval {bounds} (Welch)."
    )


def peaks_table(peaks: Mapping[str, Confirmed], confidence: float = 0.95) -> pd.DataFrame:
    """One row per peak: `seeds`, `mean`, `low`, `high` (percent), `diverged`.

    >>> peaks_table({"a": Confirmed(errors=np.array([4.0, 4.0]), group={})}).loc["a"].tolist()
    [2.0, 4.0, 4.0, 4.0, 0.0]
    """
    rows = [
        (peak.errors.size, *peak.interval(confidence), peak.diverged) for peak in peaks.values()
    ]
    index = pd.Index(peaks, name="group", dtype=object)
    return pd.DataFrame(rows, columns=["seeds", "mean", "low", "high", "diverged"], index=index)


def _seeds(folder: Path) -> int:
    digits = folder.name.rpartition("r")[2]
    return int(digits) if digits.isdecimal() else -1
