"""Points of the unit cube: those of Optuna's samplers, drawn in one process before anything runs.

They are drawn once and written down. A sampler with a seed would propose the same points in every
process, so nothing is drawn in a worker.
"""

import math
import warnings
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from sweeps.study.space import Hyperparameter

Sampler = Literal["random", "sobol", "grid"]
SAMPLERS: tuple[Sampler, ...] = ("random", "sobol", "grid")


def draw_points(
    sampler: Sampler, space: Sequence[Hyperparameter], n: int, seed: int
) -> NDArray[np.float64]:
    """Draw `n` points (n, d) of the unit cube, a column for each distinct name of `space`.

    random: independent and uniform; the first n of 2n draws are the n draws. sobol: scrambled,
    with the same property. grid: `grid_levels` to a side in an order shuffled by `seed`.
    """
    d = len(axis_names(space))
    match sampler:
        case "random":
            # The stream of Optuna's RandomSampler, which numpy promises never to change. Asking
            # Optuna point by point gives the same and takes a thousand times as long.
            return np.random.RandomState(seed).random_sample((n, d))
        case "sobol":
            return _sobol(d, n, seed)
        case "grid":
            return _shuffled_grid(space, n, seed)


def _sobol(d: int, n: int, seed: int) -> NDArray[np.float64]:
    """Draw from the engine of Optuna's QMCSampler.

    The sampler itself makes a new engine for each point and skips to it: 7.8 s for 4,000 points,
    growing with n^2. Its first point is a random one, which would spoil the balance.
    """
    from scipy.stats import qmc  # takes a second

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # n need not be a power of 2
        points: NDArray[np.float64] = qmc.Sobol(d, scramble=True, seed=seed).random(n)
    return points


def _shuffled_grid(space: Sequence[Hyperparameter], n: int, seed: int) -> NDArray[np.float64]:
    """Ask Optuna for the points of the grid, in its order."""
    import optuna  # takes half a second

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    names = axis_names(space)
    unit: dict[str, optuna.distributions.BaseDistribution] = {
        name: optuna.distributions.FloatDistribution(0.0, 1.0) for name in names
    }
    study = optuna.create_study(sampler=optuna.samplers.GridSampler(_grid(space, n), seed=seed))
    asked = [study.ask(unit).params for _ in range(n)]
    return np.array([[point[name] for name in names] for point in asked])


def axis_names(space: Sequence[Hyperparameter]) -> list[str]:
    """Return the distinct names in their order: the axes of the cube."""
    return list(dict.fromkeys(hyperparameter.name for hyperparameter in space))


def grid_levels(space: Sequence[Hyperparameter], n: int) -> dict[str, int]:
    """Return the levels of each axis of a grid of `n` points: all choices, the same for intervals.

    Raises ValueError, naming the nearest sizes, if no such grid has exactly `n` points.

    >>> lr, wd = (Hyperparameter(name=name, low=1e-3, high=1) for name in ("lr", "weight_decay"))
    >>> grid_levels([lr, wd], 64)
    {'lr': 8, 'weight_decay': 8}
    """
    choices = {h.name: len(h.choices) for h in space if h.choices}
    intervals = [name for name in axis_names(space) if name not in choices]
    fixed = math.prod(choices.values())
    side = round((n / fixed) ** (1 / len(intervals))) if intervals else 1
    if fixed * max(side, 1) ** len(intervals) != n:
        sides = {max(side - 1, 1), max(side, 1), side + 1} if intervals else {1}
        sizes = " or ".join(str(fixed * s ** len(intervals)) for s in sorted(sides))
        raise ValueError(f"a grid over {', '.join(axis_names(space))} has {sizes} draws, got {n}")
    return {name: choices.get(name, side) for name in axis_names(space)}


def _grid(space: Sequence[Hyperparameter], n: int) -> dict[str, list[float]]:
    """Return the levels in the unit interval: for an interval its ends, for a choice its middle."""
    has_choices = {h.name for h in space if h.choices}
    return {
        name: [(i + 0.5) / k for i in range(k)]
        if name in has_choices or k == 1
        else [i / (k - 1) for i in range(k)]
        for name, k in grid_levels(space, n).items()
    }
