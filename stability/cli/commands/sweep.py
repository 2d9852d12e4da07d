"""`stability sweep`: from a request to results, a table and a picture."""

import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields, replace
from functools import partial
from importlib import import_module
from pathlib import Path
from threading import Thread
from typing import Any

from stability.cli.commands.conclusion import DONE, LEFT_FAILED, conclude, print_stopped
from stability.cli.output.announce import describe_cost, describe_study
from stability.cli.output.pictures import import_matplotlib
from stability.cli.output.progress import Display
from stability.cli.output.reporter import TerminalReporter, describe_adopted
from stability.cli.output.tables import shown_path
from stability.cli.site.cluster import Site
from stability.cli.site.engine import check_engine, describe_engine
from stability.cli.site.machine import Machine, known_slots, machine_of, measure, probe_question
from stability.cli.site.remembered import site_record
from stability.cli.study.code import decide_versions
from stability.cli.study.data_names import check_unchanged
from stability.cli.study.options import IMAGE_OBJECTIVE
from stability.cli.study.request import Request
from stability.cli.study.unit import check_unit
from stability.models.names import is_external
from sweeps.confirm import confirmation
from sweeps.errors import ExecutorError, SpecError
from sweeps.executors import EXECUTORS, Executor, LocalExecutor, SlurmExecutor
from sweeps.executors.forked import SideTask
from sweeps.executors.slurm.options import script
from sweeps.objective.user_code import UserCode
from sweeps.run import (
    DispatchOptions,
    StudyRun,
    collect,
    create,
    dispatch,
    find_adoptable,
    prepare,
)
from sweeps.study.study import Study
from sweeps.system.trust import printable
from sweeps.words import count

INTERRUPTED = 130
Say = Callable[[str], None]


