"""Each operation on a batch is Pillow's on each image; the policy is drawn as it says."""

from collections.abc import Callable
from itertools import chain

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps
from torch import Tensor

from stability.training.augment.autoaugment import (
    OPERATION_NAMES,
    POLICY,
    STRENGTHS,
    autoaugment,
    draw_operations,
    strength_of,
)
from stability.training.augment.pixels import OPERATIONS

GREY = (128, 128, 128)


def warped(image: Image.Image, matrix: tuple[float, ...]) -> Image.Image:
    fill = GREY if image.mode == "RGB" else GREY[0]
    return image.transform(
        image.size, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR, fillcolor=fill
    )


def rotated(image: Image.Image, degrees: float) -> Image.Image:
    fill = GREY if image.mode == "RGB" else GREY[0]
    return image.rotate(degrees, Image.Resampling.BILINEAR, fillcolor=fill)


PILLOW: dict[str, Callable[[Image.Image, float], Image.Image]] = {
    "autocontrast": lambda image, v: ImageOps.autocontrast(image),
    "color": lambda image, v: ImageEnhance.Color(image).enhance(v),
    "equalize": lambda image, v: ImageOps.equalize(image),
    "invert": lambda image, v: ImageOps.invert(image),
    "posterize": lambda image, v: ImageOps.posterize(image, max(1, int(v))),
    "rotate": rotated,
    "shear_x": lambda image, v: warped(image, (1, v, 0, 0, 1, 0)),
    "shear_y": lambda image, v: warped(image, (1, 0, 0, v, 1, 0)),
    "solarize": lambda image, v: image.point(lambda i: i if i < int(v) else 255 - i),
    "solarize_add": lambda image, v: image.point(lambda i: min(255, i + v) if i < 128 else i),
    "translate_y": lambda image, v: warped(image, (1, 0, 0, 0, 1, v * image.size[1])),
}
ROUNDED = {"autocontrast", "color", "rotate", "shear_x", "shear_y", "translate_y"}
"""Where Pillow rounds in whole numbers: one level of difference is allowed, in few pixels."""


def as_bytes(image: Tensor) -> Image.Image:
    pixels = image.byte().permute(1, 2, 0).numpy()
    return Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)


def as_levels(image: Image.Image) -> Tensor:
    pixels = torch.from_numpy(np.array(image)).float()
    return pixels[None] if pixels.ndim == 2 else pixels.permute(2, 0, 1)


def pictures(channels: int, h: int = 24, w: int = 32) -> Tensor:
    """Noise, a slope, few levels, a dark half, one level, two levels: (6, channels, h, w)."""
    g = torch.Generator().manual_seed(0)
    noise = torch.randint(0, 256, (channels, h, w), generator=g).float()
    slope = (torch.linspace(10, 200, h)[:, None] + torch.linspace(0, 50, w)).round()
    slope = slope.expand(channels, h, w).clone()
    few = torch.randint(0, 4, (channels, h, w), generator=g).float() * 60
    half = noise.clone()
    half[:, :, : w // 2] = 0
    flat = torch.full((channels, h, w), 77.0)
    two = flat.clone()
    two[:, 3, 5] = 180
    return torch.stack([noise, slope, few, half, flat, two])


def strengths(name: str) -> list[float]:
    """Every strength that the policy uses, with both signs where the sign is drawn."""
    used = sorted({step[2] for step in chain(*POLICY) if step[0] == name})
    values = [strength_of(name, magnitude) for magnitude in used]
    return values + [-v for v in values if STRENGTHS[name][2]]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", OPERATION_NAMES)
def test_operation_is_pillows(name: str, channels: int) -> None:
    """Equal to the level; where Pillow rounds, to one level and in 98% of the pixels equal."""
    images = pictures(channels)
    assert strengths(name)
    for v in strengths(name):
        found = OPERATIONS[name](images, torch.full((len(images),), v))
        expected = torch.stack([as_levels(PILLOW[name](as_bytes(i), v)) for i in images])
        apart = (found - expected).abs()
        assert apart.max() <= (name in ROUNDED), (v, apart.amax((1, 2, 3)))
        assert (apart > 0).float().mean() < 0.02, v


@pytest.mark.parametrize("name", OPERATION_NAMES)
def test_each_image_has_its_own_strength_and_none_touches_another(name: str) -> None:
    images = pictures(3)
    low, high = STRENGTHS[name][:2]
    each = torch.linspace(low, high, len(images))
    together = OPERATIONS[name](images, each)
    for i in range(len(images)):
        assert torch.equal(
            OPERATIONS[name](images[i : i + 1], each[i : i + 1]), together[i : i + 1]
        )
    assert torch.equal(images, pictures(3))


@pytest.mark.parametrize("name", OPERATION_NAMES)
def test_results_are_whole_levels(name: str) -> None:
    low, high = STRENGTHS[name][:2]
    found = OPERATIONS[name](pictures(3), torch.linspace(low, high, 6))
    assert torch.equal(found, found.round())
    assert found.min() >= 0
    assert found.max() <= 255


def test_the_policy_has_25_pairs_of_known_operations() -> None:
    assert len(POLICY) == 25
    assert (
        {name for name, _, _ in chain(*POLICY)}
        == set(OPERATION_NAMES)
        == set(STRENGTHS)
        == set(PILLOW)
    )
    assert all(0 <= chance <= 1 and 0 <= m <= 10 for _, chance, m in chain(*POLICY))


@pytest.mark.parametrize("place", [0, 1])
def test_steps_are_drawn_with_their_probability_and_either_sign(place: int) -> None:
    """4 standard deviations of a count: false in one of 15,000 seeds."""
    n = 4000
    for number, pair in enumerate(POLICY):
        name, chance, magnitude = pair[place]
        generator = torch.Generator().manual_seed(number)
        operations, values = draw_operations(torch.full((n,), number), place, generator)
        assert set(operations.tolist()) <= {-1, OPERATION_NAMES.index(name)}
        done = (operations >= 0).float().mean().item()
        assert abs(done - chance) <= 4 * (chance * (1 - chance) / n) ** 0.5
        strength = strength_of(name, magnitude)
        assert torch.allclose(values.abs(), torch.tensor(strength))
        negative = (values < 0).float().mean().item()
        if STRENGTHS[name][2] and strength:
            assert abs(negative - 0.5) < 4 * 0.5 / n**0.5
        else:
            assert negative == 0


def test_an_image_goes_through_both_steps_of_its_pair() -> None:
    """Pair by pair against the operations one after the other, as drawn."""
    images = pictures(3)
    found = autoaugment(images, torch.Generator().manual_seed(3))
    generator = torch.Generator().manual_seed(3)
    pairs = torch.randint(25, (len(images),), generator=generator)
    steps = [draw_operations(pairs, place, generator) for place in (0, 1)]
    for i, image in enumerate(images):
        expected = image[None]
        for operations, values in steps:
            if operations[i] >= 0:
                expected = OPERATIONS[OPERATION_NAMES[operations[i]]](expected, values[i : i + 1])
        assert torch.equal(found[i], expected[0])
    assert not torch.equal(found, images)
    assert torch.equal(images, pictures(3))
