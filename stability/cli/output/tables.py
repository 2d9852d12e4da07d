"""Tables for a terminal 80 columns wide."""

import math
from collections.abc import Sequence
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING

from sweeps.system.trust import printable

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console
    from rich.table import Table

    from analysis import Sample
    from analysis.table.units import Unit

TERMINAL_WIDTH = 80

COUNTS = {"n": "n", "ok": "ok", "collapsed": "coll", "diverged": "div", "failed": "fail"}
ERRORS = {"best": "best", "median": "med"}
"""Columns of a summary, with their headings."""


def print_groups(
    table: "pd.DataFrame", policy: str = "chance", within: float | None = None
) -> None:
    """Print a row per group: n, outcomes, best, median, and the shares within d of the best."""
    from analysis import samples
    from analysis.edf.summary import summarise
    from analysis.table.policies import error_name, policy_for

    summary = summarise(table, policy, within=within)  # type: ignore[arg-type]
    distances, unit = summary.attrs["distances"], summary.attrs["unit"]
    is_loss, used = unit == "raw", policy_for(policy, unit)  # type: ignore[arg-type]
    headings = [*COUNTS.values(), *ERRORS.values(), *(f"≤{d:g}" for d in distances)]
    grid = grid_of(escape_cell(summary.attrs["title"] or ""), *headings)
    for label, row in summary.iterrows():
        counts = [str(int(row[name])) for name in COUNTS]
        errors = [_error(row[name], unit) for name in ERRORS]
        shares = [_share(row[f"within_{d:g}"]) for d in distances]
        grid.add_row(escape_cell(label), *counts, *errors, *shares)
    console().print(grid)
    groups = samples(table, policy)  # type: ignore[arg-type]
    failed = any(group.unknown for group in groups)
    legend = [
        f"best: smallest {error_name(used, unit)}; med: median of all n",
        *_legend_of_shares(len(distances), is_loss=is_loss),
        "coll: collapsed",
        f"div: diverged, {_place_of_diverged(used, groups)}",
        "fail: failed (crashed, out of memory or timed out): no result",
        *(["Failed runs count as worse here: shares are lower bounds."] if failed else []),
        *sample_notes(groups),
    ]
    print("\n".join(line for text in legend for line in wrap(printable(text), TERMINAL_WIDTH)))


def _place_of_diverged(policy: str, groups: "list[Sample]") -> str:
    """Where diverged runs count, for the legend."""
    if policy == "chance" and all(group.chance is None for group in groups):
        return "beyond all errors, since chance is not known"
    return {
        "chance": "at chance",
        "last": "at its last finite error",
        "best": "at its best epoch",
        "drop": "left out",
        "beyond": "beyond every loss",
    }[policy]


def grid_of(first: str, *headings: str) -> "Table":
    """A table whose first column takes the remaining width."""
    from rich.table import Table

    grid = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    grid.add_column(first, ratio=1, overflow="fold")
    for heading in headings:
        grid.add_column(heading, justify="right", no_wrap=True)
    return grid


def escape_cell(text: object) -> str:
    """A cell with a user's text, in which neither the terminal nor Rich finds a command."""
    from rich.markup import escape

    return escape(printable(str(text)))


def console() -> "Console":
    """The terminal, or a pipe `TERMINAL_WIDTH` columns wide."""
    from rich.console import Console

    return Console(width=None if Console().is_terminal else TERMINAL_WIDTH, emoji=False)


def sample_notes(groups: list["Sample"]) -> list[str]:
    """Notes on the groups; one that holds for all of them is given once."""
    said = {sample.label: sample.note for sample in groups if sample.note}
    code = list(dict.fromkeys(text for sample in groups for text in sample.code))
    if len(said) == len(groups) > 1 and len(set(said.values())) == 1:
        return [f"each group: {next(iter(said.values()))}", *code]
    return [*(f"{label or 'all'}: {note}" for label, note in said.items()), *code]


def print_wrapped(text: str) -> None:
    """Print a text, wrapped at 80 columns."""
    for line in printable(text).splitlines():
        print("\n".join(wrap(line, TERMINAL_WIDTH)))


def print_assumed(notes: Sequence[str]) -> None:
    """Print what `load` assumed about the sources (`attrs["notes"]`), one line each."""
    if notes:
        print("Assumed:")
    for note in notes:
        lines = wrap(printable(note), TERMINAL_WIDTH, initial_indent="- ", subsequent_indent="  ")
        print("\n".join(lines))


def shown_path(path: Path) -> str:
    """A path to print, relative if it lies below the current folder."""
    absolute = path.absolute()
    here = Path.cwd()
    return printable(str(absolute.relative_to(here) if absolute.is_relative_to(here) else absolute))


def _legend_of_shares(distances: int, *, is_loss: bool) -> list[str]:
    if not distances:
        return ["to see the share within a distance of the best loss: --within D"]
    of = "d, in the unit of the loss," if is_loss else "d points"
    return [f"≤d: share of n within {of} of the best of the sample"]


def _error(value: float, unit: "Unit") -> str:
    from analysis.table.units import format_number

    return "-" if math.isnan(value) else format_number(value, unit)


def _share(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.2f}".lstrip("0") if value < 1 else "1.0"
