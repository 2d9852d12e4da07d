"""The confirmed peaks of a run directory, as a table."""

from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING

from stability.cli.output.tables import TERMINAL_WIDTH, console, escape_cell, grid_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from analysis.comparison.confirmed import Confirmed


def print_peaks(run: Path) -> None:
    """A row per group of the sweep: its best error, and the mean of the selected configuration."""
    from analysis import load, samples
    from analysis.comparison.confirmed import confirmed, peaks_of
    from analysis.table.policies import error_name
    from analysis.table.units import format_number

    groups = samples(load(run))
    peaks: Mapping[str, Confirmed] = peaks_of(groups, confirmed(run))
    grid = grid_of("", "best", "seeds", "div", "mean", "95% interval")
    for group in groups:
        cells = ["-"] * 4
        if (peak := peaks.get(group.label)) is not None:
            counts = [str(peak.errors.size), str(peak.diverged)]
            mean, low, high = (format_number(x, group.unit) for x in peak.interval())
            cells = [*counts, mean, f"{low} .. {high}"]
        grid.add_row(escape_cell(group.label), format_number(group.best, group.unit), *cells)
    console().print(grid)
    legend = [
        f"best: smallest {error_name('chance', groups[0].unit)} of the sweep",
        "mean: of the selected configuration (by validation error where there is one), trained "
        "again with fresh seeds; "
        "Student's interval over the seeds (div: diverged, "
        f"{'at chance' if groups[0].unit == 'percent' else 'an infinite mean'})",
    ]
    print("\n".join(line for text in legend for line in wrap(text, TERMINAL_WIDTH)))
