"""`stability sweep`: from a request to results, a table and a picture."""

import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from importlib import import_module
from pathlib import Path
from threading import Thread

from stability.cli.commands.edf import EdfOptions, declared_loss, table_of, write_picture
from stability.cli.output.announce import describe_cost, describe_study
from stability.cli.output.failures import few_lines
from stability.cli.output.peaks import print_peaks
from stability.cli.output.pictures import import_matplotlib
from stability.cli.output.progress import Display
from stability.cli.output.tables import print_groups, print_wrapped, shown_path
from stability.cli.site.cluster import Site
from stability.cli.site.engine import (
    check_engine,
    describe_engine,
    describe_spared,
    forget_unused,
)
from stability.cli.site.machine import Machine, known_slots, machine_of, measure, probe_question
from stability.cli.site.remembered import site_record
from stability.cli.study.code import code_notes_of, outdated_code
from stability.cli.study.data_names import check_unchanged
from stability.cli.study.existing import (
    counted,
    found_in,
    from_neighbours,
    put_in_order,
    set_damaged_aside,
    warn,
)
from stability.cli.study.options import IMAGE_OBJECTIVE
from stability.cli.study.request import Request
from stability.cli.study.unit import check_unit
from stability.models.names import is_own
from sweeps.driver.adopt import Adopted, adopt
from sweeps.driver.driver import Driver, Plan, sole_driver
from sweeps.driver.tally import RETRIES, Tally
from sweeps.errors import DisplacedError, ExecutorError, SpecError
from sweeps.executors import EXECUTORS, Executor, LocalExecutor, SlurmExecutor
from sweeps.executors.forked import SideTask
from sweeps.executors.slurm.options import script
from sweeps.objective.user_code import UserCode
from sweeps.store import claims, provenance, views
from sweeps.store.accepted import accept
from sweeps.store.run_directory import RunDirectory
from sweeps.study.confirm import confirmation
from sweeps.study.design import Design, draw_design
from sweeps.study.study import Study
from sweeps.system.interrupts import as_interrupts
from sweeps.system.trust import printable
from sweeps.words import count

DONE, LEFT_FAILED, INTERRUPTED = 0, 1, 130


def run_request(request: Request, *, retry_failed: bool, dry_run: bool) -> int:
    """Do what is asked for; returns the exit status."""
    if request.confirm is not None and request.study.sampler == "listed":
        raise SpecError([f"--confirm: {shown_path(request.run.path)} is a confirmation itself"])
    status = train(request, retry_failed=retry_failed, dry_run=dry_run)
    if request.confirm is None:
        return status
    if dry_run:
        print(f"then the best of each group is trained again with {request.confirm} fresh seeds")
        return status
    if status != DONE:
        return status
    study, run = (
        confirmation(request.run, request.confirm),
        request.run.confirmation(request.confirm),
    )
    if faults := run.faults(study):
        raise SpecError(faults)
    again = replace(request, study=study, run=run, confirm=None)
    return train(again, retry_failed=retry_failed, dry_run=False)


def train(request: Request, *, retry_failed: bool, dry_run: bool) -> int:
    """Train what is missing of a study, and show what is there; returns the exit status."""
    study, run, site = request.study, request.run, request.site
    import_matplotlib()  # before threads are started
    print(printable(describe_study(study)))
    code = UserCode.search(study.objective, study.models, Path.cwd())
    design, there = found_in(request, code, dry_run=dry_run)
    if there is not None and not (there.open if retry_failed else there.left()):
        print(f"{there.done} of {count(study.trials, 'trial')} finished already")
        if dry_run:
            return DONE
        put_in_order(run, there.ledger)
        return conclude(request, there)
    if study.objective == IMAGE_OBJECTIVE:
        check_unchanged(study)
    trials = design if design is not None else draw_design(study)
    machine = (None if dry_run else machine_known(request)) or machine_measured(request)
    kind = site.device if site.executor == "slurm" else machine.slots[0].partition(":")[0]
    there = there or counted(request, trials, code)
    check_engine(request, kind, begun=there.done > 0)
    adopted = from_neighbours(request, trials, code, kind)
    before = there.done + sum(map(len, adopted.values()))
    slots = chosen(machine.slots, site, len(trials) - before)
    headline = Headline(machine, partial(describe_cost, study, before, slots=slots, site=site))
    if dry_run:
        return show_dry(request, slots, headline)
    plan = Plan(
        slots=slots,
        submission_folder=Path.cwd() if code.modules else None,
        retry_failed=retry_failed,
        detach=site.detach,
        engine=site.engine,
        wall_seconds=60.0 * site.slurm.time if site.executor == "slurm" else None,
        code=code,
    )
    run.create(study, trials)
    return dispatch(request, plan, there, adopted, headline)


