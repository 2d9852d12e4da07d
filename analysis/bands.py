"""Simultaneous confidence bands, as bounds on F for each possible count of values below x.

Among n independent values the count k of those that are <= x decides the band at x, whatever
the law: `lower[k] <= F(x) <= upper[k]` holds for all x together with the wanted confidence.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from analysis.faults import not_one_of

FloatArray = npt.NDArray[np.float64]
Method = Literal["ks", "dkw"]


def count_bounds(n: int, confidence: float, method: Method) -> tuple[FloatArray, FloatArray]:
    """Bounds on F(x) by the count of values that are <= x.

    Both methods have one half-width eps: lower[k] = max(0, k/n - eps) and
    upper[k] = min(1, k/n + eps).

    Args:
        n: independent values, at least 1.
        confidence: probability that the band holds at all x at once, in (0, 1).
        method: `ks` or `dkw`, see `half_width`.

    Returns:
        (lower, upper), each of shape (n + 1,), without unit, in [0, 1]; entry k is for a count k.

    Raises:
        ValueError: n below 1, confidence outside (0, 1), unknown method.

    >>> lower, upper = count_bounds(2, 0.95, "ks")
    >>> lower.round(3).tolist(), upper.round(3).tolist()
    ([0.0, 0.0, 0.158], [0.842, 1.0, 1.0])

    """
    share = np.arange(n + 1) / max(n, 1)
    epsilon = half_width(n, confidence, method)
    return np.clip(share - epsilon, 0.0, 1.0), np.clip(share + epsilon, 0.0, 1.0)


@lru_cache(maxsize=1024)
def half_width(n: int, confidence: float = 0.95, method: Method = "ks") -> float:
    """Half-width of a band of constant width around the EDF of n values.

    `dkw`: sqrt(ln(2/alpha) / (2n)), alpha = 1 - confidence; Dvoretzky, Kiefer and Wolfowitz with
    the constant of Massart (1990); conservative. `ks`: the exact quantile of the two-sided
    Kolmogorov-Smirnov statistic; exact for continuous laws, conservative with ties.

    Args:
        n: independent values, at least 1.
        confidence: in (0, 1).
        method: `ks` or `dkw`.

    Returns:
        A share, in (0, 1) for `ks`, positive for `dkw`.

    Raises:
        ValueError: n below 1, confidence outside (0, 1), unknown method.

    >>> round(half_width(64, method="dkw"), 3), round(half_width(64, method="ks"), 3)
    (0.17, 0.167)

    """
    if n < 1:
        raise ValueError(f"a band needs at least 1 value, got n = {n}")
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"confidence: got {confidence}, allowed: between 0 and 1, both excluded")
    if method not in HALF_WIDTHS:
        raise ValueError(not_one_of("method", method, get_args(Method)))
    return HALF_WIDTHS[method](n, confidence)


def _dkw(n: int, confidence: float) -> float:
    return float(np.sqrt(np.log(2.0 / (1.0 - confidence)) / (2.0 * n)))


def _ks(n: int, confidence: float) -> float:
    from scipy.stats import kstwo  # takes over a second to import

    return float(kstwo.ppf(confidence, n))


HALF_WIDTHS: dict[str, Callable[[int, float], float]] = {"ks": _ks, "dkw": _dkw}
