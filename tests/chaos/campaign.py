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

from chaos.local_faults import DISK_BYTES, Fault
from chaos.scene import HungError, Scene, study_of
from chaos.verdict import Verdict, judge
from sweeps.study import Study

FAULTS_A_SCENE = 6
STUDIES = 6  # different ones; each is trained once undisturbed
DRAWS = 50  # more than the gate lets through before the last fault
MIXED = "several kinds at one study"


@dataclass
class Count:
    """Of one kind of fault."""

    faults: int = 0
    studies: int = 0
    lost: int = 0
    wrong: int = 0
    litter: int = 0
    hung: int = 0
    repeated: int = 0
    doubled: int = 0
    overlapping: int = 0
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
    """Faults done, by kind."""
    counts: dict[str, Count] = field(default_factory=lambda: defaultdict(Count))
    """What came of them: by kind where a study had one kind only, else under `MIXED`."""
    complaints: list[str] = field(default_factory=list)

    def add(self, kinds: Sequence[str], verdict: Verdict | None, commands: int) -> None:
        """One scene; `verdict` None where it hung."""
        name = kinds[0] if len(set(kinds)) == 1 else MIXED
        count = self.counts[name]
        count.faults += len(kinds)
        count.studies += 1
        for kind in kinds:
            self.kinds[kind] += 1
        if verdict is None:
            count.hung += 1
            return
        count.lost += len(verdict.lost)
        count.wrong += len(verdict.wrong)
        count.litter += len(verdict.litter)
        count.repeated += verdict.repeated
        count.doubled += verdict.doubled
        count.overlapping += verdict.overlapping
        count.set_aside += verdict.set_aside
        count.commands += commands
        for what in ("lost", "wrong", "litter"):
            self.complaints += [f"{name}: {what}: {found}" for found in getattr(verdict, what)]


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

    def run(self, faults: int, at_a_time: int, *, mixed: bool = False) -> Tally:
        """Throw so many faults; returns what came of them."""
        rng = np.random.default_rng([self.seed, len(self.kinds)])
        scenes = planned(list(self.kinds), faults, rng, mixed=mixed)
        with (
            tempfile.TemporaryDirectory(prefix="chaos-") as name,
            ThreadPoolExecutor(at_a_time) as pool,
        ):
            folder = Path(name)
            list(pool.map(lambda n: self.play(folder, n, scenes[n]), range(len(scenes))))
        return self.tally

    def play(self, folder: Path, number: int, kinds: list[str]) -> None:
        """One scene: faults, then the same command until it is done, then the verdict."""
        rng = np.random.default_rng([self.seed, number])
        study = study_of(int(rng.integers(STUDIES)), DRAWS)
        place = folder / f"{self.executor}-{number}"
        verdict = None
        with small_disk(place / "disk", "disk full" in kinds):
            scene = Scene(place, study, rng, self.executor_of(number))
            try:
                for kind in kinds:
                    scene.in_training()
                    self.kinds[kind](scene)
                scene.resume_until_done()
                verdict = judge(scene, self.undisturbed(folder, study))
            except (HungError, OSError, AssertionError, subprocess.SubprocessError):
                words = traceback.format_exc(limit=-3)
                said = (scene.folder / "said").read_text()[-2000:]
                self.tally.complaints.append(f"{number} {kinds}: {words}{said}")
            finally:
                scene.close()
        with self.lock:
            self.tally.add(kinds, verdict, scene.commands)
        shutil.rmtree(place, ignore_errors=True)

    def executor_of(self, number: int) -> str:
        """Here, every other study has workers forked from one process, as `stability sweep` has."""
        return "forked" if self.executor == "local" and number % 2 else self.executor

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
