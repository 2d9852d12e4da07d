"""What a reader hands over, and what a person asks for."""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import pandas as pd

from analysis.importers.chance import ChanceLevel

Value = int | float | str | bool
"""Of a column that is the same in every run."""
Direction = Literal["minimize", "maximize"]
SourceUnit = Literal["percent", "fraction", "raw"]
"""Of errors as a source has them; `raw` are values of a loss."""
SQLITE = b"SQLite format 3\0"  # https://www.sqlite.org/fileformat.html, the first 16 bytes


@dataclass(frozen=True, kw_only=True)
class ExternalSweep:
    """A sweep of another tool, row by row.

    Cells are as the source has them: numbers, text (of a CSV file always text), or None where there
    is nothing. An empty cell and a NaN are two different answers, so columns are of the dtype
    object. Numbers in texts are parsed later, when it is known which columns hold names.
    """

    name: str
    """Of the source; the model, where nothing else says which."""
    format: str
    source: str = ""
    """Path or URL, for messages; empty where there is none."""
    frame: pd.DataFrame
    """Indexed from 0 in the order of the source, whatever the order of its rows."""
    places: Sequence[str] = ()
    """Where each row of the source stands, by the frame's index: "line 5", "row 4"."""
    experiment: str = ""
    """What several sources are parts of, each a trial of it; empty where a source is a sweep."""
    is_ordered: bool = False
    """Whether the rows are known to be in the order in which they were drawn."""
    columns: Mapping[str, str] = field(default_factory=dict)
    """Our names of columns, and theirs, as the format defines them."""
    outcomes: Mapping[str, str] = field(default_factory=dict)
    """What the format's states mean."""
    directions: Mapping[str, Direction] = field(default_factory=dict)
    """Of the columns of objectives, where the format knows: whether less or more is better."""
    constants: Mapping[str, Value] = field(default_factory=dict)
    """Columns that the format itself implies."""
    unit: SourceUnit | None = None
    """Of errors, where the format fixes it."""
    notes: tuple[str, ...] = ()
    """What was assumed."""
    state_notes: Mapping[str, str] = field(default_factory=dict)
    """What is doubtful of a state, said where it occurs and the person says nothing of it."""
    sampler_note: str = ""
    """What is known of the law of the design, said where the person says nothing of it."""
    details: frozenset[str] = frozenset()
    """Columns that are left out where they are constant: a whole configuration file."""

    @property
    def title(self) -> str:
        """What messages call it."""
        return self.source or self.name

    def place(self, index: int) -> str:
        """Where a row stands, for messages.

        >>> frame = pd.DataFrame({"error": [5.0]})
        >>> ExternalSweep(name="a", format="table", frame=frame, source="a.csv").place(0)
        'a.csv, row 1'
        """
        where = self.places[index] if index < len(self.places) else f"row {index + 1}"
        return f"{self.title}, {where}"


@dataclass(frozen=True, kw_only=True)
class ImportOptions:
    """What a person says about a source."""

    columns: Mapping[str, str] = field(default_factory=dict)
    """Our names of columns, and theirs."""
    accuracy: str | None = None
    """Column of accuracies, in place of errors."""
    negate: bool = False
    """Whether the column of errors or accuracies holds minus their values."""
    unit: SourceUnit | None = None
    """Of the errors or accuracies."""
    units: Mapping[str, SourceUnit] = field(default_factory=dict)
    """Of other columns, where they have another."""
    last_of: str | None = None
    """Column that names the run of each row, where several rows are one: the last one counts."""
    constants: Mapping[str, Value] = field(default_factory=dict)
    outcomes: Mapping[str, str] = field(default_factory=dict)
    """What values of the outcome's column mean."""
    empty: str | None = None
    """What a run that ended without an error is; None for diverged, unless no run has an error."""
    chance: ChanceLevel | None = None
    n_eval: int | None = None


def join_names(names: Iterable[str], most: int = 8) -> str:
    """Names for a sentence, cut short.

    >>> join_names(["a", "b", "c"], most=2)
    'a, b and 1 more'
    """
    names = list(names)
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")


def count_runs(count: int, name: str = "run") -> str:
    """A number of runs for a sentence.

    >>> count_runs(1), count_runs(2, "unfinished run")
    ('1 run', '2 unfinished runs')
    """
    return f"{count} {name}" + ("" if count == 1 else "s")


def no_column(column: str, frame: pd.DataFrame) -> str:
    """Say that there is no such column, and which is nearest."""
    names = [str(name) for name in frame]
    near = difflib.get_close_matches(column, names, n=1, cutoff=0.5)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    return f"there is no column {column!r}{hint}, there are: {join_names(names, 12)}"
