"""Where a study shall run: the options of executors and clusters, and profiles that keep them.

A profile is a table `[profiles.NAME]` in stability.toml, here or in the user's configuration
folder, with the options by their names; what is typed goes before it.
"""

import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from stability.cli.study.parsing import Faults, not_one_of
from stability.training.engines.names import ENGINE_NAMES, parse_engine
from sweeps.executors import EXECUTORS
from sweeps.executors.slurm import commands
from sweeps.executors.slurm.options import SlurmOptions, is_reserved
from sweeps.worker.engine import AUTO

WORKERS = 8  # on a cluster, where nobody says how many
WORDS = ("partition", "account", "qos", "constraint", "exclude")
LISTS = ("setup", "slurm")
PLACE = ("executor", "workers", "device", "engine")
PROFILE = (
    *PLACE,
    "parallel",
    *WORDS,
    "time",
    "memory",
    "cpus",
    "gpus",
    *LISTS,
)
OWN = {"mem": "--memory", "cpus-per-task": "--cpus", "gpus-per-node": "--gpus"}


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """What is asked of a cluster, as it was typed; None for what was not."""

    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    time: str | None = None
    memory: str | None = None
    cpus: str | None = None
    gpus: str | None = None
    constraint: str | None = None
    exclude: str | None = None
    setup: list[str] = field(default_factory=list)
    slurm: list[str] = field(default_factory=list)

    def typed(self) -> list[str]:
        """Names of what was typed."""
        return [f.name for f in fields(self) if getattr(self, f.name)]


@dataclass(frozen=True, kw_only=True)
class SiteOptions:
    """Where it shall run, as it was typed: none of it decides a result."""

    executor: str | None = None
    workers: str | None = None
    device: str | None = None
    engine: str | None = None
    out: str | None = None
    confirm: str | None = None
    detach: bool = False
    profile: str | None = None
    cluster: Cluster = field(default_factory=Cluster)


def where_of(typed: dict[str, Any], **more: Any) -> SiteOptions:
    """From options by their names; those that were not typed are not among them."""
    cluster = {f.name: typed[f.name] for f in fields(Cluster) if f.name in typed}
    others = {name: value for name, value in typed.items() if name not in cluster}
    return SiteOptions(**others, **more, cluster=Cluster(**cluster))


@dataclass(frozen=True, kw_only=True)
class Site:
    """Where it runs, without a fault."""

    executor: str
    device: str
    workers: int | None
    """None for as many as there are slots."""
    slurm: SlurmOptions
    detach: bool = False
    engine: str = AUTO


def read_site(faults: Faults, where: SiteOptions, remembered: Site | None = None) -> Site:
    """What was typed, completed by the profile or by what the run directory was dispatched with.

    Where there is a fault, what is returned is of no use.
    """
    profile = read_profile(faults, where)
    before = len(faults.found)
    site = _site(faults, where if profile is None else with_profile(where, profile), remembered)
    if profile is not None:
        faults.found[before:] = [profile.named(fault) for fault in faults.found[before:]]
    return site


def _site(faults: Faults, where: SiteOptions, remembered: Site | None) -> Site:
    executor = where.executor or (remembered.executor if remembered else "local")
    faults.one_of("--executor", executor, EXECUTORS)
    same = remembered if remembered and remembered.executor == executor else None
    device = where.device or (same.device if same else "auto")
    if not re.fullmatch(r"auto|cpu|cuda(:[0-9]+)?", device):
        faults.add("--device", f"got {device!r}, allowed is auto, cpu, cuda or cuda:i")
    workers = _workers(faults, where, executor) or (same.workers if same else None)
    engine = _engine(faults, where, same)
    if where.detach and executor == "inline":
        faults.add("--detach", "inline trains in this process, there is nothing to leave behind")
    if where.detach and where.confirm is not None:
        faults.add("--detach", "with --confirm: say resume --confirm when all is trained")
    if executor == "slurm":
        device, options = _slurm(faults, where.cluster, device, same)
        return Site(
            executor=executor, device=device, workers=workers or WORKERS, slurm=options,
            detach=where.detach, engine=engine,
        )  # fmt: skip
    if where.profile is None and executor in EXECUTORS:
        for name in where.cluster.typed():
            faults.add(f"--{name}", f"got it with --executor {executor}, it is for slurm")
    return Site(
        executor=executor, device=device, workers=workers, slurm=SlurmOptions(),
        detach=where.detach, engine=engine,
    )  # fmt: skip


