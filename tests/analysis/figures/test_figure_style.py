"""Figures look the same whatever the settings of matplotlib are, and draw any text as it is."""

import os
import subprocess
import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from analysis import plot_edfs, save_edf, training_curves
from analysis.edf.samples import Sample
from analysis.figures.axes import plot_convergence
from analysis.figures.style import literal

NAMES = [
    "a$\\frac{$",
    "$",
    "_x",
    "two\nlines",
    "n" * 500,
    "\N{GRINNING FACE} 模型",
    "\\$5",
    "%s{}^_&#",
]


def sample(label: str) -> Sample:
    group = {"model": label, "data": label}
    return Sample(label=label, errors=np.array([5.0, 9.0]), group=group, ok=2, trials=2)


@pytest.mark.parametrize("count", [1, 4, 8])
def test_any_name_is_drawn(tmp_path: Path, count: int) -> None:
    """Warnings are errors here; eight groups make a grid."""
    samples = [
        Sample(label=name, errors=np.array([5.0, 9.0]), ok=2, trials=2,
               group={"model": name, "optim": f"{name}{i % 2}", "epochs": i % 2})
        for i, name in enumerate(NAMES[:count])
    ]  # fmt: skip
    assert save_edf(samples, tmp_path / "edf.png").stat().st_size > 10_000


def test_names_with_an_underscore_are_in_the_legend() -> None:
    ax = plot_edfs([sample("_x"), sample("y")], Figure().subplots())
    legend = ax.get_legend()
    assert legend is not None
    assert [text.get_text().strip().partition(":")[0] for text in legend.get_texts()] == ["_x", "y"]


@pytest.mark.parametrize("name", NAMES)
def test_names_are_no_mathematics_in_a_figure_of_the_user(name: str) -> None:
    figure = Figure()
    ax = plot_edfs([sample(name), sample("b")], figure.subplots())
    ax.set_title(literal(name))
    if name.isascii():
        figure.savefig(os.devnull, format="png")


def test_curves_too_have_any_names() -> None:
    table = pd.DataFrame({"trial": ["t"], "model": ["_a$\\frac{$"], "outcome": "ok", "error": 5.0,
                          "epochs": 1, "draw": 0})  # fmt: skip
    curves = pd.DataFrame({"trial": "t", "epoch": [0, 1], "val_error": [90.0, 5.0], "loss": 1.0})
    figure = Figure()
    ax = plot_convergence(training_curves(curves, table), figure.subplots())
    assert ax.get_legend_handles_labels()[1]
    figure.savefig(os.devnull, format="png")


def test_a_figure_is_the_same_under_other_settings(tmp_path: Path) -> None:
    plain = save_edf([sample("a")], tmp_path / "plain.png").read_bytes()
    strange = {"font.size": 30, "axes.facecolor": "red", "savefig.transparent": True,
               "text.parse_math": False, "lines.linewidth": 9, "figure.dpi": 20}  # fmt: skip
    with mpl.rc_context(strange):
        assert save_edf([sample("a")], tmp_path / "strange.png").read_bytes() == plain
        own = plot_edfs([sample("a")], Figure().subplots())
        assert own.get_facecolor()[:3] == (1.0, 0.0, 0.0), "axes of the user keep their settings"


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["settings", "damaged", "pipe"])
def test_a_matplotlibrc_in_the_current_folder_changes_nothing(tmp_path: Path, kind: str) -> None:
    (tmp_path / "t.csv").write_text("model,outcome,error\na,ok,5.0\na,ok,9.0\n")
    stability = [
        sys.executable,
        "-c",
        "from stability.cli import main; main()",
        "edf",
        "t.csv",
        "-o",
    ]

    def drawn(name: str) -> bytes:
        done = subprocess.run(
            [*stability, name],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")
        return (tmp_path / name).read_bytes()

    plain, path = drawn("plain.png"), tmp_path / "matplotlibrc"
    if kind == "settings":
        path.write_text(
            "font.size: 40\nno.such.setting: 3\nbackend: nonsense\naxes.grid: perhaps\n"
        )
    elif kind == "damaged":
        path.write_bytes(b"\xff\xfe\x00font.size: 40")
    else:
        os.mkfifo(path)
    assert drawn("again.png") == plain
