"""Figures show the numbers of their samples: tested by the artists that they hold."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import imread

from analysis import EDF, Sample, draw_edf, plot_edfs, samples, save_edf
from analysis.figures import save as figures_module
from analysis.figures.edf import footnote
from stability.cli import app
from stability.cli.commands.edf import EdfOptions, write_picture


@pytest.fixture
def ax() -> Axes:
    return Figure().subplots()


def sample(label: str, *errors: float, **fields: object) -> Sample:
    usual = {"chance": 90.0, "ok": len(errors), "trials": len(errors)}
    group = {"model": label, "data": "digits"}
    return Sample(label=label, errors=np.array(errors), **{"group": group, **usual, **fields})


def cells(models: int, optims: int, lengths: int) -> list[Sample]:
    return [
        sample(
            "", 10.0 + m, 20.0, group={"model": f"m{m}", "optim": f"o{o}", "epochs": 5 * (e + 1)}
        )
        for m in range(models)
        for o in range(optims)
        for e in reversed(range(lengths))
    ]


def curves(ax: Axes) -> list[object]:
    """Lines of the legend: the curves without the edges of their bands."""
    return [line for line in ax.lines if not str(line.get_label()).startswith("_")]


def text_of(ax: Axes) -> str:
    legend = ax.get_legend()
    assert legend is not None
    return "\n".join(t.get_text() for t in [*legend.get_texts(), *ax.texts])


def test_a_curve_is_drawn_as_its_steps(ax: Axes) -> None:
    edf = EDF.of([1.0, 2.0, np.inf])
    assert draw_edf(edf, ax, label="a", color="C3", span=(0.0, 5.0), linestyle="--") is ax
    (line,) = ax.lines
    assert line.get_xdata().tolist() == [0.0, 1.0, 2.0, 5.0]
    assert line.get_ydata().tolist() == [0.0, 1 / 3, 2 / 3, 2 / 3]
    assert line.get_drawstyle() == "steps-post"
    assert (line.get_label(), line.get_color(), line.get_linestyle()) == ("a", "C3", "--")


def test_a_band_is_shaded_between_its_bounds(ax: Axes) -> None:
    edf = EDF.of(np.arange(10.0))
    lower, upper = edf.band()
    draw_edf(edf, ax, band=(lower, upper))
    (shade,) = ax.collections
    corners = shade.get_paths()[0].vertices
    for x in (0.0, 4.0):
        heights = corners[corners[:, 0] == x, 1]
        assert heights.min() in (lower(x), lower(np.nextafter(x, -1)))
        assert heights.max() == upper(x)


def test_curves_can_be_overlaid(ax: Axes) -> None:
    for errors in ([1.0], [2.0]):
        ax = draw_edf(EDF.of(errors), ax)
    assert len(ax.lines) == 2


def test_the_legend_says_what_each_curve_is_made_of(ax: Axes) -> None:
    a = sample("a", 5.0, 90.0, 90.0, ok=1, diverged=1, collapsed=1, trials=3)
    b = sample("b", 7.25, 8.0, unknown=1, trials=64)
    assert plot_edfs([a, b], ax) is ax
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [
        "a: n = 3, best 5.00%\n1 diverged, 1 collapsed, 0 failed",
        "b: n = 3 of 64, best 7.25%\n0 diverged, 0 collapsed, 1 failed",
    ]
    assert len({line.get_color() for line in curves(ax)}) == 2


def test_axes_title_and_footnote_say_what_was_assumed(ax: Axes) -> None:
    plot_edfs([sample("a", 5.0), sample("b", 6.0)], ax, confidence=0.9, method="dkw")
    assert ax.get_title("left") == "digits, 1 trial each"
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("test error (%)", "share of configurations")
    note = text_of(ax)
    assert "Policy 'chance': diverged and collapsed runs count at chance." in note
    assert "90% simultaneous band (Dvoretzky-Kiefer-Wolfowitz)" in note
    for absent in ("sample-min", "Failed:", "Chance is unknown", "No band", "unfinished"):
        assert absent not in note


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"unknown": 1}, "Failed: error unknown"),
        ({"trials": 9}, "n = k of N: unfinished"),
        ({"sampler": "sobol"}, "No band where the points of a design are not independent"),
        ({"policy": "drop"}, "Policy 'drop': diverged runs are left out"),
        ({"errors": np.array([1.0, np.inf]), "chance": None}, "Chance is unknown"),
    ],
)
def test_the_footnote_warns_where_there_is_something_to_say(
    ax: Axes, change: dict[str, object], said: str
) -> None:
    plain = {"label": "a", "errors": np.array([5.0]), "chance": 90.0, "ok": 1, "trials": 1}
    note = text_of(plot_edfs([Sample(**{**plain, **change})], ax)).replace("\n", " ")
    assert said in note


def test_the_footnote_names_the_band_that_was_drawn(ax: Axes) -> None:
    """A sample too large for the exact search gets another band, and the figure says so."""
    plot_edfs([sample("a", 5.0)], ax)
    assert "95% simultaneous band (Learned-Miller-DeStefano)." in text_of(ax).replace("\n", " ")
    large = sample("b", *np.linspace(1, 80, 10_001))
    note = " ".join(footnote([sample("a", 5.0), large], delta=False, band=(0.95, "ld")))
    assert "(Learned-Miller-DeStefano; Kolmogorov-Smirnov for the largest)." in note
    plot_edfs([large], ax := Figure().subplots())
    assert "95% simultaneous band (Kolmogorov-Smirnov)." in text_of(ax).replace("\n", " ")


def test_command_line_and_api_draw_the_same_band(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ax: Axes
) -> None:
    errors = np.linspace(4.0, 44.0, 40)
    table = pd.DataFrame({"model": "a", "outcome": "ok", "error": errors, "chance": 90.0})
    (group,) = samples(table)
    drawn: list[tuple[EDF, EDF]] = []

    def recorded(edf: EDF, ax: Axes, *, band: tuple[EDF, EDF], **look: object) -> Axes:
        drawn.append(band)
        return draw_edf(edf, ax, band=band, **look)  # type: ignore[arg-type]

    monkeypatch.setattr("analysis.figures.edf.draw_edf", recorded)
    write_picture(table, tmp_path / "sweep.png", EdfOptions())
    table.to_csv(tmp_path / "table.csv", index=False)
    app(
        ["edf", str(tmp_path / "table.csv"), "-o", str(tmp_path / "edf.png")], standalone_mode=False
    )
    save_edf([group], tmp_path / "api.png")
    plot_edfs([group], ax)
    bounds = [[bound.height.tolist() for bound in band] for band in drawn]
    assert bounds == [[bound.height.tolist() for bound in group.band()]] * 4
    assert bounds[0] != [bound.height.tolist() for bound in group.band(method="ks")]


def test_a_design_without_independent_points_gets_no_band(ax: Axes) -> None:
    plot_edfs([sample("a", 5.0, sampler="grid"), sample("b", 6.0)], ax)
    assert len(ax.collections) == 1


def test_the_axis_of_errors_ends_at_chance_and_shows_it(ax: Axes) -> None:
    plot_edfs([sample("a", 5.0, 60.0)], ax)
    assert ax.get_xlim() == (0.0, pytest.approx(91.8))
    assert "chance" in [text.get_text() for text in ax.texts]
    other = plot_edfs([sample("a", 5.0, 60.0)], Figure().subplots(), limit=30.0)
    assert other.get_xlim() == (0.0, 30.0)


def test_distances_start_at_the_best_of_each_sample(ax: Axes) -> None:
    plot_edfs([sample("a", 5.0, 9.0), sample("b", 25.0, 29.0)], ax, delta=True)
    a, b = (line.get_xydata().tolist() for line in curves(ax))
    assert a == b == [[0.0, 0.5], [4.0, 1.0], [20.0, 1.0]]
    assert ax.get_xlabel() == "points above best of sample (%)"
    note = text_of(ax).replace("\n", " ")
    assert "Reference 'sample-min': bands hold for F(m + d) at the observed best m" in note


def test_a_sample_with_nothing_to_draw_keeps_its_place_in_the_legend(ax: Axes) -> None:
    """A group that has no curve must not vanish from the figure."""
    plot_edfs([sample("a", trials=8), sample("b", 90.0, ok=0, diverged=1)], ax, delta=True)
    assert [line.get_xdata().size for line in curves(ax)] == [0, 0]
    assert "a: n = 0 of 8, nothing to show" in text_of(ax)
    assert "b: n = 1, none below chance" in text_of(ax)


def test_best_epoch_figures_name_the_validation_part(ax: Axes) -> None:
    plot_edfs([sample("a", 5.0, policy="best")], ax)
    assert ax.get_xlabel() == "best validation error of all epochs (%)"


def test_no_samples_is_an_answer(tmp_path: Path) -> None:
    for call in (lambda: plot_edfs([]), lambda: save_edf([], tmp_path / "edf.png")):
        with pytest.raises(ValueError, match="samples: got none"):
            call()
    assert list(tmp_path.iterdir()) == []


def test_an_image_is_written_whole_under_its_name_alone(tmp_path: Path) -> None:
    path = save_edf([sample("a", 5.0, 9.0)], tmp_path / "edf.png")
    assert path == tmp_path / "edf.png"
    assert imread(path).shape[1] == 1800  # twice the width that a README shows
    assert [p.name for p in tmp_path.iterdir()] == ["edf.png"]
    assert save_edf([sample("a", 5.0)], tmp_path / "edf.svg").read_text().startswith("<?xml")


def test_a_failed_write_leaves_the_old_image_and_no_rubbish(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "edf.png"
    path.write_text("old")

    def full_disk(self: Figure, written: Path, **_: object) -> None:
        written.write_text("half")
        raise OSError("no space left")

    monkeypatch.setattr(Figure, "savefig", full_disk)
    with pytest.raises(OSError, match="no space left"):
        save_edf([sample("a", 5.0)], path)
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("edf.png", "old")]


def test_unknown_formats_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'docx' is not supported"):
        save_edf([sample("a", 5.0)], tmp_path / "edf.docx")
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Return the figure that save_edf would write."""

    def save(samples: list[Sample], **options: object) -> Figure:
        written: list[Figure] = []
        monkeypatch.setattr(
            figures_module, "_write_whole", lambda figure, path: written.append(figure)
        )
        save_edf(samples, tmp_path / "edf.png", **options)
        return written[0]

    return save


