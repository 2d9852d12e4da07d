"""The Python API: the same options, checks and results as the command line, without printing."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from command_line import request
from toys import ROOT

import stability
from analysis import TableError
from sweeps.errors import SpecError, StoreError

FINISHED = ROOT / "tests" / "fixtures" / "finished"
OWN: dict[str, Any] = {
    "objective": "objectives:bowl",
    "vary": {"C": (0.1, 10.0), "kind": ["a", "b"]},
    "executor": "inline",
    "progress": False,
}


def test_the_import_loads_no_torch_and_the_api_comes_on_first_use() -> None:
    code = (
        "import sys, stability\n"
        "print([m for m in ('torch', 'numpy', 'stability.api') if m in sys.modules])\n"
        "stability.sweep; print([m for m in ('torch', 'stability.api') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n['stability.api']\n"
    with pytest.raises(AttributeError, match="no attribute 'sweeps'"):
        _ = stability.sweeps  # type: ignore[attr-defined]


def test_a_sweep_is_trained_once_and_can_be_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    run = stability.sweep(**OWN, draws=12, out="run")
    assert capsys.readouterr().out == ""
    assert run.path == tmp_path / "run"
    assert (len(run.results), set(run.results["outcome"])) == (12, {"ok"})
    assert run.status()["finished"] == 12
    assert "12 of 12" in repr(run)
    assert run.summary()["n"].tolist() == [12]
    before = run.results["finished"].tolist()
    again = stability.sweep(**OWN, trials=12, out="run").resume(progress=False)
    assert again.results["finished"].tolist() == before
    assert stability.open_run("run").study.hash == run.study.hash
    with pytest.raises(TableError, match="has one value"):
        run.compare()


@pytest.fixture
def finished(tmp_path: Path) -> stability.Run:
    """Open a copy of a finished run: its views may be written."""
    return stability.open_run(shutil.copytree(FINISHED, tmp_path / "run"))


def test_figures_come_with_their_axes(finished: stability.Run) -> None:
    run = finished
    assert run.edf().get_xlabel() == "test error (%)"
    assert run.edf(delta=True, policy="drop").get_ylabel()
    assert run.plot("against").get_xlabel() == "learning rate"
    assert run.plot("marginals", hyperparameter="weight_decay").get_xlabel() == "weight decay"
    assert run.plot("optimizer_gap").get_ylabel().startswith("selected run")
    assert run.plot("convergence").get_xlabel()
    group = "vitc-nano sgd"
    assert group in run.plot("search_space", group=group).get_title(loc="left")
    with pytest.raises(ValueError, match="allowed: against, marginals, search_space"):
        run.plot("histogram")


def test_groups_are_compared_by_the_measure_of_the_study(finished: stability.Run) -> None:
    run = finished
    found = run.compare(by="model")
    assert [(c.a, c.b) for c in found] == [("vitp-nano", "vitc-nano")] * 2
    assert found[0].estimand.d == run.study.primary.within
    assert set(run.curves.columns) >= {"trial", "epoch", "val_error"}


def test_options_are_those_of_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The study is the same, to the last digit of its hash."""
    monkeypatch.chdir(tmp_path)
    seen: list[Any] = []
    monkeypatch.setattr("stability.api.train_request", lambda r, **_: seen.append(r))
    monkeypatch.setattr("stability.api.Run", lambda path: path)
    stability.sweep(
        model=["vitp", "vitc"],
        optim=["sgd", "adamw"],
        epochs=(2, 4),
        draws=8,
        lr={"sgd": (0.01, 1.0), "adamw": (0.001, 0.01)},
        vary={"batch_size": [32, 64]},
        settings={"nesterov": True},
        workers=2,
        out=tmp_path / "a",
    )
    typed = request(
        model="vitp,vitc",
        optim="sgd,adamw",
        epochs="2,4",
        draws="8",
        lr=["sgd=0.01:1", "adamw=0.001:0.01"],
        vary=["batch_size=32,64"],
        set=["nesterov=true"],
        workers="2",
        out=str(tmp_path / "a"),
    )
    assert seen[0].study.hash == typed.study.hash
    assert seen[0].site == typed.site


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"draws": 8, "trials": 8}, "draws, trials: got both"),
        ({"drawz": 8}, "drawz: no such option"),
        ({"draws": 0}, "--draws: got '0', allowed is a whole number from 1"),
        ({"objective": lambda trial: 5.0}, "which workers cannot import"),
        ({"model": "vitx"}, "vitx"),
        ({"retrain_changed": True, "keep_changed": True}, "got both"),
    ],
)
def test_faults_are_errors_and_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], fault: str
) -> None:
    monkeypatch.chdir(tmp_path)
    given = {**OWN, **options} if "model" not in options else options
    with pytest.raises(SpecError, match=fault):
        stability.sweep(**given)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(StoreError):
        stability.open_run("nowhere")


def test_an_objective_may_be_a_function_of_a_module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from objectives import bowl

    monkeypatch.chdir(tmp_path)
    run = stability.sweep(**{**OWN, "objective": bowl}, draws=3)
    assert run.study.objective == "objectives:bowl"
    assert len(run.results) == 3
