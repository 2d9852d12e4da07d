"""A data set on the device that trains on it."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from stability.data import ImageData, Part


def to_device(drawn: Tensor, device: torch.device) -> Tensor:
    """What was drawn on the CPU, on `device`, without waiting for what that has still to do.

    From pinned memory: torch waits after a copy that is not `non_blocking`, and of one that is
    CUDA's "API synchronization behavior" says that from pageable memory it may wait all the same.
    The pinned block is not given out again before the copy is done (torch's caching allocator).
    """
    if device.type == "cuda":
        drawn = drawn.pin_memory()
    return drawn.to(device, non_blocking=True)


@dataclass(frozen=True, eq=False)
class TensorPart:
    """One part, as bytes; a batch is standardised when it is taken."""

    images: Tensor
    """(N, C, H, W) uint8."""
    labels: Tensor
    """(N,) int64."""
    mean: Tensor
    """(C, 1, 1) float32: of the training part, in units of 0 to 255."""
    std: Tensor
    """(C, 1, 1) float32."""

    def __len__(self) -> int:
        return len(self.labels)

    def batch(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Standardised images (B, C, H, W) float32 and labels (B,) of these rows."""
        return self.standardised(self.images[rows].float()), self.labels[rows]

    def standardised(self, levels: Tensor) -> Tensor:
        """Levels (B, C, H, W) float32 from 0 to 255 in units of the training part's spread."""
        return (levels - self.mean) / self.std


@dataclass(frozen=True, eq=False)
class TensorData:
    """The three parts on one device."""

    shape: tuple[int, int, int]
    classes: int
    train: TensorPart
    validation: TensorPart
    test: TensorPart

    @property
    def device(self) -> torch.device:
        """Where all three parts lie."""
        return self.train.images.device

    @classmethod
    def of(cls, data: ImageData, device: torch.device | str) -> "TensorData":
        """Copy `data` to `device`."""

        def channel(values: np.ndarray) -> Tensor:
            return torch.tensor(values, device=device)[:, None, None]

        def part(source: Part) -> TensorPart:
            images = torch.tensor(source.images, device=device)
            labels = torch.tensor(source.labels, device=device)
            return TensorPart(images, labels, channel(data.mean), channel(data.std))

        parts = map(part, (data.train, data.validation, data.test))
        return cls(data.shape, len(data.classes), *parts)
