"""`stability recipe`: what a recipe sets, which values are allowed, where they are from."""

import json
from pathlib import Path
from textwrap import wrap
from typing import Any

from stability.cli.output.tables import WIDTH, shown
from stability.cli.study.data_names import images
from stability.cli.study.parsing import Faults
from stability.training.recipes import (
    CURRENT,
    FEWEST_EMA_STEPS,
    IMAGENET,
    RECIPES,
    NamedRecipe,
    setting_source,
)
from stability.training.settings import OPTIMIZERS, RECIPE_DEFAULTS, allowed_values
from sweeps.errors import SpecError

FORMATS = (".png", ".pdf", ".svg")
LEGEND = (
    "[1] Xiao et al. 2021, arXiv 2106.14881; [2] pycls, its authors' code.",
    "One setting: stability sweep --set NAME=VALUE. lr and weight_decay are drawn.",
)


def show_recipe(name: str | None, data: str, output: Path | None, *, as_json: bool) -> None:
    """Print one recipe with sources, or all side by side; with `output` draw what it does to data.

    Raises SpecError with every fault.
    """
    faults = Faults()
    if name is not None:
        faults.one_of("recipe", name, RECIPES)
    pictured = images(faults, data)[1] if output is not None else None
    if output is not None and name is None:
        faults.add("-o", "names a picture: say of which recipe")
    if output is not None and output.suffix not in FORMATS:
        faults.add("-o", f"got {str(output)!r}, allowed is a name ending in {', '.join(FORMATS)}")
    elif output is not None and not output.absolute().parent.is_dir():
        faults.add("-o", f"there is no folder {output.absolute().parent}")
    if faults.found:
        raise SpecError(faults.found)
    if name is not None and output is not None and pictured is not None:
        from stability.cli.output.pictures import import_matplotlib

        import_matplotlib()
        from stability.cli.output.augmentation import draw

        draw(name, pictured, output)
    if as_json:
        answer = as_dict(name) if name else {each: as_dict(each) for each in RECIPES}
        print(json.dumps(answer, indent=2))
    else:
        print(described(name) if name else side_by_side())
        if output is not None:
            print(f"\n{shown(output)}")


def as_dict(name: str) -> dict[str, Any]:
    """All that is known of a recipe."""
    named = RECIPES[name]
    return {
        "recipe": name,
        "summary": named.summary,
        "default_for": named.default_for,
        "settings": {
            setting: {
                "value": value,
                "allowed": allowed_values(setting),
                "source": setting_source(name, setting),
            }
            for setting, value in values_of(name).items()
        },
        "ranges": {
            f"{family} {optim}": intervals for (family, optim), intervals in named.ranges.items()
        },
        "ranges_from": named.ranges_from,
        "lr_batch": named.lr_batch,
        "ema_images": IMAGENET if named.settings.get("ema") else None,
    }


def values_of(name: str) -> dict[str, Any]:
    """Each setting with its value; of two that say the same the one that is used."""
    values = {**RECIPE_DEFAULTS, **CURRENT, **RECIPES[name].settings}
    return values | ({"warmup": None} if values["warmup_epochs"] is not None else {})


def described(name: str) -> str:
    """One recipe, 80 columns wide."""
    named = RECIPES[name]
    lines = [f"{name}: {named.summary}", f"default for {named.default_for}", ""]
    lines.append(f"{'setting':15}  {'value':>7}  {'allowed':18}  source")
    for setting, value in values_of(name).items():
        source = wrap(setting_source(name, setting), WIDTH - 46, break_on_hyphens=False)
        first = f"{setting:15}  {in_words(value):>7}  {allowed_values(setting):18}  {source[0]}"
        lines += [first, *(f"{'':46}{rest}" for rest in source[1:])]
    lines += [
        "",
        *ema_in_lines(name),
        *ranges_in_lines(named),
        "",
        *(t for x in LEGEND for t in wrap(x, WIDTH)),
    ]
    return "\n".join(lines)


def ema_in_lines(name: str) -> list[str]:
    """What the rate of the averaged weights is for; nothing where they are off."""
    ema = values_of(name)["ema"]
    if ema is None:
        return []
    text = (
        f"ema: for ImageNet's {IMAGENET} training images; for other data {ema:g} * {IMAGENET} / "
        f"images, and ema_period 1 where an epoch has fewer than {FEWEST_EMA_STEPS} steps or "
        "batch_size varies. Each ema_period steps the averaged weights go min(1, ema * batch / "
        "epochs * ema_period) of the way to the weights ([2] trainer.py)."
    )
    return [*wrap(text, WIDTH), ""]


def ranges_in_lines(named: NamedRecipe) -> list[str]:
    """The intervals of lr and weight decay."""
    lines = wrap(f"drawn log-uniformly, from {named.ranges_from}", WIDTH)
    if named.lr_batch is not None:
        lines.append(f"lr: for batch {named.lr_batch}, scaled linearly to the one in use")
    families = dict.fromkeys(family for family, _ in named.ranges)
    for family, optim in ((f, o) for f in families for o in OPTIMIZERS):
        found = named.ranges[family, optim]
        laws = (f"{key} {low:g} .. {high:g}" for key, (low, high) in found.items())
        lines.append(f"  {family:8} {optim:6} {'; '.join(laws)}")
    return lines


def side_by_side() -> str:
    """A column for each recipe."""
    lines = [f"{'setting':15}" + "".join(f"  {name:>9}" for name in RECIPES) + "  allowed"]
    for setting in RECIPE_DEFAULTS:
        values = "".join(f"  {in_words(values_of(name)[setting]):>9}" for name in RECIPES)
        lines.append(f"{setting:15}{values}  {allowed_values(setting)}")
    for name, named in RECIPES.items():
        lines += ["", f"{name}: {named.summary};", f"  for {named.default_for}"]
    return "\n".join([*lines, "", "Sources and ranges: stability recipe NAME."])


def in_words(value: Any) -> str:
    """As it would be typed.

    >>> in_words(None), in_words(True), in_words(1e-05), in_words("step")
    ('off', 'true', '1e-05', 'step')
    """
    if value is None:
        return "off"
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)
