"""The question that decides a comparison, fixed before the answer is seen."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from analysis.arrays import FloatArray
from analysis.edf.bands import Method, method_for
from analysis.edf.intervals import best_of_sample
from analysis.edf.samples import Sample
from analysis.edf.step_function import EDF
from analysis.errors import check_confidence
from analysis.table.units import (
    AREA_FACTOR,
    CURVES_FACTOR,
    NEAR_POINTS,
    Unit,
    format_distance,
    near_distance,
)

SAMPLE_MIN: Literal["sample-min"] = "sample-min"
UNSET = float("nan")  # a distance that was not given, told by identity


@dataclass(frozen=True, kw_only=True)
class Estimand:
    """Share of configurations within d points of a reference, and how sure to be of it.

    >>> Estimand(d=4.0, reference={"vitc": 5.0, "vitp": 7.5}, named="confirmed").wording
    'within 4 points of its reference (confirmed: vitc 5%, vitp 7.5%)'
    """

    d: float = UNSET
    """Distance in percentage points, 0 or more: 4 by default. A loss needs one in its own unit."""
    reference: Literal["sample-min"] | float | Mapping[str, float] = SAMPLE_MIN
    """In percent: of each sample by its label, or one for all; or the best of each sample."""
    named: str = "given"
    """Where the numbers of the reference come from: confirmed, tuned, ..."""
    pilot: int = 0
    """This many first trials of each sample give its reference, and are then left out."""
    confidence: float = 0.95
    """Of every statement about two samples, in (0, 1)."""
    method: Method | None = None
    """Of the bands, see `EDF.band`."""
    unit: Unit = "percent"
    """Of d and the reference; that of the samples."""

    def __post_init__(self) -> None:
        if self.d is UNSET:
            object.__setattr__(self, "d", near_distance(None, self.unit))
        if not (np.isfinite(self.d) and self.d >= 0):
            raise ValueError(f"d: got {self.d}, allowed: 0 or more")
        check_confidence(self.confidence)
        if self.pilot < 0 or (self.pilot and self.reference != SAMPLE_MIN):
            raise ValueError(
                f"pilot: got {self.pilot} with the reference {self.reference!r}, allowed: 0 or "
                "more trials, and no other reference beside them"
            )
        if isinstance(self.reference, str) and self.reference != SAMPLE_MIN:
            raise ValueError(
                f"reference: got {self.reference!r}, allowed: {SAMPLE_MIN!r}, a number, or "
                "numbers by label"
            )

    @property
    def fixed(self) -> bool:
        """Whether the reference does not depend on the trials that are judged by it."""
        return self.reference != SAMPLE_MIN

    @property
    def area_limit(self) -> float:
        """Distance to which the area under a delta-EDF is taken: 10 points; for a loss, 2.5 d."""
        return AREA_FACTOR * (NEAR_POINTS if self.unit == "percent" else self.d)

    @property
    def limit(self) -> float:
        """Distance up to which curves are compared: 20 points; for a loss, 5 d."""
        return CURVES_FACTOR * (NEAR_POINTS if self.unit == "percent" else self.d)

    def check_unit(self, *samples: Sample) -> None:
        """Raise ValueError where a sample is in another unit."""
        for sample in samples:
            if sample.unit != self.unit:
                raise ValueError(
                    f"unit: {sample.label!r} is in {sample.unit}, the question in {self.unit}; "
                    "compare errors of one unit (Estimand(d=..., unit='raw') for a loss)"
                )

    @property
    def wording(self) -> str:
        """The estimand in words."""
        start = f"within {format_distance(f'{self.d:g}', self.unit)} of "
        percent = "%" if self.unit == "percent" else ""
        if isinstance(self.reference, Mapping):
            values = ", ".join(f"{label} {r:.4g}{percent}" for label, r in self.reference.items())
            return f"{start}its reference ({self.named}: {values})"
        if self.fixed:
            return f"{start}{self.reference:.4g}{percent} ({self.named})"
        return f"{start}the best of its own sample (sample-min)"

    def reference_of(self, sample: Sample) -> float | None:
        """Reference of a sample, in the unit of its errors; None for its best without a usable run.

        Raises:
            ValueError: a sample in another unit, references by label without a finite one for this
                label.

        >>> Estimand().reference_of(Sample(label="a", errors=np.array([5.0, 9.0])))
        5.0

        """
        self.check_unit(sample)
        if self.reference == SAMPLE_MIN:
            return best_of_sample(sample)
        given = self.reference
        value = given.get(sample.label) if isinstance(given, Mapping) else float(given)
        if value is None or not np.isfinite(value):
            raise ValueError(
                f"reference: got {value} for {sample.label!r}, allowed: a finite number for each"
            )
        return float(value)


def distances(
    sample: Sample, estimand: Estimand, confidence: float | None = None
) -> tuple[EDF, EDF, EDF]:
    """Delta-EDF of a sample and the bounds of its band, by distance from the reference.

    Useless runs (at chance) are beyond every distance, also where the reference is near chance.
    Trials of unknown error count as bad in the curve and the lower bound, as good in the upper.
    Without a usable run nothing is near the best of the sample: the curve is 0, its upper
    bound that of the share of usable runs.

    Args:
        sample: independent draws.
        estimand: names reference and method.
        confidence: of the band; None for that of the estimand.

    Returns:
        (curve, lower, upper), of distances in percentage points.

    Raises:
        ValueError: an empty sample, dependent points, no reference for this label.

    >>> sample = Sample(label="a", errors=np.array([5.0, 9.0, 40.0]), chance=90.0)
    >>> distances(sample, Estimand())[0](4.0) == 2 / 3
    True

    """
    level = estimand.confidence if confidence is None else confidence
    usable = sample.failures_beyond()
    edf = usable.edf()
    lower, upper = usable.band(level, method_for(sample.n, estimand.method))
    base = estimand.reference_of(sample)
    if base is None:
        most = upper(float(np.nextafter(edf.minimum, -np.inf)))
        return _level(0.0, edf.n), _level(0.0, edf.n), _level(most, edf.n)
    return edf.delta(base), lower.delta(base), upper.delta(base)


def capped(sample: Sample, estimand: Estimand) -> FloatArray:
    """Known values for rank tests: distances from a fixed reference, or raw errors without one.

    Failures are all +inf: two of them tie, whatever the references.

    >>> sample = Sample(label="a", errors=np.array([5.0, 90.0]), chance=90.0)
    >>> capped(sample, Estimand(reference=4.0)).tolist()
    [1.0, inf]
    """
    base = estimand.reference_of(sample) if estimand.fixed else 0.0
    # rounded, so that ties survive the subtraction
    return np.round(sample.failures_beyond().errors - (base or 0.0), 10)


def _level(height: float, n: int) -> EDF:
    return EDF(np.zeros(1), np.array([height]), n, start=height)
