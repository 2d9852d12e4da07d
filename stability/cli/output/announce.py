"""What is printed about a study before it is trained."""

from textwrap import wrap

from stability.cli.output.progress import duration
from stability.cli.output.tables import TERMINAL_WIDTH, shown_path
from stability.cli.site.cluster import Site
from stability.cli.site.machine import Machine
from stability.cli.study.options import IMAGE_OBJECTIVE
from stability.data.listing import describe_left_out as images_left_out
from sweeps.store.run_directory import RunDirectory
from sweeps.study.space import as_typed
from sweeps.study.study import Study
from sweeps.words import count

DIVERGED = {
    "chance": "count as chance",
    "last": "count with their last error",
    "best": "count with their best error",
    "drop": "are left out",
    "beyond": "count as farther away than any loss",
}
"""What each policy of a study does with diverged runs."""


def describe_study(study: Study) -> str:
    """Describe what is going to be trained, in a few lines."""
    if study.sampler == "listed":
        return _describe_confirmation(study)
    lengths = ", ".join(map(str, study.epochs))
    lengths += " epoch" if study.epochs == (1,) else " epochs"
    lines = [
        f"study {study.name}",
        f"  {count(study.trials, 'trial')}: {count(study.draws, 'draw')} ({study.sampler}, seed "
        f"{study.seed}) for each of",
        f"  {', '.join(study.models)}; {', '.join(study.optims)}; {lengths} of {study.data}",
    ]
    for h in study.space:
        whose = ", ".join([*h.optims, *h.models])
        lines.append(f"  {h.name}{f' ({whose})' if whose else ''}: {h.law}")
    for optim in filter(study.recipe.get, study.optims):
        settings = [f"{name} {as_typed(value)}" for name, value in study.recipe[optim].items()]
        lines += comma_lines(f"  {optim}: ", settings)
    for model, own in study.model_settings.items():
        lines += comma_lines(f"  {model}: ", [f"{name} {value}" for name, value in own.items()])
    if study.left_out:
        lines.append(f"  {images_left_out(study.left_out)}")
    if study.origin:
        lines += comma_lines("  from: ", study.origin.split("; "))
    primary = study.primary
    near = f"within {primary.within:g}{'' if study.unit == 'raw' else ' points'} of the best"
    lines.append(
        f"  measure: share of configurations {near}; diverged runs {DIVERGED[primary.policy]}"
    )
    if study.unit:
        lines.append(f"  unit: {study.unit}")
    name, *rest = lines  # of a folder: left whole
    return "\n".join([name, *(part for line in rest for part in wrap_indented(line))])


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
        f"note: {shown_path(path)} holds the same study, trained by an earlier version of "
        f"stability. Its trials of {models} have other settings and are not taken over. To "
        f"continue it instead: stability resume {shown_path(path)}"
    )
    return "\n".join(wrap_indented(note))


def wrap_indented(line: str) -> list[str]:
    """Wrap a line at 80 columns; names stay whole."""
    return wrap(
        line,
        TERMINAL_WIDTH,
        subsequent_indent="    ",
        break_on_hyphens=False,
        break_long_words=False,
    )


def comma_lines(head: str, parts: list[str]) -> list[str]:
    """Join the parts with commas, in lines of at most 80 columns, broken only between parts."""
    lines = [head + parts[0]]
    for part in parts[1:]:
        lines[-1] += ","
        if len(lines[-1]) + len(part) + 2 > TERMINAL_WIDTH:
            lines.append(f"    {part}")
        else:
            lines[-1] += f" {part}"
    return lines


def _describe_confirmation(study: Study) -> str:
    """Describe the configurations that are trained again."""
    lines = [
        "the selected configuration of each group (by validation error where there is one), with "
        f"{count(study.draws, 'fresh seed')}:"
    ]
    for c in study.configurations:
        settings = ", ".join(
            f"{name} {as_typed(value)}" for name, value in c.hyperparameters.items()
        )
        lines += [f"  {c.model}, {c.optim}, {count(c.epochs, 'epoch')}:", f"    {settings}"]
    return "\n".join(lines)


def describe_cost(
    study: Study, before: int, machine: Machine, *, slots: tuple[str, ...], site: Site
) -> str:
    """Say how many trials are to be trained and how long that takes."""
    left = study.trials - before
    done = f"{before} of {study.trials} trials finished already; " if before else ""
    kind = slots[0].partition(":")[0]
    workers = count(len(slots), f"{kind} worker")
    words = f"{done}training {count(left, 'trial')} on {workers}"
    at_a_time = min(len(slots), len(machine.slots))
    if site.executor == "slurm":
        words += f" of Slurm, {duration(60.0 * site.slurm.time)} of wall time each"
        at_a_time = len(slots)
    if site.executor == "slurm" and kind == "cuda":
        return words  # what a GPU elsewhere would take is not known here
    if machine.seconds is None:
        is_ours = study.objective == IMAGE_OBJECTIVE
        return f"{words}; how long that takes is not known" if is_ours else words
    about = duration(machine.seconds * left / study.trials / at_a_time)
    if site.executor == "slurm":
        return f"{words}: about {about} once they run, were they as fast as this machine"
    return f"{words}: about {about}"
