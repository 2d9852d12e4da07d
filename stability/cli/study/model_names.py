"""From `--model`, `--stem`, `--depth` and `--pool` to full names of models."""

import re
from dataclasses import dataclass
from itertools import product

from stability.cli.study.parsing import FaultList, import_hint, not_one_of
from stability.data import ImageData, suitable_size
from stability.models import FAMILIES, STEMS, VARIANTS, ModelNameError, resolve_model
from stability.models.names import DEEPEST, accepts_size, is_external, is_vit_name

IMPORTED_MODEL = re.compile(r"[A-Za-z_][\w.]*:[\w.-]+")
POOLS = {"token": "", "mean": "gap"}
"""Value of `--pool` -> what it adds to a name."""


@dataclass(frozen=True, kw_only=True)
class ViTChoices:
    """Choices for the ViT models, as they were typed."""

    stem: str | None = None
    depth: str | None = None
    pool: str | None = None


def full_names(
    faults: FaultList, models: str, choices: ViTChoices, data: ImageData | None
) -> list[str]:
    """Full names of every ViT with every combination of the choices, and of every CNN."""
    combinations = _combinations(faults, choices)
    asked = [name.strip() for name in models.split(",")]
    for option, text in vars(choices).items():
        if text is not None and not any(map(is_vit_name, asked)):
            faults.add(f"--{option}", f"got {text!r}, a choice for ViTs; none of {models} is one")
    texts = [
        "+".join([name, *choice])
        for name in asked
        for choice in (combinations if is_vit_name(name) else [()])
    ]
    size = suitable_size(data) if data else "nano"
    found = faults.many_of("--model", ",".join(texts), lambda text: model_name(faults, text, size))
    return [name for name in found if data is None or _suits(faults, name, data)]


def model_name(faults: FaultList, text: str, size: str) -> str | None:
    """Resolve one name, with the size that suits the data where it has none."""
    hint = import_hint(text)
    if is_external(text) or hint:
        if IMPORTED_MODEL.fullmatch(text) and not hint:
            return text  # checked where torch is loaded: `site.machine`
        faults.add(
            "--model", f"got {text!r}, allowed is package.module:function, or timm:NAME{hint}"
        )
        return None
    try:
        return resolve_model(text, size)
    except ModelNameError as error:
        faults.add("--model", describe_name_error(error))
        return None


def describe_name_error(error: ModelNameError) -> str:
    """Say what is wrong with a name, and what is allowed."""
    if error.fault:
        return error.fault
    if set(VARIANTS) <= set(error.allowed):  # too many to list: families, and the nearest of all
        hint = not_one_of(error.got, error.allowed).partition(" (did")
        listed = not_one_of(error.got, FAMILIES).partition(" (did")[0]
        return f"{listed}, alone or with a size as in vitc-nano{hint[1]}{hint[2]}"
    return not_one_of(error.got, error.allowed)


def _combinations(faults: FaultList, choices: ViTChoices) -> list[tuple[str, ...]]:
    """All combinations of parts to add to a name, without empty parts."""
    parts: list[list[str]] = []
    if choices.stem is not None:
        parts.append(
            faults.many_of("--stem", choices.stem, lambda t: faults.one_of("--stem", t, STEMS))
        )
    if choices.depth is not None:
        parts.append(faults.many_of("--depth", choices.depth, lambda t: _depth(faults, t)))
    if choices.pool is not None:
        pools = faults.many_of("--pool", choices.pool, lambda t: faults.one_of("--pool", t, POOLS))
        parts.append([POOLS[pool] for pool in pools])
    combinations = product(*(part for part in parts if part))
    return [tuple(filter(None, combination)) for combination in combinations]


def _depth(faults: FaultList, text: str) -> str | None:
    value = faults.whole("--depth", text, low=1, high=DEEPEST)
    return None if value is None else f"d{value}"


def _suits(faults: FaultList, name: str, data: ImageData) -> bool:
    """Whether the model takes the images; a ViT takes only those of its own size."""
    side = data.shape[1]
    if is_external(name) or accepts_size(name, side):
        return True
    kind = name.split("-")[0]
    others = [n for n in VARIANTS if n.startswith(f"{kind}-") and accepts_size(n, side)]
    fault = f"{name} takes no images of {side}x{side}, which {data.name} has"
    resize = "none (folder and hf data can be brought to a size: @32 or @224 at the end)"
    faults.add("--model", f"{fault}; those of such images: {', '.join(others) or resize}")
    return False
