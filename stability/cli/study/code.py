"""The user's code was edited: whether results of it count, who decides that, what is said of it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from stability.cli.output.tables import shown
from sweeps.driver.versions import Versions
from sweeps.errors import SpecError
from sweeps.objective.user_code import UserCode
from sweeps.store.accepted import Accepted, CodeDecision
from sweeps.store.parts import Ledger
from sweeps.store.provenance import last_dispatch
from sweeps.store.run_directory import RunDirectory

NOTHING_CHANGED = "no finished result comes from another version of your code"
IfChanged = Literal["stop", "retrain", "keep"]
"""What to do where results come from another version of the user's code than the current one."""


def if_changed(*, retrain: bool, keep: bool) -> IfChanged:
    """What the options --retrain-changed and --keep-changed ask for. Raises SpecError."""
    if retrain and keep:
        raise SpecError(["--retrain-changed, --keep-changed: got both, allowed is one of them"])
    return "retrain" if retrain else "keep" if keep else "stop"


def decide(run: RunDirectory, versions: Versions, asked: IfChanged) -> CodeDecision | None:
    """Which results count; those of different code are pooled only if somebody asks for it.

    Args:
        run: the run directory; nothing is written.
        versions: of its results, and of the code as it is now.
        asked: for results of other versions.

    Returns:
        What is to be written before anything is trained; None where nothing changes.

    Raises:
        SpecError: there are results of another version, and nobody has said what to do with them.
    """
    known, others = versions.accepted, versions.others()
    if asked == "stop" and versions.others(undecided=True):
        raise SpecError([stopped(run, versions)])
    if asked == "retrain":
        if versions.not_found:
            missing = ", ".join(versions.not_found)
            raise SpecError([f"--retrain-changed: {missing} cannot be found from {Path.cwd()}"])
        dropped = others.total() + versions.unknown
        now = Accepted(codes=versions.current, unknown=False)
        if not dropped and (known.codes is None or versions.current <= known.codes):
            print(NOTHING_CHANGED)
            return None
        print(
            f"{results(dropped)} of another or an unknown version of your code: to be retrained "
            f"(the old ones stay in {shown(run.parts)})"
        )
    else:
        dropped, now = 0, Accepted(codes=versions.all, unknown=known.unknown)
        is_asked = asked == "keep" and others
        if asked == "keep" and not others:
            print(NOTHING_CHANGED)
        if not is_asked and (known.codes is None or versions.current <= known.codes):
            return None
        if is_asked:
            print(f"{results(others.total())} of another version of your code: kept")
    return CodeDecision(accepted=now, replaces_results=bool(dropped))


def stopped(run: RunDirectory, versions: Versions) -> str:
    """Why nothing is trained, and the two ways on."""
    others = versions.others(undecided=True).total()
    return (
        f"{shown(run.path)}: {', '.join(versions.changed(run))} was edited: {others} of "
        f"{results(versions.finished)} come from another version of your code. To retrain these "
        "trials with the current version: --retrain-changed. To keep the results and train the "
        "rest with the current version: --keep-changed"
    )


def results(count: int) -> str:
    """So many results, in words."""
    return "1 result" if count == 1 else f"{count} results"


def versions_in(run: RunDirectory) -> Versions | None:
    """Versions of a run's results and of the code now, searched from where it was dispatched.

    None where no code of the user is involved. Raises StoreError.
    """
    study = run.read_study()
    folder = last_dispatch(run).get("folder")
    where = Path(folder) if isinstance(folder, str) and folder else Path.cwd()
    code = UserCode.search(study.objective, study.models, where)
    if not code.modules:
        return None
    ledger = Ledger(run)
    ledger.refresh()
    return Versions.of(run.read_design(), ledger, code)


def outdated(paths: Sequence[Path]) -> list[str]:
    """Sentences on run directories whose results come from another version than the current one.

    Their confirmations are among them. Other tables are passed over.
    """
    found = []
    for path in paths:
        for folder in (path, *sorted(path.glob("confirm-r*"))):
            run = RunDirectory(folder)
            if run.exists() and (versions := versions_in(run)) is not None:
                where = f" in {shown(run.path)}" if len(paths) > 1 or folder != path else ""
                if folder != path:  # what is mixed in the run itself is seen in its table
                    found += versions.mixed(where)
                found += versions.outdated(run, where)
    return found


def of_run(run: RunDirectory) -> list[str]:
    """All that must be said of the versions in one run directory."""
    if (versions := versions_in(run)) is None:
        return []
    missing = [
        f"{name} cannot be found from here, so it is unknown whether it was edited"
        for name in versions.not_found
        if versions.finished
    ]
    return [*versions.mixed(), *versions.outdated(run), *missing]
