"""Figures of error distribution functions. Draws what samples and EDFs say; computes nothing."""

from collections.abc import Sequence
from textwrap import wrap
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np

from analysis.arrays import FloatArray
from analysis.edf.bands import Method, method_for
from analysis.edf.samples import Sample
from analysis.edf.step_function import EDF
from analysis.figures.style import literal
from analysis.table.groups import describe
from analysis.table.policies import error_name, policy_meaning
from analysis.table.units import CURVES_FACTOR, NEAR_POINTS, format_error, one_unit

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.legend import Legend

# seaborn's palette "colorblind" without its near-greys and yellow; importing seaborn takes seconds
COLORS = ("#0173b2", "#de8f05", "#029e73", "#d55e00", "#cc78bc", "#56b4e9", "#ca9161", "#333333")
TEXT_GREY = "0.4"
BAND_NAMES: dict[Method, str] = {
    "ld": "Learned-Miller-DeStefano",
    "ld-equal-tailed": "Learned-Miller-DeStefano, equal tails",
    "ks": "Kolmogorov-Smirnov",
    "dkw": "Dvoretzky-Kiefer-Wolfowitz",
}
DASHES = ("-", "--", ":", "-.")
"""Line styles, changed each time the colours are used up."""


Band = tuple[float, Method | None]
"""Confidence and method of the bands of a figure."""


class Style(TypedDict):
    """How a curve looks."""

    color: str
    linestyle: str
    shade: float


def draw_edf(
    edf: EDF,
    ax: "Axes | None" = None,
    *,
    band: tuple[EDF, EDF] | None = None,
    label: str | None = None,
    color: str = COLORS[0],
    span: tuple[float, float] | None = None,
    shade: float = 0.15,
    **line: Any,
) -> "Axes":
    """Draw one step curve and its band.

    Args:
        edf: the curve, in the unit of the x axis.
        ax: where; a new figure by default.
        band: (lower, upper), shaded.
        label: for the legend.
        color: of curve and band.
        span: ends of the curve on the x axis; by default 0 (or the smallest value below it) and
            the largest finite value.
        shade: opacity of the band, in [0, 1]; its edges are drawn in any case.
        line: further properties of the curve, as matplotlib names them (`linestyle`).

    Returns:
        The axes, so that calls can be overlaid.

    >>> from matplotlib.figure import Figure
    >>> ax = draw_edf(EDF.of([1.0, 2.0]), Figure().subplots(), label="a")
    >>> ax.lines[0].get_xdata().tolist(), ax.lines[0].get_ydata().tolist()
    ([0.0, 1.0, 2.0], [0.0, 0.5, 1.0])

    """
    ax = new_axes() if ax is None else ax
    x = _jumps([edf, *(band or ())], span)
    if band is not None:
        lower, upper = band
        ax.fill_between(x, lower(x), upper(x), step="post", color=color, alpha=shade, linewidth=0)
        for bound in band:  # edges, so that overlapping bands can be told apart
            ax.step(x, bound(x), where="post", color=color, linewidth=0.6, alpha=0.7)
    ax.step(x, edf(x), where="post", label=label, color=color, **{"linewidth": 1.8, **line})
    return ax


def plot_edfs(
    samples: Sequence[Sample],
    ax: "Axes | None" = None,
    *,
    delta: bool = False,
    confidence: float = 0.95,
    method: Method | None = None,
    limit: float | None = None,
    within: float | None = None,
) -> "Axes":
    """Draw the EDFs of samples into one panel: curves, bands, counts, and what was assumed.

    Args:
        samples: of `analysis.samples`; one colour each.
        ax: where; a new figure by default.
        delta: distances from the best of each sample instead of errors.
        confidence: of the simultaneous bands, in (0, 1).
        method: of the bands, see `EDF.band`; `ks` where n is too large for an `ld` band.
        limit: right end of the x axis, in the unit of the errors; by default chance (errors), 20
            points (distances) or the largest error.
        within: primary distance; the axis of distances ends at 5 times it, by default at 20 points.

    Returns:
        The axes.

    Raises:
        ValueError: no samples, or a bad confidence or method.

    >>> from matplotlib.figure import Figure
    >>> ax = plot_edfs([Sample(label="a", errors=np.array([5.0, 9.0]))], Figure().subplots())
    >>> ax.get_xlabel(), ax.get_ylabel()
    ('test error (%)', 'share of configurations')

    """
    if not samples:
        raise ValueError("samples: got none, allowed: at least one")
    ax = new_axes() if ax is None else ax
    limit = shared_limit(samples, delta=delta, within=within) if limit is None else limit
    left = left_end(samples, delta=delta, limit=limit)
    band = (confidence, method)
    for i, sample in enumerate(samples):
        look = style(i, curves=len(samples))
        draw_sample(sample, ax, look, delta=delta, band=band, span=(left, limit))
    dress(ax, samples, delta=delta, limit=limit)
    ax.set_title(title_of(samples), loc="left")
    ax.set_ylabel("share of configurations")
    legend = legend_below(ax, columns=2)
    small_print(ax, legend, footnote(samples, delta=delta, band=band))
    return ax


