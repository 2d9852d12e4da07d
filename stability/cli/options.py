"""The options of all commands, with their help. Values arrive as text: see `cli.request`."""

from collections.abc import Callable
from functools import wraps
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import Annotated, Any

from typer import Argument, Option

Model = Annotated[
    str | None,
    Option(
        help="vitp, vitc, regnety, resnet, with a size as in vitc-nano, with choices as in "
        "vitp-nano+conv (see stability models); package.module:function, timm:NAME, "
        "torchvision:NAME  [default: vitp,vitc]",
        metavar="NAME,...",
    ),
]
Objective = Annotated[
    str | None,
    Option(
        help="Train with your own function instead: a trial's hyperparameters in, an error or a "
        "dict of metrics out. What is drawn is what --vary names.",
        metavar="MODULE:FUNCTION",
    ),
]
Study = Annotated[
    Path | None,
    Option(help="A study in TOML; options beside it go before it.", metavar="FILE"),
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
Optim = Annotated[str | None, Option(help="sgd, adamw  [default: adamw]", metavar="NAME,...")]
Data = Annotated[
    str | None,
    Option(
        help="digits, folder:PATH, cifar10:PATH, hf:NAME, synthetic:n=5000 and more: see stability "
        "data  [default: digits]",
        metavar="NAME",
    ),
]
DataName = Annotated[
    str | None,
    Argument(help="As --data takes it [default: list the kinds].", show_default=False),
]
SkipUnreadable = Annotated[bool, Option("--skip-unreadable", help="Leave out unreadable images.")]
Sheet = Annotated[
    Path | None,
    Option("-o", "--output", help="Contact sheet, ten images a class: png, pdf or svg."),
]
Epochs = Annotated[
    str | None,
    Option(help="Schedule lengths; each draw is trained at each  [default: 5]", metavar="N,..."),
]
Trials = Annotated[
    str | None,
    Option(help="Draws for each model, optimizer and length  [default: 64]", metavar="N"),
]
Sampler = Annotated[
    str | None, Option(help="random, sobol or grid  [default: random]", metavar="NAME")
]
Seed = Annotated[
    str | None,
    Option(
        help="Of the draws and, with each draw's number, of its training  [default: 0]",
        metavar="N",
    ),
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
        "NAME=LO:HI (log), NAME=LO:HI:linear or NAME=a,b,c. With --objective any names; also "
        "NAME=LO:HI:int.",
        metavar="NAME=LAW",
    ),
]
Recipe = Annotated[
    str | None,
    Option(
        help="nano, micro or paper: see stability recipe  [default: the one that suits the data]",
        metavar="NAME",
    ),
]
SetSetting = Annotated[
    list[str] | None,
    Option(
        "--set",
        help="One setting of the recipe, off where it can be: batch_size=256, mixup=off. With "
        "--objective any name.",
        metavar="NAME=VALUE",
    ),
]
RecipeName = Annotated[
    str | None, Argument(help="nano, micro or paper [default: all].", show_default=False)
]
RecipeData = Annotated[
    str, Option("--data", help="Whose images are in the picture.", metavar="NAME")
]
RecipePicture = Annotated[
    Path | None,
    Option("-o", "--output", help="Picture of what augmentation does: png, pdf or svg."),
]
Executor = Annotated[
    str | None,
    Option(
        help="local: submitit jobs on this machine; slurm: on a cluster; inline: in this process "
        "[default: local; on resume what it was].",
        metavar="NAME",
    ),
]
Workers = Annotated[
    str | None,
    Option(
        "--workers",
        "--parallel",
        help="Trainings at a time [default: one a core or GPU; 8 on a cluster].",
        metavar="N",
    ),
]
Device = Annotated[
    str | None,
    Option(help="auto, cpu, cuda or cuda:i  [default: auto]", metavar="NAME"),
]
Engine = Annotated[
    str | None,
    Option(
        help="How trials are trained: auto (on a GPU, measures and takes the fastest), eager, or, "
        "experimental and not yet measured on a GPU: captured, streams, stacked (for example "
        "stacked:16). Fixed once something is trained  [default: auto]",
        metavar="NAME",
    ),
]
Precision = Annotated[
    str | None,
    Option(
        help="Of the forward pass: auto, float32 or bfloat16, which needs a GPU  [default: auto, "
        "bfloat16 on a GPU]",
        metavar="NAME",
    ),
]
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
Detach = Annotated[
    bool, Option("--detach", help="Start the workers and leave; see status, resume, cancel.")
]
Profile = Annotated[
    str | None,
    Option(
        help="A cluster's options by their names, from [profiles.NAME] in stability.toml.",
        metavar="NAME",
    ),
]
Partition = Annotated[str | None, Option(help="Slurm: where jobs go.", metavar="NAME")]
Account = Annotated[str | None, Option(help="Slurm: who pays.", metavar="NAME")]
Qos = Annotated[str | None, Option(help="Slurm: quality of service.", metavar="NAME")]
WallTime = Annotated[
    str | None,
    Option(
        "--time",
        help="Slurm: of a worker, MINUTES, H:MM:SS or D-HH; one that needs more queues again  "
        "[default: 4:00:00]",
        metavar="TIME",
    ),
]
Memory = Annotated[str | None, Option(help="Slurm: of a worker, such as 8G.", metavar="SIZE")]
Cpus = Annotated[str | None, Option(help="Slurm: of a worker  [default: 1]", metavar="N")]
Gpus = Annotated[
    str | None,
    Option(help="Slurm: of a worker  [default: 1 with --device cuda]", metavar="N"),
]
Constraint = Annotated[str | None, Option(help="Slurm: features of nodes.", metavar="WHAT")]
Exclude = Annotated[str | None, Option(help="Slurm: nodes to leave out.", metavar="NODE,...")]
Setup = Annotated[
    list[str] | None,
    Option(
        help="Slurm: a line of the script before a worker starts. Again for each.", metavar="LINE"
    ),
]
SlurmOption = Annotated[
    list[str] | None,
    Option(
        "--slurm", help="Slurm: any other option of sbatch. Again for each.", metavar="KEY=VALUE"
    ),
]
SITE_OPTIONS: dict[str, Any] = {
    "executor": Executor,
    "workers": Workers,
    "device": Device,
    "engine": Engine,
    "detach": Detach,
    "profile": Profile,
    "partition": Partition,
    "account": Account,
    "qos": Qos,
    "time": WallTime,
    "memory": Memory,
    "cpus": Cpus,
    "gpus": Gpus,
    "constraint": Constraint,
    "exclude": Exclude,
    "setup": Setup,
    "slurm": SlurmOption,
}


