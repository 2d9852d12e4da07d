"""Small image files that tests make: what cameras, scanners and web pages leave in a folder."""

from pathlib import Path

import numpy as np
from PIL import Image

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
