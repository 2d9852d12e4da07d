"""A contact sheet: what a network is given to look at, a row for each class."""

from typing import TYPE_CHECKING

import numpy as np

from stability.data.images import ImageData, Part

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ROWS, COLUMNS = 20, 10
CELL = 0.62  # inches of a side
DOTS = 93  # on a side at 150 an inch; a larger image is made smaller
NAME_LENGTH = 24


def contact_sheet(data: ImageData) -> "Figure":
    """The first training images of each class, as many as fit; at most `ROWS` classes."""
    from matplotlib.figure import Figure

    shown = data.classes[:ROWS]
    longest = max(len(name[:NAME_LENGTH]) for name in shown)
    width = CELL * COLUMNS + 0.085 * longest + 0.3
    figure = Figure(figsize=(max(width, 6.5), CELL * len(shown) + 0.9), dpi=150)
    ax = figure.subplots()
    figure.subplots_adjust(
        left=(0.085 * longest + 0.2) / figure.get_figwidth(),
        right=1 - 0.1 / figure.get_figwidth(),
        top=1 - 0.6 / figure.get_figheight(),
        bottom=0.3 / figure.get_figheight(),
    )
    show_rows(ax, data.train, shown)
    parts = f"{len(data.train):,} + {len(data.validation):,} + {len(data.test):,} images"
    channels, height, side = data.shape
    more = f", {ROWS} shown" if len(data.classes) > ROWS else ""
    ax.set_title(
        f"{data.name}: {len(data.classes)} classes{more}\n{parts} of {channels}x{height}x{side}",
        loc="left",
        fontsize="medium",
    )
    ax.set_xlabel("first training images of each class", loc="left", fontsize="small")
    return figure


def show_rows(ax: "Axes", part: Part, classes: tuple[str, ...]) -> None:
    """Put the images of each class beside its name."""
    _, channels, height, side = part.images.shape
    gap = max(1, side // 16)
    canvas = np.full(
        (len(classes) * (height + gap), COLUMNS * (side + gap), channels), 255, np.uint8
    )
    for row in range(len(classes)):
        members = np.flatnonzero(part.labels == row)[:COLUMNS]
        for column, image in enumerate(part.images[members]):
            top, left = row * (height + gap), column * (side + gap)
            canvas[top : top + height, left : left + side] = image.transpose(1, 2, 0)
    ax.imshow(
        canvas.squeeze(axis=2) if channels == 1 else canvas,
        cmap="gray",
        vmin=0,
        vmax=255,
        interpolation="nearest" if side < DOTS else "antialiased",
        aspect="equal",
    )
    ax.set_yticks(
        np.arange(len(classes)) * (height + gap) + height / 2,
        [axis_label(name) for name in classes],
        fontsize="small",
    )
    ax.set_xticks([])
    ax.tick_params(length=0)
    ax.set_frame_on(False)


def axis_label(name: str) -> str:
    """A class's name that leaves room for its images; never read as mathematics."""
    text = name if len(name) <= NAME_LENGTH else f"{name[: NAME_LENGTH - 1]}…"
    return text.replace("$", r"\$")