@dataclass(frozen=True)
class Training:
    """What is dispatched."""

    run: StudyRun
    executor: Executor
    options: DispatchOptions
    reporter: TerminalReporter
    circumstances: dict[str, Any]

    @property
    def arguments(self) -> dict[str, Any]:
        """Those of `dispatch`."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


def run_request(request: Request, *, retry_failed: bool, dry_run: bool) -> int:
    """Train what is missing of a study, then of its confirmation; returns the exit status."""
    check_request(request)
    asked: Request | None = request
    status = DONE
    while asked is not None:
        training = prepare_training(asked, retry_failed=retry_failed, dry_run=dry_run)
        if isinstance(training, Training):
            try:
                dispatch(**training.arguments)
            except KeyboardInterrupt:
                print_stopped(training.run)
                return INTERRUPTED
            except ExecutorError as error:
                print(f"stability: {printable(str(error))}", file=sys.stderr)
                return LEFT_FAILED
            finally:
                if parting := training.executor.closing_note:
                    print(f"stability: {printable(parting)}", file=sys.stderr)
            status = conclude_training(asked, training)
        elif training is not None:
            status = show_finished(training, dry_run=dry_run)
        asked = next_request(asked, dry_run=dry_run) if status == DONE else None
    return status


def train_request(request: Request, *, retry_failed: bool, show_progress: bool) -> None:
    """Train what is missing of a study, then of its confirmation, and collect the results.

    Nothing is drawn, and only progress is printed.

    Raises:
        SpecError: the study cannot be trained as asked; a unit has to be named.
        ExecutorError: workers cannot be started, or all trials fail alike.
        KeyboardInterrupt: somebody asked for the end; what is finished is kept.
    """
    check_request(request)
    say = print_line if show_progress else _say_nothing
    asked: Request | None = request
    while asked is not None:
        training = prepare_training(asked, retry_failed=retry_failed, dry_run=False, say=say)
        if isinstance(training, Training):
            dispatch(**training.arguments)
            if not training.options.detach:
                training.run.tally.look()
                check_unit(training.run.directory, training.run.tally.ledger)
        elif training is not None:
            collect(training)
        asked = next_request(asked, dry_run=False)


def check_request(request: Request) -> None:
    """Refuse to confirm a confirmation; import what has to be there before threads are started."""
    if request.confirm is not None and request.study.sampler == "listed":
        raise SpecError([f"--confirm: {shown_path(request.run.path)} is a confirmation itself"])
    import_matplotlib()


def print_line(text: str) -> None:
    """Print a text, at once."""
    print(printable(text), flush=True)


def _say_nothing(text: str) -> None:
    """Print nothing."""


def next_request(request: Request, *, dry_run: bool) -> Request | None:
    """The confirmation that is asked for with a study; None where there is none to train."""
    if request.confirm is None:
        return None
    if dry_run:
        print(
            "then the selected configuration of each group (by validation error where there is "
            f"one) is trained again with {request.confirm} fresh seeds"
        )
        return None
    study = confirmation(request.run, request.confirm)
    run = request.run.confirmation(request.confirm)
    if faults := run.faults(study):
        raise SpecError(faults)
    return replace(request, study=study, run=run, confirm=None)


def prepare_training(
    request: Request, *, retry_failed: bool, dry_run: bool, say: Say = print_line
) -> Training | StudyRun | None:
    """Check and announce what is missing of a study.

    Returns:
        What is to be dispatched; the study where nothing is missing; None after a dry run.

    """
    study, site = request.study, request.site
    say(describe_study(study))
    run = prepare_study(request, say)
    if run.is_created and not study.unit:
        check_unit(run.directory, run.tally.ledger)
    if run.is_created and not (run.tally.open if retry_failed else run.tally.left()):
        return run
    if study.objective == IMAGE_OBJECTIVE:
        check_unchanged(study)
    machine = (None if dry_run else machine_known(request)) or machine_measured(request)
    device = site.device if site.executor == "slurm" else machine.slots[0].partition(":")[0]
    check_engine(request, device, begun=run.tally.done > 0)
    reporter = TerminalReporter()
    is_known = request.if_changed != "retrain"
    adopted = find_adoptable(run, device, reporter, take_unknown=is_known)
    for line in describe_adopted(run):
        say(line)
    before = run.tally.done + sum(map(len, adopted.values()))
    slots = chosen(machine.slots, site, len(run.trials) - before)
    headline = Headline(machine, partial(describe_cost, study, before, slots=slots, site=site))
    if dry_run:
        show_dry(request, slots, headline)
        return None
    create(run)
    executor = executor_of(request, run, reporter, headline)
    if say is print_line:
        reporter.display = Display(run.trials, len(slots), headline, executor.state)
    options = DispatchOptions(
        slots=slots,
        submission_folder=Path.cwd() if run.code and run.code.modules else None,
        retry_failed=retry_failed,
        detach=site.detach,
        engine=site.engine,
        wall_seconds=60.0 * site.slurm.time if site.executor == "slurm" else None,
    )
    return Training(run, executor, options, reporter, site_record(site))


def prepare_study(request: Request, say: Say) -> StudyRun:
    """What is there of a study, by the versions of the user's code that count."""
    study = request.study
    return prepare(
        request.run,
        study,
        code=UserCode.search(study.objective, study.models, Path.cwd()),
        decide=lambda versions: decide_versions(request.run, versions, request.if_changed, say),
    )


def show_finished(run: StudyRun, *, dry_run: bool) -> int:
    """Show what there is of a study of which nothing is missing; returns the exit status."""
    print(f"{run.tally.done} of {count(run.study.trials, 'trial')} finished already")
    if dry_run:
        return DONE
    collect(run, TerminalReporter())
    return conclude(run)


def show_dry(request: Request, slots: tuple[str, ...], headline: "Headline") -> None:
    """What a dry run ends with."""
    print(printable(headline(wait=False) or ""))
    site, run = request.site, request.run
    if site.executor == "slurm":
        text = script(site.slurm, run.jobs / ("0" * 32), "stability-" + "0" * 12, len(slots))
        print(printable(text))
    print("dry run: nothing was written")


def machine_known(request: Request) -> Machine | None:
    """The places, where nothing that a measurement could find forbids to start workers at once.

    What a study of our own models costs is then measured beside them; that of another objective
    cannot be.
    """
    study, site = request.study, request.site
    is_ours = study.objective == IMAGE_OBJECTIVE
    if (is_ours and any(map(is_external, study.models))) or site.executor == "slurm":
        return None
    if is_ours and (site.executor != "local" or site.detach or sys.platform != "linux"):
        return None  # workers are forked only on Linux: see sweeps.executors.forked
    slots = known_slots(site.device)
    return None if slots is None else Machine(slots=slots, seconds=None, is_measured=not is_ours)


