"""From the file of an image to bytes of pixels: one rule for every source.

- Every pixel is decoded: a truncated file is a fault, never half an image.
- EXIF orientation is applied: the label is of what a viewer shows.
- Transparency is laid over white, which is what a page shows; opaque alpha changes nothing.
- Palettes and CMYK become colour. More than 8 bits a channel and animations are faults, since a
  decoder would clip the one and take the first frame of the other without a word. Of the MPO files
  of phones, which hold a preview or a depth map beside the photograph, the photograph is taken.
- Grey stays grey where every image is grey; where one has colour, all have.
- Nothing is resized unless a size is asked for: then the shorter side is brought to it (bicubic,
  antialiased) and the middle is cut out. Otherwise all images must be square and of one size.
"""

import os
import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from io import BytesIO
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from stability.data.faults import DataError, Findings

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

Pixels = NDArray[np.uint8]

IMAGE_FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF", "PPM")
SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
GREY_MODES = ("1", "L", "LA")
WIDE = ("I", "F", "I;16", "I;16L", "I;16B", "I;16N")
UNREADABLE = ("unreadable", "truncated", "missing", "too large to decode")
"""First words of the faults of images that cannot be read, which the user may leave out."""
DECODE_CHUNK = 64  # images that a thread decodes in a row
MEMORY = 0.5  # share of the machine's memory that decoded images may take


@dataclass(frozen=True)
class ImageSource:
    """One image that is not decoded yet."""

    name: str
    """For messages: the path below the data, or the row."""
    open: Callable[[], Path | BytesIO]


@dataclass(frozen=True)
class Decoded:
    """All images of a data set."""

    images: Pixels
    """(N, C, H, W)."""
    notes: tuple[str, ...]
    """What was done that a user should know."""
    left_out: tuple[int, ...] = ()
    """Numbers of the images that cannot be read and are not among `images`."""


def decode(
    sources: Iterable[ImageSource],
    size: int | None,
    how_to_resize: str,
    *,
    skip_unreadable: bool = False,
) -> Decoded:
    """Every image, in order. Raises DataError naming every image that cannot be used.

    `size`: pixels of the side that is wanted, None for images as they are. `how_to_resize`: what
    the user would write to have one size. `skip_unreadable`: leave out what cannot be read.
    """
    sources = list(sources)
    findings = Findings()
    pixels: list[Pixels] = []
    left_out: list[int] = []
    with careful(), ThreadPoolExecutor() as pool:
        if sources:
            first, _ = _read(sources[0], size)
            if first is not None:  # before everything is decoded: does it fit, if all are so large?
                check_memory(first.size, len(sources))
        chunks = [sources[i : i + DECODE_CHUNK] for i in range(0, len(sources), DECODE_CHUNK)]
        read = pool.map(lambda chunk: [_read(s, size) for s in chunk], chunks)
        for source, (image, fault) in zip(sources, chain.from_iterable(read), strict=True):
            is_left_out = skip_unreadable and fault.startswith(UNREADABLE)
            if fault and not is_left_out:
                findings.add(fault, source.name)
            if is_left_out:
                left_out.append(len(pixels))
            pixels.append(np.zeros((0, 0), np.uint8) if image is None else image)
    usable = [i for i, image in enumerate(pixels) if image.size]
    faults = findings.sentences(of=f" of {len(sources)} images")
    if not usable and not faults:
        faults.append(f"none of {len(sources)} images can be read" if sources else "no images")
    faults += _size_faults([pixels[i] for i in usable], [sources[i] for i in usable], how_to_resize)
    if faults:
        has_unreadable = any(kind.startswith(UNREADABLE) for kind in findings.found)
        raise DataError(faults, has_unreadable=has_unreadable)
    return replace(_stack([pixels[i] for i in usable]), left_out=tuple(left_out))


