"""Small image files that tests make: what cameras, scanners and web pages leave in a folder."""

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from stability.data import cifar
from stability.data.cifar import Layout

CLASSES = ("cat", "dog", "owl")


def picture(seed: int, side: int = 32, mode: str = "RGB") -> Image.Image:
    """Smooth, as a photograph is: a JPEG of it is close to it. Its class sets its brightness."""
    rng = np.random.default_rng(seed)
    low, high = ((0, 90), (80, 170), (160, 250))[seed % len(CLASSES)]
    coarse = rng.integers(low, high, (4, 4, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC).convert(mode)


def write_classes(folder: Path, each: int, side: int = 32, suffix: str = ".jpg") -> Path:
    """A folder for each class, with `each` different images."""
    for label, name in enumerate(CLASSES):
        (folder / name).mkdir(parents=True)
        for i in range(each):
            image = picture(label + len(CLASSES) * i, side)
            image.save(folder / name / f"{i:03}{suffix}")
    return folder


def pixels(image: Image.Image) -> np.ndarray:
    """(C, H, W)."""
    array = np.asarray(image)
    return array[None] if array.ndim == 2 else array.transpose(2, 0, 1)


def cifar_file(layout: Layout, seed: int) -> tuple[bytes, np.ndarray, np.ndarray]:
    """A file, its images (N, 3, 32, 32) and its labels."""
    n = layout.records["test"]
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (n, 3, 32, 32), dtype=np.uint8)
    labels = rng.permutation(n) % layout.classes
    coarse = np.full((n, layout.label_bytes - 1), 77)
    rows = np.concatenate([coarse, labels[:, None], images.reshape(n, -1)], axis=1)
    return rows.astype(np.uint8).tobytes(), images, labels


def write_cifar(folder: Path, kind: str) -> Path:
    layout = cifar.LAYOUTS[kind]
    folder.mkdir()
    for i, name in enumerate((*layout.train, layout.test)):
        (folder / name).write_bytes(cifar_file(layout, i)[0])
    (folder / layout.names).write_text("".join(f"class{i}\n" for i in range(layout.classes)) + "\n")
    return folder


def encoded(i: int, side: int = 32) -> bytes:
    stream = BytesIO()
    picture(i, side).save(stream, "PNG")
    return stream.getvalue()


def rows(n: int, start: int = 0) -> list[dict[str, Any]]:
    """Images with bytes, as `datasets` writes them; classes in turn."""
    return [
        {"image": {"bytes": encoded(i), "path": None}, "label": i % 3}
        for i in range(start, start + n)
    ]


def parquet(path: Path, table: list[dict[str, Any]]) -> Path:
    path.parent.mkdir(exist_ok=True)
    pq.write_table(pa.Table.from_pylist(table), path)
    return path
