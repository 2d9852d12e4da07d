"""After an edit of the user's code: which results count, and what is said about it."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from stability.cli.output.tables import shown_path
from sweeps.driver.versions import Versions
from sweeps.errors import SpecError
from sweeps.objective.user_code import UserCode
from sweeps.store.accepted import Accepted, CodeDecision
from sweeps.store.parts import Ledger
from sweeps.store.provenance import last_dispatch
from sweeps.store.run_directory import RunDirectory
from sweeps.words import count

NOTHING_CHANGED = "no finished result comes from another version of your code"
IfChanged = Literal["stop", "retrain", "keep"]
"""What to do where results come from another version of the user's code than the current one."""


def if_changed(*, retrain: bool, keep: bool) -> IfChanged:
    """Check --retrain-changed and --keep-changed. Raises SpecError."""
    if retrain and keep:
        raise SpecError(["--retrain-changed, --keep-changed: got both, allowed is one of them"])
    return "retrain" if retrain else "keep" if keep else "stop"


def decide_versions(
    run: RunDirectory, versions: Versions, asked: IfChanged, say: Callable[[str], None] = print
) -> CodeDecision | None:
    """Decide which results count; results of different code are pooled only on request.

    Args:
        run: the run directory; nothing is written.
        versions: versions of its results and of the current code.
        asked: what to do with results of other versions.
        say: prints what was decided.

    Returns:
        The decision to store before anything is trained; None where nothing changes.

    Raises:
        SpecError: there are results of another version, and no option says what to do with them.
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
            say(NOTHING_CHANGED)
            return None
        say(
            f"{count(dropped, 'result')} of another or an unknown version of your code: to be "
            f"retrained (the old ones stay in {shown_path(run.parts)})"
        )
    else:
        dropped, now = 0, Accepted(codes=versions.all, unknown=known.unknown)
        is_asked = asked == "keep" and others
        if asked == "keep" and not others:
            say(NOTHING_CHANGED)
        if not is_asked and (known.codes is None or versions.current <= known.codes):
            return None
        if is_asked:
            say(f"{count(others.total(), 'result')} of another version of your code: kept")
    return CodeDecision(accepted=now, replaces_results=bool(dropped))


def stopped(run: RunDirectory, versions: Versions) -> str:
    """Say why nothing is trained, and both options to go on."""
    others = versions.others(undecided=True).total()
    return (
        f"{shown_path(run.path)}: {', '.join(versions.changed(run))} was edited: {others} of "
        f"{count(versions.finished, 'result')} come from another version of your code. To retrain "
        "these trials with the current version: --retrain-changed. To keep the results and train "
        "the rest with the current version: --keep-changed"
    )


def versions_in(run: RunDirectory) -> Versions | None:
    """Versions of a run's results and of the current code, found from the folder of the dispatch.

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


def outdated_code(paths: Sequence[Path]) -> list[str]:
    """Sentences on run directories with results of another version than the current one.

    Covers their confirmations too; other tables are skipped.
    """
    found = []
    for path in paths:
        for folder in (path, *sorted(path.glob("confirm-r*"))):
            run = RunDirectory(folder)
            if run.exists() and (versions := versions_in(run)) is not None:
                where = f" in {shown_path(run.path)}" if len(paths) > 1 or folder != path else ""
                if folder != path:  # what is mixed in the run itself is seen in its table
                    found += versions.mixed(where)
                found += versions.outdated(run, where)
    return found


def code_notes_of(run: RunDirectory) -> list[str]:
    """Sentences on the code versions in one run directory."""
    if (versions := versions_in(run)) is None:
        return []
    missing = [
        f"{name} cannot be found from here, so it is unknown whether it was edited"
        for name in versions.not_found
        if versions.finished
    ]
    return [*versions.mixed(), *versions.outdated(run), *missing]
