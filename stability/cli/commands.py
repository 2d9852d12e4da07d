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
    executor: o.Executor = "local",
    workers: o.Workers = None,
    device: o.Device = "auto",
    out: o.Out = None,
    retry_failed: o.RetryFailed = False,
    dry_run: o.DryRun = False,
) -> None:
    """Train many draws of a study and draw its EDF.

    Draws learning rates and weight decays, trains each draw for a short while, keeps the results
    as parquet. The same command again trains only what is missing.
    """
    from stability.cli.request import Options, Where, read
    from stability.cli.sweep import run_request

    where = Where(executor=executor, workers=workers, device=device, out=out)
    ranges = {"lr": lr or [], "weight_decay": weight_decay or [], "vary": vary or []}
    what = Options(model, optim, data, epochs, trials, sampler, seed, **ranges)
    request = read(what, where)
    raise typer.Exit(run_request(request, retry_failed=retry_failed, dry_run=dry_run))


@app.command()
def resume(
    run: o.Run,
    executor: o.Executor = "local",
    workers: o.Workers = None,
    device: o.Device = "auto",
    retry_failed: o.RetryFailed = False,
) -> None:
    """Train what is missing in a run directory."""
    from stability.cli.request import Where, reopen
    from stability.cli.sweep import run_request

    request = reopen(run, Where(executor=executor, workers=workers, device=device))
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
def plan(
    runs: o.Pilots = None,
    half_width: o.HalfWidth = "0.1,0.05",
    confidence: o.Confidence = "0.95",
    within: o.Within = "4",
    policy: o.Policy = "chance",
    by: o.By = None,
    draws: o.Draws = None,
    workers: o.PlannedWorkers = None,
    as_json: o.AsJson = False,
) -> None:
    """Say how many trials a study needs, and from a pilot its power and its cost."""
    from stability.cli.plan import Asked, show_plan

    asked = Asked(
        half_width=half_width,
        confidence=confidence,
        within=within,
        policy=policy,
        by=by,
        draws=draws,
        workers=workers,
    )
    show_plan(runs or [], asked, as_json=as_json)
