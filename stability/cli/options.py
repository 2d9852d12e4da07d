"""The options of the commands, with their help; where a study runs is in `site_options`.

Values arrive as text: `stability.cli.study` checks them.
"""

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

# All commands

Version = Annotated[bool, Option("--version", help="Print the version.")]
AsJson = Annotated[bool, Option("--json", help="Print JSON instead of a table.")]
Run = Annotated[Path, Argument(help="A run directory.", show_default=False)]
Tables = Annotated[
    list[Path],
    Argument(help="Run directories, or tables as stability import reads them.", show_default=False),
]
PoolSweeps = Annotated[
    bool,
    Option(
        "--pool",
        help="Show sweeps that differ in their seed alone, or tables of the same model, as one "
        "sample.",
    ),
]

# sweep, resume: what is trained

Model = Annotated[
    str | None,
    Option(
        help="vitp, vitc, regnety, resnet, with a size as in vitc-nano, with choices as in "
        "vitp-nano+conv (see stability models); package.module:function, timm:NAME, "
        "torchvision:NAME  [default: vitp,vitc]",
        metavar="NAME,...",
    ),
]
Stem = Annotated[
    str | None,
    Option(
        help="Stem of all ViT models; the depth is unchanged. See stability models.",
        metavar="NAME,...",
    ),
]
Depth = Annotated[str | None, Option(help="Number of blocks of all ViT models.", metavar="N,...")]
Pool = Annotated[
    str | None,
    Option(help="What the head of all ViT models reads: token or mean.", metavar="NAME,..."),
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
SkipUnreadable = Annotated[bool, Option("--skip-unreadable", help="Leave out unreadable images.")]
Epochs = Annotated[
    str | None,
    Option(help="Schedule lengths; each draw is trained at each  [default: 5]", metavar="N,..."),
]
StudyDraws = Annotated[
    str | None,
    Option(
        "--draws",
        "--trials",
        help="Draws for each model, optimizer and length  [default: 64]",
        metavar="N",
    ),
]
Sampler = Annotated[
    str | None, Option(help="random, sobol or grid  [default: random]", metavar="NAME")
]
Seed = Annotated[
    str | None,
    Option(
        help="Seed of the draws and, with each draw's number, of the training  [default: 0]",
        metavar="N",
    ),
]
Lr = Annotated[
    list[str] | None,
    Option(help="Peak learning rate, log-uniform. Several optimizers: sgd=LO:HI.", metavar="LO:HI"),
]
WeightDecay = Annotated[
    list[str] | None,
    Option(help="Weight decay, log-uniform. Several optimizers: sgd=LO:HI.", metavar="LO:HI"),
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
        help="Value of one recipe setting: batch_size=256, mixup=off. With --objective any name.",
        metavar="NAME=VALUE",
    ),
]
Precision = Annotated[
    str | None,
    Option(
        help="Precision of the forward pass: auto, float32 or bfloat16 (needs a GPU)  [default: "
        "auto, bfloat16 on a GPU]",
        metavar="NAME",
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
ErrorUnit = Annotated[
    str | None,
    Option(
        "--unit",
        help="Unit of what --objective returns: percent, fraction (0 to 1), or raw (any loss; "
        "needs --within)  [default: percent]",
        metavar="NAME",
    ),
]
OwnWithin = Annotated[
    str | None,
    Option(
        "--within",
        help="With --unit raw: the distance from the best loss that counts as near, in the unit of "
        "the loss.",
        metavar="D",
    ),
]
Study = Annotated[
    Path | None,
    Option(
        help="Study file in TOML. Options on the command line take precedence over it.",
        metavar="FILE",
    ),
]

# sweep, resume: how

Out = Annotated[
    str | None, Option(help="Run directory  [default: runs/ and the study's name]", metavar="DIR")
]
Confirm = Annotated[
    str | None,
    Option(
        help="At the end, retrain the selected configuration of each group (by validation error "
        "where there is one) with R new seeds: the reference of stability compare.",
        metavar="R",
    ),
]
RetryFailed = Annotated[
    bool, Option("--retry-failed", help="Retry trials that failed three times.")
]
RetrainChanged = Annotated[
    bool,
    Option(
        "--retrain-changed",
        help="After an edit of your own code: retrain the trials whose results come from another "
        "or an unknown version. The old results stay on disk but do not count.",
    ),
]
KeepChanged = Annotated[
    bool,
    Option(
        "--keep-changed",
        help="After an edit of your own code: keep the results of other versions and train what "
        "is missing with the current one. Tables and figures state it.",
    ),
]
DryRun = Annotated[bool, Option("--dry-run", help="Show what would be trained, and stop.")]

# status

Watch = Annotated[bool, Option("--watch", help="Look again every few seconds, until all is done.")]

# models, data, recipe

Models = Annotated[
    list[str] | None,
    Argument(help="Full names, with choices or without  [default: all]", show_default=False),
]
DataName = Annotated[
    str | None,
    Argument(help="As --data takes it  [default: list the kinds]", show_default=False),
]
Sheet = Annotated[
    Path | None,
    Option("-o", "--output", help="Contact sheet, ten images a class: png, pdf or svg."),
]
RecipeName = Annotated[
    str | None, Argument(help="nano, micro or paper  [default: all]", show_default=False)
]
RecipeData = Annotated[
    str, Option("--data", help="Data set of the images in the picture.", metavar="NAME")
]
RecipePicture = Annotated[
    Path | None,
    Option("-o", "--output", help="Picture of what augmentation does: png, pdf or svg."),
]

# edf, compare, plan

Output = Annotated[
    Path | None,
    Option("-o", "--output", help="Picture: png, pdf or svg  [default: RUN/edf.png, else edf.png]"),
]
Delta = Annotated[bool, Option("--delta", help="Points above each sample's best, not errors.")]
Policy = Annotated[
    str, Option(help="Where diverged runs count: chance, last, best or drop.", metavar="NAME")
]
Band = Annotated[
    str | None,
    Option(
        help="Method of the simultaneous 95% confidence bands: ld, ks, dkw or ld-equal-tailed  "
        "[default: ld up to 10,000 trials, ks beyond]",
        metavar="NAME",
    ),
]
By = Annotated[
    str | None,
    Option(
        help="What is compared, at equal values of the rest: model, optim, epochs or another "
        "column  [default: the first of these that varies]",
        metavar="COLUMN",
    ),
]
Reference = Annotated[
    str | None,
    Option(
        help="confirmed, sample-min, a percentage, or one for each as GROUP=PERCENT,... "
        " [default: confirmed where it is there]",
        metavar="WHAT",
    ),
]
Within = Annotated[
    str | None,
    Option(
        help="Distance from the reference or the best that counts as near, in points or in the "
        "unit of the loss  [default: the study's, or 4 points]",
        metavar="D",
    ),
]
ComparePolicy = Annotated[
    str | None,
    Option(
        "--policy",
        help="Where diverged runs count: chance, last, best or drop  [default: the study's]",
        metavar="NAME",
    ),
]
Pilot = Annotated[
    str,
    Option(
        help="The first K trials of each group give the reference and are then left out.",
        metavar="K",
    ),
]
Confidence = Annotated[str, Option(help="Confidence level, between 0 and 1.", metavar="C")]
Pilots = Annotated[
    list[Path] | None,
    Argument(help="Pilots: run directories or tables.", show_default=False),
]
HalfWidth = Annotated[
    str, Option(help="Half-widths of intervals, as shares from 0.02 to 0.5.", metavar="W,...")
]
PlanConfidence = Annotated[
    str, Option(help="Confidence level of each interval and band.", metavar="P")
]
PlanBy = Annotated[
    str | None,
    Option(help="Columns that make groups  [default: those that vary]", metavar="NAME,..."),
]
Draws = Annotated[
    str | None, Option(help="Trials of each group  [default: as in the pilot]", metavar="N")
]
PlannedWorkers = Annotated[
    str | None, Option("--workers", help="Trainings at a time  [default: 1]", metavar="N")
]

# import

Sources = Annotated[
    list[str],
    Argument(
        help="Tables (csv, tsv, jsonl, json, parquet), Optuna storages (sqlite:///FILE, a .db or "
        "journal file), W&B exports, Ray Tune folders, pycls sweep.json.",
        show_default=False,
    ),
]
ImportOut = Annotated[
    Path | None, Option("-o", "--out", help="Table to write: a .parquet file.", metavar="FILE")
]
Format = Annotated[
    str | None,
    Option(
        "--format", help="optuna, pycls, ray, wandb or table  [default: recognised]", metavar="NAME"
    ),
]
Map = Annotated[
    list[str] | None,
    Option(
        "--map",
        help="Our name of a column and its name in the source: error, model, lr, outcome, draw, "
        "... Can be repeated.",
        metavar="NAME=COLUMN",
    ),
]
Accuracy = Annotated[
    str | None, Option(help="Column of accuracies, in place of errors.", metavar="COLUMN")
]
Negate = Annotated[
    bool, Option("--negate", help="The column holds minus the errors or accuracies.")
]
Unit = Annotated[
    list[str] | None,
    Option(
        help="Unit of the errors or accuracies: percent, fraction, or raw (any loss). "
        "COLUMN=NAME sets the unit of another column.",
        metavar="NAME",
    ),
]
LastOf = Annotated[
    str | None,
    Option(
        help="Column that names the run of each row, where rows are epochs or steps: the last row "
        "of each run counts.",
        metavar="COLUMN",
    ),
]
SetConstant = Annotated[
    list[str] | None,
    Option("--set", help="A column with one value: model=resnet.", metavar="NAME=VALUE"),
]
MapOutcome = Annotated[
    list[str] | None,
    Option(
        help="Meaning of a value in the outcome column: good=ok, nan=diverged, (empty)=missing. "
        "Known words need none.",
        metavar="VALUE=OUTCOME",
    ),
]
Empty = Annotated[
    str | None,
    Option(
        help="Outcome of a run that ended without an error  [default: diverged]", metavar="OUTCOME"
    ),
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
    list[str] | None,
    Option("--study", help="Name of a study in an Optuna storage  [default: all]", metavar="NAME"),
]
ImportDryRun = Annotated[bool, Option("--dry-run", help="Show what would be written, and stop.")]
Force = Annotated[bool, Option("--force", help="Replace a file that is there.")]
