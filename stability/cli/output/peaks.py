"""The confirmed peaks of a run directory, as a table."""

from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING

from stability.cli.output.tables import WIDTH, console, escaped

if TYPE_CHECKING:
    from collections.abc import Mapping

    from analysis.comparison.confirmed import Confirmed


def print_peaks(run: Path) -> None:
    """A row per group of the sweep: its best run, and the mean of that configuration again."""
    from rich.table import Table

    from analysis import load, samples
    from analysis.comparison.confirmed import confirmed, peaks_of
    from analysis.table.policies import error_name
    from analysis.table.units import format_number

    groups = samples(load(run))
    peaks: Mapping[str, Confirmed] = peaks_of(groups, confirmed(run))
    grid = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    grid.add_column("", ratio=1)
    for heading in ("best", "seeds", "div", "mean", "95% interval"):
        grid.add_column(heading, justify="right", no_wrap=True)
    for group in groups:
        cells = ["-"] * 4
        if (peak := peaks.get(group.label)) is not None:
            counts = [str(peak.errors.size), str(peak.diverged)]
            mean, low, high = (format_number(x, group.unit) for x in peak.interval())
            cells = [*counts, mean, f"{low} .. {high}"]
        grid.add_row(escaped(group.label), format_number(group.best, group.unit), *cells)
    console().print(grid)
    legend = [
        f"best: {error_name('chance', groups[0].unit)} of the luckiest run of the sweep",
        "mean: of the configuration that was best in validation, trained again with fresh seeds; "
        "Student's interval over the seeds (div: diverged, "
        f"{'at chance' if groups[0].unit == 'percent' else 'an infinite mean'})",
    ]
    print("\n".join(line for text in legend for line in wrap(text, WIDTH)))
