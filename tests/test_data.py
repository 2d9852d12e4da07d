"""The data are real digits, split once and for all, and known by their content."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits as load_sklearn

from stability.data import DATA, ImageData, Part, digits, load
from stability.data.digits import stratified_order
from stability.models import FAMILIES, resolve
from stability.models.names import takes
from stability.training.tensors import TensorData

PARTS = ("train", "validation", "test")
each_data = pytest.mark.parametrize("name", DATA)


def tiny(seed: int = 0) -> ImageData:
    rng = np.random.default_rng(seed)

    def part(n: int) -> Part:
        images = rng.integers(0, 256, (n, 2, 3, 4)).astype(np.uint8)
        return Part(images, rng.integers(0, 3, n))

    return ImageData("tiny", ("a", "b", "c"), part(7), part(5), part(6))


# --- digits ------------------------------------------------------------------------------------


def enlarged() -> tuple[np.ndarray, np.ndarray]:
    """Scikit-learn's digits through torch: another enlargement than the one under test."""
    source = load_sklearn()
    small = torch.tensor(source.images)[:, None] * 255 / 16
    large = F.interpolate(small, scale_factor=4, mode="bilinear", align_corners=False)
    return large.round().to(torch.uint8).numpy(), source.target


def rows_of(part: Part) -> list[bytes]:
    return [
        image.tobytes() + bytes([label])
        for image, label in zip(part.images, part.labels, strict=True)
    ]


def test_digits_are_scikit_learns_enlarged_bilinearly_each_in_one_part() -> None:
    """Disjoint and complete, images and labels together: nothing is lost, shared or mixed up."""
    images, labels = enlarged()
    source = sorted(rows_of(Part(images, labels.astype(np.int64))))
    data = load("digits")
    assert sorted(row for part in PARTS for row in rows_of(getattr(data, part))) == source
    assert len(set(source)) == len(source) == 1797


def test_digits_have_the_promised_sizes_and_shape() -> None:
    data = load("digits")
    assert [len(getattr(data, part)) for part in PARTS] == [1097, 300, 400]
    assert data.shape == (1, 32, 32)
    assert data.classes == tuple("0123456789")
    assert (data.train.images.min(), data.train.images.max()) == (0, 255)


@pytest.mark.parametrize("part", PARTS)
def test_digits_are_split_by_class_in_proportion(part: str) -> None:
    """No class is off by more than one from its share of all digits."""
    labels = getattr(load("digits"), part).labels
    share = np.bincount(load_sklearn().target) / 1797
    assert (np.abs(np.bincount(labels) - len(labels) * share) < 1).all()


def test_digits_never_change() -> None:
    """Finished trials are found by this fingerprint: another one makes them all unfinished."""
    assert load("digits").fingerprint == "d751e24d3ba6"


def test_digits_parts_are_in_no_order_of_class() -> None:
    """The first images are as mixed as all: a slice of a part is a small data set."""
    for part in PARTS:
        assert set(getattr(load("digits"), part).labels[:30]) == set(range(10))


def test_missing_scikit_learn_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digits, "find_spec", lambda name: None)
    with pytest.raises(FileNotFoundError, match="pip install scikit-learn"):
        digits.load_digits()


@pytest.mark.parametrize("counts", [[10, 10, 10], [178, 182, 177, 183], [40, 20], [5]])
def test_order_is_a_permutation_of_which_each_start_has_the_proportions(counts: list[int]) -> None:
    labels = np.repeat(np.arange(len(counts)), counts)
    order = stratified_order(labels, np.random.RandomState(3))
    assert sorted(order) == list(range(len(labels)))
    share = np.array(counts) / len(labels)
    so_far = np.cumsum(np.eye(len(counts))[labels[order]], axis=0)
    due = np.arange(1, len(labels) + 1)[:, None] * share
    assert np.abs(so_far - due).max() <= 1


def test_order_depends_on_the_generator_alone() -> None:
    labels = np.repeat(np.arange(3), 20)
    first, again, other = (stratified_order(labels, np.random.RandomState(s)) for s in (1, 1, 2))
    assert first.tolist() == again.tolist() != other.tolist()


# --- the interface -----------------------------------------------------------------------------


@each_data
def test_every_data_set_keeps_the_interface(name: str) -> None:
    data = load(name)
    assert data.name == name
    for part in (data.train, data.validation, data.test):
        assert part.images.shape[1:] == data.shape
        assert len(part.labels) == len(part.images) == len(part) > 0
        assert set(np.unique(part.labels)) == set(range(len(data.classes)))


@each_data
def test_every_data_set_is_read_once(name: str) -> None:
    assert load(name) is load(name)


@each_data
def test_every_data_set_names_a_size_that_all_families_have(name: str) -> None:
    for family in FAMILIES:
        assert takes(resolve(family, DATA[name].size), load(name).shape[1])


def test_an_unknown_data_set_is_a_key_error() -> None:
    with pytest.raises(KeyError, match="mnist"):
        load("mnist")


