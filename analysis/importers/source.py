"""What a reader hands over, and what a person asks for."""

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import pandas as pd

from analysis.importers.chance import ChanceLevel

Value = int | float | str | bool
"""Of a column that is the same in every run."""
SQLITE = b"SQLite format 3\0"  # https://www.sqlite.org/fileformat.html, the first 16 bytes


@dataclass(frozen=True, kw_only=True)
class ExternalSweep:
    """A sweep of another tool, its rows in the order in which they were drawn, where it is known.

    Cells are numbers, text, or None where the source has nothing: an empty cell and a NaN are two
    different answers, so columns are of the dtype object.
    """

    name: str
    """Of the source; the model, where nothing else says which."""
    format: str
    frame: pd.DataFrame
    columns: Mapping[str, str] = field(default_factory=dict)
    """Our names of columns, and theirs, as the format defines them."""
    outcomes: Mapping[str, str] = field(default_factory=dict)
    """What the format's states mean."""
    refused: Mapping[str, str] = field(default_factory=dict)
    """States that need a word from the person, with the reason."""
    constants: Mapping[str, Value] = field(default_factory=dict)
    """Columns that the format itself implies."""
    unit: Literal["percent", "fraction"] | None = None
    """Of errors, where the format fixes it."""
    notes: tuple[str, ...] = ()
    """What was assumed."""
    state_notes: Mapping[str, str] = field(default_factory=dict)
    """What is doubtful of a state, said where it occurs and the person says nothing of it."""
    sampler_note: str = ""
    """What is known of the law of the design, said where the person says nothing of it."""
    details: frozenset[str] = frozenset()
    """Columns that are left out where they are constant: a whole configuration file."""


@dataclass(frozen=True, kw_only=True)
class ImportOptions:
    """What a person says about a source."""

    columns: Mapping[str, str] = field(default_factory=dict)
    """Our names of columns, and theirs."""
    accuracy: str | None = None
    """Column of accuracies, in place of errors."""
    unit: Literal["percent", "fraction"] | None = None
    constants: Mapping[str, Value] = field(default_factory=dict)
    outcomes: Mapping[str, str] = field(default_factory=dict)
    """What values of the outcome's column mean."""
    empty: str = "diverged"
    """What a run that ended without an error is."""
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


def no_column(column: str, frame: pd.DataFrame) -> str:
    """Say that there is no such column, and which is nearest."""
    names = [str(name) for name in frame]
    near = difflib.get_close_matches(column, names, n=1, cutoff=0.5)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    return f"there is no column {column!r}{hint}, there are: {join_names(names, 12)}"
