"""A study's folder: the one place that knows where things lie in it."""

import tempfile
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import pyarrow as pa

from sweeps.errors import SpecError, StoreError
from sweeps.store.repair import contradiction, keep_damaged, read_study
from sweeps.study.design import Design, as_design, draw_design, read_design_table, write_design
from sweeps.study.study import Study
from sweeps.study.trial import Trial
from sweeps.system import locks
from sweeps.system.trust import make_folder

MARKERS = "*.done"


class RunDirectory:
    """Paths of a run directory; creates and checks it.

    `study.toml` and `design.parquet` define the study, `parts/` holds the results.
    `results.parquet`, `curves.parquet` and pictures are views, which may be deleted.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.study = self.path / "study.toml"
        self.design = self.path / "design.parquet"
        self.provenance = self.path / "provenance"
        self.claims = self.path / "claims"
        self.workers = self.path / "workers"
        self.parts = self.path / "parts"
        self.checkpoints = self.path / "checkpoints"
        self.jobs = self.path / "jobs"
        self.folders = (
            *(self.provenance, self.claims, self.workers, self.parts),
            *(self.checkpoints, self.jobs),
        )
        self.results = self.path / "results.parquet"
        self.curves = self.path / "curves.parquet"
        self.edf = self.path / "edf.png"
        self.lock = self.path / "driver.lock"
        self.cancel = self.path / "cancel"
        self.engine = self.path / "engine.toml"
        self.code = self.path / "code.toml"
        self.engine_lock = self.path / "engine.lock"

    @property
    def identity(self) -> str:
        """Device and inode: the same after a rename or in a bind mount, another in a copy.

        Empty if there is no such folder.
        """
        try:
            found = self.path.stat()
        except OSError:
            return ""
        return f"{found.st_dev}:{found.st_ino}"

    def claim(self, trial: str) -> Path:
        """Return the path of the claim on a trial."""
        return self.claims / f"{trial}.json"

    def marker(self, trial: str) -> Path:
        """What a claim becomes when it is given back: see `sweeps.store.claims.release`."""
        return self.claims / f"{trial}.done"

    def worker(self, name: str) -> Path:
        """Return the path of the file of a living worker."""
        return self.workers / f"{name}.json"

    def part(self, worker: str, number: int) -> Path:
        """Return the path of one of a worker's parts."""
        return self.parts / f"{worker}-{number:04d}.parquet"

    def checkpoint(self, trial: str) -> Path:
        """Return the path of a trial's checkpoint."""
        return self.checkpoints / f"{trial}.pt"

    def confirmation(self, seeds: int) -> "RunDirectory":
        """Return the run directory of the confirmation with this number of fresh seeds."""
        return RunDirectory(self.path / f"confirm-r{seeds}")

    def confirmations(self) -> list["RunDirectory"]:
        """Return the existing confirmations, of any number of seeds."""
        runs = map(RunDirectory, sorted(self.path.glob("confirm-r*")))
        return [run for run in runs if run.exists()]

    def create(self, study: Study, design: Sequence[Trial]) -> Design:
        """Write the study and its design if needed; return the design as it was read back.

        A damaged file of the two is kept under another name and written again.
        Raises SpecError if the folder holds another study or is not a run directory, StoreError if
        it cannot be written.
        """
        if faults := self.faults(study):
            raise SpecError(faults)
        try:
            make_folder(self.path)
            if not self.study.exists() or self._damage():
                if self.study.exists():
                    keep_damaged(self.study)
                study.write(self.study)  # first: it is what makes the folder a run directory
            self.name_unit(study)
            for folder in self.folders:
                make_folder(folder)
            ids = [trial.id for trial in design]  # of one that was read, this checks each
            if self.design.exists():
                if (there := self.readable_design()) is not None and there.ids == ids:
                    return there
                if against := contradiction(design, self.design, self.parts):
                    raise StoreError(f"{self.design} cannot be used: {against}")
                keep_damaged(self.design)
            write_design(study, design, self.design)
        except OSError as error:
            raise StoreError(f"{self.path} cannot be written: {error}") from error
        return self.read_design()

    def faults(self, study: Study) -> list[str]:
        """Return what prevents `study` from being run in this folder; nothing is written."""
        if not self.exists():
            return unusable_as_new_folder(self.path)
        if link := self.link():
            return [link]
        if damage := self._damage():
            against = contradiction(draw_design(study), self.design, self.parts)
            return [f"{damage}; {against}"] if against else []
        there = self.read_study()
        faults = [f"{self.path} holds another study: {d}" for d in study.differences(there)]
        if faults:
            faults[-1] += f". Give another --out; stability resume {self.path} continues that study"
        return faults

    def name_unit(self, study: Study) -> None:
        """Write the unit of `study`, and `primary` in that unit, into the study of this folder.

        Raises StoreError if it cannot be written.
        """
        for run in (*(run for run in self.confirmations() if run._damage() is None), self):
            there = run.read_study()
            if (study.unit, study.primary) == (there.unit, there.primary):
                continue
            try:
                there.in_unit(study.unit, study.primary.within).write(run.study)
            except OSError as error:
                raise StoreError(f"{run.study} cannot be written: {error}") from error

    @property
    def unit(self) -> str:
        """Unit of the errors in the parts; empty if none was named or the study is unreadable."""
        try:
            return self.read_study().read_by
        except StoreError:
            return ""

    def exists(self) -> bool:
        """Whether there is a study in this folder."""
        try:
            return self.study.exists()
        except OSError:  # a folder that may not be entered, a name that is too long
            return False

    def read_study(self) -> Study:
        """Read the study. Raises StoreError if this is not a run directory."""
        if not self.exists():
            raise StoreError(f"{self.path} is not a run directory: there is no study.toml in it")
        if link := self.link():
            raise StoreError(link)
        return _study(self.study, stamp(self.study))

    def _damage(self) -> str | None:
        """Why the study cannot be read; None where it can."""
        try:
            _study(self.study, stamp(self.study))
        except StoreError as error:
            return str(error)
        return None

    def link(self) -> str | None:
        """Return why a folder in it cannot be used; None if all can.

        Files are created, renamed and removed in them; through a link that would happen elsewhere.
        """
        for folder in self.folders:
            if folder.is_symlink():
                return f"{folder} is a link; what is written in a run directory stays in it"
        return None

    def read_design(self) -> Design:
        """The trials in the order of the design. Raises StoreError."""
        self.read_study()
        return _design(self.study, stamp(self.study), self.design, stamp(self.design))

    def design_table(self) -> pa.Table:
        """The rows of the design, whichever study they are of. Raises StoreError."""
        return _table(self.design, stamp(self.design))

    def readable_design(self) -> Design | None:
        """Read the trials; None if that is impossible: they can be drawn from the study."""
        try:
            return self.read_design()
        except StoreError:
            return None