def _workers(faults: Faults, where: SiteOptions, executor: str) -> int | None:
    if where.workers is None:
        return None
    workers = faults.whole("--workers", where.workers, low=1)
    if executor == "inline" and workers not in (None, 1):
        faults.add("--workers", f"got {workers}, inline has one")
    return workers


def _engine(faults: Faults, where: SiteOptions, same: Site | None) -> str:
    """`auto`, or an engine in full: `stacked:16`."""
    text = where.engine or (same.engine if same else AUTO)
    if text == AUTO:
        return AUTO
    try:
        return str(parse_engine(text))
    except ValueError as error:
        name = text.partition(":")[0]
        unknown = name not in ENGINE_NAMES
        faults.add("--engine", not_one_of(name, (AUTO, *ENGINE_NAMES)) if unknown else str(error))
        return AUTO


def _slurm(
    faults: Faults, typed: Cluster, device: str, before: Site | None
) -> tuple[str, SlurmOptions]:
    """The device and what is asked of Slurm for each worker."""
    if missing := commands.missing():
        names = ", ".join(missing)
        faults.add("--executor", f"slurm needs commands that are not on this machine: {names}")
    known = before.slurm if before else SlurmOptions()
    extra = {**known.extra, **_extra(faults, typed.slurm)}
    changes: dict[str, Any] = {
        name: _word(faults, f"--{name}", text)
        for name in (*WORDS, "memory")
        if (text := getattr(typed, name)) is not None
    }
    if typed.memory is not None and not re.fullmatch(r"[0-9]+[KMGT]?", typed.memory):
        faults.add("--memory", f"got {typed.memory!r}, allowed is a number with K, M, G or T: 8G")
    if typed.time is not None:
        changes["time"] = _minutes(faults, typed.time)
    if typed.cpus is not None:
        changes["cpus"] = faults.whole("--cpus", typed.cpus, low=1, high=1024)
    device, changes["gpus"] = _gpus(faults, typed, device, known, extra)
    if any("\n" in line or "\r" in line for line in typed.setup):
        faults.add("--setup", "got a line break, allowed is one line; say --setup again")
    if typed.setup:
        changes["setup"] = tuple(typed.setup)
    return device, replace(known, **changes, extra=extra)


def _gpus(
    faults: Faults, typed: Cluster, device: str, known: SlurmOptions, extra: dict[str, str]
) -> tuple[str, int]:
    """Device and GPUs of each worker, each following from the other where one is not said."""
    otherwise = bool({"gres", "gpus", "gpus-per-task"} & extra.keys())
    gpus = known.gpus
    if typed.gpus is not None:
        gpus = faults.whole("--gpus", typed.gpus, low=0, high=16) or 0
    if device.startswith("cuda:"):
        faults.add("--device", f"got {device!r}, on a cluster Slurm chooses the GPU: cuda")
    if device == "auto":
        return "cuda" if gpus or otherwise else "cpu", gpus
    if device == "cuda" and not gpus and not otherwise:
        if typed.gpus == "0":
            faults.add("--gpus", "got 0, --device cuda needs one")
        gpus = 1
    return device, gpus


def _word(faults: Faults, option: str, text: str) -> str:
    if not re.fullmatch(r"[!-~]+", text):
        faults.add(option, f"got {text!r}, allowed are letters, digits and signs without spaces")
    return text


def _extra(faults: Faults, texts: list[str]) -> dict[str, str]:
    """`KEY=VALUE` for sbatch; `KEY` alone for a flag."""
    found = {}
    for text in texts:
        key, _, value = text.partition("=")
        key, option = key.removeprefix("--"), f"--slurm {text!r}"
        if not re.fullmatch(r"[a-z][a-z0-9-]*", key):
            faults.add(option, "allowed is KEY=VALUE, KEY being an option of sbatch by its name")
        elif is_reserved(key):
            faults.add(option, f"{key} is decided here, results hang on it")
        elif key in OWN or key in (*WORDS, "time"):
            faults.add(option, f"say {OWN.get(key, f'--{key}')}")
        elif not value.isprintable():
            faults.add(option, "the value has a character that cannot be printed")
        else:
            found[key] = value
    return found


