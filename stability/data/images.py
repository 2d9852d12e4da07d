"""Images in memory: the one interface between a data set and everything that trains on it."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

COUNT_CHUNK = 256  # images looked at together: what fits in a cache


@dataclass(frozen=True, eq=False)
class Part:
    """One part of a data set."""

    images: NDArray[np.uint8]
    """(N, C, H, W), 0 to 255."""
    labels: NDArray[np.int64]
    """(N,), indices into the classes."""

    def __post_init__(self) -> None:
        faults = []
        if self.images.dtype != np.uint8 or self.images.ndim != 4:
            faults.append(
                f"images are {self.images.dtype} {self.images.shape}, not uint8 (N,C,H,W)"
            )
        if self.labels.dtype != np.int64 or self.labels.shape != self.images.shape[:1]:
            faults.append(f"labels are {self.labels.dtype} {self.labels.shape}, not one int64 each")
        if faults:
            raise ValueError("; ".join(faults))

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, eq=False)
class ImageData:
    """A data set in three parts: to train on, to choose by, and to report on."""

    name: str
    """Short, without a path: for tables, titles and the names of folders."""
    classes: tuple[str, ...]
    train: Part
    validation: Part
    test: Part
    notes: tuple[str, ...] = ()
    """What was done to the images, or which part became which."""
    left_out: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """By class, the unreadable images that are left out."""

    @cached_property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of an image."""
        _, channels, height, width = self.train.images.shape
        return channels, height, width

    @cached_property
    def mean(self) -> NDArray[np.float32]:
        """(C,): mean of each channel over the training part, in units of 0 to 255."""
        return self._moments[0].astype(np.float32)

    @cached_property
    def std(self) -> NDArray[np.float32]:
        """(C,): standard deviation of each channel over the training part, 0 to 255."""
        return np.sqrt(self._moments[1]).astype(np.float32)

    @cached_property
    def _moments(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(C,) each: means and variances, from counts of the 256 values.

        Exact, and without the eight-fold copy in floats that numpy's `std` makes.
        """
        images, values = self.train.images, np.arange(256)
        channels = range(images.shape[1])
        counts = np.zeros((len(channels), 256), np.int64)
        for start in range(0, len(images), COUNT_CHUNK):
            chunk = images[start : start + COUNT_CHUNK]
            counts += [np.bincount(chunk[:, c].ravel(), minlength=256) for c in channels]
        mean = counts @ values / counts.sum(axis=1)
        variance = (counts * (values - mean[:, None]) ** 2).sum(axis=1) / counts.sum(axis=1)
        return mean, variance

    @cached_property
    def fingerprint(self) -> str:
        """12 hexadecimal digits of the SHA-256 of every image, label and class name, in order.

        The same images in another folder or under another name have the same fingerprint.
        """
        digest = hashlib.sha256("\n".join(self.classes).encode())
        for part in (self.train, self.validation, self.test):
            digest.update(repr(part.images.shape).encode())
            digest.update(np.ascontiguousarray(part.images).data)
            digest.update(part.labels.astype("<i8").tobytes())
        return digest.hexdigest()[:12]
