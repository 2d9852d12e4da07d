"""The unit of an objective's errors: which values it allows, and how they become percent.

Parts hold what an objective returned. Whoever reads them converts it by the unit of the study, so
that a unit may be named, or corrected, after trials were trained.
"""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

from sweeps.study.trial import TRAINED, Result
from sweeps.study.values import number_or_none, short_repr

Unit = Literal["", "percent", "fraction", "raw"]
"""`percent`: 0 to 100. `fraction`: 0 to 1, shown as percent. `raw`: any finite loss, without
chance. Empty: none was named; read as percent, unless the first results look like fractions."""
UNITS = ("percent", "fraction", "raw")
UNNAMED_UNIT = "unknown"
"""In a part: the result was judged before a unit was named."""

ERROR_COLUMNS = (
    "error",
    "val_error",
    "best_val_error",
    "last_finite_error",
    "raw_error",
    "ema_error",
)
"""Columns that are in the unit, as `chance` is."""
UNIT_MAXIMUM = {"percent": 100.0, "fraction": 1.0, "raw": math.inf}
COUNT_COLUMNS = ("wrong", "n_eval")
COUNTS_TOLERANCE = 1e-3  # share by which an error may differ from that of its counts
PERCENT_DIGITS = 10  # of a converted percentage: 0.07 is 7.0, not 7.000000000000001


def unit_or_percent(unit: str | None) -> str:
    """The unit that a study or a row is read by; percent where none was named."""
    return unit if unit in UNITS else "percent"


def faults_in_unit(values: Mapping[str, Any], unit: str) -> list[str]:
    """What makes these values of a result impossible in the unit, each with the value.

    Missing values are no fault. Without a unit, values that are possible as fractions are accepted:
    whether they are is asked when there are three.

    >>> faults_in_unit({"error": 250.0}, "percent")
    ['error is 250.0, allowed with unit percent: 0 to 100']
    >>> faults_in_unit({"error": 0.5, "wrong": 2, "n_eval": 4}, "fraction")
    []
    """
    found = _faults(values, unit_or_percent(unit))
    return found if unit in UNITS or _faults(values, "fraction") else []


def _faults(values: Mapping[str, Any], unit: str) -> list[str]:
    names = (*ERROR_COLUMNS, "chance", *COUNT_COLUMNS)
    given = {name: number for name in names if (number := _finite(values.get(name))) is not None}
    full = UNIT_MAXIMUM[unit]
    faults = [
        f"{name} is {short_repr(values[name])}, allowed is a number"
        for name in names
        if values.get(name) is not None and number_or_none(values[name]) is None
    ]
    faults += [
        f"{name} is {given[name]}, allowed with unit {unit}: 0 to {full:g}"
        for name in ERROR_COLUMNS
        if name in given and unit != "raw" and not 0.0 <= given[name] <= full
    ]
    if "chance" in given:
        if unit == "raw":
            faults.append(f"chance is {given['chance']}, with unit raw there is none: leave it out")
        elif not 0.0 < given["chance"] <= full:
            faults.append(
                f"chance is {given['chance']}, allowed with unit {unit}: above 0, at most {full:g}"
            )
    return faults + _faults_of_counts(given, unit)


def _faults_of_counts(given: Mapping[str, Any], unit: str) -> list[str]:
    faults = [
        f"{name} is {given[name]}, allowed is a whole number from {least}"
        for name, least in (("wrong", 0), ("n_eval", 1))
        if name in given and not (given[name] == int(given[name]) and given[name] >= least)
    ]
    if faults or not given.keys() >= set(COUNT_COLUMNS):
        return faults
    wrong, n = given["wrong"], given["n_eval"]
    if wrong > n:
        return [f"wrong is {wrong}, allowed is at most n_eval, {n}"]
    share = wrong / n
    if (
        unit == "raw"
        or "error" not in given
        or abs(given["error"] / UNIT_MAXIMUM[unit] - share) <= COUNTS_TOLERANCE
    ):
        return []
    return [
        f"error is {given['error']}, with unit {unit} {wrong} wrong of {n} are "
        f"{UNIT_MAXIMUM[unit] * share:.4g}"
    ]


def _finite(value: Any) -> int | float | None:
    """The number that a value is; None where it is none, or not finite."""
    number = number_or_none(value)
    return number if number is not None and math.isfinite(number) else None


def in_percent(values: Mapping[str, Any], unit: str) -> dict[str, Any]:
    """The values with errors and chance as percent; those of a loss as they are.

    >>> in_percent({"error": 0.07, "n_eval": 100}, "fraction")
    {'error': 7.0, 'n_eval': 100}
    """
    if unit_or_percent(unit) != "fraction":
        return dict(values)
    return {
        name: round(100.0 * number, PERCENT_DIGITS)
        if name in (*ERROR_COLUMNS, "chance") and (number := _finite(value)) is not None
        else value
        for name, value in values.items()
    }


def unusable_message(faults: list[str]) -> str:
    """The message of a failure that is the objective's answer."""
    return f"the objective's return value cannot be used: {'; '.join(faults)}"


def refused_result(trial: str, faults: list[str], unit: str) -> Result:
    """A failure that is the objective's answer: it is not tried again by itself."""
    message = unusable_message(faults)
    if unit not in UNITS:
        message += " (no --unit was given)"
    values = {"message": message, "error_unit": unit or UNNAMED_UNIT}
    return Result(trial=trial, outcome="crashed", values=values)


def _errors_in(row: Mapping[str, Any]) -> dict[str, Any]:
    """Errors of one row of a curve; what is not a number is left out of curves."""
    return {
        name: row[name] for name in ERROR_COLUMNS if name in row and _finite(row[name]) is not None
    }


def validate_unit(result: Result, unit: str) -> Result:
    """The result with the unit that it was judged by; a failure where its values are impossible."""
    if result.outcome not in TRAINED or not isinstance(result.values, Mapping):
        return result
    faults = faults_in_unit(result.values, unit)
    for row in result.curve if isinstance(result.curve, list) else []:
        if isinstance(row, Mapping) and (found := faults_in_unit(_errors_in(row), unit)):
            faults.append(f"curve, epoch {row.get('epoch')}: {found[0]}")
            break
    if faults:
        return refused_result(result.trial, faults, unit)
    return replace(result, values={**result.values, "error_unit": unit or UNNAMED_UNIT})
