"""Mixup and CutMix: two images in one, and a target that says how much of each."""

import math

import torch
from torch import Tensor

from stability.training.settings import Recipe
from stability.training.tensors import to_device


def mixed(
    images: Tensor, labels: Tensor, classes: int, recipe: Recipe, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """The batch with each image mixed with another of it, and the targets (B, classes).

    One share, and one of mixup and CutMix where the recipe has both, for the whole batch (pycls
    `mixup.py`). A target is the share of each of the two classes; it sums to 1.
    """
    is_cut = recipe.mixup is None
    if recipe.mixup is not None and recipe.cutmix is not None:
        is_cut = bool(torch.rand((), generator=generator) < 0.5)
    alpha = recipe.cutmix if is_cut else recipe.mixup
    assert alpha is not None  # by the caller: one of the two is on
    share = beta(alpha, generator)
    others = to_device(torch.randperm(len(images), generator=generator), images.device)
    if is_cut:
        _, _, height, width = images.shape
        top, bottom, left, right = box(height, width, share, generator, recipe.revision)
        images = images.clone()
        images[:, :, top:bottom, left:right] = images[others, :, top:bottom, left:right]
        share = 1 - (bottom - top) * (right - left) / (height * width)
    else:
        images = share * images + (1 - share) * images[others]
    is_class = labels[:, None] == torch.arange(classes, device=labels.device)
    targets = is_class.to(images.dtype)
    return images, share * targets + (1 - share) * targets[others]


def beta(alpha: float, generator: torch.Generator) -> float:
    """One number from Beta(alpha, alpha)."""
    both = torch.full((2,), alpha, dtype=torch.float64)
    return float(torch._sample_dirichlet(both, generator=generator)[0])


def box(
    height: int, width: int, share: float, generator: torch.Generator, revision: int = 2
) -> tuple[int, int, int, int]:
    """Top, bottom, left, right of CutMix's box: 1 - share of the area, less what lies outside.

    Its centre c is any pixel, so that a box at the edge is cut (Yun et al. 2019, arXiv 1905.04899,
    algorithm 1). A box of w pixels reaches from c - w // 2 to c + w // 2, as in pycls, so that an
    odd one loses a pixel. Revision 1 kept that pixel: to c - w // 2 + w.
    """
    h, w = (int(size * math.sqrt(1 - share)) for size in (height, width))
    y, x = (int(torch.randint(size, (), generator=generator)) for size in (height, width))
    top, left = y - h // 2, x - w // 2
    if revision >= 2:
        h, w = h // 2 * 2, w // 2 * 2
    ends = (top, height), (top + h, height), (left, width), (left + w, width)
    t, b, l, r = (min(max(end, 0), size) for end, size in ends)  # noqa: E741
    return t, b, l, r
