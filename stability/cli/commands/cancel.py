"""`stability cancel`: end driver and workers of a run directory, from wherever that can be done."""

import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from stability.cli.output.tables import shown
from sweeps.driver.driver import sole_driver
from sweeps.errors import ExecutorError, StoreError
from sweeps.executors import LocalExecutor, SlurmExecutor
from sweeps.executors.base import Executor
from sweeps.executors.slurm.jobs import is_for, submissions
from sweeps.executors.slurm.options import SlurmOptions
from sweeps.store import claims, views
from sweeps.store.cleanup import remove_leftovers
from sweeps.store.owner import Owner
from sweeps.store.parts import Ledger
from sweeps.store.run_directory import RunDirectory
from sweeps.system.files import remove_or_set_aside
from sweeps.system.trust import is_own_file, printable

PATIENCE_SECONDS = 150.0  # a driver has to see its jobs end before it ends


def cancel_run(path: Path) -> None:
    """Raises StoreError where `path` is no run directory, DispatchError where a driver lives on."""
    run = RunDirectory(path)
    design = run.read_design()
    with after_the_driver(run):
        dispatchers: list[Executor] = [LocalExecutor(run, lambda: None)]
        if submissions(run, own=True):
            dispatchers.append(SlurmExecutor(run, lambda: None, SlurmOptions()))
        for dispatcher in dispatchers:
            dispatcher.settle()
        before = claims.living_workers(run, dispatchers[-1].is_gone)
        reasons = {owner.name: why_left(run, owner) for owner in before}
        for dispatcher in dispatchers:
            dispatcher.stop()
            claims.release_orphaned(run, dispatcher.is_gone)
            remove_leftovers(run, dispatcher.is_gone)
        views.rebuild(run)
    ledger = Ledger(run)
    ledger.refresh()
    done = sum(map(ledger.is_trained, design.ids))
    ended = set[str]().union(*(dispatcher.ended for dispatcher in dispatchers))
    count = sum(owner.name in ended for owner in before)
    print(
        f"{count} of {len(before)} workers were ended; {done} of {len(design)} trials are finished "
        f"and kept; stability resume {shown(run.path)} goes on from there"
    )
    for owner in claims.living_workers(run, dispatchers[-1].is_gone):
        if owner.name in reasons and owner.name not in ended:
            print(printable(f"not ended: {owner}: {reasons[owner.name]}"))
    if parting := " ".join(d.closing_note for d in dispatchers if d.closing_note):
        raise ExecutorError(parting)


def why_left(run: RunDirectory, owner: Owner) -> str:
    """Why a worker goes on though `stability cancel` was called."""
    if not is_own_file(run.worker(owner.name)):
        return "its file belongs to another user"
    if not owner.job:
        return owner.why_unproven(run.identity) or "it did not end"
    if is_for(run, owner.submission):
        return "Slurm has not confirmed its end"
    return (
        "its job was not submitted for this run directory, which is a copy, or by an earlier "
        f"version; to end it nevertheless: scancel {owner.job}"
    )


@contextmanager
def after_the_driver(run: RunDirectory) -> Iterator[None]:
    """Ask the driver to end, on whatever host it is, and hold its place. Raises DispatchError."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    with ExitStack() as held:
        while True:
            try:
                held.enter_context(sole_driver(run))
                break
            except ExecutorError:
                if time.monotonic() > deadline:
                    raise
            ask(run)
            time.sleep(0.5)
        remove_or_set_aside(run.cancel)
        yield


def ask(run: RunDirectory) -> None:
    """A file, which a driver anywhere sees; and a signal where it can be had."""
    if run.cancel.exists():
        return
    try:
        run.cancel.touch()
    except OSError as error:
        raise StoreError(f"{run.path} cannot be written: {error.strerror}") from error
    driver = Owner.read(run.lock)
    if driver is not None and is_own_file(run.lock):
        driver.send(signal.SIGTERM, run.identity)