@contextmanager
def careful() -> Iterator[None]:
    """Make a picture of more than 90 million pixels a fault, not a line on the screen."""
    with warnings.catch_warnings():
        from PIL import Image

        warnings.simplefilter("error", Image.DecompressionBombWarning)
        warnings.filterwarnings("ignore", "Corrupt EXIF data", UserWarning)
        yield


def _read(source: ImageSource, size: int | None) -> tuple[Pixels | None, str]:
    """(H, W) or (H, W, 3), or the kind of fault."""
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with Image.open(source.open(), formats=IMAGE_FORMATS) as opened:
            if getattr(opened, "n_frames", 1) > 1 and opened.format != "MPO":
                return None, "with more than one frame"
            if opened.mode in WIDE:
                return None, "with more than 8 bits a channel"
            opened.load()
            image = _flat(ImageOps.exif_transpose(opened))
            if size is not None:
                image = ImageOps.fit(image, (size, size), Image.Resampling.BICUBIC)
            return np.array(image), ""
    except UnidentifiedImageError:
        return None, "unreadable (no image of a known format)"
    except (Image.DecompressionBombError, Image.DecompressionBombWarning, MemoryError):
        return None, "too large to decode"
    except Exception as error:  # Pillow's decoders raise anything for damaged files
        kind = "truncated" if "truncated" in str(error).lower() else "unreadable"
        return None, kind if source_exists(source) else "missing"


def source_exists(source: ImageSource) -> bool:
    """Whether there is something to open; a link may lead nowhere."""
    try:
        place = source.open()
    except OSError:
        return False
    return not isinstance(place, Path) or place.exists()


def _flat(image: "Picture") -> "Picture":
    """Mode L or RGB."""
    from PIL import Image

    if image.has_transparency_data:
        coloured = image.convert("RGBA")
        if coloured.getchannel("A").getextrema() != (255, 255):
            white = Image.new("RGBA", image.size, "white")
            coloured = Image.alpha_composite(white, coloured)
        return coloured.convert("L" if image.mode in GREY_MODES else "RGB")
    return image.convert("L" if image.mode in GREY_MODES else "RGB")


def check_memory(pixels: int, count: int) -> None:
    """Raise DataError where `count` images of so many pixels do not fit: they lie there whole."""
    needed = pixels * count
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > MEMORY * there:
        raise DataError(
            [
                f"{count} images like the first take {needed / 2**30:.1f} GiB in memory, allowed "
                f"is {MEMORY:.0%} of the {there / 2**30:.1f} GiB of this machine"
            ]
        )


def _size_faults(pixels: list[Pixels], sources: list[ImageSource], how_to_resize: str) -> list[str]:
    by_size: dict[tuple[int, ...], list[str]] = {}
    for image, source in zip(pixels, sources, strict=True):
        by_size.setdefault(image.shape[:2], []).append(source.name)
    if not by_size or (len(by_size) == 1 and len(set(next(iter(by_size)))) == 1):
        return []
    often = sorted(by_size.items(), key=lambda item: -len(item[1]))
    counts = [
        f"{width}x{height} {len(names)} ({names[0]}{', ...' if len(names) > 1 else ''})"
        for (height, width), names in often[:3]
    ]
    kinds = f"images of {len(by_size)} sizes" if len(by_size) > 1 else "images are not square"
    listed = ", ".join([*counts, *(["..."] if len(often) > 3 else [])])
    return [f"{kinds}: {listed}; models take one size, square: {how_to_resize}"]


def _stack(pixels: list[Pixels]) -> Decoded:
    """(N, C, H, W); grey where all are grey."""
    grey = sum(image.ndim == 2 for image in pixels)
    if grey == len(pixels):
        return Decoded(np.stack(pixels)[:, None], ())
    side = pixels[0].shape[:2]
    images = np.empty((len(pixels), 3, *side), np.uint8)
    for row, image in zip(images, pixels, strict=True):
        row[:] = image if image.ndim == 2 else image.transpose(2, 0, 1)
    note = f"{grey} of {len(pixels)} images are grey and got three equal channels"
    return Decoded(images, (note,) if grey else ())
