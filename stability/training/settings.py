"""The recipe: everything about a training that is neither the model nor the data. No torch.

What each setting is, and which values it may have. `recipes` has the recipes by name.
"""

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any

from stability.models.variants import STEM_INITS

OPTIMIZERS = ("sgd", "adamw")
PRECISIONS = ("float32", "bfloat16")
"""Of the forward pass."""
ONLY_FOR = {"momentum": "sgd", "nesterov": "sgd", "beta1": "adamw", "beta2": "adamw"}
"""Settings that one optimizer alone has."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One training's settings. `lr` and `weight_decay` have no default: they are what is drawn.

    For a new setting, docs/architecture.md ("Where to add or find things") lists what else changes.
    """

    lr: float
    """Peak learning rate."""
    weight_decay: float
    """Multiplied by the learning rate in both optimizers, as torch does."""
    batch_size: int = 64
    """Images a step; the last, partial batch of an epoch is dropped."""
    warmup: float = 0.1
    """Share of all steps over which the learning rate climbs linearly to the cosine."""
    warmup_from: float = 0.1
    """Factor on the learning rate at step 0."""
    floor: float = 0.005
    """Final learning rate as a share of the peak."""
    label_smoothing: float = 0.1
    """Share of the target spread evenly over all classes."""
    momentum: float = 0.9
    """SGD."""
    nesterov: bool = True
    """SGD."""
    beta1: float = 0.9
    """AdamW: memory of the gradient."""
    beta2: float = 0.999
    """AdamW: memory of the squared gradient."""
    clip: float | None = None
    """Largest norm of the gradient over all parameters; None does not clip."""
    lr_per: str = "step"
    """How often the learning rate changes: at each `step`, or at each `epoch`."""
    warmup_epochs: float | None = None
    """Length of the warm-up in epochs; in place of `warmup`."""
    ema: float | None = None
    """Rate of the averaged weights, which are then the ones that are judged: every `ema_period`
    steps they move by min(1, ema * batch_size / epochs * ema_period) of the way; None is off."""
    ema_period: int = 32
    """Steps between two updates of the averaged weights."""
    mixup: float | None = None
    """Beta(a, a) of the share of one image laid over another; with `cutmix` too, one of the two
    is chosen for each batch, by even odds."""
    cutmix: float | None = None
    """Beta(a, a) of the share of an image that a box of another leaves."""
    crop_area: float | None = None
    """Smallest share of the area in a random crop that is enlarged to the image's size."""
    crop_padding: int = 0
    """Pixels of the mean colour around the image before a random crop of its size."""
    flip: float = 0.0
    """Probability that an image is mirrored, left for right."""
    autoaugment: bool = False
    """The policy that AutoAugment found on ImageNet."""
    precise_bn: int | None = None
    """Training images on which BatchNorm's statistics are computed anew before evaluations."""
    stem_init: str = "main"
    """Initial weights of a conv stem: `main` or `release` (`models/init.py`). Stored for models
    with a conv stem alone; absent means `main`, which all trials had before it was a setting."""
    revision: int = 1
    """Revision of the numerics. 1, also meant by an absent setting, is the one before it was a
    setting; 2 follows pycls in five details (docs/recipe.md). Stored where one of them matters."""

    @classmethod
    def of(cls, settings: dict[str, Any]) -> "Recipe":
        """The recipe that a trial's settings describe; what they leave out has its default.

        Raises ValueError naming every unknown or missing setting and every value outside its
        range.
        """
        unknown = sorted(set(settings) - {f.name for f in fields(cls)})
        faults = [f"{name!r} is no setting of a recipe" for name in unknown]
        faults += [f"{name} is missing" for name in ("lr", "weight_decay") if name not in settings]
        faults += [f for name, value in settings.items() if (f := setting_fault(name, value))]
        faults += rival_faults(settings)
        if faults:
            raise ValueError("; ".join(faults))
        return cls(**settings)


@dataclass(frozen=True, kw_only=True)
class SettingRange:
    """What values a setting may have."""

    low: float
    high: float
    open_low: bool = False
    """Whether `low` itself is excluded."""
    open_high: bool = False
    integer: bool = False

    def fault(self, value: float) -> str | None:
        """Why `value` is not allowed, or None."""
        kind = "a whole number" if self.integer else "a number"
        words = f"{kind} {'above' if self.open_low else 'from'} {self.low:g}"
        if self.high != float("inf"):
            words += f" {'and below' if self.open_high else 'to'} {self.high:g}"
        numeric = isinstance(value, int | float) and not isinstance(value, bool)
        if (
            not numeric
            or not (self.low <= value <= self.high)
            or (self.open_low and value == self.low)
            or (value == self.high and (self.open_high or self.high == float("inf")))
            or (self.integer and not isinstance(value, int))
        ):
            return f"got {value!r}, allowed is {words}"
        return None


