"""`stability sweep`: from a request to results, a table and a picture."""

import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from pathlib import Path
from threading import Thread

from stability.cli.commands.edf import EdfOptions, declared_loss, write_picture
from stability.cli.output.announce import describe_cost, describe_study
from stability.cli.output.failures import few_lines
from stability.cli.output.peaks import print_peaks
from stability.cli.output.pictures import import_matplotlib
from stability.cli.output.progress import Display
from stability.cli.output.reporter import TerminalReporter, print_adopted
from stability.cli.output.tables import print_groups, print_wrapped, shown_path
from stability.cli.site.cluster import Site
from stability.cli.site.engine import check_engine, describe_engine, describe_spared
from stability.cli.site.machine import Machine, known_slots, machine_of, measure, probe_question
from stability.cli.site.remembered import site_record
from stability.cli.study.code import code_notes_of, decide_versions, outdated_code
from stability.cli.study.data_names import check_unchanged
from stability.cli.study.options import IMAGE_OBJECTIVE
from stability.cli.study.request import Request
from stability.cli.study.unit import check_unit
from stability.models.names import is_external
from sweeps.confirm import confirmation
from sweeps.driver.tally import RETRIES, Tally
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
from sweeps.store import claims
from sweeps.store.run_directory import RunDirectory
from sweeps.study.study import Study
from sweeps.system.trust import printable
from sweeps.words import count

DONE, LEFT_FAILED, INTERRUPTED = 0, 1, 130


@dataclass(frozen=True, kw_only=True)
class Training:
    """What is dispatched."""

    run: StudyRun
    executor: Executor
    options: DispatchOptions
    reporter: TerminalReporter


def run_request(request: Request, *, retry_failed: bool, dry_run: bool) -> int:
    """Train what is missing of a study, then of its confirmation; returns the exit status."""
    if request.confirm is not None and request.study.sampler == "listed":
        raise SpecError([f"--confirm: {shown_path(request.run.path)} is a confirmation itself"])
    import_matplotlib()  # before threads are started
    asked: Request | None = request
    status = DONE
    while asked is not None:
        training = prepare_training(asked, retry_failed=retry_failed, dry_run=dry_run)
        if isinstance(training, Training):
            try:
                dispatch(
                    training.run,
                    training.executor,
                    training.options,
                    reporter=training.reporter,
                    circumstances=site_record(asked.site),
                )
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
        else:
            status = training
        asked = next_request(asked, dry_run=dry_run) if status == DONE else None
    return status


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


def prepare_training(request: Request, *, retry_failed: bool, dry_run: bool) -> Training | int:
    """Check and announce what is missing of a study; the exit status where that is nothing."""
    study, site = request.study, request.site
    print(printable(describe_study(study)))
    code = UserCode.search(study.objective, study.models, Path.cwd())
    run = prepare(
        request.run,
        study,
        code=code,
        decide=lambda versions: decide_versions(request.run, versions, request.if_changed),
    )
    if run.is_created and not study.unit:
        check_unit(run.directory, run.tally.ledger)
    if run.is_created and not (run.tally.open if retry_failed else run.tally.left()):
        return show_finished(run, dry_run=dry_run)
    if study.objective == IMAGE_OBJECTIVE:
        check_unchanged(study)
    machine = (None if dry_run else machine_known(request)) or machine_measured(request)
    device = site.device if site.executor == "slurm" else machine.slots[0].partition(":")[0]
    check_engine(request, device, begun=run.tally.done > 0)
    reporter = TerminalReporter()
    is_known = request.if_changed != "retrain"
    adopted = find_adoptable(run, device, reporter, take_unknown=is_known)
    print_adopted(run)
    before = run.tally.done + sum(map(len, adopted.values()))
    slots = chosen(machine.slots, site, len(run.trials) - before)
    headline = Headline(machine, partial(describe_cost, study, before, slots=slots, site=site))
    if dry_run:
        return show_dry(request, slots, headline)
    create(run)
    reporter.display = Display(run.trials, len(slots), headline)
    executor = executor_of(request, run, reporter, headline)
    reporter.display.workers = executor.state
    options = DispatchOptions(
        slots=slots,
        submission_folder=Path.cwd() if code.modules else None,
        retry_failed=retry_failed,
        detach=site.detach,
        engine=site.engine,
        wall_seconds=60.0 * site.slurm.time if site.executor == "slurm" else None,
    )
    return Training(run=run, executor=executor, options=options, reporter=reporter)


def show_finished(run: StudyRun, *, dry_run: bool) -> int:
    """Show what there is of a study of which nothing is missing; returns the exit status."""
    print(f"{run.tally.done} of {count(run.study.trials, 'trial')} finished already")
    if dry_run:
        return DONE
    collect(run, TerminalReporter())
    return conclude(run)


def show_dry(request: Request, slots: tuple[str, ...], headline: "Headline") -> int:
    """What a dry run ends with."""
    print(printable(headline(wait=False) or ""))
    site, run = request.site, request.run
    if site.executor == "slurm":
        text = script(site.slurm, run.jobs / ("0" * 32), "stability-" + "0" * 12, len(slots))
        print(printable(text))
    print("dry run: nothing was written")
    return DONE


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


def print_stopped(run: StudyRun) -> None:
    """Say what is kept of an interrupted training."""
    run.tally.look()
    print(
        f"stopped: {run.tally.done} of {count(len(run.trials), 'trial')} finished and kept in "
        f"{shown_path(run.directory.path)}; the same command goes on from there"
    )


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
