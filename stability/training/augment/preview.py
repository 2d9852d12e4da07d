"""What augmentation does to images, as arrays to be drawn."""

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from stability.data import ImageData
from stability.training.augment.batches import Streams, augmented, mixes
from stability.training.augment.mixing import mixed
from stability.training.settings import Recipe

IMAGES, DRAWS = 6, 3
SEED = 1

PreviewRow = tuple[str, NDArray[np.uint8]]
"""What was done, and images (n, H, W, C)."""


def augmentation_rows(settings: dict[str, Any], data: ImageData) -> list[PreviewRow]:
    """Six training images as they are, after each part of the augmentation alone, after all.

    `settings`: of a recipe. Mixing pairs the six images among themselves.
    """
    recipe = Recipe(lr=1.0, weight_decay=0.0, **settings)
    off = replace(
        recipe, crop_area=None, crop_padding=0, flip=0.0, autoaugment=False, mixup=None, cutmix=None
    )
    rows: list[PreviewRow] = [("as they are", _changed(off, data, 0))]
    alone: dict[str, dict[str, Any]] = {
        f"box of {recipe.crop_area or 0:g} to 1 of the area": {"crop_area": recipe.crop_area},
        f"padded by {recipe.crop_padding}, cropped": {"crop_padding": recipe.crop_padding},
        f"mirrored, probability {recipe.flip:g}": {"flip": recipe.flip},
        "AutoAugment": {"autoaugment": recipe.autoaugment},
        f"mixup, Beta({recipe.mixup})": {"mixup": recipe.mixup},
        f"CutMix, Beta({recipe.cutmix})": {"cutmix": recipe.cutmix},
    }
    for label, part in alone.items():
        if any(part.values()):
            rows.append((label, _changed(replace(off, **part), data, 1)))
    together = "all together" if len(rows) > 2 else "once more"
    if len(rows) > 1:
        rows += [(f"{together}, draw {i + 1}", _changed(recipe, data, 2 + i)) for i in range(DRAWS)]
    return rows


def _changed(recipe: Recipe, data: ImageData, draw: int) -> NDArray[np.uint8]:
    """The first image of each of the first classes, in bytes."""
    streams = Streams.of(SEED + draw)
    first = [int(np.flatnonzero(data.train.labels == k)[0]) for k in range(len(data.classes))]
    chosen = first[:IMAGES]
    images = torch.from_numpy(data.train.images[chosen]).float()
    fill = torch.from_numpy(data.mean)[:, None, None]
    images = augmented(images, recipe, fill, streams.images)
    if mixes(recipe):
        labels = torch.from_numpy(data.train.labels[chosen])
        images, _ = mixed(images, labels, len(data.classes), recipe, streams.mixing)
    pixels = images.round().clamp(0, 255).byte().permute(0, 2, 3, 1)
    return pixels.numpy()
