"""How the trials of a study are trained: chosen once, the same for all trials of a kind.

An objective that can train several trials as one says so by its `engines`. The first worker of a
study asks them while the others wait, and what they answer is written into the run directory: the
first writer wins, and every later worker reads it.
"""

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter

from sweeps.errors import ExecutorError, SpoiltError, StoreError
from sweeps.store import claims
from sweeps.store.run_directory import RunDirectory
from sweeps.study.trial import Trial
from sweeps.system import locks
from sweeps.system.files import parse_toml, read_text, temporary_beside

AUTO = "auto"
ONE_BY_ONE = "eager"


@dataclass(frozen=True, kw_only=True)
class EnginePlan:
    """How the trials of one kind are trained."""

    engine: str = ONE_BY_ONE
    trials: int = 1
    """At most so many as one, or side by side."""
    measured: dict[str, float | str] = field(default_factory=dict)
    """By engine, milliseconds per step and trial, or why there are none; empty if not measured."""
    beside: dict[str, float] = field(default_factory=dict)
    """By engine, seconds per trial beside its epochs, its share of what is paid once among them."""

    @property
    def reason(self) -> str | None:
        """Why its trials are trained one by one though another way was asked for or tried."""
        if self.engine != ONE_BY_ONE:
            return None
        return next((why for why in self.measured.values() if isinstance(why, str)), None)


@dataclass(frozen=True, kw_only=True)
class EngineDecision:
    """What holds for all trials of a study."""

    device: str
    """`cpu` or `cuda`."""
    asked: str = AUTO
    """`auto`, or the engine that a person asked for."""
    by: str = ""
    """Which worker chose, on which device."""
    ways: dict[str, EnginePlan] = field(default_factory=dict)
    """By kind of trial; one by one where a kind is not among them."""

    @property
    def is_special(self) -> bool:
        """Whether anything is otherwise than it was before there were engines."""
        usual = all(plan.engine == ONE_BY_ONE and not plan.reason for plan in self.ways.values())
        return self.device != "cpu" or not usual

    def plan(self, kind: str) -> EnginePlan:
        """Of the trials of a kind."""
        return self.ways.get(kind, EnginePlan())


class Engines(ABC):
    """What an objective knows of training several trials as one."""

    @abstractmethod
    def kind(self, trial: Trial) -> str:
        """For a person and the choice: model, optimizer, batch."""

    @abstractmethod
    def cohort_key(self, trial: Trial, engine: str) -> Hashable:
        """Equal for trials that `engine` can train as one."""

    @abstractmethod
    def ways(self, trials: Sequence[Trial], device: str, asked: str) -> dict[str, EnginePlan]:
        """By kind; measured on this device where `asked` is auto and there is a choice."""

    @property
    def is_spoilt(self) -> bool:
        """Whether choosing has left this process in a state in which it should train nothing."""
        return False

    def name_of(self, device: str) -> str:
        """Name of the device here."""
        return device


F = TypeVar("F", bound=Callable[..., Any])


def trained_by(engines: Engines) -> Callable[[F], F]:
    """Mark an objective: these are its engines."""

    def marked(objective: F) -> F:
        objective.engines = engines  # type: ignore[attr-defined]
        return objective

    return marked


def engines_of(objective: object) -> Engines | None:
    """Those of an objective; None where it trains one trial after the other."""
    return getattr(objective, "engines", None)


