"""What is asked for as a study of a user's own objective, which need not train images."""

import importlib
import re
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from stability.cli.study.parsing import (
    Faults,
    fault_of_text,
    fault_of_values,
    import_hint,
    interval,
    value_of,
)
from sweeps.objective.function_objective import RESERVED_NAMES, fault_of_objective, takes_one_trial
from sweeps.objective.imported import remember_imported
from sweeps.objective.user_code import UserCode
from sweeps.study.space import MAX_INT64, Hyperparameter, Value
from sweeps.study.trial import canonical_json

if TYPE_CHECKING:
    from stability.cli.study.request import Options

NAME = re.compile(r"[A-Za-z_]\w*")
LABEL = re.compile(r"\w[\w.-]*")
FUNCTION = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
UNUSED = ("lr", "weight_decay", "stem", "depth", "pool")
FINGERPRINT = "own"  # what the function reads is its own affair, and not known here


def fields_of_objective(faults: Faults, options: "Options") -> dict[str, Any]:
    """Fields of the study that the objective decides; of use only where no fault was found."""
    name = options.objective or ""
    module, _, function = name.partition(":")
    of_data = module.split(".")[-1]
    defaults = {"model": function or of_data, "optim": "own", "data": of_data, "epochs": "1"}
    asked = options.with_defaults(defaults)
    check_objective(faults, name)
    for option in UNUSED:
        if getattr(options, option):
            text = f"with --objective the space is what --vary names: --vary {option}=..."
            faults.add(f"--{option.replace('_', '-')}", text)
    if options.skip_unreadable:
        faults.add("--skip-unreadable", "with --objective the data are read by the function")
    if options.recipe is not None:
        faults.add("--recipe", "with --objective the settings are what --set names: --set NAME=...")
    models, optims = (
        faults.many_of(f"--{option}", asked[option], partial(_label, faults, f"--{option}"))
        for option in ("model", "optim")
    )
    typed = [h for text in options.vary if (h := law(faults, text))]
    space = [*typed, *options.space]
    _check_settings(faults, options, [h.name for h in space])
    constants = _constants(faults, options, [h.name for h in space])
    for h in options.space:
        _check_name(faults, "space", h.name)
    _check_drawn_once(faults, typed, options.space)
    if not options.vary and not options.space:
        faults.add("--vary", "names nothing: say what shall be drawn, as in --vary C=0.01:100")
    return {
        "models": tuple(models),
        "optims": tuple(optims),
        "epochs": faults.lengths("--epochs", asked["epochs"]),
        "data": _label(faults, "--data", asked["data"]),
        "fingerprint": FINGERPRINT,
        "recipe": dict.fromkeys(optims, options.settings | constants),
        "space": tuple(space),
        "objective": name,
    }


def _constants(faults: Faults, options: "Options", drawn: list[str]) -> dict[str, Value]:
    """What `--set NAME=VALUE` hands to the function beside what is drawn."""
    found: dict[str, Value] = {}
    for text in options.set:
        name, equals, word = text.partition("=")
        if not equals or not word:
            faults.add(f"--set {text}", "allowed is NAME=VALUE")
        elif name in drawn or name in found:
            faults.add(f"--set {text}", f"{name} is named twice")
        elif _check_name(faults, f"--set {text}", name):
            try:
                found[name] = value_of(word)
            except ValueError as error:
                faults.add(f"--set {text}", str(error))
    return found


def _check_drawn_once(
    faults: Faults, typed: list[Hyperparameter], of_file: tuple[Hyperparameter, ...]
) -> None:
    """A law of --vary holds for all trials, so nothing else may name the same hyperparameter."""
    names = [h.name for h in (*typed, *of_file)]
    for name in dict.fromkeys(h.name for h in typed):
        if names.count(name) > 1:
            faults.add("--vary", f"{name} is given two ranges or lists of choices, allowed is one")


