"""What a step trains on: rows of the training part, augmented on its device as one tensor."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from stability.training.augment.autoaugment import autoaugment
from stability.training.augment.crops import mirrored, padded_crops, resized_crops
from stability.training.augment.mixing import mixed
from stability.training.settings import Recipe
from stability.training.tensors import TensorPart


@dataclass(frozen=True)
class Streams:
    """Random generators of a training, on the CPU: one a purpose, so that none shifts another."""

    weights: torch.Generator
    order: torch.Generator
    """Order of the images."""
    images: torch.Generator
    """Crops, mirrored images, AutoAugment."""
    mixing: torch.Generator
    statistics: torch.Generator
    """Which images BatchNorm's precise statistics are of, and their augmentation."""

    @classmethod
    def of(cls, seed: int) -> "Streams":
        """The generators of a trial's seed."""
        children = np.random.SeedSequence(seed).generate_state(5, np.uint64)
        return cls(*(torch.Generator().manual_seed(int(child)) for child in children))

    def state(self) -> dict[str, Tensor]:
        """State of each generator: the position in the data, and in all else that is random."""
        return {name: generator.get_state() for name, generator in vars(self).items()}

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Continue from the result of `state()`."""
        for name, generator in vars(self).items():
            generator.set_state(state[name])


def mixes(recipe: Recipe) -> bool:
    """Whether images are mixed with each other."""
    return recipe.mixup is not None or recipe.cutmix is not None


def augmented(images: Tensor, recipe: Recipe, fill: Tensor, generator: torch.Generator) -> Tensor:
    """Crop, mirror, AutoAugment, in this order (pycls): (B, C, H, W) of levels 0 to 255.

    `fill` (C, 1, 1) is the colour of a padded border.
    """
    if recipe.crop_area is not None:
        images = resized_crops(images, recipe.crop_area, generator, recipe.revision)
    elif recipe.crop_padding > 0:
        border = recipe.crop_padding, fill.round()
        images = padded_crops(images, *border, generator, recipe.revision)
    if recipe.flip > 0:
        images = mirrored(images, recipe.flip, generator)
    return autoaugment(images, generator) if recipe.autoaugment else images


def inputs(
    part: TensorPart, rows: Tensor, recipe: Recipe, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Standardised images (B, C, H, W), augmented, and labels (B,) of these rows."""
    levels = augmented(part.images[rows].float(), recipe, part.mean, generator)
    return part.standardised(levels), part.labels[rows]


def training_batch(
    part: TensorPart, rows: Tensor, classes: int, recipe: Recipe, streams: Streams
) -> tuple[Tensor, Tensor]:
    """As `inputs`; if the recipe mixes, mixed images and targets (B, classes)."""
    images, labels = inputs(part, rows, recipe, streams.images)
    if mixes(recipe):
        return mixed(images, labels, classes, recipe, streams.mixing)
    return images, labels
