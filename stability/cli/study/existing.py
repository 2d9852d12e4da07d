"""What a run directory, and those beside it, already hold of a study: counted and put in order."""

import sys
from collections.abc import Sequence
from contextlib import suppress

from stability.cli.output.announce import earlier_version
from stability.cli.output.tables import shown_path
from stability.cli.study.code import decide_versions
from stability.cli.study.request import Request
from stability.cli.study.unit import check_unit
from sweeps.driver.adopt import Adopted, adoptable
from sweeps.driver.driver import sole_driver
from sweeps.driver.tally import Tally
from sweeps.driver.versions import Versions
from sweeps.errors import ExecutorError
from sweeps.objective.user_code import UserCode
from sweeps.store import provenance, views
from sweeps.store.accepted import accept
from sweeps.store.cleanup import sweep_up
from sweeps.store.parts import Ledger, set_aside
from sweeps.store.run_directory import RunDirectory
from sweeps.study.design import Design
from sweeps.study.trial import Trial
from sweeps.system.trust import printable
from sweeps.words import count


def found_in(
    request: Request, code: UserCode, *, dry_run: bool
) -> tuple[Design | None, Tally | None]:
    """The design and the results that are there; their unit is named now, or has to be."""
    study, run = request.study, request.run
    design = run.readable_design()
    if design is None:
        return None, None
    there = counted(request, design, code)
    if not dry_run:
        run.name_unit(study)
    if not study.unit:
        check_unit(run, there.ledger)
    return design, there


def counted(request: Request, trials: Sequence[Trial], code: UserCode) -> Tally:
    """What the parts say of the trials, as of now, once it is decided which results count.

    Raises SpecError where the user's code was edited and nobody has said what to do then.
    """
    unit = request.study.read_by
    tally = Tally(trials, Ledger(request.run, unit=unit))
    tally.look()
    versions = Versions.of(trials, tally.ledger, code)
    decision = decide_versions(request.run, versions, request.if_changed)
    if decision is not None:
        tally = Tally(trials, Ledger(request.run, unit=unit, decision=decision))
        tally.look()
    return tally


def from_neighbours(
    request: Request, trials: Sequence[Trial], code: UserCode, device: str
) -> Adopted:
    """What the run directories beside a new one have of the study; it is printed."""
    adopted: Adopted = {}
    if not request.run.exists():
        take_unknown = request.if_changed != "retrain"
        adopted = adoptable(request.run, trials, code, device, note, take_unknown=take_unknown)
    for neighbour, rows in adopted.items():
        print(f"{count(len(rows), 'trial')} taken over from {printable(shown_path(neighbour))}")
        if code.modules and (unknown := rows["code"].null_count):
            print(f"  {unknown} of them come from an unknown version of {', '.join(code.modules)}")
    if earlier := earlier_version(request.study, request.run):
        print(printable(earlier))
    return adopted


def put_in_order(run: RunDirectory, ledger: Ledger) -> None:
    """Of a study that is finished: sweep up, set aside what is damaged, rebuild the views."""
    if ledger.decision is not None:
        with sole_driver(run):
            accept(run, ledger.decision)
    with suppress(ExecutorError), sole_driver(run):  # where one lives, it does so itself
        sweep_up(run)
        set_damaged_aside(Ledger(run))
    views.rebuild(run)


def warn(run: RunDirectory, ledger: Ledger) -> None:
    """Name damaged parts and set them aside; name a change of this program."""
    set_damaged_aside(ledger)
    if (changed := provenance.changed_program(run)) is not None:
        note(changed)


def set_damaged_aside(ledger: Ledger) -> None:
    """Where parts cannot be read, rename them and say so."""
    ledger.refresh()
    for path in set_aside(ledger.damaged):
        print(
            f"damaged: a part cannot be read and was set aside as {printable(shown_path(path))}; "
            "the trials that were in it are trained again",
            file=sys.stderr,
        )


def note(line: str) -> None:
    """Something that a person should know, on standard error."""
    print(f"note: {printable(line)}", file=sys.stderr)
