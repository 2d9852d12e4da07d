"""What is printed and drawn at the end of a study."""

import sys

from stability.cli.commands.edf import EdfOptions, declared_loss, write_picture
from stability.cli.output.failures import few_lines
from stability.cli.output.peaks import print_peaks
from stability.cli.output.tables import print_groups, print_wrapped, shown_path
from stability.cli.site.engine import describe_spared
from stability.cli.study.code import code_notes_of, outdated_code
from sweeps.driver.tally import RETRIES, Tally
from sweeps.run import StudyRun
from sweeps.store import claims
from sweeps.store.run_directory import RunDirectory
from sweeps.system.trust import printable
from sweeps.words import count

DONE, LEFT_FAILED = 0, 1


def print_stopped(run: StudyRun) -> None:
    """Say what is kept of an interrupted training."""
    run.tally.look()
    print(
        f"stopped: {run.tally.done} of {count(len(run.trials), 'trial')} finished and kept in "
        f"{shown_path(run.directory.path)}; the same command goes on from there"
    )


def conclude(study_run: StudyRun) -> int:
    """Table and picture of what is there; exit status 1 where trials are left without a result."""
    run, there = study_run.directory, study_run.tally
    is_sweep = study_run.study.sampler != "listed"  # what is mixed stands under its table
    if not is_sweep:
        print_peaks(run.path.parent)
    else:
        from analysis import load

        table, d = load([run.path]), declared_loss([run.path])
        print_groups(table, within=d)
        print(shown_path(write_picture(table, run.edf, EdfOptions(), d, outdated_code([run.path]))))
    print(shown_path(run.results))
    for line in outdated_code([run.path]) if is_sweep else code_notes_of(run):
        print_wrapped(line)
    there.look()
    for line in describe_spared(there.spared):
        print(line)
    for line in complaints(run, there):
        print(printable(line), file=sys.stderr)
    return LEFT_FAILED if there.open else DONE


def complaints(run: RunDirectory, there: Tally) -> list[str]:
    """Why trials have no result, and what to do."""
    held = {trial: owner for trial, owner in claims.held(run).items() if trial in there.open}
    lines = few_lines(
        (
            f"held: {trial} by {owner or 'an unknown worker'}, of which nothing can be proved from "
            f"here; if it is gone, remove {shown_path(run.claim(trial))}",
            owner.name if owner else None,
        )
        for trial, owner in held.items()
    )
    failed = [trial for trial in there.open if trial not in held]
    messages = ((trial, there.ledger[trial].message) for trial in failed)
    lines += few_lines((f"failed: {trial}: {message}", message) for trial, message in messages)
    if failed:
        lines.append(
            f"{count(len(failed), 'trial')} failed: {RETRIES + 1} attempts each, or 1 where the "
            "objective's return value cannot be used. To try again, add --retry-failed to the "
            "same command"
        )
    return lines
