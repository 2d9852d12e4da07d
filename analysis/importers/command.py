"""The command that would settle what a source leaves open, ready to paste."""

import re
import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.importers.cells import is_finite, parse_cell, parse_cells
from analysis.importers.columns import (
    SAME_NAME,
    accuracy_columns,
    direction_faults,
    name_columns,
    plain_name,
)
from analysis.importers.source import ExternalSweep, ImportOptions
from analysis.importers.states import suggested_outcome, unknown_states
from analysis.importers.units import SLACK, is_beyond

PROPOSED = re.compile(
    r"--last-of (?!COLUMN)\S+(?= keeps)|--map-outcome [^\s']+=timed_out|--empty timed_out|"
    r"--map outcome=\S+(?= takes it so)|--map model=\S+(?=, or)|"
    r"--unit \S+=fraction|--map drawn_\S+=\w+"
)
"""Options in the text of a fault that settle it."""
ERRORS = ("error", "err", "error_rate")


def import_command(sweep: ExternalSweep, options: ImportOptions, faults: Sequence[str] = ()) -> str:
    """The `stability import` command for a source, with a guess at what was not said.

    Empty where there is nothing to propose.

    The guesses are proposals, for a person to read: nothing is converted by them.

    Args:
        sweep: of `read_sweep`.
        options: what was said so far; it is repeated, as far as it can be right.
        faults: what was found with them; options that they propose are added.

    >>> frame = pd.DataFrame({"arch": ["a", "b"], "val_acc": ["0.9", "0.8"]}, dtype=object)
    >>> sweep = ExternalSweep(name="my", format="table", frame=frame, source="my.csv")
    >>> import_command(sweep, ImportOptions())
    'stability import my.csv --accuracy val_acc --unit fraction --out my.parquet'
    """
    given = options
    columns = dict(options.columns)
    column = options.accuracy or columns.get("error")
    if column is None or column not in sweep.frame or _is_contradicted(sweep, options, column):
        columns.pop("error", None)
        options = replace(options, columns=columns, accuracy=None, negate=False)
        guess, column = _guess_error(sweep)
    else:
        guess = []
    said = _said(options)
    cells = parse_cells(sweep.frame[column]) if column in sweep.frame else []
    if options.unit is not None and not any(is_beyond(abs_cell(c), options.unit) for c in cells):
        said += ["--unit", options.unit]
    elif options.unit is None and column not in options.units:
        guess += _guess_unit(cells)
    guess += _guess_outcomes(sweep, options)
    proposed = dict.fromkeys(m.group() for fault in faults for m in PROPOSED.finditer(fault))
    guess += [word for option in proposed for word in option.split(maxsplit=1)]
    if faults and not guess and said == [*_said(given), *_unit_words(given)]:
        return ""  # it would be refused again
    name = Path(sweep.source or sweep.name).stem or sweep.name
    words = ["stability", "import", sweep.source or sweep.name, *said, *guess]
    return shlex.join([*words, "--out", f"{name}.parquet"])


def _is_contradicted(sweep: ExternalSweep, options: ImportOptions, column: str) -> bool:
    """Whether the values, or the direction of a study, are against what was said of a column."""
    negative = _is_negative(sweep.frame[column])
    return bool(direction_faults(sweep, options, column)) or negative != options.negate


def _is_negative(cells: "pd.Series[Any]") -> bool:
    """Whether a column seems to hold minus its values."""
    numbers = [cell for cell in parse_cells(cells) if is_finite(cell)]
    return any(number < -SLACK for number in numbers) and all(number <= SLACK for number in numbers)


def abs_cell(cell: Any) -> Any:
    """A number without its sign; other cells as they are.

    >>> abs_cell(-0.9), abs_cell(None)
    (0.9, None)
    """
    return abs(cell) if is_finite(cell) else cell


def _unit_words(options: ImportOptions) -> list[str]:
    return ["--unit", options.unit] if options.unit else []


def _said(options: ImportOptions) -> list[str]:
    """The options that were given, as they are typed; without the unit."""
    named = {
        "--map": options.columns,
        "--unit": options.units,
        "--set": options.constants,
        "--map-outcome": options.outcomes,
    }
    single = {
        "--accuracy": options.accuracy,
        "--last-of": options.last_of,
        "--empty": options.empty,
        "--chance": options.chance and f"{options.chance.error:.10g}",
        "--n-eval": options.n_eval or (options.chance and options.chance.n_eval),
    }
    words = [w for o, found in named.items() for k, v in found.items() for w in (o, f"{k}={v}")]
    words += [w for o, value in single.items() if value for w in (o, str(value))]
    return [*words, "--negate"] if options.negate else words


def _guess_error(sweep: ExternalSweep) -> tuple[list[str], str]:
    """The column of errors or accuracies that is most likely meant: (its options, the column)."""
    for name, direction in sweep.directions.items():
        negative = _is_negative(sweep.frame[name])
        is_error = (direction == "minimize") != negative
        words = ["--map", f"error={name}"] if is_error else ["--accuracy", name]
        return [*words, "--negate"] if negative else words, name
    numeric = [str(n) for n in sweep.frame if any(map(is_finite, parse_each(sweep.frame[n])))]
    if "error" in numeric and not _is_flag(sweep.frame["error"]):
        return [], "error"
    known = SAME_NAME["error"]
    tests = [n for n in numeric if plain_name(n) in known or plain_name(n).startswith("test_err")]
    accuracies = accuracy_columns(numeric)
    alike = [n for n in numeric if plain_name(n).endswith(ERRORS) and "train" not in plain_name(n)]
    if len(tests) == 1:
        column, words = tests[0], [] if not accuracies else ["--map", f"error={tests[0]}"]
    elif accuracies:
        column, words = accuracies[0], ["--accuracy", accuracies[0]]
    else:
        column = min(alike, key=lambda name: "test" not in plain_name(name), default="COLUMN")
        words = ["--map", f"error={column}"]
    negative = column in sweep.frame and _is_negative(sweep.frame[column])
    return [*words, "--negate"] if negative else words, column


def parse_each(cells: "pd.Series[Any]") -> list[Any]:
    """Each cell by itself: a number where it can be."""
    return [parse_cell(cell) for cell in cells]


def _is_flag(cells: "pd.Series[Any]") -> bool:
    """Whether a column holds 0 and 1 alone: that something went wrong, not how much."""
    return {cell for cell in parse_each(cells) if cell is not None} <= {0, 1}


def _guess_unit(cells: Sequence[Any]) -> list[str]:
    """`fraction` where no value is above 1."""
    values = [abs(cell) for cell in cells if is_finite(cell)]
    return ["--unit", "fraction"] if values and max(values) <= 1 + SLACK else []


def _guess_outcomes(sweep: ExternalSweep, options: ImportOptions) -> list[str]:
    """The column of states where it is not said, and outcomes for the words that are not known."""
    named = name_columns(sweep, ImportOptions(columns={"error": str(next(iter(sweep.frame)))}))
    column = {**named.taken, **options.columns}.get("outcome")
    if column is None or column not in sweep.frame:
        return []
    unknown = unknown_states(sweep.frame[column], sweep, options.outcomes)
    return [w for t in unknown for w in ("--map-outcome", f"{t}={suggested_outcome(t, column)}")]
