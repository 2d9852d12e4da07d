"""Data on the command line: `stability data`, `--data`, and a folder of JPEGs to its EDF."""

import json
import re
import shutil
import tarfile
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from command_line import call, commands, faults_of, request
from picture_files import CLASSES, picture, write_cifar, write_classes
from toys import ROOT

from stability.cli.commands.data import show_data
from stability.cli.study.data_names import check_unchanged, images
from stability.cli.study.parsing import Faults
from stability.data import KINDS, cifar, load_data
from stability.data.sheet import contact_sheet
from sweeps.errors import SpecError


def said(text: str | None, capsys: pytest.CaptureFixture[str], output: Path | None = None) -> str:
    show_data(text, output, as_json=False)
    return capsys.readouterr().out


def test_all_that_is_known_of_digits(capsys: pytest.CaptureFixture[str]) -> None:
    out = said("digits", capsys)
    assert out.startswith("digits: 1,797 images of 1x32x32\n")
    for words in (
        "fingerprint d751e24d3ba6",
        "chance      89.75% of the test part",
        "mean        77.8 of 255; std 82.5",
        "models      vitp-nano, vitc-nano, regnety-nano, resnet-nano",
        "class           train  validation        test",
        "all 10          1,097         300         400",
    ):
        assert words in out
    assert max(map(len, out.splitlines())) <= 80


