"""From the text of an option to a value, collecting what is wrong instead of stopping at it."""

import difflib
import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Literal

from stability.training.recipe import RANGES, VARIABLE, fault_of
from sweeps.space import Hyperparameter

LARGEST = 2**31 - 1  # of a whole number: what numpy and torch take as a seed everywhere


@dataclass
class Faults:
    """Everything that is wrong with a request, in the order in which it was found."""

    found: list[str] = field(default_factory=list)

    def add(self, option: str, fault: str) -> None:
        """Remember that `option` is wrong."""
        self.found.append(f"{option}: {fault}")

    def one_of(self, option: str, got: str, allowed: Iterable[str]) -> str | None:
        """`got` if it is allowed."""
        names = list(allowed)
        if got in names:
            return got
        self.add(option, not_one_of(got, names))
        return None

    def many_of(self, option: str, text: str, find: Callable[[str], str | None]) -> list[str]:
        """Names separated by commas, each as `find` resolves it; twice the same is a fault."""
        names = [name.strip() for name in text.split(",")]
        resolved = [name for name in map(find, names) if name is not None]
        for name in sorted({name for name in resolved if resolved.count(name) > 1}):
            self.add(option, f"{name} is named twice")
        return list(dict.fromkeys(resolved))

    def whole(self, option: str, text: str, low: int, high: int = LARGEST) -> int | None:
        """A whole number from `low` to `high`."""
        value = int(text) if re.fullmatch(r"-?\d{1,12}", text) else None
        if value is not None and low <= value <= high:
            return value
        self.add(option, f"got {text!r}, allowed is a whole number from {low} to {high}")
        return None

    def amount(self, option: str, text: str, low: float, high: float = math.inf) -> float | None:
        """A number of at least `low`; where `high` is given, strictly between the two."""
        value = number(text)
        bounded = high < math.inf
        if value is not None and (low < value < high if bounded else value >= low):
            return value
        allowed = f"between {low:g} and {high:g}" if bounded else f"from {low:g}"
        self.add(option, f"got {text!r}, allowed is a number {allowed}")
        return None


def not_one_of(got: str, names: Iterable[str]) -> str:
    """What is allowed instead of `got`, and the nearest match.

    >>> not_one_of("adam", ["adamw", "sgd"])
    "'adam' is not one of adamw, sgd (did you mean 'adamw'?)"
    """
    names = list(names)
    near = difflib.get_close_matches(got, names, n=1, cutoff=0.5)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    return f"{got!r} is not one of {', '.join(names)}{hint}"


def number(text: str) -> float | None:
    """A finite number, or None."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def interval(faults: Faults, option: str, text: str, *, log: bool) -> tuple[float, float] | None:
    """`LO:HI`."""
    ends = text.split(":")
    low, high = (number(ends[0]), number(ends[1])) if len(ends) == 2 else (None, None)
    if low is None or high is None:
        faults.add(option, f"got {text!r}, allowed is LO:HI, two numbers such as 0.001:0.1")
    elif log and low <= 0:
        faults.add(option, f"got {text!r}, on a log scale LO must be above 0")
    elif low >= high:
        faults.add(option, f"got {text!r}, LO must be below HI")
    else:
        return low, high
    return None


def intervals_by_optimizer(
    faults: Faults, option: str, texts: list[str], optims: list[str]
) -> dict[str, tuple[float, float]]:
    """`LO:HI` for the only optimizer, or `sgd=LO:HI` for each that is named."""
    found: dict[str, tuple[float, float]] = {}
    for text in [part for whole in texts for part in whole.split(",")]:
        named, equals, ends = text.rpartition("=")
        both = interval(faults, option, ends, log=True)
        optim = named if equals else (optims[0] if len(optims) == 1 else "")
        if not optims:
            continue  # none of those that were asked for exists, which is said already
        if not optim:
            listed = ", ".join(optims)
            faults.add(option, f"got {text!r}, with {listed} say which: {optims[0]}=LO:HI")
        elif optim not in optims:
            faults.add(option, not_one_of(optim, optims))
        elif optim in found:
            faults.add(option, f"two intervals for {optim}")
        elif both is not None:
            found[optim] = both
    return found


def vary(faults: Faults, text: str) -> Hyperparameter | None:
    """`NAME=LO:HI`, `NAME=LO:HI:linear` or `NAME=a,b,c` for one of `VARIABLE`."""
    option = f"--vary {text}"
    name, equals, law = text.partition("=")
    if not equals:
        faults.add(option, "allowed is NAME=LO:HI, NAME=LO:HI:linear or NAME=a,b,c")
        return None
    if name not in VARIABLE:
        faults.add(option, not_one_of(name, VARIABLE))
        return None
    return (
        _interval_law(faults, option, name, law)
        if ":" in law
        else _choice(faults, option, name, law)
    )


def _interval_law(faults: Faults, option: str, name: str, law: str) -> Hyperparameter | None:
    ends_text, _, word = law.rpartition(":") if law.count(":") > 1 else (law, "", "log")
    if word not in ("log", "linear"):
        faults.add(option, f"scale {not_one_of(word, ('log', 'linear'))}")
        return None
    scale: Literal["log", "linear"] = "linear" if word == "linear" else "log"
    ends = interval(faults, option, ends_text, log=scale == "log")
    if ends is None:
        return None
    low, high = (_as_kind(name, end) for end in ends)
    if not _allowed(faults, option, name, (low, high)):
        return None
    integer = RANGES[name].integer
    return Hyperparameter(name=name, low=low, high=high, scale=scale, integer=integer)


def _choice(faults: Faults, option: str, name: str, law: str) -> Hyperparameter | None:
    texts = law.split(",")
    values = [number(text) for text in texts]
    if bad := [text for text, value in zip(texts, values, strict=True) if value is None]:
        faults.add(option, f"got {', '.join(map(repr, bad))}, allowed are numbers")
        return None
    if len(set(values)) != len(values):
        faults.add(option, "the same value twice")
        return None
    numbers = [_as_kind(name, value) for value in values if value is not None]
    if not _allowed(faults, option, name, numbers):
        return None
    return Hyperparameter(name=name, choices=tuple(numbers))


def _as_kind(name: str, value: float) -> float:
    """32 for 32.0 where a whole number is needed; anything else is left for `_allowed` to name."""
    return int(value) if RANGES[name].integer and value.is_integer() else value


def _allowed(faults: Faults, option: str, name: str, values: Iterable[float]) -> bool:
    found = [fault for value in values if (fault := fault_of(name, value))]
    for fault in found:
        faults.add(option, fault.partition(": ")[2])
    return not found
