"""CIFAR's binary archives, small ones that the tests write, through the reader of the real ones."""

import io
import pickle
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from picture_files import cifar_file as content
from picture_files import write_cifar as write

from stability.data import DataError, cifar, load_data, resolve_data
from stability.data.cifar import LAYOUTS, PIXELS

BATCH = 40  # images in a file; the real ones have 10,000


@pytest.fixture(params=["cifar10", "cifar100"])
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Either kind, with small files."""
    kind: str = request.param
    layout = LAYOUTS[kind]
    batch = BATCH if kind == "cifar10" else 10 * BATCH  # 100 classes need more
    records = {"train": batch * len(layout.train), "test": batch}
    monkeypatch.setitem(cifar.LAYOUTS, kind, replace(layout, records=records))
    return kind


def pack(folder: Path, archive: Path) -> Path:
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(folder, folder.name)
    return archive


def faults_of(text: str) -> list[str]:
    with pytest.raises(DataError) as error:
        load_data(text)
    return error.value.faults


def test_images_and_labels_are_those_of_the_files(kind: str, tmp_path: Path) -> None:
    layout = cifar.LAYOUTS[kind]
    data = load_data(f"{kind}:{write(tmp_path / 'a', kind)}")
    assert (data.name, data.shape, len(data.classes)) == (kind, (3, 32, 32), layout.classes)
    assert data.classes[:2] == ("class0", "class1")
    _, images, labels = content(layout, len(layout.train))
    assert (data.test.images == images).all()
    assert (data.test.labels == labels).all()
    written = {
        image.tobytes(): label
        for i in range(len(layout.train))
        for image, label in zip(*content(layout, i)[1:], strict=True)
    }
    assert len(data.train) + len(data.validation) == len(written) == layout.records["train"]
    assert len(data.validation) == max(layout.classes, layout.records["train"] // 10)
    for part in (data.train, data.validation):
        for image, label in zip(part.images, part.labels, strict=True):
            assert written.pop(image.tobytes()) == label
    assert written == {}


def test_the_archive_the_folder_and_what_it_lies_in_are_the_same_data(
    kind: str, tmp_path: Path
) -> None:
    folder = write(tmp_path / cifar.LAYOUTS[kind].folder, kind)
    archive = pack(folder, tmp_path / cifar.LAYOUTS[kind].archive)
    places = (folder, tmp_path, archive)
    assert len({load_data(f"{kind}:{place}").fingerprint for place in places}) == 1
    assert resolve_data(f"{kind}:{archive}").canonical == f"{kind}:{archive}"


def test_pickles_are_refused_unread_with_the_name_of_the_right_archive(
    kind: str, tmp_path: Path
) -> None:
    layout = LAYOUTS[kind]
    folder = tmp_path / "python"
    folder.mkdir()
    for name in layout.pickles:
        (folder / name).write_bytes(pickle.dumps({"data": [1], "labels": [0]}))
    for place in (folder, tmp_path, pack(folder, tmp_path / "python.tar.gz")):
        (said,) = faults_of(f"{kind}:{place}")
        assert said.startswith(f"{place} holds python pickles, which can run any code")
        assert said.endswith(f"curl -O https://www.cs.toronto.edu/~kriz/{layout.archive}")


def test_what_is_missing_is_named_with_the_command_that_gets_it(kind: str, tmp_path: Path) -> None:
    command = f"get it with: curl -O https://www.cs.toronto.edu/~kriz/{LAYOUTS[kind].archive}"
    (said,) = faults_of(f"{kind}:{tmp_path / 'nowhere'}")
    assert said == f"there is no {tmp_path}/nowhere; {command}"
    folder = write(tmp_path / "a", kind)
    (folder / LAYOUTS[kind].test).unlink()
    (said,) = faults_of(f"{kind}:{folder}")
    assert said == f"{folder}: {LAYOUTS[kind].test} missing; {command}"


def test_damage_is_named_file_by_file(kind: str, tmp_path: Path) -> None:
    layout = cifar.LAYOUTS[kind]
    folder = write(tmp_path / "a", kind)
    length = layout.label_bytes + PIXELS
    first = folder / layout.train[0]
    first.write_bytes(first.read_bytes()[:-5])
    rows = np.frombuffer((folder / layout.test).read_bytes(), np.uint8).reshape(-1, length).copy()
    rows[[1, 3], layout.label_bytes - 1] = layout.classes
    (folder / layout.test).write_bytes(rows.tobytes())
    (folder / layout.names).write_text("one\ntwo\n")
    size = first.stat().st_size
    assert faults_of(f"{kind}:{folder}") == [
        f"{folder}: {layout.names} has 2 class names, not {layout.classes}",
        f"{folder}: {layout.train[0]} is truncated: {size} bytes, {length} a record",
        f"{folder}: {layout.test}: 2 of {len(rows)} labels are above {layout.classes - 1}",
    ]


def test_whole_records_that_are_missing_are_missed(kind: str, tmp_path: Path) -> None:
    """A download that stops between two records leaves a file that looks whole."""
    layout = cifar.LAYOUTS[kind]
    folder = write(tmp_path / "a", kind)
    path = folder / layout.test
    path.write_bytes(path.read_bytes()[: -(layout.label_bytes + PIXELS)])
    there, due = layout.records["test"] - 1, layout.records["test"]
    (said,) = faults_of(f"{kind}:{folder}")
    assert said == f"{folder}: {there} test images, {due} are in the archive"


@pytest.mark.parametrize("damage", ["cut", "text"])
def test_a_broken_archive_is_a_fault(kind: str, damage: str, tmp_path: Path) -> None:
    archive = pack(write(tmp_path / "a", kind), tmp_path / "a.tar.gz")
    whole = archive.read_bytes()
    archive.write_bytes(whole[: len(whole) // 2] if damage == "cut" else b"<html>404</html>")
    (said,) = faults_of(f"{kind}:{archive}")
    assert said.startswith(f"{archive} cannot be read as an archive: ")


def test_nothing_of_an_archive_is_unpacked(kind: str, tmp_path: Path) -> None:
    """A member with a path that leads out of the folder stays where it is."""
    folder = write(tmp_path / "a", kind)
    archive = tmp_path / "a.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(folder, "a")
        evil = tarfile.TarInfo("../../evil")
        evil.size = 4
        tar.addfile(evil, io.BytesIO(b"evil"))
    before = sorted(tmp_path.rglob("*"))
    load_data(f"{kind}:{archive}")
    assert sorted(tmp_path.rglob("*")) == before


def test_the_real_archives_have_50000_and_10000_images() -> None:
    """https://www.cs.toronto.edu/~kriz/cifar.html; a record of CIFAR-10 has 3,073 bytes."""
    for layout in LAYOUTS.values():
        assert layout.records == {"train": 50_000, "test": 10_000}
    assert LAYOUTS["cifar10"].label_bytes + PIXELS == 3073
    assert LAYOUTS["cifar100"].label_bytes + PIXELS == 3074
