"""The options of all commands, with their help. Values arrive as text: see `cli.request`."""

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

Model = Annotated[
    str,
    Option(
        help="vitp, vitc, regnety, resnet, or with a size as in vitc-nano, or with choices as in "
        "vitp-nano+conv: see stability models.",
        metavar="NAME,...",
    ),
]
Stem = Annotated[
    str | None,
    Option(help="Of each ViT; its depth stays. See stability models.", metavar="NAME,..."),
]
Depth = Annotated[str | None, Option(help="Blocks of each ViT.", metavar="N,...")]
Pool = Annotated[
    str | None, Option(help="What each ViT's head reads: token or mean.", metavar="NAME,...")
]
Models = Annotated[
    list[str] | None,
    Argument(help="Full names, with choices or without [default: all].", show_default=False),
]
Optim = Annotated[str, Option(help="sgd, adamw.", metavar="NAME,...")]
Data = Annotated[
    str,
    Option(
        help="digits, folder:PATH, cifar10:PATH, hf:NAME, synthetic:n=5000 and more: see stability "
        "data.",
        metavar="NAME",
    ),
]
DataName = Annotated[
    str | None,
    Argument(help="As --data takes it [default: list the kinds].", show_default=False),
]
Sheet = Annotated[
    Path | None,
    Option("-o", "--output", help="Contact sheet, ten images a class: png, pdf or svg."),
]
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
Confirm = Annotated[
    str | None,
    Option(
        help="At the end train the best of each group again with R fresh seeds: the reference of "
        "`compare`, and the peak.",
        metavar="R",
    ),
]
RetryFailed = Annotated[
    bool, Option("--retry-failed", help="Try trials again that failed three times.")
]
DryRun = Annotated[bool, Option("--dry-run", help="Show what would be trained, and stop.")]
Version = Annotated[bool, Option("--version", help="Print the version.")]
AsJson = Annotated[bool, Option("--json", help="Print JSON instead of a table.")]
Run = Annotated[Path, Argument(help="A run directory.", show_default=False)]
Output = Annotated[
    Path | None,
    Option("-o", "--output", help="Picture: png, pdf or svg [default: RUN/edf.png]."),
]
Delta = Annotated[bool, Option("--delta", help="Points above each sample's best, not errors.")]
Policy = Annotated[
    str, Option(help="Where diverged runs count: chance, last, best or drop.", metavar="NAME")
]
Tables = Annotated[
    list[Path],
    Argument(help="Run directories, or parquet, CSV or JSONL tables.", show_default=False),
]
By = Annotated[
    str | None,
    Option(
        help="What is compared, at equal values of the rest: model, optim, epochs or another "
        "column [default: the first of these that varies].",
        metavar="COLUMN",
    ),
]
Reference = Annotated[
    str | None,
    Option(
        help="confirmed, sample-min, a percentage, or one for each as GROUP=PERCENT,... "
        "[default: confirmed where it is there].",
        metavar="WHAT",
    ),
]
Within = Annotated[
    str | None,
    Option(help="Points above the reference [default: the study's, 4].", metavar="D"),
]
ComparePolicy = Annotated[
    str | None,
    Option(
        "--policy",
        help="Where diverged runs count: chance, last, best or drop [default: the study's].",
        metavar="NAME",
    ),
]
Pilot = Annotated[
    str,
    Option(
        help="So many first trials of each give the reference and are then left out.", metavar="K"
    ),
]
Confidence = Annotated[str, Option(help="Of every statement, above 0 and below 1.", metavar="C")]
Band = Annotated[
    str,
    Option(help="Of 95% simultaneous confidence: ks, dkw, ld or ld-equal-tailed.", metavar="NAME"),
]
