"""The search space: named hyperparameters, and the map from the unit cube into their ranges."""

import math
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Value = float | int | str
SIGNIFICANT_DIGITS = 6


class Hyperparameter(BaseModel):
    """One hyperparameter's law, for the models and optimizers that it applies to.

    Either an interval [low, high) on which it is uniform (`linear`) or log-uniform (`log`), whole
    numbers where `integer`; or `choices`, each with equal probability.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: str
    low: float | None = None
    high: float | None = None
    scale: Literal["log", "linear"] = "log"
    integer: bool = False
    choices: tuple[Value, ...] = Field(default=(), strict=False)
    models: tuple[str, ...] = Field(default=(), strict=False)
    """Full model names that it applies to; empty for all."""
    optims: tuple[str, ...] = Field(default=(), strict=False)
    """Optimizers that it applies to; empty for all."""

    @model_validator(mode="after")
    def _is_a_law(self) -> Self:
        if self.choices:
            if self.low is not None or self.high is not None:
                raise ValueError(f"{self.name}: either choices or an interval, got both")
            return self
        if self.low is None or self.high is None or not self.low < self.high < math.inf:
            raise ValueError(f"{self.name}: low {self.low} is not below high {self.high}")
        if self.scale == "log" and self.low <= 0:
            raise ValueError(f"{self.name}: a log scale needs low above 0, got {self.low}")
        return self

    def applies_to(self, model: str, optim: str) -> bool:
        """Whether trials of this model and optimizer have it."""
        return model in (self.models or (model,)) and optim in (self.optims or (optim,))

    def at(self, u: float) -> Value:
        """The value at `u` in [0, 1], as it is applied: rounded to 6 significant digits.

        log: low (high / low)^u. linear: low + u (high - low). Whole numbers: the floor of the
        same on [low, high + 1), so that both ends are as likely as on a continuous scale.
        choices: number floor(u k) of k. Rounded before it is stored or hashed, since `exp`
        differs in the last bit between processors.

        >>> Hyperparameter(name="lr", low=0.001, high=0.1).at(0.5)
        0.01
        >>> Hyperparameter(name="batch_size", choices=(32, 64)).at(0.7)
        64
        """
        if self.choices:
            return self.choices[min(int(u * len(self.choices)), len(self.choices) - 1)]
        assert self.low is not None  # by the validator
        assert self.high is not None
        high = self.high + 1 if self.integer else self.high
        if self.scale == "log":
            value = math.exp(math.log(self.low) + u * (math.log(high) - math.log(self.low)))
        else:
            value = self.low + u * (high - self.low)
        if self.integer:
            return min(math.floor(value + 1e-9), int(self.high))
        return significant(min(max(value, self.low), self.high))

    @property
    def law(self) -> str:
        """The law in words.

        >>> Hyperparameter(name="lr", low=0.001, high=0.1).law
        'log-uniform on 0.001 .. 0.1'
        """
        if self.choices:
            return "one of " + ", ".join(map(str, self.choices))
        whole = "whole numbers, " if self.integer else ""
        uniform = "log-uniform" if self.scale == "log" else "uniform"
        return f"{whole}{uniform} on {self.low:g} .. {self.high:g}"


def significant(value: float) -> float:
    """`value` rounded to 6 significant digits.

    >>> significant(0.012345678)
    0.0123457
    """
    return float(f"{value:.{SIGNIFICANT_DIGITS}g}")
