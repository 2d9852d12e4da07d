"""The commands. Each imports what it needs when it runs, so that `--help` starts at once."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import typer
from typer.core import TyperGroup

from stability.cli import options as o
from stability.cli.site_options import with_site_options

UsageError: Any = typer.BadParameter.__mro__[1]


class Printable(TyperGroup):
    """Commands whose usage errors are printed without what a terminal would obey."""

    def make_context(self, *args: Any, **more: Any) -> Any:
        """Run `TyperGroup` with printable errors."""
        with printable_errors():
            return super().make_context(*args, **more)

    def invoke(self, ctx: Any) -> Any:
        """Run `TyperGroup` with printable errors."""
        with printable_errors():
            return super().invoke(ctx)


@contextmanager
def printable_errors() -> Iterator[None]:
    """Make the errors of the parser printable: they quote what was typed."""
    try:
        yield
    except UsageError as error:
        from sweeps.system.trust import printable

        error.message = printable(error.message)
        raise


app = typer.Typer(
    name="stability",
    cls=Printable,
    help="Measure how stable a model's training is to its hyperparameters, and draw the proof.",
    epilog="A first study, in two minutes: stability sweep --model vitc --optim sgd",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80},
)


@app.callback(invoke_without_command=True)
def stability(version: o.Version = False) -> None:
    """Measure how stable a model's training is to its hyperparameters."""
    if version:
        from stability import __version__

        typer.echo(f"stability {__version__}")
        raise typer.Exit


@app.command()
@with_site_options
def sweep(
    model: o.Model = None,
    optim: o.Optim = None,
    data: o.Data = None,
    skip_unreadable: o.SkipUnreadable = False,
    epochs: o.Epochs = None,
    draws: o.StudyDraws = None,
    sampler: o.Sampler = None,
    seed: o.Seed = None,
    lr: o.Lr = None,
    weight_decay: o.WeightDecay = None,
    vary: o.Vary = None,
    recipe: o.Recipe = None,
    set_: o.SetSetting = None,
    stem: o.Stem = None,
    depth: o.Depth = None,
    pool: o.Pool = None,
    precision: o.Precision = None,
    objective: o.Objective = None,
    unit: o.ErrorUnit = None,
    within: o.OwnWithin = None,
    study: o.Study = None,
    out: o.Out = None,
    confirm: o.Confirm = None,
    retry_failed: o.RetryFailed = False,
    retrain_changed: o.RetrainChanged = False,
    keep_changed: o.KeepChanged = False,
    dry_run: o.DryRun = False,
    *,
    site: dict[str, Any],
) -> None:
    """Train many draws of a study and draw its EDF.

    Draws learning rates and weight decays, trains each draw for a short while, keeps the results
    as parquet. The same command again trains only what is missing.
    """
    from stability.cli.commands.sweep import run_request
    from stability.cli.site.cluster import collect_site_options
    from stability.cli.study.code import if_changed
    from stability.cli.study.options import StudyOptions
    from stability.cli.study.request import read_request

    changed = if_changed(retrain=retrain_changed, keep=keep_changed)
    options = collect_site_options(site, confirm=confirm, out=out)
    study_options = StudyOptions(
        model=model,
        optim=optim,
        data=data,
        epochs=epochs,
        draws=draws,
        sampler=sampler,
        seed=seed,
        stem=stem,
        depth=depth,
        pool=pool,
        precision=precision,
        objective=objective,
        unit=unit,
        within=within,
        study=study,
        lr=lr or [],
        weight_decay=weight_decay or [],
        vary=vary or [],
        recipe=recipe,
        set=set_ or [],
        skip_unreadable=skip_unreadable,
    )
    request = replace(read_request(study_options, options), if_changed=changed)
    raise typer.Exit(run_request(request, retry_failed=retry_failed, dry_run=dry_run))


@app.command()
@with_site_options
def resume(
    run: o.Run,
    confirm: o.Confirm = None,
    retry_failed: o.RetryFailed = False,
    unit: o.ErrorUnit = None,
    within: o.OwnWithin = None,
    retrain_changed: o.RetrainChanged = False,
    keep_changed: o.KeepChanged = False,
    *,
    site: dict[str, Any],
) -> None:
    """Train the missing trials of a run directory."""
    from stability.cli.commands.sweep import run_request
    from stability.cli.site.cluster import collect_site_options
    from stability.cli.study.code import if_changed
    from stability.cli.study.request import reopen_request

    changed = if_changed(retrain=retrain_changed, keep=keep_changed)
    options = collect_site_options(site, confirm=confirm)
    request = replace(reopen_request(run, options, unit, within), if_changed=changed)
    raise typer.Exit(run_request(request, retry_failed=retry_failed, dry_run=False))


