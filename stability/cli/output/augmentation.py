"""A picture of what a recipe's augmentation does to a data set."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis.figures.style import own_style, save
from stability.data import ImageData
from stability.training.augment.preview import augmentation_rows
from stability.training.recipes import RECIPES
from stability.training.settings import REVISION
from sweeps.errors import SpecError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

IMAGE_INCHES = 0.9  # of an image's side
LABEL_INCHES = 2.3  # inches, left of the images


def draw_augmentation(name: str, data: ImageData, path: Path) -> None:
    """Write a row of images for each part of the augmentation, and three for all together.

    Raises SpecError where the recipe changes no image, or the file cannot be written.
    """
    rows = augmentation_rows({**RECIPES[name].settings, "revision": REVISION}, data)
    if len(rows) == 1:
        raise SpecError(
            [f"--output: the recipe {name} does nothing to images, there is no picture"]
        )
    with own_style():
        figure = figure_of(name, data, rows)
    try:
        save(figure, path)
    except OSError as error:
        raise SpecError([f"--output: {path} cannot be written: {error.strerror}"]) from error


def figure_of(name: str, data: ImageData, rows: list[tuple[str, Any]]) -> "Figure":
    """A row of images for each of `rows`, with its label."""
    from matplotlib.figure import Figure

    columns = len(rows[0][1])
    figure = Figure(
        figsize=(LABEL_INCHES + IMAGE_INCHES * columns, IMAGE_INCHES * len(rows) + 0.4), dpi=150
    )
    left, top = LABEL_INCHES / figure.get_figwidth(), 1 - 0.4 / figure.get_figheight()
    grid = figure.subplots(
        len(rows),
        columns,
        gridspec_kw={"left": left, "right": 0.99, "top": top, "bottom": 0.01, "wspace": 0.05},
        squeeze=False,
    )
    for axes, (label, images) in zip(grid, rows, strict=True):
        axes[0].set_ylabel(label, rotation=0, ha="right", va="center", labelpad=8)
        for ax, image in zip(axes, images, strict=True):
            grey = image.shape[2] == 1
            ax.imshow(image[..., 0] if grey else image, cmap="grey", vmin=0, vmax=255)
            ax.set(xticks=[], yticks=[])
    figure.suptitle(
        f"Augmentation of {data.name} by the recipe {name}", y=1 - 0.1 / (0.4 + len(rows))
    )
    return figure