def draw_sample(
    sample: Sample,
    ax: "Axes",
    look: Style,
    *,
    delta: bool,
    band: Band,
    span: tuple[float, float],
    label: str | None = None,
) -> None:
    """Draw one sample with its band, or only its place in the legend where it has no curve."""
    text = legend_text(sample, sample.label if label is None else label)
    if sample.n == 0 or (delta and np.isnan(sample.best)):
        ax.plot([], [], label=text, color=look["color"], linestyle=look["linestyle"])
        return
    confidence, method = band[0], method_for(sample.n, band[1])
    bounds = sample.band(confidence, method) if sample.has_band else ()
    curves = [sample.edf(), *bounds]
    if delta:
        curves = [curve.delta(sample.best) for curve in curves]
    shaded = (curves[1], curves[2]) if bounds else None
    draw_edf(curves[0], ax, band=shaded, label=text, span=span, **look)


def legend_text(sample: Sample, label: str) -> str:
    r"""Write what a curve is made of: how many trials, the best of them, and how the others ended.

    >>> legend_text(Sample(label="a", errors=np.array([5.0]), ok=1, trials=1), "vitc")
    'vitc: n = 1, best 5.00%\n0 diverged, 0 collapsed, 0 failed'
    """
    size = f"n = {sample.n}" + (f" of {sample.trials}" if sample.used < sample.trials else "")
    if sample.n == 0:
        return f"{literal(label)}: {size}, nothing to show"
    none = "none below chance" if sample.unit == "percent" else "none usable"
    best = none if np.isnan(sample.best) else f"best {format_error(sample.best, sample.unit)}"
    ends = f"{sample.diverged} diverged, {sample.collapsed} collapsed, {sample.unknown} failed"
    return f"{literal(label)}: {size}, {best}\n{ends}"


def footnote(samples: Sequence[Sample], *, delta: bool, band: Band) -> list[str]:
    """Say what was assumed: the policy, the band and its level, the reference, the unknown."""
    unit = one_unit([s.unit for s in samples])
    policies = dict.fromkeys(s.policy for s in samples)
    notes = {
        **{f"Policy '{policy}': {policy_meaning(policy, unit)}.": True for policy in policies},
        "Best: the smallest error of the sample.": any(np.isfinite(s.best) for s in samples),
        "Chance is unknown here: what counts at chance lies beyond the right end.": any(
            np.isinf(s.errors).any() for s in samples if s.unit == "percent"
        ),
        **_shaded([s.n for s in samples if s.has_band], band),
        "No band where the points of a design are not independent (Sobol, grid).": any(
            s.sampler != "random" for s in samples
        ),
        "Reference 'sample-min': bands hold for F(m + d) at the observed best m of each sample, "
        "not for distances to the best error possible.": delta,
        "Failed: error unknown; the curve counts them as worse, the upper bound as better.": any(
            s.unknown for s in samples
        ),
        "n = k of N: unfinished; only the first k of the N points drawn are used.": any(
            s.used < s.trials for s in samples
        ),
        **{f"{text[0].upper()}{text[1:]}.": True for s in samples for text in s.code},
    }
    return [note for note, applies in notes.items() if applies]


def _shaded(sizes: Sequence[int], band: Band) -> dict[str, bool]:
    """Say of which kind the bands are: large samples may have another than was asked for."""
    confidence, method = band
    used = dict.fromkeys(method_for(n, method) for n in sorted(sizes))
    names = [BAND_NAMES[m] + (" for the largest" if i else "") for i, m in enumerate(used)]
    return {f"Shaded: {100 * confidence:g}% simultaneous band ({'; '.join(names)}).": bool(sizes)}


def title_of(samples: Sequence[Sample]) -> str:
    """Name what is common to all samples, their size included.

    >>> a = Sample(label="a", errors=np.array([5.0]), group={"model": "a", "data": "digits"})
    >>> title_of([a])
    'digits, 1 trial'
    """
    common = literal(describe([s.group for s in samples])[0])
    sizes = {s.n for s in samples}
    if len(sizes) > 1:
        return common
    size = f"{sizes.pop()} trial{'s' if samples[0].n > 1 else ''}"
    size += " each" if len(samples) > 1 else ""
    return f"{common}, {size}" if common else size


def axis_label(samples: Sequence[Sample], *, delta: bool) -> str:
    """Name what the x axis shows, with its unit."""
    unit = one_unit([s.unit for s in samples])
    if delta:
        return "loss above best of sample" if unit == "raw" else "points above best of sample (%)"
    return error_name(samples[0].policy, unit)


def shared_limit(samples: Sequence[Sample], *, delta: bool, within: float | None = None) -> float:
    """Right end of the x axis: up to chance, or up to the distance that a delta is read at.

    That is 20 points, 5 times `within`; of a loss without one, the largest distance.
    """
    finite = [s.errors[np.isfinite(s.errors)] for s in samples]
    if samples[0].unit == "raw":
        return _limit_of_loss(finite, delta=delta, within=within)
    largest = max((float(values.max()) for values in finite if values.size), default=1.0)
    if delta:
        return CURVES_FACTOR * (NEAR_POINTS if within is None else within)
    return max([1.02 * (s.chance or 0.0) for s in samples] + [1.02 * largest])


