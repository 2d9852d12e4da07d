"""What is said of a study before it is trained."""

from textwrap import wrap

from stability.cli.output.progress import duration
from stability.cli.output.tables import WIDTH, shown
from stability.cli.site.cluster import Site
from stability.cli.site.machine import Machine
from stability.cli.study.image_study import OBJECTIVE
from stability.data.listing import describe_left_out as images_left_out
from sweeps.store.run_directory import RunDirectory
from sweeps.study.space import as_typed
from sweeps.study.study import Study


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
        settings = [f"{name} {as_typed(value)}" for name, value in study.recipe[optim].items()]
        lines += in_lines(f"  {optim}: ", settings)
    for model, own in study.model_settings.items():
        lines += in_lines(f"  {model}: ", [f"{name} {value}" for name, value in own.items()])
    if study.left_out:
        lines.append(f"  {images_left_out(study.left_out)}")
    if study.origin:
        lines += in_lines("  from: ", study.origin.split("; "))
    primary = study.primary
    lines.append(
        f"  primary: share within {primary.within:g} points of the {primary.reference}, "
        f"diverged at {primary.policy}"
        if study.unit != "raw"
        else f"  primary: share with a loss within {primary.within:g} of the {primary.reference}, "
        "diverged beyond every loss"
    )
    if study.unit:
        lines.append(f"  unit: {study.unit}")
    name, *rest = lines  # of a folder: left whole
    return "\n".join([name, *(part for line in rest for part in wrapped(line))])


def earlier_version(study: Study, run: RunDirectory) -> str | None:
    """A note where an earlier version of this program began the same study beside `run`.

    Trials of the models in `model_settings` have other settings there and are not taken over.
    """
    before = study.model_copy(update={"model_settings": {}})
    path = run.path.parent / before.name
    if not study.model_settings or run.exists() or not RunDirectory(path).exists():
        return None
    models = ", ".join(study.model_settings)
    note = (
        f"note: {shown(path)} holds the same study, trained by an earlier version of stability. "
        f"Its trials of {models} have other settings and are not taken over. To continue it "
        f"instead: stability resume {shown(path)}"
    )
    return "\n".join(wrapped(note))


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
        settings = ", ".join(
            f"{name} {as_typed(value)}" for name, value in c.hyperparameters.items()
        )
        lines += [f"  {c.model}, {c.optim}, {c.epochs} epochs:", f"    {settings}"]
    return "\n".join(lines)


def cost(study: Study, before: int, machine: Machine, *, slots: tuple[str, ...], site: Site) -> str:
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
    if site.executor == "slurm" and kind == "cuda":
        return words  # what a GPU elsewhere would take is not known here
    if machine.seconds is None:
        is_ours = study.objective == OBJECTIVE
        return f"{words}; how long that takes is not known" if is_ours else words
    about = duration(machine.seconds * left / study.trials / at_a_time)
    if site.executor == "slurm":
        return f"{words}: about {about} once they run, were they as fast as this machine"
    return f"{words}: about {about}"
