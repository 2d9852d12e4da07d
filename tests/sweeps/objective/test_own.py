"""Models, objectives and studies of a user: ten lines of theirs, and what is said of bad ones."""

import math
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from command_line import call, request
from toys import EXAMPLES
from toys import own_trial as trial

from stability.cli.study.own_study import own_law
from stability.cli.study.parsing import FaultList
from sweeps.errors import SpecError
from sweeps.objective.function_objective import (
    fault_of_objective,
    from_function,
    result_of,
    takes_one_trial,
)
from sweeps.objective.user_code import UserCode
from sweeps.study.space import Hyperparameter
from sweeps.study.trial import Cohort

# What a plain function's answer means.


@pytest.mark.parametrize("answer", [7.5, {"error": 7.5}, {"wrong": 30, "n_eval": 400}])
def test_an_error_may_come_as_a_number_a_metric_or_two_counts(answer: object) -> None:
    found = result_of(trial(C=1.0), answer)
    assert (found.outcome, found.values["error"]) == ("ok", 7.5)


@pytest.mark.parametrize("error", [math.nan, math.inf, None])
def test_an_error_that_is_none_is_a_diverged_training(error: float | None) -> None:
    found = result_of(trial(), {"error": error, "chance": 90.0})
    assert found.outcome == "diverged"
    assert "error" not in found.values


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        ({"error": 85.4, "chance": 90.0, "n_eval": 400}, "ok"),  # sd of 400 guesses: 1.5
        ({"error": 85.6, "chance": 90.0, "n_eval": 400}, "collapsed"),
        ({"error": 89.9, "chance": 90.0}, "ok"),
        ({"error": 90.0, "chance": 90.0}, "collapsed"),
    ],
)
def test_an_error_that_a_guess_may_have_is_a_collapsed_training(
    answer: dict[str, float], outcome: str
) -> None:
    assert result_of(trial(), answer).outcome == outcome


def test_other_numbers_are_kept_and_curves_are_numbered() -> None:
    curve = [{"val_error": 9.0}, {"val_error": 8.0}]
    found = result_of(trial(), {"error": 1, "vectors": 12, "curve": curve})
    assert found.values["metrics"] == [{"name": "vectors", "value": 12.0}]
    assert [row["epoch"] for row in found.curve] == [0, 1]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ({1: 2.0, "error": 3.0}, "1 is a int, names are text"),
        ({"error": 3.0, "curve": [{"epoch": "a"}]}, "curve: epoch is 'a', allowed is a number"),
        ({"error": 3.0, "curve": [{"loss": "low"}]}, "curve: loss is 'low', allowed is a number"),
    ],
)
def test_what_no_table_can_hold_is_a_fault_of_the_answer(answer: object, words: str) -> None:
    with pytest.raises(TypeError) as error:
        result_of(trial(), answer)
    assert words in str(error.value)


def test_numpys_numbers_are_numbers_in_a_curve() -> None:
    row = {"epoch": np.int64(3), "loss": np.float32(0.5), "val_error": None}
    assert result_of(trial(), {"error": 1.0, "curve": [row]}).curve == [row]


def test_every_fault_of_an_answer_is_named() -> None:
    answer = {"C": 1.0, "seed": 3, "size": "big", "curve": [{"colour": 1}]}
    with pytest.raises(TypeError) as error:
        result_of(trial(C=1.0), answer)
    for words in ("needed is 'error'", "C is the name", "seed is the name", "'big'", "colour"):
        assert words in str(error.value)


def test_the_function_gets_what_was_drawn_and_the_seed() -> None:
    given: list[dict[str, object]] = []

    def fit(trial: dict[str, object]) -> float:
        given.append(trial)
        return 1.0

    assert takes_one_trial(fit)
    list(from_function(fit)(Cohort(trials=(trial(C=2.0),), device="cpu")))
    assert given == [{"C": 2.0, "model": "fit", "optim": "own", "epochs": 1, "seed": 7}]


def test_what_is_no_function_of_a_trial_is_told() -> None:
    assert "no function" in str(fault_of_objective(3))
    assert "one argument" in str(fault_of_objective(lambda a, b: a))
    assert fault_of_objective(lambda trial: 1.0) is None

    async def waits(trial: object) -> float:
        return 1.0

    assert "async" in str(fault_of_objective(waits))


# What --vary means with an objective.


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("C=0.01:100", {"low": 0.01, "high": 100.0}),
        ("dropout=0:0.5:linear", {"low": 0.0, "high": 0.5, "scale": "linear"}),
        ("depth=2:8:int", {"low": 2, "high": 8, "integer": True}),
        ("kernel=rbf,poly", {"choices": ("rbf", "poly")}),
        ("degree=2,3,0.5", {"choices": (2, 3, 0.5)}),
    ],
)
def test_a_law_under_any_name(text: str, expected: dict[str, object]) -> None:
    found = own_law(FaultList(), text)
    assert found == Hyperparameter(name=text.partition("=")[0], **expected)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text", ["C", "C=", "seed=1:2", "a b=1:2", "n=1.5:3:int", "q=1:2:cubic", "C=2:1", "C=0:1"]
)
def test_a_law_that_is_none_is_a_fault(text: str) -> None:
    faults = FaultList()
    assert own_law(faults, text) is None
    assert len(faults.found) == 1


