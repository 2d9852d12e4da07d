"""Units of errors: the values that each allows, and their conversion to percent.

Parts hold the numbers as the objective returned them. They are converted by the unit of the study
when they are read, so a unit may be named or corrected after trials were trained.
"""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

from sweeps.study.trial import TRAINED, Result
from sweeps.study.values import number_or_none, short_repr

Unit = Literal["", "percent", "fraction", "raw"]
"""`percent`: 0 to 100. `fraction`: 0 to 1, shown as percent. `raw`: any finite loss, without
chance. Empty: none was named; read as percent unless the first results look like fractions."""
UNITS = ("percent", "fraction", "raw")
UNNAMED_UNIT = "unknown"
"""`error_unit` in a part: the result was checked before a unit was named."""

ERROR_COLUMNS = (
    "error",
    "val_error",
    "best_val_error",
    "last_finite_error",
    "raw_error",
    "ema_error",
)
"""Columns with values in the unit; `chance` is in it too."""
UNIT_MAXIMUM = {"percent": 100.0, "fraction": 1.0, "raw": math.inf}
COUNT_COLUMNS = ("wrong", "n_eval")
COUNTS_TOLERANCE = 1e-3  # share by which an error may differ from that of its counts
PERCENT_DIGITS = 10  # of a converted percentage: 0.07 is 7.0, not 7.000000000000001


def unit_or_percent(unit: str | None) -> str:
    """Return the unit by which a study or row is read: percent if none was named."""
    return unit if unit in UNITS else "percent"


def faults_in_unit(values: Mapping[str, Any], unit: str) -> list[str]:
    """Return what makes the values of a result impossible in the unit, each with the value.

    Missing values are no fault. Without a unit, values that are possible as fractions are accepted;
    the unit is asked for after three results.

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
    error, full = given.get("error"), UNIT_MAXIMUM[unit]
    if unit == "raw" or error is None or abs(error / full - wrong / n) <= COUNTS_TOLERANCE:
        return []
    return [f"error is {error}, with unit {unit} {wrong} wrong of {n} are {full * wrong / n:.4g}"]


def _finite(value: Any) -> int | float | None:
    """Return the finite number that a value is; None otherwise."""
    number = number_or_none(value)
    return number if number is not None and math.isfinite(number) else None


def in_percent(values: Mapping[str, Any], unit: str) -> dict[str, Any]:
    """Convert errors and chance to percent; a loss stays as it is.

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
    """Return the message of a trial that fails because of its objective's return value."""
    return f"the objective's return value cannot be used: {'; '.join(faults)}"


def refused_result(trial: str, faults: list[str], unit: str) -> Result:
    """Return the failure of a trial with an unusable return value; it is not tried again."""
    message = unusable_message(faults)
    if unit not in UNITS:
        message += " (no --unit was given)"
    values = {"message": message, "error_unit": unit or UNNAMED_UNIT}
    return Result(trial=trial, outcome="crashed", values=values)


def validate_unit(result: Result, unit: str) -> Result:
    """Return the result with its `error_unit`, or a failure if its values are impossible."""
    if result.outcome not in TRAINED or not isinstance(result.values, Mapping):
        return result
    faults = faults_in_unit(result.values, unit)
    for row in result.curve if isinstance(result.curve, list) else []:
        if not isinstance(row, Mapping):
            continue
        # What is not a number is left out of curves.
        errors = {k: row[k] for k in ERROR_COLUMNS if k in row and _finite(row[k]) is not None}
        if found := faults_in_unit(errors, unit):
            faults.append(f"curve, epoch {row.get('epoch')}: {found[0]}")
            break
    if faults:
        return refused_result(result.trial, faults, unit)
    return replace(result, values={**result.values, "error_unit": unit or UNNAMED_UNIT})
