"""Parquet, saved data sets and names of the hub, through `datasets`, without a network."""

import shutil
import socket
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from picture_files import CLASSES, encoded, parquet, rows, write_classes

from stability.data import DataError, huggingface, load_data, resolve_data

datasets = pytest.importorskip("datasets", reason="needs the extra data")

PARTS = ("train", "validation", "test")
pytestmark = pytest.mark.filterwarnings("default")  # the library's own warnings are not ours


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever opens a connection fails the test."""

    def refuse(*_: object) -> None:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def typed(n: int) -> Any:
    features = datasets.Features(
        {"image": datasets.Image(), "label": datasets.ClassLabel(names=list(CLASSES))}
    )
    return datasets.Dataset.from_list(rows(n), features=features)


def faults_of(text: str) -> list[str]:
    with pytest.raises(DataError) as error:
        load_data(text)
    return error.value.faults


def content(data: Any) -> dict[bytes, str]:
    """Image -> name of its class."""
    return {
        image.tobytes(): data.classes[label]
        for part in PARTS
        for image, label in zip(getattr(data, part).images, getattr(data, part).labels, strict=True)
    }


def test_a_parquet_file_is_split_in_three(tmp_path: Path) -> None:
    data = load_data(f"hf:{parquet(tmp_path / 'flowers.parquet', rows(60))}")
    assert (data.name, data.classes, data.shape) == ("hf-flowers", ("0", "1", "2"), (3, 32, 32))
    assert [len(getattr(data, part)) for part in PARTS] == [42, 6, 12]


def test_classes_have_the_names_of_the_type_or_of_the_column(tmp_path: Path) -> None:
    """The same images as a typed parquet, as names in plain parquet, saved, and as a folder."""
    typed(30).to_parquet(str(tmp_path / "typed.parquet"))
    named = [{"img": r["image"]["bytes"], "fine_label": CLASSES[r["label"]]} for r in rows(30)]
    parquet(tmp_path / "named.parquet", named)
    typed(30).save_to_disk(str(tmp_path / "saved"))
    write_classes(tmp_path / "images", each=10, suffix=".png")
    places = ("typed.parquet", "named.parquet", "saved", "images")
    found = {place: load_data(f"hf:{tmp_path / place}") for place in places}
    assert {data.classes for data in found.values()} == {CLASSES}
    expected = content(load_data(f"folder:{tmp_path / 'images'}"))
    assert len(expected) == 30
    for data in found.values():
        assert content(data) == expected
    assert found["typed.parquet"].fingerprint == found["saved"].fingerprint


def test_names_of_files_tell_the_parts(tmp_path: Path) -> None:
    for part, start, n in (("train", 0, 60), ("test", 60, 9)):
        parquet(tmp_path / "a" / f"{part}-00000-of-00001.parquet", rows(n, start))
    data = load_data(f"hf:{tmp_path / 'a'}@16")
    assert (data.name, data.shape) == ("hf-a@16", (3, 16, 16))
    assert [len(getattr(data, part)) for part in PARTS] == [54, 6, 9]
    assert data.test.labels.tolist() == [i % 3 for i in range(60, 69)]


def test_every_bad_row_is_counted(tmp_path: Path) -> None:
    table = rows(30)
    table[3]["label"] = None
    table[5]["image"] = None
    table[6]["image"] = {"bytes": b"no image", "path": None}
    table[7]["image"] = {"bytes": encoded(7)[:-200], "path": None}
    path = parquet(tmp_path / "a.parquet", table)
    assert [fault.removeprefix(f"{path}: ") for fault in faults_of(f"hf:{path}")] == [
        "labels that are no class (None): 1 (all row 3)",
        "rows without an image: 1 (all row 5)",
        "unreadable (no image of a known format): 1 of 28 images (all row 6)",
        "truncated: 1 of 28 images (all row 7)",
    ]


def test_labels_outside_the_classes_are_counted(tmp_path: Path) -> None:
    """The hub's own test parts often carry -1 where the label is kept secret."""
    for part, table in (("train", rows(30)), ("test", [{**r, "label": -1} for r in rows(3)])):
        parquet(tmp_path / "a" / f"{part}.parquet", table)
    faults = faults_of(f"hf:{tmp_path / 'a'}")
    secret = "labels that are no class (-1): 3 (test row 0, test row 1, test row 2)"
    assert f"{tmp_path}/a: {secret}" in faults
    assert f"{tmp_path}/a: empty classes in test: 3 (0, 1, 2)" in faults