def test_every_fault_of_an_objective_study_is_said_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SpecError) as error:
        request(objective="nosuch:f", lr=["1:2"], draws="0", model="a/b", vary=["seed=1:2"])
    said = "\n".join(error.value.faults)
    for words in ("No module named 'nosuch'", "--lr: ", "--draws: ", "'a/b'", "'seed'"):
        assert words in said


# Studies in TOML.


def written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_a_study_file_says_what_options_say(tmp_path: Path) -> None:
    study = request(
        study=EXAMPLES / "momentum.toml", model=None, optim=None, draws=None, seed="3"
    ).study
    assert (study.models, study.draws, study.seed) == (("vitc-nano", "vitp-nano"), 32, 3)
    assert study.recipe["sgd"]["weight_decay"] == 0.0005
    assert "momentum" not in study.recipe["sgd"]
    typed = request(study=EXAMPLES / "momentum.toml", optim=None, model=None, draws="8").study
    assert typed.draws == 8  # what is typed goes before the file
    assert [(h.name, h.optims) for h in study.space] == [
        ("lr", ("sgd",)),
        ("lr", ("adamw",)),
        ("momentum", ("sgd",)),
    ]


def test_the_study_of_a_run_directory_is_made_again(tmp_path: Path) -> None:
    study = request().study
    study.write(tmp_path / "study.toml")
    plain = dict.fromkeys(("model", "optim", "data", "epochs", "draws", "sampler", "seed"))
    assert request(study=tmp_path / "study.toml", **plain).study == study
    with pytest.raises(SpecError, match="says everything"):
        request(study=tmp_path / "study.toml")
    changed = study.model_copy(update={"fingerprint": "000000000000"})
    changed.write(tmp_path / "other.toml")
    with pytest.raises(SpecError, match=f"its fingerprint is {study.fingerprint}"):
        request(study=tmp_path / "other.toml", **plain)


def test_every_fault_of_a_study_file_is_said_at_once(tmp_path: Path) -> None:
    text = """
    models = ["vitc"]
    epochs = 2.5
    recipe = 3
    [[space]]
    name = "lr"
    low = 2.0
    high = 1.0
    [[space]]
    name = "momentumm"
    choices = [0.8]
    [[space]]
    name = "momentum"
    choices = [2.0]
    """
    with pytest.raises(SpecError) as error:
        request(study=written(tmp_path / "bad.toml", text), epochs=None)
    said = "\n".join(error.value.faults)
    for words in ("'models'", "got 2.5", "recipe", "low 2.0", "did you mean 'momentum'", "got 2.0"):
        assert words in said


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        ('optims = ["adam"]', "'adam' is not one of sgd"),
        ('models = ["vitp-nano"]', "'vitp-nano' is not one of vitc-nano"),
    ],
)
def test_a_condition_names_what_is_in_the_study(tmp_path: Path, condition: str, words: str) -> None:
    text = f'[[space]]\nname = "lr"\nlow = 0.1\nhigh = 1.0\n{condition}\n'
    with pytest.raises(SpecError, match=words):
        request(study=written(tmp_path / "s.toml", text))


def test_two_laws_of_a_name_are_a_fault(tmp_path: Path) -> None:
    one = '[[space]]\nname = "lr"\nlow = 0.1\nhigh = 1.0\n'
    with pytest.raises(SpecError, match="lr has two laws for vitc-nano with sgd"):
        request(study=written(tmp_path / "s.toml", one + one))


# Whole commands.


@pytest.mark.slow
def test_a_study_of_a_support_vector_machine(tmp_path: Path) -> None:
    shutil.copy(EXAMPLES / "svm.py", tmp_path)
    words = ["sweep", "--objective", "svm:fit", "--vary", "C=0.01:100", "--vary", "gamma=1e-5:0.1"]
    words += ["--trials", "3", "--out", "run", "--executor", "inline"]
    said = call(*words, cwd=tmp_path)
    assert said.returncode == 0, said.stderr
    results = pd.read_parquet(tmp_path / "run" / "results.parquet")
    assert results[["model", "optim", "data"]].drop_duplicates().values.tolist() == [
        ["fit", "own", "svm"]
    ]
    assert (results["error"] == 100 * results["wrong"] / 400).all()
    assert (results["vectors"] > 0).all()
    (code,) = results["code"].unique()
    assert code == UserCode.search("svm:fit", ["fit"], tmp_path).version("fit")
