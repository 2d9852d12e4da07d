"""The `sweep.json` of pycls: what `tools/sweep_collect.py` gathers from the jobs' logs.

A list with an entry for each job that wrote a log (github.com/facebookresearch/pycls:
tools/sweep_collect.py, pycls/core/logging.py, pycls/core/meters.py): `log_file`, `err`, `cfg`, and
for `train_epoch`, `test_epoch` and `test_ema_epoch` a list of values over the epochs for each
metric, errors in percent. Its own analysis drops jobs without an evaluation and ranks by
`min_top1_err`, the best epoch; here every job stays and the last epoch counts. A diverged training
goes on to be evaluated, as noise: divergence is a training loss that is not finite.
"""

import math
import re
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.errors import TableError
from analysis.importers.cells import flatten, frame_of_rows
from analysis.importers.formats.text_files import stem_of
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
GROUPING = ("optim", "epochs", "data")
"""Of these, the ones that would make groups; a sweep draws them all from one law."""
PYCLS_OUTCOMES = {
    "done": "ok",
    "nan": "diverged",
    "oom": "out_of_memory",
    "time limit": "timed_out",
    "error": "crashed",
    "no log": "crashed",
    "unfinished": "missing",
}
OUT_OF_MEMORY = re.compile("out[ -]of[ -]memory|OutOfMemoryError", re.IGNORECASE)
TIME_LIMIT = re.compile("DUE TO TIME LIMIT")  # as Slurm writes it
ERROR = re.compile("Error|Traceback|CANCELLED|Killed")
"""In the `err` of a job, which is what it wrote to stderr."""
STATE_NOTES = {
    "unfinished": "unfinished jobs name no error, and may still run: they count as missing; where "
    "the sweep has ended: --map-outcome unfinished=crashed",
    "error": "unfinished jobs that wrote an error to stderr count as crashed; where they were "
    "requeued: --map-outcome error=missing",
}
MOST_GAPS = 1000


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
    """Make a table of the jobs, in the order of their numbers.

    Raises:
        TableError: no such list; every job whose metrics are not what pycls writes.

    """
    if not is_sweep(content):
        raise TableError(
            [f"{path} is no sweep.json of pycls: a list of jobs with log_file and cfg"]
        )
    rows, places = _in_order(path, _all_rows(path, content))
    frame = frame_of_rows(rows)
    ema = any("test_ema_epoch" in job for job in content)
    varied = [n for n in GROUPING if CONFIG_KEYS[n] in frame and _varies(frame[CONFIG_KEYS[n]])]
    folder = path.absolute().parent.name  # sweeps lie in ROOT_DIR/NAME/sweep.json
    return ExternalSweep(
        name=folder if path.name == "sweep.json" and folder else stem_of(path),
        format="pycls",
        is_ordered=True,
        frame=frame,
        places=places,
        columns={
            **{o: t for o, t in CONFIG_KEYS.items() if t in frame and o not in varied},
            "outcome": "state",
            "error": "error",
        },
        outcomes=PYCLS_OUTCOMES,
        constants={"sampler": "random"},
        unit="percent",
        notes=(
            f"error: {'test_ema_epoch' if ema else 'test_epoch'}.top1_err of the last epoch, not "
            "the best epoch that pycls ranks by (that one is best_val_error); pycls evaluates one "
            "part of the data, so it chooses and reports on the same images",
            "jobs after the last one that wrote a log are not in the file",
            *_notes(rows, varied),
        ),
        state_notes=STATE_NOTES,
        sampler_note="pycls draws configurations at random, independently: sampler = random",
        details=frozenset(str(name) for name in frame if str(name).startswith("cfg.")),
    )


def _varies(cells: "pd.Series[Any]") -> bool:
    return cells.nunique(dropna=True) > 1


def _notes(rows: list[dict[str, Any]], varied: list[str]) -> list[str]:
    gaps = sum(row["state"] == "no log" for row in rows)
    of_gaps = (
        f"jobs between others that wrote no log: {gaps}; they count as crashed, with an unknown "
        "error, since later jobs have started"
    )
    return [
        *([of_gaps] if gaps else []),
        *(
            f"{CONFIG_KEYS[name]} varies: all jobs are draws of one sweep, so it makes no groups; "
            f"if it shall: --map {name}={CONFIG_KEYS[name]}"
            for name in varied
        ),
    ]


