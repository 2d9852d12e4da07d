"""The commands. Each imports what it needs when it runs, so that `--help` starts at once."""

import typer

from stability.cli import options as o

app = typer.Typer(
    name="stability",
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
def sweep(
    model: o.Model = "vitp,vitc",
    optim: o.Optim = "adamw",
    data: o.Data = "digits",
    epochs: o.Epochs = "5",
    trials: o.Trials = "64",
    sampler: o.Sampler = "random",
    seed: o.Seed = "0",
    lr: o.Lr = None,
    weight_decay: o.WeightDecay = None,
    vary: o.Vary = None,
    stem: o.Stem = None,
    depth: o.Depth = None,
    pool: o.Pool = None,
    executor: o.Executor = "local",
    workers: o.Workers = None,
    device: o.Device = "auto",
    out: o.Out = None,
    confirm: o.Confirm = None,
    retry_failed: o.RetryFailed = False,
    dry_run: o.DryRun = False,
) -> None:
    """Train many draws of a study and draw its EDF.

    Draws learning rates and weight decays, trains each draw for a short while, keeps the results
    as parquet. The same command again trains only what is missing.
    """
    from stability.cli.request import Options, Where, read
    from stability.cli.sweep import run_request

    where = Where(executor=executor, workers=workers, device=device, out=out, confirm=confirm)
    ranges = {"lr": lr or [], "weight_decay": weight_decay or [], "vary": vary or []}
    choices = {"stem": stem, "depth": depth, "pool": pool}
    what = Options(model, optim, data, epochs, trials, sampler, seed, **ranges, **choices)
    request = read(what, where)
    raise typer.Exit(run_request(request, retry_failed=retry_failed, dry_run=dry_run))


@app.command()
def resume(
    run: o.Run,
    executor: o.Executor = "local",
    workers: o.Workers = None,
    device: o.Device = "auto",
    confirm: o.Confirm = None,
    retry_failed: o.RetryFailed = False,
) -> None:
    """Train what is missing in a run directory."""
    from stability.cli.request import Where, reopen
    from stability.cli.sweep import run_request

    where = Where(executor=executor, workers=workers, device=device, confirm=confirm)
    request = reopen(run, where)
    raise typer.Exit(run_request(request, retry_failed=retry_failed, dry_run=False))


@app.command()
def status(run: o.Run, as_json: o.AsJson = False) -> None:
    """Say what is done, what runs, what failed and why."""
    from stability.cli.status import show_status

    show_status(run, as_json=as_json)


@app.command()
def edf(
    runs: o.Tables,
    output: o.Output = None,
    delta: o.Delta = False,
    policy: o.Policy = "chance",
    band: o.Band = "ks",
    as_json: o.AsJson = False,
) -> None:
    """Draw the EDFs of runs or tables, with 95% bands."""
    from stability.cli.edf import Picture, draw

    draw(runs, output, Picture(delta=delta, policy=policy, band=band), as_json=as_json)


@app.command()
def models(names: o.Models = None, as_json: o.AsJson = False) -> None:
    """List the models: what each costs, its input, its source; and the stems."""
    from stability.cli.models import show_models

    show_models(names or [], as_json=as_json)


@app.command()
def data(
    name: o.DataName = None,
    output: o.Sheet = None,
    as_json: o.AsJson = False,
) -> None:
    """Show a data set: parts, classes, shape, fingerprint; as a picture too.

    Without a name, list the kinds of names.
    """
    from stability.cli.data import show_data

    show_data(name, output, as_json=as_json)


@app.command()
def compare(
    runs: o.Tables,
    by: o.By = None,
    reference: o.Reference = None,
    within: o.Within = None,
    policy: o.ComparePolicy = None,
    pilot: o.Pilot = "0",
    confidence: o.Confidence = "0.95",
    as_json: o.AsJson = False,
) -> None:
    """Say which of several models is more stable, and how sure that is."""
    from stability.cli.compare import Question, show_comparison

    question = Question(by, reference, within, policy, pilot, confidence)
    show_comparison(runs, question, as_json=as_json)
