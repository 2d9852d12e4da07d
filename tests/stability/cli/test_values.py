"""Values of --vary, --set and study files: handled as what they are, or refused before a run."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from command_line import PLAIN, run

from stability.cli.site.cluster import SiteOptions
from stability.cli.study.options import StudyOptions
from stability.cli.study.parsing import parse_number
from stability.cli.study.request import Request, read_request
from sweeps.errors import SpecError
from sweeps.study.design import draw_design, read_design

FLAGS = """
def fit(trial):
    assert type(trial["w"]) is bool and trial["off"] is False
    return {"error": 10 + 5 * trial["w"] + trial["C"], "n_eval": 400, "chance": 90.0}
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current folder with the objective `flags:fit`."""
    (tmp_path / "flags.py").write_text(FLAGS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def asked(**options: Any) -> Request:
    return read_request(StudyOptions(objective="flags:fit", **options), SiteOptions())


def faults_of(**options: Any) -> list[str]:
    with pytest.raises(SpecError) as error:
        asked(**options)
    return error.value.faults


def test_booleans_are_booleans_from_sweep_to_compare(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep = ["sweep", "--objective", "flags:fit", "--vary", "w=true,false", "--vary", "C=0.01:1"]
    sweep += ["--set", "off=False", "--trials", "12", "--out", "run", "--executor", "inline"]
    for command in (sweep, ["status", "run"], ["edf", "run"], ["compare", "run", "--by", "w"]):
        assert run(*command, monkeypatch=monkeypatch) == 0
        said = capsys.readouterr().out
    assert "the best run of False (n = 7) has 10.06%, that of True (n = 5) 15.01%" in said
    assert run("resume", "run", monkeypatch=monkeypatch) == 0
    assert "w: one of true, false" in capsys.readouterr().out
    assert pq.read_schema("run/results.parquet").field("w").type == pa.bool_()
    assert {trial.settings["w"] for trial in asked_again(Path("run"))} == {True, False}


def asked_again(folder: Path) -> list[Any]:
    from sweeps.store.run_directory import RunDirectory

    run = RunDirectory(folder)
    return list(read_design(run.read_study(), run.design))


BAD = {
    "auto,0.1": "got auto (text), 0.1 (number); allowed are only numbers",
    "true,1": "got true (boolean), 1 (number)",
    "true,auto": "got true (boolean), auto (text)",
    "0.1,0.1": "the same value twice: 0.1 and 0.1",
    "1,1.0": "the same value twice: 1 and 1.0",
    "0.12345612,0.12345614": "agree to 6 significant digits",
    "true,True": "the same value twice: true and true",
    "rbf,rbf": "the same value twice: rbf and rbf",
    "a,,b": "empty value",
    "1_0e-4,1": "got '1_0e-4'",
    "nan,1": "got 'nan'",
    "-inf,1": "got '-inf'",
    "1e400,1": "got '1e400'",
    "1e-400,1": "got '1e-400'",
    "0x10,1": "got '0x10'",
    "\uff11,2": "allowed are numbers such as",
    "1 000,2": "got '1 000'",
    "99999999999999999999,1": "below 2^63",
    "'a','b'": "without quotes",
    "a\x1b[2J,b": "without control characters",
    "1:1e300:int": "below 2^63",
}


@pytest.mark.parametrize("values", BAD)
def test_bad_values_are_refused(values: str) -> None:
    (fault,) = faults_of(vary=[f"w={values}"])
    assert fault.startswith(f"--vary w={values}: ")
    assert BAD[values] in fault
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('choices = ["auto", 0.1]', "got auto (text), 0.1 (number); allowed are only numbers"),
        ("choices = [true, 1]", "got true (boolean), 1 (number)"),
        ("choices = [0.1, 0.1]", "the same value twice: 0.1 and 0.1"),
        ("choices = [1, 1.0]", "the same value twice: 1 and 1.0"),
        ("choices = [0.12345612, 0.12345614]", "agree to 6 significant digits"),
        ('choices = ["a", ""]', "empty text"),
        ("choices = [nan, 1.0]", "got nan, allowed are finite numbers"),
        ("choices = [99999999999999999999, 1]", "below 2^63"),
        ("choices = [[1], 2]", "got [1], allowed are numbers, text, true and false"),
        ('choices = ["a\\u001b[2J", "b"]', "without control characters"),
        ('choices = ["true", "false"]', "got the text 'true', allowed is true without quotes"),
        ("low = -inf\nhigh = 1.0\nscale = 'linear'", "is not below"),
        ("low = 1\nhigh = 1e300\ninteger = true", "below 2^63"),
        ("low = 1.5\nhigh = 3.0\ninteger = true", "whole numbers need whole ends"),
    ],
)
def test_bad_values_of_a_study_file_are_refused_likewise(line: str, words: str) -> None:
    Path("s.toml").write_text(f'objective = "flags:fit"\n[[space]]\nname = "w"\n{line}\n')
    (fault,) = [f for f in faults_of(study=Path("s.toml")) if "names nothing" not in f]
    assert fault.startswith("s.toml: space 1: ")
    assert words in fault


@pytest.mark.parametrize(
    ("values", "lines"),
    [
        ("true,false", "choices = [true, false]"),
        ("rbf,poly", 'choices = ["rbf", "poly"]'),
        (" 2 ,3, 0.5", "choices = [2, 3, 0.5]"),
        ("3,5", "choices = [3, 5]"),
    ],
)
def test_flags_and_files_make_the_same_study(values: str, lines: str) -> None:
    Path("s.toml").write_text(
        f'objective = "flags:fit"\n[recipe]\nb = true\n[[space]]\nname = "w"\n{lines}\n'
    )
    by_flags = asked(vary=[f"w={values}"], set=["b=true"])
    assert asked(study=Path("s.toml")).study == by_flags.study
    by_flags.run.create(by_flags.study, list(draw_design(by_flags.study)))
    trials = list(by_flags.run.read_design())  # a trial that is read has the id it was drawn with
    assert len({type(trial.settings["w"]) for trial in trials}) == 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("b=1_0", "got '1_0'"),
        ("b=1e400", "got '1e400'"),
        ("b= ", "empty value"),
        ("b=99999999999999999999", "below 2^63"),
    ],
)
def test_bad_settings_are_refused(text: str, words: str) -> None:
    (fault,) = faults_of(vary=["w=1:2"], set=[text])
    assert words in fault


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("2020-01-01", "got 2020-01-01, allowed is text, a finite number, true or false"),
        ("nan", "got nan, allowed is text, a finite number, true or false"),
        ('"False"', "got the text 'False', allowed is false without quotes"),
    ],
)
def test_bad_settings_of_a_study_file_are_refused(value: str, words: str) -> None:
    Path("s.toml").write_text(f'objective = "flags:fit"\n[recipe]\nb = {value}\n')
    assert faults_of(study=Path("s.toml"), vary=["w=1:2"]) == [f"recipe: b: {words}"]


def test_two_laws_for_one_name_are_refused() -> None:
    twice = "--vary: w is given two ranges or lists of choices, allowed is one"
    assert faults_of(vary=["w=1:2", "w=1:2"]) == [twice]


@pytest.mark.parametrize("text", ["1_0", "0x10", "nan", "inf", "1e400", "1e-400", "\uff11", "1 0"])
def test_every_numeric_option_reads_numbers_in_one_way(text: str) -> None:
    assert parse_number(text) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"lr": ["1_0:20"]},
        {"weight_decay": ["1e-400:1"]},
        {"vary": ["momentum=0.5,0.8_5"]},
        {"vary": ["momentum=0.5,0.50000001"]},
        {"vary": ["momentum=true,false"]},
        {"set": ["label_smoothing=0_1"]},
        {"epochs": "\uff15"},
        {"draws": "1_0"},
        {"seed": "٣"},
    ],
)
def test_options_of_image_studies(changes: dict[str, Any]) -> None:
    with pytest.raises(SpecError) as error:
        read_request(StudyOptions(**{**PLAIN, **changes}), SiteOptions())
    assert len(error.value.faults) == 1
