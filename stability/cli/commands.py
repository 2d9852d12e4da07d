"""The commands and their options. Values arrive as text: see `stability.cli.request`."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    name="stability",
    help="Measure how stable a model's training is to its hyperparameters, and draw the proof.",
    epilog="A first study, in under two minutes: stability sweep --model vitc --optim sgd",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80},
)

Runs = Annotated[list[Path], typer.Argument(help="Run directories.", show_default=False)]
Run = Annotated[Path, typer.Argument(help="A run directory.", show_default=False)]
Executor = Annotated[
    str,
    typer.Option(
        help="local: submitit jobs on this machine; inline: in this process.", metavar="NAME"
    ),
]
Workers = Annotated[
    str | None,
    typer.Option(help="Trainings at a time [default: one a core or GPU].", metavar="N"),
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:i.", metavar="NAME")]
RetryFailed = Annotated[
    bool, typer.Option("--retry-failed", help="Try trials again that failed three times.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


@app.callback(invoke_without_command=True)
def stability(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """Measure how stable a model's training is to its hyperparameters."""
    if version:
        from stability import __version__

        typer.echo(f"stability {__version__}")
        raise typer.Exit


@app.command()
def sweep(
    model: Annotated[
        str,
        typer.Option(
            help="vitp, vitc, regnety, or with a size as in vitc-nano.", metavar="NAME,..."
        ),
    ] = "vitp,vitc",
    optim: Annotated[str, typer.Option(help="sgd, adamw.", metavar="NAME,...")] = "adamw",
    data: Annotated[str, typer.Option(help="digits.", metavar="NAME")] = "digits",
    epochs: Annotated[
        str,
        typer.Option(help="Schedule lengths; each draw is trained at each.", metavar="N,..."),
    ] = "5",
    trials: Annotated[
        str, typer.Option(help="Draws for each model, optimizer and length.", metavar="N")
    ] = "64",
    sampler: Annotated[str, typer.Option(help="random, sobol or grid.", metavar="NAME")] = "random",
    seed: Annotated[
        str,
        typer.Option(
            help="Of the draws and, with each draw's number, of its training.", metavar="N"
        ),
    ] = "0",
    lr: Annotated[
        list[str] | None,
        typer.Option(
            help="Peak learning rate, log-uniform. Several optimizers: sgd=LO:HI.", metavar="LO:HI"
        ),
    ] = None,
    weight_decay: Annotated[
        list[str] | None,
        typer.Option(help="Log-uniform. Several optimizers: sgd=LO:HI.", metavar="LO:HI"),
    ] = None,
    vary: Annotated[
        list[str] | None,
        typer.Option(
            help="Vary more: batch_size, momentum, beta2, warmup, label_smoothing or clip, as "
            "NAME=LO:HI (log), NAME=LO:HI:linear or NAME=a,b,c.",
            metavar="NAME=LAW",
        ),
    ] = None,
    executor: Executor = "local",
    workers: Workers = None,
    device: Device = "auto",
    out: Annotated[
        str | None,
        typer.Option(help="Run directory [default: runs/ and the study's name].", metavar="DIR"),
    ] = None,
    retry_failed: RetryFailed = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be trained, and stop.")
    ] = False,
) -> None:
    """Train many draws of a study and draw its EDF.

    Draws learning rates and weight decays, trains each draw for a short while, keeps the results
    as parquet. The same command again trains only what is missing.
    """
    from stability.cli.request import Options, read
    from stability.cli.sweep import run_request

    options = Options(
        model=model,
        optim=optim,
        data=data,
        epochs=epochs,
        trials=trials,
        sampler=sampler,
        seed=seed,
        lr=lr or [],
        weight_decay=weight_decay or [],
        vary=vary or [],
        executor=executor,
        workers=workers,
        device=device,
        out=out,
    )
    raise typer.Exit(run_request(read(options), retry_failed=retry_failed, dry_run=dry_run))


@app.command()
def resume(
    run: Run,
    executor: Executor = "local",
    workers: Workers = None,
    device: Device = "auto",
    retry_failed: RetryFailed = False,
) -> None:
    """Train what is missing in a run directory."""
    from stability.cli.request import reopen
    from stability.cli.sweep import run_request

    request = reopen(run, executor=executor, workers=workers, device=device)
    raise typer.Exit(run_request(request, retry_failed=retry_failed, dry_run=False))


@app.command()
def status(run: Run, as_json: AsJson = False) -> None:
    """Say what is done, what runs, what failed and why."""
    from stability.cli.status import show_status

    show_status(run, as_json=as_json)


@app.command()
def edf(
    runs: Runs,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="Picture: png, pdf or svg [default: RUN/edf.png]."),
    ] = None,
    delta: Annotated[
        bool, typer.Option("--delta", help="Points above each sample's best, not errors.")
    ] = False,
    policy: Annotated[
        str,
        typer.Option(help="Where diverged runs count: chance, last, best or drop.", metavar="NAME"),
    ] = "chance",
    band: Annotated[
        str,
        typer.Option(
            help="Of 95% simultaneous confidence: ks, dkw, ld or ld-equal-tailed.", metavar="NAME"
        ),
    ] = "ks",
    as_json: AsJson = False,
) -> None:
    """Draw the EDFs of runs, with 95% bands."""
    from stability.cli.edf import Picture, draw

    draw(runs, output, Picture(delta=delta, policy=policy, band=band), as_json=as_json)