def test_columns_that_cannot_be_told(tmp_path: Path) -> None:
    path = parquet(tmp_path / "a.parquet", [{"x": 1, "y": 2}])
    assert faults_of(f"hf:{path}") == [
        f"{path}: 0 columns of images (none), not one; columns are x, y",
        f"{path}: no column of labels, which is a ClassLabel or called label, labels, fine_label, "
        "class; columns are x, y",
    ]


def test_what_is_no_data_set(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"PAR1 and no more")
    (said,) = faults_of(f"hf:{tmp_path / 'a.parquet'}")
    assert said.startswith(f"{tmp_path}/a.parquet cannot be read by datasets: Parquet")
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "a.pkl").write_bytes(b"run me")
    (said,) = faults_of(f"hf:{tmp_path / 'empty'}")
    assert said == f"{tmp_path}/empty holds neither parquet files nor images"
    (said,) = faults_of(f"hf:{tmp_path / 'b.parquet'}")
    assert said.startswith(f"there is no {tmp_path}/b.parquet")


def test_a_name_of_the_hub_that_is_not_here_is_named_with_its_command() -> None:
    (said,) = faults_of("hf:nobody/flowers")
    assert said.startswith("nobody/flowers is no path here and was not downloaded; get it with: ")
    assert said.endswith("""python -c "from datasets import load_dataset; """
                         """load_dataset('nobody/flowers')\"""")  # fmt: skip


def test_a_data_set_of_the_hub_that_was_downloaded_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the place, and by the names, that `load_dataset("nobody/leaves")` gives its copies."""
    typed(30).to_parquet(str(tmp_path / "a.parquet"))
    with huggingface.offline():
        datasets.load_dataset(
            "parquet", data_files=str(tmp_path / "a.parquet"), cache_dir=str(tmp_path / "copies")
        )
    made = next((tmp_path / "copies" / "parquet").glob("default-*/0.0.0/*/"))
    kept = tmp_path / "hub" / "nobody___leaves" / "default" / "0.0.0" / ("0123abcd" * 5)
    shutil.copytree(made, kept)
    (kept / "parquet-train.arrow").rename(kept / "leaves-train.arrow")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "hub")
    data = load_data("hf:nobody/leaves")
    assert (data.name, data.classes) == ("hf-leaves", CLASSES)
    assert data.fingerprint == load_data(f"hf:{tmp_path / 'a.parquet'}").fingerprint


def test_nothing_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The library's copies go with the reading, its switches are as they were."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    path = parquet(tmp_path / "a.parquet", rows(30))
    before = datasets.config.HF_HUB_OFFLINE, datasets.is_progress_bar_enabled()
    load_data(f"hf:{path}")
    assert [p.name for p in tmp_path.iterdir()] == ["a.parquet"]
    assert (datasets.config.HF_HUB_OFFLINE, datasets.is_progress_bar_enabled()) == before


def test_paths_and_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert resolve_data("hf:owner/name@32").canonical == "hf:owner/name@32"
    assert resolve_data("hf:owner/name@32").short == "hf-name@32"
    (tmp_path / "owner" / "name").mkdir(parents=True)
    assert resolve_data("hf:owner/name").canonical == f"hf:{tmp_path}/owner/name"
    assert resolve_data("hf:./x").canonical == f"hf:{tmp_path}/x"


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface, "find_spec", lambda name: None)
    assert find_spec("datasets") is not None
    assert faults_of("hf:some/thing") == [
        "hf needs the library datasets: pip install 'stability[data]'"
    ]