def dispatch(
    request: Request, plan: Plan, there: Tally, adopted: Adopted, headline: "Headline"
) -> int:
    """Take over what is adopted, train the rest of what is there; returns the exit status."""
    run, device = request.run, plan.slots[0].partition(":")[0]
    with sole_driver(run), as_interrupts():
        if there.ledger.decision is not None:
            accept(run, there.ledger.decision)
        warn(run, there.ledger)
        adopt(run, adopted)
        forget_unused(run, request.site, device, begun=there.done > 0)
        taken = {str(neighbour): len(rows) for neighbour, rows in adopted.items()}
        circumstances = {
            "slots": list(plan.slots),
            "folder": str(plan.submission_folder or Path.cwd()),
            "code": plan.code.modules if plan.code else {},
            "adopted": taken,
        }
        provenance.record(run, {**circumstances, **site_record(request.site)})
        return drive(request, run.read_design(), plan, there, headline)


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
    if (is_ours and any(map(is_own, study.models))) or site.executor == "slurm":
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


def drive(request: Request, design: Design, plan: Plan, there: Tally, headline: "Headline") -> int:
    """Train what is missing, with a display; whatever ends it, the views are written."""
    run = request.run
    display = Display(design, len(plan.slots), headline)
    dispatcher = dispatcher_of(request, display.look(there.ledger), headline)
    display.workers = dispatcher.state
    is_in_place = True
    try:
        with display:
            Driver(run, design, dispatcher, plan, display.update).drive()
    except KeyboardInterrupt:
        there.look()
        print(
            f"stopped: {there.done} of {count(len(design), 'trial')} finished and kept in "
            f"{shown_path(run.path)}; the same command goes on from there"
        )
        return INTERRUPTED
    except ExecutorError as error:
        is_in_place = not isinstance(error, DisplacedError)
        print(f"stability: {printable(str(error))}", file=sys.stderr)
        return LEFT_FAILED
    finally:
        if is_in_place:
            set_damaged_aside(there.ledger)  # while it trained, too
            views.rebuild(run)
        if dispatcher.parting:
            print(f"stability: {printable(dispatcher.parting)}", file=sys.stderr)
    if plan.detach:
        where = shown_path(run.path)
        print(
            f"left to {count(len(plan.slots), 'worker')}; to look: stability status {where}; "
            f"to collect what they have trained: stability resume {where}; to end them: "
            f"stability cancel {where}"
        )
        return DONE
    there.look()
    check_unit(run, there.ledger)
    if request.site.executor != "inline":  # that worker has said it
        for line in describe_engine(run):
            print(printable(line))
    return conclude(request, there)


class Headline:
    """How much is to be trained and how long that takes; measured by an errand of the workers."""

    def __init__(self, machine: Machine, say: Callable[[Machine], str]) -> None:
        self.machine = machine
        self._say = say
        self.answer: Callable[[], Machine | None] = lambda: machine

    def __call__(self, *, wait: bool) -> str | None:
        """What to say; None where that is not known yet and there is time to wait."""
        machine = self.answer()
        return None if machine is None and wait else self._say(machine or self.machine)


def dispatcher_of(request: Request, after_each: Callable[[], None], headline: Headline) -> Executor:
    """Who starts the workers."""
    site, study = request.site, request.study
    if site.executor == "slurm":
        return SlurmExecutor(request.run, after_each, site.slurm)
    if headline.machine.is_measured:
        if site.executor != "local" or sys.platform != "linux":
            return EXECUTORS[site.executor](request.run, after_each)
        is_cpu = headline.machine.slots[0].startswith("cpu")
        return LocalExecutor(request.run, after_each, shared_module(study, is_cpu=is_cpu))
    errand = SideTask(function="stability.probe:answer", question=probe_question(study, "cpu"))
    local = LocalExecutor(request.run, after_each, IMAGE_OBJECTIVE.partition(":")[0], errand)
    Thread(target=load_for_the_end).start()  # on a core that has nothing to do before they fork

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


def conclude(request: Request, there: Tally) -> int:
    """Table and picture of what is there; exit status 1 where trials are left without a result."""
    run = request.run
    if request.study.sampler == "listed":
        print_peaks(run.path.parent)
    else:
        table, d = table_of([run.path]), declared_loss([run.path])
        print_groups(table, within=d)
        print(shown_path(write_picture(table, run.edf, EdfOptions(), d, outdated_code([run.path]))))
    print(shown_path(run.results))
    is_sweep = request.study.sampler != "listed"  # what is mixed stands under its table
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
