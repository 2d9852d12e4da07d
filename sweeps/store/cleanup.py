"""Temporary files of writers that were killed while they wrote, and markers of earlier workers."""

from collections.abc import Callable
from contextlib import suppress

from sweeps.store import claims
from sweeps.store.owner import Owner
from sweeps.store.run_directory import MARKERS, RunDirectory
from sweeps.system.files import TEMPORARY, put_away


def sweep_up(run: RunDirectory, gone: Callable[[Owner], bool] = claims.is_gone) -> None:
    """For the driver alone: remove them, once no worker lives that could still be writing.

    Who only looks (`status`, `edf`) may be writing a view at that moment: it goes on with the view
    that is there.
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
                put_away(path)
