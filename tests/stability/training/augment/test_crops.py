"""Crops and mirrored images: exact pixels, boxes with the stated law, one generator."""

import math

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from stability.training.augment.batches import augmented
from stability.training.augment.crops import boxes, mirrored, padded_crops, resized_crops
from stability.training.settings import Recipe

H, W = 12, 16


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise(n: int, channels: int = 3, h: int = H, w: int = W) -> Tensor:
    return torch.randint(0, 256, (n, channels, h, w), generator=seeded(9)).float()


def test_each_image_is_itself_or_its_mirror_image_with_the_probability() -> None:
    """4 standard deviations of the count."""
    images, n = noise(2000, 1, 3, 4), 2000
    found = mirrored(images, 0.3, seeded())
    turned = (found == images.flip(3)).all(dim=(1, 2, 3))
    assert torch.equal(found[~turned], images[~turned])
    assert abs(turned.float().mean().item() - 0.3) < 4 * math.sqrt(0.21 / n)
    assert torch.equal(mirrored(images, 1.0, seeded()), images.flip(3))


@pytest.mark.parametrize("revision", [1, 2])
@pytest.mark.parametrize("padding", [1, 4])
def test_a_padded_crop_is_a_window_of_the_framed_image(padding: int, revision: int) -> None:
    """At any place but the last, as pycls' `np.random.randint(0, h - size)`; in revision 1 too."""
    side = 2 * padding + (revision == 1)
    n, places = 1500, side**2
    images, fill = noise(n), torch.tensor([3.0, 7.0, 250.0])[:, None, None]
    found = padded_crops(images, padding, fill, seeded(), revision)
    framed = fill.expand(n, 3, H + 2 * padding, W + 2 * padding).clone()
    framed[:, :, padding:-padding, padding:-padding] = images
    seen = torch.zeros(places)
    for place in range(places):
        y, x = divmod(place, side)
        window = framed[:, :, y : y + H, x : x + W]
        seen[place] = (found == window).all(dim=(1, 2, 3)).sum()
    assert seen.sum() == n
    expected = n / places
    assert (seen - expected).abs().max() < 5 * math.sqrt(expected)


@pytest.mark.parametrize("smallest", [0.08, 0.5])
def test_boxes_have_the_area_the_ratio_and_the_place_of_their_law(smallest: float) -> None:
    """On an image so large that rounding does not show and nearly every first box fits."""
    n, side = 20_000, 10_000
    top, left, height, width = boxes(n, side, side, smallest, seeded()).double().unbind(1)
    assert min(top.min(), left.min()) >= 0
    assert max((top + height).max(), (left + width).max()) <= side
    area, ratio = height * width / side**2, width / height
    assert smallest - 1e-3 < area.min() < smallest + 1e-2
    assert area.max() <= 1
    assert 3 / 4 - 1e-3 < ratio.min() < 0.76
    assert 1.32 < ratio.max() < 4 / 3 + 1e-3
    # Either side may be the longer one; a ratio is uniform on 3/4 to 4/3 before it is turned.
    assert abs((ratio > 1).double().mean().item() - 0.5) < 0.02
    small = area < 0.5 if smallest < 0.5 else area < 0.7  # these fit whatever their ratio
    low, high = (smallest, 0.5) if smallest < 0.5 else (0.5, 0.7)
    assert abs(area[small].mean().item() - (low + high) / 2) < 0.01
    free = side - height
    assert abs((top / free.clamp(min=1))[free > 100].mean().item() - 0.5) < 0.01


def test_where_no_box_fits_it_is_the_whole_image() -> None:
    """A box of at least 9/10 of a strip of 4 x 400 would be wider than it in any ratio."""
    assert boxes(5, 4, 400, 0.9, seeded()).tolist() == [[0, 0, 4, 400]] * 5


@pytest.mark.parametrize("revision", [1, 2])
def test_every_place_of_a_small_image_is_reached_but_the_last(revision: int) -> None:
    """As pycls' `0 if h_crop == h else np.random.randint(0, h - h_crop)`; in revision 1 all are."""
    found = boxes(4000, 4, 4, 0.08, seeded(), revision).int()
    for start, size in ((0, 2), (1, 3)):
        for length in set(found[:, size].tolist()):
            starts = set(found[found[:, size] == length, start].tolist())
            assert starts == set(range(max(1, 4 - length + (revision == 1)))), length


def test_a_box_is_enlarged_as_pillow_does() -> None:
    """To one level: Pillow rounds in fixed point."""
    images = noise(40)
    found = resized_crops(images, 0.08, seeded(3))
    for image, (top, left, height, width), ours in zip(
        images, boxes(40, H, W, 0.08, seeded(3)).int().tolist(), found, strict=True
    ):
        part = image[:, top : top + height, left : left + width].byte().permute(1, 2, 0)
        theirs = Image.fromarray(part.numpy()).resize((W, H), Image.Resampling.BILINEAR)
        assert np.abs(np.asarray(theirs).astype(int) - ours.permute(1, 2, 0).numpy()).max() <= 1


def test_the_whole_image_stays_as_it_is() -> None:
    images = noise(3, 1, 8, 8)
    assert torch.equal(resized_crops(images, 1.0, seeded(1)), images)


ALL = {"flip": 0.5, "autoaugment": True}


@pytest.mark.parametrize("area", [{"crop_area": 0.08}, {"crop_padding": 3}])
def test_augmentation_is_a_function_of_the_seed(area: dict[str, float]) -> None:
    recipe = Recipe(lr=1.0, weight_decay=0.0, **ALL, **area)  # type: ignore[arg-type]
    images, fill = noise(16), torch.full((3, 1, 1), 99.6)

    def run(seed: int) -> Tensor:
        return augmented(images, recipe, fill, seeded(seed))

    assert torch.equal(run(1), run(1))
    assert not torch.equal(run(1), run(2))
    assert torch.equal(images, noise(16))
    assert torch.equal(run(1), run(1).round().clamp(0, 255))