def _minutes(faults: Faults, text: str) -> int | None:
    """Minutes of a time as Slurm writes it: `90`, `90:00`, `1:30:00`, `1-12`, `1-12:30`."""
    shapes = (
        (r"(\d+)(?::(\d+))?", (1, 1 / 60)),
        (r"(\d+):(\d+):(\d+)", (60, 1, 1 / 60)),
        (r"(\d+)-(\d+)(?::(\d+))?(?::(\d+))?", (1440, 60, 1, 1 / 60)),
    )
    for shape, units in shapes:
        if found := re.fullmatch(shape, text, re.ASCII):
            parts = zip(found.groups(), units, strict=True)
            minutes = sum(int(part or 0) * unit for part, unit in parts)
            if minutes >= 1:
                return int(-(-minutes // 1))
    faults.add("--time", f"got {text!r}, allowed is MINUTES, H:MM:SS or D-HH, from one minute on")
    return None


@dataclass(frozen=True, kw_only=True)
class Profile:
    """What a profile says where the options are silent."""

    name: str
    texts: dict[str, Any]
    """By option, `workers` also where it is called `parallel`."""
    keys: dict[str, str]
    """What each is called there, by how a fault of the option begins."""

    def named(self, fault: str) -> str:
        """A fault of an option, by the profile's name where it stands there."""
        option, _, words = fault.partition(": ")
        key = self.keys.get(option)
        return fault if key is None else f"profile {self.name}: {key}: {words}"


def read_profile(faults: Faults, where: SiteOptions) -> Profile | None:
    """The profile that is asked for, without what is typed; None where none is."""
    if where.profile is None:
        return None
    texts: dict[str, Any] = {}
    keys: dict[str, str] = {}
    for key, value in _profile(faults, where.profile).items():
        named = f"profile {where.profile}: {key}"
        name = "workers" if key == "parallel" else key
        typed = getattr(where, name, None) or getattr(where.cluster, name, None)
        if key not in PROFILE:
            faults.add(f"profile {where.profile}", not_one_of(key, PROFILE))
        elif name in texts:
            faults.add(named, "got workers too, which means the same")
        elif name in LISTS:
            texts[name] = _list(faults, named, value)
        elif isinstance(value, bool) or not isinstance(value, str | int):
            faults.add(named, f"got {value!r}, allowed is a text")
        elif not typed:
            texts[name] = str(value)
        if not typed:
            keys[f"--{name}"] = key
    own = [text for text in texts.get("slurm", []) if text not in where.cluster.slurm]
    keys |= {f"--slurm {text!r}": f"slurm {text!r}" for text in own}
    return Profile(name=where.profile, texts=texts, keys=keys)


def with_profile(where: SiteOptions, profile: Profile) -> SiteOptions:
    """The options, with what the profile says where they are silent."""
    typed, texts = where.cluster, dict(profile.texts)
    texts.setdefault("executor", where.executor or "slurm")  # a profile keeps a cluster's facts
    slurm = [*texts.pop("slurm", []), *typed.slurm]
    here = {name: text for name, text in texts.items() if name in PLACE}
    there = {
        name: text for name, text in texts.items() if name not in PLACE and not getattr(typed, name)
    }
    return replace(where, **here, cluster=replace(typed, **there, slurm=slurm))


def profile_files(environment: Mapping[str, str] = os.environ) -> list[Path]:
    """Where profiles are looked for, the first that has the name wins."""
    home = environment.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return [Path("stability.toml"), Path(home) / "stability" / "stability.toml"]


def _profile(faults: Faults, name: str) -> dict[str, Any]:
    names: list[str] = []
    for path in profile_files():
        try:
            tables = tomllib.loads(path.read_text(encoding="utf-8")).get("profiles", {})
        except FileNotFoundError:
            continue
        except (OSError, ValueError) as error:
            faults.add("--profile", f"{path} cannot be read: {error}")
            continue
        if isinstance(tables, dict) and isinstance(tables.get(name), dict):
            return dict(tables[name])
        names += tables if isinstance(tables, dict) else []
    files = " or ".join(map(str, profile_files()))
    found = not_one_of(name, names) if names else f"{name!r} is not there, nor any other"
    faults.add("--profile", f"{found}; looked for [profiles.{name}] in {files}")
    return {}


def _list(faults: Faults, option: str, value: Any) -> list[str]:
    """Lines, or `KEY=VALUE` of a table."""
    if isinstance(value, dict):
        return [f"{key}={text}" for key, text in value.items()]
    if isinstance(value, str):
        return [value]
    if isinstance(value, list) and all(isinstance(line, str) for line in value):
        return value
    faults.add(option, f"got {value!r}, allowed is a list of texts")
    return []
