"""What is trained: milliseconds, decided by the trial alone; some diverge, some fail at first.

Each epoch adds a link to a chain of hashes, and is kept. Who goes on from a damaged state or that
of another trial, or leaves an epoch out, ends with another result.

A scene's folder, named by `CHAOS_SCENE`, says how far trainings may go and what hits this process.
"""

import fcntl
import hashlib
import json
import os
import resource
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from chaos.clock import fake_clock
from chaos.cutting import cut_replace, taken
from sweeps.study.trial import Cohort, Result, Trial

HUNGRY_BYTES = 1 << 40


def train(cohort: Cohort) -> Iterator[Result]:
    """Take some milliseconds, then give numbers that the trial decides."""
    scene = Path(os.environ["CHAOS_SCENE"])
    cut_replace("worker")
    fake_clock()
    for trial in cohort.trials:
        saved = cohort.saved_of(trial)
        with noted(scene, trial):
            chain = json.loads(saved.load() or b"[]")
            while len(chain) < trial.epochs - 1:
                chain.append(link(trial, chain))
                saved.offer(lambda kept=tuple(chain): json.dumps(kept).encode())  # type: ignore[misc]
            while trial.draw >= allowed(scene):
                time.sleep(0.02)
            if taken(scene / "out-of-memory"):
                eat_memory()
            odd = what_to_do(scene)
            if odd == "yield":
                yield Result(trial="elsewhere", outcome="great", values={"error": "\udce9"})
            elif odd:
                misbehave(odd)
            time.sleep(0.002 + 0.01 * share(trial, "seconds"))
            if fails_at_first(trial) and first_time(scene, trial):
                raise ConnectionError("the file server went away")
            answer = result(trial, link(trial, chain))
        yield answer


@contextmanager
def noted(scene: Path, trial: Trial) -> Iterator[None]:
    """In the log: start, end, and `beside` where another living process trains it at that moment.

    A killed process writes no end, but the system frees its lock: who finds the lock taken trains
    beside one that lives.
    """
    with (scene / "training" / trial.id).open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            note(scene, trial, "beside")
        note(scene, trial, "start")
        try:
            yield
        finally:
            note(scene, trial, "end")


def link(trial: Trial, chain: Sequence[str]) -> str:
    """The next of the chain."""
    return hashlib.sha256(f"{trial.id} {' '.join(chain)}".encode()).hexdigest()


def result(trial: Trial, last: str) -> Result:
    """Error, loss, and a curve, of the last link; one in six diverges after its first epoch."""
    diverges = share(trial, "diverges") < 1 / 6
    error = round(90 * share(trial, last), 6)
    epochs = 2 if diverges else trial.epochs + 1
    curve = [
        {"epoch": epoch, "loss": share(trial, f"{last} {epoch}"), "val_error": 90.0 - epoch}
        for epoch in range(epochs)
    ]
    values = {"chance": 90.0, "n_eval": 1000, "metrics": [{"name": "own", "value": error / 3}]}
    if diverges:
        return Result(
            trial=trial.id, outcome="diverged", values={**values, "diverged_at": 7}, curve=curve
        )
    measured = {"error": error, "wrong": round(10 * error), "loss": share(trial, "loss")}
    return Result(trial=trial.id, outcome="ok", values={**values, **measured}, curve=curve)


def errand(question: dict[str, int]) -> dict[str, int]:
    """Asked beside forked workers; nobody needs the answer."""
    return {"twice": 2 * question["number"]}


def share(trial: Trial, what: str) -> float:
    """A number in [0, 1) that the trial decides."""
    digits = hashlib.sha256(f"{trial.id} {what}".encode()).hexdigest()[:12]
    return int(digits, 16) / 16**12


def fails_at_first(trial: Trial) -> bool:
    """One in eight raises the first time that it is trained to its end."""
    return share(trial, "fails") < 1 / 8


def first_time(scene: Path, trial: Trial) -> bool:
    """Whether nobody has failed with it before, in any process."""
    with suppress(FileExistsError):
        os.close(os.open(scene / "failed" / trial.id, os.O_CREAT | os.O_EXCL))
        return True
    return False


def allowed(scene: Path) -> int:
    """Draws from this one on wait."""
    try:
        return int((scene / "gate").read_text() or 0)
    except (OSError, ValueError):  # being written
        return 0


def note(scene: Path, trial: Trial, event: str) -> None:
    """A line of the log of trainings: appended whole, since it is shorter than a page."""
    with (scene / "log").open("a") as log:
        log.write(f"{trial.id} {os.getpid()} {event} {time.monotonic()}\n")


def what_to_do(scene: Path) -> str:
    """What the one training that takes the order `odd` does; empty for all others."""
    mine = scene / f"odd-{os.getpid()}"
    try:
        (scene / "odd").rename(mine)
    except FileNotFoundError:
        return ""
    return mine.read_text()


def misbehave(how: str) -> None:
    """What no objective should do; after a fork it goes on in two processes."""
    if how == "exit":
        os._exit(3)
    if how == "fork":
        os.fork()
        return
    os.close(1)
    raise KeyboardInterrupt(os.fsdecode(b"caf\xe9\0"))


def eat_memory() -> None:
    """Ask for more than there is allowed to be: a real MemoryError, of this process alone."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (HUNGRY_BYTES // 2, before[1]))
    try:
        bytearray(HUNGRY_BYTES)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
