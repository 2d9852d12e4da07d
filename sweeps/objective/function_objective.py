"""Objectives that are functions of one trial, as documented in docs/own.md.

def fit(trial):
    ...  # trial["C"], trial["seed"], ...
    return 7.5  # or {"error": 7.5, "val_error": 8.0, "n_eval": 400, "chance": 90.0}

A function that takes long may have a second parameter, `saved` (`sweeps.Saved`).
"""

import inspect
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pyarrow as pa

from sweeps.errors import AnswerError
from sweeps.objective.collapse import is_collapsed
from sweeps.study.schema import CURVE_COLUMNS, FLOAT, INT, MEASURED_COLUMNS
from sweeps.study.trial import NOT_SAVED, Cohort, Objective, Result, Saved, Trial
from sweeps.study.units import (
    COUNT_COLUMNS,
    UNIT_MAXIMUM,
    in_percent,
    refused_result,
    unit_or_percent,
)
from sweeps.study.values import as_column_type, as_number, number_or_none, short_repr

Function = Callable[..., Any]

TRIAL_FIELDS = ("model", "optim", "epochs", "seed")
"""Fields that a function gets in addition to the hyperparameters."""
METRIC_COLUMNS = ("error", "wrong", "n_eval", "chance", "val_error", "loss", "train_loss")
"""Metrics with a column of the results; any other number is kept under its own name."""
RESERVED_NAMES = {c.name for c in MEASURED_COLUMNS} | {
    "trial",
    "study",
    "draw",
    "data",
    "curve",
    *TRIAL_FIELDS,
}


def takes_one_trial(function: Callable[..., Any]) -> bool:
    """Whether it takes one trial; a generator takes a cohort and yields its results."""
    return not inspect.isgeneratorfunction(function)


def fault_of_objective(function: Any) -> str | None:
    """Return why it cannot be an objective, or None."""
    if not callable(function):
        return f"is a {type(function).__name__}, no function"
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        return "is an async function, which nothing awaits: allowed is a plain one"
    try:
        inspect.signature(function).bind({}, **_saved_argument(function, NOT_SAVED))
    except TypeError:
        return "cannot be called with one argument, the trial as a dict"
    except ValueError:
        return None  # a builtin that does not tell its arguments
    return None


def from_function(function: Function) -> Objective:
    """Make an objective that calls `function` for each trial of a cohort."""

    def objective(cohort: Cohort) -> Iterator[Result]:
        for trial in cohort.trials:
            fields = {name: getattr(trial, name) for name in TRIAL_FIELDS}
            saved = _saved_argument(function, cohort.saved_of(trial))
            answer = function({**trial.settings, **fields}, **saved)
            try:
                yield result_of(trial, answer, cohort.unit)
            except AnswerError as error:  # the same would come again
                yield refused_result(trial.id, [str(error)], cohort.unit)

    return objective


def _saved_argument(function: Function, saved: Saved) -> dict[str, Saved]:
    """Return the argument `saved` if the function has a parameter of that name."""
    try:
        return {"saved": saved} if "saved" in inspect.signature(function).parameters else {}
    except ValueError:  # a builtin that does not tell its arguments
        return {}


