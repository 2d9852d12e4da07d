"""Folders of images that are not as expected: one sentence with status 2, or they work."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from command_line import run
from picture_files import CLASSES, picture, write_classes
from PIL import Image

from stability.cli import main
from stability.cli.output.announce import describe_study
from stability.cli.site.cluster import SiteOptions
from stability.cli.study.data_names import check_unchanged
from stability.cli.study.options import StudyOptions
from stability.cli.study.request import read_request
from stability.data import DataError, decode, load_data, without_unreadable
from stability.data import folder as folders
from stability.data.sources import _load
from sweeps.errors import SpecError
from sweeps.executors.environment import ENVIRONMENT
from sweeps.study.study import Study


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve images of each class."""
    return write_classes(tmp_path_factory.mktemp("photos") / "photos", each=12)


@pytest.fixture
def copy(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The images in the current folder, to be spoilt; nothing is remembered of other tests."""
    _load.cache_clear()
    monkeypatch.chdir(tmp_path)
    shutil.copytree(photos, tmp_path / "w")
    return tmp_path / "w"


def one_level_down(folder: Path) -> None:
    (folder / "a").mkdir()
    for name in CLASSES:
        (folder / name).rename(folder / "a" / name)


def nothing_but_empty_classes(folder: Path) -> None:
    for name in CLASSES:
        shutil.rmtree(folder / name)
        (folder / name).mkdir()


def only_one_class(folder: Path) -> None:
    for name in CLASSES[1:]:
        shutil.rmtree(folder / name)


def huge(folder: Path) -> None:
    Image.new("1", (10_000, 10_000)).save(folder / "cat" / "huge.png")


def loops(folder: Path) -> None:
    (folder / "cat" / "loop.png").symlink_to("loop.png")
    (folder / "itself").symlink_to("itself")


def sixteen_bits(folder: Path) -> None:
    Image.fromarray(np.zeros((32, 32), np.uint16)).save(folder / "cat" / "deep.png")


def animated(folder: Path) -> None:
    path = folder / "cat" / "moving.gif"
    picture(0).save(path, save_all=True, append_images=[picture(1)])


def train_twice(folder: Path) -> None:
    one_level_down(folder)
    shutil.copytree(folder / "a", folder / "Train")
    (folder / "a").rename(folder / "train")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (one_level_down, "its folders hold folders and no images"),
        (lambda folder: (folder / "zebra").mkdir(), "empty classes: 1 (zebra)"),
        (nothing_but_empty_classes, "empty classes: 3 (cat, dog, owl)"),
        (only_one_class, "a single class: cat"),
        (lambda folder: (folder / "cat" / "x.png").touch(), "unreadable (no image of a known"),
        (loops, "missing: 1 of 37 images (cat/loop.png)"),
        (huge, "too large to decode: 1 of 37 images (cat/huge.png)"),
        (sixteen_bits, "more than 8 bits a channel: 1 of 37 images (cat/deep.png)"),
        (animated, "more than one frame: 1 of 37 images (cat/moving.gif)"),
        (train_twice, "folders that are both the train part: 1 (train)"),
        (shutil.rmtree, "there is no "),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_named(
    spoil,
    words,
    copy,
    monkeypatch,
    capsys,  # type: ignore[no-untyped-def]
) -> None:
    spoil(copy)
    assert run("data", "folder:w", monkeypatch=monkeypatch) == 2
    said = capsys.readouterr()
    assert words in said.err
    assert "Traceback" not in said.err
    assert said.out == ""


def test_the_folder_one_level_deeper_is_named(copy: Path) -> None:
    one_level_down(copy)
    with pytest.raises(DataError, match=f"one level deeper is folder:{copy}/a$"):
        load_data("folder:w")


def test_parts_in_capitals_are_parts(copy: Path) -> None:
    for part in ("Train", "TEST"):
        write_classes(copy.parent / "caps" / part, each=4)
    data = load_data("folder:caps")
    assert [len(part) for part in (data.train, data.validation, data.test)] == [9, 3, 12]


@pytest.mark.parametrize(
    "text", [f"folder:{'x' * 5000}", "hf:" + "y/" * 3000 + ".", "folder:a\udce9"]
)
def test_paths_that_cannot_be_are_faults(text: str) -> None:
    with pytest.raises(DataError):
        load_data(text)


def test_what_may_not_be_entered_is_a_fault(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(folder: Path) -> list[Path]:
        raise PermissionError(13, "Permission denied", str(folder))

    monkeypatch.setattr(folders, "visible", forbidden)
    with pytest.raises(DataError, match="Permission denied"):
        load_data("folder:w")


def test_a_decoder_may_raise_anything(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(image: Image.Image) -> Image.Image:
        raise KeyError("no such tag")

    monkeypatch.setattr(decode, "_flat", broken)
    with pytest.raises(DataError, match="unreadable: 36 of 36 images"):
        load_data("folder:w")


def test_names_that_are_no_utf8_are_written_out(
    copy: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    os.rename(copy / "owl", os.fsencode(copy) + b"/caf\xe9")  # noqa: PTH104 - bytes
    assert load_data("folder:w").classes == ("caf\\xe9", "cat", "dog")
    assert run("data", "folder:w", "--json", monkeypatch=monkeypatch) == 0
    assert "caf\\\\xe9" in capsys.readouterr().out
    shutil.copytree(copy / "cat", copy / "caf\\xe9")
    _load.cache_clear()
    with pytest.raises(DataError, match="two folders of one class"):
        load_data("folder:w")


def test_what_a_terminal_would_obey_is_printed_as_text(
    copy: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (copy / "owl").rename(copy / "o\x1b[2Jl[bold]")
    copy.rename(copy.parent / "w\x1b[2J")
    assert run("data", "folder:w\x1b[2J", monkeypatch=monkeypatch) == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "o\\x1b[2Jl[bold]" in out
    for arguments in (["data", "folder:n\x1b[2J"], ["data", "--n\x1b[2J"], ["n\x1b[2J"]):
        assert run(*arguments, monkeypatch=monkeypatch) == 2
        said = capsys.readouterr()
        assert "\x1b" not in said.out + said.err
        assert "n\\x1b[2J" in said.err


def test_of_the_photograph_of_a_phone_the_photograph_is_taken(copy: Path) -> None:
    """An MPO file holds a preview beside it; the pixels are those of the JPEG alone."""
    picture(1).save(copy / "cat" / "x.jpg", quality=90)
    before = load_data("folder:w").fingerprint
    _load.cache_clear()
    more = {"save_all": True, "append_images": [picture(2)], "quality": 90}
    picture(1).save(copy / "cat" / "x.jpg", format="MPO", **more)
    assert load_data("folder:w").fingerprint == before


# --- --skip-unreadable


@pytest.fixture
def unreadable(copy: Path) -> Path:
    (copy / "cat" / "zz.png").write_bytes(b"no image")
    (copy / "dog" / "zz.jpg").write_bytes((copy / "dog" / "001.jpg").read_bytes()[:300])
    (copy / "dog" / "zzz.png").touch()
    return copy


LEFT_OUT = {"cat": ("cat/zz.png",), "dog": ("dog/zz.jpg", "dog/zzz.png")}


def study_of(text: str) -> Study:
    asked = {"model": "vitc", "optim": "sgd", "epochs": "1", "draws": "2", "data": text}
    options = StudyOptions(**asked, set=["batch_size=8"], skip_unreadable=True)  # type: ignore[arg-type]
    return read_request(options, SiteOptions(device="cpu")).study


def test_unreadable_images_are_left_out_and_counted_by_class(unreadable: Path) -> None:
    with pytest.raises(DataError) as error:
        load_data("folder:w")
    assert error.value.has_unreadable
    data = load_data(without_unreadable("folder:w"))
    for name in (*LEFT_OUT["cat"], *LEFT_OUT["dog"]):
        (unreadable / name).unlink()
    clean = load_data("folder:w")
    assert data.left_out == LEFT_OUT
    assert data.fingerprint == clean.fingerprint
    assert "left out as unreadable: 1 of cat, 2 of dog (cat/zz.png, " in data.notes[0]
    assert not clean.left_out


def test_the_study_keeps_their_list_and_notices_every_change(unreadable: Path) -> None:
    study = study_of("folder:w")
    assert study.left_out == LEFT_OUT
    assert study.data_source == f"folder+skip-unreadable:{unreadable}"
    assert "left out as unreadable: 1 of cat, 2 of dog" in describe_study(study)
    study.write(unreadable / "study.toml")
    assert Study.read(unreadable / "study.toml") == study
    (unreadable / "study.toml").unlink()
    check_unchanged(study)
    shutil.copy(unreadable / "cat" / "001.jpg", unreadable / "cat" / "zz.png")
    (unreadable / "dog" / "001.jpg").write_bytes(b"lost")
    _load.cache_clear()
    with pytest.raises(SpecError) as error:
        check_unchanged(study)
    assert "can be read again, but was left out: cat/zz.png" in str(error.value)
    assert "cannot be read any more: dog/001.jpg" in str(error.value)


def test_the_same_images_are_the_same_study_however_many_were_left_out(unreadable: Path) -> None:
    with_them = study_of("folder:w")
    for name in (*LEFT_OUT["cat"], *LEFT_OUT["dog"]):
        (unreadable / name).unlink()
    _load.cache_clear()
    without = study_of("folder:w")
    assert with_them.hash == without.hash
    assert not with_them.differences(without)
    assert "left_out" not in without.model_dump(exclude_defaults=True)


def test_the_error_says_how_to_go_on_without_them(
    unreadable: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("data", "folder:w", monkeypatch=monkeypatch) == 2
    assert "to go on without the unreadable images: --skip-unreadable" in capsys.readouterr().err
    assert run("data", "folder:w", "--skip-unreadable", monkeypatch=monkeypatch) == 0
    assert "1 of cat, 2 of dog" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("text", ["digits", "synthetic:n=100"])
def test_only_data_of_single_images_can_be_without_some(text: str) -> None:
    with pytest.raises(DataError, match="has no single images that could be left out"):
        load_data(without_unreadable(text))


def test_where_no_image_can_be_read_nothing_is_left(copy: Path) -> None:
    for path in copy.rglob("*.jpg"):
        path.write_bytes(b"x")
    with pytest.raises(DataError, match="none of 36 images can be read"):
        load_data(without_unreadable("folder:w"))


# --- what goes to a terminal or a pipe


def test_any_output_can_be_written_in_ascii(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = "model,outcome,error,chance\n" + "".join(f"a,ok,{i},90\n" for i in range(5))
    (tmp_path / "t.csv").write_text(table)
    with (tmp_path / "out").open("w", encoding="ascii") as out:
        monkeypatch.setattr(sys, "stdout", out)
        monkeypatch.chdir(tmp_path)
        assert run("edf", "t.csv", "-o", "edf.png", monkeypatch=monkeypatch) == 0
    assert "\\u22644" in (tmp_path / "out").read_text()


def test_what_an_objective_prints_in_a_worker_never_fails() -> None:
    code = [sys.executable, "-c", "print('\\u2264')"]
    for variables, status in (({}, 1), (ENVIRONMENT, 0)):
        locale = {"PYTHONIOENCODING": "ascii", "LC_ALL": "C", "PYTHONUTF8": "0"}
        done = subprocess.run(code, env=locale | variables, capture_output=True, check=False)
        assert done.returncode == status


@pytest.mark.parametrize(
    "arguments",
    [
        ["sweep", "--objective", "math:sqrt", "--vary", "x=1:2", "--out", "r\udcff"],
        ["import", "t.csv", "-o", "x\udcff.parquet"],
    ],
)
def test_a_path_that_is_no_utf8_is_refused(
    arguments: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.csv").write_text("model,outcome,error,chance\na,ok,5,90\n")
    assert run(*arguments, monkeypatch=monkeypatch) == 2
    assert "\\udcff" in (said := capsys.readouterr().err)
    assert "is not valid UTF-8" in said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["t.csv"]


def test_an_error_that_nobody_foresaw_is_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*args: object, **more: object) -> None:
        raise ZeroDivisionError("division by \x1b[2J zero")

    monkeypatch.setattr("stability.cli.commands.models.show_models", broken)
    monkeypatch.delenv("STABILITY_DEBUG", raising=False)
    assert run("models", monkeypatch=monkeypatch) == 1
    said = capsys.readouterr().err
    assert said.startswith("stability: unexpected ZeroDivisionError (test_bad_data.py, line ")
    assert "\x1b" not in said
    assert len(said.splitlines()) == 1
    monkeypatch.setenv("STABILITY_DEBUG", "1")
    monkeypatch.setattr("sys.argv", ["stability", "models"])
    with pytest.raises(ZeroDivisionError):
        main()
