"""Random crops and mirrored images, on whole batches."""

import torch
import torch.nn.functional as F
from torch import Tensor

from stability.training.tensors import to_device

TRIES = 10
"""Boxes that are drawn for an image until one fits into it."""
RATIO = 3 / 4
"""Smallest ratio of a box's sides."""


def mirrored(images: Tensor, probability: float, generator: torch.Generator) -> Tensor:
    """Each of (B, C, H, W) mirrored, left for right, with this probability."""
    chosen = mirrors(len(images), probability, generator)
    return mirrored_where(images, to_device(chosen, images.device))


def mirrors(n: int, probability: float, generator: torch.Generator) -> Tensor:
    """(n,): which of n images are mirrored."""
    return torch.rand(n, generator=generator) < probability


def mirrored_where(images: Tensor, chosen: Tensor) -> Tensor:
    """The chosen (B,) of (B, C, H, W) mirrored."""
    return torch.where(chosen[:, None, None, None], images.flip(3), images)


def padded_crops(
    images: Tensor, padding: int, fill: Tensor, generator: torch.Generator, revision: int = 2
) -> Tensor:
    """A window of the image's size out of the image with a border of `padding` pixels.

    `fill` (C, 1, 1) is the border's colour. `revision`: of `corners`.
    """
    places = to_device(corners(len(images), padding, generator, revision), images.device)
    return cropped_at(images, padding, fill, places)


def corners(n: int, padding: int, generator: torch.Generator, revision: int = 2) -> Tensor:
    """(2, n, 1): top and left of each window, in pixels of the image with its border.

    Each place from 0 to 2 * padding - 1 is equally likely. The last one, 2 * padding, is never
    drawn, as in pycls (`transforms.py`, `random_crop`); in revision 1 it was.
    """
    places = 2 * padding + (revision == 1)
    return torch.randint(places, (2, n, 1), generator=generator)


def cropped_at(images: Tensor, padding: int, fill: Tensor, corners: Tensor) -> Tensor:
    """The windows with these `corners`, which lie on the device of the images."""
    b, c, h, w = images.shape
    framed = fill.expand(b, c, h + 2 * padding, w + 2 * padding).clone()
    framed[:, :, padding : padding + h, padding : padding + w] = images
    rows = corners[0] + torch.arange(h, device=images.device)  # (B, H)
    columns = corners[1] + torch.arange(w, device=images.device)
    batch = torch.arange(b, device=images.device)[:, None, None]
    # Indices beside a slice come first: (B, H, W, C).
    return framed[batch, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2).contiguous()


def resized_crops(
    images: Tensor, smallest: float, generator: torch.Generator, revision: int = 2
) -> Tensor:
    """A random box of each image, enlarged bilinearly to the image's size.

    Its share of the area is uniform on `smallest` to 1 (0.08 in Szegedy et al. 2015,
    arXiv 1409.4842). Levels are rounded to whole numbers. `revision`: of `boxes`.
    """
    b, _, h, w = images.shape
    drawn = boxes(b, h, w, smallest, generator, revision)
    top, left, height, width = to_device(drawn, images.device).unbind(1)
    v = _places(top, height, h)  # (B, H), in pixels of the image
    u = _places(left, width, w)
    grid = torch.stack(
        [
            (2 * (u + 0.5) / w - 1)[:, None, :].expand(b, h, w),
            (2 * (v + 0.5) / h - 1)[:, :, None].expand(b, h, w),
        ],
        dim=3,
    )
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False).round()


def boxes(
    n: int, h: int, w: int, smallest: float, generator: torch.Generator, revision: int = 2
) -> Tensor:
    """(n, 4) top, left, height and width, in pixels, of boxes in images of h x w.

    Area uniform on `smallest` to 1 of the image's, ratio of the sides uniform on 3/4 to 4/3,
    turned on its side in half of the cases; the first of ten that fits, the whole image where none
    does (pycls `transforms.py`). A box that is smaller than the image by k pixels starts at 0 to
    k - 1 with equal probability: the last place, k, is never drawn, as in pycls
    (`random_sized_crop`). In revision 1 it was.
    """
    area = _uniform((n, TRIES), smallest, 1.0, generator) * h * w
    ratio = _uniform((n, TRIES), RATIO, 1 / RATIO, generator)
    ratio = torch.where(torch.rand(n, TRIES, generator=generator) < 0.5, ratio, 1 / ratio)
    widths, heights = (area * ratio).sqrt().round(), (area / ratio).sqrt().round()
    fits = (widths <= w) & (heights <= h) & (widths > 0) & (heights > 0)
    first = fits.int().argmax(1, keepdim=True)  # 0 where none fits
    none = ~fits.any(1)
    width = widths.gather(1, first)[:, 0].masked_fill(none, w)
    height = heights.gather(1, first)[:, 0].masked_fill(none, h)
    luck = torch.rand(2, n, dtype=torch.float64, generator=generator)
    last = int(revision == 1)
    top = (luck[0] * (h - height + last).clamp(min=1)).floor()
    left = (luck[1] * (w - width + last).clamp(min=1)).floor()
    return torch.stack([top.float(), left.float(), height, width], dim=1)


def _uniform(shape: tuple[int, ...], low: float, high: float, generator: torch.Generator) -> Tensor:
    return low + (high - low) * torch.rand(shape, generator=generator)


def _places(start: Tensor, length: Tensor, size: int) -> Tensor:
    """(B, size): where the centres of `size` pixels lie in a box, never outside its own pixels."""
    steps = (torch.arange(size, device=start.device) + 0.5) * (length / size)[:, None] - 0.5
    return start[:, None] + steps.clamp(min=0).minimum(length[:, None] - 1)