POSITIVE = SettingRange(low=0, high=float("inf"), open_low=True)
SETTING_RANGES: dict[str, SettingRange] = {
    "lr": POSITIVE,
    "weight_decay": SettingRange(low=0, high=float("inf")),
    "batch_size": SettingRange(low=1, high=float("inf"), integer=True),
    "warmup": SettingRange(low=0, high=1),
    "warmup_from": SettingRange(low=0, high=1),
    "floor": SettingRange(low=0, high=1),
    "label_smoothing": SettingRange(low=0, high=1, open_high=True),
    "momentum": SettingRange(low=0, high=1, open_high=True),
    "beta1": SettingRange(low=0, high=1, open_high=True),
    "beta2": SettingRange(low=0, high=1, open_high=True),
    "clip": POSITIVE,
    "warmup_epochs": SettingRange(low=0, high=float("inf")),
    "ema": SettingRange(low=0, high=1, open_low=True),
    "ema_period": SettingRange(low=1, high=float("inf"), integer=True),
    "mixup": POSITIVE,
    "cutmix": POSITIVE,
    "crop_area": SettingRange(low=0, high=1, open_low=True),
    "crop_padding": SettingRange(low=0, high=float("inf"), integer=True),
    "flip": SettingRange(low=0, high=1),
    "precise_bn": SettingRange(low=1, high=float("inf"), integer=True),
    "revision": SettingRange(low=1, high=2, integer=True),
}
BOOLEAN_SETTINGS = ("nesterov", "autoaugment")
"""Settings that are true or false."""
SETTING_WORDS = {"lr_per": ("step", "epoch"), "stem_init": STEM_INITS}
"""Settings that are a word."""
RECIPE_DEFAULTS: dict[str, Any] = {
    f.name: f.default for f in fields(Recipe) if f.default is not MISSING
}
OPTIONAL_SETTINGS = tuple(name for name, value in RECIPE_DEFAULTS.items() if value is None)
"""Settings that may be None: off."""
BY_MODEL = ("stem_init", "revision")
"""Settings that a study stores by model, and only where they matter (`recipes.model_settings`)."""
REVISION = 2
"""The newest revision of the numerics, which new studies have."""
RIVALS = (("warmup", "warmup_epochs"), ("crop_area", "crop_padding"))
"""Pairs of alternatives: a recipe has one of the two."""
ORIGINAL_SETTINGS = (
    "lr",
    "weight_decay",
    "batch_size",
    "warmup",
    "warmup_from",
    "floor",
    "label_smoothing",
)
LATER_SETTINGS = {
    n: v for n, v in RECIPE_DEFAULTS.items() if n not in (*ORIGINAL_SETTINGS, *ONLY_FOR, "clip")
}
"""Settings that came after the first trials, with the value that those had."""
VARIABLE_SETTINGS = ("batch_size", "momentum", "beta2", "warmup", "label_smoothing", "clip")
"""What a study may vary besides lr and weight decay."""


def setting_fault(name: str, value: Any) -> str | None:
    """Why `value` is not allowed for the setting `name`, or None.

    >>> setting_fault("momentum", 1.0)
    'momentum: got 1.0, allowed is a number from 0 and below 1'
    """
    if value is None and name in OPTIONAL_SETTINGS:
        return None
    if name in BOOLEAN_SETTINGS and not isinstance(value, bool):
        return f"{name}: got {value!r}, allowed is true or false"
    if name in SETTING_WORDS and value not in SETTING_WORDS[name]:
        return f"{name}: got {value!r}, allowed is {' or '.join(SETTING_WORDS[name])}"
    if name not in SETTING_RANGES:
        return None
    fault = SETTING_RANGES[name].fault(value)
    return f"{name}: {fault}" if fault else None


def rival_faults(settings: Mapping[str, Any]) -> list[str]:
    """A fault for each pair of settings that cannot both be given.

    >>> rival_faults({"crop_area": 0.08, "crop_padding": 4})
    ['crop_area and crop_padding: allowed is one of the two']
    """
    pairs = [pair for pair in RIVALS if not any(is_off(name, settings) for name in pair)]
    return [f"{one} and {other}: allowed is one of the two" for one, other in pairs]


def is_off(name: str, settings: Mapping[str, Any]) -> bool:
    """Whether a setting is not there, or there with the value that does nothing."""
    value = settings.get(name)
    return value is None or (name in LATER_SETTINGS and value == LATER_SETTINGS[name])


def allowed_values(name: str) -> str:
    """The values that a setting may have, in words.

    >>> allowed_values("flip"), allowed_values("mixup"), allowed_values("lr_per")
    ('0 to 1', 'above 0, off', 'step, epoch')
    """
    if name in BOOLEAN_SETTINGS:
        return "true, false"
    if name in SETTING_WORDS:
        return ", ".join(SETTING_WORDS[name])
    law = SETTING_RANGES[name]
    text = f"above {law.low:g}" if law.open_low else f"from {law.low:g}"
    if law.high != float("inf"):
        text = f"{text}, {'below' if law.open_high else 'to'} {law.high:g}"
        if not (law.open_low or law.open_high):
            text = f"{law.low:g} to {law.high:g}"
    return (
        text + (", whole" if law.integer else "") + (", off" if name in OPTIONAL_SETTINGS else "")
    )
