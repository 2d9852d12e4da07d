"""Folders of images: what becomes which part, and every fault of a folder at once."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from picture_files import CLASSES, picture, pixels, write_classes
from PIL import Image

from stability.data import DataError, ImageData, load_data, resolve_data

PARTS = ("train", "validation", "test")


def faults_of(text: str) -> list[str]:
    with pytest.raises(DataError) as error:
        load_data(text)
    return error.value.faults


def parts_of(data: ImageData) -> dict[str, set[bytes]]:
    return {part: {image.tobytes() for image in getattr(data, part).images} for part in PARTS}


def test_folders_of_classes_are_split_in_three_with_their_own_labels(tmp_path: Path) -> None:
    data = load_data(f"folder:{write_classes(tmp_path / 'a', each=10, suffix='.png')}")
    assert (data.name, data.classes, data.shape) == ("folder-a", CLASSES, (3, 32, 32))
    assert [len(getattr(data, part)) for part in PARTS] == [21, 3, 6]
    written = {
        pixels(picture(label + 3 * i)).tobytes(): label for label in range(3) for i in range(10)
    }
    found = {
        image.tobytes(): int(label)
        for part in PARTS
        for image, label in zip(getattr(data, part).images, getattr(data, part).labels, strict=True)
    }
    assert found == written


def write_parts(folder: Path, *parts: str) -> Path:
    for i, part in enumerate(parts):
        write_classes(folder / part, each=10, suffix=".png")
        for path in sorted((folder / part).rglob("*.png")):  # each part has its own images
            with Image.open(path) as image:
                array = np.array(image)
            array[0, 0] = i
            Image.fromarray(array).save(path)
    return folder


@pytest.mark.parametrize(
    ("parts", "test", "sizes"),
    [
        (("train", "val"), 1, (27, 3, 30)),
        (("training", "validation"), 1, (27, 3, 30)),
        (("test", "train"), 0, (27, 3, 30)),
        (("train", "val", "test"), 2, (30, 30, 30)),
    ],
)
def test_folders_of_parts(
    parts: tuple[str, ...], test: int, sizes: tuple[int, ...], tmp_path: Path
) -> None:
    """The part that is not for training is judged on; of two, the one that is called test."""
    data = load_data(f"folder:{write_parts(tmp_path / 'a', *parts)}")
    assert tuple(len(getattr(data, part)) for part in PARTS) == sizes
    assert (data.test.images[:, :, 0, 0] == test).all()
    learned = np.concatenate([data.train.images, data.validation.images[: sizes[1]]])
    assert (learned[:, :, 0, 0] != test).all()
    assert len(set.union(*parts_of(data).values())) == sum(sizes)


def test_the_fingerprint_is_of_the_content_not_of_the_place(tmp_path: Path) -> None:
    first = load_data(f"folder:{write_classes(tmp_path / 'a', each=5)}")
    shutil.copytree(tmp_path / "a", tmp_path / "b", copy_function=shutil.copyfile)
    again = load_data(f"folder:{tmp_path / 'b'}")
    assert again.fingerprint == first.fingerprint
    picture(1).save(tmp_path / "b" / "cat" / "000.jpg")
    shutil.move(tmp_path / "b", tmp_path / "c")
    assert load_data(f"folder:{tmp_path / 'c'}").fingerprint != first.fingerprint


def test_hidden_files_and_papers_beside_the_classes_are_passed_over(tmp_path: Path) -> None:
    plain = load_data(f"folder:{write_classes(tmp_path / 'a', each=5)}")
    write_classes(tmp_path / "b", each=5)
    (tmp_path / "b" / ".DS_Store").write_text("x")
    (tmp_path / "b" / "cat" / "Thumbs.db").write_text("x")
    (tmp_path / "b" / ".cache").mkdir()
    (tmp_path / "b" / "README.md").write_text("where the pictures are from")
    assert load_data(f"folder:{tmp_path / 'b'}").fingerprint == plain.fingerprint


def test_a_path_is_found_from_other_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_classes(tmp_path / "here" / "a", each=5)
    (tmp_path / "there").mkdir()
    monkeypatch.chdir(tmp_path / "there")
    name = resolve_data("folder:../here/a@16")
    assert name.canonical == f"folder:{tmp_path}/here/a@16"
    assert name.short == "folder-a@16"
    assert resolve_data(name.canonical) == name
    monkeypatch.chdir("/")
    assert load_data(name.canonical).shape == (3, 16, 16)
    monkeypatch.setenv("HOME", str(tmp_path / "here"))
    assert resolve_data("folder:~/a@16") == name


@pytest.mark.parametrize(
    ("name", "short"),
    [
        ("my flowers (new)", "folder-my_flowers_new"),
        ("Blümchen", "folder-Bl_mchen"),
        ("...", "folder"),
        ("x" * 300, "folder-" + "x" * 40),
        ("a@home", "folder-a_home"),
    ],
)
def test_short_names_can_be_part_of_a_folders_name(name: str, short: str) -> None:
    assert resolve_data(f"folder:/data/{name}").short == short


def test_all_faults_of_a_folder_at_once(tmp_path: Path) -> None:
    root = write_classes(tmp_path / "a", each=5)
    (root / "empty").mkdir()
    (root / "owl" / "more").mkdir()
    (root / "cat" / "notes.txt").write_text("hello")
    (root / "dog" / "gone.jpg").symlink_to("nowhere")
    (root / "lost.jpg").write_bytes((root / "cat" / "000.jpg").read_bytes())
    whole = (root / "dog" / "000.jpg").read_bytes()
    (root / "dog" / "000.jpg").write_bytes(whole[: len(whole) * 2 // 3])
    picture(1, side=48).save(root / "cat" / "000.jpg")
    faults = faults_of(f"folder:{root}")
    assert [fault.removeprefix(f"{root}: ") for fault in faults] == [
        "images outside a class's folder: 1 (lost.jpg)",
        "folders inside a class: 1 (owl/more)",
        "empty classes: 1 (empty)",
        "unreadable (no image of a known format): 1 of 17 images (cat/notes.txt)",
        "truncated: 1 of 17 images (dog/000.jpg)",
        "missing: 1 of 17 images (dog/gone.jpg)",
        "images of 2 sizes: 32x32 13 (cat/001.jpg, ...), 48x48 1 (cat/000.jpg); models take one "
        f"size, square: folder:{root}@64 crops and resizes to 64",
    ]


def test_faults_of_parts(tmp_path: Path) -> None:
    root = write_parts(tmp_path / "a", "train", "val", "valid")
    (root / "train" / "cat").rename(root / "train" / "lynx")
    shutil.copytree(root / "val" / "cat", root / "extra" / "cat")
    faults = [fault.removeprefix(f"{root}: ") for fault in faults_of(f"folder:{root}")]
    assert faults == [
        "folders that are both the validation part: 1 (valid)",
        "folders beside train and val and valid that are no part: 1 (extra)",
        "classes without training images: 1 (validation/cat)",
        "empty classes in validation: 1 (lynx)",
    ]


def test_other_faults_of_a_folder(tmp_path: Path) -> None:
    write_classes(tmp_path / "flowers", each=3)
    hint = f"(did you mean {tmp_path / 'flowers'}?)"
    assert faults_of(f"folder:{tmp_path / 'flwers'}") == [f"there is no {tmp_path}/flwers {hint}"]
    (tmp_path / "nothing").mkdir()
    (said,) = faults_of(f"folder:{tmp_path / 'nothing'}")
    assert said == f"{tmp_path}/nothing: no folders of classes in it, as in PATH/cat/1.jpg"
    (said,) = faults_of(f"folder:{tmp_path / 'flowers' / 'cat' / '000.jpg'}")
    assert said.endswith("000.jpg is a file, a folder is needed")
    write_classes(tmp_path / "alone" / "train", each=3)
    (said,) = faults_of(f"folder:{tmp_path / 'alone'}")
    assert said.endswith("train alone: needed are train and val or test, or classes without parts")
    assert load_data(f"folder:{tmp_path / 'alone' / 'train'}").classes == CLASSES
    for name in CLASSES[1:]:
        shutil.rmtree(tmp_path / "flowers" / name)
    (said,) = faults_of(f"folder:{tmp_path / 'flowers'}")
    assert said.endswith("a single class: cat; a classifier needs two")


def test_images_that_are_all_one_colour_cannot_be_standardised(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for i in range(3):
            Image.new("RGB", (32, 32), "red").save(tmp_path / name / f"{i}.png")
    (said,) = faults_of(f"folder:{tmp_path}")
    assert said == f"folder:{tmp_path}: a channel is the same in every training image"
