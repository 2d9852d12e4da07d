"""Optimizers that step K trials at once, each with its own settings.

A row for each row of `OPTIMIZER_CLASSES` (`stability/training/optimizers.py`).

All weights are one matrix (K, P), those that are decayed first, so that a step is a handful of
operations whatever the number of layers. Nothing in a step waits for the device.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from stability.training.optimizers import AdamW
from stability.training.settings import Recipe


class StackedOptimizer(ABC):
    """A step on the weights of K trials."""

    SETTINGS: tuple[str, ...]
    """Settings of a recipe that may differ between trials."""
    MEMORIES: int
    """Number of values remembered for each weight."""

    def __init__(self, weights: Tensor, decayed: int, recipes: Sequence[Recipe]) -> None:
        """`weights` (K, P), moved in place; the first `decayed` of the P are decayed."""
        self.weights, self.decayed = weights, decayed
        self.memories = [torch.zeros_like(weights) for _ in range(self.MEMORIES)]
        # In double precision: in single, 1 - beta2 has four digits.
        self.columns = {
            name: torch.tensor(
                [[getattr(recipe, name)] for recipe in recipes],
                dtype=torch.float64,
                device=weights.device,
            )
            for name in self.SETTINGS
        }
        """(K, 1) each."""

    @torch.no_grad()
    def step(self, gradients: Tensor, lr: Tensor, alive: Tensor) -> None:
        """Move the weights of those that are alive.

        Args:
            gradients: (K, P), may be overwritten.
            lr: (K, 1) float64.
            alive: (K, 1) bool. The others stay as they are, whatever their gradients.
        """
        # Chosen, not multiplied: 0 * NaN is NaN.
        self.weights.copy_(torch.where(alive, self.moved(gradients, lr), self.weights))

    @abstractmethod
    def moved(self, gradients: Tensor, lr: Tensor) -> Tensor:
        """The weights after the step, as a new tensor."""

    def state(self) -> list[Tensor]:
        """All tensors with K as first axis, without the weights."""
        return [*self.memories, *self.columns.values()]

    def load_state(self, weights: Tensor, state: Iterator[Tensor]) -> None:
        """Continue with `weights` and the next tensors of `state`."""
        self.weights = weights
        self.memories = [next(state) for _ in self.memories]
        self.columns = {name: next(state) for name in self.columns}


class StackedSGD(StackedOptimizer):
    """Momentum, L2 coupled through the gradient."""

    SETTINGS = ("weight_decay", "momentum")
    MEMORIES = 1

    def __init__(self, weights: Tensor, decayed: int, recipes: Sequence[Recipe]) -> None:
        super().__init__(weights, decayed, recipes)
        self.nesterov = recipes[0].nesterov

    def moved(self, gradients: Tensor, lr: Tensor) -> Tensor:
        """One step of `torch.optim.SGD`."""
        (memory,), dtype = self.memories, gradients.dtype
        momentum = self.columns["momentum"].to(dtype)
        decay = self.columns["weight_decay"].to(dtype)
        gradients[:, : self.decayed] += decay * self.weights[:, : self.decayed]
        memory.mul_(momentum).add_(gradients)  # zero at first, so that the first is the gradient
        direction = gradients + momentum * memory if self.nesterov else memory
        return self.weights - lr.to(dtype) * direction


class StackedAdamW(StackedOptimizer):
    """Decoupled weight decay."""

    SETTINGS = ("weight_decay", "beta1", "beta2")
    MEMORIES = 2

    def __init__(self, weights: Tensor, decayed: int, recipes: Sequence[Recipe]) -> None:
        super().__init__(weights, decayed, recipes)
        for name in ("beta1", "beta2"):  # to the power of the steps taken
            self.columns[f"{name}^t"] = torch.ones_like(self.columns[name])

    def moved(self, gradients: Tensor, lr: Tensor) -> Tensor:
        """One step of `torch.optim.AdamW`."""
        (first, second), dtype = self.memories, gradients.dtype
        beta1, beta2 = self.columns["beta1"], self.columns["beta2"]
        bias1 = 1 - self.columns["beta1^t"].mul_(beta1)
        bias2 = 1 - self.columns["beta2^t"].mul_(beta2)
        first.lerp_(gradients, (1 - beta1).to(dtype))
        second.mul_(beta2.to(dtype)).addcmul_(gradients, (1 - beta2).to(dtype) * gradients)
        spread = (second.sqrt() / bias2.sqrt().to(dtype)).add_(AdamW.EPS)
        weights = self.weights.clone()
        weights[:, : self.decayed] *= (1 - lr * self.columns["weight_decay"]).to(dtype)
        return weights.sub_((lr / bias1).to(dtype) * first / spread)


STACKED_OPTIMIZER_CLASSES: dict[str, type[StackedSGD] | type[StackedAdamW]] = {
    "sgd": StackedSGD,
    "adamw": StackedAdamW,
}
