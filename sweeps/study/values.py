"""Converts what an objective returned to the row of a part.

Results of built-in and of user objectives all pass here. Values are converted to the types of
`sweeps.study.schema`. A value that cannot be converted is left out and named in `message`. If the
result is unusable without it, the row says that the attempt crashed. So writing a row never fails
because of what an objective returned.
"""

import math
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from sweeps.study.schema import CURVE_COLUMNS, MEASURED_COLUMNS, TEXT, Row
from sweeps.study.space import MAX_INT64
from sweeps.study.trial import FAILED, TRAINED, Result

MAX_CHARACTERS = 2000
"""Of a text; a longer text is cut."""
MAX_METRICS = 1000
"""Metrics without a column of their own that a trial may have: each becomes a result column."""
MAX_NAMED = 8
"""Values that a message names one by one."""
WORKER_COLUMNS = ("attempt", "cohort_size", "finished", "host", "outcome", "seconds", "worker")
"""Columns that the worker fills in; values of the objective for them are ignored."""

VALUE_TYPES = {
    column.name: column.type for column in MEASURED_COLUMNS if column.name not in WORKER_COLUMNS
}
CURVE_TYPES = {column.name: column.type for column in CURVE_COLUMNS}
ESSENTIAL_COLUMNS = ("error", "wrong", "n_eval", "chance")
"""A result could be misread without these columns: if one cannot be stored, the attempt fails."""


def as_text(value: Any) -> str:
    r"""Text that a file can hold: no lone surrogates, no NUL, not longer than `MAX_CHARACTERS`.

    >>> as_text("caf\udce9\0")
    'caf\\udce9\\x00'
    """
    try:
        text = str(value)
    except BaseException as error:
        return f"<{type(value).__name__} whose text cannot be had: {type(error).__name__}>"
    text = "".join((text[:MAX_CHARACTERS], "..." if len(text) > MAX_CHARACTERS else ""))
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")


def short_repr(value: Any, most: int = 60) -> str:
    """Return the `repr` of a value for a message, cut after `most` characters."""
    try:
        text = as_text(repr(value))
    except BaseException:  # also an integer of more digits than Python prints
        text = f"<{type(value).__name__}>"
    text = " ".join(text.split())
    return text if len(text) <= most else f"{text[:most]}..."


def as_number(value: Any, *, allow_bool: bool = True) -> int | float:
    """A number of Python, NumPy, torch, `decimal` or `fractions`, or an array of one number.

    Raises ValueError, with the reason, for everything else, complex numbers included.
    """
    try:
        value = value.item() if hasattr(value, "item") else value
        if isinstance(value, str | bytes | complex) or not hasattr(value, "__float__"):
            raise TypeError
        found = int(value) if isinstance(value, int) else float(value)
    except Exception as error:
        raise ValueError("not a number") from error
    if isinstance(value, bool) and not allow_bool:
        raise ValueError("not a real number")
    if isinstance(found, int):
        try:
            float(found)
        except OverflowError as error:
            raise ValueError("too large for a number of 64 bits") from error
    return found


def number_or_none(value: Any) -> int | float | None:
    """The number that a value is; None where it is none, or true or false."""
    try:
        return as_number(value, allow_bool=False)
    except ValueError:
        return None


def as_column_type(value: Any, kind: pa.DataType) -> Any:
    """Convert `value` to the type of a column. Raises ValueError, with the reason."""
    if value is None:
        return None
    if kind == TEXT:
        return as_text(value)
    number = as_number(value)
    if pa.types.is_floating(kind):
        return float(number)
    if not math.isfinite(number) or number != int(number):
        raise ValueError("not a whole number")
    if abs(int(number)) > MAX_INT64:
        raise ValueError("too large for an integer of 64 bits")
    return int(number)


class StorageFaults:
    """Values of a result that cannot be stored, each message once, in the order found."""

    def __init__(self) -> None:
        self.found: dict[str, None] = {}
        self.columns: set[str] = set()

    def add(self, text: str, column: str = "") -> None:
        """Note a message, and the column that it is about."""
        self.found[text] = None
        self.columns.add(column)

    def __str__(self) -> str:
        named = list(self.found)
        more = f"; and {len(named) - MAX_NAMED} more" if len(named) > MAX_NAMED else ""
        return "; ".join(named[:MAX_NAMED]) + more


