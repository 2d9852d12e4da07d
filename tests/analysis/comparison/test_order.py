"""Order of two samples by studentised permutation, against every permutation of few values."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis import order_permutation


@given(st.lists(st.integers(0, 6), min_size=2, max_size=12), st.integers(0, 99))
@settings(max_examples=20, deadline=None)
def test_order_by_permutation_is_the_share_of_all_permutations(
    values: list[int], seed: int
) -> None:
    """Against every split of few values, where the p-value is known without sampling."""
    a, b = np.array(values, float), np.random.default_rng(seed).integers(0, 6, 3).astype(float)
    pooled, n = np.concatenate((a, b))[-6:], 3
    first, second = pooled[:n], pooled[n:]
    splits = [np.array(pick) for pick in combinations(range(pooled.size), n)]
    rest = [np.setdiff1d(np.arange(pooled.size), pick) for pick in splits]
    seen = [studentised(pooled[x], pooled[y]) for x, y in zip(splits, rest, strict=True)]
    exact = np.mean(np.array(seen) >= studentised(first, second) - 1e-9)
    found = order_permutation(first, second, np.random.default_rng(seed), permutations=4000)
    assert found == pytest.approx(exact, abs=0.05)


def studentised(a: "np.ndarray", b: "np.ndarray") -> float:
    """Brunner and Munzel's statistic by their formula, infinite without variance."""
    above = [np.mean([(x < y) + 0.5 * (x == y) for x in a]) for y in b]
    below = [np.mean([(y < x) + 0.5 * (x == y) for y in b]) for x in a]
    variance = np.var(above, ddof=1) / len(b) + np.var(below, ddof=1) / len(a)
    distance = abs(np.mean(above) - 0.5)
    if variance < 1e-15:
        return np.inf if distance > 0 else 0.0
    return float(distance / np.sqrt(variance))
