"""Converts rows of parts by the unit of their study, and tells whether the unit must be named."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sweeps.objective.function_objective import outcome_of_values
from sweeps.study.schema import PART_SCHEMA
from sweeps.study.trial import FAILED, TRAINED
from sweeps.study.units import (
    ERROR_COLUMNS,
    UNIT_MAXIMUM,
    UNITS,
    UNNAMED_UNIT,
    faults_in_unit,
    in_percent,
    unit_or_percent,
    unusable_message,
)

COUNT_WORDS = {1: "error is", 2: "two errors are", 3: "three errors are"}
MIN_RESULTS = 3  # results that tell fractions from percent
UNIT_COLUMNS = (*ERROR_COLUMNS, "chance", "wrong", "n_eval")
CONVERTED_COLUMNS = ("outcome", "error_unit", "message", *UNIT_COLUMNS)
"""Columns of a part that the conversion may change."""


def rows_in_unit(rows: pa.Table, unit: str) -> pa.Table:
    """Convert rows of a part by the unit of their study: errors to percent, a loss not at all.

    A result with a value that is impossible in the unit becomes a failure whose message names it.
    A return value that was refused by another unit is an ordinary failure, which may be retried.
    """
    if _is_plain_percent(rows, unit):
        return rows
    for name in {"error_unit", "message"} - set(rows.column_names):  # an older version
        rows = rows.append_column(name, pa.nulls(len(rows), pa.string()))
    names = [name for name in CONVERTED_COLUMNS if name in rows.column_names]
    read = [_read(row, unit) for row in rows.select(names).to_pylist()]
    for name in names:
        column = pa.array([row[name] for row in read], PART_SCHEMA.field(name).type)
        rows = rows.set_column(rows.schema.get_field_index(name), PART_SCHEMA.field(name), column)
    return rows


def _read(row: dict[str, Any], unit: str) -> dict[str, Any]:
    judged_by = row.get("error_unit")
    is_changed = judged_by is not None and unit_or_percent(judged_by) != unit_or_percent(unit)
    if row["outcome"] in FAILED:
        return {**row, "error_unit": None} if is_changed else row
    if row["outcome"] not in TRAINED:
        return row
    # What an earlier version accepted may be as impossible as the counts that contradict it.
    if faults := faults_in_unit(row, unit_or_percent(unit) if judged_by is None else unit):
        message = unusable_message(faults)
        said = {"outcome": "crashed", "message": message, "error_unit": unit or UNNAMED_UNIT}
        return {**row, **dict.fromkeys(UNIT_COLUMNS), **said}
    values = in_percent(row, unit)
    if (
        unit_or_percent(unit) != "raw"
        and faults_in_unit(row, "percent")
        and row.get("wrong") is not None
    ):
        values["error"] = 100.0 * row["wrong"] / row["n_eval"]  # counts have no unit
    if is_changed and row["error"] is not None:
        values["outcome"] = outcome_of_values(values)
    return values


def _is_plain_percent(rows: pa.Table, unit: str) -> bool:
    """Whether nothing would change: all that there is was judged in percent, and is possible."""
    if unit_or_percent(unit) != "percent":
        return False
    if "error_unit" in rows.column_names:
        judged_by = pc.unique(rows["error_unit"]).to_pylist()
        if any(unit_or_percent(name) != "percent" for name in judged_by if name is not None):
            return False
    # Of a few rows, numpy takes half of what Arrow takes. What is empty is no number, so never out.
    values = {name: rows[name].to_numpy() for name in UNIT_COLUMNS if name in rows.column_names}
    for name, of in values.items():
        low = (
            0.0
            if name in (*ERROR_COLUMNS, "wrong")
            else 1.0
            if name == "n_eval"
            else np.nextafter(0, 1)
        )
        high = UNIT_MAXIMUM["percent"] if name in (*ERROR_COLUMNS, "chance") else np.inf
        if ((of < low) | (of > high)).any():
            return False
    return not {"error", "wrong", "n_eval"} <= values.keys() or _counts_agree(values)


def _counts_agree(values: Mapping[str, Any]) -> bool:
    error, wrong, n = (values[name] for name in ("error", "wrong", "n_eval"))
    with np.errstate(invalid="ignore"):
        apart = np.abs(error - 100.0 * wrong / n) > 0.1
    return not (apart.any() or (wrong > n).any())


def unit_question(
    rows: Iterable[Mapping[str, Any]], unit: str, enough: int = MIN_RESULTS
) -> str | None:
    """Return why the unit must be named: the first three results look like fractions, or None.

    Also if results were trained with a unit that was named elsewhere. Results of versions without
    units are percent. Errors that follow from counts have no unit, unless other errors of the same
    results have one. `enough`: how many results are examined; fewer if the study has fewer trials.
    """
    if unit in UNITS:
        return None
    usable = (r for r in rows if r["outcome"] in TRAINED and r["error"] is not None)
    first = list(islice(usable, enough))
    if others := {row["error_unit"] for row in first} & {"fraction", "raw"}:
        return f"The first results were trained with --unit {min(others)}"
    if len(first) < enough or any(row["error_unit"] is None for row in first):
        return None
    return _looks_like_fractions(first)


def _looks_like_fractions(first: Sequence[Mapping[str, Any]]) -> str | None:
    """Return what indicates fractions, or None."""
    errors = [row["error"] for row in first]
    chances = {row["chance"] for row in first} - {None}
    listed = ", ".join(f"{error:.4g}" for error in errors)
    if all(chance <= 1 for chance in chances) and chances:
        return f"The objective gives chance {min(chances):.4g} and first errors {listed}"
    if all(error <= 1 and row["wrong"] is None for error, row in zip(errors, first, strict=True)):
        return f"The first {COUNT_WORDS[len(first)]} {listed}"
    beside = [row["val_error"] for row in first if row.get("val_error") is not None]
    if len(beside) == len(first) and all(value <= 1 for value in beside) and min(errors) > 1:
        listed = ", ".join(f"{value:.4g}" for value in beside)
        return f"By their counts the first errors are percent, but their val_errors are {listed}"
    return None
