"""Units where they meet odd numbers, edited code, confirmations and several sources."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from toys import make_run, make_toy

from stability.cli.study.code import versions_in
from sweeps.store.accepted import Accepted, CodeDecision
from sweeps.store.answers import unit_question
from sweeps.store.parts import Ledger, PartWriter
from sweeps.study.design import draw_design
from sweeps.study.trial import Result
from sweeps.study.units import UNNAMED_UNIT, validate_unit


@pytest.mark.parametrize(
    ("values", "outcome"),
    [
        ({"error": Decimal(5), "wrong": 1, "n_eval": 20}, "ok"),
        ({"error": np.float32(5.0), "wrong": torch.tensor(1), "n_eval": 20}, "ok"),
        ({"error": Decimal(6), "wrong": 1, "n_eval": 20}, "crashed"),
        ({"error": torch.tensor([1.0, 2.0])}, "crashed"),
        ({"error": 5.0, "val_error": np.array([1.0, 2.0])}, "crashed"),
        ({"error": 5.0, "n_eval": 10**400}, "crashed"),
    ],
)
def test_every_kind_of_number_is_judged(values: dict[str, Any], outcome: str) -> None:
    assert (
        validate_unit(Result(trial="t", outcome="ok", values=values), "percent").outcome == outcome
    )


def test_a_row_of_a_curve_that_is_no_number_fails_nothing() -> None:
    curve = [{"val_error": np.array([1.0, 2.0])}, {"val_error": 10**400}]
    result = Result(trial="t", outcome="ok", values={"error": 5.0}, curve=curve)
    assert validate_unit(result, "percent").outcome == "ok"


def test_the_unit_is_asked_for_by_the_results_that_count(tmp_path: Path) -> None:
    """Of an edited objective, which returned percent before and fractions since."""
    run = make_run(tmp_path / "run")
    trials, writer = draw_design(make_toy()), PartWriter(run, "w")
    for trial, error, code in zip(trials, [20, 21, 22, 0.2, 0.21, 0.22], "aaabbb", strict=False):
        values = {"error": error, "error_unit": UNNAMED_UNIT}
        writer.append(Result(trial=trial.id, outcome="ok", values=values), code=code)
    chosen = Accepted(codes=frozenset("b"), unknown=False)
    found = {}
    for name, decision in (
        ("all", None), ("b", CodeDecision(accepted=chosen, replaces_results=True)),
    ):  # fmt: skip
        ledger = Ledger(run, decision=decision)
        ledger.refresh()
        found[name] = unit_question(ledger.counted, "")
    assert found["all"] is None
    assert "0.2, 0.21, 0.22" in str(found["b"])


def test_errors_by_counts_beside_fractions_are_asked_about() -> None:
    row = {
        "outcome": "ok", "error": 25.0, "wrong": 5, "val_error": 0.3, "chance": None,
        "error_unit": UNNAMED_UNIT,
    }  # fmt: skip
    assert "val_errors are 0.3, 0.3, 0.3" in str(unit_question([row] * 3, ""))
    assert unit_question([row | {"val_error": 30.0}] * 3, "") is None


@pytest.mark.parametrize("trusting", [False, True])
def test_workers_and_driver_agree_which_results_are_possible(
    tmp_path: Path, *, trusting: bool
) -> None:
    run = make_run(tmp_path / "run")
    trials, writer = draw_design(make_toy()), PartWriter(run, "w")
    for trial, more in zip(
        trials, ({"wrong": 5, "n_eval": 20}, {"val_error": 250.0}), strict=False
    ):
        writer.append(Result(trial=trial.id, outcome="ok", values={"error": 50.0, **more}))
    ledger = Ledger(run, trusting=trusting)
    ledger.refresh()
    assert [ledger.is_trained(trial.id) for trial in trials[:2]] == [False, False]


def test_a_unit_is_named_for_confirmations_too(tmp_path: Path) -> None:
    run, again = make_run(tmp_path / "run"), make_run(tmp_path / "run" / "confirm-r3")
    run.name_unit(run.read_study().in_unit("fraction", None))
    assert (run.unit, again.unit) == ("fraction", "fraction")


def test_a_folder_that_is_no_text_in_provenance_is_ignored(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    (run.provenance / "1.toml").write_text("folder = 3\n")
    assert versions_in(run) is not None
