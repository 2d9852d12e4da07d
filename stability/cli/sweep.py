"""`stability sweep`: from a request to results, a table and a picture."""

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from stability.cli.edf import Picture, write_picture
from stability.cli.machine import Machine, measure
from stability.cli.progress import Display, duration
from stability.cli.request import Request
from stability.cli.tables import print_summary, shown
from sweeps import provenance, views
from sweeps.design import draw_design
from sweeps.dispatch import EXECUTORS
from sweeps.driver import Driver, Plan, sigterm_as_interrupt, sole_driver
from sweeps.errors import SpecError
from sweeps.parts import Ledger, set_aside
from sweeps.run_directory import RunDirectory
from sweeps.study import Study
from sweeps.trial import Trial

DONE, LEFT_FAILED, INTERRUPTED = 0, 1, 130


def run_request(request: Request, *, retry_failed: bool, dry_run: bool) -> int:
    """Do what is asked for; returns the exit status."""
    study, run = request.study, request.run
    print(describe(study))
    left = study.trials - finished(run)
    if left == 0:
        print(f"all {study.trials} trials are finished already")
        return DONE if dry_run else conclude(run)
    with ThreadPoolExecutor(1) as pool:  # the measurement is a process: draw meanwhile
        measured = pool.submit(measure, study, request.device)
        design = draw_design(study)
        machine = measured.result()
    slots = chosen(machine, request)
    print(cost(study, left, machine, slots))
    if dry_run:
        print("dry run: nothing was written")
        return DONE
    trials = run.create(study, design)
    with sole_driver(run), sigterm_as_interrupt():
        warn(run)
        provenance.record(run, {"slots": list(slots), "executor": request.executor})
        plan = Plan(slots=slots, submission_folder=Path.cwd(), retry_failed=retry_failed)
        return drive(request, trials, plan)


def drive(request: Request, trials: list[Trial], plan: Plan) -> int:
    """Train what is missing, with a display; whatever ends it, the views are written."""
    run = request.run
    try:
        with Display(trials, len(plan.slots)) as display:
            dispatcher = EXECUTORS[request.executor](run, display.look(Ledger(run)))
            Driver(run, trials, dispatcher, plan, display.update).drive()
    except KeyboardInterrupt:
        views.rebuild(run)
        print(
            f"stopped: {finished(run)} of {len(trials)} trials are finished and kept in "
            f"{shown(run.path)}; the same command goes on from there"
        )
        return INTERRUPTED
    return conclude(run)


def conclude(run: RunDirectory) -> int:
    """Views, table and picture of what is there; exit status 1 where trials are left failed."""
    views.rebuild(run)
    print_summary([run.path])
    picture = write_picture([run.path], run.edf, Picture())
    print(f"{shown(picture)}\n{shown(run.results)}")
    ledger = Ledger(run)
    ledger.refresh()
    left = [trial.id for trial in run.read_design() if not ledger.is_trained(trial.id)]
    for trial in left:
        print(f"failed: {trial}: {ledger[trial].message}", file=sys.stderr)
    if left:
        print(
            f"{len(left)} trials are left failed after {ledger[left[0]].failures} attempts; "
            "the same command with --retry-failed tries them again",
            file=sys.stderr,
        )
    return LEFT_FAILED if left else DONE


def finished(run: RunDirectory) -> int:
    """How many trials of the design are trained already."""
    if not run.design.exists():
        return 0
    ledger = Ledger(run)
    ledger.refresh()
    return sum(ledger.is_trained(trial.id) for trial in run.read_design())


def chosen(machine: Machine, request: Request) -> tuple[str, ...]:
    """Slots to fill: those of the machine, or as many as were asked for."""
    if request.executor == "inline":
        return machine.slots[:1]
    workers, places = request.workers, len(machine.slots)
    if workers is None or workers <= places:
        return machine.slots[:workers]
    if machine.slots[0].startswith("cuda"):
        raise SpecError([f"--workers: got {workers}, allowed is one a GPU: 1 to {places} here"])
    return tuple(f"cpu:{i}" for i in range(workers))  # they share the cores


def warn(run: RunDirectory) -> None:
    """Name damaged parts and set them aside; name a change of the code."""
    ledger = Ledger(run)
    ledger.refresh()
    for path in set_aside(ledger.damaged):
        print(
            f"damaged: a part cannot be read and was set aside as {shown(path)}; the trials that "
            "were in it are trained again",
            file=sys.stderr,
        )
    if (changed := provenance.changed_code(run)) is not None:
        print(f"note: {changed}", file=sys.stderr)


def describe(study: Study) -> str:
    """What is going to be trained, in a few lines."""
    lengths = ", ".join(map(str, study.epochs))
    lines = [
        f"study {study.name}",
        f"  {study.trials} trials: {study.draws} draws ({study.sampler}, seed {study.seed}) for "
        "each of",
        f"  {', '.join(study.models)}; {', '.join(study.optims)}; {lengths} epochs of {study.data}",
    ]
    for h in study.space:
        whose = ", ".join([*h.optims, *h.models])
        lines.append(f"  {h.name}{f' ({whose})' if whose else ''}: {h.law}")
    for optim in study.optims:
        settings = [f"{name} {value}" for name, value in study.recipe[optim].items()]
        half = (len(settings) + 1) // 2
        lines += [f"  {optim}: {', '.join(settings[:half])},", f"    {', '.join(settings[half:])}"]
    primary = study.primary
    lines.append(
        f"  primary: share within {primary.within:g} points of the {primary.reference}, "
        f"diverged at {primary.policy}"
    )
    return "\n".join(lines)


def cost(study: Study, left: int, machine: Machine, slots: tuple[str, ...]) -> str:
    """How much is to be trained and how long that takes."""
    seconds = machine.seconds * left / study.trials / len(slots)
    before = study.trials - left
    done = f"{before} of {study.trials} trials are finished already; " if before else ""
    kind = slots[0].partition(":")[0]
    workers = f"{len(slots)} {kind} worker{'s' if len(slots) > 1 else ''}"
    return f"{done}training {left} trials on {workers}: about {duration(seconds)}"