def decide_engine(
    run: RunDirectory,
    engines: Engines | None,
    trials: Sequence[Trial],
    device: str,
    asked: str,
    by: str,
) -> EngineDecision:
    """What holds for the study; chosen and written where nothing does yet.

    Raises ExecutorError where its trials are trained on another kind of device, StoreError where
    the file cannot be read, SpoiltError where this process chose and should now end.
    """
    if engines is None:
        return EngineDecision(device=device)
    decision = read_engine_file(run.engine)
    if decision is None:
        with one_at_a_time(run.engine_lock):
            decision = read_engine_file(run.engine)  # of the one that was waited for
            if decision is None:
                ways = engines.ways(trials, device, asked)
                by = f"{by} on {engines.name_of(device)}"
                write_engine_file(
                    run.engine, EngineDecision(device=device, asked=asked, by=by, ways=ways)
                )
                if engines.is_spoilt:
                    raise SpoiltError(f"a graph failed while {by} chose: another process goes on")
                decision = read_engine_file(run.engine) or EngineDecision(device=device)
    if decision.device != device:
        raise ExecutorError(device_mismatch(decision, device))
    return decision


def forget_unused_decision(run: RunDirectory, device: str, asked: str, *, begun: bool) -> None:
    """Have an engine chosen again where another is asked for and no trial was trained with the old.

    `begun`: whether a trial is trained. For the driver alone.
    """
    decision = read_engine_file(run.engine)
    if decision is None or begun or claims.living_workers(run):
        return
    if (decision.device, decision.asked) != (device, asked):
        run.engine.unlink(missing_ok=True)


@contextmanager
def one_at_a_time(lock: Path) -> Iterator[None]:
    """Hold `lock`, waiting for whoever has it; the system frees it however its holder ends.

    Where a file system knows no locks, nobody waits: each then does the work, and one is first.
    """
    with ExitStack() as stack:
        with suppress(OSError):
            locks.acquire(stack.enter_context(locks.open_lock(lock)), wait=True)
        yield


def device_mismatch(decision: EngineDecision, device: str) -> str:
    """Why this kind of device cannot go on with the study."""
    return (
        f"got {device}, the study was begun on {decision.device}: its trials must be comparable, "
        f"so allowed is {decision.device}"
    )


def read_engine_file(path: Path) -> EngineDecision | None:
    """None where nothing is settled yet. Raises StoreError where the file cannot be read."""
    try:
        content = parse_toml(read_text(path))
        decision = TypeAdapter(EngineDecision).validate_python(content)
        if any(plan.trials < 1 for plan in decision.ways.values()):
            raise ValueError("trials is below 1")
        return decision
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        told = " ".join(str(error).split())
        raise StoreError(
            f"{path} cannot be read: {told}. Move it away to have an engine chosen again."
        ) from error


def write_engine_file(path: Path, decision: EngineDecision) -> None:
    """Write the file whole, unless another one was first."""
    import tomli_w

    header = "# How the trials are trained: chosen once, read by every worker. Milliseconds per\n"
    header += (
        "# step and trial where it was measured; beside: seconds per trial beside its epochs.\n"
    )
    content = asdict(decision)
    for plan in content["ways"].values():
        for found in ("measured", "beside"):
            if not plan[found]:
                del plan[found]
    text = header + tomli_w.dumps(content)
    with temporary_beside(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
        try:
            os.link(temporary, path)  # whole, and only where there is none
        except FileExistsError:
            return
        except OSError:  # a file system without hard links
            _create(path, text)


def _create(path: Path, text: str) -> None:
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        return


def describe_engine(decision: EngineDecision) -> list[str]:
    """A line for each way of training, with its kinds, for a person."""
    kinds: dict[tuple[str, int], list[str]] = {}
    for kind, plan in decision.ways.items():
        kinds.setdefault((plan.engine, plan.trials), []).append(kind)
    lines = []
    for (engine, trials), names in kinds.items():
        many = f", {trials} at a time" if trials > 1 else ""
        shown = names if len(names) <= 3 else [*names[:3], f"{len(names) - 3} more"]
        whose = f" ({'; '.join(shown)})" if len(kinds) > 1 else ""
        lines.append(f"engine {engine}{many} on {decision.device}{whose}")
    reasons = dict.fromkeys(plan.reason for plan in decision.ways.values())
    return [*lines, *(f"trained one by one: {reason}" for reason in reasons if reason)]
