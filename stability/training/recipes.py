"""Recipes by name: their values, the ranges of lr and weight decay, and where each is from.

[1] is "Early Convolutions Help Transformers See Better" (Xiao et al., NeurIPS 2021,
arXiv 2106.14881); [2] is pycls, its authors' code, with their configurations.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from stability.models.names import (
    has_batchnorm,
    has_conv_stem,
    has_squeeze_excitation,
    is_external,
)
from stability.training.settings import (
    BY_MODEL,
    LATER_SETTINGS,
    ONLY_FOR,
    RECIPE_DEFAULTS,
    REVISION,
    RIVALS,
    SETTING_RANGES,
    is_off,
)

IMAGENET = 1_281_167
"""Training images of ImageNet-1k, for which the paper's rate of the averaged weights is."""
FEWEST_EMA_STEPS = 32
"""Where an epoch has fewer steps than this, the averaged weights are updated at each."""

Bounds = tuple[float, float]
SearchRanges = dict[tuple[str, str], dict[str, Bounds]]
"""Family and optimizer to the intervals of lr and weight decay, both log-uniform."""


@dataclass(frozen=True, kw_only=True)
class NamedRecipe:
    """A recipe with a name."""

    summary: str
    default_for: str
    """Which data have it unless another is named (`data.suitable_size`)."""
    settings: dict[str, Any]
    """What differs from the defaults of `Recipe`."""
    ranges: SearchRanges
    ranges_from: str
    lr_batch: int | None
    """Batch size that the ranges of lr are for; they are scaled linearly to the one in use. None:
    they stay as they are."""
    sources: dict[str, str]
    """By setting, where it is not the paper's."""


# Family x optimizer. As in the paper's Table 4 P and C share the family's, from 1/8 to 4 times a
# good value. How each was found: docs/ranges.md.
RANGES_NANO: SearchRanges = {
    ("vit", "adamw"): {"lr": (2.5e-4, 8e-3), "weight_decay": (0.02, 0.8)},
    ("vit", "sgd"): {"lr": (0.0125, 0.4), "weight_decay": (4e-5, 1.2e-3)},
    ("regnety", "adamw"): {"lr": (1.25e-3, 0.04), "weight_decay": (0.0125, 0.4)},
    ("regnety", "sgd"): {"lr": (0.01, 0.32), "weight_decay": (2e-5, 6.4e-4)},
}
RANGES_PAPER: SearchRanges = {
    ("vit", "adamw"): {"lr": (2.5e-4, 8e-3), "weight_decay": (0.02, 0.8)},
    ("vit", "sgd"): {"lr": (0.1, 3.2), "weight_decay": (4e-6, 1.2e-4)},
    ("regnety", "adamw"): {"lr": (1.25e-3, 0.04), "weight_decay": (0.0075, 0.24)},
    ("regnety", "sgd"): {"lr": (0.25, 8.0), "weight_decay": (3e-6, 8e-5)},
}
# Not tuned: docs/recipe.md says how each follows from the paper's and pycls'.
RANGES_MICRO: SearchRanges = {
    ("vit", "adamw"): {"lr": (6.25e-5, 2e-3), "weight_decay": (0.02, 0.8)},
    ("vit", "sgd"): {"lr": (0.0125, 0.4), "weight_decay": (4e-5, 1.2e-3)},
    ("regnety", "adamw"): {"lr": (3.125e-4, 0.01), "weight_decay": (0.0075, 0.24)},
    ("regnety", "sgd"): {"lr": (0.03125, 0.625), "weight_decay": (5e-5, 1e-3)},
}

CURRENT: dict[str, Any] = {"stem_init": "release", "revision": REVISION}
"""What new studies have of the settings that are stored by model, in all recipes."""

