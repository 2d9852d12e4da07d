"""Exact bands of Learned-Miller and DeStefano, and the exact coverage of any band.

Order statistic i of n independent uniforms follows Beta(i, n + 1 - i). A band takes for each i an
interval [lo_i, hi_i] of one pointwise coverage q, with q such that all of them hold together with
the confidence wanted (Learned-Miller and DeStefano, A probabilistic upper bound on differential
entropy, 2008). That probability is computed, not simulated: given N(1) = n, the count N(t) of
uniforms up to t is a Poisson process, whose steps are independent (as in Moscovich and Nadler,
arXiv 1503.04363).
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Literal

import numpy as np

from analysis.arrays import FloatArray

LDMethod = Literal["ld", "ld-equal-tailed"]
LD_MAX_N = 10_000
"""Values above which the search, which costs about n^1.5, would take tens of seconds."""

FLOOR = 1e-20  # states less likely than this are dropped: below 1e-14 in all, over 10^4 values
STEP = 16.0  # largest mean of one Poisson step: its longest kernel has 80 terms, none underflows
TERMS = 80  # P(Poisson(16) >= 80) < 1e-26


@lru_cache(maxsize=128)
def ld_bounds(n: int, confidence: float, method: LDMethod) -> tuple[FloatArray, FloatArray]:
    """Bounds on F(x) by the count k of values <= x: lower[k] = lo_k, upper[k] = hi_{k+1}.

    With lo_0 = 0 and hi_{n+1} = 1. The pointwise coverage q is found to 1e-10.

    Args:
        n: independent values, 1 to `LD_MAX_N`.
        confidence: in (0, 1).
        method: intervals of highest density (`ld`) or with equal tails (`ld-equal-tailed`).

    Returns:
        (lower, upper), each of shape (n + 1,), in [0, 1], read-only (they are kept for the next
        call).

    Raises:
        ValueError: n above `LD_MAX_N`.

    >>> lower, upper = ld_bounds(20, 0.95, "ld")
    >>> round(float(upper[0]), 6), round(float(lower[20]), 6)
    (0.231596, 0.768404)

    """
    if n > LD_MAX_N:
        raise ValueError(
            f"method: got {method!r} for {n} values, allowed up to {LD_MAX_N}; beyond, 'ks' and "
            "'dkw' take no time and are not much wider"
        )
    low, high = INTERVALS[method](n, 1.0 - pointwise_coverage(n, confidence, method))
    bounds = np.concatenate(([0.0], low)), np.concatenate((high, [1.0]))
    for bound in bounds:
        bound.setflags(write=False)
    return bounds


@lru_cache(maxsize=1024)
def pointwise_coverage(n: int, confidence: float, method: LDMethod) -> float:
    """Coverage q of each interval at which all n of them hold with the confidence wanted.

    Root of `exact_coverage` in log(1 - q), between 1 - q = alpha and alpha / n (Bonferroni), where
    alpha = 1 - confidence.

    >>> round(pointwise_coverage(20, 0.95, "ld-equal-tailed"), 9)
    0.995229304
    """
    if n == 1:
        return confidence
    from scipy.optimize import brentq  # takes half a second to import

    alpha = 1.0 - confidence

    def excess(log_tail: float) -> float:
        low, high = INTERVALS[method](n, float(np.exp(log_tail)))
        missed = 1.0 - exact_coverage(np.append(0.0, low), np.append(high, 1.0))
        return float(np.log(max(missed, FLOOR) / alpha))

    # widened, so that rounding cannot move the root out of the bracket
    ends = np.log(alpha / n) - 0.01, np.log1p(-confidence * (1.0 - 1e-3))
    return 1.0 - float(np.exp(brentq(excess, *ends, xtol=1e-11, rtol=1e-14)))


def exact_coverage(lower: FloatArray, upper: FloatArray) -> float:
    """Probability that a band holds at all x at once, for a continuous law; exact.

    With N(t) = #{U_i <= t} of n uniforms, the band holds iff N(lo_i) <= i - 1 and N(hi_i) >= i
    for all i, where lo_i = lower[i] and hi_i = upper[i - 1]. Both halves of [0, 1] are walked from
    their outer end as a Poisson process of rate n, and joined at 1/2 by N(1) = n.

    Args:
        lower: bound on F(x) where k of the n values are <= x, of shape (n + 1,), never decreasing.
        upper: likewise.

    Returns:
        In [0, 1]; the error is below 1e-12. With ties the true coverage is higher.

    Raises:
        ValueError: bounds of different shape, not in [0, 1], or decreasing.

    >>> from analysis.edf.bands import count_bounds
    >>> round(exact_coverage(*count_bounds(64, 0.95, "ks")), 9)
    0.95
    >>> round(exact_coverage(*count_bounds(64, 0.95, "dkw")), 3)
    0.956

    """
    _check_bounds(lower, upper)
    low, high = lower[1:], upper[:-1]
    n = low.size
    left = _half_walk(low, high)
    mirrored = 1.0 - high[::-1], 1.0 - low[::-1]
    symmetric = np.allclose(low, mirrored[0], rtol=0.0, atol=1e-15)  # every band of this package
    right = left if symmetric else _half_walk(*mirrored)
    return min(float(left @ right[::-1]) / _all_of(n), 1.0)


@lru_cache(maxsize=1024)
def _all_of(n: int) -> float:
    """P(N(1) = n), by the same walk: logarithms of n! would lose 5 digits at n = 10^4."""
    free = _half_walk(np.zeros(n), np.ones(n))
    return float(free @ free[::-1])


def _check_bounds(lower: FloatArray, upper: FloatArray) -> None:
    if lower.ndim != 1 or lower.shape != upper.shape or lower.size < 2:
        raise ValueError(f"bounds: got {lower.shape} and {upper.shape}, allowed: both (n + 1,)")
    for name, bound in (("lower", lower), ("upper", upper)):
        if not (np.diff(np.concatenate(([0.0], bound, [1.0]))) >= 0.0).all():
            raise ValueError(f"{name}: allowed: numbers in [0, 1] that never decrease")


def _half_walk(low: FloatArray, high: FloatArray) -> FloatArray:
    """P(N(1/2) = k, and the band holds up to 1/2) for k = 0 to n, N a Poisson process of rate n.

    At an end point t the count lies between #{hi_i <= t} and #{lo_i < t}, else the band fails.
    """
    n = low.size
    grid = np.linspace(0.0, 0.5, int(np.ceil(n / 2 / STEP)) + 1)
    times = np.unique(np.concatenate((low[low < 0.5], high[high < 0.5], grid)))
    least = np.searchsorted(high, times, side="right").tolist()
    most = np.searchsorted(low, times, side="left").tolist()
    kernels = _poisson(n * np.diff(times, prepend=0.0))
    lengths = np.count_nonzero(kernels > FLOOR, axis=1).tolist()
    first, mass = 0, np.ones(1)  # mass[j] belongs to the count first + j
    for kernel, length, a, b in zip(kernels, lengths, least, most, strict=True):
        mass = np.convolve(mass, kernel[:length])
        inside = slice(max(a - first, 0), max(b - first + 1, 0))
        mass = mass[inside]
        first += inside.start
        alive = mass > FLOOR
        if not alive.any():
            return np.zeros(n + 1)
        skipped = int(alive.argmax())
        mass = mass[skipped : mass.size - int(alive[::-1].argmax())]
        first += skipped
    held = np.zeros(n + 1)
    held[first : first + mass.size] = mass
    return held


def _poisson(means: FloatArray) -> FloatArray:
    """P(Poisson(mean) = j), shape (means, TERMS)."""
    factors = np.empty((means.size, TERMS))
    factors[:, 0] = np.exp(-means)
    factors[:, 1:] = means[:, None] / np.arange(1, TERMS)
    np.cumprod(factors, axis=1, out=factors)
    return factors


def equal_tailed(n: int, tail: float) -> tuple[FloatArray, FloatArray]:
    """Quantiles tail/2 and 1 - tail/2 of Beta(i, n + 1 - i), for i = 1 to n.

    Args:
        n: at least 1.
        tail: probability outside each interval, in (0, 1).

    Returns:
        (low, high), each of shape (n,); low[i - 1] = 1 - high[n - i].

    >>> low, high = equal_tailed(1, 0.05)
    >>> low.round(6).tolist(), high.round(6).tolist()
    ([0.025], [0.975])

    """
    from scipy.special import betaincinv  # half a second to import

    i = np.arange(1.0, n + 1)
    low = betaincinv(i, n + 1 - i, tail / 2)
    return low, 1.0 - low[::-1]


def highest_density(n: int, tail: float) -> tuple[FloatArray, FloatArray]:
    """Shortest intervals of Beta(i, n + 1 - i) that leave out `tail`, for i = 1 to n.

    Where the density f rises and falls (1 < i < n), both ends have the same density; at i = 1 and
    i = n it is monotone and the interval begins at 0 or ends at 1. n = 1 is uniform: equal tails.

    Args:
        n: at least 1.
        tail: probability outside each interval, in (0, 1).

    Returns:
        (low, high), each of shape (n,); low[i - 1] = 1 - high[n - i].

    >>> low, high = highest_density(2, 0.19)
    >>> low.round(6).tolist(), high.round(6).tolist()
    ([0.0, 0.43589], [0.56411, 1.0])

    """
    if n == 1:
        return equal_tailed(n, tail)
    half = (n + 1) // 2
    low, high = np.zeros(n), np.ones(n)
    high[0] = -np.expm1(np.log(tail) / n)  # Beta(1, n): F(t) = 1 - (1 - t)^n
    low[1:half], high[1:half] = _equal_density(n, np.arange(2.0, half + 1), tail)
    low[n - half :] = 1.0 - high[:half][::-1]
    high[n - half :] = 1.0 - low[:half][::-1]
    return low, high


def _equal_density(n: int, i: FloatArray, tail: float) -> tuple[FloatArray, FloatArray]:
    """Solve f(low) = f(high), F(high) - F(low) = 1 - tail by Newton's method in s = log(low).

    In s the difference of the log densities is nearly straight, also at i = 2, where the density
    at 0 vanishes. A step that leaves the bracket is replaced by halving it.
    """
    from scipy.special import betainc, betainccinv, betaincinv

    a, b = i - 1, n - i  # log density up to a constant: a log t + b log(1 - t)
    s = np.log(betaincinv(a + 1, b + 1, tail / 2))
    left, right = np.full_like(s, -np.inf), np.log(betaincinv(a + 1, b + 1, tail))
    for _ in range(100):
        low = np.exp(s)
        high = betainccinv(a + 1, b + 1, tail - betainc(a + 1, b + 1, low))
        gap = a * (np.log(high) - s) + b * (np.log1p(-high) - np.log1p(-low))
        slope_low, slope_high = a / low - b / (1 - low), a / high - b / (1 - high)
        step = -gap / (low * (slope_high * np.exp(-gap) - slope_low))
        left, right = np.where(gap > 0, s, left), np.where(gap > 0, right, s)
        outside = ~((s + step >= left) & (s + step <= right))
        after = np.where(outside, (left + right) / 2, s + step)
        if np.abs(after - s).max(initial=0.0) < 1e-13:
            break
        s = after
    return low, high


INTERVALS: dict[str, Callable[[int, float], tuple[FloatArray, FloatArray]]] = {
    "ld": highest_density,
    "ld-equal-tailed": equal_tailed,
}
