"""The tables: every column's type, unit and meaning, in one place.

The analysis reads files, not this module: a table of any other tool that has `model`, `outcome`
and `error` is analysed the same way.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from sweeps.study.space import Hyperparameter

Row = dict[str, Any]
"""One row of a table, by column."""

SCHEMA_VERSION = "1"
METADATA = {"stability_schema": SCHEMA_VERSION}


@dataclass(frozen=True)
class Column:
    """One column."""

    name: str
    type: pa.DataType
    meaning: str


TEXT, INT, FLOAT, BOOL = pa.string(), pa.int64(), pa.float64(), pa.bool_()

IDENTITY_COLUMNS = (
    Column("trial", TEXT, "readable part and hash of everything that decides the result"),
    Column("study", TEXT, "hash of the study"),
    Column("draw", INT, "number of the point of the unit cube, from 0"),
    Column("model", TEXT, "full model name"),
    Column("optim", TEXT, "optimizer"),
    Column("epochs", INT, "length of the schedule"),
    Column("seed", INT, "of the training; shared by the models of a draw"),
    Column("data", TEXT, "name of the data set"),
)

# docs/architecture.md, "Where to add or find things", lists what else changes.
MEASURED_COLUMNS = (
    Column("outcome", TEXT, "ok, collapsed, diverged; crashed, out_of_memory, timed_out"),
    Column(
        "diverged_at",
        INT,
        "step, from 0, of the first non-finite loss; weights are looked at per epoch",
    ),
    Column("error", FLOAT, "percent of the test part, after the last epoch; null if diverged"),
    Column("wrong", INT, "test images with a wrong answer"),
    Column("n_eval", INT, "test images"),
    Column("chance", FLOAT, "percent: error of always answering the test part's largest class"),
    Column("val_error", FLOAT, "percent of the validation part, after the last epoch"),
    Column("best_val_error", FLOAT, "percent: lowest over the epochs from 1"),
    Column("best_epoch", INT, "epoch of best_val_error, the first of equals"),
    Column("loss", FLOAT, "validation cross-entropy in nats, after the last epoch"),
    Column("train_loss", FLOAT, "nats: mean over the last epoch of the loss that is minimised"),
    Column("last_finite_error", FLOAT, "percent of the validation part, last finite epoch from 1"),
    Column("raw_error", FLOAT, "percent: test error of the weights themselves, where EMA is on"),
    Column(
        "ema_error", FLOAT, "percent: of the averaged ones, where EMA is on; it is `error` then"
    ),
    Column("seconds", FLOAT, "of the cohort, divided by its size"),
    Column("engine", TEXT, "how it was trained; `eager` is one by one"),
    Column("cohort_size", INT, "trials trained as one with it"),
    Column(
        "computed",
        FLOAT,
        "epochs that were computed: its own, and for those of a cohort that end last their equal "
        "shares of what was computed for diverged trials after they were; null where trials are "
        "not trained as one",
    ),
    Column("precision", TEXT, "of the arithmetic"),
    Column("device", TEXT, "kind of device"),
    Column("host", TEXT, "name of the machine"),
    Column("attempt", INT, "1 for the first; a failure of the infrastructure is tried again"),
    Column(
        "peak_memory", INT, "bytes at most: of the worker so far (cpu), of the cohort on the device"
    ),
    Column("finished", pa.timestamp("us", tz="UTC"), "when the result was written"),
    Column("worker", TEXT, "which worker trained it"),
    Column("message", TEXT, "of a failure: the last line of the error"),
    Column(
        "code",
        TEXT,
        "digest of the user's own code that trained it: modules of the objective and of the model "
        "and what they import; null where there is none, or an earlier version did not record it",
    ),
    Column(
        "error_unit",
        TEXT,
        "percent, or raw: the errors are values of a loss of the user's own. In parts: the unit by "
        "which the objective's answer was judged (percent, fraction, raw, or unknown where none "
        "was named), its numbers being as they were returned; with a failure: that the answer was "
        "refused; null where there was no answer, or an earlier version wrote it",
    ),
)

CURVE_COLUMNS = (
    Column(
        "epoch",
        INT,
        "0 is before training; where diverged_at is set, the row is of the epoch's steps before "
        "the first loss that is not finite, and has no loss and no val_error",
    ),
    Column("lr", FLOAT, "at the epoch's last step"),
    Column("train_loss", FLOAT, "nats: mean over the epoch of the loss that is minimised"),
    Column("loss", FLOAT, "nats: cross-entropy on the validation part"),
    Column("val_error", FLOAT, "percent of the validation part"),
    Column("seconds", FLOAT, "since the start of the training"),
    Column(
        "grad_norm",
        FLOAT,
        "L2 norm of the gradient of the loss that is minimised over all parameters, before "
        "clipping: mean over the epoch's steps where it is finite; null at epoch 0, as all that "
        "follow",
    ),
    Column("grad_norm_max", FLOAT, "the same: largest over the epoch's steps"),
    Column(
        "grad_norm_first_layer",
        FLOAT,
        "grad_norm of the first convolution or linear layer alone; null where it is frozen",
    ),
    Column("grad_norm_first_layer_max", FLOAT, "the same: largest over the epoch's steps"),
    Column(
        "loss_spikes",
        INT,
        "spikes of the training loss that began in the epoch: a loss more than 3.2 standard "
        "deviations above the mean of the 32 steps before (height: arXiv 2304.13013); those at "
        "most 10 steps apart are one; the first 32 steps are not judged",
    ),
    Column("diverged_at", INT, "as in the results, in the epoch of that step; null in all others"),
)


def _schema(columns: Sequence[Column]) -> pa.Schema:
    fields = [pa.field(c.name, c.type, metadata={"meaning": c.meaning}) for c in columns]
    return pa.schema(fields, metadata=METADATA)


def hyperparameter_columns(space: Sequence[Hyperparameter]) -> tuple[Column, ...]:
    """A column for each hyperparameter of the space, with its value as applied."""
    columns = {}
    for h in space:
        values = h.choices or (h.low,)
        if any(isinstance(value, str) for value in values):
            kind = TEXT
        elif all(isinstance(value, bool) for value in values):
            kind = BOOL
        else:
            whole = h.integer or all(isinstance(value, int) for value in values)
            kind = INT if whole else FLOAT
        columns[h.name] = Column(h.name, kind, "as applied" + ("; peak" if h.name == "lr" else ""))
    return tuple(columns.values())


def design_schema(space: Sequence[Hyperparameter]) -> pa.Schema:
    """design.parquet: identity and hyperparameters."""
    return _schema((*IDENTITY_COLUMNS, *hyperparameter_columns(space)))


def results_schema(space: Sequence[Hyperparameter], metrics: Sequence[str] = ()) -> pa.Schema:
    """results.parquet: the design's columns and what was measured, an objective's own last."""
    own = [Column(name, FLOAT, "metric of the objective") for name in metrics]
    drawn = hyperparameter_columns(space)
    # The names of an earlier version's study go before those that were added later.
    taken = {column.name for column in (*drawn, *own)}
    measured = [column for column in MEASURED_COLUMNS if column.name not in taken]
    return _schema((*IDENTITY_COLUMNS, *drawn, *measured, *own))


CURVES_SCHEMA = _schema((IDENTITY_COLUMNS[0], *CURVE_COLUMNS))
"""curves.parquet: one row per trial and epoch."""

PART_SCHEMA = _schema(
    (
        IDENTITY_COLUMNS[0],
        *MEASURED_COLUMNS,
        Column(
            "metrics",
            pa.list_(pa.field("element", pa.struct([("name", TEXT), ("value", FLOAT)]))),
            "further numbers of the objective",
        ),
        # In the same row as the result, so that one rename commits both.
        Column(
            "curve",
            pa.list_(pa.field("element", pa.struct([(c.name, c.type) for c in CURVE_COLUMNS]))),
            "rows of the curve",
        ),
    )
)
"""parts/*.parquet: what a worker wrote, one row per trial and attempt."""