def with_place(command: Callable[..., None]) -> Callable[..., None]:
    """The command, with the options of where it runs, which it gets as one dict."""

    @wraps(command)
    def collected(**given: Any) -> None:
        place = {name: given.pop(name) for name in SITE_OPTIONS}
        command(**given, place={name: value for name, value in place.items() if value})

    own = [p for p in signature(command).parameters.values() if p.name != "place"]
    options = [
        Parameter(
            name,
            Parameter.KEYWORD_ONLY,
            default=False if kind is Detach else None,
            annotation=kind,
        )
        for name, kind in SITE_OPTIONS.items()
    ]
    collected.__signature__ = Signature([*own, *options])  # type: ignore[attr-defined]
    collected.__annotations__ = {p.name: p.annotation for p in [*own, *options]}
    return collected


Watch = Annotated[bool, Option("--watch", help="Look again every few seconds, until all is done.")]
Version = Annotated[bool, Option("--version", help="Print the version.")]
AsJson = Annotated[bool, Option("--json", help="Print JSON instead of a table.")]
Run = Annotated[Path, Argument(help="A run directory.", show_default=False)]
Output = Annotated[
    Path | None,
    Option("-o", "--output", help="Picture: png, pdf or svg [default: RUN/edf.png]."),
]
Delta = Annotated[bool, Option("--delta", help="Points above each sample's best, not errors.")]
Policy = Annotated[
    str, Option(help="SiteOptions diverged runs count: chance, last, best or drop.", metavar="NAME")
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
    Option(
        help="Distance above the reference that counts as near, in points or the unit of a loss  "
        "[default: the study's, or 4 points]",
        metavar="D",
    ),
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
    str | None,
    Option(help="ld (up to 10,000 trials), ks (beyond), dkw or ld-equal-tailed.", metavar="NAME"),
]
Sources = Annotated[
    list[str],
    Argument(
        help="Tables (csv, jsonl, json, parquet), Optuna storages (sqlite:///FILE, a .db or "
        "journal file), W&B exports, pycls sweep.json.",
        show_default=False,
    ),
]
ImportOut = Annotated[
    Path | None, Option("-o", "--out", help="Table to write: a .parquet file.", metavar="FILE")
]
Format = Annotated[
    str | None,
    Option("--format", help="table, optuna, wandb or pycls [default: recognised].", metavar="NAME"),
]
Map = Annotated[
    list[str] | None,
    Option(
        "--map",
        help="Our name of a column, and theirs: error, model, lr, outcome, draw, ... Again for "
        "each.",
        metavar="NAME=COLUMN",
    ),
]
Accuracy = Annotated[
    str | None, Option(help="Column of accuracies, in place of errors.", metavar="COLUMN")
]
Unit = Annotated[
    str | None, Option(help="Of errors or accuracies: percent or fraction.", metavar="NAME")
]
SetConstant = Annotated[
    list[str] | None,
    Option("--set", help="A column with one value: model=resnet.", metavar="NAME=VALUE"),
]
MapOutcome = Annotated[
    list[str] | None,
    Option(
        help="What a value of the outcome's column means: done=ok, nan=diverged, oom=crashed.",
        metavar="VALUE=OUTCOME",
    ),
]
Empty = Annotated[
    str, Option(help="Outcome of a run that ended without an error.", metavar="OUTCOME")
]
Chance = Annotated[
    str | None, Option(help="Error of always answering the largest class.", metavar="PERCENT")
]
Classes = Annotated[
    str | None, Option(help="Number of classes, of equal size: gives chance.", metavar="K")
]
ClassCounts = Annotated[
    str | None,
    Option(help="Evaluated examples of each class: gives chance and n.", metavar="N,..."),
]
NEval = Annotated[str | None, Option(help="Number of evaluated examples.", metavar="N")]
OfStudy = Annotated[
    list[str] | None, Option("--study", help="Of an Optuna storage [default: all].", metavar="NAME")
]
ImportDryRun = Annotated[bool, Option("--dry-run", help="Show what would be written, and stop.")]
Force = Annotated[bool, Option("--force", help="Replace a file that is there.")]
Pilots = Annotated[
    list[Path] | None,
    Argument(help="Pilots: run directories or tables.", show_default=False),
]
HalfWidth = Annotated[
    str, Option(help="Half-widths of intervals, as shares from 0.02 to 0.5.", metavar="W,...")
]
PlanConfidence = Annotated[str, Option(help="Of each interval and band.", metavar="P")]
PlanBy = Annotated[
    str | None,
    Option(help="Columns that make groups [default: those that vary].", metavar="NAME,..."),
]
Draws = Annotated[
    str | None, Option(help="Trials of each group [default: as in the pilot].", metavar="N")
]
PlannedWorkers = Annotated[
    str | None, Option("--workers", help="Trainings at a time [default: 1].", metavar="N")
]
