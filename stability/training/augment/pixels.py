"""Operations on whole batches of images, each image with its own strength.

Images are (n, C, H, W) float32 that hold whole numbers from 0 to 255, C is 1 or 3; a strength is
(n,). Each gives what Pillow gives for the same image as bytes, to one level at most where Pillow
rounds in whole numbers (tests/stability/training/augment/test_pixels.py).
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

FILL = 128.0
"""What lies outside the image."""
LUMA = (19595, 38470, 7471)
"""ITU-R 601 weights of red, green and blue, times 2^16, as Pillow has them."""


def autocontrast(images: Tensor, strength: Tensor) -> Tensor:
    """Stretch each channel to the full range; a channel of one level stays."""
    low, high = images.amin((2, 3), keepdim=True), images.amax((2, 3), keepdim=True)
    stretched = torch.floor((images - low) * 255 / (high - low).clamp(min=1) + 1e-3)
    return torch.where(high > low, stretched, images)


def equalize(images: Tensor, strength: Tensor) -> Tensor:
    """Spread each channel's levels so that about equally many pixels have each.

    As Pillow: a level becomes the number of pixels below it, over the pixels (without those of the
    highest level) that make a 255th; a channel too even or of one level stays.
    """
    n, c, h, w = images.shape
    levels = images.long().reshape(n * c, h * w)
    counts = torch.zeros(n * c, 256, dtype=torch.long, device=images.device)
    counts.scatter_add_(1, levels, torch.ones_like(levels))
    step = (h * w - counts.gather(1, levels.amax(1, keepdim=True))) // 255
    below = counts.cumsum(1) - counts
    table = (step // 2 + below) // step.clamp(min=1)
    found = table.gather(1, levels).clamp(max=255)
    return torch.where(step > 0, found, levels).reshape(images.shape).to(images.dtype)


def invert(images: Tensor, strength: Tensor) -> Tensor:
    """The negative."""
    return 255 - images


def posterize(images: Tensor, strength: Tensor) -> Tensor:
    """Keep the highest bits: int(strength), at least one (pycls' POSTERIZE_MIN)."""
    size = torch.exp2(8 - strength.floor().clamp(min=1))[:, None, None, None]
    return torch.floor(images / size) * size


def solarize(images: Tensor, strength: Tensor) -> Tensor:
    """The negative of the levels from int(strength) on."""
    limit = strength.floor()[:, None, None, None]
    return torch.where(images < limit, images, 255 - images)


def solarize_add(images: Tensor, strength: Tensor) -> Tensor:
    """Add the strength to the levels below 128."""
    added = (images + strength.round()[:, None, None, None]).clamp(max=255)
    return torch.where(images < 128, added, images)


def color(images: Tensor, strength: Tensor) -> Tensor:
    """Between grey (0), the image (1) and beyond; a grey image stays."""
    if images.shape[1] == 1:
        return images
    red, green, blue = (images[:, i, None].double() for i in range(3))
    weighted = LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue  # of whole numbers, so exact
    grey = torch.floor((weighted + 2**15) / 2**16).float()
    blended = grey + strength[:, None, None, None] * (images - grey)
    return torch.floor(blended.clamp(0, 255))


def shear_x(images: Tensor, strength: Tensor) -> Tensor:
    """Pixel (x, y) is taken from (x + strength * y, y), from the upper left corner."""
    return _warp(images, _rows(strength, (1, strength, 0, 0, 1, 0)))


def shear_y(images: Tensor, strength: Tensor) -> Tensor:
    """Pixel (x, y) is taken from (x, y + strength * x)."""
    return _warp(images, _rows(strength, (1, 0, 0, strength, 1, 0)))


def translate_y(images: Tensor, strength: Tensor) -> Tensor:
    """Pixel (x, y) is taken from (x, y + strength * H)."""
    return _warp(images, _rows(strength, (1, 0, 0, 0, 1, strength * images.shape[2])))


def rotate(images: Tensor, strength: Tensor) -> Tensor:
    """By `strength` degrees, against the clock, about the centre."""
    angle = torch.deg2rad(-strength)
    cos, sin = torch.cos(angle), torch.sin(angle)
    x, y = images.shape[3] / 2, images.shape[2] / 2
    matrix = (cos, sin, x - cos * x - sin * y, -sin, cos, y + sin * x - cos * y)
    return _warp(images, _rows(strength, matrix))


OPERATIONS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "autocontrast": autocontrast,
    "color": color,
    "equalize": equalize,
    "invert": invert,
    "posterize": posterize,
    "rotate": rotate,
    "shear_x": shear_x,
    "shear_y": shear_y,
    "solarize": solarize,
    "solarize_add": solarize_add,
    "translate_y": translate_y,
}
"""Those that the policy of `autoaugment` uses."""


def _rows(like: Tensor, entries: tuple[Tensor | float, ...]) -> Tensor:
    """(n, 6): a, b, c, d, e, f of each image."""
    columns = (e if isinstance(e, Tensor) else torch.full_like(like, e) for e in entries)
    return torch.stack(list(columns), dim=1)


def _warp(images: Tensor, matrix: Tensor) -> Tensor:
    """Pixel (x, y) of the result is taken, bilinearly, from (ax + by + c, dx + ey + f).

    Coordinates run from 0 to the width, pixel centres are at half-integers; within half a pixel of
    the edge the edge's level holds, further out grey.
    """
    h, w = images.shape[2:]
    x = torch.arange(w, device=images.device) + 0.5
    y = (torch.arange(h, device=images.device) + 0.5)[:, None]
    a, b, c, d, e, f = (matrix[:, i, None, None] for i in range(6))
    u, v = a * x + b * y + c, d * x + e * y + f  # (n, H, W)
    grid = torch.stack([2 * u / w - 1, 2 * v / h - 1], dim=3)
    found = F.grid_sample(images, grid, padding_mode="border", align_corners=False)
    inside = ((u >= 0) & (u < w) & (v >= 0) & (v < h))[:, None]
    # Pillow cuts the fraction off; the thousandth is for what float32 loses.
    return torch.where(inside, torch.floor(found + 1e-3), FILL)
