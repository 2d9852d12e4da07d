"""The rows of `benchmarks.scale` as JSON, as a picture, and as a table that a person reads.

python -m benchmarks.scale_page: makes picture and table again from benchmarks/scale.json.
"""

import json
from math import ceil, floor, log10
from pathlib import Path
from typing import Any, NamedTuple

Found = dict[str, Any]


class Aim(NamedTuple):
    """What a step may cost at 100,000 trials."""

    title: str
    limit: float
    unit: str
    scale: float
    """From what was measured to the unit."""
    is_each: bool
    """Whether it is of one trial: then it should not grow; of all, then it should grow linearly."""


AIMS = {
    "design.seconds": Aim("draw and write the design", 10.0, "s", 1.0, False),
    "collect.seconds": Aim("collect the results", 5.0, "s", 1.0, False),
    "collect.peak_mb": Aim("memory of collecting, peak", 1000.0, "MB", 1.0, False),
    "status.seconds": Aim("stability status", 2.0, "s", 1.0, False),
    "drive.each": Aim("driver, a trial, processor", 5.0, "ms", 1e3, True),
}
NONE = float("inf")
SHOWN = {
    "design.seconds": AIMS["design.seconds"],
    "design.cpu": Aim("the same, processor", NONE, "s", 1.0, False),
    "collect.seconds": AIMS["collect.seconds"],
    "collect.cpu": Aim("the same, processor", NONE, "s", 1.0, False),
    "collect.peak_mb": AIMS["collect.peak_mb"],
    "status.seconds": AIMS["status.seconds"],
    "status.cpu": Aim("the same, processor", NONE, "s", 1.0, False),
    "drive.each": AIMS["drive.each"],
    "work.each": Aim("worker, a trial", NONE, "ms", 1e3, True),
    "work.each_cpu": Aim("the same, processor", NONE, "ms", 1e3, True),
    "work.begin": Aim("worker, its beginning", NONE, "s", 1.0, False),
}


def value(row: Found, key: str) -> float:
    """A number of a row, in the unit of its aim."""
    step, _, name = key.partition(".")
    return float(row[step][name]) * SHOWN[key].scale


def write_page(found: Found, root: Path) -> None:
    """benchmarks/scale.json, docs/scale.png, and the table and machine of docs/scale.md."""
    (root / "benchmarks" / "scale.json").write_text(json.dumps(found, indent=1) + "\n")
    draw(found, root / "docs" / "scale.png")
    page = root / "docs" / "scale.md"
    text = page.read_text(encoding="utf-8")
    for name, content in (("machine", measured_on(found)), ("table", table(found))):
        text = filled(text, name, content)
    page.write_text(text, encoding="utf-8")


def filled(text: str, name: str, content: str) -> str:
    """`text` with `content` between the two marks of this name."""
    marks = f"<!-- {name} -->\n", f"\n<!-- end of {name} -->"
    before, _, rest = text.partition(marks[0])
    return f"{before}{marks[0]}{content}{marks[1]}{rest.partition(marks[1].lstrip())[2]}"


def measured_on(found: Found) -> str:
    """Machine and time, and the sweep from nothing, in a few sentences."""
    whole = found["whole"]
    each = 1e3 * whole["wall"] / whole["trials"]
    many = found["many"]
    return (
        f"Measured on {found['machine']}, once each, in {found['seconds']:.0f} s.\n\n"
        f"A sweep of {whole['trials']:,.0f} trials from nothing by two workers takes "
        f"{whole['wall']:.0f} s, {each:.1f} ms a trial;\nits driver "
        f"{1e3 * whole['each']:.2f} ms of a processor a trial.\n\n"
        f"The command `stability sweep` for {many['trials']:.0f} trials of 1 ms each, by "
        f"{many['workers']:.0f} workers: {many['seconds']:.0f} s\n"
        f"on the wall (n = 1, with a load of {many['load']:.1f} from other processes),\n"
        f"{many['cpu']:.0f} s of processor time."
    )


def table(found: Found) -> str:
    """A row per step, a column per number of trials."""
    rows = found["rows"]
    lines = [
        "| | " + " | ".join(f"{row['trials']:,}" for row in rows) + " | aim |",
        "|---|" + "---|" * (len(rows) + 1),
    ]
    for key, aim in SHOWN.items():
        cells = [f"{value(row, key):.3g}" for row in rows]
        limit = f"{aim.limit:g}" if aim.limit < NONE else ""
        lines.append(f"| {aim.title}, {aim.unit} | " + " | ".join([*cells, limit]) + " |")
    return "\n".join(lines)


PANELS = (
    ("design.seconds", "design.cpu"),
    ("collect.seconds", "collect.cpu"),
    ("collect.peak_mb",),
    ("status.seconds", "status.cpu"),
    ("drive.each",),
    ("work.each", "work.each_cpu"),
)


def draw(found: Found, target: Path) -> None:
    """A panel per step over the number of trials, both axes logarithmic, with its aim."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 6), layout="constrained")
    FigureCanvasAgg(figure)
    sizes = [row["trials"] for row in found["rows"]]
    for axes, keys in zip(figure.subplots(2, 3).flat, PANELS, strict=True):
        aim = SHOWN[keys[0]]
        lines = {key: [value(row, key) for row in found["rows"]] for key in keys}
        for key, color in zip(keys, ("C0", "C1"), strict=False):
            label = "processor" if key.endswith("cpu") else "measured"
            axes.loglog(sizes, lines[key], "o-", color=color, markersize=4, label=label)
        if not aim.is_each:
            last = lines[keys[-1]][-1]
            linear = [last * size / sizes[-1] for size in sizes]
            axes.loglog(sizes, linear, ":", color="0.5", label="linear through the last")
        if aim.limit < NONE:
            axes.axhline(aim.limit, color="C3", linestyle="--", linewidth=1, label="aim at 100,000")
        values = [v for line in lines.values() for v in line]
        values += [aim.limit] if aim.limit < NONE else []
        # Whole decades, so that there are numbers to read.
        axes.set_ylim(10 ** floor(log10(min(values))), 10 ** ceil(log10(1.2 * max(values))))
        axes.yaxis.set_major_formatter("{x:,g}")
        axes.xaxis.set_major_formatter("{x:,.0f}")
        axes.set_title(aim.title, fontsize=10, loc="left")
        axes.set_ylabel(aim.unit)
        axes.set_xlabel("trials")
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
    figure.savefig(target, dpi=110)


if __name__ == "__main__":
    root = Path(__file__).parent.parent
    write_page(json.loads((root / "benchmarks" / "scale.json").read_text()), root)
