"""Tables of any origin at the commands that show them: asked about, labelled, pooled, noted."""

import json
import shlex
from pathlib import Path

import pandas as pd
import pytest
from command_line import call

from analysis import load, samples
from stability.cli.app import app

OWN = "run_id,arch,opt,learning_rate,wd,val_acc,status\n" + "".join(
    f"r{i},{'vit' if i % 2 else 'resnet'},sgd,{0.001 * (i + 1):g},0.1,"
    f"{'' if i % 7 == 3 else round(0.9 - i / 100, 4)},{'crashed' if i % 7 == 3 else 'finished'}\n"
    for i in range(32)
)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.csv").write_text("model,error\n" + "".join(f"vit,{8 + i}\n" for i in range(9)))
    (tmp_path / "b.csv").write_text("model,error\n" + "".join(f"vit,{9 + i}\n" for i in range(9)))
    return tmp_path


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    app(arguments, standalone_mode=False)
    return capsys.readouterr().out


def test_from_an_own_table_to_a_figure_in_three_commands(here: Path) -> None:
    """The first says what is open, with the command that settles it, ready to paste."""
    (here / "own.csv").write_text(OWN)
    first = call("edf", "own.csv", cwd=here)
    assert (first.returncode, first.stdout) == (2, "")
    assert "no column is known to be the error" in first.stderr
    command = first.stderr.splitlines()[-1]
    assert (
        command == "stability import own.csv --accuracy val_acc --unit fraction --out own.parquet"
    )
    assert sorted(path.name for path in here.iterdir()) == ["a.csv", "b.csv", "own.csv"]
    second = call(*shlex.split(command)[1:], cwd=here)
    assert second.returncode == 0, second.stderr
    third = call("edf", "own.parquet", cwd=here)
    assert third.returncode == 0, third.stderr
    assert (here / "edf.png").is_file()
    assert max(map(len, (second.stdout + third.stdout).splitlines())) <= 80
    found = samples(load("own.parquet"))
    assert [(s.label, s.n, s.unknown) for s in found] == [("resnet", 16, 2), ("vit", 16, 3)]
    assert found[0].best == pytest.approx(10.0)


@pytest.mark.parametrize("command", ["edf", "compare", "plan"])
def test_a_unit_that_is_open_is_asked_for_by_each_command(here: Path, command: str) -> None:
    (here / "u.csv").write_text("model,error\nvit,.08\nvit,.12\nvit,.9\n")
    done = call(command, "u.csv", cwd=here)
    assert (done.returncode, done.stdout) == (2, "")
    assert "u.csv: error: no value is above 1: --unit fraction, or --unit percent" in done.stderr
    assert "stability import u.csv --unit fraction --out u.parquet" in done.stderr


def test_two_tables_of_one_model_are_two_groups_or_pooled(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    apart = json.loads(shown(capsys, "edf", "a.csv", "b.csv", "-o", "x.png", "--json"))
    assert [(g["group"], g["n"]) for g in apart["groups"]] == [("a", 9), ("b", 9)]
    pooled = json.loads(shown(capsys, "edf", "a.csv", "b.csv", "-o", "x.png", "--json", "--pool"))
    assert [(g["group"], g["n"]) for g in pooled["groups"]] == [("vit", 18)]
    assert "pooled as one sample: a, b (--pool)" in pooled["assumed"]
    (stratum,) = json.loads(shown(capsys, "compare", "a.csv", "b.csv", "--json"))
    assert [g["group"] for g in stratum["groups"]] == ["a", "b"]
    assert "a (n = 9), b (n = 9)" in shown(capsys, "plan", "a.csv", "b.csv")
    assert "one group" in shown(capsys, "plan", "a.csv", "b.csv", "--pool")


def test_imported_tables_keep_what_tells_them_apart(here: Path) -> None:
    done = call("import", "a.csv", "b.csv", "-o", "both.parquet", cwd=here)
    assert done.returncode == 0, done.stderr
    assert pd.read_parquet("both.parquet")["sweep"].unique().tolist() == ["a", "b"]
    assert [(s.label, s.n) for s in samples(load("both.parquet"))] == [("a", 9), ("b", 9)]


def test_what_was_assumed_is_printed_once_for_all_tables(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = shown(capsys, "edf", "a.csv", "b.csv", "-o", "x.png")
    assert out.count("the rows are taken as independent random draws") == 1
    assert "- a, b: the rows" in out


def test_a_hyperparameter_is_no_grouping_of_a_comparison(here: Path) -> None:
    rows = "".join(f"{'ab'[i % 2]},{0.001 * i:g},{10 + i}\n" for i in range(1, 41))
    (here / "r.csv").write_text("model,lr,error\n" + rows)
    done = call("compare", "r.csv", "--by", "lr", cwd=here)
    assert (done.returncode, done.stdout) == (2, "")
    assert "'lr' cuts" in done.stderr
    assert len(done.stderr.splitlines()) < 5


@pytest.mark.parametrize("command", ["import a.csv -o {}.parquet", "edf a.csv -o {}.png"])
def test_a_file_that_cannot_be_written_has_its_own_name(here: Path, command: str) -> None:
    name = "x" * 245  # the temporary name beside it is longer than file systems allow
    done = call(*command.format(name).split(), cwd=here)
    assert done.returncode in (1, 2)
    assert name in done.stderr
    assert f".{name}" not in done.stderr
    assert "Traceback" not in done.stderr