def result_of(trial: Trial, answer: Any, unit: str = "percent") -> Result:
    """Convert the return value of a function to a result; numbers are kept as they were returned.

    A number is the error. A dict has `error`, or `wrong` and `n_eval`; it may have other names of
    `METRIC_COLUMNS`, a `curve` (a list of dicts with `epoch` and other columns of the curves), and
    any other numbers. An error that is NaN, infinite or None is a diverged training. Where `chance`
    is given, an error that a guess may have is a collapsed one (`sweeps.objective.collapse`).

    Whether the numbers are possible in the unit is checked by the worker, for every objective.

    Raises AnswerError, naming every fault, if the return value is none of this.
    """
    metrics = dict(answer) if isinstance(answer, Mapping) else {"error": answer}
    curve = metrics.pop("curve", [])
    if "error" not in metrics and {"wrong", "n_eval"} <= metrics.keys() and unit != "raw":
        metrics["error"] = _error_of_counts(metrics, UNIT_MAXIMUM[unit_or_percent(unit)])
    if faults := _faults(trial, metrics, curve):
        raise AnswerError("; ".join(faults))
    metrics = {name: None if value is None else as_number(value) for name, value in metrics.items()}
    values = {name: metrics.pop(name) for name in METRIC_COLUMNS if name in metrics}
    extra = [
        {"name": name, "value": float(value)}
        for name, value in metrics.items()
        if value is not None
    ]
    return Result(
        trial=trial.id,
        outcome=outcome_of_values(in_percent(values, unit)),
        values={**_finite(values), "metrics": extra},
        curve=[{"epoch": number, **row} for number, row in enumerate(curve)],
    )


def _faults(trial: Trial, metrics: dict[str, Any], curve: Any) -> list[str]:
    faults = []
    if "error" not in metrics and not {"wrong", "n_eval"} <= metrics.keys():
        faults.append(f"the objective gave {short_repr(list(metrics))}, needed is 'error'")
    if nameless := [name for name in metrics if not isinstance(name, str)]:
        faults.append(f"{nameless[0]!r} is a {type(nameless[0]).__name__}, names are text")
    for name, value in metrics.items():
        try:
            if value is not None and name in METRIC_COLUMNS and number_or_none(value) is None:
                raise ValueError("not a real number")
            is_whole = name in COUNT_COLUMNS and math.isfinite(as_number(value or 0))
            as_column_type(value, INT if is_whole else FLOAT)
        except ValueError as error:
            faults.append(f"{name} is {short_repr(value)}, allowed is a number ({error})")
        if name not in METRIC_COLUMNS and (name in RESERVED_NAMES or name in trial.settings):
            faults.append(f"{name} is the name of another column")
    columns = {c.name: c.type for c in CURVE_COLUMNS}
    if not isinstance(curve, list) or any(not isinstance(row, Mapping) for row in curve):
        faults.append("curve is no list of dicts")
    elif unknown := sorted(
        str(name) for name in {name for row in curve for name in row} - columns.keys()
    ):
        faults.append(f"curve: {', '.join(unknown)}: allowed are {', '.join(sorted(columns))}")
    elif bad := [(k, v) for row in curve for k, v in row.items() if not _fits(v, columns[k])]:
        faults.append(f"curve: {bad[0][0]} is {bad[0][1]!r}, allowed is a number")
    return faults


def _fits(value: Any, kind: pa.DataType) -> bool:
    """Whether a column of the curves can hold a value."""
    is_number = hasattr(value, "__index__") if kind == INT else number_or_none(value) is not None
    return value is None or is_number


def _error_of_counts(metrics: dict[str, Any], full: float) -> float | None:
    """Return the error, or None if it cannot be computed; `_faults` names what is wrong."""
    try:
        return float(full * as_number(metrics["wrong"]) / as_number(metrics["n_eval"]))
    except (TypeError, ValueError, ArithmeticError):
        return None


def outcome_of_values(values: Mapping[str, Any]) -> str:
    """Return the outcome of a training with these values; errors and chance in percent."""
    error, chance, n = (values.get(name) for name in ("error", "chance", "n_eval"))
    if error is None or not math.isfinite(error):
        return "diverged"
    if chance is None:
        return "ok"
    return "collapsed" if is_collapsed(error, chance, n) else "ok"


def _finite(values: dict[str, Any]) -> dict[str, Any]:
    """Convert values to Python numbers; values that are not finite are left out."""
    return {
        name: int(value) if name in COUNT_COLUMNS and value == int(value) else float(value)
        for name, value in values.items()
        if value is not None and math.isfinite(value)
    }