IMAGES, LABELS = np.zeros((4, 1, 2, 2), np.uint8), np.zeros(4, np.int64)


@pytest.mark.parametrize(
    ("images", "said"),
    [
        (IMAGES.astype(np.float32), "images are float32 (4, 1, 2, 2), not uint8 (N,C,H,W)"),
        (IMAGES[:, 0], "images are uint8 (4, 2, 2), not uint8 (N,C,H,W)"),
    ],
)
@pytest.mark.parametrize(
    ("labels", "also"),
    [
        (LABELS.astype(np.int32), "labels are int32 (4,), not one int64 each"),
        (LABELS[:3], "labels are int64 (3,), not one int64 each"),
        (LABELS[:, None], "labels are int64 (4, 1), not one int64 each"),
    ],
)
def test_a_part_names_both_faults(
    images: np.ndarray, labels: np.ndarray, said: str, also: str
) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the whole text is compared
        Part(images, labels)
    assert str(error.value) == f"{said}; {also}"
    for one_fault, text in (((images, LABELS), said), ((IMAGES, labels), also)):
        with pytest.raises(ValueError) as error:  # noqa: PT011
            Part(*one_fault)
        assert str(error.value) == text


def with_part(data: ImageData, name: str, images: np.ndarray, labels: np.ndarray) -> ImageData:
    return replace(data, **{name: Part(images, labels)})


@pytest.mark.parametrize("part", PARTS)
def test_fingerprint_changes_with_every_pixel_and_label(part: str) -> None:
    data = tiny()
    source = getattr(data, part)
    brighter, relabelled = source.images.copy(), source.labels.copy()
    brighter[-1, -1, -1, -1] ^= 1
    relabelled[-1] = (relabelled[-1] + 1) % 3
    swapped = [*source.images[1::-1], *source.images[2:]]
    others = [
        with_part(data, part, brighter, source.labels),
        with_part(data, part, source.images, relabelled),
        with_part(data, part, np.array(swapped), source.labels),
        with_part(data, part, source.images[:-1], source.labels[:-1]),
        with_part(data, part, source.images.reshape(-1, 2, 4, 3), source.labels),
    ]
    assert len({data.fingerprint, *(other.fingerprint for other in others)}) == 1 + len(others)


def test_fingerprint_changes_with_class_names_and_roles_but_not_with_the_name() -> None:
    data = tiny()
    assert replace(data, classes=("a", "b", "d")).fingerprint != data.fingerprint
    swapped = replace(data, validation=data.test, test=data.validation)
    assert swapped.fingerprint != data.fingerprint
    assert replace(data, name="other").fingerprint == data.fingerprint


def test_fingerprint_is_of_the_content_not_of_its_place_in_memory() -> None:
    data = tiny()
    turned = np.asfortranarray(data.train.images)
    again = with_part(data, "train", turned, data.train.labels.copy())
    assert again.fingerprint == data.fingerprint
    assert len(data.fingerprint) == 12
    int(data.fingerprint, 16)


# --- standardisation ---------------------------------------------------------------------------


def test_mean_and_std_are_those_of_the_training_part_per_channel() -> None:
    data = tiny()
    for channel in range(2):
        values = data.train.images[:, channel].astype(float).ravel()
        assert data.mean[channel] == pytest.approx(sum(values) / len(values), rel=1e-6)
        variance = sum((values - values.mean()) ** 2) / len(values)
        assert data.std[channel] == pytest.approx(variance**0.5, rel=1e-6)
    assert data.mean.dtype == data.std.dtype == np.float32
    other = replace(data, validation=tiny(1).validation, test=tiny(1).test)
    assert (other.mean == data.mean).all()
    assert (other.std == data.std).all()


@each_data
def test_training_images_are_standardised_and_the_others_with_the_same_numbers(name: str) -> None:
    source = load(name)
    data = TensorData.of(source, "cpu")
    images, _ = data.train.batch(torch.arange(len(data.train)))
    assert images.dtype == torch.float32
    for channel in images.double().unbind(1):
        assert channel.mean().item() == pytest.approx(0, abs=1e-5)
        assert channel.std(correction=0).item() == pytest.approx(1, abs=1e-5)
    rows = torch.tensor([3, 1])
    images, labels = data.test.batch(rows)
    mean, std = (v[:, None, None].astype(float) for v in (source.mean, source.std))
    expected = (source.test.images[rows.numpy()] - mean) / std
    assert np.allclose(images.numpy(), expected, atol=1e-6)
    assert labels.tolist() == source.test.labels[[3, 1]].tolist()
    assert labels.dtype == torch.int64


def test_tensors_know_shape_classes_and_sizes() -> None:
    data = TensorData.of(tiny(), "cpu")
    assert (data.shape, data.classes, data.device) == ((2, 3, 4), 3, torch.device("cpu"))
    assert [len(p) for p in (data.train, data.validation, data.test)] == [7, 5, 6]
