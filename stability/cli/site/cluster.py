"""Where a study runs: options of executors and clusters, and profiles that store them.

A profile is a table `[profiles.NAME]` of options in stability.toml, in the current folder or in the
user's configuration folder. Options on the command line take precedence over it.
"""

import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from stability.cli.study.parsing import FaultList, not_one_of
from stability.training.engines.names import ENGINE_NAMES, parse_engine
from sweeps.executors import EXECUTORS
from sweeps.executors.slurm import commands
from sweeps.executors.slurm.options import SlurmOptions, is_reserved
from sweeps.worker.engine import AUTO

SLURM_WORKERS = 8
"""Default number of workers on a cluster."""
WORD_OPTIONS = ("partition", "account", "qos", "constraint", "exclude")
LIST_OPTIONS = ("setup", "slurm")
EXECUTOR_OPTIONS = ("executor", "workers", "device", "engine")
DEDICATED_OPTIONS = {"mem": "--memory", "cpus-per-task": "--cpus", "gpus-per-node": "--gpus"}
"""Options of sbatch that have another name here."""


@dataclass(frozen=True, kw_only=True)
class ClusterOptions:
    """Options of a cluster, as they were typed; None for those that were not."""

    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    exclude: str | None = None
    time: str | None = None
    memory: str | None = None
    cpus: str | None = None
    gpus: str | None = None
    setup: list[str] = field(default_factory=list)
    slurm: list[str] = field(default_factory=list)

    def typed(self) -> list[str]:
        """Names of what was typed."""
        return [f.name for f in fields(self) if getattr(self, f.name)]


PROFILE_KEYS = (*EXECUTOR_OPTIONS, "parallel", *(f.name for f in fields(ClusterOptions)))


@dataclass(frozen=True, kw_only=True)
class SiteOptions:
    """Options that say where a study runs, as they were typed. They change no result."""

    executor: str | None = None
    workers: str | None = None
    device: str | None = None
    engine: str | None = None
    out: str | None = None
    confirm: str | None = None
    detach: bool = False
    profile: str | None = None
    cluster: ClusterOptions = field(default_factory=ClusterOptions)


def collect_site_options(typed: dict[str, Any], **more: Any) -> SiteOptions:
    """Make `SiteOptions` from the options that were typed, by name."""
    cluster = {f.name: typed[f.name] for f in fields(ClusterOptions) if f.name in typed}
    others = {name: value for name, value in typed.items() if name not in cluster}
    return SiteOptions(**others, **more, cluster=ClusterOptions(**cluster))


@dataclass(frozen=True, kw_only=True)
class Site:
    """Where a study runs: the checked options."""

    executor: str
    device: str
    workers: int | None
    """None for one per slot of this machine."""
    slurm: SlurmOptions
    detach: bool = False
    engine: str = AUTO


def read_site(faults: FaultList, options: SiteOptions, remembered: Site | None = None) -> Site:
    """Check the options, completed by the profile or by the site of the last dispatch.

    The result is meaningless where a fault was found.
    """
    profile = read_profile(faults, options)
    before = len(faults.found)
    site = _site(faults, options if profile is None else with_profile(options, profile), remembered)
    if profile is not None:
        faults.found[before:] = [profile.named(fault) for fault in faults.found[before:]]
    return site


def _site(faults: FaultList, options: SiteOptions, remembered: Site | None) -> Site:
    executor = options.executor or (remembered.executor if remembered else "local")
    faults.one_of("--executor", executor, EXECUTORS)
    same = remembered if remembered and remembered.executor == executor else None
    device = options.device or (same.device if same else "auto")
    if not re.fullmatch(r"auto|cpu|cuda(:[0-9]+)?", device):
        faults.add("--device", f"got {device!r}, allowed is auto, cpu, cuda or cuda:i")
    workers = _workers(faults, options, executor) or (same.workers if same else None)
    engine = _engine(faults, options, same)
    if options.detach and executor == "inline":
        faults.add("--detach", "inline trains in this process, there is nothing to leave behind")
    if options.detach and options.confirm is not None:
        faults.add("--detach", "with --confirm: say resume --confirm when all is trained")
    slurm = SlurmOptions()
    if executor == "slurm":
        device, slurm = _slurm(faults, options.cluster, device, same)
        workers = workers or SLURM_WORKERS
    elif options.profile is None and executor in EXECUTORS:
        for name in options.cluster.typed():
            faults.add(f"--{name}", f"got it with --executor {executor}, it is for slurm")
    return Site(
        executor=executor,
        device=device,
        workers=workers,
        slurm=slurm,
        detach=options.detach,
        engine=engine,
    )


def _workers(faults: FaultList, options: SiteOptions, executor: str) -> int | None:
    if options.workers is None:
        return None
    workers = faults.whole("--workers", options.workers, low=1)
    if executor == "inline" and workers not in (None, 1):
        faults.add("--workers", f"got {workers}, inline has one")
    return workers


