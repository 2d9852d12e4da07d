"""Mixup and CutMix: shares of their law, boxes of the share, targets that say what is there."""

import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from stability.training.augment.batches import Streams, training_batch
from stability.training.augment.mixing import beta, box, mixed
from stability.training.settings import Recipe
from stability.training.tensors import TensorPart

H, W, K = 10, 14, 6


def recipe(**settings: object) -> Recipe:
    return Recipe(lr=1.0, weight_decay=0.0, **settings)  # type: ignore[arg-type]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def batch(n: int = 8) -> tuple[Tensor, Tensor]:
    """Images of one level each, known by it; the label is the level modulo K."""
    numbers = torch.arange(n)
    return (numbers[:, None, None, None] * 10.0).expand(n, 1, H, W).clone(), numbers % K


@pytest.mark.parametrize("alpha", [0.2, 0.8, 1.0, 3.0])
def test_shares_have_their_beta_distribution(alpha: float) -> None:
    """A Kolmogorov-Smirnov test at one in a thousand."""
    generator = seeded(1)
    shares = [beta(alpha, generator) for _ in range(3000)]
    assert stats.kstest(shares, stats.beta(alpha, alpha).cdf).pvalue > 1e-3
    assert stats.kstest(shares, stats.beta(2 * alpha, alpha).cdf).pvalue < 1e-3


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 1.0])
def test_a_box_is_its_share_of_the_image_where_it_is_not_cut(share: float) -> None:
    height, width = 100, 200
    found = [box(height, width, share, seeded(seed)) for seed in range(400)]
    h, w = (int(size * math.sqrt(1 - share)) // 2 * 2 for size in (height, width))
    for top, bottom, left, right in found:
        assert 0 <= top <= bottom <= height
        assert 0 <= left <= right <= width
        assert bottom - top <= h
        assert right - left <= w
        if top > 0 and bottom < height:
            assert bottom - top == h
    if share == 0.9:
        centres = [(left + right) / 2 for _, _, left, right in found if left > 0 and right < width]
        assert abs(sum(centres) / len(centres) - width / 2) < 10


@pytest.mark.parametrize("revision", [1, 2])
@pytest.mark.parametrize("share", [0.0, 0.37, 0.64, 0.9])
def test_a_box_reaches_half_its_size_from_its_centre(share: float, revision: int) -> None:
    """The formula of pycls; in revision 1 the box of an odd size kept its last pixel."""
    for seed in range(100):
        generator = seeded(seed)
        y, x = (int(torch.randint(size, (), generator=generator)) for size in (H, W))
        h, w = (int(size * math.sqrt(1 - share)) for size in (H, W))
        below, right = (h // 2, w // 2) if revision == 2 else (h - h // 2, w - w // 2)
        rows, columns = (
            np.clip([y - h // 2, y + below], 0, H),
            np.clip([x - w // 2, x + right], 0, W),
        )
        assert box(H, W, share, seeded(seed), revision) == (*rows, *columns)


def test_mixup_is_the_weighted_mean_of_two_images_and_of_their_targets() -> None:
    images, labels = batch()
    found, targets = mixed(images, labels, K, recipe(mixup=0.8), seeded(4))
    generator = seeded(4)
    share = beta(0.8, generator)
    others = torch.randperm(8, generator=generator)
    assert 0 < share < 1
    for i, other in enumerate(others.tolist()):
        level = share * images[i, 0, 0, 0] + (1 - share) * images[other, 0, 0, 0]
        assert torch.allclose(found[i], level)
        expected = torch.zeros(K)
        expected[labels[i]] += share
        expected[labels[other]] += 1 - share
        assert torch.allclose(targets[i], expected)


def test_cutmix_targets_are_the_shares_of_the_pixels() -> None:
    """Counted pixel by pixel, over many boxes."""
    images, labels = batch()
    for seed in range(30):
        found, targets = mixed(images, labels, K, recipe(cutmix=1.0), seeded(seed))
        for i in range(8):
            counted = torch.zeros(K)
            for level in found[i].flatten():
                counted[int(level / 10) % K] += 1 / (H * W)
            assert torch.allclose(counted, targets[i], atol=1e-5)
        assert torch.equal(images, batch()[0])


def test_of_both_one_is_chosen_for_each_batch_by_even_odds() -> None:
    images, labels = batch()
    cut = 0
    for seed in range(400):
        found, _ = mixed(images, labels, K, recipe(mixup=0.8, cutmix=1.0), seeded(seed))
        cut += bool((found % 10 == 0).all())  # whole levels: nothing was laid over anything
    assert abs(cut / 400 - 0.5) < 4 * 0.5 / 20


@pytest.mark.parametrize("settings", [{"mixup": 0.8}, {"cutmix": 1.0}])
def test_targets_sum_to_one_and_are_a_function_of_the_seed(settings: dict[str, float]) -> None:
    images, labels = batch()
    for seed in range(50):
        first, targets = mixed(images, labels, K, recipe(**settings), seeded(seed))
        assert torch.allclose(targets.sum(1), torch.ones(8))
        assert targets.min() >= 0
        again, same = mixed(images, labels, K, recipe(**settings), seeded(seed))
        assert torch.equal(first, again)
        assert torch.equal(targets, same)


def test_a_training_batch_is_the_plain_one_where_the_recipe_changes_nothing() -> None:
    part = part_of(batch())
    rows = torch.tensor([3, 1, 2])
    images, labels = training_batch(part, rows, K, recipe(), Streams.of(0))
    plain, same = part.batch(rows)
    assert torch.equal(images, plain)
    assert torch.equal(labels, same)


def test_parts_of_the_augmentation_draw_from_streams_of_their_own() -> None:
    """Mixing is the same whether images are mirrored or not."""
    part, rows = part_of(batch()), torch.arange(8)  # mirrored images of one level are the same
    first = training_batch(part, rows, K, recipe(mixup=0.8), Streams.of(3))
    other = training_batch(part, rows, K, recipe(mixup=0.8, flip=0.5), Streams.of(3))
    assert torch.equal(first[0], other[0])
    assert torch.equal(first[1], other[1])


def part_of(images_and_labels: tuple[Tensor, Tensor]) -> TensorPart:
    images, labels = images_and_labels
    return TensorPart(images.byte(), labels, torch.tensor([[[30.0]]]), torch.tensor([[[20.0]]]))
