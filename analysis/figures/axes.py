"""Figures of schedule length, optimizer and convergence. They draw tables and compute nothing."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from analysis.errors import invalid_choice
from analysis.figures.edf import finish, new_axes, style
from analysis.figures.style import literal

if TYPE_CHECKING:
    from matplotlib.axes import Axes

GAPS = {"selected": ("gap", "selected run's"), "median": ("gap_q50", "median")}
"""What `plot_schedule_length` draws: the column, and what it is called."""
MARKERS = ("v", "^")  # SGD down, AdamW up, as Xiao et al. draw them


def plot_schedule_length(
    found: pd.DataFrame, ax: "Axes | None" = None, *, of: Literal["selected", "median"] = "selected"
) -> "Axes":
    """Draw how far each schedule length is from the longest, a line per model and optimizer.

    Args:
        found: of `schedule_length`.
        ax: where; a new figure by default.
        of: the selected run of each length (it has no interval), or the median of all errors, with
            its interval.

    Returns:
        The axes.

    Raises:
        ValueError: another `of`.

    >>> from matplotlib.figure import Figure
    >>> from analysis import schedule_length
    >>> table = pd.DataFrame({"model": "a", "epochs": [5, 50], "error": [30.0, 20.0]})
    >>> ax = plot_schedule_length(schedule_length(table), Figure().subplots())
    >>> ax.lines[0].get_ydata().tolist()
    [10.0, 0.0]

    """
    if of not in GAPS:
        raise ValueError(invalid_choice("of", of, list(GAPS)))
    ax = new_axes() if ax is None else ax
    groups = list(found.groupby("group", sort=False))
    for i, (label, rows) in enumerate(groups):
        look = _line(i, len(groups))
        y = rows[GAPS[of][0]]
        sizes = _sizes(rows["n"])
        ax.plot(rows["epochs"], y, marker="o", label=f"{literal(label)}: {sizes}", **look)
        if of == "median":
            ends = rows[["gap_q50_low", "gap_q50_high"]].to_numpy()
            shift = rows["epochs"] * 1.03 ** (i - (len(groups) - 1) / 2)  # side by side
            ax.vlines(shift, ends[:, 0], ends[:, 1], color=look["color"], linewidth=0.9, alpha=0.7)
    ax.axhline(0.0, color="0.8", linewidth=0.8, zorder=0)
    is_loss = found.attrs.get("unit") == "raw"
    of_what = f"{GAPS[of][1]} {'loss' if is_loss else 'error'} above that of the longest"
    ax.set_ylabel(of_what if is_loss else f"{of_what} (points)")
    _lengths(ax, found["epochs"])
    finish(ax, [found.attrs.get("note", "")])
    return ax


def plot_optimizer_gap(found: pd.DataFrame, ax: "Axes | None" = None) -> "Axes":
    """Draw each optimizer's selected run by schedule length: a colour a model, SGD downwards.

    What was copied from a shorter schedule is dashed, with an open marker.

    Args:
        found: of `optimizer_gap`.
        ax: where; a new figure by default.

    Returns:
        The axes.

    >>> from matplotlib.figure import Figure
    >>> from analysis import optimizer_gap
    >>> table = pd.DataFrame({"model": "a", "optim": ["sgd", "adamw"], "error": [30.0, 22.0]})
    >>> ax = plot_optimizer_gap(optimizer_gap(table), Figure().subplots())
    >>> [line.get_ydata().tolist() for line in ax.lines]
    [[30.0], [22.0]]

    """
    ax = new_axes() if ax is None else ax
    models = list(found.assign(data=found.get("data", "")).groupby(["data", "model"], sort=False))
    several = len({data for (data, _), _ in models}) > 1
    for i, ((data, model), of) in enumerate(models):
        label = f"{model} {data}" if several else str(model)
        rows = of.assign(epochs=of["epochs"].fillna(1.0)).sort_values("epochs")
        for name, marker in zip(found.attrs["optims"], MARKERS, strict=True):
            _optimizer(
                ax, rows, name, literal(f"{label} {name}"), marker=marker, **_line(i, len(models))
            )
    if found["epochs"].notna().any():
        _lengths(ax, found["epochs"])
    else:
        ax.set_xticks([])
    ax.set_ylabel(f"selected run: {found.attrs['error']}")
    ax.margins(y=0.1)
    finish(ax, [found.attrs.get("note", "")])
    return ax


def plot_convergence(found: pd.DataFrame, ax: "Axes | None" = None) -> "Axes":
    """Draw the median training curve of each group, and its outer quantiles shaded.

    Args:
        found: of `training_curves`, with an odd number of quantiles: the middle one is the line.
        ax: where; a new figure by default.

    Returns:
        The axes.

    >>> from matplotlib.figure import Figure
    >>> from analysis import training_curves
    >>> table = pd.DataFrame({"model": "a", "trial": ["t"], "error": [9.0]})
    >>> curves = pd.DataFrame({"trial": "t", "epoch": [0, 1], "val_error": [90.0, 8.0]})
    >>> ax = plot_convergence(training_curves(curves, table), Figure().subplots())
    >>> ax.lines[0].get_ydata().tolist()
    [90.0, 8.0]

    """
    from matplotlib.ticker import MaxNLocator

    ax = new_axes() if ax is None else ax
    columns = sorted((str(c) for c in found if str(c)[0] == "q"), key=lambda c: float(c[1:]))
    low, middle, high = columns[0], columns[len(columns) // 2], columns[-1]
    groups = list(found.groupby("group", sort=False))
    for i, (label, rows) in enumerate(groups):
        look = style(i, curves=len(groups))
        drawn = rows.replace(np.inf, np.nan)
        last = rows.iloc[-1]
        lost = last["n"] - last["alive"]
        text = f"{literal(label)}: n = {last['n']}" + (
            f", {lost} without an error at the end" if lost else ""
        )
        line: dict[str, Any] = {"color": look["color"], "linestyle": look["linestyle"]}
        ax.plot(drawn["epoch"], drawn[middle], label=text, linewidth=1.8, **line)
        x, bottom, top = drawn["epoch"], drawn[low], drawn[high]
        ax.fill_between(x, bottom, top, color=look["color"], alpha=look["shade"], linewidth=0)
        for edge in (bottom, top):
            ax.plot(x, edge, linewidth=0.6, alpha=0.7, **line)
    ax.set_xlim(found["epoch"].min(), found["epoch"].max())
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    is_loss = found.attrs.get("unit") == "raw"
    if not is_loss:
        ax.set_ylim(bottom=0.0)
    ax.set_xlabel("epoch")
    ax.set_ylabel("validation loss" if is_loss else "validation error (%)")
    ends = f"{low[1:]}% to {high[1:]}%"
    shares = f"Line: {middle[1:]}% quantile of the trials; shaded: {ends}."
    finish(ax, [shares, found.attrs.get("note", "")])
    return ax


def _optimizer(ax: "Axes", rows: pd.DataFrame, name: str, label: str, **look: Any) -> None:
    """Draw one optimizer of one model: solid as far as measured, dashed where copied."""
    x, y = rows["epochs"].to_numpy(float), rows[name].to_numpy(float)
    copied = (rows[f"from_{name}"] != rows["epochs"]).to_numpy() & np.isfinite(y)
    copied &= rows[f"from_{name}"].notna().to_numpy()
    text = f"{label}: {_sizes(rows[f'n_{name}'])}"
    ax.plot(x, np.where(copied, np.nan, y), label=text, **look)
    if copied.any():
        reach = copied | np.append(copied[1:], False)  # from the last one measured
        ax.plot(x, np.where(reach, y, np.nan), **{**look, "linestyle": "--", "marker": ""})
        ax.plot(x[copied], y[copied], **{**look, "linestyle": "", "markerfacecolor": "white"})


def _line(i: int, groups: int) -> dict[str, Any]:
    look = style(i, curves=groups)
    return {"color": look["color"], "linestyle": look["linestyle"], "linewidth": 1.6}


def _sizes(n: "pd.Series[int]") -> str:
    few, many = int(n.min()), int(n.max())
    return f"n = {few}" if few == many else f"n = {few} to {many}"


def _lengths(ax: "Axes", epochs: Iterable[float]) -> None:
    """Put a tick at each schedule length, on a log axis: lengths are doubled, not added to."""
    from matplotlib.ticker import NullLocator

    ticks = sorted({float(e) for e in epochs if np.isfinite(e)})
    ax.set_xscale("log")
    ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_xlim(ticks[0] / 1.15, ticks[-1] * 1.15)
    ax.set_xlabel("schedule length (epochs)")