def machine_measured(request: Request) -> Machine:
    """The machine, asked of a process that imports torch while this one imports other things."""
    with ThreadPoolExecutor(1) as pool:
        # Slurm's GPUs are elsewhere: this machine need not have any, and says nothing of them.
        site = request.site
        is_elsewhere = site.executor == "slurm"
        device = "cpu" if is_elsewhere else site.device
        is_timed = not (is_elsewhere and site.device == "cuda")
        measured = pool.submit(measure, request.study, device, is_timed=is_timed)
        load_for_the_end()
        return measured.result()


def load_for_the_end() -> None:
    """Import what table and picture need while others import torch: more than a second."""
    for name in (
        "analysis.figures.save",
        "analysis.edf.summary",
        "matplotlib.figure",
        "scipy.stats",
    ):
        import_module(name)


def conclude_training(request: Request, training: Training) -> int:
    """Show what was trained, or how to find the workers that were left; returns the exit status."""
    run, options = training.run, training.options
    if options.detach:
        folder = shown_path(run.directory.path)
        print(
            f"left to {count(len(options.slots), 'worker')}; to look: stability status {folder}; "
            f"to collect what they have trained: stability resume {folder}; to end them: "
            f"stability cancel {folder}"
        )
        return DONE
    run.tally.look()
    check_unit(run.directory, run.tally.ledger)
    if request.site.executor != "inline":  # that worker has said it
        for line in describe_engine(run.directory):
            print(printable(line))
    return conclude(run)


class Headline:
    """How much is to be trained and how long that takes; measured by a side task of the workers."""

    def __init__(self, machine: Machine, say: Callable[[Machine], str]) -> None:
        self.machine = machine
        self._say = say
        self.answer: Callable[[], Machine | None] = lambda: machine

    def __call__(self, *, wait: bool) -> str | None:
        """What to say; None where that is not known yet and there is time to wait."""
        machine = self.answer()
        return None if machine is None and wait else self._say(machine or self.machine)


def executor_of(
    request: Request, run: StudyRun, reporter: TerminalReporter, headline: Headline
) -> Executor:
    """The executor that is asked for; it may measure the machine while the workers run."""
    site, study, directory = request.site, request.study, request.run

    def after_each() -> None:  # for workers in this process
        run.tally.ledger.refresh()
        reporter.update(run.tally.ledger)

    if site.executor == "slurm":
        return SlurmExecutor(directory, after_each, site.slurm)
    if headline.machine.is_measured:
        if site.executor != "local" or sys.platform != "linux":
            return EXECUTORS[site.executor](directory, after_each)
        is_cpu = headline.machine.slots[0].startswith("cpu")
        return LocalExecutor(directory, after_each, shared_module(study, is_cpu=is_cpu))
    task = SideTask(function="stability.probe:answer", question=probe_question(study, "cpu"))
    local = LocalExecutor(directory, after_each, IMAGE_OBJECTIVE.partition(":")[0], task)
    # On a core that has nothing to do before the workers are forked.
    reporter.at_start = Thread(target=load_for_the_end).start

    def machine() -> Machine | None:
        answer = local.answer()
        return None if answer is None else machine_of(study, answer)

    headline.answer = machine
    return local


def shared_module(study: Study, *, is_cpu: bool) -> str | None:
    """What workers import before they are forked from one process; None where each is started.

    Code of the user is imported after that: it may start threads, which no fork survives. A
    process that has torch with a GPU is not forked at all.
    """
    if study.objective != IMAGE_OBJECTIVE:
        return "sweeps.executors.forked"
    return IMAGE_OBJECTIVE.partition(":")[0] if is_cpu else None


def chosen(places: tuple[str, ...], site: Site, left: int) -> tuple[str, ...]:
    """Slots to fill: the places of this machine, or as many as were asked for."""
    if site.executor == "slurm":
        return tuple(f"{site.device}:{i}" for i in range(min(site.workers or 1, max(1, left))))
    if site.executor == "inline":
        return places[:1]
    workers = site.workers
    if workers is None or workers <= len(places):
        return places[:workers]
    if places[0].startswith("cuda"):
        raise SpecError(
            [f"--workers: got {workers}, allowed is one a GPU: 1 to {len(places)} here"]
        )
    return tuple(f"cpu:{i}" for i in range(workers))  # they share the cores
