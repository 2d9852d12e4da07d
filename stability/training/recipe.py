"""The recipe: everything about a training that is neither the model nor the data. No torch.

Sources: "Early Convolutions Help Transformers See Better" (arXiv 2106.14881, sections 5.4 and 6,
appendix E) and its configurations for pycls; the nano values are for small images.
"""

from dataclasses import asdict, dataclass, fields
from typing import Any

OPTIMIZERS = ("sgd", "adamw")
ONLY_FOR = {"momentum": "sgd", "nesterov": "sgd", "beta1": "adamw", "beta2": "adamw"}
"""Settings that one optimizer alone has."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One training's settings. `lr` and `weight_decay` have no default: they are what is drawn."""

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

    @classmethod
    def of(cls, settings: dict[str, Any]) -> "Recipe":
        """The recipe that a trial's settings describe; what they leave out has its default.

        Raises ValueError naming every unknown or missing setting and every value outside its
        range.
        """
        unknown = sorted(set(settings) - {f.name for f in fields(cls)})
        faults = [f"{name!r} is no setting of a recipe" for name in unknown]
        faults += [f"{name} is missing" for name in ("lr", "weight_decay") if name not in settings]
        faults += [f for name, value in settings.items() if (f := fault_of(name, value))]
        if faults:
            raise ValueError("; ".join(faults))
        return cls(**settings)


@dataclass(frozen=True, kw_only=True)
class Range:
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


POSITIVE = Range(low=0, high=float("inf"), open_low=True)
RANGES: dict[str, Range] = {
    "lr": POSITIVE,
    "weight_decay": Range(low=0, high=float("inf")),
    "batch_size": Range(low=1, high=float("inf"), integer=True),
    "warmup": Range(low=0, high=1),
    "warmup_from": Range(low=0, high=1),
    "floor": Range(low=0, high=1),
    "label_smoothing": Range(low=0, high=1, open_high=True),
    "momentum": Range(low=0, high=1, open_high=True),
    "beta1": Range(low=0, high=1, open_high=True),
    "beta2": Range(low=0, high=1, open_high=True),
    "clip": POSITIVE,
}
VARIABLE = ("batch_size", "momentum", "beta2", "warmup", "label_smoothing", "clip")
"""What a study may vary besides lr and weight decay."""


def fault_of(name: str, value: Any) -> str | None:
    """Why `value` is not allowed for the setting `name`, or None.

    >>> fault_of("momentum", 1.0)
    'momentum: got 1.0, allowed is a number from 0 and below 1'
    """
    if name == "nesterov" and not isinstance(value, bool):
        return f"{name}: got {value!r}, allowed is true or false"
    if name not in RANGES or (name == "clip" and value is None):
        return None
    fault = RANGES[name].fault(value)
    return f"{name}: {fault}" if fault else None


def nano(optimizer: str) -> dict[str, Any]:
    """The nano recipe's settings for `optimizer`, without the two that are drawn.

    Settings of the other optimizer and settings that are off are left out.

    >>> nano("sgd")["momentum"], "beta2" in nano("sgd")
    (0.9, False)
    """
    settings = asdict(Recipe(lr=1.0, weight_decay=1.0))
    return {
        name: value
        for name, value in settings.items()
        if name not in ("lr", "weight_decay")
        and value is not None
        and ONLY_FOR.get(name, optimizer) == optimizer
    }


# Ranges of the nano models, family x optimizer, log-uniform. As in the paper's Table 4 P and C
# share the family's, from 1/8 to 4 times a good value. How each was found: docs/ranges.md.
RANGES_NANO: dict[tuple[str, str], dict[str, tuple[float, float]]] = {
    ("vit", "adamw"): {"lr": (2.5e-4, 8e-3), "weight_decay": (0.02, 0.8)},
    ("vit", "sgd"): {"lr": (0.0125, 0.4), "weight_decay": (4e-5, 1.2e-3)},
    ("regnety", "adamw"): {"lr": (1.25e-3, 0.04), "weight_decay": (0.0125, 0.4)},
    ("regnety", "sgd"): {"lr": (0.01, 0.32), "weight_decay": (2e-5, 6.4e-4)},
}
