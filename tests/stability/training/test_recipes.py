"""Recipes by name: the paper's numbers, nano as it always was, and what replaces what."""

import pytest

from stability.models import FAMILIES
from stability.training.recipes import (
    RECIPES,
    SOURCES,
    default_recipe,
    ranges_of,
    setting_source,
    settings_of,
)
from stability.training.settings import LATER_SETTINGS, OPTIMIZERS, Recipe

DRAWN = {"lr": 0.1, "weight_decay": 1e-4}
NANO = {
    "batch_size": 64,
    "warmup": 0.1,
    "warmup_from": 0.1,
    "floor": 0.005,
    "label_smoothing": 0.1,
}
OWN = {
    "sgd": {"momentum": 0.9, "nesterov": True},
    "adamw": {"beta1": 0.9, "beta2": 0.999},
}
PAPER = {
    "batch_size": 2048,
    "warmup_epochs": 5,
    "warmup_from": 0.1,
    "floor": 0.005,
    "label_smoothing": 0.1,
    "lr_per": "epoch",
    "ema": 1e-5,
    "mixup": 0.8,
    "cutmix": 1.0,
    "crop_area": 0.08,
    "flip": 0.5,
    "autoaugment": True,
    "precise_bn": 8192,
}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_settings_are_the_recipes_without_the_other_optimizers_and_what_is_off(
    optimizer: str,
) -> None:
    own = OWN[optimizer]
    assert settings_of("nano", optimizer) == NANO | own
    assert settings_of("paper", optimizer) == PAPER | own
    micro = {"batch_size": 128, "flip": 0.5, "crop_padding": 4}
    assert settings_of("micro", optimizer) == NANO | own | micro
    assert Recipe.of(settings_of("nano", optimizer) | DRAWN) == Recipe(**DRAWN)


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_setting_of_a_recipe_is_allowed_and_has_a_source(recipe: str) -> None:
    for optimizer in OPTIMIZERS:
        Recipe.of(settings_of(recipe, optimizer) | DRAWN)
    assert all(setting_source(recipe, name) for name in SOURCES)
    used = [name for name in LATER_SETTINGS if setting_source(recipe, name) != "not used"]
    assert set(used) >= set(RECIPES[recipe].settings) & set(LATER_SETTINGS)


def test_a_study_is_the_same_however_its_settings_were_said() -> None:
    assert settings_of("nano", "sgd", {"flip": 0, "mixup": None, "ema_period": 32}) == (
        settings_of("nano", "sgd")
    )
    off = dict.fromkeys(("ema", "mixup", "cutmix", "crop_area", "precise_bn"))
    plain = {"flip": 0.0, "autoaugment": False, "lr_per": "step", "warmup": 0.1, "batch_size": 64}
    assert settings_of("paper", "sgd", off | plain) == settings_of("nano", "sgd")


def test_five_and_five_point_nothing_are_one_trial() -> None:
    whole = settings_of("paper", "sgd", {"warmup_epochs": 5, "mixup": 1, "precise_bn": 64})
    assert [str(whole[name]) for name in ("warmup_epochs", "mixup", "precise_bn")] == [
        "5.0",
        "1.0",
        "64",
    ]
    assert str(settings_of("paper", "sgd")["warmup_epochs"]) == "5.0"


def test_of_two_that_say_the_same_the_one_that_is_given_stays() -> None:
    given = settings_of("paper", "sgd", {"warmup": 0.2, "crop_padding": 4})
    assert given == {
        name: value
        for name, value in (PAPER | OWN["sgd"] | {"warmup": 0.2, "crop_padding": 4}).items()
        if name not in ("warmup_epochs", "crop_area")
    }
    assert "warmup_epochs" not in settings_of("paper", "sgd", drawn=["warmup"])
    assert "warmup" not in settings_of("nano", "sgd", {"warmup_epochs": 2})
    assert settings_of("paper", "sgd", {"warmup_epochs": None})["warmup"] == 0.1