SMALL = "of this project, for small images"
RECIPES: dict[str, NamedRecipe] = {
    "nano": NamedRecipe(
        summary="no augmentation, the weights themselves are judged",
        default_for="all other data",
        settings={},
        ranges=RANGES_NANO,
        ranges_from="docs/ranges.md",
        lr_batch=None,
        sources={
            "batch_size": SMALL,
            "warmup": "[1] section 6: 5 epochs of 50, as a share of all steps",
            "lr_per": f"{SMALL}: few epochs",
        },
    ),
    "micro": NamedRecipe(
        summary="mirrored images and padded crops",
        default_for="colour images below 128 pixels, 10,000 or more to train on",
        settings={"batch_size": 128, "flip": 0.5, "crop_padding": 4},
        ranges=RANGES_MICRO,
        ranges_from="a starting choice, not yet tuned (docs/recipe.md)",
        lr_batch=128,
        sources={
            "batch_size": "He et al. 2016 (arXiv 1512.03385) section 4.2",
            "warmup": "[1] section 6: 5 epochs of 50, as a share of all steps",
            "lr_per": f"{SMALL}: few epochs",
            "flip": "He et al. 2016 (arXiv 1512.03385) section 4.2",
            "crop_padding": "He et al. 2016 (arXiv 1512.03385) section 4.2; mean colour as in [2]",
        },
    ),
    "paper": NamedRecipe(
        summary="the reference study's own",
        default_for="images of 128 pixels or more, 100,000 or more to train on",
        settings={
            "batch_size": 2048,
            "warmup_epochs": 5.0,
            "lr_per": "epoch",
            "ema": 1e-5,
            "mixup": 0.8,
            "cutmix": 1.0,
            "crop_area": 0.08,
            "flip": 0.5,
            "autoaugment": True,
            "precise_bn": 8192,
        },
        ranges=RANGES_PAPER,
        ranges_from="arXiv 2106.14881, Table 4",
        lr_batch=2048,
        sources={"lr_per": "[2] optimizer.py: once an epoch"},
    ),
}
MANY_LARGE_IMAGES = 100_000
"""From here on large images have the paper's recipe: with fewer, batches of 2048 leave an epoch
hardly a step."""

SOURCES: dict[str, str] = {
    "batch_size": "[1] section 6",
    "warmup": "[1] section 6: 5 epochs of 50",
    "warmup_epochs": "[1] section 6",
    "warmup_from": "[2] WARMUP_FACTOR",
    "floor": "[2] MIN_LR in the authors' configurations",
    "label_smoothing": "[1] section 6",
    "momentum": "[1] section 6",
    "nesterov": "[2] its default, not changed by the authors",
    "beta1": "[1] section 6",
    "beta2": "[1] section 6",
    "clip": "[2] none",
    "lr_per": "[2] optimizer.py",
    "ema": "[1] section 6 (weights averaged); rate and formula: [2] trainer.py",
    "ema_period": "[2] EMA_UPDATE_PERIOD",
    "mixup": "[1] section 6; Zhang et al. 2018 (arXiv 1710.09412)",
    "cutmix": "[1] section 6; Yun et al. 2019 (arXiv 1905.04899)",
    "crop_area": "[2] transforms.py; Szegedy et al. 2015 (arXiv 1409.4842)",
    "crop_padding": "He et al. 2016 (arXiv 1512.03385) section 4.2",
    "flip": "[2] transforms.py",
    "autoaugment": "[1] section 6; Cubuk et al. 2019 (arXiv 1805.09501), policy of [2]",
    "precise_bn": "[2] NUM_SAMPLES_PRECISE",
    "stem_init": "[2] vit.py of July and August 2021 (release), since September (main)",
    "revision": "2 follows [2] in details, 1 is what this program did before: docs/recipe.md",
}


def default_recipe(size: str, images: int) -> str:
    """Name of the recipe for data that suit models of this size (`data.suitable_size`).

    >>> default_recipe("nano", 1097), default_recipe("micro", 45_000), default_recipe("4gf", 84)
    ('nano', 'micro', 'nano')
    """
    if size == "micro":
        return "micro"
    return "paper" if size != "nano" and images >= MANY_LARGE_IMAGES else "nano"


def setting_source(recipe: str, setting: str) -> str:
    """Where the value of a setting in a recipe is from.

    >>> setting_source("paper", "warmup"), setting_source("nano", "mixup")
    ('warmup_epochs in its place', 'not used')
    """
    named = RECIPES[recipe]
    if setting == "warmup" and "warmup_epochs" in named.settings:
        return "warmup_epochs in its place"
    used = {*named.sources, *named.settings, *({"ema_period"} if "ema" in named.settings else ())}
    if setting in LATER_SETTINGS and setting not in (*used, *BY_MODEL):
        return "not used"
    return named.sources.get(setting, SOURCES[setting])


