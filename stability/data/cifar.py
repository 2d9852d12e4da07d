"""`cifar10:PATH`, `cifar100:PATH`: the binary archives of Krizhevsky (2009), unpacked or not.

Format: https://www.cs.toronto.edu/~kriz/cifar.html. A record is a label of one byte (two for
CIFAR-100: coarse, fine) and 3,072 bytes of pixels, red, green, blue, row by row. The archives for
Python are pickles, which can run any code when they are read, and are refused.
"""

import tarfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stability.data.faults import DataError
from stability.data.folder import check_exists
from stability.data.images import ImageData
from stability.data.names import DataName
from stability.data.splits import Labelled

SITE = "https://www.cs.toronto.edu/~kriz/"
SHAPE = (3, 32, 32)
PIXELS = 3 * 32 * 32


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Files of one of the two archives."""

    archive: str
    folder: str
    train: tuple[str, ...]
    test: str
    names: str
    """File of the class names, a line each."""
    classes: int
    label_bytes: int
    """The last of them is the label."""
    records: dict[str, int]
    """Images of the training part and of the test part."""
    pickles: tuple[str, ...]
    """Files that only the archive for Python has."""


LAYOUTS = {
    "cifar10": Layout(
        archive="cifar-10-binary.tar.gz",
        folder="cifar-10-batches-bin",
        train=tuple(f"data_batch_{i}.bin" for i in range(1, 6)),
        test="test_batch.bin",
        names="batches.meta.txt",
        classes=10,
        label_bytes=1,
        records={"train": 50_000, "test": 10_000},
        pickles=("data_batch_1", "batches.meta"),
    ),
    "cifar100": Layout(
        archive="cifar-100-binary.tar.gz",
        folder="cifar-100-binary",
        train=("train.bin",),
        test="test.bin",
        names="fine_label_names.txt",
        classes=100,
        label_bytes=2,
        records={"train": 50_000, "test": 10_000},
        pickles=("train", "meta"),
    ),
}


def load_cifar(name: DataName) -> ImageData:
    """50,000 images to train on, of which validation takes a tenth, and 10,000 test images.

    Raises DataError with every fault.
    """
    layout = LAYOUTS[name.kind]
    files = read_files(name.path, layout)
    classes, faults = class_names(files, layout)
    parts = {}
    for part, wanted in (("train", layout.train), ("test", (layout.test,))):
        images, labels, more = records(files, wanted, layout)
        if not more and len(labels) != layout.records[part]:
            more = [f"{len(labels)} {part} images, {layout.records[part]} are in the archive"]
        parts[part] = (images, labels)
        faults += more
    labelled = Labelled(classes, {part: labels for part, (_, labels) in parts.items()})
    faults = faults or labelled.faults()
    if faults:
        raise DataError([f"{name.path}: {fault}" for fault in faults])
    return labelled.data(name.short, np.concatenate([images for images, _ in parts.values()]))


def read_files(path: Path, layout: Layout) -> dict[str, bytes]:
    """Every file that the layout needs, from the folder, a folder in it, or the archive."""
    get_it = f"get it with: curl -O {SITE}{layout.archive}"
    try:
        check_exists(path)
    except DataError as error:
        raise DataError([f"{error.faults[0]}; {get_it}"]) from None
    wanted = (*layout.train, layout.test, layout.names)
    if path.is_dir():
        folder = path / layout.folder if (path / layout.folder).is_dir() else path
        files = {n: (folder / n).read_bytes() for n in wanted if (folder / n).is_file()}
        names = {child.name for child in path.rglob("*")}
    else:
        files, names = from_archive(path, wanted)
    if missing := [n for n in wanted if n not in files]:
        if set(layout.pickles) & names:
            raise DataError(
                [
                    f"{path} holds python pickles, which can run any code when they are read; "
                    f"the binary archive is needed: {get_it}"
                ]
            )
        raise DataError([f"{path}: {', '.join(missing)} missing; {get_it}"])
    return files


def from_archive(path: Path, wanted: tuple[str, ...]) -> tuple[dict[str, bytes], set[str]]:
    """The files that are wanted, and the names of all. Nothing is unpacked to the disk."""
    files, names = {}, set()
    try:
        with tarfile.open(path, "r:*") as archive:
            for member in archive:
                name = Path(member.name).name
                names.add(name)
                if name in wanted and (content := archive.extractfile(member)) is not None:
                    files[name] = content.read()
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        raise DataError([f"{path} cannot be read as an archive: {error}"]) from None
    return files, names


def class_names(files: dict[str, bytes], layout: Layout) -> tuple[tuple[str, ...], list[str]]:
    """The names, and what is wrong with them."""
    lines = files[layout.names].decode("utf-8", "replace").split("\n")
    names = tuple(line.strip() for line in lines if line.strip())
    if len(names) == layout.classes:
        return names, []
    return names, [f"{layout.names} has {len(names)} class names, not {layout.classes}"]


def records(
    files: dict[str, bytes], wanted: tuple[str, ...], layout: Layout
) -> tuple[NDArray[np.uint8], NDArray[np.int64], list[str]]:
    """Images (N, 3, 32, 32), labels (N,), and what is wrong with each file."""
    length, faults, rows = layout.label_bytes + PIXELS, [], []
    for name in wanted:
        content = np.frombuffer(files[name], np.uint8)
        if len(content) % length or not len(content):
            faults.append(f"{name} is truncated: {len(content)} bytes, {length} a record")
            continue
        batch = content.reshape(-1, length)
        labels = batch[:, layout.label_bytes - 1]
        if wrong := int((labels >= layout.classes).sum()):
            top = layout.classes - 1
            faults.append(f"{name}: {wrong} of {len(batch)} labels are above {top}")
            continue
        rows.append(batch)
    if not rows:
        return np.empty((0, *SHAPE), np.uint8), np.empty(0, np.int64), faults
    whole = np.concatenate(rows)
    images = whole[:, layout.label_bytes :].reshape(-1, *SHAPE)
    return images, whole[:, layout.label_bytes - 1].astype(np.int64), faults
