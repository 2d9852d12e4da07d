"""The recipe of a study: by name, with single settings replaced."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from stability.cli.study.options import StudyOptions
from stability.cli.study.parsing import FaultList, not_one_of, parse_number
from stability.data import ImageData, suitable_size
from stability.training.recipes import (
    IMAGENET,
    RECIPES,
    Bounds,
    default_recipe,
    model_settings,
    ranges_of,
    settings_of,
)
from stability.training.settings import (
    BOOLEAN_SETTINGS,
    OPTIONAL_SETTINGS,
    RECIPE_DEFAULTS,
    SETTING_RANGES,
    SETTING_WORDS,
    allowed_values,
    rival_faults,
    setting_fault,
)

SETTABLE = ("lr", "weight_decay", *RECIPE_DEFAULTS)
OFF = "off"


@dataclass(frozen=True)
class ChosenRecipe:
    """A named recipe, with the settings that the study replaces or draws."""

    name: str
    """Empty where there is no such recipe; that fault is reported."""
    own: dict[str, Any]
    """Settings that replace those of the recipe."""
    drawn: Mapping[str, tuple[str, ...]]
    """Settings that are drawn, with their optimizers; empty for all optimizers."""
    images: int
    """Number of training images."""

    def constants(self, optim: str) -> dict[str, Any]:
        """Settings of one optimizer that are not drawn."""
        if not self.name:
            return {}
        drawn = [name for name, optims in self.drawn.items() if optim in (optims or (optim,))]
        return settings_of(self.name, optim, self.own, drawn=drawn, images=self.images)

    def by_model(self, models: Iterable[str], optims: Iterable[str]) -> dict[str, dict[str, Any]]:
        """Settings of single models; models without any are left out."""
        if not self.name:
            return {}
        used = {*self.drawn, *(name for optim in optims for name in self.constants(optim))}
        found = {model: model_settings(model, self.own, used) for model in models}
        return {model: settings for model, settings in found.items() if settings}

    def ranges(self, family: str, optim: str) -> dict[str, Bounds]:
        """Intervals of lr and weight decay; none of lr where it depends on a varying batch size."""
        if not self.name:
            return {}
        batch = None if "batch_size" in self.drawn else self.constants(optim)["batch_size"]
        return ranges_of(self.name, family, optim, batch)

    def origin(self, *, lr_is_ours: bool) -> str:
        """Recipe and scaled settings, as the study stores them; empty for nano."""
        if self.name in ("", "nano"):
            return ""
        named, parts = RECIPES[self.name], [f"recipe {self.name}"]
        if lr_is_ours and named.lr_batch and "batch_size" not in self.drawn:
            batch = self.constants("sgd")["batch_size"]
            scaled = "" if batch == named.lr_batch else f", times {batch}/{named.lr_batch}"
            parts.append(f"lr: {named.ranges_from}, for batch {named.lr_batch}{scaled}")
        if named.settings.get("ema") and "ema" not in self.own and "ema" not in self.drawn:
            rate = f"{named.settings['ema']:g} times {IMAGENET}/{self.images}"
            parts.append(f"ema: {rate} (training images)")
        return "; ".join(parts)


def chosen_recipe(
    faults: FaultList,
    options: StudyOptions,
    data: ImageData | None,
    drawn: Mapping[str, tuple[str, ...]],
) -> ChosenRecipe:
    """The recipe of the options; by default the one that suits the data."""
    name = options.recipe
    if name is None:
        name = default_recipe(suitable_size(data), len(data.train)) if data else "nano"
    own = {
        n: None if v == OFF and n in OPTIONAL_SETTINGS else v for n, v in options.settings.items()
    }
    for setting, value in own.items():
        if faults.one_of("recipe", setting, SETTABLE) and (fault := setting_fault(setting, value)):
            faults.add("recipe", fault)
    for setting, value in _typed(faults, options, drawn).items():
        own[setting] = value
    for fault in rival_faults({**own, **dict.fromkeys(drawn, True)}):
        faults.add("recipe", fault)
    found = faults.one_of("--recipe", name, RECIPES)
    return ChosenRecipe(found or "", own, drawn, len(data.train) if data else 1)


def _typed(
    faults: FaultList, options: StudyOptions, drawn: Mapping[str, tuple[str, ...]]
) -> dict[str, Any]:
    """The settings of `--set NAME=VALUE`."""
    found: dict[str, Any] = {}
    for text in options.set:
        option = f"--set {text}"
        name, equals, word = text.partition("=")
        if not equals:
            faults.add(option, "allowed is NAME=VALUE")
        elif name not in SETTABLE:
            faults.add(option, not_one_of(name, SETTABLE))
        elif name in found:
            faults.add(option, f"{name} is set twice")
        elif name in drawn or getattr(options, name, None):
            faults.add(option, f"{name} varies: it is either set or drawn")
        else:
            value = _value(name, word)
            fault = setting_fault(name, value)
            found[name] = value
            if fault:
                faults.add(option, f"got {word!r}, allowed is {allowed_values(name)}")
    return found


def _value(name: str, word: str) -> Any:
    """Value of a typed setting; `setting_fault` refuses a text, which is returned as it is."""
    if word == OFF and name in OPTIONAL_SETTINGS:
        return None
    if name in BOOLEAN_SETTINGS:
        return {"true": True, "false": False}.get(word, word)
    if name in SETTING_WORDS:
        return word
    value = parse_number(word)
    if value is None:
        return word
    return int(value) if SETTING_RANGES[name].integer and re.fullmatch(r"[+-]?\d+", word) else value
