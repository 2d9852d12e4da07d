"""Whether a hyperparameter was drawn on a log or on a linear scale, told from its values."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from analysis.arrays import FloatArray

Scale = Literal["log", "linear"]
SCALES: tuple[Scale, ...] = ("log", "linear")
INFERRED = ", scale inferred"
"""End of `SearchRange.source` where the scale is none that anybody gave."""


def inferred_scale(groups: Sequence[FloatArray]) -> Scale:
    """Choose the scale on which values lie more evenly between the smallest and the largest.

    Evenness is the distance of Kolmogorov and Smirnov between the empirical distribution function
    and the uniform law (`unevenness`), averaged over the groups by size. Values that are not all
    positive are on a linear scale; a tie, as of two values, goes to the log scale. Few values do
    not tell: of sets drawn uniformly over a factor of 32 on either scale, about 10% are taken for
    the other at n = 16, and none of 1000 at n = 64. Give the scale where you know it.

    Args:
        groups: values of each group that has a range of its own; NaN is left out.

    >>> inferred_scale([np.array([0.001, 0.01, 0.1])]), inferred_scale([np.array([1.0, 2, 3, 4])])
    ('log', 'linear')

    """
    finite = [values[np.isfinite(values)] for values in groups]
    if any((values <= 0).any() for values in finite):
        return "linear"
    weights = [values.size for values in finite]
    log = sum(n * unevenness(np.log(x)) for n, x in zip(weights, finite, strict=True))
    linear = sum(n * unevenness(x) for n, x in zip(weights, finite, strict=True))
    return "log" if log <= linear else "linear"


def unevenness(values: FloatArray) -> float:
    """Largest distance of the distribution function of values from the uniform law between them.

    At the distinct values v_1 .. v_k the function is taken in the middle of its jumps, and is
    stretched to reach from 0 at v_1 to 1 at v_k, so that ties and whole numbers that are drawn
    evenly are even. 0 for fewer than three distinct values.

    Args:
        values: finite, of shape (n,).

    Returns:
        In [0, 1].

    >>> unevenness(np.array([1.0, 2.0, 2.0, 3.0])), unevenness(np.array([0.0, 1.0, 10.0]))
    (0.0, 0.4)

    """
    distinct, counts = np.unique(values, return_counts=True)
    if distinct.size < 3:
        return 0.0
    middle = np.cumsum(counts) - counts / 2
    share = (middle - middle[0]) / (middle[-1] - middle[0])
    place = (distinct - distinct[0]) / (distinct[-1] - distinct[0])
    return float(np.abs(share - place).max())
