"""The data are real digits, split once and for all, and known by their content."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits as load_sklearn

from stability.data import (
    DataError,
    ImageData,
    Part,
    digits,
    load_data,
    resolve_data,
    suitable_size,
)
from stability.data.splits import Labelled, split, stratified_order
from stability.models import FAMILIES
from stability.models import resolve_model as resolve_model
from stability.models.names import accepts_size
from stability.training.tensors import TensorData

PARTS = ("train", "validation", "test")
each_data = pytest.mark.parametrize("name", ["digits", "synthetic:n=300,classes=3,size=16"])


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
    data = load_data("digits")
    assert sorted(row for part in PARTS for row in rows_of(getattr(data, part))) == source
    assert len(set(source)) == len(source) == 1797


def test_digits_have_the_promised_sizes_and_shape() -> None:
    data = load_data("digits")
    assert [len(getattr(data, part)) for part in PARTS] == [1097, 300, 400]
    assert data.shape == (1, 32, 32)
    assert data.classes == tuple("0123456789")
    assert (data.train.images.min(), data.train.images.max()) == (0, 255)


@pytest.mark.parametrize("part", PARTS)
def test_digits_are_split_by_class_in_proportion(part: str) -> None:
    """No class is off by more than one from its share of all digits."""
    labels = getattr(load_data("digits"), part).labels
    share = np.bincount(load_sklearn().target) / 1797
    assert (np.abs(np.bincount(labels) - len(labels) * share) < 1).all()


def test_digits_never_change() -> None:
    """Finished trials are found by this fingerprint: another one makes them all unfinished."""
    assert load_data("digits").fingerprint == "d751e24d3ba6"


def test_digits_parts_are_in_no_order_of_class() -> None:
    """The first images are as mixed as all: a slice of a part is a small data set."""
    for part in PARTS:
        assert set(getattr(load_data("digits"), part).labels[:30]) == set(range(10))


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
    data = load_data(name)
    assert data.name == resolve_data(name).short
    for part in (data.train, data.validation, data.test):
        assert part.images.shape[1:] == data.shape
        assert len(part.labels) == len(part.images) == len(part) > 0
        assert set(np.unique(part.labels)) == set(range(len(data.classes)))


@each_data
def test_every_data_set_is_read_once(name: str) -> None:
    assert load_data(name) is load_data(name)


@pytest.mark.parametrize("name", ["digits", "synthetic:n=300,classes=3,channels=1"])
def test_data_of_32_pixels_suit_a_size_that_all_families_have(name: str) -> None:
    data = load_data(name)
    for family in FAMILIES:
        assert accepts_size(resolve_model(family, suitable_size(data)), data.shape[1])


@pytest.mark.parametrize(
    ("channels", "side", "n", "size"),
    [(1, 32, 70, "nano"), (3, 32, 70, "nano"), (3, 32, 14_000, "nano"), (3, 32, 14_300, "micro"),
     (1, 32, 14_300, "nano"), (3, 127, 70, "nano"), (3, 128, 70, "4gf"), (1, 224, 70, "4gf")],
)  # fmt: skip
def test_size_of_model_that_suits(channels: int, side: int, n: int, size: str) -> None:
    """4gf for large images; micro from 10,000 colour images to train on (70% of n); else nano."""
    images = np.broadcast_to(np.uint8(0), (n, channels, side, side))
    train = Part(images[: n * 7 // 10], np.zeros(n * 7 // 10, np.int64))
    assert suitable_size(ImageData("x", ("a", "b"), train, train, train)) == size


FORMS = "digits, folder:PATH, cifar10:PATH, cifar100:PATH, hf:PATH_OR_NAME, synthetic"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("mnist", f"'mnist' is not one of {FORMS}"),
        ("foldr:x", f"'foldr:x' is not one of {FORMS} (did you mean 'folder'?)"),
        ("", f"'' is not one of {FORMS}"),
        ("digits:8", "got digits:8, digits has nothing after its name"),
        ("folder", "folder needs a path: folder:PATH"),
        ("folder:@64", "folder needs a path: folder:PATH"),
        ("cifar10:", "cifar10 needs a path: cifar10:PATH"),
        ("hf:", "hf needs a path: hf:PATH"),
        ("folder:x@2", "got @2, allowed are 8 to 1024 pixels"),
        ("folder:x@99999", "got @99999, allowed are 8 to 1024 pixels"),
        ("hf:x@-1", "got @-1, allowed are 8 to 1024 pixels"),
    ],
)
def test_a_bad_name_says_what_is_allowed(text: str, said: str) -> None:
    with pytest.raises(DataError) as error:
        resolve_data(text)
    assert error.value.faults == [said]


# --- three parts -------------------------------------------------------------------------------


@pytest.mark.parametrize("counts", [[100, 50], [3, 3, 40], [7, 11, 13]])
def test_split_gives_each_class_its_share_and_at_least_one(counts: list[int]) -> None:
    labels = np.repeat(np.arange(len(counts)), counts)
    parts = split(labels, [0.2, 0.1])
    assert sorted(np.concatenate(parts)) == list(range(len(labels)))
    for share, part in zip((0.2, 0.1), parts, strict=False):
        assert np.bincount(labels[part]).tolist() == [max(1, round(share * n)) for n in counts]
    assert [rows.tolist() for rows in split(labels, [0.2, 0.1])] == [p.tolist() for p in parts]


def labelled(**counts: list[int]) -> Labelled:
    """Parts with so many images of each class."""
    labels = {part: np.repeat(np.arange(len(n)), n) for part, n in counts.items()}
    return Labelled(("a", "b", "c")[: max(map(len, counts.values()))], labels)


def numbered(found: Labelled) -> np.ndarray:
    """Images of which the pixels tell the row."""
    n = sum(map(len, found.labels.values()))
    return np.arange(n, dtype=np.uint8)[:, None, None, None]


@pytest.mark.parametrize(
    ("counts", "sizes", "note"),
    [
        ({"all": [50, 50]}, (70, 10, 20), "split 70/10/20"),
        ({"train": [50, 50], "validation": [4, 4]}, (90, 10, 8), "the test part is validation"),
        ({"train": [50, 50], "test": [4, 4]}, (90, 10, 8), "the test part is test"),
        ({"test": [4, 4], "train": [50, 50]}, (90, 10, 8), "the test part is test"),
        ({"test": [4, 4], "validation": [3, 3], "train": [50, 50]}, (100, 6, 8), None),
    ],
)
def test_three_parts_whatever_there_is(
    counts: dict[str, list[int]], sizes: tuple[int, ...], note: str | None
) -> None:
    found = labelled(**counts)
    data = found.data("x", numbered(found))
    assert tuple(len(getattr(data, part)) for part in PARTS) == sizes
    rows = {part: getattr(data, part).images.ravel().tolist() for part in PARTS}
    assert sorted(row for part in PARTS for row in rows[part]) == numbered(found).ravel().tolist()
    everything = np.concatenate(list(found.labels.values()))
    for part in PARTS:
        assert getattr(data, part).labels.tolist() == everything[rows[part]].tolist()
    if "all" not in counts:  # what was given as a part for judging is judged on, whole
        given = "test" if "test" in counts else "validation"
        start = sum(sum(n) for part, n in list(counts.items())[: list(counts).index(given)])
        assert rows["test"] == list(range(start, start + sum(counts[given])))
    assert [text.startswith(note) for text in data.notes] == [True] if note else not data.notes


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        ({"all": [5]}, ["a single class: a; a classifier needs two"]),
        ({"all": [5, 0]}, ["empty classes: 1 (b)"]),
        ({"all": [5, 2]}, ["classes of fewer than 3 images to split: 1 (b)"]),
        ({"train": [5, 2], "test": [2, 0]}, ["empty classes in test: 1 (b)"]),
        (
            {"train": [1, 0], "test": [1, 1]},
            [
                "classes in train of fewer than 2 images to split: 1 (a)",
                "empty classes in train: 1 (b)",
            ],
        ),
        ({"train": [5, 5]}, ["train alone: needed are train and val or test, or classes without"]),
        ({"validation": [5, 5], "test": [5, 5]}, ["validation and test alone: needed are train"]),
        ({"train": [1, 1], "validation": [1, 1], "test": [1, 1]}, []),
    ],
)
def test_what_cannot_be_learned_or_judged(counts: dict[str, list[int]], said: list[str]) -> None:
    found = labelled(**counts).faults()
    assert len(found) == len(said)
    for fault, start in zip(found, said, strict=True):
        assert fault.startswith(start)


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
    source = load_data(name)
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
