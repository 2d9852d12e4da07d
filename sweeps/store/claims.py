"""Claims: a file for each trial that is being trained, with the worker that trains it.

A claim is a hard link to the worker's own file. So only one of two workers gets it, and it is never
half written. Only the driver, of which there is one, removes a claim of another process, and only
if that process is provably gone: a second worker that did so could remove the claim that a first
one has just made.

A claim that is released after an attempt becomes a marker, `<trial>.done`. Workers that have not
read the parts since then see that there may be a result, and take another trial. A worker that has
read them while it held the claim ignores the marker, so an old one blocks nobody.
"""

import os
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from sweeps.errors import EvictedError
from sweeps.store.owner import Owner
from sweeps.store.run_directory import RunDirectory
from sweeps.system.files import remove_or_set_aside

VIEW_SECONDS = 30.0
"""A worker reads the parts again after this time at the latest."""
CLAIM_SUFFIXES = (".json", ".done")
MARKER_SECONDS = 2 * VIEW_SECONDS
"""A marker is kept at least this long."""


def acquire(run: RunDirectory, trial: str, owner: Owner) -> bool:
    """Claim `trial` for `owner`; return False if it is claimed already.

    Raises EvictedError if the worker's file is gone: the driver has taken this worker for dead.
    """
    try:
        os.link(run.worker(owner.name), run.claim(trial))
    except FileExistsError:
        return False
    except OSError as error:  # a file system without hard links
        if not run.worker(owner.name).exists():
            raise EvictedError(f"{owner} was taken for dead, and others have its work") from error
        return _create(run.claim(trial), owner)
    return True


def _create(path: Path, owner: Owner) -> bool:
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    except FileExistsError:
        return False
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(owner.to_json())
    return True


def is_mine(run: RunDirectory, trial: str, owner: Owner) -> bool:
    """Whether `owner` still holds `trial`, and was not taken for dead."""
    return Owner.read(run.claim(trial)) == owner


def release(run: RunDirectory, trial: str) -> None:
    """Release a claim after an attempt: its result is written, or it ended without one.

    The claim is renamed to the marker, which the next owner of the trial finds.
    """
    claim, marker = run.claim(trial), run.marker(trial)
    with suppress(FileNotFoundError):
        if marker.samefile(claim):  # the same owner's: a link is not renamed to itself
            remove_or_set_aside(marker)
    try:
        claim.replace(marker)
    except FileNotFoundError:
        pass
    except NotADirectoryError:  # a folder in place of the claim
        remove_or_set_aside(claim)
    except IsADirectoryError:  # or of the marker
        remove_or_set_aside(marker)
        claim.replace(marker)


def withdraw(run: RunDirectory, trial: str) -> None:
    """Release a claim without an attempt."""
    remove_or_set_aside(run.claim(trial))


def has_marker(run: RunDirectory, trial: str) -> bool:
    """Whether an attempt ended lately; for the worker that holds the claim."""
    return os.path.lexists(run.marker(trial))


def claimed_and_marked(run: RunDirectory) -> tuple[set[str], set[str]]:
    """Return the claimed trials and those with a marker, from one listing."""
    try:
        names = os.listdir(run.claims)  # noqa: PTH208 - a Path for each takes longer
    except OSError:
        names = []
    stems = {end: {n.removesuffix(end) for n in names if n.endswith(end)} for end in CLAIM_SUFFIXES}
    return stems[".json"], stems[".done"]


class Markers:
    """The markers of one worker, which removes each once every worker has read the parts since.

    Markers of failures stay until the driver ends: another worker may have replaced them with its
    own, which must not be removed early.
    """

    def __init__(self, run: RunDirectory, owner: Owner) -> None:
        self._run, self._owner = run, owner
        self._mine: deque[tuple[float, str]] = deque()

    def add(self, trial: str) -> None:
        """Add a trial that was trained and released just now; remove old markers."""
        now = time.monotonic()
        self._mine.append((now, trial))
        while now - self._mine[0][0] > MARKER_SECONDS:
            old = self._run.marker(self._mine.popleft()[1])
            if Owner.read(old) == self._owner:
                remove_or_set_aside(old)


def held(run: RunDirectory) -> dict[str, Owner | None]:
    """Return the owner of each claimed trial; None if the claim cannot be read."""
    return {path.stem: Owner.read(path) for path in sorted(run.claims.glob("*.json"))}


def is_gone(owner: Owner) -> bool:
    """Whether this system can prove that `owner` is gone; a cluster may know more."""
    return owner.is_gone


def living_workers(run: RunDirectory, gone: Callable[[Owner], bool] = is_gone) -> list[Owner]:
    """Return the workers that are not provably gone."""
    return [owner for owner in workers(run) if not gone(owner)]


def workers(run: RunDirectory) -> list[Owner]:
    """Return every worker that has registered and not ended in order."""
    found = ((path, Owner.read(path)) for path in sorted(run.workers.glob("*.json")))
    # A file in another worker's name could make that one appear to be what it is not.
    return [owner for path, owner in found if owner is not None and owner.name == path.stem]


def release_orphaned(run: RunDirectory, gone: Callable[[Owner], bool] = is_gone) -> None:
    """Release claims whose owner is gone. For the driver only."""
    for trial in orphaned_claims(run, gone):
        release(run, trial)


def orphaned_claims(
    run: RunDirectory, gone: Callable[[Owner], bool] = is_gone
) -> dict[str, Owner | None]:
    """Return trials whose owner is gone, with that owner; they stay claimed. For the driver only.

    A claim or worker file that cannot be read counts once no worker is alive that may have it.
    """
    unreadable = []
    for path in run.workers.glob("*.json"):  # first: a worker that wakes up must not claim any more
        owner = Owner.read(path)
        if owner is None:
            unreadable.append(path)
        elif gone(owner):
            remove_or_set_aside(path)
    for path in unreadable if not living_workers(run, gone) else []:
        remove_or_set_aside(path)
    found = {
        trial: owner
        for trial, owner in held(run).items()
        if (gone(owner) if owner else not living_workers(run, gone))
    }
    # Again, now that the owners are gone: a worker that ended in order had released its claim
    # before that, and another may have it.
    return {
        trial: owner
        for trial, owner in found.items()
        if Owner.read(run.claim(trial)) == owner and os.path.lexists(run.claim(trial))
    }
