"""Who trains which trial now: a file for each trial that is being trained.

A claim is a hard link to a file that already holds its owner's name, so that of two workers one
gets it, and nobody ever sees it half written. Only the driver, of which there is one, voids a
claim, and only of an owner that is provably gone: were workers to do it, the second of two could
void the claim that the first has just made.
"""

import os
from contextlib import suppress
from pathlib import Path

from sweeps.owner import Owner
from sweeps.run_directory import RunDirectory


def take(run: RunDirectory, trial: str, owner: Owner) -> bool:
    """Claim `trial` for `owner`, whose worker file exists; False where it is claimed already."""
    try:
        os.link(run.worker(owner.name), run.claim(trial))
    except FileExistsError:
        return False
    except OSError:  # a file system without hard links
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


def release(run: RunDirectory, trial: str) -> None:
    """Give a claim back, after the result is written."""
    with suppress(FileNotFoundError):
        run.claim(trial).unlink()


def held(run: RunDirectory) -> dict[str, Owner | None]:
    """Owner of each claimed trial; None where the claim is garbage."""
    return {path.stem: Owner.read(path) for path in sorted(run.claims.glob("*.json"))}


def living_workers(run: RunDirectory) -> list[Owner]:
    """Workers that are not provably gone."""
    owners = (Owner.read(path) for path in sorted(run.workers.glob("*.json")))
    return [owner for owner in owners if owner is not None and not owner.is_gone]


def void(run: RunDirectory) -> list[str]:
    """For the driver alone: remove claims whose owner is gone; returns their trials.

    A claim that cannot be read is void once no worker lives that could have made it.
    """
    voided = []
    for trial, owner in held(run).items():
        if owner.is_gone if owner else not living_workers(run):
            release(run, trial)
            voided.append(trial)
    for path in run.workers.glob("*.json"):
        owner = Owner.read(path)
        if owner is not None and owner.is_gone:
            path.unlink(missing_ok=True)
    return voided
