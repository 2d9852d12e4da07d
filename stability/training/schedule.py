"""The learning rate at each step."""

import math

from stability.training.settings import Recipe


def lr_at(step: int, steps: int, recipe: Recipe, epochs: int = 1) -> float:
    """Learning rate of step `step` (0 to steps - 1) of a schedule of `steps` steps in `epochs`.

    peak * [(1 - floor) (1 + cos(pi t / T)) / 2 + floor], times a factor that climbs linearly from
    `warmup_from` to 1 over the first `warmup * T` steps, or over `warmup_epochs`. The cosine's
    clock starts at step 0, not after the warm-up (pycls `optimizer.py`). With `lr_per` epoch, as
    there, all steps of an epoch have the learning rate of its first.

    >>> recipe = Recipe(lr=1.0, weight_decay=0.0)
    >>> round(lr_at(0, 100, recipe), 6), round(lr_at(50, 100, recipe), 6)
    (0.1, 0.5025)
    """
    of_epoch = steps // epochs
    if recipe.lr_per == "epoch":
        step -= step % of_epoch
    cosine = 0.5 * (1 + math.cos(math.pi * step / steps))
    lr = recipe.lr * ((1 - recipe.floor) * cosine + recipe.floor)
    warmup_steps = recipe.warmup * steps
    if recipe.warmup_epochs is not None:
        warmup_steps = recipe.warmup_epochs * of_epoch
    if step < warmup_steps:
        lr *= recipe.warmup_from + (1 - recipe.warmup_from) * step / warmup_steps
    return lr
