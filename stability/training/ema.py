"""Averaged weights: what the reference study judges in place of the weights themselves."""

from copy import deepcopy

import torch
from torch import Tensor, nn

from stability.training.settings import Recipe


def ema_rate(recipe: Recipe, epochs: int) -> float:
    """Share of the way to the weights that an update goes: min(1, ema * B / E * period).

    So the average spans the same share of the training whatever the batch size B and the schedule
    length E (pycls `trainer.py`, where `ema` is EMA_ALPHA; off there at 0, here at None: then
    raises ValueError).

    >>> recipe = Recipe(lr=1.0, weight_decay=0.0, batch_size=2048, ema=1e-5)
    >>> [round(ema_rate(recipe, epochs), 5) for epochs in (50, 100, 400)]
    [0.01311, 0.00655, 0.00164]
    """
    if recipe.ema is None:
        raise ValueError("ema: off")
    return min(1.0, recipe.ema * recipe.batch_size / epochs * recipe.ema_period)


def warmup_steps(recipe: Recipe, epochs: int, steps: int) -> float:
    """Steps, of a training of `steps`, in which an update copies: those of the warm-up."""
    if recipe.warmup_epochs is None:
        return recipe.warmup * steps
    return recipe.warmup_epochs * steps / epochs


class Average:
    """A copy of a model that follows it: weights and buffers, BatchNorm's statistics among them.

    During the warm-up an update copies. Updates come every `ema_period` steps, counted over the
    whole training. pycls counts anew in each epoch: at 625 steps an epoch and a period of 32 it
    makes 20 updates an epoch and 1,000 in 50 epochs, this class 977 (each 32nd of 31,250 steps).
    """

    def __init__(self, model: nn.Module, recipe: Recipe, epochs: int, steps: int) -> None:
        """`steps`: of the whole training."""
        self.model = deepcopy(model)
        self.rate = ema_rate(recipe, epochs)
        self._period = recipe.ema_period
        self._warmup = warmup_steps(recipe, epochs, steps)
        self.step = 0
        """Steps of the optimizer so far."""
        theirs, ours = model.state_dict(), self.model.state_dict()
        floating = [name for name, value in ours.items() if value.is_floating_point()]
        whole = [name for name in ours if name not in floating]
        self._floats = [ours[name] for name in floating], [theirs[name] for name in floating]
        self._counts = [ours[name] for name in whole], [theirs[name] for name in whole]

    @torch.no_grad()
    def update(self) -> None:
        """Count a step of the optimizer; update every `ema_period` steps."""
        step, self.step = self.step, self.step + 1
        if step % self._period:
            return
        ours, theirs = self._floats
        if step < self._warmup or self.rate == 1:
            _copy(ours, theirs)
        else:
            torch._foreach_lerp_(ours, theirs, self.rate)
        _copy(*self._counts)


def _copy(ours: list[Tensor], theirs: list[Tensor]) -> None:
    if ours:
        torch._foreach_copy_(ours, theirs)
