"""How a study is run: created, resumed, dispatched to workers, and its results collected.

The command line, the tests and the benchmarks all use these functions. Nothing is printed here: a
`Reporter` receives what the user should know.

    study_run = prepare(RunDirectory(folder), study)
    create(study_run)
    dispatch(study_run, LocalExecutor(study_run.directory), DispatchOptions(slots=("cpu:0",)))
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sweeps.driver.adopt import Adopted, adopt, adoptable
from sweeps.driver.driver import DispatchOptions, Driver, sole_driver
from sweeps.driver.tally import Tally
from sweeps.driver.versions import Versions
from sweeps.errors import DisplacedError, ExecutorError, StoreError
from sweeps.executors.base import Executor
from sweeps.objective.user_code import UserCode
from sweeps.store import provenance, views
from sweeps.store.accepted import CodeDecision, write_accepted
from sweeps.store.cleanup import remove_leftovers
from sweeps.store.parts import Ledger, set_aside_parts
from sweeps.store.run_directory import RunDirectory
from sweeps.study.design import draw_design
from sweeps.study.study import Study
from sweeps.study.trial import Trial
from sweeps.system.interrupts import as_interrupts
from sweeps.worker.engine import forget_unused_decision

__all__ = [
    "DispatchOptions",
    "Reporter",
    "StudyRun",
    "collect",
    "create",
    "dispatch",
    "find_adoptable",
    "prepare",
    "resume",
]


class Reporter:
    """Receives what the user should know; this one ignores it. It is entered while workers run."""

    def note(self, line: str) -> None:
        """A circumstance that the user may not expect: the program has changed, say."""

    def say(self, line: str) -> None:
        """An event while the study is trained: a node is left out, say."""

    def damaged(self, part: Path) -> None:
        """A part could not be read, and was renamed to `part`; its trials are trained again."""

    def update(self, ledger: Ledger) -> None:
        """The state of the results; called every half second and after a result."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Workers have ended."""


SILENT = Reporter()


@dataclass(kw_only=True)
class StudyRun:
    """A study, its run directory, and what is known of its results."""

    directory: RunDirectory
    study: Study
    trials: Sequence[Trial]
    """As they were written, or as they were drawn now."""
    is_created: bool
    """Whether the design is written."""
    tally: Tally
    """Of the results that count."""
    code: UserCode | None = None
    """The user's code as it is now; None where its version does not matter."""
    adopted: Adopted = field(default_factory=dict)
    """Results of other run directories, to be copied at the start."""


def prepare(
    directory: RunDirectory,
    study: Study,
    *,
    code: UserCode | None = None,
    decide: Callable[[Versions], CodeDecision | None] = lambda versions: None,
) -> StudyRun:
    """Read the design that is there, or draw it, and count the results; nothing is written.

    Args:
        directory: where the study is, or will be.
        study: what is asked for.
        code: the user's code as it is now.
        decide: which versions of that code count from now on; None where nothing changes. It may
            raise SpecError where the user has to decide.
    """
    design = directory.readable_design()
    trials = draw_design(study) if design is None else design
    tally = Tally(trials, Ledger(directory, unit=study.read_by))
    tally.look()
    decision = decide(Versions.of(trials, tally.ledger, code)) if code is not None else None
    if decision is not None:
        tally = Tally(trials, Ledger(directory, unit=study.read_by, decision=decision))
        tally.look()
    return StudyRun(
        directory=directory,
        study=study,
        trials=trials,
        is_created=design is not None,
        tally=tally,
        code=code,
    )


def resume(directory: RunDirectory) -> StudyRun:
    """Open a run directory to continue its study. Raises StoreError where there is none."""
    return create(prepare(directory, directory.read_study()))