def _all_rows(path: Path, jobs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A row for each job. Raises TableError with the faults of all jobs."""
    rows, faults, logs = [], [], set[str]()
    for position, job in enumerate(jobs, start=1):
        number = _number(job)
        try:
            rows.append(_row(job))
            if (log := str(job["log_file"])) in logs:
                raise ValueError(f"the log_file {log} is there twice")
            logs.add(log)
        except ValueError as error:
            faults.append(f"{path}, job {position if number is None else number}: {error}")
    if faults:
        more = f" (and {len(faults) - 3} more jobs)" if len(faults) > 3 else ""
        raise TableError([*faults[:2], *(fault + more for fault in faults[2:3])])
    return rows


def _in_order(
    path: Path, rows: list[dict[str, Any]]
) -> tuple[list[dict[str, Any]], tuple[str, ...]]:
    """Rows by the number of the job, one for each before the last that has no log."""
    numbers = [row["draw"] for row in rows]
    if None in numbers or len(set(numbers)) < len(numbers):  # folders were renamed or merged
        plain = [{name: cell for name, cell in row.items() if name != "draw"} for row in rows]
        return plain, tuple(f"job {position}" for position in range(1, len(rows) + 1))
    by_number = {row["draw"]: row for row in rows}
    every = range(max(numbers) + 1)  # of a Slurm array from 0 (pycls, tools/sweep_launch.py)
    if len(every) > len(rows) + max(MOST_GAPS, 10 * len(rows)):
        raise TableError(
            [f"{path}: jobs {every[0]} to {every[-1]}, but only {len(rows)} of them are there"]
        )
    absent = {**_common(rows), "state": "no log"}
    filled = [by_number.get(n, {**absent, "draw": n}) for n in every]
    return filled, tuple(f"job {number}" for number in every)


def _common(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """What all jobs have in common: so has one that left no log."""
    first = rows[0]
    names = [name for name in first if all(row.get(name) == first[name] for row in rows)]
    return {name: first[name] for name in names if name.startswith("cfg.")}


def _number(job: dict[str, Any]) -> int | None:
    """The number that pycls gave to a job: the name of the folder of its log."""
    name = Path(str(job.get("log_file", ""))).parent.name
    return int(name) if name.isascii() and name.isdigit() else None


def _row(job: dict[str, Any]) -> dict[str, Any]:
    """The row of a job. Raises ValueError where its metrics are not what pycls writes."""
    if "log_file" not in job:
        raise ValueError("it has no log_file")
    config = job.get("cfg") or {}
    if not isinstance(config, dict):
        raise ValueError("cfg is no object")
    row: dict[str, Any] = {"draw": _number(job), **flatten({"cfg": config}), "error": None}
    name, first_nan = next((name for name in TESTS if name in job), None), _first_nan(job)
    if name is None:
        return {**row, "state": "nan" if first_nan < math.inf else _unfinished(job)}
    errors, epochs = _metric(job, name, "top1_err"), _epochs(job, name)
    _same_length(name, errors, epochs)
    finite = [
        error
        for error, epoch in zip(errors, epochs, strict=True)
        if epoch < first_nan and math.isfinite(error)
    ]
    row |= {
        "best_val_error": min(finite, default=None),
        "last_finite_error": finite[-1] if finite else None,
    }
    if first_nan < math.inf or not math.isfinite(errors[-1]):
        return {**row, "state": "nan"}
    if epochs[-1] < _epochs(job, name, "epoch_max")[-1]:
        return {**row, "state": _unfinished(job)}
    ends = {"raw_error": "test_epoch", "ema_error": "test_ema_epoch"}
    both = {our: _metric(job, their, "top1_err")[-1] for our, their in ends.items() if their in job}
    return {**row, "state": "done", "error": errors[-1], **(both if len(both) == 2 else {})}


def _unfinished(job: dict[str, Any]) -> str:
    """The state of a job that did not reach its last epoch, by what it wrote to stderr.

    >>> _unfinished({"err": "CUDA out of memory"}), _unfinished({"err": "OSError: disk"})
    ('oom', 'error')
    >>> _unfinished({"err": "slurmstepd: error: JOB 7 CANCELLED DUE TO TIME LIMIT"})
    'time limit'
    """
    text = str(job.get("err"))
    if OUT_OF_MEMORY.search(text):
        return "oom"
    if TIME_LIMIT.search(text):
        return "time limit"
    return "error" if ERROR.search(text) else "unfinished"


def _first_nan(job: dict[str, Any]) -> float:
    """First epoch, from 1, whose mean training loss is not finite; inf where there is none."""
    if "train_epoch" not in job:
        return math.inf
    losses, epochs = _metric(job, "train_epoch", "loss"), _epochs(job, "train_epoch")
    _same_length("train_epoch", losses, epochs)
    found = [e for e, loss in zip(epochs, losses, strict=True) if not math.isfinite(loss)]
    return min(found, default=math.inf)


def _epochs(job: dict[str, Any], name: str, part: str = "epoch_ind") -> list[float]:
    """Epochs of a list of metrics: `epoch_ind`, or from `epoch` as in "3/50" where it is older."""
    metrics = job[name]
    if not isinstance(metrics, dict) or part in metrics or "epoch" not in metrics:
        return _metric(job, name, part)
    place = 0 if part == "epoch_ind" else 1
    try:
        return [float(str(epoch).split("/")[place]) for epoch in metrics["epoch"]]
    except (ValueError, IndexError, TypeError) as error:
        raise ValueError(f"{name}.epoch is no list of texts as 3/50") from error


def _metric(job: dict[str, Any], name: str, part: str) -> list[float]:
    """Values over the epochs. Raises ValueError where they are no list of numbers."""
    metrics = job[name]
    if not isinstance(metrics, dict):
        raise ValueError(f"{name} is no object")
    if part not in metrics:
        raise ValueError(f"{name} has no {part}")
    values = metrics[part]
    if not isinstance(values, list) or not values:
        raise ValueError(f"{name}.{part} is no list of values over the epochs")
    for value in values:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(f"{name}.{part} has the value {value!r}, allowed are numbers")
    return values


def _same_length(name: str, values: list[float], epochs: list[float]) -> None:
    if len(values) != len(epochs):
        raise ValueError(f"{name} has {len(values)} values for {len(epochs)} epochs")
