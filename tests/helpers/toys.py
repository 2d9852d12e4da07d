"""Where the files are, and studies that need no torch.

`sweeps` is imported where it is used: the tests on a GPU run without pydantic and optuna.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sweeps.store.run_directory import RunDirectory
    from sweeps.study.study import Study
    from sweeps.study.trial import Trial

HELPERS = Path(__file__).parent
"""Workers import the objectives of the tests from here."""
TESTS = HELPERS.parent
ROOT = TESTS.parent
FIXTURES = TESTS / "fixtures"
EXAMPLES = ROOT / "docs" / "examples"


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


def own_trial(**drawn: float) -> Trial:
    """Of `fit` in docs/examples/svm.py."""
    from sweeps.study.trial import Trial

    return Trial(
        id="fit-own-e1-0",
        study="abc",
        draw=0,
        model="fit",
        optim="own",
        epochs=1,
        seed=7,
        data="svm",
        fingerprint="own",
        hyperparameters=dict(drawn),
        settings=dict(drawn),
        precision="float32",
        objective="svm:fit",
    )
