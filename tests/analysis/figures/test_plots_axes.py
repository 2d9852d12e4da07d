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
    assert {17.5, 60.0} <= set(corners[corners[:, 0] == 1.0, 1])
    assert "a: n = 3, 1 without an error at the end" in text_of(ax)
    assert "50% quantile" in text_of(ax)


def test_every_trial_is_a_point_and_failures_are_crosses(ax: Axes) -> None:
    table = study().query("epochs == 20 and optim == 'sgd'")
    points = landscape(table)
    plot_against(points, "lr", ax, bins=marginals(table, "lr", bins=2))
    drawn = [c.get_offsets() for c in ax.collections]
    assert sum(len(xy) for xy in drawn) == 8
    assert np.asarray(drawn[1])[:, 1].tolist() == [90.0] * 4  # p: all failed
    assert "p: n = 4, 4 at chance" in text_of(ax)
    assert "Crosses: no better than chance or diverged" in text_of(ax)
    assert "selected by test error" in text_of(ax)
    assert "failed" not in text_of(ax)
    dashed = [line.get_xdata() for line in ax.lines if line.get_linestyle() == "--"]
    assert dashed == [[0.01, 0.01]]
    assert ax.get_xscale() == "log"
    assert ax.get_ylabel() == "test error (%)"
    steps = [line for line in ax.lines if line.get_drawstyle() == "steps-post"]
    assert steps[-1].get_ydata().tolist() == [10.5, 20.5, 20.5]  # of 8, 13 and of 18, 23


def test_an_axis_is_linear_where_the_values_were_drawn_so(ax: Axes) -> None:
    table = study().query("epochs == 20 and model == 'c' and optim == 'sgd'")
    table = table.assign(dropout=[0.05, 0.1, 0.15, 0.2])
    points = landscape(table, hyperparameters=["dropout", "lr"])
    plot_against(points, "dropout", ax)
    assert ax.get_xscale() == "linear"
    assert "Scale inferred from the values: dropout linear." in text_of(ax)
    bins = plot_marginals(marginals(table, "dropout", bins=3), Figure().subplots())
    assert bins.get_xscale() == "linear"
    middle = np.asarray(bins.collections[-1].get_offsets())[:, 0]
    assert middle == pytest.approx([0.075, 0.125, 0.175])
    given = landscape(table, hyperparameters=["dropout"], space={"dropout": (0.01, 0.3, "log")})
    log = plot_against(given, "dropout", Figure().subplots())
    assert log.get_xscale() == "log"
    assert "inferred" not in text_of(log)
    both = plot_search_space(points, "dropout", "lr", Figure().subplots())
    assert (both.get_xscale(), both.get_yscale()) == ("linear", "log")
    ranges = [SearchRange(name="dropout", low=0.01, high=0.3)]
    drawn = plot_search_space(points, "dropout", "lr", Figure().subplots(), ranges=ranges)
    assert drawn.get_xscale() == "log"
    assert "dropout" not in text_of(drawn)  # the scale of a given range is no guess
    log_bins = marginals(table, "dropout", {"dropout": (0.01, 0.3, "log")}, bins=2)
    stepped = plot_against(points, "dropout", Figure().subplots(), bins=log_bins)
    assert stepped.get_xscale() == "log"  # the bins are equal on it
    plain = pd.DataFrame(points.to_dict("list"))  # as read from a file
    assert plot_against(plain, "dropout", Figure().subplots()).get_xscale() == "linear"


def test_a_figure_says_how_its_run_was_selected_and_what_its_crosses_are(ax: Axes) -> None:
    table = study().query("epochs == 20 and model == 'c' and optim == 'sgd'")
    error, val_error = [8.0, 13.0, 18.0, None], [14.0, 12.0, 19.0, None]
    table = table.assign(error=error, val_error=val_error, outcome=["ok"] * 3 + ["diverged"])
    plot_search_space(landscape(table), ax=ax)
    assert "selected by validation error, 13.00%" in text_of(ax)
    assert "1 at chance" in text_of(ax)
    assert "Crosses: no better than chance or diverged." in text_of(ax)
    loss = table.drop(columns="chance").assign(error_unit="raw")
    of_loss = plot_against(landscape(loss, "beyond"), "lr", Figure().subplots())
    assert "n = 4, 1 beyond every loss" in text_of(of_loss)
    assert "Crosses: diverged or collapsed." in text_of(of_loss)


def test_only_what_has_a_name_can_be_drawn_by_length(ax: Axes) -> None:
    found = schedule_length(study())
    plot_schedule_length(found, ax)
    assert ax.get_ylabel() == "selected run's error above that of the longest (points)"
    assert "Selected: the smallest test error" in text_of(ax)
    with pytest.raises(ValueError, match="of: 'best' is not one of 'selected', 'median'"):
        plot_schedule_length(found, ax, of="best")  # type: ignore[arg-type]


def test_shares_are_drawn_bin_by_bin(ax: Axes) -> None:
    found = marginals(study().query("epochs == 20 and model == 'c' and optim == 'sgd'"), bins=2)
    plot_marginals(found, ax)
    assert ax.lines[0].get_ydata().tolist() == [*found["within"], found["within"].iloc[-1]]
    segments = np.array(ax.collections[0].get_segments())
    assert segments[:, :, 1].tolist() == found[["within_low", "within_high"]].values.tolist()
    middle = np.asarray(ax.collections[-1].get_offsets())[:, 0]
    assert middle == pytest.approx(np.sqrt(found["low"] * found["high"]))  # the axis is log
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
