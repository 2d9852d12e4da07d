"""The recipe is the protocol's; a setting that is none, or out of its range, is named."""

import math
from dataclasses import asdict, fields
from typing import Any

import pytest

from stability.training.settings import (
    BOOLEAN_SETTINGS,
    LATER_SETTINGS,
    ONLY_FOR,
    OPTIONAL_SETTINGS,
    RECIPE_DEFAULTS,
    REVISION,
    SETTING_RANGES,
    SETTING_WORDS,
    VARIABLE_SETTINGS,
    Recipe,
    allowed_values,
    is_off,
    rival_faults,
    setting_fault,
)
from sweeps.study.objectives import facts_of

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
    "lr_per": "step",
    "warmup_epochs": None,
    "ema": None,
    "ema_period": 32,
    "mixup": None,
    "cutmix": None,
    "crop_area": None,
    "crop_padding": 0,
    "flip": 0.0,
    "autoaugment": False,
    "precise_bn": None,
    "stem_init": "main",
    "revision": 1,
}
DRAWN = {"lr": 0.1, "weight_decay": 1e-4}


def test_defaults_are_the_protocols() -> None:
    assert asdict(Recipe(**DRAWN)) == PROTOCOL | DRAWN


def test_what_is_drawn_has_no_default() -> None:
    with pytest.raises(TypeError, match="'lr' and 'weight_decay'"):
        Recipe()  # type: ignore[call-arg]


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
    "warmup_epochs": ([0, 0.5, 5, 1e300], [JUST_BELOW_0, -1]),
    "ema": ([JUST_ABOVE_0, 1e-5, 1, 1.0], [0, 0.0, -1, math.nextafter(1, 2)]),
    "ema_period": ([1, 32], [0, -1, 1.5]),
    "mixup": POSITIVE,
    "cutmix": POSITIVE,
    "crop_area": ([JUST_ABOVE_0, 0.08, 1], [0, -0.1, math.nextafter(1, 2)]),
    "crop_padding": ([0, 4], [-1, 1.5]),
    "flip": SHARE,
    "precise_bn": ([1, 8192], [0, 0.5, -1]),
    "revision": ([1, REVISION], [0, REVISION + 1, 1.5]),
}


@pytest.mark.parametrize("name", LIMITS)
def test_range_is_exactly_the_stated_one(name: str) -> None:
    inside, outside = LIMITS[name]
    assert [value for value in inside if setting_fault(name, value)] == []
    never = [math.nan, math.inf, -math.inf, "0.5", "", True, [0.5]]
    for value in [*outside, *never]:
        fault = setting_fault(name, value)
        assert fault is not None, value
        assert fault.startswith(f"{name}: got {value!r}, allowed is a ")


def test_every_setting_has_its_allowed_values() -> None:
    names = {f.name for f in fields(Recipe)}
    assert set(SETTING_RANGES) == set(LIMITS)
    assert set(SETTING_RANGES) | set(BOOLEAN_SETTINGS) | set(SETTING_WORDS) == names
    assert all(allowed_values(name) for name in names)


@pytest.mark.parametrize("name", BOOLEAN_SETTINGS)
def test_a_switch_is_true_or_false(name: str) -> None:
    assert [setting_fault(name, value) for value in (True, False)] == [None, None]
    for value in (1, 0, "true", None, math.nan):
        assert setting_fault(name, value) == f"{name}: got {value!r}, allowed is true or false"


def test_a_word_is_one_of_its_words() -> None:
    assert [setting_fault("lr_per", word) for word in ("step", "epoch")] == [None, None]
    for value in ("steps", "", 1, None):
        assert setting_fault("lr_per", value) == f"lr_per: got {value!r}, allowed is step or epoch"


def test_what_may_be_off() -> None:
    expected = ("clip", "warmup_epochs", "ema", "mixup", "cutmix", "crop_area", "precise_bn")
    assert expected == OPTIONAL_SETTINGS
    assert [setting_fault(name, None) for name in OPTIONAL_SETTINGS] == [None] * 7
    assert all(
        setting_fault(name, None) for name in SETTING_RANGES if name not in OPTIONAL_SETTINGS
    )


def test_a_study_may_vary_six_settings() -> None:
    expected = {"batch_size", "momentum", "beta2", "warmup", "label_smoothing", "clip"}
    assert set(VARIABLE_SETTINGS) == expected


@pytest.mark.parametrize("name", LATER_SETTINGS)
def test_a_later_setting_at_its_default_does_nothing(name: str) -> None:
    assert is_off(name, {name: RECIPE_DEFAULTS[name]})
    assert Recipe.of(DRAWN | {name: RECIPE_DEFAULTS[name]}) == Recipe(**DRAWN)


def test_of_two_that_say_the_same_one_is_given() -> None:
    both = {"warmup": 0.1, "warmup_epochs": 5, "crop_area": 0.5, "crop_padding": 4}
    faults = [
        "warmup and warmup_epochs: allowed is one of the two",
        "crop_area and crop_padding: allowed is one of the two",
    ]
    assert rival_faults(both) == faults
    with pytest.raises(ValueError, match="; ".join(faults)):
        Recipe.of(DRAWN | both)
    assert rival_faults({"warmup": 0.1, "warmup_epochs": None, "crop_area": 0.5}) == []
    assert rival_faults({"crop_area": 0.5, "crop_padding": 0}) == []


def test_identity_knows_the_later_settings_and_their_values() -> None:
    """Trials from before a setting existed had its default: it must be left out of the hash.

    These values may never change, whatever the defaults of new trials become.
    """
    assert facts_of("stability.objective:train_images").old_defaults == {
        "lr_per": "step",
        "warmup_epochs": None,
        "ema": None,
        "ema_period": 32,
        "mixup": None,
        "cutmix": None,
        "crop_area": None,
        "crop_padding": 0,
        "flip": 0.0,
        "autoaugment": False,
        "precise_bn": None,
        "stem_init": "main",
        "revision": 1,
    }