def find_adoptable(
    run: StudyRun, device: str, reporter: Reporter = SILENT, *, take_unknown: bool = True
) -> Adopted:
    """Find results of a new study in the run directories beside it: `dispatch` copies them.

    Args:
        run: the study; one whose run directory exists has taken over what there was.
        device: `cpu` or `cuda`; results from the other are not comparable.
        reporter: receives a note for each directory that cannot be used.
        take_unknown: whether results count whose version of the user's code is not known.
    """
    if not run.directory.exists():
        run.adopted = adoptable(
            run.directory, run.trials, run.code, device, reporter.note, take_unknown=take_unknown
        )
    return run.adopted


def create(run: StudyRun) -> StudyRun:
    """Write study and design where they are not there yet.

    Raises SpecError where the folder holds something else, StoreError where it cannot be written.
    """
    run.trials = run.directory.create(run.study, run.trials)
    run.is_created = True
    return run


def dispatch(
    run: StudyRun,
    executor: Executor,
    options: DispatchOptions,
    *,
    reporter: Reporter = SILENT,
    circumstances: Mapping[str, Any] | None = None,
) -> None:
    """Train what is missing, and collect the results, however the training ends.

    Args:
        run: a study that was created.
        executor: starts the workers.
        options: how they are started.
        reporter: receives what the user should know.
        circumstances: further entries of the provenance file of this dispatch.

    Raises:
        ExecutorError: another driver lives, workers cannot be started, or all trials fail alike.
        DisplacedError: the run directory was moved, removed or replaced meanwhile.
        KeyboardInterrupt: somebody asked for the end.
    """
    directory, begun = run.directory, run.tally.done > 0
    with sole_driver(directory), as_interrupts():
        _accept(run)
        _set_damaged_aside(run.tally.ledger, reporter)
        if (changed := provenance.changed_program(directory)) is not None:
            reporter.note(changed)
        adopt(directory, run.adopted)
        device = options.slots[0].partition(":")[0]
        forget_unused_decision(directory, device, options.engine, begun=begun)
        _record(run, options, circumstances or {})
        driver = Driver(
            directory,
            run.trials,
            executor,
            options,
            reporter.update,
            reporter.say,
            run.code,
        )
        try:
            with reporter:
                driver.drive()
        except DisplacedError:
            raise  # nothing more is written there
        except BaseException:
            with suppress(StoreError, OSError):  # what ended the training is what has to be said
                _write_views(run, reporter)
            raise
        _write_views(run, reporter)


def collect(run: StudyRun, reporter: Reporter = SILENT) -> None:
    """Write the views of what was trained; without a living driver, tidy up too.

    Raises StoreError where study or results cannot be read.
    """
    run.directory.name_unit(run.study)
    if run.tally.ledger.decision is not None:
        with sole_driver(run.directory):
            _accept(run)
    with suppress(ExecutorError), sole_driver(run.directory):  # a driver that lives does it itself
        remove_leftovers(run.directory)
        _set_damaged_aside(Ledger(run.directory), reporter)
    views.rebuild(run.directory)


def _accept(run: StudyRun) -> None:
    """Write which versions of the user's code count, where that was decided."""
    if run.tally.ledger.decision is not None:
        write_accepted(run.directory, run.tally.ledger.decision)


def _record(run: StudyRun, options: DispatchOptions, more: Mapping[str, Any]) -> None:
    """Write the provenance of this dispatch."""
    circumstances = {
        "slots": list(options.slots),
        "folder": str(options.submission_folder or Path.cwd()),
        "code": run.code.modules if run.code else {},
        "adopted": {str(neighbour): len(rows) for neighbour, rows in run.adopted.items()},
    }
    provenance.write_provenance(run.directory, {**circumstances, **more})


def _write_views(run: StudyRun, reporter: Reporter) -> None:
    _set_damaged_aside(run.tally.ledger, reporter)  # it may have happened while workers ran
    run.tally.update()
    views.rebuild(run.directory)


def _set_damaged_aside(ledger: Ledger, reporter: Reporter) -> None:
    """Rename parts that cannot be read."""
    ledger.refresh()
    for part in set_aside_parts(ledger.damaged):
        reporter.damaged(part)
