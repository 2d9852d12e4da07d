"""The study of a user's own objective that the options ask for."""

import importlib
import re
import sys
from functools import partial
from pathlib import Path
from typing import Any

from stability.cli.study.options import StudyOptions
from stability.cli.study.parsing import (
    FaultList,
    fault_of_text,
    import_hint,
    value_of,
)
from stability.cli.study.vary import law
from sweeps.objective.function_objective import RESERVED_NAMES, fault_of_objective, takes_one_trial
from sweeps.objective.imported import remember_imported
from sweeps.objective.user_code import UserCode
from sweeps.study.space import Hyperparameter, Value
from sweeps.study.trial import canonical_json

NAME_PATTERN = re.compile(r"[A-Za-z_]\w*")
LABEL_PATTERN = re.compile(r"\w[\w.-]*")
FUNCTION_PATTERN = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
IMAGE_ONLY = ("lr", "weight_decay", "stem", "depth", "pool")
FINGERPRINT = "own"  # what data the function reads is unknown here


def fields_of_objective(faults: FaultList, options: StudyOptions) -> dict[str, Any]:
    """Fields of a study of an own objective; meaningless where a fault was found."""
    name = options.objective or ""
    module, _, function = name.partition(":")
    of_data = module.split(".")[-1]
    defaults = {"model": function or of_data, "optim": "own", "data": of_data, "epochs": "1"}
    asked = options.with_defaults(defaults)
    check_objective(faults, name)
    for option in IMAGE_ONLY:
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
    typed = [h for text in options.vary if (h := own_law(faults, text))]
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


def _constants(faults: FaultList, options: StudyOptions, drawn: list[str]) -> dict[str, Value]:
    """Constants that `--set NAME=VALUE` hands to the function."""
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
    faults: FaultList, typed: list[Hyperparameter], of_file: tuple[Hyperparameter, ...]
) -> None:
    """Check that no hyperparameter of --vary is named twice: its law holds for all trials."""
    names = [h.name for h in (*typed, *of_file)]
    for name in dict.fromkeys(h.name for h in typed):
        if names.count(name) > 1:
            faults.add("--vary", f"{name} is given two ranges or lists of choices, allowed is one")


def _check_settings(faults: FaultList, options: StudyOptions, drawn: list[str]) -> None:
    """Check what a study file sets under [recipe]."""
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


def check_objective(faults: FaultList, name: str) -> None:
    """Import the function as a worker will, and check it."""
    hint = import_hint(name)
    if hint or not FUNCTION_PATTERN.fullmatch(name):
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


def own_law(faults: FaultList, text: str) -> Hyperparameter | None:
    """The law of a hyperparameter of any name that is no column of the results."""
    return law(faults, text, partial(_check_name, faults))


def _check_name(faults: FaultList, option: str, name: str) -> bool:
    if not NAME_PATTERN.fullmatch(name):
        faults.add(option, f"{name!r} is no name: letters, digits and _")
    elif name in RESERVED_NAMES:
        faults.add(option, f"{name!r} is a column of the results table, take another name")
    else:
        return True
    return False


def _label(faults: FaultList, option: str, text: str) -> str | None:
    if LABEL_PATTERN.fullmatch(text):
        return text
    faults.add(option, f"got {text!r}, allowed are letters, digits, '_', '.' and '-'")
    return None
