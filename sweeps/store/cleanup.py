"""Removes temporary files of writers that were killed, and markers of earlier workers."""

from collections.abc import Callable
from contextlib import suppress

from sweeps.store import claims
from sweeps.store.owner import Owner
from sweeps.store.run_directory import MARKERS, RunDirectory
from sweeps.system.files import TEMPORARY, remove_or_set_aside


def remove_leftovers(run: RunDirectory, gone: Callable[[Owner], bool] = claims.is_gone) -> None:
    """Remove them if no worker is alive that could still be writing. For the driver only.

    A command that only reads (`status`, `edf`) may be writing a view at that moment: it continues
    with the view that is there.
    """
    if claims.living_workers(run, gone):
        return
    for folder in (run.path, *run.folders):
        for path in folder.glob(TEMPORARY):
            with suppress(OSError):
                path.unlink()
    for path in run.claims.glob(MARKERS):
        owner = Owner.read(path)
        # A job that was queued may have begun just now.
        if owner is None or not run.worker(owner.name).exists():
            with suppress(OSError):
                remove_or_set_aside(path)
