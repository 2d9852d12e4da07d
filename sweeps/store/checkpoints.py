"""Checkpoints of long trainings in the run directory.

A checkpoint is the objective's own bytes and a last line (the trailer) with the trial, the version
of the user's code and a digest. A checkpoint that is damaged, of another trial or of other code is
ignored. It never changes a result: a resumed training gives what an uninterrupted one would, and
without a checkpoint the training begins anew.
"""

import hashlib
import os
import re
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

from sweeps.errors import EvictedError, SpecError
from sweeps.objective.user_code import UserCode
from sweeps.store import claims
from sweeps.store.owner import Owner
from sweeps.store.parts import Ledger
from sweeps.store.run_directory import RunDirectory
from sweeps.study.trial import TRAINED, Cohort, GetState, Result, Saved
from sweeps.system.files import atomic_write, read_bytes, remove_or_set_aside

EVERY_SECONDS = 60.0
MAX_CHECKPOINT_BYTES = 64 << 30
INTERVAL_FACTOR = (
    100  # between two checkpoints lies at least so many times what the last one took: 1%
)
INTERVAL_VARIABLE = "STABILITY_CHECKPOINT_SECONDS"
TRAILER = re.compile(rb"stability-checkpoint 1 (\S+) (\S+) (\d+\.\d+) ([0-9a-f]{64})")


def checkpoint_interval() -> float:
    """Return the shortest time between two checkpoints: a minute, or what the environment says.

    At 0 each one that is offered is written, whatever it costs. Raises SpecError.
    """
    text = os.environ.get(INTERVAL_VARIABLE, "")
    try:
        seconds = float(text) if text else EVERY_SECONDS
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise SpecError([f"{INTERVAL_VARIABLE} is {text!r}, allowed is a number of seconds from 0"])
    return seconds


class Checkpoint(Saved):
    """The checkpoint of one trial, for the worker that holds the trial."""

    def __init__(self, of: "Checkpoints", trial: str, size: int, code: str) -> None:
        """`size`: size of the cohort, which shares its time; `code`: digest of the user's code."""
        self.trial, self._of, self._size, self._code = trial, of, size, code
        self.path = of.run.checkpoint(trial)
        self._begun = perf_counter()
        self._due = self._begun + of.every
        self._went_on = self._made = self._warned = False

    def load(self) -> bytes | None:
        """Return what an interrupted training of this trial left; None to begin anew."""
        try:
            content = read_bytes(self.path, MAX_CHECKPOINT_BYTES)
        except FileNotFoundError:
            return None
        except (OSError, MemoryError) as error:
            self._say(f"its checkpoint cannot be read, training begins anew: {error}")
            return None
        state, _, line = content.rpartition(b"\n")
        match = TRAILER.fullmatch(line)
        if match is None or trailer_of(state, *match.groups()[:3]) != line:
            self._say("its checkpoint is damaged, training begins anew")
            return None
        if match[1] != self.trial.encode() or match[2] != self._code.encode():
            self._say("its checkpoint is of another trial or other code, training begins anew")
            return None
        self.seconds_before, self._went_on = float(match[3]), True
        self._say(f"goes on from its checkpoint, after {self.seconds_before:.1f} s of training")
        return state

    def maybe_save(
        self, state: GetState, others: Sequence[tuple[Any, GetState]] | None = None
    ) -> None:
        """Keep what `state` returns if that is due; a full disk costs a warning.

        `others`: checkpoints and states of the trials that are trained as one with this one.
        Raises EvictedError where one of the trials was given to others meanwhile.
        """
        start, is_one = perf_counter(), self._size == 1 or others is not None
        if not (is_one and self._of.on_epoch()) and start < self._due:
            return
        everyone: list[tuple[Checkpoint, GetState]] = [(self, state), *(others or ())]
        written = [each._keep(its) for each, its in everyone]
        if any(written):
            self._of.on_save()
        now = perf_counter()
        due = now + (max(self._of.every, INTERVAL_FACTOR * (now - start)) if self._of.every else 0)
        for each, _ in everyone:
            each._due = due

    def _keep(self, state: GetState) -> bool:
        """Write the state; return whether that was possible."""
        if not claims.is_mine(self._of.run, self.trial, self._of.owner):
            raise EvictedError(f"{self.trial} of {self._of.owner} was given to others")
        try:
            self._write(state())
        except (OSError, MemoryError) as error:
            if not self._warned:
                self._say(f"no checkpoint can be written, training goes on: {error or 'no memory'}")
            self._warned = True
            return False
        self._made = True
        return True

    def discard(self, reason: str) -> None:
        """Note that what was loaded cannot be used: training begins anew."""
        self.seconds_before, self._went_on = 0.0, False
        self._say(f"its checkpoint {reason}, training begins anew")

    def end(self, result: Result) -> None:
        """Remove the checkpoint, if it is of no more use, after the result was written.

        After a failure it stays for the next attempt, unless the training resumed from it and came
        no further: then it may be the cause. In a cohort any other checkpoint may be the cause.
        """
        came_no_further = self._size == 1 and self._went_on and not self._made
        if result.outcome in TRAINED or (came_no_further and result.outcome != "timed_out"):
            remove_checkpoint(self.path)

    def _write(self, state: bytes) -> None:
        self.path.parent.mkdir(exist_ok=True)
        remove_partial_files(self.path)  # of killed writers: this worker is the only one now
        seconds = self.seconds_before + (perf_counter() - self._begun) / self._size
        facts = (self.trial.encode(), self._code.encode(), f"{seconds:.3f}".encode())
        with atomic_write(self.path) as temporary, temporary.open("wb") as file:
            file.write(state)
            file.write(b"\n" + trailer_of(state, *facts))

    def _say(self, what: str) -> None:
        print(f"{self.trial}: {what}", file=sys.stderr, flush=True)


