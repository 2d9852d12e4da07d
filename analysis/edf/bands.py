"""Simultaneous confidence bands, as bounds on F for each possible count of values up to x.

Among n independent values the count k of those that are <= x decides the band at x, whatever
the law: `lower[k] <= F(x) <= upper[k]` holds for all x together with the wanted confidence.

| method | what it is | n |
|---|---|---|
| `ld` | Learned-Miller and DeStefano, highest density: narrow at both ends; exact | to 10,000 |
| `ld-equal-tailed` | the same with equal tails, as other tools draw it; exact | to 10,000 |
| `ks` | constant width, the exact quantile of Kolmogorov and Smirnov | any |
| `dkw` | constant width, Dvoretzky, Kiefer, Wolfowitz: a closed form; conservative | any |
"""

from functools import lru_cache
from typing import Literal, get_args

import numpy as np

from analysis.arrays import FloatArray
from analysis.edf.ld import LD_MAX_N, ld_bounds
from analysis.errors import check_confidence, invalid_choice

ConstantWidth = Literal["ks", "dkw"]
Method = Literal["ld", "ld-equal-tailed", "ks", "dkw"]


def count_bounds(n: int, confidence: float, method: Method) -> tuple[FloatArray, FloatArray]:
    """Bounds on F(x) by the count of values that are <= x.

    `ks` and `dkw` have one half-width eps (`half_width`): lower[k] = max(0, k/n - eps) and
    upper[k] = min(1, k/n + eps). For `ld` and `ld-equal-tailed` see `analysis.edf.ld`.

    Args:
        n: independent values, at least 1; for the `ld` methods at most 10,000.
        confidence: probability that the band holds at all x at once, in (0, 1).
        method: `ld`, `ld-equal-tailed`, `ks` or `dkw`.

    Returns:
        (lower, upper), each of shape (n + 1,), without unit, in [0, 1]; entry k is for a count k.
        They may be read-only.

    Raises:
        ValueError: n out of range, confidence outside (0, 1), unknown method.

    >>> lower, upper = count_bounds(2, 0.95, "ks")
    >>> lower.round(3).tolist(), upper.round(3).tolist()
    ([0.0, 0.0, 0.158], [0.842, 1.0, 1.0])

    """
    _check(n, confidence, method, get_args(Method))
    if method == "ld" or method == "ld-equal-tailed":
        return ld_bounds(n, confidence, method)
    share = np.arange(n + 1) / n
    epsilon = half_width(n, confidence, method)
    return np.clip(share - epsilon, 0.0, 1.0), np.clip(share + epsilon, 0.0, 1.0)


def method_for(n: int, method: Method | None = None) -> Method:
    """Choose the band of n values: by default `ld`, and `ks` where n is too large for an `ld` band.

    Every band that is drawn or reported without a method named is chosen here.

    >>> method_for(10_000), method_for(10_001), method_for(10_001, "ld"), method_for(9, "dkw")
    ('ld', 'ks', 'ks', 'dkw')
    """
    wanted = "ld" if method is None else method
    return "ks" if n > LD_MAX_N and wanted.startswith("ld") else wanted


@lru_cache(maxsize=1024)
def half_width(n: int, confidence: float = 0.95, method: ConstantWidth = "ks") -> float:
    """Half-width of a band of constant width around the EDF of n values.

    `dkw`: sqrt(ln(2/alpha) / (2n)), alpha = 1 - confidence; Dvoretzky, Kiefer and Wolfowitz with
    the constant of Massart (1990); conservative. `ks`: the quantile of the two-sided
    Kolmogorov-Smirnov statistic as scipy computes it: exact for continuous laws (within 1e-6 of
    the coverage for n above 140), conservative with ties.

    Args:
        n: independent values, at least 1.
        confidence: in (0, 1).
        method: `ks` or `dkw`; the bands of `ld` have no constant width.

    Returns:
        A share, in (0, 1) for `ks`, positive for `dkw`.

    Raises:
        ValueError: n below 1, confidence outside (0, 1), unknown method.

    >>> round(half_width(64, method="dkw"), 3), round(half_width(64, method="ks"), 3)
    (0.17, 0.167)

    """
    _check(n, confidence, method, get_args(ConstantWidth))
    if method == "dkw":
        return float(np.sqrt(np.log(2.0 / (1.0 - confidence)) / (2.0 * n)))
    from scipy.stats import kstwo  # takes over a second to import

    return float(kstwo.ppf(confidence, n))


def _check(n: int, confidence: float, method: str, methods: tuple[str, ...]) -> None:
    if n < 1:
        raise ValueError(f"a band needs at least 1 value, got n = {n}")
    check_confidence(confidence)
    if method not in methods:
        raise ValueError(invalid_choice("method", method, methods))
