"""A study in TOML: the options by their names, and any search space.

model = ["vitp", "vitc"]
optim = "sgd"
draws = 32
[recipe]               # its name, and settings that are not drawn
name = "micro"         # default: the one that suits the data
weight_decay = 0.0005
mixup = "off"          # of those that can be
[[space]]              # as many as there are hyperparameters
name = "lr"
low = 0.01
high = 1.0             # scale = "log" (default) or "linear", integer = true
[[space]]
name = "momentum"
choices = [0.8, 0.9]
optims = ["sgd"]       # only for these optimizers, or models = [...]
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from stability.cli.study.options import StudyOptions
from stability.cli.study.parsing import FaultList, fault_of_values
from sweeps.study.space import Hyperparameter
from sweeps.system.files import parse_toml, read_text

TEXT_KEYS = ("model", "optim", "data", "epochs", "draws", "sampler", "seed", "objective", "unit")
IMAGE_KEYS = ("stem", "depth", "pool", "precision")
TABLE_KEYS = ("recipe", "space")


def with_file(faults: FaultList, options: StudyOptions, path: Path) -> StudyOptions:
    """The options, completed by the file."""
    content = _read(faults, path)
    if "trials" in content:  # the name of earlier versions
        if "draws" in content:
            faults.add(
                str(path), "draws and trials are two names of one key, allowed is one of them"
            )
        content["draws"] = content.pop("trials")
    for name in content:
        faults.one_of(f"{path}", name, (*TEXT_KEYS, "within", *IMAGE_KEYS, *TABLE_KEYS))
    texts: dict[str, Any] = {
        name: _text(faults, f"{path}: {name}", content[name])
        for name in (*TEXT_KEYS, *IMAGE_KEYS)
        if name in content and getattr(options, name) is None
    }
    if "within" in content and options.within is None and options.unit is None:
        within = content["within"]
        texts["within"] = str(within)
        if isinstance(within, bool) or not isinstance(within, int | float):
            faults.add(f"{path}: within", f"got {within!r}, allowed is a number")
    settings = content.get("recipe", {})
    if not isinstance(settings, dict):
        faults.add(f"{path}: recipe", "allowed is a table")
        settings = {}
    if (options.objective or texts.get("objective")) is None and "name" in settings:
        found = _text(faults, f"{path}: recipe: name", settings["name"])
        settings = {key: value for key, value in settings.items() if key != "name"}
        if found is not None and options.recipe is None:
            texts["recipe"] = found
    space = _space(faults, path, content.get("space", []))
    return replace(options, **texts, settings=settings, space=tuple(space))


def is_resolved(path: Path) -> bool:
    """Whether this is the study.toml of a run directory, which is complete."""
    try:
        return "fingerprint" in parse_toml(read_text(path))
    except (OSError, ValueError):
        return False  # said when it is read


def _read(faults: FaultList, path: Path) -> dict[str, Any]:
    try:
        return parse_toml(read_text(path))
    except (OSError, ValueError) as error:
        faults.add("--study", f"{path} cannot be read: {error}")
        return {}


def _text(faults: FaultList, where: str, value: Any) -> str | None:
    """The value as it would be typed: a list with commas."""
    values = value if isinstance(value, list) else [value]
    if all(isinstance(v, str | int) and not isinstance(v, bool) for v in values) and values:
        return ",".join(map(str, values))
    faults.add(where, f"got {value!r}, allowed is a text, a whole number, or a list of these")
    return None


def _space(faults: FaultList, path: Path, tables: Any) -> list[Hyperparameter]:
    if not isinstance(tables, list):
        faults.add(f"{path}: space", "allowed are tables: [[space]]")
        return []
    found: list[Hyperparameter] = []
    for place, table in enumerate(tables, start=1):
        try:
            h = Hyperparameter.model_validate(table)
        except ValidationError as error:
            for where, sentence in sentences(error):
                faults.add(f"{path}: space {place}", f"{where}: {sentence}")
            continue
        if fault := fault_of_values(table.get("choices", ())):
            faults.add(f"{path}: space {place}", f"choices: {fault}")
        elif h.integer and not all(float(end or 0).is_integer() for end in (h.low, h.high)):
            faults.add(f"{path}: space {place}", "low and high: whole numbers need whole ends")
        else:
            found.append(h)
    return found


def sentences(error: ValidationError) -> list[tuple[str, str]]:
    """Keys of a space table that are wrong, each with its first fault."""
    found: dict[str, str] = {}
    for e in error.errors():
        where = ".".join(map(str, e["loc"][:2])) or "it"
        fault = e["msg"].removeprefix("Value error, ")
        if e["loc"][:1] == ("choices",) and len(e["loc"]) > 1:
            fault = f"got {e['input']!r}, allowed are numbers, text, true and false"
        found.setdefault(where, fault)
    return list(found.items())


def check_conditions(
    faults: FaultList, space: tuple[Hyperparameter, ...], models: list[str], optims: list[str]
) -> None:
    """Check that conditions name models and optimizers of the study, and leave one law for each."""
    for h in space:
        for name in h.models:
            faults.one_of(f"space: {h.name}: models", name, models)
        for name in h.optims:
            faults.one_of(f"space: {h.name}: optims", name, optims)
    for name in dict.fromkeys(h.name for h in space):
        laws = [h for h in space if h.name == name]
        for model in models:
            for optim in optims:
                if sum(h.applies_to(model, optim) for h in laws) > 1:
                    faults.add("space", f"{name} has two laws for {model} with {optim}")
                    return
