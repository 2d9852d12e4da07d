"""The options of all commands, with their help. Values arrive as text: see `cli.request`."""

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

Model = Annotated[
    str,
    Option(help="vitp, vitc, regnety, or with a size as in vitc-nano.", metavar="NAME,..."),
]
Optim = Annotated[str, Option(help="sgd, adamw.", metavar="NAME,...")]
Data = Annotated[str, Option(help="digits.", metavar="NAME")]
Epochs = Annotated[
    str, Option(help="Schedule lengths; each draw is trained at each.", metavar="N,...")
]
Trials = Annotated[str, Option(help="Draws for each model, optimizer and length.", metavar="N")]
Sampler = Annotated[str, Option(help="random, sobol or grid.", metavar="NAME")]
Seed = Annotated[
    str, Option(help="Of the draws and, with each draw's number, of its training.", metavar="N")
]
Lr = Annotated[
    list[str] | None,
    Option(help="Peak learning rate, log-uniform. Several optimizers: sgd=LO:HI.", metavar="LO:HI"),
]
WeightDecay = Annotated[
    list[str] | None,
    Option(help="Log-uniform. Several optimizers: sgd=LO:HI.", metavar="LO:HI"),
]
Vary = Annotated[
    list[str] | None,
    Option(
        help="Vary more: batch_size, momentum, beta2, warmup, label_smoothing or clip, as "
        "NAME=LO:HI (log), NAME=LO:HI:linear or NAME=a,b,c.",
        metavar="NAME=LAW",
    ),
]
Executor = Annotated[
    str,
    Option(help="local: submitit jobs on this machine; inline: in this process.", metavar="NAME"),
]
Workers = Annotated[
    str | None, Option(help="Trainings at a time [default: one a core or GPU].", metavar="N")
]
Device = Annotated[str, Option(help="auto, cpu, cuda or cuda:i.", metavar="NAME")]
Out = Annotated[
    str | None, Option(help="Run directory [default: runs/ and the study's name].", metavar="DIR")
]
RetryFailed = Annotated[
    bool, Option("--retry-failed", help="Try trials again that failed three times.")
]
DryRun = Annotated[bool, Option("--dry-run", help="Show what would be trained, and stop.")]
Version = Annotated[bool, Option("--version", help="Print the version.")]
AsJson = Annotated[bool, Option("--json", help="Print JSON instead of a table.")]
Run = Annotated[Path, Argument(help="A run directory.", show_default=False)]
Tables = Annotated[
    list[Path],
    Argument(help="Run directories, or parquet, CSV or JSONL tables.", show_default=False),
]
Output = Annotated[
    Path | None,
    Option("-o", "--output", help="Picture: png, pdf or svg [default: RUN/edf.png]."),
]
Delta = Annotated[bool, Option("--delta", help="Points above each sample's best, not errors.")]
Policy = Annotated[
    str, Option(help="Where diverged runs count: chance, last, best or drop.", metavar="NAME")
]
Band = Annotated[
    str,
    Option(help="Of 95% simultaneous confidence: ks, dkw, ld or ld-equal-tailed.", metavar="NAME"),
]
Pilots = Annotated[
    list[Path] | None,
    Argument(help="Pilots: run directories or tables.", show_default=False),
]
HalfWidth = Annotated[
    str, Option(help="Half-widths of intervals, as shares from 0.02 to 0.5.", metavar="W,...")
]
Confidence = Annotated[str, Option(help="Of each interval and band.", metavar="P")]
Within = Annotated[
    str, Option(help="Points from the reference that count as near it.", metavar="D")
]
By = Annotated[
    str | None,
    Option(help="Columns that make groups [default: those that vary].", metavar="NAME,..."),
]
Draws = Annotated[
    str | None, Option(help="Trials of each group [default: as in the pilot].", metavar="N")
]
PlannedWorkers = Annotated[
    str | None, Option("--workers", help="Trainings at a time [default: 1].", metavar="N")
]