def _limit_of_loss(finite: Sequence[FloatArray], *, delta: bool, within: float | None) -> float:
    spans = [values for values in finite if values.size]
    if delta:
        widest = max((float(np.ptp(values)) for values in spans), default=1.0) or 1.0
        return 1.02 * widest if within is None else CURVES_FACTOR * within
    low, high = _ends(spans)
    return high + 0.02 * ((high - low) or abs(high) or 1.0)


def _ends(spans: Sequence[FloatArray]) -> tuple[float, float]:
    lows, highs = [float(v.min()) for v in spans], [float(v.max()) for v in spans]
    return min(lows, default=0.0), max(highs, default=1.0)


def left_end(samples: Sequence[Sample], *, delta: bool, limit: float) -> float:
    """Left end of the x axis: 0, or a little below the smallest of the losses."""
    if delta or samples[0].unit == "percent":
        return 0.0
    low = _ends([v for s in samples if (v := s.errors[np.isfinite(s.errors)]).size])[0]
    return low - 0.03 * ((limit - low) or 1.0)


def style(i: int, *, curves: int) -> Style:
    """Colour and dash of the curve with index i, and the shade of its band among `curves`."""
    return {
        "color": COLORS[i % len(COLORS)],
        "linestyle": DASHES[i // len(COLORS) % len(DASHES)],
        "shade": 0.15 if curves < 3 else 0.07,  # more bands on top of each other turn to mud
    }


def dress(ax: "Axes", samples: Sequence[Sample], *, delta: bool, limit: float) -> None:
    """Set limits, ticks, grid and, on an axis of errors, the line at chance."""
    from matplotlib.ticker import MaxNLocator

    ax.set_xlim(left_end(samples, delta=delta, limit=limit), limit)
    # 4 points are to be read off
    steps = [1, 2, 4, 10] if samples[0].unit == "percent" else [1, 2, 2.5, 5, 10]
    ax.xaxis.set_major_locator(MaxNLocator(5, steps=steps))
    ax.set_xlabel(axis_label(samples, delta=delta))
    ax.set_ylim(0.0, 1.015)
    ax.set_yticks(np.linspace(0.0, 1.0, 6))
    hide_frame(ax)
    for chance in () if delta else {s.chance for s in samples if s.chance is not None}:
        ax.axvline(chance, color=TEXT_GREY, linestyle=":", linewidth=1)
        ax.annotate(
            "chance",
            (chance, 0),
            (-3, 4),
            textcoords="offset points",
            color=TEXT_GREY,
            rotation=90,
            ha="right",
            va="bottom",
            fontsize="small",
            annotation_clip=True,
        )


def hide_frame(ax: "Axes") -> None:
    """Draw a light grid behind everything, and no frame."""
    ax.grid(color="0.92", linewidth=0.8)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)


def finish(ax: "Axes", notes: Sequence[str], columns: int = 2) -> None:
    """Add grid, legend and small print under it."""
    hide_frame(ax)
    small_print(ax, legend_below(ax, columns=columns), [note for note in notes if note])


def legend_below(ax: "Axes", *, columns: int = 1) -> "Legend":
    """Put the legend under the label of the x axis, where it can hide no curve."""
    from matplotlib.transforms import ScaledTranslation

    figure = ax.get_figure(root=True)
    assert figure is not None
    down = ScaledTranslation(0, -38 / 72, figure.dpi_scale_trans)
    return ax.legend(
        loc="upper left",
        bbox_to_anchor=(0, 0),
        bbox_transform=ax.transAxes + down,
        fontsize="small",
        frameon=False,
        borderaxespad=0,
        borderpad=0,
        handlelength=1.6,
        ncols=columns,
    )


def small_print(ax: "Axes", legend: "Legend", notes: Sequence[str]) -> None:
    """Write what was assumed under the legend, in lines as wide as the axes."""
    ax.annotate(
        "\n".join(line for note in notes for line in wrap(note, characters_across(ax))),
        (0, 0),
        (0, -6),
        xycoords=legend,
        textcoords="offset points",
        va="top",
        fontsize="small",
        color=TEXT_GREY,
    )


def characters_across(ax: "Axes") -> int:
    """How many characters of small print fit under the axes."""
    figure = ax.get_figure(root=True)
    assert figure is not None
    return max(30, int(15 * ax.get_window_extent().width / figure.dpi))


def new_axes() -> "Axes":
    """Make the axes of a new figure."""
    import matplotlib.pyplot as plt  # a figure that a notebook shows by itself

    return plt.subplots(layout="constrained")[1]


def _jumps(edfs: Sequence[EDF], span: tuple[float, float] | None) -> FloatArray:
    """Every x at which one of the curves jumps, within the span, and the ends of the span."""
    x = np.unique(np.concatenate([edf.x[np.isfinite(edf.x)] for edf in edfs]))
    left, right = span or (min([0.0, *x]), max([0.0, *x]))
    return np.unique(np.concatenate(([left], x[(x > left) & (x < right)], [right])))
