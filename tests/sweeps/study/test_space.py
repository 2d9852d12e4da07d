"""The laws of the search space."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from sweeps.study.space import Hyperparameter, round_significant

UNIT = st.floats(0, 1)


@given(UNIT)
def test_log_uniform_is_a_straight_line_on_the_log_scale(u: float) -> None:
    lr = Hyperparameter(name="lr", low=1e-4, high=1e-1)
    assert math.log10(lr.at(u)) == pytest.approx(-4 + 3 * u, abs=1e-5)


@given(UNIT)
def test_linear_is_a_straight_line(u: float) -> None:
    warmup = Hyperparameter(name="warmup", low=0.0, high=0.5, scale="linear")
    assert warmup.at(u) == pytest.approx(0.5 * u, abs=1e-6)


@given(UNIT)
def test_values_stay_within_their_range_whatever_the_rounding(u: float) -> None:
    low, high = 0.00123456789, 0.00123456999
    value = Hyperparameter(name="lr", low=low, high=high).at(u)
    assert round_significant(low) <= value <= round_significant(high)


def test_whole_numbers_have_equal_shares_at_both_ends() -> None:
    h = Hyperparameter(name="batch_size", low=1, high=4, scale="linear", integer=True)
    values = [h.at((i + 0.5) / 4000) for i in range(4000)]
    assert [values.count(k) for k in (1, 2, 3, 4)] == [1000] * 4
    assert all(isinstance(value, int) for value in values)
    assert h.at(1.0) == 4


def test_choices_have_equal_shares_and_the_last_includes_one() -> None:
    h = Hyperparameter(name="batch_size", choices=(32, 64, 128))
    values = [h.at((i + 0.5) / 3000) for i in range(3000)]
    assert [values.count(k) for k in (32, 64, 128)] == [1000] * 3
    assert h.at(1.0) == 128


def test_six_significant_digits() -> None:
    """The last bits, in which processors differ, are gone before anything is hashed."""
    assert round_significant(math.nextafter(0.0123456, 1)) == 0.0123456
    assert round_significant(123456789.0) == 123457000.0


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"low": 1.0, "high": 0.1}, "low 1.0 is not below high 0.1"),
        ({"low": 0.0, "high": 1.0}, "log scale needs low above 0"),
        ({"low": 0.1}, "not below"),
        ({"low": 0.1, "high": math.inf}, "not below"),
        ({"low": math.nan, "high": 1.0}, "not below"),
        ({"low": 0.1, "high": 1.0, "choices": (1,)}, "either choices or an interval"),
        ({"low": 0.1, "high": 1.0, "colour": "red"}, "Extra inputs"),
    ],
)
def test_what_is_no_law_is_refused(fields: dict[str, object], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        Hyperparameter(name="lr", **fields)  # type: ignore[arg-type]


def test_a_law_applies_to_those_it_names() -> None:
    h = Hyperparameter(name="lr", low=0.1, high=1.0, optims=("sgd",), models=("a",))
    assert h.applies_to("a", "sgd")
    assert not h.applies_to("b", "sgd")
    assert not h.applies_to("a", "adamw")
    assert Hyperparameter(name="lr", low=0.1, high=1.0).applies_to("any", "any")
