"""Laws of errors whose truths are known: what coverage and size are measured against."""

from typing import NamedTuple

import numpy as np

from analysis.arrays import FloatArray

CHANCE = 90.0
FAILED = 0.4
NEAR = 0.3  # share within D of the peak, the same for every shape
D = 4.0
STEP = 0.25  # points: one image of 400


class Law(NamedTuple):
    """Errors peak + width U^(1/shape), where F(peak + D) = near; a share FAILED at chance."""

    peak: float
    shape: int
    """Of the tail: the share of usable errors within x of the peak grows as x^shape."""
    step: float = 0.0
    """Grid on which errors are rounded up, in points; 0 for a continuous law."""
    near: float = NEAR

    @property
    def width(self) -> float:
        """Points between the best and the worst usable error."""
        return float(D * ((1.0 - FAILED) / self.near) ** (1.0 / self.shape))

    def draw(self, rng: np.random.Generator, n: int) -> FloatArray:
        """Draw n errors, in percent."""
        return self.at(rng.random(n))

    def at(self, u: FloatArray) -> FloatArray:
        """Tell the errors that shares u of all configurations reach, in percent."""
        usable = np.minimum(u / (1.0 - FAILED), 1.0)
        x = self.peak + self.width * usable ** (1.0 / self.shape)
        if self.step:
            x = np.ceil(x / self.step - 1e-9) * self.step
        return np.where(u < 1.0 - FAILED, x, CHANCE)

    def share(self, x: FloatArray) -> FloatArray:
        """Tell the true F(x) below chance."""
        at = np.floor(x / self.step + 1e-9) * self.step if self.step else x
        usable = np.clip((at - self.peak) / self.width, 0.0, 1.0) ** self.shape
        return np.asarray((1.0 - FAILED) * usable)

    def share_at(self, x: float) -> float:
        """Tell the true F(x) of one x below chance."""
        return float(self.share(np.array([x]))[0])
