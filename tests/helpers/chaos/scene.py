"""One study, with its driver and workers as processes, at which faults are thrown."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from toys import HELPERS, ROOT

from sweeps.store import checkpoints
from sweeps.store.run_directory import RunDirectory
from sweeps.study.design import draw_design
from sweeps.study.space import Hyperparameter
from sweeps.study.study import Study

PATIENCE = 120.0  # seconds until a scene is said to hang
LOOK_SECONDS = 0.05
RESUMES = 12
OPEN = 10**6


class HungError(Exception):
    """What was waited for did not come."""


@dataclass
class Scene:
    """A folder with a run directory, a gate that holds trainings back, and a log of them."""

    folder: Path
    study: Study
    rng: np.random.Generator
    executor: str = "local"
    workers: int = 2
    gate: int = 0
    drivers: list["subprocess.Popen[bytes]"] = field(default_factory=list)
    cures: list[Callable[[], None]] = field(default_factory=list)
    """What ends a lasting fault: unmounts, frees."""
    explained: set[str] = field(default_factory=set)
    """What a fault that was thrown explains: trials trained `beside` a living process that was
    taken for dead, trained rows that are `twice` in the parts."""

    expected: set[int] = field(default_factory=lambda: {0, 1})
    """How drivers may end: done, something left; and what the faults that were thrown explain."""
    oddities: list[str] = field(default_factory=list)
    """What no fault explains, noticed while one was thrown."""
    started: list["subprocess.Popen[bytes]"] = field(default_factory=list)
    """All drivers, ended ones too."""

    def __post_init__(self) -> None:
        self.run = RunDirectory(self.folder / "disk" / "run")
        for name in ("disk", "failed", "training"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        self.study.write(self.folder / "study.toml")
        self.open_gate(0)
        self.sign = f"CHAOS_SCENE={self.folder}\0".encode()
        self.trials = draw_design(self.study)

    @property
    def environment(self) -> dict[str, str]:
        """Of drivers, and so of workers."""
        path = os.pathsep.join([str(HELPERS), str(ROOT)])
        every_epoch = {checkpoints.INTERVAL_VARIABLE: "0"}
        return {**os.environ, **every_epoch, "CHAOS_SCENE": str(self.folder), "PYTHONPATH": path}

    def open_gate(self, draws: int) -> None:
        """Let trainings of the first draws end."""
        self.gate = draws
        new = self.folder / "gate.new"
        new.write_text(str(draws))
        new.rename(self.folder / "gate")

    def let_on(self, draws: int) -> None:
        """Let so many more trainings end than are in hand: what failed comes last of all."""
        held = {path.stem for path in self.run.claims.glob("*.json")}
        first = max((t.draw for t in self.trials if t.id in held), default=0)
        self.open_gate(max(self.gate, first) + draws)

    def spawn(self, *options: str) -> "subprocess.Popen[bytes]":
        """The command, once more."""
        command = [sys.executable, "-m", "chaos.drive", self.executor, str(self.workers), *options]
        with (self.folder / "said").open("ab") as said:
            driver = subprocess.Popen(
                command, cwd=HELPERS, env=self.environment, stdout=said, stderr=said
            )
        self.drivers.append(driver)
        self.started.append(driver)
        return driver

    @property
    def commands(self) -> int:
        """How often a driver was started."""
        return len(self.started)

    def odd(self) -> list[str]:
        """Drivers that ended as no fault explains."""
        ends = (driver.poll() for driver in self.started)
        unexpected = [end for end in ends if end not in {None, *self.expected}]
        return self.oddities + [f"a driver ended with {end}" for end in unexpected]

    def said(self) -> str:
        """The last words of its drivers."""
        path = self.folder / "said"
        return path.read_text(errors="replace")[-3000:] if path.exists() else ""

    def driver(self) -> "subprocess.Popen[bytes]":
        """The driver that lives, or a new one where none does."""
        self.drivers = [driver for driver in self.drivers if driver.poll() is None]
        return self.drivers[0] if self.drivers else self.spawn("--retry-failed")

    def living(self) -> list[int]:
        """Processes that have trained something and live, whatever their files say."""
        log = self.folder / "log"
        lines = log.read_text().splitlines() if log.exists() else []
        trained = {int(line.split()[1]) for line in lines}
        return sorted(pid for pid in trained if self.is_alive(pid))

    def parents(self) -> list[int]:
        """Processes of this scene, other than drivers, from which living workers were forked."""
        parents = {parent_of(pid) for pid in self.living()} & set(self.processes())
        return sorted(parents - {driver.pid for driver in self.drivers})

    def is_alive(self, pid: int) -> bool:
        """Whether `pid` is a process of this scene."""
        try:
            return self.sign in Path(f"/proc/{pid}/environ").read_bytes()
        except OSError:
            return False

    def in_training(self) -> None:
        """Have a driver, and workers with trials in hand; then let some of those end.

        What comes next meets them wherever they are.
        """
        self.wait(lambda: bool(self.driver()) and bool(self.living()) and self.has_claims())
        self.let_on(int(self.rng.integers(2, 5)))
        time.sleep(float(self.rng.uniform(0, 0.25)))

    def has_claims(self) -> bool:
        """Whether some trial is in hand."""
        return any(self.run.claims.glob("*.json"))

    def kill(self, pid: int) -> None:
        """As the system does that runs out of memory."""
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)

    def wait(self, condition: Callable[[], bool], patience: float = PATIENCE) -> None:
        """Look until it is so. Raises HungError."""
        deadline = time.monotonic() + patience
        while not condition():
            if time.monotonic() > deadline:
                raise HungError(f"{self.folder}: waited {patience:g} s in vain")
            time.sleep(LOOK_SECONDS)

    def heal(self) -> None:
        """End what lasts."""
        while self.cures:
            self.cures.pop()()

    def resume_until_done(self) -> None:
        """The same command until it ends with 0. Raises HungError."""
        self.heal()
        self.open_gate(OPEN)
        patience = 5 * PATIENCE if self.executor == "slurm" else 2 * PATIENCE
        for _ in range(RESUMES):
            driver = self.driver()
            try:
                status = driver.wait(patience)
            except subprocess.TimeoutExpired as error:
                raise HungError(f"{self.folder}: a driver does not end") from error
            if status == 0:
                self.drivers.clear()
                return
        raise HungError(f"{self.folder}: not done after {RESUMES} commands")

    def processes(self) -> list[int]:
        """Whoever carries this scene in its environment."""
        pids = (int(folder.name) for folder in Path("/proc").glob("[0-9]*"))
        return [pid for pid in pids if self.is_alive(pid)]

    def close(self) -> None:
        """Leave nothing behind, whatever happened."""
        self.heal()
        for pid in self.processes():
            self.kill(pid)
        for driver in self.drivers:
            driver.kill()
            driver.wait()


def parent_of(pid: int) -> int:
    """0 where there is no such process."""
    try:
        # After the name, which may hold anything: state, parent, ...
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def study_of(seed: int, draws: int) -> Study:
    """A study of the objective beside this."""
    return Study(
        models=("a",),
        optims=("sgd",),
        epochs=(3,),
        draws=draws,
        sampler="random",
        seed=seed,
        data="chaos",
        fingerprint="0123456789ab",
        objective="chaos.objective:train",
        recipe={"sgd": {"momentum": 0.9}},
        space=(
            Hyperparameter(name="lr", low=0.01, high=1.0),
            Hyperparameter(name="weight_decay", low=1e-5, high=1e-3),
        ),
    )
