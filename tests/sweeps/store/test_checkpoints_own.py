"""Objectives of one's own that keep their state."""

import importlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from toys import ROOT, make_toy

from sweeps.objective.function_objective import fault_of, of_plain
from sweeps.study.design import draw_design
from sweeps.study.trial import Cohort, Saved


def test_a_function_with_a_parameter_for_it_gets_a_place() -> None:
    trial, given = draw_design(make_toy())[0], []

    def fit(trial: dict[str, Any], saved: Saved) -> float:
        given.append(saved)
        return 1.0

    place = Saved()
    cohort = Cohort(trials=(trial,), device="cpu", saved={trial.id: place})
    list(of_plain(fit)(cohort))
    list(of_plain(fit)(replace(cohort, saved={})))  # outside of a sweep: nowhere
    assert given[0] is place
    assert given[1].load() is None
    assert fault_of(fit) is None
    assert "one argument" in str(fault_of(lambda trial, kept: 1.0))


class FirstTwo(Saved):
    """Keeps two epochs and interrupts then."""

    state: bytes | None = None
    left = 2

    def load(self) -> bytes | None:
        return self.state

    def offer(self, state: Callable[[], bytes]) -> None:
        self.state, self.left = state(), self.left - 1
        if not self.left:
            raise SystemExit


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
