"""Tables for a terminal 80 columns wide."""

import math
from pathlib import Path

COLUMNS = {
    "n": "n",
    "ok": "ok",
    "collapsed": "coll",
    "diverged": "div",
    "failed": "fail",
    "best": "best",
    "median": "med",
}


def print_summary(runs: list[Path], policy: str = "chance") -> None:
    """A row per group: n, outcomes, best, median, and the shares within d of the best."""
    from rich.console import Console
    from rich.table import Table

    from analysis import load, samples
    from analysis.summary import DISTANCES, summarise

    table = load(runs)
    summary = summarise(table, policy)  # type: ignore[arg-type]
    grid = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), title_justify="left")
    grid.add_column(summary.attrs["title"] or "", no_wrap=False, ratio=1)
    for heading in COLUMNS.values():
        grid.add_column(heading, justify="right", no_wrap=True)
    for d in DISTANCES:
        grid.add_column(f"≤{d}", justify="right", no_wrap=True)
    for label, row in summary.iterrows():
        counts = [str(int(row[name])) for name in ("n", "ok", "collapsed", "diverged", "failed")]
        errors = [_percent(row[name]) for name in ("best", "median")]
        shares = [_share(row[f"within_{d}"]) for d in DISTANCES]
        grid.add_row(str(label), *counts, *errors, *shares)
    console = Console(width=None if Console().is_terminal else 80)
    console.print(grid)
    print(
        "best, med: test error in percent; ≤d: share of n within d points of the best of the\n"
        f"sample; diverged runs at: {policy}; coll: collapsed, div: diverged, fail: no result"
    )
    for sample in samples(table, policy):  # type: ignore[arg-type]
        if sample.note:
            print(f"{sample.label or 'all'}: {sample.note}")


def shown(path: Path) -> str:
    """A path as a person would type it: relative where it lies below the current folder."""
    absolute = path.absolute()
    here = Path.cwd()
    return str(absolute.relative_to(here) if absolute.is_relative_to(here) else absolute)


def _percent(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.2f}"


def _share(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.2f}".lstrip("0") if value < 1 else "1.0"