@dataclass(frozen=True, kw_only=True)
class Checkpoints:
    """The checkpoints of a run directory, for one worker."""

    run: RunDirectory
    owner: Owner
    code: UserCode | None
    """Code that this worker has imported: no training resumes from a checkpoint of other code."""
    every: float
    on_save: Callable[[], None]
    on_epoch: Callable[[], bool]
    """Called at each offer of a trial or whole cohort; returns whether to save at once."""

    @classmethod
    def here(
        cls,
        run: RunDirectory,
        owner: Owner,
        on_save: Callable[[], None] = lambda: None,
        on_epoch: Callable[[], bool] = lambda: False,
        code: UserCode | None = None,
    ) -> "Checkpoints":
        """Create them with the interval that the environment says. Raises SpecError."""
        return cls(
            run=run,
            owner=owner,
            code=code,
            every=checkpoint_interval(),
            on_save=on_save,
            on_epoch=on_epoch,
        )

    def of(self, cohort: Cohort) -> dict[str, Checkpoint]:
        """Return the checkpoint of each trial of a cohort."""
        code = self.code or UserCode(objective="", modules={})
        return {
            trial.id: Checkpoint(
                self, trial.id, len(cohort.trials), code.checkpoint_digest(trial.model)
            )
            for trial in cohort.trials
        }


def trailer_of(state: bytes, trial: bytes, code: bytes, seconds: bytes) -> bytes:
    """Return the trailer of `state`: trial, code, seconds of training, and a digest of all."""
    facts = b"stability-checkpoint 1 %b %b %b" % (trial, code, seconds)
    whole = hashlib.sha256(state)
    whole.update(facts)
    return facts + b" " + whole.hexdigest().encode()


def remove_finished(run: RunDirectory, ledger: Ledger) -> None:
    """Remove checkpoints of finished trials: their worker died before it did so itself."""
    held = claims.held(run)
    for path in run.checkpoints.glob("*.pt"):
        if path.stem not in held and ledger.is_trained(path.stem):
            remove_checkpoint(path)


def remove_checkpoint(path: Path) -> None:
    """Remove a checkpoint and its partial files, if possible; what stays does no harm."""
    with suppress(OSError):
        remove_or_set_aside(path)
        remove_partial_files(path)


def remove_partial_files(path: Path) -> None:
    """Remove what killed writers of `path` have left."""
    for half in path.parent.glob(f".{path.name}.*.tmp"):
        half.unlink(missing_ok=True)
