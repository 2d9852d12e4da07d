"""A campaign: scenes with seeded faults, one after the other or a few at a time; and its tally."""

import shutil
import subprocess
import tempfile
import threading
import traceback
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from itertools import cycle, islice
from pathlib import Path

import numpy as np

from chaos.local_faults import DISK_BYTES, FORKED_ALONE, SLURM, Fault
from chaos.scene import HungError, Scene, study_of
from chaos.verdict import Verdict, judge
from sweeps.study.study import Study

FAULTS_A_SCENE = 6
STUDIES = 6  # different ones; each is trained once undisturbed
DRAWS = 50  # more than the gate lets through before the last fault
MIXED = "several kinds at one study"


@dataclass
class Count:
    """Of one kind of fault."""

    faults: int = 0
    """At studies that were judged."""
    studies: int = 0
    lost: int = 0
    wrong: int = 0
    litter: int = 0
    hung: int = 0
    odd: int = 0
    """Drivers that ended in a way that no fault explains, and studies that could not be judged."""
    repeated: int = 0
    beside: int = 0
    twice: int = 0
    commands: int = 0
    """How often the command was given until a study was done, the first time included."""
    set_aside: int = 0

    def __add__(self, other: "Count") -> "Count":
        mine, others = asdict(self), asdict(other)
        return Count(**{name: mine[name] + others[name] for name in mine})


@dataclass
class Tally:
    """Of a campaign."""

    kinds: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    """Faults done at studies that were judged, by kind."""
    counts: dict[str, Count] = field(default_factory=lambda: defaultdict(Count))
    """What came of them: by kind where a study had one kind only, else under `MIXED`."""
    executors: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    """Studies by how their workers were started: `local`, `forked`, `slurm`."""
    complaints: list[str] = field(default_factory=list)

    def add(self, kinds: Sequence[str], executor: str, verdict: Verdict, commands: int) -> None:
        """One scene that was judged."""
        count = self.counts[title(kinds, executor)]
        count.faults += len(kinds)
        count.studies += 1
        self.executors[executor] += 1
        for kind in kinds:
            self.kinds[kind] += 1
        count.lost += len(verdict.lost)
        count.wrong += len(verdict.wrong)
        count.litter += len(verdict.litter)
        count.repeated += verdict.repeated
        count.beside += verdict.beside
        count.twice += verdict.twice
        count.set_aside += verdict.set_aside
        count.commands += commands
        count.odd += len(verdict.odd)

    def add_unjudged(self, kinds: Sequence[str], executor: str, error: Exception) -> None:
        """One that hung, or broke this program: its faults are not among those that count."""
        count = self.counts[title(kinds, executor)]
        count.studies += 1
        count.hung += isinstance(error, HungError)
        count.odd += not isinstance(error, HungError)


def executor_of(executor: str, kinds: Sequence[str], rng: np.random.Generator) -> str:
    """Who starts the workers: here, in half of the studies, one parent that forks them."""
    is_forked = bool(rng.integers(2)) or FORKED_ALONE in kinds
    return "forked" if executor == "local" and is_forked else executor


def title(kinds: Sequence[str], executor: str) -> str:
    """Of the line of the tally to which a study belongs."""
    if len(set(kinds)) == 1:
        return kinds[0]
    return f"{SLURM}{MIXED}" if executor == "slurm" else MIXED


def planned(
    kinds: Sequence[str], faults: int, rng: np.random.Generator, *, mixed: bool
) -> list[list[str]]:
    """Kinds for each scene: three of four scenes have one kind, the fourth a mixture.

    Each kind gets its turn before any gets a second one. `mixed`: all scenes are mixtures.
    """
    order = cycle(str(kind) for kind in rng.permutation(list(kinds)))
    scenes: list[list[str]] = []
    for start in range(0, faults, FAULTS_A_SCENE):
        size = min(FAULTS_A_SCENE, faults - start)
        if mixed:
            scenes.append(list(islice(order, size)))
        elif len(scenes) % 4 == 3:
            scenes.append([str(kind) for kind in rng.choice(list(kinds), size)])
        else:
            scenes.append([next(order)] * size)
    return scenes


class Campaign:
    """Scenes in a folder of their own."""

    def __init__(self, kinds: dict[str, Fault], seed: int, executor: str = "local") -> None:
        self.kinds = kinds
        self.seed = seed
        self.executor = executor
        self.tally = Tally()
        self.references: dict[int, Scene] = {}
        self.lock = threading.Lock()

    def run(
        self, faults: int, at_a_time: int, *, mixed: bool = False, only: int | None = None
    ) -> Tally:
        """Throw so many faults, or of these those of one scene; returns what came of them."""
        rng = np.random.default_rng([self.seed, len(self.kinds)])
        scenes = planned(list(self.kinds), faults, rng, mixed=mixed)
        numbers = [n for n in range(len(scenes)) if only in (None, n)]
        with (
            tempfile.TemporaryDirectory(prefix="chaos-") as name,
            ThreadPoolExecutor(at_a_time) as pool,
        ):
            list(pool.map(lambda n: self.play(Path(name), n, scenes[n]), numbers))
        return self.tally

    def play(self, folder: Path, number: int, kinds: list[str]) -> None:
        """One scene, and what came of it; whatever breaks here is told like a hang."""
        rng = np.random.default_rng([self.seed, number])
        study = study_of(int(rng.integers(STUDIES)), DRAWS)
        place = folder / f"{self.executor}-{number}"
        executor = executor_of(self.executor, kinds, rng)
        thrown = ", ".join(dict.fromkeys(kinds))
        where = f"seed {self.seed}, scene {number} ({executor}), {thrown}"
        with small_disk(place / "disk", "disk full" in kinds):
            scene = Scene(place, study, rng, executor)
            try:
                verdict = self.disturbed(scene, kinds, folder)
                with self.lock:
                    self.tally.add(kinds, executor, verdict, scene.commands)
                complaints = verdict.complaints()
            except Exception as error:
                with self.lock:
                    self.tally.add_unjudged(kinds, executor, error)
                complaints = [traceback.format_exc(limit=-3)]
            finally:
                scene.close()
            if complaints:
                self.tally.complaints += [f"{where}: {told}" for told in complaints]
                self.tally.complaints.append(f"{where}: its drivers said:\n{scene.said()}")
        shutil.rmtree(place, ignore_errors=True)

    def disturbed(self, scene: Scene, kinds: list[str], folder: Path) -> Verdict:
        """Faults, then the same command until all is trained, then the verdict."""
        for kind in kinds:
            scene.in_training()
            self.kinds[kind](scene)
        scene.resume_until_done()
        return judge(scene, self.undisturbed(folder, scene.study))

    def undisturbed(self, folder: Path, study: Study) -> Scene:
        """The same study, of which nobody wants anything; once for all scenes that have it."""
        with self.lock:
            if study.seed not in self.references:
                scene = Scene(folder / f"undisturbed-{study.seed}", study, np.random.default_rng(0))
                scene.resume_until_done()
                self.references[study.seed] = scene
        return self.references[study.seed]


@contextmanager
def small_disk(folder: Path, is_wanted: bool) -> Iterator[None]:
    """A disk of `DISK_BYTES` in memory at `folder`, where one is wanted."""
    if not is_wanted:
        yield
        return
    folder.mkdir(parents=True)
    size = f"size={DISK_BYTES}"
    subprocess.run(["mount", "-t", "tmpfs", "-o", size, "none", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
