"""The `sweep.json` of pycls: what `tools/sweep_collect.py` gathers from the jobs' logs.

A list with an entry for each job that wrote a log (github.com/facebookresearch/pycls:
tools/sweep_collect.py, pycls/core/logging.py, pycls/core/meters.py): `log_file`, `err`, `cfg`, and
for `train_epoch`, `test_epoch` and `test_ema_epoch` a list of values over the epochs for each
metric, errors in percent. Its own analysis drops jobs without an evaluation and ranks by
`min_top1_err`, the best epoch; here every job stays and the last epoch counts. A diverged training
goes on to be evaluated, as noise: divergence is a training loss that is not finite.
"""

import math
from pathlib import Path
from typing import Any

from analysis.errors import TableError
from analysis.importers.cells import frame_of_rows
from analysis.importers.source import ExternalSweep

TESTS = ("test_ema_epoch", "test_epoch")
CONFIG_KEYS = {
    "lr": "cfg.OPTIM.BASE_LR",
    "weight_decay": "cfg.OPTIM.WEIGHT_DECAY",
    "optim": "cfg.OPTIM.OPTIMIZER",
    "epochs": "cfg.OPTIM.MAX_EPOCH",
    "data": "cfg.TRAIN.DATASET",
    "seed": "cfg.RNG_SEED",
}
PYCLS_OUTCOMES = {"done": "ok", "nan": "diverged", "unfinished": "missing", "no log": "missing"}


def is_sweep(content: Any) -> bool:
    """Whether the content of a JSON file is such a list.

    >>> is_sweep([{"log_file": "logs/000000/stdout.log", "cfg": {}}]), is_sweep([{"lr": 0.1}])
    (True, False)
    """
    return (
        isinstance(content, list)
        and bool(content)
        and all(isinstance(job, dict) for job in content)
        and any("log_file" in job and isinstance(job.get("cfg"), dict) for job in content)
    )


def read_pycls(path: Path, content: Any) -> ExternalSweep:
    """Make a table of the jobs, in the order of their numbers. Raises TableError."""
    if not is_sweep(content):
        raise TableError(
            [f"{path} is no sweep.json of pycls: a list of jobs with log_file and cfg"]
        )
    rows, gaps = _in_order([_row(job) for job in content])
    frame = frame_of_rows(rows)
    ema = any("test_ema_epoch" in job for job in content)
    notes = [
        f"error: {'test_ema_epoch' if ema else 'test_epoch'}.top1_err of the last epoch, not the "
        "best epoch that pycls ranks by (that one is best_val_error); pycls evaluates one part of "
        "the data, so it chooses and reports on the same images",
        "jobs after the last one that wrote a log are not in the file",
    ]
    if gaps:
        notes.append(f"jobs between the others that wrote no log: {gaps}, kept without a result")
    folder = path.absolute().parent.name  # sweeps lie in ROOT_DIR/NAME/sweep.json
    return ExternalSweep(
        name=folder if path.name == "sweep.json" and folder else path.stem,
        format="pycls",
        frame=frame,
        columns={
            **{ours: theirs for ours, theirs in CONFIG_KEYS.items() if theirs in frame},
            "outcome": "state",
            "error": "error",
        },
        outcomes=PYCLS_OUTCOMES,
        constants={"sampler": "random"},
        unit="percent",
        notes=tuple(notes),
        sampler_note="pycls draws configurations at random, independently: sampler = random",
        details=frozenset(str(name) for name in frame if str(name).startswith("cfg.")),
    )


def _in_order(rows: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], int]:
    """Rows by the number of the job, a row for each that is between the others and has no log."""
    numbers = [row["draw"] for row in rows]
    if None in numbers or len(set(numbers)) < len(numbers):  # folders were renamed or merged
        return [{name: cell for name, cell in row.items() if name != "draw"} for row in rows], 0
    by_number = {row["draw"]: row for row in rows}
    every = range(min(numbers), max(numbers) + 1)
    absent = {**_common(rows), "state": "no log"}
    filled = [by_number.get(n, {**absent, "draw": n}) for n in every]
    return filled, len(filled) - len(rows)


def _common(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """What all jobs have in common: so has one that left no log, and belongs to their group."""
    first = rows[0]
    names = [name for name in first if all(row.get(name) == first[name] for row in rows)]
    return {name: first[name] for name in names if name.startswith("cfg.")}


def _row(job: dict[str, Any]) -> dict[str, Any]:
    cfg = {f"cfg.{key}": value for key, value in _flat(job.get("cfg") or {})}
    name = next((name for name in TESTS if name in job), None)
    number = Path(str(job.get("log_file", ""))).parent.name
    row: dict[str, Any] = {"draw": int(number) if number.isdigit() else None, **cfg}
    if name is None:
        return {**row, "state": "nan" if _first_nan(job) < math.inf else "unfinished"}
    errors, epochs = job[name]["top1_err"], _epochs(job[name])
    finite = [
        error
        for error, epoch in zip(errors, epochs, strict=True)
        if epoch < _first_nan(job) and math.isfinite(error)
    ]
    row |= {
        "best_val_error": min(finite, default=None),
        "last_finite_error": (finite or [None])[-1],
    }
    if _first_nan(job) < math.inf or not math.isfinite(errors[-1]):
        return {**row, "state": "nan"}
    if epochs[-1] < _epochs(job[name], "epoch_max")[-1]:
        return {**row, "state": "unfinished"}
    ends = {"raw_error": "test_epoch", "ema_error": "test_ema_epoch"}
    both = {ours: job[theirs]["top1_err"][-1] for ours, theirs in ends.items() if theirs in job}
    return {**row, "state": "done", "error": errors[-1], **(both if len(both) == 2 else {})}


def _first_nan(job: dict[str, Any]) -> float:
    """First epoch, from 1, whose mean training loss is not finite; inf where there is none."""
    train = job.get("train_epoch", {})
    losses = train.get("loss", [])
    found = [e for e, loss in zip(_epochs(train), losses, strict=True) if not math.isfinite(loss)]
    return min(found, default=math.inf)


def _epochs(metrics: dict[str, Any], part: str = "epoch_ind") -> list[float]:
    """Epochs of a list of metrics: `epoch_ind`, or from `epoch` as in "3/50" where it is older."""
    if part in metrics:
        return list(metrics[part])
    place = 0 if part == "epoch_ind" else 1
    return [float(str(epoch).split("/")[place]) for epoch in metrics.get("epoch", [])]


def _flat(cfg: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    return [
        pair
        for key, value in cfg.items()
        for pair in (
            _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else [(prefix + key, value)]
        )
    ]
