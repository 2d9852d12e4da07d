"""The handwritten digits that lie in scikit-learn's wheel: real images, nothing to download."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stability.data.images import ImageData, Part
from stability.data.splits import SPLIT_SEED, stratified_order

ENLARGE = 4  # 8x8 to 32x32
TEST, VALIDATION = 400, 300  # the remaining 1,097 are for training


def load_digits() -> ImageData:
    """1,797 digits, grey, enlarged bilinearly from 8x8 to 32x32, in a fixed stratified split.

    1,097 to train on, 300 to choose by, 400 to report on. Raises FileNotFoundError where
    scikit-learn is not installed.
    """
    # scikit-learn's own loader is not called: importing it takes longer than reading the file
    # a hundred times. A test holds the two equal.
    table = np.loadtxt(_file(), delimiter=",")
    labels = table[:, -1].astype(np.int64)
    small = table[:, :-1].reshape(-1, 8, 8)  # 0 to 16
    # Every weight is a multiple of 1/64 and 255/16 is a binary fraction: no rounding before
    # rint, so that the fingerprint is the same on every machine.
    images = np.rint(_enlarge(_enlarge(small, axis=1), axis=2) * (255 / 16)).astype(np.uint8)
    order = stratified_order(labels, np.random.RandomState(SPLIT_SEED))
    parts = np.split(order, [TEST, TEST + VALIDATION])
    test, validation, train = (Part(images[rows, None], labels[rows]) for rows in parts)
    return ImageData("digits", tuple("0123456789"), train, validation, test)


def _file() -> Path:
    package = find_spec("sklearn")
    if package is None or package.origin is None:
        raise FileNotFoundError("the digits lie in scikit-learn's wheel: pip install scikit-learn")
    return Path(package.origin).parent / "datasets" / "data" / "digits.csv.gz"


def _enlarge(images: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    """Bilinear enlargement along one axis, pixel centres at half-integers, edges repeated."""
    n = images.shape[axis]
    centre = np.clip((np.arange(n * ENLARGE) + 0.5) / ENLARGE - 0.5, 0, n - 1)
    below = np.minimum(centre.astype(int), n - 2)
    shape = [1, 1, 1]
    shape[axis] = -1
    weight = (centre - below).reshape(shape)
    lower, upper = images.take(below, axis), images.take(below + 1, axis)
    enlarged: NDArray[np.float64] = lower * (1 - weight) + upper * weight
    return enlarged
