"""Median and quartiles as tables report them: the usual ones, and how they lie in intervals."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis import Sample, quantile_interval, sample_quantile, summarise


def sample(*errors: float, chance: float | None = None) -> Sample:
    return Sample(label="a", errors=np.array(errors), chance=chance)


@given(st.lists(st.floats(0, 100), min_size=1, max_size=40), st.floats(0, 1))
@settings(max_examples=200, deadline=None)
def test_quantiles_of_a_sample_are_those_of_numpy(errors: list[float], p: float) -> None:
    found = sample_quantile(sample(*errors, chance=100.0), p)
    assert found == pytest.approx(np.quantile(errors, p), rel=1e-9, abs=1e-6)


def test_an_infinite_error_makes_a_quantile_infinite_where_it_takes_part() -> None:
    errors = sample(1.0, 2.0, math.inf, math.inf, chance=None)
    assert [sample_quantile(errors, p) for p in (0.0, 1 / 3, 0.34, 0.5, 1.0)] == [
        *(1.0, 2.0, math.inf, math.inf, math.inf)
    ]
    failed = Sample(label="", errors=np.array([10.0, 20.0]), unknown=2, chance=90.0)
    assert sample_quantile(failed, 0.5) == (20.0 + 90.0) / 2
    many = sample(*range(8), *[math.inf] * 93)
    assert 100 * 0.07 > 7
    assert sample_quantile(many, 0.07) == 7.0  # the eighth, to rounding
    assert math.isnan(sample_quantile(sample(), 0.5))
    with pytest.raises(ValueError, match=r"p: got 1\.5, allowed: 0 to 1"):
        sample_quantile(many, 1.5)


@pytest.mark.parametrize("confidence", [0.5, 0.8, 0.95, 0.975])
def test_quantiles_of_a_sample_lie_in_their_intervals(confidence: float) -> None:
    for n in (*range(1, 33), 64, 100):
        errors = Sample(label="", errors=np.arange(n, dtype=float))
        for p in (0.25, 0.5, 0.75):
            inverse, low, high = quantile_interval(errors, p, confidence)
            assert low <= sample_quantile(errors, p) <= high
            assert abs(sample_quantile(errors, p) - inverse) <= 1  # one order statistic


def test_the_median_of_an_even_number_is_the_mean_of_the_middle_two() -> None:
    table = pd.DataFrame({"model": "a", "error": [5.0, 9.0, 10.0, None], "chance": 90.0})
    assert summarise(table)["median"].tolist() == [9.5]
    without = table.drop(columns="chance").assign(error=[5.0, 9.0, None, None])
    assert summarise(without)["median"].tolist() == [math.inf]