@app.command()
def status(run: o.Run, watch: o.Watch = False, as_json: o.AsJson = False) -> None:
    """Show what is finished, running, queued and failed, and why."""
    from stability.cli.commands.status import show_status

    show_status(run, watch=watch, as_json=as_json)


@app.command()
def cancel(run: o.Run) -> None:
    """End the workers and the driver of a run; keep what is finished."""
    from stability.cli.commands.cancel import cancel_run

    cancel_run(run)


@app.command()
def edf(
    runs: o.Tables,
    output: o.Output = None,
    delta: o.Delta = False,
    policy: o.Policy = "chance",
    band: o.Band = None,
    within: o.Within = None,
    pool: o.PoolSweeps = False,
    as_json: o.AsJson = False,
) -> None:
    """Draw the EDFs of runs or tables, with 95% bands."""
    from stability.cli.commands.edf import EdfOptions, show_edf

    options = EdfOptions(delta=delta, policy=policy, band=band, pool=pool)
    show_edf(runs, output, options, within, as_json=as_json)


@app.command()
def compare(
    runs: o.Tables,
    by: o.By = None,
    reference: o.Reference = None,
    within: o.Within = None,
    policy: o.ComparePolicy = None,
    pilot: o.Pilot = "0",
    confidence: o.Confidence = "0.95",
    pool: o.PoolSweeps = False,
    as_json: o.AsJson = False,
) -> None:
    """Say which of several models is more stable, and how sure that is."""
    from stability.cli.commands.compare import CompareOptions, show_comparison

    options = CompareOptions(by, reference, within, policy, pilot, confidence, pool)
    show_comparison(runs, options, as_json=as_json)


@app.command()
def plan(
    runs: o.Pilots = None,
    half_width: o.HalfWidth = "0.1,0.05",
    confidence: o.PlanConfidence = "0.95",
    within: o.Within = None,
    policy: o.Policy = "chance",
    by: o.PlanBy = None,
    draws: o.Draws = None,
    workers: o.PlannedWorkers = None,
    pool: o.PoolSweeps = False,
    as_json: o.AsJson = False,
) -> None:
    """Say how many trials a study needs; of a pilot, power and cost."""
    from stability.cli.commands.plan import PlanOptions, show_plan

    options = PlanOptions(
        half_width=half_width,
        confidence=confidence,
        within=within,
        policy=policy,
        by=by,
        draws=draws,
        workers=workers,
        pool=pool,
    )
    show_plan(runs or [], options, as_json=as_json)


@app.command("import")
def import_(
    sources: o.Sources,
    out: o.ImportOut = None,
    map_: o.Map = None,
    accuracy: o.Accuracy = None,
    negate: o.Negate = False,
    unit: o.Unit = None,
    set_: o.SetConstant = None,
    map_outcome: o.MapOutcome = None,
    empty: o.Empty = None,
    last_of: o.LastOf = None,
    chance: o.Chance = None,
    classes: o.Classes = None,
    class_counts: o.ClassCounts = None,
    n_eval: o.NEval = None,
    format_: o.Format = None,
    study: o.OfStudy = None,
    pool: o.PoolSweeps = False,
    dry_run: o.ImportDryRun = False,
    force: o.Force = False,
) -> None:
    """Make a results table from a sweep of another tool.

    Says which column went where, what was assumed, and how the runs ended.
    """
    from stability.cli.commands.import_table import ImportArguments, import_sources

    arguments = ImportArguments(
        map=map_ or [],
        accuracy=accuracy,
        negate=negate,
        unit=unit or [],
        set=set_ or [],
        map_outcome=map_outcome or [],
        empty=empty,
        last_of=last_of,
        chance=chance,
        classes=classes,
        class_counts=class_counts,
        n_eval=n_eval,
        format=format_,
        study=study or [],
        pool=pool,
    )
    import_sources(sources, arguments, out, dry_run=dry_run, force=force)


@app.command()
def models(names: o.Models = None, as_json: o.AsJson = False) -> None:
    """List the models with what each costs, and the stems."""
    from stability.cli.commands.models import show_models

    show_models(names or [], as_json=as_json)


@app.command()
def data(
    name: o.DataName = None,
    output: o.Sheet = None,
    skip_unreadable: o.SkipUnreadable = False,
    as_json: o.AsJson = False,
) -> None:
    """Show a data set: parts, classes, shape, fingerprint.

    With -o also as a picture. Without a name, list the kinds of names.
    """
    from stability.cli.commands.data import show_data

    show_data(name, output, as_json=as_json, skip_unreadable=skip_unreadable)


@app.command()
def recipe(
    name: o.RecipeName = None,
    data: o.RecipeData = "digits",
    output: o.RecipePicture = None,
    as_json: o.AsJson = False,
) -> None:
    """Print the settings of a recipe, with allowed values and sources.

    Without a name, print all recipes side by side.
    """
    from stability.cli.commands.recipe import show_recipe

    show_recipe(name, data, output, as_json=as_json)
