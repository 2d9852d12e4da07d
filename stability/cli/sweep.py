"""`stability sweep`: from a request to results, a table and a picture."""

import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from textwrap import wrap

from stability.cli.cluster import Site
from stability.cli.data_names import check_unchanged
from stability.cli.edf import Picture, write_picture
from stability.cli.image_study import OBJECTIVE
from stability.cli.machine import Machine, measure
from stability.cli.peaks import print_peaks
from stability.cli.progress import Display, duration
from stability.cli.remembered import as_written
from stability.cli.request import Request
from stability.cli.tables import WIDTH, print_summary, shown
from stability.models.names import COLLECTIONS, is_own
from sweeps import claims, provenance, views
from sweeps.adopt import Row, adopt, adoptable
from sweeps.confirm import confirmation
from sweeps.design import draw_design
from sweeps.dispatch import EXECUTORS, Dispatcher, SlurmDispatcher
from sweeps.driver import RETRIES, Driver, Plan, sigterm_as_interrupt, sole_driver
from sweeps.errors import DispatchError, SpecError
from sweeps.litter import sweep_up
from sweeps.parts import Ledger, set_aside
from sweeps.run_directory import RunDirectory
from sweeps.slurm.options import script
from sweeps.study import Study
from sweeps.trial import Trial
from sweeps.trust import printable

DONE, LEFT_FAILED, INTERRUPTED = 0, 1, 130


def run_request(request: Request, *, retry_failed: bool, dry_run: bool) -> int:
    """Do what is asked for; returns the exit status."""
    if request.confirm is not None and request.study.sampler == "listed":
        raise SpecError([f"--confirm: {shown(request.run.path)} is a confirmation itself"])
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
    print(printable(describe(study)))
    ledger, trials = Ledger(run), run.readable_design()
    ledger.refresh()
    if trials is not None and not open_trials(ledger, trials, retry_failed=retry_failed):
        done = finished(ledger, trials)
        share = "all" if done == study.trials else f"{done} of"
        print(f"{share} {study.trials} trials are finished already")
        if dry_run:
            return DONE
        put_in_order(run)
        return conclude(request)
    if study.objective == OBJECTIVE:
        check_unchanged(study)
    with ThreadPoolExecutor(1) as pool:  # the measurement is a process: draw meanwhile
        # Slurm's GPUs are elsewhere: this machine need not have any.
        device = "cpu" if site.executor == "slurm" else site.device
        measured = pool.submit(measure, study, device)
        trials = trials or draw_design(study)
        load_for_the_end()
        machine = measured.result()
    own = provenance.code_of(own_modules(study), Path.cwd())
    adopted = {} if run.exists() else adoptable(run, trials, own)
    for neighbour, rows in adopted.items():
        print(
            f"{len(rows)} trials were trained in {printable(shown(neighbour))} and are taken over"
        )
    before = finished(ledger, trials) + sum(map(len, adopted.values()))
    slots = chosen(machine, site, len(trials) - before)
    print(cost(study, before, machine, slots, site))
    if dry_run:
        if site.executor == "slurm":
            print(script(site.slurm, run.jobs / ("0" * 32), "stability-" + "0" * 12, len(slots)))
        print("dry run: nothing was written")
        return DONE
    folder = Path.cwd()
    plan = Plan(
        slots=slots, submission_folder=folder, retry_failed=retry_failed, detach=site.detach
    )
    return dispatch(request, trials, plan, own, adopted)


def dispatch(
    request: Request,
    trials: list[Trial],
    plan: Plan,
    own: dict[str, str],
    adopted: dict[Path, list[Row]],
) -> int:
    """Write the study down, take over what is adopted, train the rest; returns the exit status."""
    run = request.run
    trials = run.create(request.study, trials)
    with sole_driver(run), sigterm_as_interrupt():
        warn(run, own)
        adopt(run, adopted)
        taken = {str(neighbour): len(rows) for neighbour, rows in adopted.items()}
        circumstances = {"slots": list(plan.slots), "own": own, "adopted": taken}
        provenance.record(run, {**circumstances, **as_written(request.site)})
        return drive(request, trials, plan)


def put_in_order(run: RunDirectory) -> None:
    """Of a study that is finished: sweep up, set aside what is damaged, rebuild the views."""
    with suppress(DispatchError), sole_driver(run):  # where one lives, it does so itself
        sweep_up(run)
        set_damaged_aside(run)
    views.rebuild(run)


