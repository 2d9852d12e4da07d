"""Tables for a terminal 80 columns wide."""

import math
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING

from sweeps.system.trust import printable

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console

    from analysis import Sample
    from analysis.table.units import Unit

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


def print_groups(
    table: "pd.DataFrame", policy: str = "chance", within: float | None = None
) -> None:
    """A row per group: n, outcomes, best, median, and the shares within d of the best."""
    from rich.table import Table

    from analysis import samples
    from analysis.edf.summary import summarise
    from analysis.table.policies import policy_for

    summary = summarise(table, policy, within=within)  # type: ignore[arg-type]
    distances, unit = summary.attrs["distances"], summary.attrs["unit"]
    is_loss = unit == "raw"
    grid = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), title_justify="left")
    grid.add_column(escaped(summary.attrs["title"] or ""), no_wrap=False, ratio=1, overflow="fold")
    for heading in COLUMNS.values():
        grid.add_column(heading, justify="right", no_wrap=True)
    for d in distances:
        grid.add_column(f"≤{d:g}", justify="right", no_wrap=True)
    for label, row in summary.iterrows():
        counts = [str(int(row[name])) for name in ("n", "ok", "collapsed", "diverged", "failed")]
        errors = [_error(row[name], unit) for name in ("best", "median")]
        shares = [_share(row[f"within_{d:g}"]) for d in distances]
        grid.add_row(escaped(label), *counts, *errors, *shares)
    console().print(grid)
    legend = [
        "best, med: loss" if is_loss else "best, med: test error in percent",
        *_legend_of_shares(len(distances), is_loss=is_loss),
        f"coll: collapsed, div: diverged (at: {policy_for(policy, unit)}), fail: no result",  # type: ignore[arg-type]
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
    code = list(dict.fromkeys(text for sample in groups for text in sample.code))
    if len(said) == len(groups) > 1 and len(set(said.values())) == 1:
        return [f"each group: {next(iter(said.values()))}", *code]
    return [*(f"{label or 'all'}: {note}" for label, note in said.items()), *code]


def print_wrapped(text: str) -> None:
    """Lines of at most the width of a terminal."""
    for line in printable(text).splitlines():
        print("\n".join(wrap(line, WIDTH)))


def shown(path: Path) -> str:
    """A path to print: relative where it lies below the current folder."""
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