def test_what_is_drawn_is_no_constant() -> None:
    assert "mixup" not in settings_of("paper", "sgd", {"mixup": 0.5}, drawn=["mixup"])
    assert "momentum" not in settings_of("nano", "sgd", drawn=["momentum"])


@pytest.mark.parametrize(
    ("images", "batch", "rate", "period"),
    [(1_281_167, 2048, 1e-5, 32), (50_000, 1024, 2.56233e-4, 32), (1097, 128, 0.0116788, 1)],
)
def test_the_rate_of_the_averaged_weights_is_scaled_to_the_images(
    images: int, batch: int, rate: float, period: int
) -> None:
    """1e-5 is for ImageNet. pycls has 2.5e-4 for the 50,000 images of CIFAR-10."""
    found = settings_of("paper", "sgd", {"batch_size": batch}, images=images)
    assert found["ema"] == rate
    assert found.get("ema_period", 32) == period
    assert settings_of("paper", "sgd", {"ema": 0.5}, images=images)["ema"] == 0.5


def test_it_averages_over_the_same_share_of_any_training() -> None:
    """Updates times rate: about 13 time constants, whatever data, batch and schedule."""
    for images, batch, epochs in ((1_281_167, 2048, 50), (1_281_167, 512, 400), (1097, 64, 20)):
        recipe = Recipe.of(
            settings_of("paper", "sgd", {"batch_size": batch}, images=images) | DRAWN
        )
        updates = images / batch * epochs / recipe.ema_period
        constants = updates * recipe.ema * batch / epochs * recipe.ema_period
        assert constants == pytest.approx(12.81167, rel=1e-3)


TABLE_4 = {
    ("vit", "adamw"): ((2.5e-4, 8e-3), (0.02, 0.8)),
    ("vit", "sgd"): ((0.1, 3.2), (4e-6, 1.2e-4)),
    ("regnety", "adamw"): ((1.25e-3, 4e-2), (0.0075, 0.24)),
    ("regnety", "sgd"): ((0.25, 8.0), (3e-6, 8e-5)),
}


@pytest.mark.parametrize(("family", "optimizer"), TABLE_4)
def test_the_papers_ranges_are_its_table_4_scaled_to_the_batch(family: str, optimizer: str) -> None:
    lr, weight_decay = TABLE_4[family, optimizer]
    for batch in (2048, 512, 128):
        found = ranges_of("paper", family, optimizer, batch)
        assert found["lr"] == pytest.approx([end * batch / 2048 for end in lr])
        assert found["weight_decay"] == weight_decay
    assert "lr" not in ranges_of("paper", family, optimizer, None)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("family", sorted(set(FAMILIES.values())))
def test_every_family_has_ranges_for_every_optimizer(family: str, optimizer: str) -> None:
    """Log-uniform ones: above zero, one and a half decades wide as the paper's, rounded."""
    for recipe, named in RECIPES.items():
        ranges = ranges_of(recipe, family, optimizer, named.lr_batch or 64)
        assert list(ranges) == ["lr", "weight_decay"]
        for low, high in ranges.values():
            assert low > 0
            assert 20 <= high / low <= 41
    assert ranges_of("nano", family, optimizer, 64) == ranges_of("nano", family, optimizer, 512)


def test_a_family_from_elsewhere_has_no_ranges() -> None:
    assert ranges_of("paper", "own", "sgd", 256) == {}


@pytest.mark.parametrize(
    ("size", "images", "recipe"),
    [
        ("nano", 1_000_000, "nano"),
        ("micro", 10_000, "micro"),
        ("4gf", 99_999, "nano"),
        ("4gf", 100_000, "paper"),
        ("1gf", 1_281_167, "paper"),
    ],
)
def test_data_decide_the_recipe(size: str, images: int, recipe: str) -> None:
    assert default_recipe(size, images) == recipe
