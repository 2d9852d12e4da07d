"""Who trains which trial now: a file for each trial that is being trained.

A claim is a hard link to a file that already holds its owner's name, so that of two workers one
gets it, and nobody ever sees it half written. Only the driver, of which there is one, voids a
claim, and only of an owner that is provably gone: were workers to do it, the second of two could
void the claim that the first has just made.

A claim that is given back after an attempt becomes a marker, `<trial>.done`. It tells workers that
have not looked at the parts since then that there may be a result: they take another trial. Who
has looked while it held the claim knows more and ignores markers, so an old one blocks nobody.
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
from sweeps.system.files import put_away

VIEW_SECONDS = 30.0
"""A worker looks at the parts again at the latest after this."""
SUFFIXES = (".json", ".done")
MARKER_SECONDS = 2 * VIEW_SECONDS
"""A marker stays at least so long."""


def take(run: RunDirectory, trial: str, owner: Owner) -> bool:
    """Claim `trial` for `owner`; False where it is claimed already.

    Raises EvictedError where the worker file is gone: the driver has taken this worker for dead.
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
    """Whether `owner` holds `trial` still, and was not taken for dead meanwhile."""
    return Owner.read(run.claim(trial)) == owner


def release(run: RunDirectory, trial: str) -> None:
    """Give a claim back after an attempt: its result is written, or it ended without one.

    The claim is renamed: whoever takes the trial next finds the marker.
    """
    claim, marker = run.claim(trial), run.marker(trial)
    with suppress(FileNotFoundError):
        if marker.samefile(claim):  # of this owner's last attempt: a link is not renamed to itself
            put_away(marker)
    try:
        claim.replace(marker)
    except FileNotFoundError:
        pass
    except NotADirectoryError:  # a folder in place of the claim
        put_away(claim)
    except IsADirectoryError:  # or of the marker
        put_away(marker)
        claim.replace(marker)


def put_back(run: RunDirectory, trial: str) -> None:
    """Give a claim back without an attempt."""
    put_away(run.claim(trial))


def has_marker(run: RunDirectory, trial: str) -> bool:
    """Whether an attempt ended lately; asked by who holds the claim."""
    return os.path.lexists(run.marker(trial))


def in_others_hands(run: RunDirectory) -> tuple[set[str], set[str]]:
    """Trials that are claimed now, and those that have a marker: from one listing."""
    try:
        names = os.listdir(run.claims)  # noqa: PTH208 - a Path for each takes longer
    except OSError:
        names = []
    stems = {end: {n.removesuffix(end) for n in names if n.endswith(end)} for end in SUFFIXES}
    return stems[".json"], stems[".done"]


class Markers:
    """Those of one worker. It removes them once no worker's view can be as old as they are.

    Those of failures stay until the driver ends: another worker may have replaced them with its
    own, which must not be removed early.
    """

    def __init__(self, run: RunDirectory, owner: Owner) -> None:
        self._run, self._owner = run, owner
        self._mine: deque[tuple[float, str]] = deque()

    def add(self, trial: str) -> None:
        """A trial that was trained and released just now."""
        now = time.monotonic()
        self._mine.append((now, trial))
        while now - self._mine[0][0] > MARKER_SECONDS:
            old = self._run.marker(self._mine.popleft()[1])
            if Owner.read(old) == self._owner:
                put_away(old)


def held(run: RunDirectory) -> dict[str, Owner | None]:
    """Owner of each claimed trial; None where the claim is garbage."""
    return {path.stem: Owner.read(path) for path in sorted(run.claims.glob("*.json"))}


def is_gone(owner: Owner) -> bool:
    """What this system can prove; a cluster may know more."""
    return owner.is_gone


def living_workers(run: RunDirectory, gone: Callable[[Owner], bool] = is_gone) -> list[Owner]:
    """Workers that are not provably gone."""
    return [owner for owner in workers(run) if not gone(owner)]


def workers(run: RunDirectory) -> list[Owner]:
    """Every worker that said it lives, and has not said that it ends."""
    found = ((path, Owner.read(path)) for path in sorted(run.workers.glob("*.json")))
    # A file in another worker's name could have that one taken for what it is not.
    return [owner for path, owner in found if owner is not None and owner.name == path.stem]


def void(run: RunDirectory, gone: Callable[[Owner], bool] = is_gone) -> None:
    """For the driver alone: remove claims whose owner is gone."""
    for trial in orphaned(run, gone):
        release(run, trial)


def orphaned(run: RunDirectory, gone: Callable[[Owner], bool] = is_gone) -> dict[str, Owner | None]:
    """For the driver alone: trials whose owner is gone, with that owner; nobody can take them yet.

    A claim, or a worker's file, that cannot be read is void once no worker lives whose it may be.
    """
    unreadable = []
    for path in run.workers.glob("*.json"):  # first: who comes back must not claim any more
        owner = Owner.read(path)
        if owner is None:
            unreadable.append(path)
        elif gone(owner):
            put_away(path)
    for path in unreadable if not living_workers(run, gone) else []:
        put_away(path)
    found = {
        trial: owner
        for trial, owner in held(run).items()
        if (gone(owner) if owner else not living_workers(run, gone))
    }
    # Again, now that the owners are gone: who ended in order gave its claim back before that, and
    # another may have it.
    return {trial: owner for trial, owner in found.items() if _is_still(run, trial, owner)}


def _is_still(run: RunDirectory, trial: str, owner: Owner | None) -> bool:
    """Whether `owner` holds `trial`; None for a claim that cannot be read."""
    claim = run.claim(trial)
    return Owner.read(claim) == owner and os.path.lexists(claim)
