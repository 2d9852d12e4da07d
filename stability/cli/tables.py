"""Tables for a terminal 80 columns wide."""

import math
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING

from sweeps.trust import printable

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console

    from analysis import Sample

WIDTH = 80

COLUMNS = {
    "n": "n",
    "ok": "ok",
    "collapsed": "coll",
    "diverged": "div",
    "failed": "fail",
    "best": "best",
    "median": "med",
}


def print_groups(table: "pd.DataFrame", policy: str = "chance") -> None:
    """A row per group: n, outcomes, best, median, and the shares within d of the best."""
    from rich.table import Table

    from analysis import samples
    from analysis.summary import DISTANCES, summarise

    summary = summarise(table, policy)  # type: ignore[arg-type]
    grid = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), title_justify="left")
    grid.add_column(escaped(summary.attrs["title"] or ""), no_wrap=False, ratio=1, overflow="fold")
    for heading in COLUMNS.values():
        grid.add_column(heading, justify="right", no_wrap=True)
    for d in DISTANCES:
        grid.add_column(f"≤{d}", justify="right", no_wrap=True)
    for label, row in summary.iterrows():
        counts = [str(int(row[name])) for name in ("n", "ok", "collapsed", "diverged", "failed")]
        errors = [_percent(row[name]) for name in ("best", "median")]
        shares = [_share(row[f"within_{d}"]) for d in DISTANCES]
        grid.add_row(escaped(label), *counts, *errors, *shares)
    console().print(grid)
    legend = [
        "best, med: test error in percent",
        "≤d: share of n within d points of the best of the sample",
        f"coll: collapsed, div: diverged (at: {policy}), fail: no result",
        *notes(samples(table, policy)),  # type: ignore[arg-type]
    ]
    print("\n".join(line for text in legend for line in wrap(printable(text), WIDTH)))


def escaped(text: object) -> str:
    """A name that somebody gave, for a cell: neither a terminal nor Rich obeys what is in it."""
    from rich.markup import escape

    return escape(printable(str(text)))


def console() -> "Console":
    """The terminal, or a pipe `WIDTH` columns wide."""
    from rich.console import Console

    return Console(width=None if Console().is_terminal else WIDTH, emoji=False)


def notes(groups: list["Sample"]) -> list[str]:
    """What a reader must know before believing a row, said once where it holds for all."""
    said = {sample.label: sample.note for sample in groups if sample.note}
    if len(said) == len(groups) > 1 and len(set(said.values())) == 1:
        return [f"each group: {next(iter(said.values()))}"]
    return [f"{label or 'all'}: {note}" for label, note in said.items()]


def shown(path: Path) -> str:
    """A path to print: relative where it lies below the current folder."""
    absolute = path.absolute()
    here = Path.cwd()
    return printable(str(absolute.relative_to(here) if absolute.is_relative_to(here) else absolute))


def _percent(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.2f}"


def _share(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.2f}".lstrip("0") if value < 1 else "1.0"
