"""Objectives of one's own that keep their state."""

import importlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from toys import ROOT, make_toy

import sweeps
from sweeps.objective.function_objective import fault_of_objective, from_function
from sweeps.study.design import draw_design
from sweeps.study.trial import Cohort, Result, Saved, Trial


def test_a_function_with_a_parameter_for_it_gets_a_place() -> None:
    trial, given = draw_design(make_toy())[0], []

    def fit(trial: dict[str, Any], saved: Saved) -> float:
        given.append(saved)
        return 1.0

    place = Saved()
    cohort = Cohort(trials=(trial,), device="cpu", saved={trial.id: place})
    list(from_function(fit)(cohort))
    list(from_function(fit)(replace(cohort, saved={})))  # outside of a sweep: nowhere
    assert given[0] is place
    assert given[1].load() is None
    assert fault_of_objective(fit) is None
    assert "one argument" in str(fault_of_objective(lambda trial, kept: 1.0))


class FirstTwo(Saved):
    """Keeps two epochs and interrupts then."""

    state: bytes | None = None
    left = 2
    others: object = None

    def load(self) -> bytes | None:
        return self.state

    def maybe_save(self, state: Callable[[], bytes], others: object = None) -> None:
        self.state, self.left, self.others = state(), self.left - 1, others
        if not self.left:
            raise SystemExit


def test_both_names_of_an_offer_keep_the_same() -> None:
    for name in ("maybe_save", "offer"):
        saved, others = FirstTwo(), [(Saved(), bytes)]
        getattr(saved, name)(lambda: b"state", others)
        assert (saved.load(), saved.others) == (b"state", others)


@pytest.mark.parametrize("statement", ["from sweeps import", "from sweeps.trial import"])
def test_the_types_of_an_objective_have_one_public_place_and_an_earlier_one(statement: str) -> None:
    names: dict[str, Any] = {}
    exec(f"{statement} Cohort, Result, Saved, Trial", names)
    assert [names[name] for name in ("Cohort", "Result", "Saved", "Trial")] == [
        Cohort,
        Result,
        Saved,
        Trial,
    ]


def test_sweeps_has_nothing_else_of_its_own() -> None:
    with pytest.raises(AttributeError, match="module 'sweeps' has no attribute 'Saves'"):
        sweeps.Saves  # noqa: B018


def test_the_example_of_the_page_goes_on_to_the_same_result(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(ROOT / "docs" / "examples")
    fit = importlib.import_module("softmax").fit
    trial, saved = {"lr": 0.02, "seed": 5, "epochs": 4}, FirstTwo()
    with pytest.raises(SystemExit):
        fit(trial, saved)
    assert fit({**trial, "epochs": 2}, saved) != fit({**trial, "epochs": 2, "lr": 2.0}, Saved())
    assert fit(trial, saved) == fit(trial, Saved())
