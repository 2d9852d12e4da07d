"""What all tests share: no display, one thread, small studies.

Most of `sweeps` is imported where it is used: the tests on a GPU run without pydantic and optuna.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib
import pytest

import stability  # noqa: F401 - registers its objectives

if TYPE_CHECKING:
    from sweeps.store.run_directory import RunDirectory
    from sweeps.study.study import Study

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
matplotlib.use("Agg")

TESTS = Path(__file__).parent

# They need a cluster: `make test-slurm`.
collect_ignore = [] if "STABILITY_SLURM" in os.environ else ["slurm"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Fast ones first."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is not None)


@pytest.fixture
def toy_study() -> Study:
    """A study without torch: `objectives.quick`, two models, four draws."""
    return make_toy()


def make_toy(**changes: object) -> Study:
    """A study of the toy objective."""
    from sweeps.study.space import Hyperparameter
    from sweeps.study.study import Study

    fields: dict[str, object] = {
        "models": ("a", "b"),
        "optims": ("sgd",),
        "epochs": (5,),
        "draws": 4,
        "sampler": "random",
        "seed": 0,
        "data": "toy",
        "fingerprint": "0123456789ab",
        "objective": "objectives:quick",
        "recipe": {"sgd": {"momentum": 0.9}},
        "space": (
            Hyperparameter(name="lr", low=0.01, high=1.0),
            Hyperparameter(name="weight_decay", low=1e-5, high=1e-3),
        ),
    }
    return Study(**{**fields, **changes})  # type: ignore[arg-type]


def make_run(folder: Path, **changes: object) -> RunDirectory:
    """The run directory of such a study, of which nothing is trained yet."""
    from sweeps.store.run_directory import RunDirectory
    from sweeps.study.design import draw_design

    study, run = make_toy(**changes), RunDirectory(folder)
    run.create(study, draw_design(study))
    return run
