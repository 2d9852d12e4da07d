"""The recipe is the protocol's; a setting that is none, or out of its range, is named."""

import math
from dataclasses import asdict, fields
from typing import Any

import pytest

from stability.models import FAMILIES
from stability.training.recipe import (
    ONLY_FOR,
    OPTIMIZERS,
    RANGES,
    RANGES_NANO,
    VARIABLE,
    Recipe,
    fault_of,
    nano,
)

PROTOCOL = {
    "batch_size": 64,
    "warmup": 0.1,
    "warmup_from": 0.1,
    "floor": 0.005,
    "label_smoothing": 0.1,
    "momentum": 0.9,
    "nesterov": True,
    "beta1": 0.9,
    "beta2": 0.999,
    "clip": None,
}
DRAWN = {"lr": 0.1, "weight_decay": 1e-4}


def test_defaults_are_the_protocols() -> None:
    assert asdict(Recipe(**DRAWN)) == PROTOCOL | DRAWN


def test_what_is_drawn_has_no_default() -> None:
    with pytest.raises(TypeError, match="'lr' and 'weight_decay'"):
        Recipe()  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("optimizer", "absent"), [("sgd", ("beta1", "beta2")), ("adamw", ("momentum", "nesterov"))]
)
def test_nano_leaves_out_the_other_optimizers_settings_and_what_is_off(
    optimizer: str, absent: tuple[str, ...]
) -> None:
    expected = {name: v for name, v in PROTOCOL.items() if name not in (*absent, "clip")}
    assert nano(optimizer) == expected
    assert Recipe.of(nano(optimizer) | DRAWN) == Recipe(**DRAWN)


def test_settings_of_one_optimizer_are_the_four() -> None:
    assert ONLY_FOR == {"momentum": "sgd", "nesterov": "sgd", "beta1": "adamw", "beta2": "adamw"}


def test_settings_replace_defaults() -> None:
    settings = {"momentum": 0.5, "batch_size": 32, "clip": 1.0, "nesterov": False}
    assert asdict(Recipe.of(DRAWN | settings)) == PROTOCOL | DRAWN | settings


def test_all_faults_are_named_at_once() -> None:
    settings = {
        "lr": -1.0,
        "weight_decay": math.nan,
        "batch_size": 0.5,
        "momentum": 1.0,
        "clip": 0,
        "warm_up": 0.1,
        "beta3": 0.9,
    }
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the whole text is compared
        Recipe.of(settings)
    assert str(error.value).split("; ") == [
        "'beta3' is no setting of a recipe",
        "'warm_up' is no setting of a recipe",
        "lr: got -1.0, allowed is a number above 0",
        "weight_decay: got nan, allowed is a number from 0",
        "batch_size: got 0.5, allowed is a whole number from 1",
        "momentum: got 1.0, allowed is a number from 0 and below 1",
        "clip: got 0, allowed is a number above 0",
    ]


# By setting: the ends that are allowed, and values just outside.
JUST_BELOW_0, JUST_ABOVE_0, JUST_BELOW_1 = -5e-324, 5e-324, math.nextafter(1, 0)
SHARE = ([0, 0.0, 0.5, 1, 1.0], [JUST_BELOW_0, math.nextafter(1, 2), -1])
MEMORY = ([0, 0.9, JUST_BELOW_1], [JUST_BELOW_0, 1, 1.0, 2])
POSITIVE = ([JUST_ABOVE_0, 1, 1e300], [0, 0.0, -0.0, JUST_BELOW_0, -1])
LIMITS: dict[str, tuple[list[Any], list[Any]]] = {
    "lr": POSITIVE,
    "weight_decay": ([0, 0.0, JUST_ABOVE_0, 1e300], [JUST_BELOW_0, -1]),
    "batch_size": ([1, 2, 10**6], [0, -1, 1.5]),
    "warmup": SHARE,
    "warmup_from": SHARE,
    "floor": SHARE,
    "label_smoothing": MEMORY,
    "momentum": MEMORY,
    "beta1": MEMORY,
    "beta2": MEMORY,
    "clip": POSITIVE,
}


@pytest.mark.parametrize("name", LIMITS)
def test_range_is_exactly_the_stated_one(name: str) -> None:
    inside, outside = LIMITS[name]
    assert [value for value in inside if fault_of(name, value)] == []
    never = [math.nan, math.inf, -math.inf, "0.5", "", True, [0.5]]
    for value in [*outside, *never]:
        fault = fault_of(name, value)
        assert fault is not None, value
        assert fault.startswith(f"{name}: got {value!r}, allowed is a ")


def test_every_number_of_a_recipe_has_a_range() -> None:
    assert set(RANGES) == set(LIMITS) == {f.name for f in fields(Recipe)} - {"nesterov"}


def test_clip_may_be_off() -> None:
    assert fault_of("clip", None) is None
    assert fault_of("momentum", None) is not None


def test_a_study_may_vary_six_settings() -> None:
    expected = {"batch_size", "momentum", "beta2", "warmup", "label_smoothing", "clip"}
    assert set(VARIABLE) == expected


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("family", sorted(set(FAMILIES.values())))
def test_every_family_has_ranges_for_every_optimizer(family: str, optimizer: str) -> None:
    """Log-uniform ones: above zero, one and a half decades wide as the paper's, rounded."""
    ranges = RANGES_NANO[family, optimizer]
    assert set(ranges) == {"lr", "weight_decay"}
    for name, (low, high) in ranges.items():
        assert fault_of(name, low) is fault_of(name, high) is None
        assert 25 <= high / low <= 41