def load_for_the_end() -> None:
    """Import what table and picture need while there is nothing else to do: three seconds."""
    for name in ("analysis.figures", "analysis.summary", "matplotlib.figure", "scipy.stats"):
        import_module(name)


def open_trials(ledger: Ledger, trials: list[Trial], *, retry_failed: bool) -> list[Trial]:
    """Trials that have no result and would be tried."""
    records = ((trial, ledger[trial.id]) for trial in trials)
    return [t for t, r in records if r.outcome is None and (retry_failed or r.failures <= RETRIES)]


def finished(ledger: Ledger, trials: list[Trial]) -> int:
    """How many trials are trained."""
    return sum(ledger.is_trained(trial.id) for trial in trials)


def drive(request: Request, trials: list[Trial], plan: Plan) -> int:
    """Train what is missing, with a display; whatever ends it, the views are written."""
    run, ledger = request.run, Ledger(request.run)
    display = Display(trials, len(plan.slots))
    dispatcher = dispatcher_of(request.site, run, display.look(ledger))
    display.workers = dispatcher.state
    try:
        with display:
            Driver(run, trials, dispatcher, plan, display.update).drive()
    except KeyboardInterrupt:
        ledger.refresh()
        print(
            f"stopped: {finished(ledger, trials)} of {len(trials)} trials are finished and kept in "
            f"{shown(run.path)}; the same command goes on from there"
        )
        return INTERRUPTED
    except DispatchError as error:
        print(f"stability: {printable(str(error))}", file=sys.stderr)
        return LEFT_FAILED
    finally:
        set_damaged_aside(run)  # while it trained, too
        views.rebuild(run)
        if dispatcher.parting:
            print(f"stability: {printable(dispatcher.parting)}", file=sys.stderr)
    if plan.detach:
        print(
            f"left to {len(plan.slots)} workers; to look: stability status {shown(run.path)}; "
            f"to collect what they have trained: stability resume {shown(run.path)}; to end them: "
            f"stability cancel {shown(run.path)}"
        )
        return DONE
    return conclude(request)


def dispatcher_of(site: Site, run: RunDirectory, after_each: Callable[[], None]) -> Dispatcher:
    """Who starts the workers."""
    if site.executor == "slurm":
        return SlurmDispatcher(run, after_each, site.slurm)
    return EXECUTORS[site.executor](run, after_each)


def conclude(request: Request) -> int:
    """Table and picture of what is there; exit status 1 where trials are left without a result."""
    run = request.run
    if request.study.sampler == "listed":
        print_peaks(run.path.parent)
    else:
        print_summary([run.path])
        print(shown(write_picture([run.path], run.edf, Picture())))
    print(shown(run.results))
    ledger, trials = Ledger(run), run.read_design()
    ledger.refresh()
    left = [trial.id for trial in trials if not ledger.is_trained(trial.id)]
    for line in complaints(run, ledger, left):
        print(printable(line), file=sys.stderr)
    return LEFT_FAILED if left else DONE


def complaints(run: RunDirectory, ledger: Ledger, left: list[str]) -> list[str]:
    """Why each trial has no result, and what to do."""
    held = {trial: owner for trial, owner in claims.held(run).items() if trial in left}
    lines = [
        f"held: {trial} by {owner or 'an unknown worker'}, of which nothing can be proved from "
        f"here; if it is gone, remove {shown(run.claim(trial))}"
        for trial, owner in held.items()
    ]
    failed = [trial for trial in left if trial not in held]
    lines += [f"failed: {trial}: {ledger[trial].message}" for trial in failed]
    if failed:
        lines.append(
            f"{len(failed)} trials are left failed after {RETRIES + 1} attempts; the same command "
            "with --retry-failed tries them again"
        )
    return lines


def chosen(machine: Machine, site: Site, left: int) -> tuple[str, ...]:
    """Slots to fill: those of the machine, or as many as were asked for."""
    if site.executor == "slurm":
        return tuple(f"{site.device}:{i}" for i in range(min(site.workers or 1, max(1, left))))
    if site.executor == "inline":
        return machine.slots[:1]
    workers, places = site.workers, len(machine.slots)
    if workers is None or workers <= places:
        return machine.slots[:workers]
    if machine.slots[0].startswith("cuda"):
        raise SpecError([f"--workers: got {workers}, allowed is one a GPU: 1 to {places} here"])
    return tuple(f"cpu:{i}" for i in range(workers))  # they share the cores


