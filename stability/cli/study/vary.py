"""`--vary NAME=LAW`: from text to the law of a hyperparameter."""

from collections.abc import Callable
from typing import Any, Literal

from stability.cli.study.parsing import FaultList, fault_of_values, interval, value_of
from stability.training.settings import SETTING_RANGES, VARIABLE_SETTINGS, setting_fault
from sweeps.study.space import MAX_INT64, Hyperparameter, Value


def setting_law(faults: FaultList, text: str) -> Hyperparameter | None:
    """The law of one of `VARIABLE_SETTINGS`, with values that are allowed for it."""
    found = law(
        faults,
        text,
        lambda option, name: faults.one_of(option, name, VARIABLE_SETTINGS) is not None,
        words=("log", "linear"),
    )
    if found is None:
        return None
    name, changes = found.name, dict[str, Any]()
    if found.choices:
        values = changes["choices"] = tuple(_as_setting(name, value) for value in found.choices)
    else:
        values = tuple(_as_setting(name, end) for end in (found.low, found.high) if end is not None)
        changes = {"low": values[0], "high": values[1], "integer": SETTING_RANGES[name].integer}
    wrong = [fault.partition(": ")[2] for value in values if (fault := setting_fault(name, value))]
    if any(isinstance(value, bool | str) for value in values):
        wrong = [f"got {text.partition('=')[2]}, allowed are numbers"]
    for fault in wrong:
        faults.add(f"--vary {text}", fault)
    return None if wrong else found.model_copy(update=changes)


def _as_setting(name: str, value: Value) -> Value:
    """A number of the setting's kind: 32 for 32.0 where a whole number is needed, else a float."""
    if isinstance(value, bool | str):
        return value
    is_whole = SETTING_RANGES[name].integer and float(value).is_integer()
    return int(value) if is_whole else float(value)


def law(
    faults: FaultList,
    text: str,
    may_vary: Callable[[str, str], bool],
    words: tuple[str, ...] = ("log", "linear", "int"),
) -> Hyperparameter | None:
    """`NAME=LO:HI`, followed by any of `:log`, `:linear` and `:int`, or `NAME=a,b,c`.

    Args:
        faults: gets what is wrong.
        text: value of `--vary`.
        may_vary: takes the option and the name; reports a name that is not allowed.
        words: allowed after `LO:HI`.

    Returns:
        None where there is a fault.
    """
    option = f"--vary {text}"
    name, _, values = text.partition("=")
    if not values:
        whole = ", NAME=LO:HI:int" if "int" in words else ""
        faults.add(option, f"allowed is NAME=LO:HI, NAME=LO:HI:linear{whole} or NAME=a,b,c")
        return None
    if not may_vary(option, name):
        return None
    if ":" in values:
        return _interval_law(faults, option, name, values, words)
    try:
        choices = tuple(map(value_of, values.split(",")))
        fault = fault_of_values(choices)
    except ValueError as error:
        fault = str(error)
    if fault:
        faults.add(option, fault)
        return None
    return Hyperparameter(name=name, choices=choices)


def _interval_law(
    faults: FaultList, option: str, name: str, text: str, words: tuple[str, ...]
) -> Hyperparameter | None:
    low_text, high_text, *found = text.split(":")
    ends_text = f"{low_text}:{high_text}"
    if set(found) - set(words) or {"log", "linear"} <= set(found):
        allowed = " or ".join([", ".join(words[:-1]), words[-1]])
        faults.add(option, f"got {', '.join(found)}, allowed behind LO:HI is {allowed}")
        return None
    scale: Literal["log", "linear"] = "linear" if "linear" in found else "log"
    ends = interval(faults, option, ends_text, log=scale == "log")
    if ends is None:
        return None
    integer = "int" in found
    if integer and not all(end.is_integer() for end in ends):
        faults.add(option, f"got {ends_text}, whole numbers need whole ends")
        return None
    if integer and max(map(abs, ends)) >= MAX_INT64:
        faults.add(option, f"got {ends_text}, allowed are whole numbers below 2^63 in magnitude")
        return None
    low, high = (int(end) if integer else end for end in ends)
    return Hyperparameter(name=name, low=low, high=high, scale=scale, integer=integer)