def settings_of(
    recipe: str,
    optimizer: str,
    own: Mapping[str, Any] | None = None,
    *,
    drawn: Collection[str] = (),
    images: int | None = None,
) -> dict[str, Any]:
    """The settings of a recipe for one optimizer, with what is given in place of its own.

    Args:
        recipe: name.
        optimizer: whose settings; those of the other are left out.
        own: settings that are given; one of two rivals removes the other.
        drawn: names of settings that vary, and are left out.
        images: to train on. The paper's rate of the averaged weights makes of ImageNet's steps
            about 13 time constants, whatever batch and schedule; scaled to `images`, it does so of
            theirs (pycls' own for CIFAR-10 is 2.5e-4: 1e-5 times 1,281,167 / 50,000).

    Returns:
        Settings as a study keeps them. What is off, and what has the value that it had before it
        was a setting, is left out, so that a study is the same however that was said. Those of
        `BY_MODEL` are left out too: `model_settings` has them.

    >>> settings_of("nano", "sgd")["momentum"], "beta2" in settings_of("nano", "sgd")
    (0.9, False)
    """
    own, base = dict(own or {}), {**RECIPE_DEFAULTS, **RECIPES[recipe].settings}
    if images is not None and base["ema"] is not None:
        base["ema"] = rounded(base["ema"] * IMAGENET / images)
        batch = own.get("batch_size", base["batch_size"])
        if "batch_size" in drawn or images // batch < FEWEST_EMA_STEPS:
            base["ema_period"] = 1
    chosen = {*drawn, *(name for name in own if not is_off(name, own))}
    for taken, rival in (*RIVALS, *(pair[::-1] for pair in RIVALS)):
        if taken in chosen and rival not in chosen:
            del base[rival]
    if base.get("warmup_epochs") is not None and own.get("warmup_epochs", 0) is not None:
        base.pop("warmup", None)
    mine = {n: v for n, v in own.items() if ONLY_FOR.get(n, optimizer) == optimizer}
    return {
        name: _one_kind(name, value)
        for name, value in {**base, **mine}.items()
        if name not in (*drawn, *BY_MODEL)
        and not is_off(name, {name: value})
        and ONLY_FOR.get(name, optimizer) == optimizer
    }


def model_settings(model: str, own: Mapping[str, Any], used: Collection[str]) -> dict[str, Any]:
    """The settings that a study stores for one model, beside those of its recipe.

    Each is left out where it has its old value and where it makes no difference to the model, so
    that a trial that a change does not concern keeps its id.

    Args:
        model: full name.
        own: settings that are given, in place of `CURRENT`.
        used: names of the settings that are on or drawn.

    >>> model_settings("vitc-nano", {}, ["lr"]), model_settings("vitp-nano", {}, ["lr"])
    ({'stem_init': 'release'}, {})
    >>> model_settings("vitp-nano", {}, ["cutmix"])
    {'revision': 2}
    """
    applies = {"stem_init": has_conv_stem(model), "revision": is_revised(model, used)}
    wanted = {**CURRENT, **{name: own[name] for name in BY_MODEL if name in own}}
    return {
        name: value
        for name, value in wanted.items()
        if applies[name] and name not in used and value != LATER_SETTINGS[name]
    }


def is_revised(model: str, used: Collection[str]) -> bool:
    """Whether trials of the model differ between revisions 1 and 2 (docs/recipe.md).

    `used`: names of the settings that are on or drawn.
    """
    return (
        is_external(model)  # which parameters are decayed
        or has_squeeze_excitation(model)  # its biases
        or not {"cutmix", "crop_area", "crop_padding"}.isdisjoint(used)
        or ("precise_bn" in used and has_batchnorm(model))
    )


def _one_kind(name: str, value: Any) -> Any:
    """5 and 5.0 are one setting, and must be one trial."""
    is_whole_number = isinstance(value, int) and not isinstance(value, bool)
    fraction = (
        name in LATER_SETTINGS and name in SETTING_RANGES and not SETTING_RANGES[name].integer
    )
    return float(value) if is_whole_number and fraction else value


def ranges_of(recipe: str, family: str, optimizer: str, batch: int | None) -> dict[str, Bounds]:
    """Intervals of lr and weight decay at a batch size; none for a family without.

    `batch` is None where it varies: then lr has none, if the recipe's depends on it.

    >>> ranges_of("paper", "vit", "sgd", 256)
    {'lr': (0.0125, 0.4), 'weight_decay': (4e-06, 0.00012)}
    """
    named = RECIPES[recipe]
    found = dict(named.ranges.get((family, optimizer), {}))
    if named.lr_batch is None or not found:
        return found
    lr = found.pop("lr")
    if batch is None:
        return found
    factor = batch / named.lr_batch
    return {"lr": (rounded(lr[0] * factor), rounded(lr[1] * factor)), **found}


def rounded(value: float) -> float:
    """To 6 significant digits, as drawn values are."""
    return float(f"{value:.6g}")