class Identity:
    """Identity of a driver's folder and lock, to notice when they are moved or replaced."""

    def __init__(self, run: RunDirectory) -> None:
        self.run = run
        self._folder, self._lock = _inode(run.path), _inode(run.lock)
        self._is_locked = locks.any_held()

    def change(self) -> str | None:
        """Return what was moved, removed or replaced since; None if nothing was."""
        run = self.run
        if (folder := _inode(run.path)) != self._folder:
            what = "replaced by another folder" if folder else "moved or removed"
            return (
                f"{run.path} was {what} while it was driven; nothing more is written there. What "
                "was trained is where the folder is now: stability resume FOLDER continues there"
            )
        lock = _inode(run.lock)
        if lock != self._lock or (lock is None and self._is_locked):
            what = "replaced" if lock else "removed"
            return (
                f"{run.lock} was {what} while it was driven, so another driver may have started; "
                "this one ends. The same command continues"
            )
        # Without checkpoints/ training goes on, and each worker says what it cannot write.
        needed = [folder for folder in run.folders if folder != run.checkpoints]
        if gone := [folder for folder in needed if not folder.is_dir()]:
            return (
                f"{', '.join(map(str, gone))} was removed while {run.path} was driven. The same "
                "command makes it again and trains what is missing"
            )
        return None


Stamp = tuple[int, ...] | None


def stamp(path: Path) -> Stamp:
    """Changes when the file is replaced or written; None where there is no file."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_ctime_ns, found.st_size


# A process parses each study and design once: the caches are keyed by the stamp of the file, and
# hold no exception. Neighbours have a study each; at most two designs and tables (a run and its
# confirmation) are kept, as those of 100,000 trials are large.
@lru_cache(maxsize=256)
def _study(path: Path, stamp: Stamp) -> Study:
    return read_study(path)


@lru_cache(maxsize=2)
def _table(path: Path, stamp: Stamp) -> pa.Table:
    return read_design_table(path)


@lru_cache(maxsize=2)
def _design(study: Path, study_stamp: Stamp, path: Path, stamp: Stamp) -> Design:
    return as_design(_study(study, study_stamp), path, _table(path, stamp))


def _inode(path: Path) -> tuple[int, int] | None:
    """Return device and inode of a file; None if there is none."""
    try:
        found = path.lstat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def unusable_as_new_folder(path: Path) -> list[str]:
    """Return why no new run directory can be made at `path`; nothing is left written."""
    try:
        str(path.absolute()).encode()
    except UnicodeEncodeError:
        return [f"{path} is not valid UTF-8, which tables need for their paths: take another --out"]
    try:
        if path.exists() and not path.is_dir():
            return [f"{path} is a file, a folder is needed"]
        if path.is_dir() and any(not child.name.startswith(".") for child in path.iterdir()):
            return [f"{path} is not empty and not a run directory: it has no study.toml"]
        existing = next(folder for folder in (path, *path.parents) if folder.exists())
        if not existing.is_dir():
            return [f"{existing} is a file, a folder is needed to make {path}"]
        # Permissions say nothing to root or on a read-only file system, and a name may be too
        # long: try.
        probe = Path(tempfile.mkdtemp(dir=existing))
        try:
            (probe / path.name).mkdir()
            (probe / path.name).rmdir()
        finally:
            probe.rmdir()
    except OSError as error:
        return [f"{path} cannot be written: {error.strerror}"]
    return []