def test_up_to_four_groups_share_a_panel(drawn) -> None:
    assert len(drawn(cells(2, 2, 1)).axes) == 1
    assert len(drawn(cells(6, 1, 1)).axes) == 1  # nothing but the model differs


def test_more_groups_make_a_grid_of_optimizers_and_lengths(drawn) -> None:
    figure = drawn(cells(2, 2, 3))
    titles = [ax.get_title("left") for ax in figure.axes]
    lengths = ("5 epochs", "10 epochs", "15 epochs")
    assert titles == [f"{optim} {length}" for optim in ("o0", "o1") for length in lengths]
    for ax in figure.axes:
        assert [str(line.get_label()).split(":")[0] for line in curves(ax)] == ["m0", "m1"]
        assert ax.get_xlim() == figure.axes[0].get_xlim()
    colors = {tuple(line.get_color() for line in curves(ax)) for ax in figure.axes}
    assert len(colors) == 1  # a model keeps its colour in every panel
    assert "Policy 'chance'" in figure.texts[-1].get_text()


def test_a_grid_with_holes_keeps_colours_and_hides_the_empty_panel(drawn) -> None:
    some = [s for s in cells(2, 2, 2) if s.group != {"model": "m0", "optim": "o0", "epochs": 5}]
    some = [s for s in some if not (s.group["optim"] == "o1" and s.group["epochs"] == 10)]
    figure = drawn(some)
    assert [len(curves(ax)) for ax in figure.axes] == [1, 2, 2, 0]
    assert curves(figure.axes[0])[0].get_color() == curves(figure.axes[1])[1].get_color()
    assert not figure.axes[3].axison


def test_the_grid_is_written_too(tmp_path: Path) -> None:
    path = save_edf(cells(2, 2, 3), tmp_path / "edf.png", delta=True)
    assert imread(path).shape[1] == 2040


def test_importing_and_saving_touch_no_global_state(tmp_path: Path) -> None:
    """A figure for a file needs no seaborn, and leaves rcParams as they are."""
    script = """
import sys, matplotlib, numpy, analysis
before = dict(matplotlib.rcParams)
analysis.save_edf([analysis.Sample(label="a", errors=numpy.array([5.0]))], sys.argv[1])
print(before == dict(matplotlib.rcParams), "seaborn" in sys.modules)
"""
    root = Path(figures_module.__file__).resolve().parent.parent
    command = [sys.executable, "-c", script, str(tmp_path / "edf.png")]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[0] == "True False"


def test_without_axes_a_figure_is_made_that_a_notebook_shows() -> None:
    import matplotlib as mpl
    import matplotlib.pyplot as plt

    mpl.use("agg")
    ax = draw_edf(EDF.of([1.0]))
    assert ax.get_figure() is plt.gcf()
    plt.close("all")
