"""What the rows of parts mean in the unit of their study, and whether it has to be asked for."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sweeps.objective.function_objective import outcome_of
from sweeps.study.schema import PART
from sweeps.study.trial import FAILED, TRAINED
from sweeps.study.units import ERRORS, FULL, UNITS, UNKNOWN, faults_of, in_percent, known, unusable

COUNT = {1: "error is", 2: "two errors are", 3: "three errors are"}
ENOUGH = 3  # results that tell fractions from percent
JUDGED = (*ERRORS, "chance", "wrong", "n_eval")
COLUMNS = ("outcome", "error_unit", "message", *JUDGED)
"""Of a part, those that reading by a unit may change."""

Row = Mapping[str, Any]


def as_read(rows: pa.Table, unit: str) -> pa.Table:
    """Rows of a part by the unit of their study: errors in percent, or of a loss as they are.

    A result with a value that is impossible in the unit is a failure whose message names it. An
    answer that was refused by another unit is an ordinary failure: its trial may be tried again.
    """
    if _is_plain_percent(rows, unit):
        return rows
    for name in {"error_unit", "message"} - set(rows.column_names):  # an older version
        rows = rows.append_column(name, pa.nulls(len(rows), pa.string()))
    names = [name for name in COLUMNS if name in rows.column_names]
    read = [_read(row, unit) for row in rows.select(names).to_pylist()]
    for name in names:
        column = pa.array([row[name] for row in read], PART.field(name).type)
        rows = rows.set_column(rows.schema.get_field_index(name), PART.field(name), column)
    return rows


def _read(row: dict[str, Any], unit: str) -> dict[str, Any]:
    judged_by = row.get("error_unit")
    is_changed = judged_by is not None and known(judged_by) != known(unit)
    if row["outcome"] in FAILED:
        return {**row, "error_unit": None} if is_changed else row
    if row["outcome"] not in TRAINED:
        return row
    # What an earlier version accepted may be as impossible as the counts that contradict it.
    if faults := faults_of(row, known(unit) if judged_by is None else unit):
        message = unusable(faults)
        said = {"outcome": "crashed", "message": message, "error_unit": unit or UNKNOWN}
        return {**row, **dict.fromkeys(JUDGED), **said}
    values = in_percent(row, unit)
    if known(unit) != "raw" and faults_of(row, "percent") and row.get("wrong") is not None:
        values["error"] = 100.0 * row["wrong"] / row["n_eval"]  # counts have no unit
    if is_changed and row["error"] is not None:
        values["outcome"] = outcome_of(values)
    return values


def _is_plain_percent(rows: pa.Table, unit: str) -> bool:
    """Whether nothing would change: all that there is was judged in percent, and is possible."""
    if known(unit) != "percent":
        return False
    if "error_unit" in rows.column_names:
        judged_by = pc.unique(rows["error_unit"]).to_pylist()
        if any(known(name) != "percent" for name in judged_by if name is not None):
            return False
    # Of a few rows, numpy takes half of what Arrow takes. What is empty is no number, so never out.
    values = {name: rows[name].to_numpy() for name in JUDGED if name in rows.column_names}
    for name, of in values.items():
        low = 0.0 if name in (*ERRORS, "wrong") else 1.0 if name == "n_eval" else np.nextafter(0, 1)
        high = FULL["percent"] if name in (*ERRORS, "chance") else np.inf
        if ((of < low) | (of > high)).any():
            return False
    return not {"error", "wrong", "n_eval"} <= values.keys() or _counts_agree(values)


def _counts_agree(values: Mapping[str, Any]) -> bool:
    error, wrong, n = (values[name] for name in ("error", "wrong", "n_eval"))
    with np.errstate(invalid="ignore"):
        apart = np.abs(error - 100.0 * wrong / n) > 0.1
    return not (apart.any() or (wrong > n).any())


def question(rows: Iterable[Row], unit: str, enough: int = ENOUGH) -> str | None:
    """What has to be asked of who did not name a unit: the first three results look like fractions.

    Asked for as well where results were given in a unit that was named elsewhere. Results of
    versions that knew no units are percent. Errors that follow from counts have no unit, unless
    other errors beside them have one. `enough`: how many results are looked at, fewer where the
    study has no three trials.
    """
    if unit in UNITS:
        return None
    first = list(_first(rows, enough))
    if others := {row["error_unit"] for row in first} & {"fraction", "raw"}:
        return f"The first results were trained with --unit {min(others)}"
    if len(first) < enough or any(row["error_unit"] is None for row in first):
        return None
    return _looks_like_fractions(first)


def _looks_like_fractions(first: Sequence[Row]) -> str | None:
    """What says so, or None."""
    errors = [row["error"] for row in first]
    chances = {row["chance"] for row in first} - {None}
    listed = ", ".join(f"{error:.4g}" for error in errors)
    if all(chance <= 1 for chance in chances) and chances:
        return f"The objective gives chance {min(chances):.4g} and first errors {listed}"
    if all(error <= 1 and row["wrong"] is None for error, row in zip(errors, first, strict=True)):
        return f"The first {COUNT[len(first)]} {listed}"
    beside = [row["val_error"] for row in first if row.get("val_error") is not None]
    if len(beside) == len(first) and all(value <= 1 for value in beside) and min(errors) > 1:
        listed = ", ".join(f"{value:.4g}" for value in beside)
        return f"By their counts the first errors are percent, but their val_errors are {listed}"
    return None


def _first(rows: Iterable[Row], enough: int) -> Iterable[Row]:
    """The first results that have an error, as many as are asked about."""
    found = 0
    for row in rows:
        if row["outcome"] in TRAINED and row["error"] is not None:
            yield row
            found += 1
            if found == enough:
                return
