"""Which format a source has, and what is said of a source that cannot be read."""

import gzip
import os
import shutil
from pathlib import Path

import pytest
from foreign_sources import write_optuna, write_pycls, write_ray, write_wandb

from analysis import TableError
from analysis.importers import read_sweep
from analysis.importers.formats.recognise import IMPORT_FORMATS, recognise_format
from analysis.table import guarded_reading


def test_formats_are_recognised(tmp_path: Path) -> None:
    write_wandb(tmp_path / "w.csv")
    write_pycls(tmp_path / "p.json")
    write_optuna(f"sqlite:///{tmp_path}/o.db")
    shutil.move(tmp_path / "o.db", tmp_path / "o.weird")
    write_ray(tmp_path / "exp")
    (tmp_path / "t.csv").write_text("Name,error\na,1\n")
    (tmp_path / "t.json").write_text('[{"error": 5}]')
    (tmp_path / "t.TXT").write_text("error\n5\n")
    (tmp_path / "t.tsv").write_text("error\tlr\n5\t1\n")
    with gzip.open(tmp_path / "w.csv.gz", "wb") as file:
        file.write((tmp_path / "w.csv").read_bytes())
    trial = "exp/train_a826b_00000_0_lr=0.0_2025"
    found = {
        name: recognise_format(str(tmp_path / name))
        for name in (
            *("w.csv", "w.csv.gz", "p.json", "o.weird", "t.csv", "t.json", "t.TXT", "t.tsv"),
            *("exp", trial, f"{trial}/result.json", f"{trial}/progress.csv"),
        )
    }
    assert list(found.values()) == [
        *("wandb", "wandb", "pycls", "optuna", "table", "table", "table", "table"),
        *("ray", "ray", "ray", "ray"),
    ]
    assert recognise_format("mysql://host/x") == "optuna"
    assert {*found.values()} == {*IMPORT_FORMATS}


def test_an_unknown_ending_says_what_is_allowed(tmp_path: Path) -> None:
    (tmp_path / "t.xlsx").write_text("error\n5\n")
    with pytest.raises(TableError) as caught:
        recognise_format(str(tmp_path / "t.xlsx"))
    (fault,) = caught.value.faults
    assert "its format is not recognised; allowed are" in fault
    for word in (".csv, .tsv, .txt, .jsonl, .json, .parquet", "Ray Tune", "Optuna", "--format"):
        assert word in fault


@pytest.mark.parametrize("name", ["no.csv", "no/where", "runs.csv/x.csv", "a\0b.csv"])
def test_what_is_not_there_is_said(tmp_path: Path, name: str) -> None:
    (tmp_path / "runs.csv").write_text("error\n5\n")
    with pytest.raises(TableError, match="no such file"):
        read_sweep(str(tmp_path / name))


def test_a_folder_without_results_needs_no_import(tmp_path: Path) -> None:
    with pytest.raises(TableError, match=r"a folder without design\.parquet"):
        read_sweep(str(tmp_path))
    with pytest.raises(TableError, match="no file, so that it cannot be read as table"):
        read_sweep(str(tmp_path), "table")


@pytest.mark.parametrize("name", ["p.csv", "p.json", "p.jsonl", "p.parquet", "p.db"])
def test_a_pipe_is_not_waited_for(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(TableError, match="not a regular file"):
        read_sweep(str(tmp_path / name))


@pytest.mark.parametrize("format_name", ["table", "wandb", "pycls", "ray"])
def test_a_pipe_is_not_waited_for_in_a_named_format(tmp_path: Path, format_name: str) -> None:
    name = "p.json" if format_name == "pycls" else "p.csv"
    os.mkfifo(tmp_path / name)
    with pytest.raises(TableError, match="not a regular file"):
        read_sweep(str(tmp_path / name), format_name)


def test_what_may_not_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "secret.csv"
    path.write_text("error\n5\n")

    def denied(*_: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(guarded_reading.os, "open", denied)
    with pytest.raises(TableError) as caught:
        read_sweep(str(path), "table")
    assert list(caught.value.faults) == [f"{path}: cannot be read: Permission denied"]
    monkeypatch.setattr(Path, "stat", denied)
    with pytest.raises(TableError, match=r"secret\.csv: cannot be read: Permission denied"):
        read_sweep(str(path))


def test_studies_belong_to_optuna(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("error\n5\n")
    with pytest.raises(TableError, match="is read as table, only Optuna storages have studies"):
        read_sweep(str(tmp_path / "t.csv"), studies=("a",))
