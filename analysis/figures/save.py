"""Whole figures of error distribution functions, written to files."""

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from analysis.edf.bands import Method
from analysis.edf.samples import Sample
from analysis.figures.edf import (
    TEXT_GREY,
    Band,
    draw_sample,
    dress,
    footnote,
    left_end,
    legend_below,
    plot_edfs,
    shared_limit,
    style,
    title_of,
)
from analysis.figures.style import literal, own_style, save
from analysis.table.groups import describe

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FIGURE_WIDTH = 9.0  # inches; at 200 dots per inch twice the 900 pixels that a README shows
Cell = tuple[tuple[tuple[str, object], ...], object]  # (what makes the row, epochs)
ONE_PANEL = 4  # groups; more curves than that cover each other's bands
LINE = 0.16  # inches per line of small print


def save_edf(
    samples: Sequence[Sample],
    path: str | os.PathLike[str],
    *,
    delta: bool = False,
    confidence: float = 0.95,
    method: Method | None = None,
    within: float | None = None,
) -> Path:
    """Write the EDFs of samples to an image file: one panel, or a grid from five groups on.

    The grid has a row per optimizer, a column per schedule length, and a curve per model. The
    file appears whole or not at all.

    Args:
        samples: of `analysis.samples`.
        path: the image; its ending names the format (png, pdf, svg).
        delta: distances from the best of each sample instead of errors.
        confidence: of the simultaneous bands, in (0, 1).
        method: of the bands, see `EDF.band`; `ks` where n is too large for an `ld` band.
        within: primary distance; the axis of distances ends at 5 times it, by default at 20 points.

    Returns:
        The path.

    Raises:
        ValueError: no samples, a bad argument, or a format that matplotlib does not know.
        OSError: the file cannot be written.

    >>> import tempfile
    >>> import numpy as np
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     sample = Sample(label="a", errors=np.array([5.0, 9.0]))
    ...     save_edf([sample], Path(folder, "edf.png")).stat().st_size > 10_000
    True

    """
    cells = _cells(samples)
    band = (confidence, method)
    with own_style():
        if len(samples) > ONE_PANEL and len(cells) > 1:
            figure = _grid(cells, delta=delta, band=band, within=within)
        else:
            figure = _one_panel(samples, delta=delta, band=band, within=within)
        return _write_whole(figure, Path(path))


def _one_panel(
    samples: Sequence[Sample], *, delta: bool, band: Band, within: float | None
) -> "Figure":
    from matplotlib.figure import Figure

    figure = Figure(
        figsize=(FIGURE_WIDTH, 4.7 + 2.5 * LINE * ((len(samples) + 1) // 2)), layout="constrained"
    )
    plot_edfs(
        samples,
        figure.subplots(),
        delta=delta,
        confidence=band[0],
        method=band[1],
        within=within,
    )
    return figure


def _cells(samples: Sequence[Sample]) -> dict[Cell, list[Sample]]:
    """Which samples share a panel: all models at one schedule length, optimizer and data."""
    cells: dict[Cell, list[Sample]] = {}
    for sample in samples:
        others = tuple(i for i in sample.group.items() if i[0] not in ("model", "epochs"))
        cells.setdefault((others, sample.group.get("epochs")), []).append(sample)
    return cells


def _grid(
    cells: Mapping[Cell, Sequence[Sample]],
    *,
    delta: bool,
    band: Band,
    within: float | None,
) -> "Figure":
    from matplotlib.figure import Figure

    everyone = [sample for cell in cells.values() for sample in cell]
    rows = list(dict.fromkeys(others for others, _ in cells))
    columns = sorted({epochs for _, epochs in cells}, key=lambda epochs: (epochs is None, epochs))
    note = footnote(everyone, delta=delta, band=band)
    deepest = max(len(cell) for cell in cells.values())
    bottom = LINE * (len(note) + 0.5)
    height = len(rows) * (2.9 + 2 * LINE * deepest) + 0.4 + bottom
    width = max(FIGURE_WIDTH, 3.4 * len(columns))
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots(len(rows), len(columns), sharex=True, sharey=True, squeeze=False)
    for row, line in zip(rows, axes, strict=True):
        for epochs, ax in zip(columns, line, strict=True):
            cell = cells.get((row, epochs), [])
            _panel(ax, cell, everyone, delta=delta, band=band, within=within)
    names = describe([{"epochs": epochs, **dict(row)} for row, epochs in cells])[1]
    for (row, epochs), name in zip(cells, names, strict=True):
        axes[rows.index(row)][columns.index(epochs)].set_title(
            literal(name), loc="left", fontsize="medium"
        )
    for line in axes:
        line[0].set_ylabel("share of configurations")
    _frame(figure, title_of(everyone), note, bottom=bottom / height)
    return figure


def _panel(
    ax: "Axes",
    cell: Sequence[Sample],
    everyone: Sequence[Sample],
    *,
    delta: bool,
    band: Band,
    within: float | None,
) -> None:
    """Draw one panel; limits and colours are those of the whole figure."""
    if not cell:
        ax.set_axis_off()
        return
    models = list(dict.fromkeys(sample.group.get("model") for sample in everyone))
    limit = shared_limit(everyone, delta=delta, within=within)
    left = left_end(everyone, delta=delta, limit=limit)
    for sample, label in zip(cell, describe([s.group for s in cell])[1], strict=True):
        look = style(models.index(sample.group.get("model")), curves=len(cell))
        span = (left, limit)
        draw_sample(sample, ax, look, delta=delta, band=band, span=span, label=label)
    dress(ax, cell, delta=delta, limit=limit)
    ax.tick_params(labelbottom=True, labelleft=True)
    legend_below(ax)


def _frame(figure: "Figure", title: str, note: Sequence[str], *, bottom: float) -> None:
    """Write what is common to all panels above and under them."""
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    figure.suptitle(title, x=0.01, ha="left")
    figure.text(0.01, 0.01, "\n".join(note), va="bottom", fontsize="small", color=TEXT_GREY)
    room = (0, bottom, 1, 1 - bottom)
    figure.set_layout_engine(ConstrainedLayoutEngine(rect=room, h_pad=0.08, w_pad=0.08))


def _write_whole(figure: "Figure", path: Path) -> Path:
    """Write the image under another name in the same folder, then put it in its place."""
    format_ = path.suffix.removeprefix(".").lower() or "png"
    # not mkstemp: its files are private to the user, the figure is not
    written = path.with_name(f".{path.name}.{uuid4().hex}")
    try:
        save(figure, written, format=format_, dpi=200)
        written.replace(path)
    except OSError as error:
        if error.filename is not None:  # nobody knows the temporary name
            error.filename, error.filename2 = str(path), None
        raise
    finally:
        with suppress(OSError):
            written.unlink()
    return path
