"""AutoAugment: the policy found on ImageNet (Cubuk et al. 2019, arXiv 1805.09501), for batches.

The table is "policy v0" as the reference study's code has it (pycls `augment.py`, with its ranges
of strength and its smallest number of bits); the numbers of the paper's Table 9 differ slightly.
"""

import torch
from torch import Tensor

from stability.training.augment.pixels import OPERATIONS
from stability.training.tensors import to_device

STRENGTHS: dict[str, tuple[float, float, bool]] = {
    "autocontrast": (0, 1, False),
    "color": (0.1, 1.9, False),
    "equalize": (0, 1, False),
    "invert": (0, 1, False),
    "posterize": (0, 4, False),
    "rotate": (0, 30, True),
    "shear_x": (0, 0.3, True),
    "shear_y": (0, 0.3, True),
    "solarize": (0, 256, False),
    "solarize_add": (0, 110, False),
    "translate_y": (0, 0.45, True),
}
"""Strength at magnitude 0 and 10, and whether its sign is drawn."""

Step = tuple[str, float, int]
"""Operation, probability, magnitude from 0 to 10."""

POLICY: tuple[tuple[Step, Step], ...] = (
    (("equalize", 0.8, 1), ("shear_y", 0.8, 4)),
    (("color", 0.4, 9), ("equalize", 0.6, 3)),
    (("color", 0.4, 1), ("rotate", 0.6, 8)),
    (("solarize", 0.8, 3), ("equalize", 0.4, 7)),
    (("solarize", 0.4, 2), ("solarize", 0.6, 2)),
    (("color", 0.2, 0), ("equalize", 0.8, 8)),
    (("equalize", 0.4, 8), ("solarize_add", 0.8, 3)),
    (("shear_x", 0.2, 9), ("rotate", 0.6, 8)),
    (("color", 0.6, 1), ("equalize", 1.0, 2)),
    (("invert", 0.4, 9), ("rotate", 0.6, 0)),
    (("equalize", 1.0, 9), ("shear_y", 0.6, 3)),
    (("color", 0.4, 7), ("equalize", 0.6, 0)),
    (("posterize", 0.4, 6), ("autocontrast", 0.4, 7)),
    (("solarize", 0.6, 8), ("color", 0.6, 9)),
    (("solarize", 0.2, 4), ("rotate", 0.8, 9)),
    (("rotate", 1.0, 7), ("translate_y", 0.8, 9)),
    (("shear_x", 0.0, 0), ("solarize", 0.8, 4)),
    (("shear_y", 0.8, 0), ("color", 0.6, 4)),
    (("color", 1.0, 0), ("rotate", 0.6, 2)),
    (("equalize", 0.8, 4), ("equalize", 0.0, 8)),
    (("equalize", 1.0, 4), ("autocontrast", 0.6, 2)),
    (("shear_y", 0.4, 7), ("solarize_add", 0.6, 7)),
    (("posterize", 0.8, 2), ("solarize", 0.6, 10)),
    (("solarize", 0.6, 8), ("equalize", 0.6, 1)),
    (("color", 0.8, 6), ("rotate", 0.4, 5)),
)
OPERATION_NAMES = tuple(OPERATIONS)


def autoaugment(images: Tensor, generator: torch.Generator) -> Tensor:
    """Each image through the two steps of one of the 25 pairs, drawn for it.

    Args:
        images: (B, C, H, W) float32 of whole numbers from 0 to 255, C 1 or 3; not changed.
        generator: on the CPU. What is done to which image is known there, so that a device is
            never waited for.
    """
    images = images.clone()
    pairs = torch.randint(len(POLICY), (len(images),), generator=generator)
    for place in (0, 1):
        operations, strengths = draw_operations(pairs, place, generator)
        for number, name in enumerate(OPERATION_NAMES):
            rows = torch.nonzero(operations == number)[:, 0]
            if len(rows):
                strength = to_device(strengths[rows], images.device)
                rows = to_device(rows, images.device)
                images[rows] = OPERATIONS[name](images[rows], strength)
    return images


def draw_operations(pairs: Tensor, place: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """(number of the operation, -1 for none; strength) of each image, in one of the two steps."""
    steps = [pair[place] for pair in POLICY]
    numbers = torch.tensor([OPERATION_NAMES.index(name) for name, _, _ in steps])[pairs]
    chances = torch.tensor([chance for _, chance, _ in steps])[pairs]
    strengths = torch.tensor([strength_of(name, magnitude) for name, _, magnitude in steps])[pairs]
    signed = torch.tensor([STRENGTHS[name][2] for name, _, _ in steps])[pairs]
    luck, sign = torch.rand(2, len(pairs), generator=generator)
    strengths = torch.where(signed & (sign < 0.5), -strengths, strengths)
    return torch.where(luck < chances, numbers, -1), strengths


def strength_of(name: str, magnitude: int) -> float:
    """Strength of an operation at a magnitude from 0 to 10.

    >>> strength_of("rotate", 8), strength_of("solarize", 10)
    (24.0, 256.0)
    """
    low, high, _ = STRENGTHS[name]
    return low + magnitude / 10 * (high - low)