def _check_settings(faults: Faults, options: "Options", drawn: list[str]) -> None:
    """What a study file sets under [recipe]."""
    for name, value in options.settings.items():
        where = f"recipe: {name}"
        try:
            canonical_json(value)
        except (TypeError, ValueError):  # a date, or a number that is not finite
            faults.add(where, f"got {value}, allowed is text, a finite number, true or false")
        if fault := fault_of_text(value):
            faults.add(where, fault)
        if name in drawn:
            faults.add(where, "is both set and drawn, allowed is one of the two")
        _check_name(faults, "recipe", name)


def check_objective(faults: Faults, name: str) -> None:
    """Import the function and look at it, as a worker will."""
    hint = import_hint(name)
    if hint or not FUNCTION.fullmatch(name):
        faults.add("--objective", f"got {name!r}, allowed is package.module:function{hint}")
        return
    module, _, function = name.partition(":")
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.append(here)  # last, as in a worker
    remember_imported(UserCode.search(name, [""], Path.cwd()))
    try:
        found = getattr(importlib.import_module(module), function)
    except (Exception, SystemExit) as error:  # whatever a stranger's module does
        fault = f"{name} cannot be imported: {type(error).__name__}: {error}"
        faults.add("--objective", f"{fault} (searched: Python's path, then {here})")
        return
    if (not callable(found) or takes_one_trial(found)) and (
        fault_found := fault_of_objective(found)
    ):
        faults.add("--objective", f"{name} {fault_found}")


def law(faults: Faults, text: str) -> Hyperparameter | None:
    """`NAME=LO:HI`, with `:linear` and `:int` behind it where wanted, or `NAME=a,b,c`."""
    option = f"--vary {text}"
    name, equals, words = text.partition("=")
    if not equals or not words:
        faults.add(option, "allowed is NAME=LO:HI, NAME=LO:HI:linear, NAME=LO:HI:int or NAME=a,b,c")
        return None
    if not _check_name(faults, option, name):
        return None
    of_kind = _interval if ":" in words else _choices
    return of_kind(faults, option, name, words)


def _interval(faults: Faults, option: str, name: str, text: str) -> Hyperparameter | None:
    ends_text, words = ":".join(text.split(":")[:2]), text.split(":")[2:]
    if unknown := [word for word in words if word not in ("log", "linear", "int")]:
        faults.add(option, f"got {', '.join(unknown)}, allowed behind LO:HI is log, linear or int")
        return None
    scale: Literal["log", "linear"] = "linear" if "linear" in words else "log"
    ends = interval(faults, option, ends_text, log=scale == "log")
    if ends is None:
        return None
    integer = "int" in words
    if integer and not all(end.is_integer() for end in ends):
        faults.add(option, f"got {ends_text}, whole numbers need whole ends")
        return None
    if integer and max(map(abs, ends)) >= MAX_INT64:
        faults.add(option, f"got {ends_text}, allowed are whole numbers below 2^63 in magnitude")
        return None
    low, high = (int(end) if integer else end for end in ends)
    return Hyperparameter(name=name, low=low, high=high, scale=scale, integer=integer)


def _choices(faults: Faults, option: str, name: str, text: str) -> Hyperparameter | None:
    try:
        values = tuple(map(value_of, text.split(",")))
    except ValueError as error:
        faults.add(option, str(error))
        return None
    if fault := fault_of_values(values):
        faults.add(option, fault)
        return None
    return Hyperparameter(name=name, choices=values)


def _check_name(faults: Faults, option: str, name: str) -> bool:
    if not NAME.fullmatch(name):
        faults.add(option, f"{name!r} is no name: letters, digits and _")
    elif name in RESERVED_NAMES:
        faults.add(option, f"{name!r} is a column of the results table, take another name")
    else:
        return True
    return False


def _label(faults: Faults, option: str, text: str) -> str | None:
    if LABEL.fullmatch(text):
        return text
    faults.add(option, f"got {text!r}, allowed are letters, digits, '_', '.' and '-'")
    return None
