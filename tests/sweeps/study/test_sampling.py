"""Designs: the points of Optuna's samplers."""

import warnings

import numpy as np
import optuna
import pytest
from scipy.stats import kstest, qmc

from sweeps.study.sampling import SAMPLERS, axis_names, draw_points, grid_levels
from sweeps.study.space import Hyperparameter

LR = Hyperparameter(name="lr", low=1e-3, high=1.0)
WD = Hyperparameter(name="weight_decay", low=1e-5, high=1e-2)
BATCH = Hyperparameter(name="batch_size", choices=(32, 64, 128))


@pytest.mark.parametrize("d", [1, 2, 5])
@pytest.mark.parametrize("seed", [0, 3, 2**32 - 1])
@pytest.mark.parametrize("sampler", ["random", "sobol"])
def test_the_points_are_those_that_optuna_gives_when_asked(sampler: str, seed: int, d: int) -> None:
    """To the last bit: what was drawn when Optuna was asked point by point is drawn still."""
    names = [f"{letter}{i}" for i, letter in enumerate("zyxwv")][:d]
    space = [Hyperparameter(name=name, low=1e-3, high=1.0) for name in names]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        asked_of, skipped = {
            "random": (optuna.samplers.RandomSampler(seed), 0),
            "sobol": (optuna.samplers.QMCSampler(qmc_type="sobol", scramble=True, seed=seed), 1),
        }[sampler]
    study = optuna.create_study(sampler=asked_of)
    unit = {name: optuna.distributions.FloatDistribution(0.0, 1.0) for name in names}
    asked = [study.ask(unit).params for _ in range(40 + skipped)][skipped:]  # type: ignore[arg-type]
    expected = [[point[name] for name in names] for point in asked]
    assert draw_points(sampler, space, 40, seed).tolist() == expected  # type: ignore[arg-type]


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_the_same_seed_draws_the_same_points_and_another_seed_others(sampler: str) -> None:
    first, again, other = (draw_points(sampler, [LR, WD], 16, seed) for seed in (3, 3, 4))  # type: ignore[arg-type]
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert first.shape == (16, 2)
    assert len({tuple(point) for point in first}) == 16
    assert ((first >= 0) & (first <= 1)).all()


@pytest.mark.parametrize("sampler", ["random", "sobol"])
def test_the_first_n_of_2n_draws_are_the_n_draws(sampler: str) -> None:
    n, twice = (draw_points(sampler, [LR, WD], size, 5) for size in (16, 32))  # type: ignore[arg-type]
    assert np.array_equal(n, twice[:16])


def test_random_draws_are_uniform_and_independent() -> None:
    points = draw_points("random", [LR, WD], 2000, 0)
    assert kstest(points[:, 0], "uniform").pvalue > 1e-3
    assert kstest(points[:, 1], "uniform").pvalue > 1e-3
    assert abs(np.corrcoef(points.T)[0, 1]) < 4 / np.sqrt(2000)


def test_sobol_fills_the_square_more_evenly_than_random() -> None:
    """Optuna's first Sobol point is a random one: kept, it would spoil the balance."""
    sobol, random = draw_points("sobol", [LR, WD], 64, 0), draw_points("random", [LR, WD], 64, 0)
    assert qmc.discrepancy(sobol) < 0.2 * qmc.discrepancy(random)
    in_quarters, _, _ = np.histogram2d(*sobol.T, bins=8, range=[[0, 1], [0, 1]])
    assert (in_quarters == 1).all()  # a (0, 6, 2)-net has one point in each of 64 squares


def test_grid_has_every_combination_once() -> None:
    points = draw_points("grid", [LR, BATCH], 15, 0)
    assert sorted(set(points[:, 0])) == [0, 0.25, 0.5, 0.75, 1]
    assert sorted(BATCH.at(u) for u in set(points[:, 1])) == [32, 64, 128]  # type: ignore[type-var]
    assert len({tuple(point) for point in points}) == 15


def test_a_grid_that_is_none_is_refused_with_the_nearest_sizes() -> None:
    with pytest.raises(ValueError, match="49 or 64 or 81 draws, got 60"):
        grid_levels([LR, WD], 60)
    with pytest.raises(ValueError, match="has 3 draws, got 4"):
        grid_levels([BATCH], 4)


def test_an_axis_for_each_name_however_many_laws_it_has() -> None:
    by_optimizer = [LR.model_copy(update={"optims": (optim,)}) for optim in ("sgd", "adamw")]
    assert axis_names([*by_optimizer, WD]) == ["lr", "weight_decay"]