def result_row(result: Result) -> Row:
    """Return the columns that an objective decides: outcome, values, metrics, curve, message.

    The outcome is `crashed` if the objective's outcome is unknown or its values cannot be used.
    """
    faults = StorageFaults()
    if isinstance(result.values, Mapping):
        row, metrics = _values(result.values, faults)
    else:
        row, metrics = {}, []
        faults.add(f"values is {short_repr(result.values)}, expected a dict", "error")
    curve = _curve(result.curve, faults)
    message = row.pop("message", None)
    unusable = _unusable(result.outcome, row, faults)
    if unusable:
        row, metrics, curve = {}, [], []
        message = f"the objective's result cannot be used: {unusable}"
    elif faults.found:
        message = "; ".join(filter(None, (message, f"not stored: {faults}")))
    outcome = "crashed" if unusable else result.outcome
    row |= {"outcome": outcome, "metrics": metrics, "curve": curve}
    return row | ({"message": as_text(message)} if message else {})


def _values(values: Mapping[Any, Any], faults: StorageFaults) -> tuple[Row, list[Row]]:
    row: Row = {}
    metrics: list[Row] = []
    for name, value in values.items():
        if name == "metrics":
            metrics = _metrics(value, faults)
        elif name not in VALUE_TYPES:
            faults.add(f"{short_repr(name)}: not a column of the results")
        else:
            _convert(row, name, value, VALUE_TYPES[name], faults)
    return row, metrics


def _convert(
    row: Row, name: str, value: Any, kind: pa.DataType, faults: StorageFaults, where: str = ""
) -> None:
    """Put a value into the row, or note why it is not there."""
    try:
        row[name] = as_column_type(value, kind)
    except ValueError as error:
        faults.add(f"{name} = {short_repr(value)}{where} ({error})", "" if where else name)


def _metrics(metrics: Any, faults: StorageFaults) -> list[Row]:
    """Convert names to text and values to numbers; at most `MAX_METRICS`."""
    found: list[Row] = []
    if not isinstance(metrics, list | tuple):
        faults.add(f"metrics is {short_repr(metrics)}, expected a list of names and values")
        return found
    if len(metrics) > MAX_METRICS:
        faults.add(f"{len(metrics) - MAX_METRICS} metrics beyond the first {MAX_METRICS}")
    for metric in metrics[:MAX_METRICS]:
        if not isinstance(metric, Mapping) or not {"name", "value"} <= metric.keys():
            faults.add(f"metric {short_repr(metric)} (expected a name and a value)")
            continue
        name = as_text(metric["name"])
        if name in VALUE_TYPES or name in WORKER_COLUMNS:
            faults.add(f"metric {short_repr(name)} (the name of a column)")
            continue
        try:
            found.append({"name": name, "value": as_column_type(metric["value"], pa.float64())})
        except ValueError as error:
            faults.add(f"{short_repr(name)} = {short_repr(metric['value'])} ({error})")
    return found


def _curve(curve: Any, faults: StorageFaults) -> list[Row]:
    """Convert the rows of a curve; a row without an epoch gets its position."""
    if not isinstance(curve, list | tuple):
        faults.add(f"curve is {short_repr(curve)}, expected a list of dicts")
        return []
    found = []
    for number, point in enumerate(curve):
        if not isinstance(point, Mapping):
            faults.add(f"row {number} of curve is {short_repr(point)}, expected a dict")
            continue
        row: Row = {"epoch": number}
        for name, value in point.items():
            if not isinstance(name, str) or name not in CURVE_TYPES:
                faults.add(f"{short_repr(name)} in curve: not a column of the curves")
                continue
            _convert(row, name, value, CURVE_TYPES[name], faults, " in curve")
        found.append(row)
    return found


def _unusable(outcome: Any, row: Row, faults: StorageFaults) -> str:
    """Return why the row is unusable; empty if it is usable."""
    allowed = (*TRAINED, *FAILED)
    if not isinstance(outcome, str) or outcome not in allowed:
        return f"outcome is {short_repr(outcome)}, expected {', '.join(allowed)}"
    if outcome not in TRAINED:
        return ""
    return str(faults) if faults.columns.intersection(ESSENTIAL_COLUMNS) else ""


def fault_of_result(result: Result) -> str:
    """Return how a result contradicts itself, or "". `units.validate_unit` checks ranges."""
    if result.outcome not in TRAINED or not isinstance(result.values, Mapping):
        return ""
    error = _values(result.values, StorageFaults())[0].get("error")
    if result.outcome == "ok" and (error is None or not math.isfinite(error)):
        got = short_repr(result.values.get("error"))
        return f"outcome is 'ok' and error is {got}, expected a finite number"
    return ""
