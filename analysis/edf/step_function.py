"""The error distribution function: the share of configurations that reach an error or less."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self, overload

import numpy as np
import numpy.typing as npt

from analysis.arrays import FloatArray
from analysis.edf.bands import Method, count_bounds, method_for

# Relative to the size of the numbers. Errors of an evaluation on fewer than 10^6 images that
# differ at all differ by more; what float arithmetic adds to equal ones is 10^4 times less.
TIE = 1e-10


@dataclass(frozen=True, eq=False)
class EDF:
    """A right-continuous step function: `start` below x[0], height[i] on [x[i], x[i+1]).

    For a sample, F(x) = #{e_i <= x} / n. The bounds of its band are of the same class.
    """

    x: FloatArray
    """Where it jumps, strictly increasing, in the unit of the errors; +inf is allowed. (k,)"""
    height: FloatArray
    """Its value at x[i] and up to the next jump, never decreasing, in [0, 1]. (k,)"""
    n: int
    """Number of independent values behind it, the failed ones included."""
    start: float = 0.0
    """Its value below x[0]: 0 for a sample, more for the upper bound of a band."""

    def __post_init__(self) -> None:
        for values in (self.x, self.height):
            values.setflags(write=False)
        if self.x.ndim != 1 or self.x.shape != self.height.shape:
            raise ValueError(f"x {self.x.shape} and height {self.height.shape} must be alike (k,)")
        first, last = (self.height[0], self.height[-1]) if self.height.size else (1.0, 1.0)
        ends = 0.0 <= self.start <= first and last <= 1.0
        rising = (self.height[1:] >= self.height[:-1]).all() and (self.x[1:] > self.x[:-1]).all()
        if not (ends and rising):
            raise ValueError("a step function needs increasing x and rising heights within [0, 1]")

    @classmethod
    def of(cls, errors: npt.ArrayLike) -> Self:
        """Take the EDF of a sample: F(x) = #{e_i <= x} / n, ties merged into one jump.

        Args:
            errors: real numbers of any unit, of shape (n,), n >= 1; +inf stands for "worse than
                every threshold" and stays in the denominator.

        Raises:
            ValueError: no values, not one-dimensional, a NaN or a -inf. A run without an error must
                be given its place by a policy first (`analysis.errors_under`), never dropped.

        >>> edf = EDF.of([30.0, 20.0, 20.0, np.inf])
        >>> edf(20.0), edf(29.9), edf(1e9), edf(np.inf)
        (0.5, 0.5, 0.75, 1.0)

        """
        values = np.asarray(errors, dtype=np.float64)
        if values.ndim != 1 or values.size == 0:
            raise ValueError(f"errors: got shape {values.shape}, allowed: (n,) with n at least 1")
        refused = int(np.isnan(values).sum()), int(np.isneginf(values).sum())
        if any(refused):
            raise ValueError(
                f"errors: got {refused[0]} NaN and {refused[1]} -inf, allowed: real numbers and "
                "+inf; give runs without an error a value by a policy (analysis.errors_under)"
            )
        x, counts = np.unique(values, return_counts=True)
        return cls(x, np.cumsum(counts) / values.size, values.size)

    @overload
    def __call__(self, x: float) -> float: ...
    @overload
    def __call__(self, x: Sequence[float] | FloatArray) -> FloatArray: ...
    def __call__(self, x: float | Sequence[float] | FloatArray) -> float | FloatArray:
        """Read the share at x: a float for a number, an array of the same shape for an array.

        Raises:
            ValueError: x holds a NaN.

        >>> EDF.of([1.0, 2.0, 2.0])([0.0, 1.0, 2.0]).round(3).tolist()
        [0.0, 0.333, 1.0]

        """
        at = np.asarray(x, dtype=np.float64)
        if np.isnan(at).any():
            raise ValueError("x: got NaN, allowed: real numbers and infinities")
        heights = np.concatenate(([self.start], self.height))
        values = heights[np.searchsorted(self.x, at, side="right")]
        return float(values) if at.ndim == 0 else values

    @property
    def minimum(self) -> float:
        """The smallest value of the sample, in the unit of the errors.

        >>> EDF.of([3.0, 2.5]).minimum
        2.5
        """
        return float(self.x[0])

    def quantile(self, p: float) -> float:
        """Smallest x with F(x) >= p: the inverse of the step curve, always one of the values.

        Args:
            p: share, in (0, 1].

        Returns:
            In the unit of the errors; +inf where the curve stays below p, -inf where it starts at
            p or above (both happen to bounds of a band).

        Raises:
            ValueError: p outside (0, 1].

        >>> EDF.of([1.0, 2.0, 4.0, 8.0]).quantile(0.5)
        2.0

        """
        if not 0.0 < p <= 1.0:
            raise ValueError(f"p: got {p}, allowed: above 0, at most 1 (the best value: minimum)")
        if p <= self.start:
            return -np.inf
        i = int(np.searchsorted(self.height, p, side="left"))
        return float(self.x[i]) if i < self.x.size else np.inf

    def band(self, confidence: float = 0.95, method: Method | None = None) -> tuple[Self, Self]:
        """Simultaneous confidence band around the EDF of n independent values.

        With the confidence given, lower(x) <= F(x) <= upper(x) holds for all x at once, so that
        it may be read at an x that the data chose. Formulas: `analysis.count_bounds`.

        Args:
            confidence: in (0, 1).
            method: see `analysis.edf.bands`; None for `ld`, beyond 10,000 values `ks`.

        Returns:
            (lower, upper), two step functions of this class with the same jumps.

        Raises:
            ValueError: confidence outside (0, 1), unknown method, more than 10,000 values for `ld`.

        >>> lower, upper = EDF.of(np.arange(64.0)).band()
        >>> round(lower(31.0), 3), round(upper(31.0), 3), round(upper(-1.0), 3)
        (0.314, 0.686, 0.087)

        """
        low, high = count_bounds(self.n, confidence, method or method_for(self.n))
        below, counts = round(self.start * self.n), np.rint(self.height * self.n).astype(np.intp)
        return (
            type(self)(self.x, low[counts], self.n, float(low[below])),
            type(self)(self.x, high[counts], self.n, float(high[below])),
        )

    def raised(self, count: int) -> Self:
        """Lift the curve by count/n, at most to 1: `count` of the values could lie anywhere below.

        Raises:
            ValueError: count below 0.

        >>> EDF.of([1.0, 2.0, np.inf, np.inf]).raised(1)([0.0, 1.0, 2.0]).tolist()
        [0.25, 0.5, 0.75]

        """
        if count < 0:
            raise ValueError(f"count: got {count}, allowed: 0 or more")
        lift = count / self.n
        height = np.minimum(self.height + lift, 1.0)
        return type(self)(self.x, height, self.n, min(self.start + lift, 1.0))

    def delta(self, reference: float) -> Self:
        """Shift the curve to distances from a reference: D(d) = F(reference + d).

        Distances are rounded to 12 digits of the largest number involved, so that ties which
        float subtraction would lose stay ties (8.3 - 4.3 is 4.0, not 4.000000000000001).

        Args:
            reference: finite, in the unit of the errors. With the minimum of the same sample
                ("sample-min") a band holds for F(m + d) at the observed m, not for distances to
                the best error there is.

        Raises:
            ValueError: the reference is not finite.

        >>> EDF.of([4.3, 8.3, 40.0]).delta(4.3)(4.0) == 2 / 3
        True

        """
        _finite("reference", reference)
        size = np.abs(np.append(self.x[np.isfinite(self.x)], reference)).max()
        decimals = min(12 - int(np.ceil(np.log10(size))), 300) if size > 0 else 0
        x = np.round(self.x - reference, decimals)
        last = np.append(x[1:] > x[:-1], True)  # where rounding merged jumps, the upper one counts
        return type(self)(x[last], self.height[last], self.n, self.start)

    def share_within(self, d: float, reference: float) -> float:
        """Share of values at most d above the reference: F(reference + d), ties counted.

        Args:
            d: distance, 0 or more, in the unit of the errors.
            reference: finite, in the same unit.

        Raises:
            ValueError: d negative or not finite, the reference not finite.

        >>> EDF.of([4.3, 8.3, 40.0]).share_within(4.0, 4.3) == 2 / 3
        True

        """
        _finite("reference", reference)
        _finite("d", d)
        if d < 0:
            raise ValueError(f"d: got {d}, allowed: 0 or more")
        return self(reference + d + TIE * max(abs(reference), d))

    def area(self, limit: float = 10.0) -> float:
        """Mean height over [0, limit]; of a delta-EDF: 1 - mean(min(1, delta / limit)).

        Args:
            limit: positive, in the unit of x.

        Returns:
            In [0, 1]; 1 if every value is at the reference, 0 if none is within the limit.

        Raises:
            ValueError: the limit is not positive and finite.

        >>> EDF.of([2.0, 7.0, np.inf]).delta(2.0).area() == (1.0 + 0.5 + 0.0) / 3
        True

        """
        _finite("limit", limit)
        if limit <= 0:
            raise ValueError(f"limit: got {limit}, allowed: above 0")
        ends = np.clip(np.concatenate(([0.0], self.x, [limit])), 0.0, limit)
        return float(np.diff(ends) @ np.concatenate(([self.start], self.height)) / limit)


def _finite(name: str, value: float) -> None:
    if not np.isfinite(value):
        raise ValueError(f"{name}: got {value}, allowed: a finite number")
