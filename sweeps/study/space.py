"""The search space: named hyperparameters, and the map from the unit cube into their ranges."""

import math
from collections.abc import Sequence
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

Value = bool | float | int | str
SIGNIFICANT_DIGITS = 6
MAX_INT64 = 2**63 - 1  # that a column of a table holds


class Hyperparameter(BaseModel):
    """Distribution of one hyperparameter, for the models and optimizers that it applies to.

    Either uniform (`linear`) or log-uniform (`log`) on the interval [low, high), on whole numbers
    if `integer`; or `choices` with equal probability. Choices are all numbers, all texts or all
    booleans, because they share a column of the tables; whole numbers among floats become floats.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: str
    low: float | None = None
    high: float | None = None
    scale: Literal["log", "linear"] = "log"
    integer: bool = False
    choices: tuple[Value, ...] = Field(default=(), strict=False)
    models: tuple[str, ...] = Field(default=(), strict=False)
    """Full names of the models that it applies to; empty for all."""
    optims: tuple[str, ...] = Field(default=(), strict=False)
    """Optimizers that it applies to; empty for all."""

    @field_validator("choices")
    @classmethod
    def _one_column(cls, choices: tuple[Value, ...]) -> tuple[Value, ...]:
        if fault := fault_of_choices(choices):
            raise ValueError(fault)
        if any(isinstance(value, float) for value in choices):
            return tuple(map(float, choices))
        return choices

    @model_validator(mode="after")
    def _is_a_law(self) -> Self:
        if self.choices:
            if self.low is not None or self.high is not None:
                raise ValueError(f"{self.name}: either choices or an interval, got both")
            return self
        if self.low is None or self.high is None or not -math.inf < self.low < self.high < math.inf:
            raise ValueError(f"{self.name}: low {self.low} is not below high {self.high}")
        if self.integer and max(abs(self.low), abs(self.high)) >= MAX_INT64:
            raise ValueError(f"{self.name}: a whole number must be below 2^63 in magnitude")
        if self.scale == "log" and self.low <= 0:
            raise ValueError(f"{self.name}: a log scale needs low above 0, got {self.low}")
        return self

    def applies_to(self, model: str, optim: str) -> bool:
        """Whether trials of this model and optimizer have this hyperparameter."""
        return model in (self.models or (model,)) and optim in (self.optims or (optim,))

    def at(self, u: float) -> Value:
        """Return the value at `u` in [0, 1], rounded to 6 significant digits.

        log: low (high / low)^u. linear: low + u (high - low). Whole numbers: the floor of the
        same on [low, high + 1), so that both ends are as likely as on a continuous scale.
        choices: number floor(u k) of k. The value is rounded before it is stored or hashed, since
        `exp` differs in the last bit between processors.

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
        return round_significant(min(max(value, self.low), self.high))

    @property
    def law(self) -> str:
        """Describe the distribution.

        >>> Hyperparameter(name="lr", low=0.001, high=0.1).law
        'log-uniform on 0.001 .. 0.1'
        """
        if self.choices:
            return "one of " + ", ".join(map(as_typed, self.choices))
        whole = "whole numbers, " if self.integer else ""
        uniform = "log-uniform" if self.scale == "log" else "uniform"
        return f"{whole}{uniform} on {self.low:g} .. {self.high:g}"


def as_typed(value: object) -> str:
    """Return a value as it is typed on the command line: `true` for True.

    >>> as_typed(True), as_typed(0.1), as_typed("rbf")
    ('true', '0.1', 'rbf')
    """
    return str(value).lower() if isinstance(value, bool) else str(value)


def fault_of_choices(choices: Sequence[Value]) -> str | None:
    """Return why values cannot be the choices of one hyperparameter, or None.

    >>> fault_of_choices(("auto", 0.1))
    'got auto (text), 0.1 (number); allowed are only numbers, only text, or only true and false'
    """
    kinds = {_kind(value): value for value in reversed(choices)}
    if len(kinds) > 1:
        got = ", ".join(f"{as_typed(value)} ({kind})" for kind, value in reversed(kinds.items()))
        return f"got {got}; allowed are only numbers, only text, or only true and false"
    if "" in choices:
        return "got an empty text, allowed is a value between each two commas"
    for value in choices:
        if isinstance(value, float) and not math.isfinite(value):
            return f"got {value}, allowed are finite numbers"
        if isinstance(value, int) and abs(value) > MAX_INT64:
            return f"got {value:.3e}, allowed are whole numbers below 2^63 in magnitude"
    return None


def _kind(value: Value) -> str:
    return {bool: "boolean", str: "text"}.get(type(value), "number")


def round_significant(value: float) -> float:
    """Round to 6 significant digits.

    >>> round_significant(0.012345678)
    0.0123457
    """
    return float(f"{value:.{SIGNIFICANT_DIGITS}g}")