def test_json_has_each_count(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    folder = write_classes(tmp_path / "a", each=10)
    shutil.rmtree(folder / "owl")
    show_data(f"folder:{folder}", tmp_path / "sheet.png", as_json=True)
    facts = json.loads(capsys.readouterr().out)
    data = load_data(f"folder:{folder}")
    assert facts["classes"] == {
        name: {"train": 7, "validation": 1, "test": 2} for name in ("cat", "dog")
    }
    assert facts["images"] == {"train": 14, "validation": 2, "test": 4}
    assert facts["canonical"] == f"folder:{folder}"
    assert (facts["name"], facts["shape"], facts["size"]) == ("folder-a", [3, 32, 32], "nano")
    assert facts["fingerprint"] == data.fingerprint
    assert facts["mean"] == pytest.approx([float(value) for value in data.mean], abs=1e-4)
    assert facts["chance"] == 50.0
    assert facts["picture"] == str(tmp_path / "sheet.png")
    assert (tmp_path / "sheet.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_images_that_are_in_two_parts_are_counted(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """What is learned by heart is no proof: two test images are training images too."""
    for part, first in (("train", 0), ("val", 100), ("test", 200)):
        for label, name in enumerate(CLASSES):
            (tmp_path / part / name).mkdir(parents=True)
            for i in range(4):
                image = picture(label + 3 * (first + i))
                image.save(tmp_path / part / name / f"{i}.png")
    shutil.copy(tmp_path / "train" / "cat" / "1.png", tmp_path / "test" / "cat" / "2.png")
    shutil.copy(tmp_path / "train" / "owl" / "1.png", tmp_path / "test" / "dog" / "2.png")
    out = said(f"folder:{tmp_path}", capsys)
    assert "note: 2 of 12 test images are training images too, pixel by pixel" in out
    assert "validation images are training" not in out


def test_images_of_no_models_size_say_how_to_resize(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    folder = write_classes(tmp_path / "a", each=50, side=24)
    assert "none takes images of 24x24; a folder or hf can end in @SIZE" in " ".join(
        said(f"folder:{folder}", capsys).split()
    )
    (fault,) = faults_of(data=f"folder:{folder}")
    assert fault.startswith("--model: vitc-nano takes no images of 24x24, which folder-a has")
    assert "@32" in fault
    assert request(data=f"folder:{folder}@32").study.data == "folder-a@32"


def test_kinds_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    out = said(None, capsys)
    assert [kind.form for kind in KINDS.values()] == re.findall(r"^\S+$", out, re.MULTILINE)
    show_data(None, None, as_json=True)
    assert len(json.loads(capsys.readouterr().out)) == len(KINDS)


@pytest.mark.parametrize(
    ("text", "output", "faults"),
    [
        ("mnist", None, ["NAME: 'mnist' is not one of digits, folder:PATH"]),
        ("mnist", "no/where.txt", ["NAME: 'mnist'", "--output: no is no folder", "--output: got"]),
        ("digits", "sheet.txt", ["--output: got 'sheet.txt', allowed are .png, .pdf and .svg"]),
        (None, "sheet.png", ["--output: a contact sheet needs the name of a data set"]),
    ],
)
def test_all_faults_at_once(text: str | None, output: str | None, faults: list[str]) -> None:
    with pytest.raises(SpecError) as error:
        show_data(text, Path(output) if output else None, as_json=False)
    assert len(error.value.faults) == len(faults)
    for fault, start in zip(error.value.faults, faults, strict=True):
        assert fault.startswith(start)


def test_bad_data_end_with_status_2_and_leave_nothing(tmp_path: Path) -> None:
    done = call("data", "folder:nowhere", "-o", "sheet.png", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"stability: 1 problem:\n  NAME: there is no {tmp_path}/nowhere\n"
    assert list(tmp_path.iterdir()) == []


def test_contact_sheet_shows_the_first_training_images_of_each_class(tmp_path: Path) -> None:
    data = load_data(f"folder:{write_classes(tmp_path / 'a', each=20)}")
    (ax,) = contact_sheet(data).axes
    assert [label.get_text() for label in ax.get_yticklabels()] == list(CLASSES)
    assert ax.get_title(loc="left").startswith("folder-a: 3 classes\n42 + 6 + 12 images of 3x32x32")
    shown = np.asarray(ax.images[0].get_array())
    for label in range(3):
        first = data.train.images[np.flatnonzero(data.train.labels == label)[1]]
        assert (shown[label * 34 :][:32, 34:66] == first.transpose(1, 2, 0)).all()


def test_names_of_classes_in_any_script_are_drawn_without_a_complaint(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_classes(tmp_path / "a", each=5)
    for name, other in zip(CLASSES, ("猫 $x$", "Blümchen", "o" * 60), strict=True):
        (folder / name).rename(folder / other)
    out = said(f"folder:{folder}", capsys, tmp_path / "sheet.png")
    assert "Blümchen" in out
    assert max(map(len, out.replace(str(tmp_path), "").splitlines())) <= 80
    assert capsys.readouterr().err == ""
    assert (tmp_path / "sheet.png").stat().st_size > 10_000


def test_a_sheet_of_many_classes_says_how_many_it_shows() -> None:
    (ax,) = contact_sheet(load_data("synthetic:n=300,classes=30,size=16,channels=1")).axes
    assert "synthetic" in ax.get_title(loc="left")
    assert "30 classes, 20 shown" in ax.get_title(loc="left")
    assert len(ax.get_yticklabels()) == 20


# --- --data ------------------------------------------------------------------------------------


def test_a_study_has_a_short_name_the_way_to_the_data_and_their_fingerprint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_classes(tmp_path / "my photos", each=50)
    monkeypatch.chdir(tmp_path)
    study = request(data="folder:my photos").study
    assert study.data == "folder-my_photos"
    assert study.data_source == f"folder:{tmp_path}/my photos"
    assert study.fingerprint == load_data(study.data_source).fingerprint
    assert study.name.startswith("vitc-nano-sgd-folder-my_photos-e5-n64-")
    assert request(data="digits").study.data_source == ""
    (tmp_path / "elsewhere").mkdir()
    shutil.copytree(tmp_path / "my photos", tmp_path / "elsewhere" / "my photos")
    moved = request(data="folder:elsewhere/my photos").study
    assert moved.name == study.name


@pytest.mark.parametrize(
    ("size", "models"),
    [
        (32, ("vitc-nano", "regnety-nano", "resnet-nano")),
        (224, ("vitc-4gf", "regnety-4gf", "resnet-50")),
    ],
)
def test_a_model_without_a_size_is_the_one_that_suits_the_images(
    size: int, models: tuple[str, ...], tmp_path: Path
) -> None:
    folder = write_classes(tmp_path / "a", each=40, side=40)
    study = request(data=f"folder:{folder}@{size}", model="vitc,regnety,resnet").study
    assert study.models == models


def test_data_that_are_gone_or_changed_are_refused_before_anything_runs(tmp_path: Path) -> None:
    folder = write_classes(tmp_path / "a", each=50)
    study = request(data=f"folder:{folder}").study
    check_unchanged(study)
    with pytest.raises(SpecError, match="has changed since the study was made"):
        check_unchanged(study.model_copy(update={"fingerprint": "0" * 12}))
    gone = study.model_copy(update={"data_source": f"folder:{tmp_path}/gone"})
    with pytest.raises(SpecError, match="the study's data: there is no"):
        check_unchanged(gone)


def test_fewer_images_than_a_batch_are_a_fault(tmp_path: Path) -> None:
    folder = write_classes(tmp_path / "a", each=10)
    (fault,) = faults_of(data=f"folder:{folder}")
    assert fault.startswith("--data: folder-a has 21 training images, a batch 64; name a smaller")
    study = request(data=f"folder:{folder}", vary=["batch_size=8,16"]).study
    assert study.data == "folder-a"
    (fault,) = faults_of(data=f"folder:{folder}", vary=["batch_size=8,32"])
    assert fault == "--vary batch_size: got 32, folder-a has 21 training images"


def test_every_fault_of_the_data_is_a_fault_of_the_request(tmp_path: Path) -> None:
    folder = write_classes(tmp_path / "a", each=10)
    (folder / "cat" / "000.jpg").write_text("x")
    (folder / "none").mkdir()
    faults = faults_of(data=f"folder:{folder}", epochs="0")
    assert [fault.partition(":")[0] for fault in faults] == ["--data", "--data", "--epochs"]
    found = Faults()
    assert images(found, "mnist") == ({}, None)
    assert len(found.found) == 1


# --- commands of the page ----------------------------------------------------------------------

OF_THE_PAGE = [c for c in commands() if c[1] == "data"]


def test_the_page_has_commands_of_each_kind() -> None:
    kinds = {command[2].partition(":")[0] for command in OF_THE_PAGE if len(command) > 2}
    assert kinds == set(KINDS)


@pytest.mark.parametrize("command", OF_THE_PAGE, ids=" ".join)
def test_each_data_command_of_the_pages_does_what_it_says(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On small files in the places that the page names."""
    if any(word.startswith("hf:") for word in command):
        pytest.importorskip("datasets", reason="needs the extra data")
        from picture_files import parquet, rows

        parquet(tmp_path / "flowers.parquet", rows(30))
    write_classes(tmp_path / "photos", each=10, side=48)
    for kind in ("cifar10", "cifar100"):
        layout = cifar.LAYOUTS[kind]
        sizes = {"train": 400 * len(layout.train), "test": 400}
        monkeypatch.setitem(cifar.LAYOUTS, kind, replace(layout, records=sizes))
        if any(kind in word for word in command):
            folder = write_cifar(tmp_path / layout.folder, kind)
            with tarfile.open(tmp_path / layout.archive, "w:gz") as archive:
                archive.add(folder, folder.name)
    monkeypatch.chdir(tmp_path)
    name = command[2] if len(command) > 2 and not command[2].startswith("-") else None
    output = Path(command[command.index("-o") + 1]) if "-o" in command else None
    show_data(name, output, as_json="--json" in command)
    assert output is None or output.stat().st_size > 10_000


def test_the_table_of_kinds_on_the_page_is_complete() -> None:
    page = (ROOT / "docs" / "data.md").read_text()
    for kind in KINDS.values():
        assert f"`{kind.form.partition('[')[0]}" in page


# --- the whole way -----------------------------------------------------------------------------


@pytest.mark.slow
def test_a_folder_of_jpegs_to_its_edf(tmp_path: Path) -> None:
    """Sweep, table and picture from photographs; two workers that start in another folder."""
    write_classes(tmp_path / "photos", each=60, side=40)
    (tmp_path / "work").mkdir()
    command = ["sweep", "--data", "folder:../photos@32", "--model", "vitp,vitc", "--optim", "sgd"]
    command += ["--epochs", "4", "--trials", "3", "--workers", "2"]
    done = call(*command, cwd=tmp_path / "work")
    assert done.returncode == 0, done.stderr
    (run,) = (tmp_path / "work" / "runs").iterdir()
    assert run.name.startswith("vitp-nano+vitc-nano-sgd-folder-photos.32-e4-n3-")
    rows = pq.read_table(run / "results.parquet").to_pylist()
    assert len(rows) == 6
    assert {row["data"] for row in rows} == {"folder-photos@32"}
    assert {row["n_eval"] for row in rows} == {36}
    assert min(row["error"] for row in rows) < 20  # brightness tells the class: it was learned
    assert (run / "edf.png").stat().st_size > 10_000
    assert "folder-photos@32, sgd, 4 epochs" in " ".join(done.stdout.split())
    study = tomllib.loads((run / "study.toml").read_text())
    assert study["data_source"] == f"folder:{tmp_path}/photos@32"

    picture(1).save(tmp_path / "photos" / "cat" / "000.jpg")
    grown = [*command[:-4], "--trials", "4", "--out", str(run)]
    done = call(*grown, cwd=tmp_path / "work")
    assert done.returncode == 2
    for part in run.glob("parts/*"):
        part.unlink()
    done = call("resume", str(run), cwd=tmp_path)
    assert done.returncode == 2
    assert f"{study['data_source']} has changed since the study was made" in done.stderr
    (tmp_path / "photos").rename(tmp_path / "moved")
    done = call("resume", str(run), cwd=tmp_path)
    assert done.returncode == 2
    assert f"the study's data: there is no {tmp_path}/photos" in done.stderr


@pytest.mark.slow
def test_synthetic_is_called_so_in_table_and_picture(tmp_path: Path) -> None:
    command = ["sweep", "--data", "synthetic:n=300,classes=3", "--model", "vitp", "--optim", "sgd"]
    command += ["--epochs", "1", "--trials", "2", "--executor", "inline", "--out", "run"]
    done = call(*command, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "epoch of synthetic-c3-n300" in " ".join(done.stdout.split())
    done = call("edf", "run", "-o", "edf.svg", cwd=tmp_path)
    assert "synthetic-c3-n300" in done.stdout
    assert "synthetic-c3-n300" in (tmp_path / "edf.svg").read_text()
