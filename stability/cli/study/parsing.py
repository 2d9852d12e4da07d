"""From the text of an option to a value, collecting what is wrong instead of stopping at it."""

import difflib
import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Literal

from stability.training.settings import SETTING_RANGES, VARIABLE_SETTINGS, setting_fault
from sweeps.study.space import (
    MAX_INT64,
    SIGNIFICANT_DIGITS,
    Hyperparameter,
    Value,
    as_typed,
    fault_of_choices,
    round_significant,
)

NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
BOOLEANS = {"true": True, "false": False}
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
        value = int(text) if re.fullmatch(r"-?[0-9]{1,12}", text) else None
        if value is not None and low <= value <= high:
            return value
        self.add(option, f"got {text!r}, allowed is a whole number from {low} to {high}")
        return None

    def lengths(self, option: str, text: str) -> tuple[int, ...]:
        """Whole numbers of at least 1, separated by commas."""

        def length(text: str) -> str | None:
            value = self.whole(option, text, low=1)
            return None if value is None else str(value)

        return tuple(map(int, self.many_of(option, text, length)))

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


def import_hint(text: str) -> str:
    """What to write in place of a file as in `mymodel.py:tiny`; empty where none is named.

    >>> import_hint("mymodel.py:tiny"), import_hint("mymodel:tiny")
    (" (did you mean 'mymodel:tiny'?)", '')
    """
    file, _, function = text.partition(":")
    path = PurePath(file)
    if path.suffix != ".py" and len(path.parts) < 2:
        return ""
    inside = ".".join(part for part in path.with_suffix("").parts if part != ".")
    if path.is_absolute() or ".." in path.parts:
        where = f"in the folder {path.parent}, "
        return f" (did you mean, {where}{path.stem + ':' + (function or 'FUNCTION')!r}?)"
    return f" (did you mean {inside + ':' + (function or 'FUNCTION')!r}?)"


def number(text: str) -> float | None:
    """A decimal number in ASCII digits; None for anything else.

    Python's `float` also reads `1_0`, digits of other scripts, `nan`, and numbers too large or too
    small for a float, as infinity and 0: these are typing errors here.

    >>> number("1e-3"), number("1_0e-4"), number("1e400"), number("1e-400")
    (0.001, None, None, None)
    """
    text = text.strip()
    if not NUMBER.fullmatch(text):
        return None
    value = float(text)
    is_rounded_to_0 = value == 0 and re.search("[1-9]", re.split("[eE]", text)[0])
    return None if math.isinf(value) or is_rounded_to_0 else value


def value_of(text: str) -> Value:
    """A typed value of any kind: true or false, a number, otherwise a text.

    Raises ValueError, saying what is allowed, for what is meant as a number and is none.

    >>> value_of("true"), value_of("3"), value_of("1e-3"), value_of("rbf")
    (True, 3, 0.001, 'rbf')
    """
    text = text.strip()
    if not text:
        raise ValueError("got an empty value, allowed is a number, a text, true or false")
    if text.lower() in BOOLEANS:
        return BOOLEANS[text.lower()]
    value = number(text)
    if value is not None:
        is_whole = re.fullmatch("-?[0-9]+", text)
        if is_whole and abs(value) >= MAX_INT64:
            raise ValueError(f"got {text}, allowed are whole numbers below 2^63 in magnitude")
        return int(text) if is_whole else value
    if _python_reads_a_number(text):
        raise ValueError(f"got {text!r}, allowed are numbers such as 10, 0.001 or 1e-3")
    if text[0] in "'\"" or text[-1] in "'\"":
        raise ValueError(f"got {text}, allowed is text without quotes")
    return text


def _python_reads_a_number(text: str) -> bool:
    compact = re.sub(r"[\s_]", "", text)
    for read in (float, lambda word: int(word, 0)):
        try:
            read(compact)
        except ValueError:
            continue
        return True
    return False


def fault_of_text(value: Value) -> str | None:
    """Why a text of a study file is not allowed, or None; an objective would take 'false' as true.

    >>> fault_of_text("false"), fault_of_text("rbf")
    ("got the text 'false', allowed is false without quotes", None)
    """
    if not isinstance(value, str):
        return None
    if value.lower() in BOOLEANS:
        return f"got the text {value!r}, allowed is {value.lower()} without quotes"
    if not value.isprintable():
        return f"got {value!r}, allowed is text without control characters"
    return None


def fault_of_values(values: Iterable[Value]) -> str | None:
    """Why values cannot be choices: `fault_of_choices`, or the same value twice.

    >>> fault_of_values((1, 1.0))
    'the same value twice: 1 and 1.0 agree to 6 significant digits'
    """
    values = tuple(values)
    if fault := fault_of_choices(values):
        return fault
    for fault in filter(None, map(fault_of_text, values)):
        return fault
    is_rounded = any(isinstance(value, float) for value in values)
    seen: dict[Value, Value] = {}
    for value in values:
        key = round_significant(float(value)) if is_rounded else value
        if key in seen:
            first, second = as_typed(seen[key]), as_typed(value)
            digits = f" agree to {SIGNIFICANT_DIGITS} significant digits" if is_rounded else ""
            return f"the same value twice: {first} and {second}{digits}"
        seen[key] = value
    return None


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
    if name not in VARIABLE_SETTINGS:
        faults.add(option, not_one_of(name, VARIABLE_SETTINGS))
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
    integer = SETTING_RANGES[name].integer
    return Hyperparameter(name=name, low=low, high=high, scale=scale, integer=integer)


def _choice(faults: Faults, option: str, name: str, law: str) -> Hyperparameter | None:
    texts = law.split(",")
    values = [number(text) for text in texts]
    if bad := [text for text, value in zip(texts, values, strict=True) if value is None]:
        faults.add(option, f"got {', '.join(map(repr, bad))}, allowed are numbers")
        return None
    if fault := fault_of_values(value for value in values if value is not None):
        faults.add(option, fault)
        return None
    numbers = [_as_kind(name, value) for value in values if value is not None]
    if not _allowed(faults, option, name, numbers):
        return None
    return Hyperparameter(name=name, choices=tuple(numbers))


def _as_kind(name: str, value: float) -> float:
    """32 for 32.0 where a whole number is needed; anything else is left for `_allowed` to name."""
    return int(value) if SETTING_RANGES[name].integer and value.is_integer() else value


def _allowed(faults: Faults, option: str, name: str, values: Iterable[float]) -> bool:
    found = [fault for value in values if (fault := setting_fault(name, value))]
    for fault in found:
        faults.add(option, fault.partition(": ")[2])
    return not found