def _engine(faults: FaultList, options: SiteOptions, same: Site | None) -> str:
    """`auto`, or an engine in full: `stacked:16`."""
    text = options.engine or (same.engine if same else AUTO)
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
    faults: FaultList, typed: ClusterOptions, device: str, before: Site | None
) -> tuple[str, SlurmOptions]:
    """Device and Slurm options of each worker."""
    if missing := commands.missing():
        names = ", ".join(missing)
        faults.add("--executor", f"slurm needs commands that are not on this machine: {names}")
    known = before.slurm if before else SlurmOptions()
    extra = {**known.extra, **_extra(faults, typed.slurm)}
    changes: dict[str, Any] = {
        name: _word(faults, f"--{name}", text)
        for name in (*WORD_OPTIONS, "memory")
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
    faults: FaultList,
    typed: ClusterOptions,
    device: str,
    known: SlurmOptions,
    extra: dict[str, str],
) -> tuple[str, int]:
    """Device and GPUs of each worker; where only one is given, the other follows from it."""
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


def _word(faults: FaultList, option: str, text: str) -> str:
    if not re.fullmatch(r"[!-~]+", text):
        faults.add(option, f"got {text!r}, allowed are letters, digits and signs without spaces")
    return text


def _extra(faults: FaultList, texts: list[str]) -> dict[str, str]:
    """`KEY=VALUE` for sbatch; `KEY` alone for a flag."""
    found = {}
    for text in texts:
        key, _, value = text.partition("=")
        key, option = key.removeprefix("--"), f"--slurm {text!r}"
        if not re.fullmatch(r"[a-z][a-z0-9-]*", key):
            faults.add(option, "allowed is KEY=VALUE, KEY being an option of sbatch by its name")
        elif is_reserved(key):
            faults.add(option, f"{key} is decided here, results hang on it")
        elif key in DEDICATED_OPTIONS or key in (*WORD_OPTIONS, "time"):
            faults.add(option, f"say {DEDICATED_OPTIONS.get(key, f'--{key}')}")
        elif not value.isprintable():
            faults.add(option, "the value has a character that cannot be printed")
        else:
            found[key] = value
    return found


def _minutes(faults: FaultList, text: str) -> int | None:
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
    """Options of a profile that were not typed."""

    name: str
    texts: dict[str, Any]
    """Value of each option; `parallel` is stored as `workers`."""
    keys: dict[str, str]
    """Start of an option's faults (`--workers`) -> its name in the profile."""

    def named(self, fault: str) -> str:
        """The fault, naming the profile where the option comes from it."""
        option, _, words = fault.partition(": ")
        key = self.keys.get(option)
        return fault if key is None else f"profile {self.name}: {key}: {words}"


def read_profile(faults: FaultList, options: SiteOptions) -> Profile | None:
    """Read the profile that is asked for; None where none is."""
    if options.profile is None:
        return None
    texts: dict[str, Any] = {}
    keys: dict[str, str] = {}
    for key, value in _profile_table(faults, options.profile).items():
        named = f"profile {options.profile}: {key}"
        name = "workers" if key == "parallel" else key
        typed = getattr(options, name, None) or getattr(options.cluster, name, None)
        if key not in PROFILE_KEYS:
            faults.add(f"profile {options.profile}", not_one_of(key, PROFILE_KEYS))
        elif name in texts:
            faults.add(named, "got workers too, which means the same")
        elif name in LIST_OPTIONS:
            texts[name] = _list(faults, named, value)
        elif isinstance(value, bool) or not isinstance(value, str | int):
            faults.add(named, f"got {value!r}, allowed is a text")
        elif not typed:
            texts[name] = str(value)
        if not typed:
            keys[f"--{name}"] = key
    own = [text for text in texts.get("slurm", []) if text not in options.cluster.slurm]
    keys |= {f"--slurm {text!r}": f"slurm {text!r}" for text in own}
    return Profile(name=options.profile, texts=texts, keys=keys)


def with_profile(options: SiteOptions, profile: Profile) -> SiteOptions:
    """The options, completed by the profile."""
    typed, texts = options.cluster, dict(profile.texts)
    texts.setdefault("executor", options.executor or "slurm")  # a profile describes a cluster
    slurm = [*texts.pop("slurm", []), *typed.slurm]
    here = {name: text for name, text in texts.items() if name in EXECUTOR_OPTIONS}
    there = {
        name: text
        for name, text in texts.items()
        if name not in EXECUTOR_OPTIONS and not getattr(typed, name)
    }
    return replace(options, **here, cluster=replace(typed, **there, slurm=slurm))


def profile_files(environment: Mapping[str, str] = os.environ) -> list[Path]:
    """Files that may hold profiles; the first with the name wins."""
    home = environment.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return [Path("stability.toml"), Path(home) / "stability" / "stability.toml"]


def _profile_table(faults: FaultList, name: str) -> dict[str, Any]:
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


def _list(faults: FaultList, option: str, value: Any) -> list[str]:
    """A list of texts; a table becomes `KEY=VALUE` texts."""
    if isinstance(value, dict):
        return [f"{key}={text}" for key, text in value.items()]
    if isinstance(value, str):
        return [value]
    if isinstance(value, list) and all(isinstance(line, str) for line in value):
        return value
    faults.add(option, f"got {value!r}, allowed is a list of texts")
    return []
