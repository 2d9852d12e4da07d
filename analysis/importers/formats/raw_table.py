"""A file as a table, before anything is known about its format."""

from dataclasses import dataclass

import pandas as pd


@dataclass(frozen=True)
class RawTable:
    """Cells as the file has them, and where each row stands."""

    frame: pd.DataFrame
    """Every column of the dtype object; indexed from 0."""
    places: tuple[str, ...]
    """Of each row: "line 5"."""
    notes: tuple[str, ...] = ()
    """What was assumed."""