def own_modules(study: Study) -> list[str]:
    """Modules of the user that decide results: of the objective, of models."""
    names = [study.objective] if study.objective != OBJECTIVE else filter(is_own, study.models)
    modules = dict.fromkeys(name.partition(":")[0] for name in names)
    return [module for module in modules if module not in COLLECTIONS]


def warn(run: RunDirectory, own: dict[str, str]) -> None:
    """Name damaged parts and set them aside; name a change of the code."""
    set_damaged_aside(run)
    if (changed := provenance.changed_code(run, own)) is not None:
        print(f"note: {printable(changed)}", file=sys.stderr)


def set_damaged_aside(run: RunDirectory) -> None:
    """Where parts cannot be read, rename them and say so."""
    ledger = Ledger(run)
    ledger.refresh()
    for path in set_aside(ledger.damaged):
        print(
            f"damaged: a part cannot be read and was set aside as {printable(shown(path))}; the "
            "trials that were in it are trained again",
            file=sys.stderr,
        )


def describe(study: Study) -> str:
    """What is going to be trained, in a few lines."""
    if study.sampler == "listed":
        return describe_listed(study)
    lengths = ", ".join(map(str, study.epochs))
    lengths += " epoch" if study.epochs == (1,) else " epochs"
    lines = [
        f"study {study.name}",
        f"  {study.trials} trials: {study.draws} draws ({study.sampler}, seed {study.seed}) for "
        "each of",
        f"  {', '.join(study.models)}; {', '.join(study.optims)}; {lengths} of {study.data}",
    ]
    for h in study.space:
        whose = ", ".join([*h.optims, *h.models])
        lines.append(f"  {h.name}{f' ({whose})' if whose else ''}: {h.law}")
    for optim in filter(study.recipe.get, study.optims):
        settings = [f"{name} {value}" for name, value in study.recipe[optim].items()]
        lines += in_lines(f"  {optim}: ", settings)
    if study.origin:
        lines += in_lines("  from: ", study.origin.split("; "))
    primary = study.primary
    lines.append(
        f"  primary: share within {primary.within:g} points of the {primary.reference}, "
        f"diverged at {primary.policy}"
    )
    name, *rest = lines  # of a folder: left whole
    return "\n".join([name, *(part for line in rest for part in wrapped(line))])


def wrapped(line: str) -> list[str]:
    """A line in parts of at most 80 columns, no name broken."""
    indent = "    "
    return wrap(
        line, WIDTH, subsequent_indent=indent, break_on_hyphens=False, break_long_words=False
    )


def in_lines(head: str, parts: list[str]) -> list[str]:
    """The parts, with commas, in lines of at most 80 columns; broken only between them."""
    lines = [head + parts[0]]
    for part in parts[1:]:
        lines[-1] += ","
        if len(lines[-1]) + len(part) + 2 > WIDTH:
            lines.append(f"    {part}")
        else:
            lines[-1] += f" {part}"
    return lines


def describe_listed(study: Study) -> str:
    """The configurations that are trained again."""
    lines = [f"the best of each group by validation error, with {study.draws} fresh seeds:"]
    for c in study.configurations:
        settings = ", ".join(f"{name} {value}" for name, value in c.hyperparameters.items())
        lines += [f"  {c.model}, {c.optim}, {c.epochs} epochs:", f"    {settings}"]
    return "\n".join(lines)


def cost(study: Study, before: int, machine: Machine, slots: tuple[str, ...], site: Site) -> str:
    """How much is to be trained and how long that takes."""
    left = study.trials - before
    done = f"{before} of {study.trials} trials are finished already; " if before else ""
    kind = slots[0].partition(":")[0]
    workers = f"{len(slots)} {kind} worker{'s' if len(slots) > 1 else ''}"
    words = f"{done}training {left} trials on {workers}"
    at_a_time = min(len(slots), len(machine.slots))
    if site.executor == "slurm":
        words += f" of Slurm, {duration(60.0 * site.slurm.time)} of wall time each"
        at_a_time = len(slots)
    if machine.seconds is None or (site.executor == "slurm" and kind == "cuda"):
        return words  # what a GPU elsewhere would take is not known here
    about = duration(machine.seconds * left / study.trials / at_a_time)
    if site.executor == "slurm":
        return f"{words}: about {about} once they run, were they as fast as this machine"
    return f"{words}: about {about}"
