"""Figures of the other axes show the numbers of their tables: tested by the artists they hold."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import (
    SearchRange,
    edge_warnings,
    landscape,
    marginals,
    optimizer_gap,
    plot_against,
    plot_convergence,
    plot_marginals,
    plot_optimizer_gap,
    plot_schedule_length,
    plot_search_space,
    schedule_length,
    training_curves,
)


@pytest.fixture
def ax() -> Axes:
    return Figure(figsize=(9, 6)).subplots()


def study() -> pd.DataFrame:
    """Two models, two optimizers, three lengths, four draws; `p` fails under sgd at the longest."""
    rows = []
    for m, model in enumerate("pc"):
        for o, optim in enumerate(("sgd", "adamw")):
            for epochs in (20, 5, 10):
                for draw in range(4):
                    lost = model == "p" and optim == "sgd" and epochs == 20
                    error = None if lost else 100.0 / epochs + 5 * draw + 3 * m + 7 * o
                    lr = 0.01 * 2.0**draw
                    rows.append((model, optim, epochs, draw, error, lr, 0.1 + draw))
    names = ["model", "optim", "epochs", "draw", "error", "lr", "weight_decay"]
    return pd.DataFrame(rows, columns=names).assign(chance=90.0)


def text_of(ax: Axes) -> str:
    legend = ax.get_legend()
    assert legend is not None
    words = "\n".join(t.get_text() for t in [*legend.get_texts(), *ax.texts])
    return words.replace("\n", " ")


def test_each_length_is_drawn_above_the_longest(ax: Axes) -> None:
    found = schedule_length(study())
    assert plot_schedule_length(found, ax) is ax
    rows = found[found["group"] == "c sgd"]
    line = next(x for x in ax.lines if str(x.get_label()).startswith("c sgd"))
    assert line.get_xdata().tolist() == [5, 10, 20]
    assert line.get_ydata().tolist() == rows["gap"].tolist() == [15.0, 5.0, 0.0]
    assert [t.get_text() for t in ax.get_xticklabels()] == ["5", "10", "20"]
    assert "c sgd: n = 4" in text_of(ax)
    assert "speed, not stability" in text_of(ax)
    assert not ax.collections


def test_the_median_gap_is_drawn_with_its_interval(ax: Axes) -> None:
    found = schedule_length(study())
    plot_schedule_length(found, ax, of="median")
    assert len(ax.collections) == found["group"].nunique()
    (low, high) = np.array(ax.collections[0].get_segments())[0][:, 1]
    assert [low, high] == found.loc[0, ["gap_q50_low", "gap_q50_high"]].tolist()


def test_a_copied_length_is_dashed_and_open(ax: Axes) -> None:
    plot_optimizer_gap(optimizer_gap(study(), copy_shorter=True), ax)
    dashed = [line for line in ax.lines if line.get_linestyle() == "--"]
    assert [line.get_ydata()[1:].tolist() for line in dashed] == [[10.0, 10.0]]
    hollow = [line for line in ax.lines if line.get_markerfacecolor() == "white"]
    assert [line.get_xdata().tolist() for line in hollow] == [[20.0]]
    solid = next(line for line in ax.lines if str(line.get_label()).startswith("p sgd"))
    assert np.isnan(solid.get_ydata()).tolist() == [False, False, True]
    assert "Copied, dashed" in text_of(ax)
    plain = plot_optimizer_gap(optimizer_gap(study()), Figure().subplots())
    assert {line.get_linestyle() for line in plain.lines} == {"-"}
    markers = {str(x.get_label()).split(":")[0]: x.get_marker() for x in plain.lines}
    assert markers == {"p sgd": "v", "p adamw": "^", "c sgd": "v", "c adamw": "^"}


def test_a_band_of_curves_is_drawn_around_its_median(ax: Axes) -> None:
    table = pd.DataFrame({"model": "a", "trial": list("pqr"), "error": [5.0, 30.0, None]})
    rows = [("p", 1, 5.0), ("q", 1, 30.0), *((t, 0, 90.0) for t in "pqr")]
    curves = pd.DataFrame(rows, columns=["trial", "epoch", "val_error"])
    found = training_curves(curves, table.assign(chance=90.0))
    plot_convergence(found, ax)
    assert ax.lines[0].get_ydata().tolist() == [90.0, 30.0]
    corners = ax.collections[0].get_paths()[0].vertices
    assert {5.0, 90.0} <= set(corners[corners[:, 0] == 1.0, 1])
    assert "a: n = 3, 1 without an error at the end" in text_of(ax)
    assert "50% quantile" in text_of(ax)


def test_every_trial_is_a_point_and_failures_are_crosses(ax: Axes) -> None:
    table = study().query("epochs == 20 and optim == 'sgd'")
    points = landscape(table)
    plot_against(points, "lr", ax, bins=marginals(table, "lr", bins=2))
    drawn = [c.get_offsets() for c in ax.collections]
    assert sum(len(xy) for xy in drawn) == 8
    assert np.asarray(drawn[1])[:, 1].tolist() == [90.0] * 4  # p: all failed
    assert "p: n = 4, 4 failed" in text_of(ax)
    dashed = [line.get_xdata() for line in ax.lines if line.get_linestyle() == "--"]
    assert dashed == [[0.01, 0.01]]
    assert ax.get_xscale() == "log"
    assert ax.get_ylabel() == "test error (%)"
    steps = [line for line in ax.lines if line.get_drawstyle() == "steps-post"]
    assert steps[-1].get_ydata().tolist() == [8.0, 18.0, 18.0]


def test_shares_are_drawn_bin_by_bin(ax: Axes) -> None:
    found = marginals(study().query("epochs == 20 and model == 'c' and optim == 'sgd'"), bins=2)
    plot_marginals(found, ax)
    assert ax.lines[0].get_ydata().tolist() == [*found["within"], found["within"].iloc[-1]]
    segments = np.array(ax.collections[0].get_segments())
    assert segments[:, :, 1].tolist() == found[["within_low", "within_high"]].values.tolist()
    assert "n = 4, 2 to 2 a bin" in text_of(ax)
    assert "95% for each bin alone" in text_of(ax)


def test_the_box_is_drawn_with_its_edges_and_the_best(ax: Axes) -> None:
    table = study().query("epochs == 20")
    ranges = [
        SearchRange(name="lr", low=0.01, high=0.08),
        SearchRange(name="weight_decay", low=0.1, high=10),
    ]
    plot_search_space(landscape(table), ax=ax, group="c sgd", ranges=ranges)
    assert [len(c.get_offsets()) for c in ax.collections] == [0, 4, 1]
    assert ax.collections[2].get_offsets().tolist() == [[0.01, 0.1]]
    edges = [line.get_xdata()[0] for line in ax.lines[:4]]
    assert edges == pytest.approx([0.01, 0.01 * 8**0.05, 0.01 * 8**0.95, 0.08])
    assert edge_warnings(table, ranges)["edge"].eq("low").any()
    with pytest.raises(ValueError, match="group: got None, allowed: one of 'p sgd', 'p adamw'"):
        plot_search_space(landscape(table))


def test_groups_in_which_everything_failed_keep_their_place(ax: Axes) -> None:
    lost = study().assign(error=None, outcome="diverged")
    plot_schedule_length(schedule_length(lost), ax)
    assert len(ax.get_legend().get_texts()) == 4
    plot_search_space(landscape(lost), ax=Figure().subplots(), group="p sgd 5 epochs")
    plot_against(landscape(lost), "lr", Figure().subplots())
    found = plot_optimizer_gap(optimizer_gap(lost, copy_shorter=True), Figure().subplots())
    assert len(found.get_legend().get_texts()) == 4
