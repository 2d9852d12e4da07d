"""The commands that are proposed: they can be pasted, and they lead somewhere."""

import shlex
from dataclasses import replace
from typing import Any

import pytest
from foreign_tables import foreign

from analysis import ImportOptions, TableError
from analysis.importers import ExternalSweep, convert_sweep


def hint_of(source: ExternalSweep, **said: Any) -> list[str]:
    """The options that are proposed."""
    with pytest.raises(TableError) as caught:
        convert_sweep(source, ImportOptions(**said))
    words = shlex.split(caught.value.hint)
    return words[3:-2] if words else []


def test_minus_an_accuracy_is_proposed_as_one() -> None:
    study = replace(foreign(value=[-0.9, -0.8]), directions={"value": "minimize"})
    expected = ["--accuracy", "value", "--negate", "--unit", "fraction"]
    assert hint_of(study) == hint_of(study, columns={"error": "value"}) == expected
    said = {"accuracy": "value", "negate": True, "unit": "fraction"}
    assert convert_sweep(study, ImportOptions(**said)).table["error"].tolist() == [10.0, 20.0]


@pytest.mark.parametrize(
    ("columns", "options"),
    [
        ({"test_error": [8, 9], "val_acc": [90, 91]}, ["--map", "error=test_error"]),
        ({"error": ["CUDA oom", "x"], "test_acc": [90, 91]}, ["--accuracy", "test_acc"]),
        ({"error": [0, 1], "test_acc": [90, 91]}, ["--accuracy", "test_acc"]),
        ({"Modell": ["a", "b"], "error": [8, 9]}, ["--map", "model=Modell"]),
        (
            {"run": ["a", "a"], "epoch": [1, 2], "error": [8, 9]},
            ["--last-of", "run"],
        ),
        (
            {"acc": [0.9, 0.8], "state": ["TERMINATED"] * 2},
            ["--accuracy", "acc", "--unit", "fraction"],
        ),
    ],
)
def test_the_proposal_settles_the_question(
    columns: dict[str, list[Any]], options: list[str]
) -> None:
    assert hint_of(foreign(**columns)) == options


def test_nothing_is_proposed_that_would_be_refused_again() -> None:
    assert hint_of(foreign(error=[8.0, "3 or 4"])) == []
    assert hint_of(foreign(error=[8.0, 999.0])) == []
