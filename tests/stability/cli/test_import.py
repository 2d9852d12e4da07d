"""`stability import` as a user meets it: what it says, what it writes, where it stops."""

import json
import shlex
import shutil
import sys
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
from command_line import COMMAND, call
from foreign_sources import (
    write_optuna,
    write_pycls,
    write_ray,
    write_runs,
    write_states,
    write_wandb,
)
from toys import ROOT
from typer.testing import CliRunner

from analysis import TableError, load, samples
from stability.cli.app import app
from sweeps.errors import SpecError

PAGE = ROOT / "docs" / "import.md"


def run(*arguments: str) -> str:
    """Run the command; what it says. Raises what it raises."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["stability", "import", *arguments])
        done = CliRunner().invoke(app, ["import", *arguments], prog_name="stability")
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.stdout


def faults_of(*arguments: str) -> list[str]:
    with pytest.raises((SpecError, TableError)) as caught:
        run(*arguments)
    return list(caught.value.faults)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("optuna") / "studies.db"
    write_optuna(f"sqlite:///{path}")
    return path


@pytest.fixture
def sources(here: Path, storage: Path) -> Path:
    """The files that docs/import.md names."""
    write_runs(here / "runs.csv")
    write_states(here / "states.csv")
    shutil.copy(storage, here)
    write_wandb(here / "wandb_export.csv")
    write_pycls(here / "sweep.json")
    write_ray(here / "ray_results" / "exp")
    return here


def documented() -> list[list[str]]:
    lines = COMMAND.findall(PAGE.read_text())
    return [shlex.split(line.replace("\\\n", " ")) for line in lines]


def test_each_command_of_the_page_works_and_its_table_is_analysed(sources: Path) -> None:
    for command in documented():
        done = CliRunner().invoke(app, command[1:], prog_name="stability")
        assert done.exit_code == 0, (command, done.output, done.exception)
    counts = {
        name: load(f"{name}.parquet")["outcome"].value_counts().to_dict()
        for name in ("mine", "states", "optuna", "wandb", "ray", "pycls")
    }
    assert counts == {
        "mine": {"ok": 21, "diverged": 2, "collapsed": 1},
        "states": {"ok": 3, "diverged": 1, "out_of_memory": 1, "missing": 1},
        # COMPLETE: 7 with a number, 1 inf; FAIL: 2, and 1 whose report says NaN; PRUNED: 1 and 1
        "optuna": {"ok": 6, "diverged": 3, "crashed": 2, "timed_out": 1, "missing": 2},
        "wandb": {"ok": 6, "diverged": 2, "crashed": 2, "timed_out": 1, "missing": 1},
        "ray": {"ok": 1, "diverged": 1, "crashed": 2, "timed_out": 1, "missing": 1},
        # a job between others that left no log has crashed
        "pycls": {"ok": 2, "diverged": 1, "crashed": 1, "missing": 2},
    }
    groups = {name: [s.trials for s in samples(load(f"{name}.parquet"))] for name in counts}
    assert groups == {
        "mine": [24],
        "states": [6],
        "optuna": [14],
        "wandb": [6, 6],
        "ray": [6],
        "pycls": [6],
    }
    assert (sources / "mine.png").stat().st_size > 10_000
    assert len(documented()) == 7


def test_nothing_leaves_the_denominator(sources: Path) -> None:
    run("wandb_export.csv", "--accuracy", "test/acc", "--unit", "fraction", "-o", "w.parquet")
    table = load("w.parquet")
    assert len(table) == 12
    bounded = samples(table, unfinished="bounds")
    assert [(s.n, s.unknown) for s in bounded] == [(6, 2), (6, 2)]


def test_what_was_assumed_is_said_and_kept_in_the_file(sources: Path) -> None:
    said = run("runs.csv", "--classes", "10", "--out", "mine.parquet")
    for words in (
        "runs: 24 runs, read as table",
        "error=test_err (by its name), lr=learning_rate (by its name)",
        "test_err, taken as percent (values above 1 can be nothing else)",
        "the rows are taken as independent random draws",
        "diverged: 1 that ended with an error that is not finite",
        "diverged: 1 that ended with no error (--empty crashed where they failed)",
        "chance: 90%, 10 classes taken as balanced",
        "collapsed: 0 with an error of at least chance (no --n-eval",
        "draw it: stability edf mine.parquet",
    ):
        assert words in " ".join(said.split()).replace("- ", "")
    assert max(map(len, said.splitlines())) <= 80
    about = json.loads(pq.read_schema("mine.parquet").metadata[b"stability_import"])
    assert any("10 classes taken as balanced" in note for note in about["notes"])
    assert about["command"] == "stability import runs.csv --classes 10 --out mine.parquet"


def test_a_dry_run_says_the_same_and_writes_nothing(sources: Path) -> None:
    before = sorted(sources.iterdir())
    said = run("runs.csv", "--classes", "10", "--dry-run", "--out", "mine.parquet")
    assert sorted(sources.iterdir()) == before
    written = run("runs.csv", "--classes", "10", "--out", "mine.parquet")
    assert said.splitlines()[:-1] == written.splitlines()[:-1]
    assert said.endswith("nothing was written\n")


def test_a_file_that_is_there_is_replaced_only_by_force(sources: Path) -> None:
    target = sources / "mine.parquet"
    target.write_text("precious")
    (fault,) = faults_of("runs.csv", "--out", "mine.parquet")
    assert fault == "--out: mine.parquet is there already; --force replaces it"
    assert target.read_text() == "precious"
    run("runs.csv", "--out", "mine.parquet", "--force")
    assert len(load(target)) == 24
    (fault,) = faults_of("mine.parquet", "--out", "mine.parquet", "--force")
    assert fault == "--out: mine.parquet is what shall be read"


def test_every_fault_is_said_at_once_and_nothing_is_written(sources: Path) -> None:
    before = sorted(sources.iterdir())
    wrong = {
        "--map": "error",
        "--set": "x=",
        "--map-outcome": "a=fine",
        "--empty": "ok",
        "--unit": "percents",
        "--format": "tabel",
        "--chance": "0.9",
        "--n-eval": "0",
        "--out": "mine.csv",
    }
    faults = faults_of("no.csv", ".", *[text for pair in wrong.items() for text in pair])
    expected = [
        "--map-outcome a: 'fine' is not one of ok, collapsed",
        "--empty: got 'ok', a run without an error is neither",
        "--unit: 'percents' is not one of percent, fraction, raw (did you mean 'percent'?)",
        "--format: 'tabel' is not one of optuna, pycls, ray, wandb, table (did you mean 'table'?)",
        "--set: got 'x=', allowed is NAME=VALUE",
        "--chance: got '0.9', allowed is percent: above 1, at most 100",
        "--n-eval: got '0', allowed is a whole number from 1",
        "--map: got 'error', allowed is NAME=VALUE",
        "--out: got 'mine.csv', allowed is a .parquet file",
        "no.csv: no such file",
        ".: a folder without design.parquet, results.parquet and study.toml",
    ]
    assert [
        (got, want) for got, want in zip(faults, expected, strict=True) if want not in got
    ] == []
    assert sorted(sources.iterdir()) == before


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--chance", "90", "--classes", "10"], "--chance: --classes says it too"),
        (["--class-counts", "5,5", "--n-eval", "10"], "--n-eval: --class-counts says it already"),
        (["--class-counts", "5,x"], "--class-counts: got 'x', allowed is a whole number"),
        (["--class-counts", "5,0"], "--class-counts: two classes with examples, or more"),
        (["--map", "lr=learning-rate"], "did you mean 'learning_rate'?"),
        (["--map", "lr=run", "--map", "lr=test_err"], "--map: lr is named twice"),
        (["--map", "model=run", "--set", "model=a"], "there is --map model=run already"),
        (["--set", "run=1"], "the file has a column 'run' already"),
        (["--map-outcome", "done=ok"], "which column has the outcomes?"),
        (["--accuracy", "run", "--map", "error=test_err"], "one of them is enough"),
        (["--study", "cnn"], "only Optuna storages have studies"),
        (
            ["--unit", "fraction"],
            "runs.csv, line 2: test_err: got 12, allowed as fraction is 0 to 1",
        ),
        (["--out", "no/where.parquet"], "--out: no is no folder"),
        (["--set", "draw=1"], "draw 1 appears more than once"),
    ],
)
def test_each_fault_of_a_request_is_named(sources: Path, options: list[str], said: str) -> None:
    target = [] if "--out" in options else ["--dry-run"]
    (fault,) = faults_of("runs.csv", *options, *target)
    assert said in fault


def test_several_files_are_several_groups(here: Path) -> None:
    for name, first in (("a", 10), ("b", 20)):
        errors = [{"error": first + i, "draw": i} for i in range(5)]
        (here / f"{name}.jsonl").write_text("\n".join(map(json.dumps, errors)))
    run("a.jsonl", "b.jsonl", "--out", "both.parquet")
    assert [(s.label, s.best) for s in samples(load("both.parquet"))] == [("a", 10.0), ("b", 20.0)]


def test_a_trial_that_is_in_two_files_is_refused(here: Path) -> None:
    for name in "ab":
        pd.DataFrame({"trial": ["t"], "error": [5.0]}).to_csv(here / f"{name}.csv", index=False)
    (fault,) = faults_of("a.csv", "b.csv", "--dry-run")
    assert fault.startswith("b.csv: trial 't' is in a.csv too. A trial counts once")


def test_as_a_command_it_helps_and_stops_with_status_2(sources: Path) -> None:
    help_text = call("import", "--help", cwd=sources).stdout
    assert "--map-outcome" in help_text
    assert max(map(len, help_text.splitlines())) <= 80
    before = sorted(sources.iterdir())
    done = call("import", "runs.csv", "--unit", "fraction", "-o", "mine.parquet", cwd=sources)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(
        "stability: 1 problem:\n  runs.csv, line 2: test_err: got 12, allowed"
    )
    assert sorted(sources.iterdir()) == before
