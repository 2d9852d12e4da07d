"""Figures of the search space: one or two hyperparameters at a time. They compute nothing."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from analysis.figures.edf import TEXT_GREY, finish, new_axes, style
from analysis.figures.style import literal
from analysis.space.best_region import EDGE_WIDTH
from analysis.space.scale import INFERRED, Scale, inferred_scale
from analysis.space.search_space import SearchRange, scale_note
from analysis.table.units import Unit, format_error

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MANY_TRIALS = 200  # trials: smaller points
COLOR_SPAN = 20.0  # points above the best that the colours tell apart
AXIS_NAMES = {
    "lr": "learning rate",
    "weight_decay": "weight decay",
    "lr*weight_decay": "learning rate x weight decay",
    "batch_size": "batch size",
    "label_smoothing": "label smoothing",
}
USELESS: dict[Unit, tuple[str, str]] = {
    "percent": ("at chance", "no better than chance or diverged"),
    "raw": ("beyond every loss", "diverged or collapsed"),
}
"""What runs without a usable error are called in a legend, and what the note says of them."""
SPACE_NOTE = "Dotted: 5% of the width of the search space from its edges."


def plot_against(
    points: pd.DataFrame,
    hyperparameter: str = "lr",
    ax: "Axes | None" = None,
    *,
    bins: pd.DataFrame | None = None,
) -> "Axes":
    """Draw the error of every trial against one hyperparameter, the others drawn.

    Args:
        points: of `landscape`.
        hyperparameter: a column of it.
        ax: where; a new figure by default.
        bins: of `marginals` for the same table, whose medians are drawn as steps.

    Returns:
        The axes.

    >>> from matplotlib.figure import Figure
    >>> from analysis import landscape
    >>> table = pd.DataFrame({"model": "a", "error": [5.0, 7.0], "lr": [0.1, 1.0]})
    >>> ax = plot_against(landscape(table), "lr", Figure().subplots())
    >>> ax.get_xlabel(), ax.get_xscale()
    ('learning rate', 'log')

    """
    ax = new_axes() if ax is None else ax
    groups = list(points.groupby("group", sort=False))
    name = points.attrs.get("error", "error (%)")
    useless, meaning = USELESS[_unit(name)]
    finite = points["error"].replace(np.inf, np.nan)
    top = float(finite.max()) if finite.notna().any() else 100.0
    for i, (label, rows) in enumerate(groups):
        color = style(i, curves=len(groups))["color"]
        good, bad = rows[rows["usable"]], rows[~rows["usable"]]
        text = f"{literal(label)}: n = {len(rows)}, {len(bad)} {useless}"
        size = 14 if len(rows) < MANY_TRIALS else 5
        ax.scatter(good[hyperparameter], good["error"], s=size, color=color, label=text)
        height = bad["error"].replace(np.inf, 1.05 * top)
        ax.scatter(bad[hyperparameter], height, s=18, color=color, marker="x", linewidth=0.9)
        for value in rows.loc[rows["selected"], hyperparameter]:
            ax.axvline(value, color=color, linewidth=1.0, linestyle="--", alpha=0.8)
        if bins is not None:
            steps = bins[bins["group"] == label].replace(np.inf, np.nan)
            _medians(ax, steps, color, many=len(rows) >= MANY_TRIALS)
    scales = _scales(points, hyperparameter)
    scales |= {} if bins is None else bins.attrs.get("scales", {})
    _scale(ax, points[hyperparameter], hyperparameter, scales[hyperparameter][0])
    if name.endswith("(%)"):  # a loss may be negative
        ax.set_ylim(bottom=0.0)
    ax.set_ylabel(name)
    medians = "" if bins is None else f"Steps: medians of the bins, runs {useless} included."
    what = f"A point is a trial. Crosses: {meaning}. Dashed: the run {_selected(points)}."
    finish(ax, [what, medians, scale_note(scales)])
    return ax


def plot_marginals(found: pd.DataFrame, ax: "Axes | None" = None) -> "Axes":
    """Draw the share near the reference along one hyperparameter, bin by bin, with intervals.

    Args:
        found: of `marginals`.
        ax: where; a new figure by default.

    Returns:
        The axes.

    >>> from matplotlib.figure import Figure
    >>> from analysis import marginals
    >>> table = pd.DataFrame({"model": "a", "error": [5.0, 7.0], "lr": [0.1, 1.0]})
    >>> ax = plot_marginals(marginals(table, bins=1), Figure().subplots())
    >>> ax.lines[0].get_ydata().tolist()
    [1.0, 1.0]

    """
    ax = new_axes() if ax is None else ax
    name = str(found.attrs["hyperparameter"])
    scale = found.attrs["scales"][name][0]
    groups = list(found.groupby("group", sort=False))
    for i, (label, rows) in enumerate(groups):
        color = style(i, curves=len(groups))["color"]
        text = (
            f"{literal(label)}: n = {rows['n'].sum()}, {rows['n'].min()} to {rows['n'].max()} a bin"
        )
        edges = np.append(rows["low"], rows["high"].iloc[-1])
        heights = np.append(rows["within"], rows["within"].iloc[-1])
        ax.step(edges, heights, where="post", color=color, linewidth=1.6, label=text)
        place = (i + 1) / (len(groups) + 1)  # side by side within a bin
        low, high = rows["low"].to_numpy(), rows["high"].to_numpy()
        x = low * (high / low) ** place if scale == "log" else low + place * (high - low)
        ax.vlines(x, rows["within_low"], rows["within_high"], color=color, linewidth=1.2, alpha=0.8)
        ax.scatter(x, rows["within"], s=14, color=color)
    _scale(ax, found["low"], name, scale)
    ax.set_ylim(-0.02, 1.02)
    ax.set_ylabel("share near the reference")
    finish(ax, [str(found.attrs.get("note", ""))])
    return ax


def plot_search_space(
    points: pd.DataFrame,
    x: str = "lr",
    y: str = "weight_decay",
    ax: "Axes | None" = None,
    *,
    group: str | None = None,
    ranges: Sequence[SearchRange] = (),
) -> "Axes":
    """Draw where one group's trials lie in two hyperparameters, coloured by error.

    Args:
        points: of `landscape`.
        x: a column of it.
        y: another.
        ax: where; a new figure by default.
        group: label; may be left out where there is one group.
        ranges: those of x and y for this group, whose edges are drawn (`search_space_of`,
            `range_for`).

    Returns:
        The axes.

    Raises:
        ValueError: a group that is not there, or none named among several.

    >>> from matplotlib.figure import Figure
    >>> from analysis import landscape
    >>> table = pd.DataFrame({"model": "a", "error": [5.0, 7.0], "lr": [0.1, 1.0],
    ...                       "weight_decay": [0.1, 0.2]})
    >>> plot_search_space(landscape(table), ax=Figure().subplots()).get_ylabel()
    'weight decay'

    """
    labels = list(points["group"].unique())
    if group not in labels and (group is not None or len(labels) != 1):
        raise ValueError(f"group: got {group!r}, allowed: one of {', '.join(map(repr, labels))}")
    ax = new_axes() if ax is None else ax
    label = labels[0] if group is None else group
    rows = points[points["group"] == label]
    _colored(ax, rows, x, y, points.attrs.get("error", "error (%)"))
    drawn = [of for of in ranges if of.name in (x, y)]
    scales = {
        **_scales(points, x, y),
        **{of.name: (of.scale, of.source.endswith(INFERRED)) for of in drawn},
    }
    _scale(ax, rows[x], x, scales[x][0])
    _scale(ax, rows[y], y, scales[y][0], vertical=True)
    for of in drawn:
        _edges(ax, of, vertical=of.name == y)
    ax.set_title(f"{literal(label)}, {len(rows)} trials", loc="left")
    crosses = f"Crosses: {USELESS[_unit(points.attrs.get('error', 'error (%)'))][1]}."
    finish(ax, [crosses, SPACE_NOTE if drawn else "", scale_note(scales)], columns=3)
    return ax


def _colored(ax: "Axes", rows: pd.DataFrame, x: str, y: str, error: str) -> None:
    """Draw trials at chance as crosses, the usable ones by error, the selected one as a star."""
    good, bad, chosen = rows[rows["usable"]], rows[~rows["usable"]], rows[rows["selected"]]
    unit = _unit(error)
    text = f"{len(bad)} {USELESS[unit][0]}"
    ax.scatter(bad[x], bad[y], s=26, color=TEXT_GREY, marker="x", linewidth=1, label=text)
    least = float(good["error"].min()) if len(good) else 0.0
    most = least + COLOR_SPAN if unit == "percent" or good.empty else float(good["error"].max())
    dots = ax.scatter(
        good[x], good[y], s=30, label=f"{len(good)} usable",
        c=good["error"], cmap="viridis_r", vmin=least, vmax=most,
    )  # fmt: skip
    ax.scatter(
        chosen[x], chosen[y], s=150, marker="*", facecolor="none", edgecolor="black",
        label=f"{_selected(chosen)}, {format_error(chosen['error'].mean(), unit)}"
        if len(chosen) else "none selected",
    )  # fmt: skip
    figure = ax.get_figure(root=True)
    if figure is not None and len(good):
        figure.colorbar(dots, ax=ax, label=error, pad=0.02, extend="max")


def _edges(ax: "Axes", of: SearchRange, *, vertical: bool) -> None:
    """Draw the ends of a range, and where an optimum counts as being at one."""
    line = ax.axhline if vertical else ax.axvline
    for position, linestyle in ((0.0, "-"), (EDGE_WIDTH, ":"), (1.0 - EDGE_WIDTH, ":"), (1.0, "-")):
        line(float(of.at(position)), color="0.6", linewidth=0.9, linestyle=linestyle, zorder=0)
    limits = of.at(np.array([-0.03, 1.03])).tolist()
    if vertical:
        ax.set_ylim(*limits)
    else:
        ax.set_xlim(*limits)


def _medians(ax: "Axes", rows: pd.DataFrame, color: str, *, many: bool) -> None:
    if rows.empty:
        return
    edges = np.append(rows["low"], rows["high"].iloc[-1])
    heights = np.append(rows["q50"], rows["q50"].iloc[-1])
    if many:  # a line among many points is seen above them, with a rim
        ax.step(edges, heights, where="post", zorder=3, color="white", linewidth=3.6)
    ax.step(edges, heights, where="post", zorder=3 if many else 1, color=color, linewidth=1.8)


def _selected(points: pd.DataFrame) -> str:
    """How the selected runs were selected."""
    return f"selected by {' or '.join(points['selected_on'].unique())} error"


def _unit(error: str) -> Unit:
    return "percent" if error.endswith("(%)") else "raw"


def _scales(points: pd.DataFrame, *names: str) -> dict[str, tuple[Scale, bool]]:
    """Scales of hyperparameters, as the table of the points has them."""
    known = points.attrs.get("scales", {})
    inferred = {n: inferred_scale([points[n].to_numpy(float)]) for n in names if n not in known}
    return {n: known[n] if n in known else (inferred[n], True) for n in names}


def _scale(
    ax: "Axes", values: "pd.Series[float]", name: str, scale: Scale, *, vertical: bool = False
) -> None:
    """Name an axis and set its scale; one on which not all values lie stays linear."""
    axis = ax.yaxis if vertical else ax.xaxis
    axis.set_label_text(AXIS_NAMES.get(name, literal(name.replace("_", " "))))
    if scale == "linear" or not bool((values.dropna() > 0).all()):
        return
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    (ax.set_yscale if vertical else ax.set_xscale)("log")
    wide = values.max() > 1000 * values.min()
    axis.set_major_locator(LogLocator(subs=(1.0,) if wide else (1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    axis.set_minor_locator(NullLocator())
