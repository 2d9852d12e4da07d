"""One rule says which trainings are collapsed, whatever trained or imported them."""

import math
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from toys import make_run
from toys import own_trial as trial

from analysis import load
from analysis.edf.summary import summarise
from analysis.importers.chance import mark_collapsed
from analysis.table import collapse as copy_in_analysis
from stability.objective import image_outcome
from stability.training.outcome import Evaluation, Training
from sweeps.driver.tally import Tally
from sweeps.objective.collapse import is_collapsed
from sweeps.objective.function_objective import result_of
from sweeps.store import views
from sweeps.store.parts import Ledger, PartWriter
from sweeps.study.trial import Result


def by_our_objective(wrong: int, n: int, chance: float, *, constant: bool = False) -> str:
    test = Evaluation(wrong=wrong, n=n, loss=1.0, chance=chance, constant=constant)
    return image_outcome(Training(outcome="ok", test=test))


def by_plain_function(wrong: int, n: int, chance: float) -> str:
    return result_of(trial(), {"wrong": wrong, "n_eval": n, "chance": chance}).outcome


def by_import(wrong: int, n: int, chance: float) -> str:
    row = {"outcome": "ok", "error": 100 * wrong / n, "chance": chance, "n_eval": n}
    table = pd.DataFrame([row])
    mark_collapsed(table)
    return str(table["outcome"][0])


@pytest.mark.parametrize("outcome", [by_our_objective, by_plain_function, by_import])
@pytest.mark.parametrize(
    ("wrong", "n", "chance", "expected"),
    [
        (0, 8, 50.0, "ok"),  # perfect; chance - 3 sd is -3
        (3, 8, 50.0, "ok"),
        (4, 8, 50.0, "collapsed"),
        (0, 30, 6.25, "ok"),  # two images lie outside the largest class
        (1, 2, 50.0, "collapsed"),
        (34, 100, 50.0, "ok"),  # chance - 3 sd is 35
        (35, 100, 50.0, "collapsed"),
        (3, 10, 30.000000000000004, "collapsed"),  # chance as 100 * (1 - 0.7)
        (0, 400, 89.75, "ok"),
    ],
)
def test_outcome_is_the_same_for_every_source(outcome, wrong, n, chance, expected) -> None:  # type: ignore[no-untyped-def]
    assert outcome(wrong, n, chance) == expected


@given(
    error=st.floats(0, 100) | st.just(math.nan),
    chance=st.floats(0, 100),
    n_eval=st.none() | st.integers(1, 10**6),
)
@example(error=90.0 - 1e-10, chance=90.0, n_eval=None)
@example(error=85.5, chance=90.0, n_eval=400)
@example(error=0.0, chance=0.0, n_eval=None)
@example(error=12.5, chance=50.0, n_eval=8)
def test_the_copy_in_analysis_is_the_same_rule(
    error: float, chance: float, n_eval: int | None
) -> None:
    copy = copy_in_analysis.is_collapsed(error, chance, n_eval)
    assert copy == is_collapsed(error, chance, n_eval)


def test_a_perfect_model_is_never_collapsed() -> None:
    for n in range(1, 60):
        for largest in range(n // 2, n + 1):
            assert not is_collapsed(0.0, 100 * (1 - largest / n), n, constant=largest == n)


@pytest.mark.parametrize(("n", "chance"), [(400, 89.75), (300, 89.0), (10_000, 90.0), (50, 60.0)])
def test_limit_is_three_standard_deviations_below_chance(n: int, chance: float) -> None:
    p = chance / 100
    limit = n * p - 3 * np.sqrt(n * p * (1 - p))  # of wrong answers
    for wrong in range(n + 1):
        if abs(wrong - limit) > 1e-6:
            assert is_collapsed(100 * wrong / n, chance, n) == (wrong > limit)


def test_the_best_in_progress_is_the_best_of_the_table(tmp_path: Path) -> None:
    """Collapsed runs are not the best, and with nothing else there is no best."""
    run = make_run(tmp_path / "run", models=("a",), draws=3)
    ids = run.read_design().ids
    tally = Tally(run.read_design(), Ledger(run))

    def best_after(trial: str, outcome: str, error: float) -> tuple[float | None, float | None]:
        values = {"error": error, "chance": 50.0}
        result = Result(trial=trial, outcome=outcome, values=values)
        PartWriter(run, trial).append(result, finished=datetime.now(UTC), attempt=1)
        tally.look()
        views.rebuild(run)
        best = summarise(load([run.path])).iloc[0]["best"]
        return tally.best, None if math.isnan(best) else best

    assert best_after(ids[0], "collapsed", 40.0) == (None, None)
    assert best_after(ids[1], "ok", 41.0) == (41.0, 41.0)
    assert best_after(ids[2], "collapsed", 30.0) == (41.0, 41.0)


def test_a_constant_answer_is_collapsed_below_the_limit_too() -> None:
    assert by_our_objective(1, 100, 50.0, constant=True) == "collapsed"
    assert by_our_objective(1, 100, 50.0) == "ok"
    assert image_outcome(Training(outcome="diverged", diverged_at=3)) == "diverged"
