"""`synthetic:classes=10,size=32,...`: images that a program made, for speed, size and tests.

Never real data, and called synthetic wherever the name of the data stands. An image shows two
copies of its class's glyph and one that means nothing, each at any position and in any colour,
on a background of light and noise: what a convolution finds wherever it is, and a stem of large
patches has to learn for every place on its grid. docs/data.md has what the stems make of it.

Only integers are computed, from a generator that numpy froze (RandomState), so that the images,
and with them the fingerprint, are the same on every machine and device; they are moved to the
device as every other data set is.
"""

import re
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from stability.data.decode import check_memory
from stability.data.faults import DataError
from stability.data.images import ImageData
from stability.data.names import DataName
from stability.data.splits import Labelled

COPIES, DISTRACTORS = 2, 1
STRANGERS = 16  # glyphs of no class
IMAGES_AT_ONCE = 512  # images made at a time; the order of random numbers depends on it
NOISE, SLOPE = 24, 48  # of 255: largest deviation of a pixel, of the light from side to side
CONTRAST = (40, 120)  # of 255: a glyph above its background, in each channel

Pixels = NDArray[np.uint8]
Integers = NDArray[np.int16]


@dataclass(frozen=True, kw_only=True)
class SyntheticSettings:
    """What may be asked for, with what is made where nothing is said.

    What is not said is not in the short name of the data, so these values may never change.
    """

    classes: int = 10
    size: int = 32
    channels: int = 3
    n: int = 5000
    """Images in all three parts."""
    seed: int = 0


SETTING_LIMITS = {
    "classes": (2, 1000),
    "size": (16, 1024),
    "channels": (1, 3),
    "n": (20, 10_000_000),
    "seed": (0, 2**32 - 1),
}
BRIEF = {"classes": "c", "size": "px", "channels": "ch", "n": "n", "seed": "seed"}


def parse_synthetic(kind: str, text: str) -> DataName:
    """`classes=10,n=5000`, in any order. Raises DataError with every fault."""
    from difflib import get_close_matches

    given: dict[str, int] = {}
    faults = []
    for item in filter(None, text.split(",")):
        name, _, value = item.partition("=")
        low, high = SETTING_LIMITS.get(name, (0, 0))
        if name not in SETTING_LIMITS:
            near = get_close_matches(name, SETTING_LIMITS, n=1)
            hint = f" (did you mean {near[0]!r}?)" if near else ""
            faults.append(f"synthetic: {name!r} is not one of {', '.join(SETTING_LIMITS)}{hint}")
        elif name in given:
            faults.append(f"synthetic: {name} is named twice")
        elif not re.fullmatch(r"[0-9]{1,12}", value) or not low <= int(value) <= high:
            allowed = f"a whole number from {low} to {high}"
            faults.append(f"synthetic: got {name}={value}, allowed is {allowed}")
        else:
            given[name] = int(value)
    if given.get("channels") == 2:
        faults.append("synthetic: got channels=2, allowed are 1 and 3")
    settings = SyntheticSettings(**given)
    if not faults and settings.n < 10 * settings.classes:
        needed = f"{settings.classes} classes need {10 * settings.classes}"
        faults.append(f"synthetic: got n={settings.n}, {needed}")
    if faults:
        raise DataError(faults)
    values = {f.name: getattr(settings, f.name) for f in fields(settings)}
    usual = {f.name: f.default for f in fields(settings)}
    brief = [f"{BRIEF[name]}{value}" for name, value in values.items() if value != usual[name]]
    canonical = ",".join(f"{name}={value}" for name, value in values.items())
    return DataName(kind=kind, argument=canonical, short="-".join([kind, *brief]))


def load_synthetic(name: DataName) -> ImageData:
    """Make the images: about 0.1 ms each at 32 pixels."""
    values = (item.split("=") for item in name.argument.split(","))
    settings = SyntheticSettings(**{key: int(value) for key, value in values})
    check_memory(settings.channels * settings.size**2, settings.n)
    labels = np.arange(settings.n) % settings.classes
    width = len(str(settings.classes - 1))
    classes = tuple(f"glyph {i:0{width}}" for i in range(settings.classes))
    note = "synthetic: made by a program, not real images"
    return Labelled(classes, {"all": labels}).data(name.short, make_images(settings), [note])


def make_images(settings: SyntheticSettings) -> Pixels:
    """(n, channels, size, size); image i shows the class i % classes."""
    rng = np.random.RandomState(settings.seed)
    known = glyphs(settings.classes + STRANGERS, settings.size // 4, rng)
    images = np.empty((settings.n, settings.channels, settings.size, settings.size), np.uint8)
    for start in range(0, settings.n, IMAGES_AT_ONCE):
        rows = np.arange(start, min(start + IMAGES_AT_ONCE, settings.n))
        images[rows] = draw_images(settings, rows % settings.classes, known, rng)
    return images


def glyphs(count: int, side: int, rng: np.random.RandomState) -> Integers:
    """(count, side, side): blobs of 0 and 1, half of each, no two alike."""
    coarse = rng.randint(0, 1 << 16, (count, side + 2, side + 2)).astype(np.int64)
    blurred = sum(coarse[:, i : i + side, j : j + side] for i in range(3) for j in range(3))
    flat = np.asarray(blurred).reshape(count, -1)
    half = np.sort(flat, axis=1)[:, flat.shape[1] // 2, None]
    return (flat >= half).astype(np.int16).reshape(count, side, side)


def draw_images(
    settings: SyntheticSettings,
    labels: NDArray[np.int64],
    known: Integers,
    rng: np.random.RandomState,
) -> Pixels:
    """(B, C, size, size): background, distractors, then the glyphs of the class."""
    batch, side, size = len(labels), known.shape[1], settings.size
    canvas = background(batch, settings, rng)
    strangers = rng.randint(settings.classes, len(known), (batch, DISTRACTORS))
    which = np.concatenate([strangers, np.repeat(labels[:, None], COPIES, axis=1)], axis=1)
    corners = rng.randint(0, size - side + 1, (*which.shape, 2))
    steps = rng.randint(
        CONTRAST[0], CONTRAST[1] + 1, (*which.shape, settings.channels), dtype=np.int16
    )
    for i in range(batch):
        for glyph, (y, x), step in zip(which[i], corners[i], steps[i], strict=True):
            canvas[i, :, y : y + side, x : x + side] += step[:, None, None] * known[glyph]
    return np.clip(canvas, 0, 255).astype(np.uint8)


def background(batch: int, settings: SyntheticSettings, rng: np.random.RandomState) -> Integers:
    """A dark plane of light that falls from one side, and noise in every pixel."""
    size, shape = settings.size, (batch, settings.channels, 1, 1)
    across, down = rng.randint(-SLOPE, SLOPE + 1, (2, *shape))
    place = np.arange(size) * 2 - (size - 1)
    light = ((across * place + down * place[:, None]) // (2 * size)).astype(np.int16)
    noise = rng.randint(-NOISE, NOISE + 1, (*shape[:2], size, size), dtype=np.int16)
    mixed: Integers = 88 + light + noise
    return mixed
