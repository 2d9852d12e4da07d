"""Files as text and JSON: limits, encodings, and the line of a fault."""

import gzip
import json
from pathlib import Path

import pytest

from analysis import TableError
from analysis.importers import read_sweep
from analysis.table import guarded_reading


def fault_of(path: Path) -> str:
    with pytest.raises(TableError) as caught:
        read_sweep(str(path))
    (fault,) = caught.value.faults
    return fault.removeprefix(str(path))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("error\n5\n".encode("utf-16"), ": the text is UTF-16; save it as UTF-8"),
        (b"error\n5\n6\0\n", ", line 3: a NUL byte; is this a text file in UTF-8?"),
        (b"error,n\n5,\xe9\n", ", line 2: the byte 0xe9 is no UTF-8; save the file as UTF-8"),
        (b"\xef\xbb\xbferror,n\n5,\xe9\n", ", line 2: the byte 0xe9 is no UTF-8; save the file"),
    ],
)
def test_what_is_no_utf_8_is_named_with_its_line(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "t.csv").write_bytes(content)
    assert fault_of(tmp_path / "t.csv").startswith(said)


@pytest.mark.parametrize("name", ["t.csv", "t.json", "t.jsonl"])
def test_packed_files_are_read_up_to_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    text = "error\n5\n" if name == "t.csv" else json.dumps([{"error": 5}])
    path = tmp_path / f"{name}.gz"
    path.write_bytes(gzip.compress((text.strip("[]") if name == "t.jsonl" else text).encode()))
    sweep = read_sweep(str(path))
    assert (sweep.name, len(sweep.frame)) == ("t", 1)
    path.write_bytes(path.read_bytes()[:-4])
    assert ": cannot be unpacked:" in fault_of(path)
    path.write_text("error")
    assert ": cannot be unpacked:" in fault_of(path)
    monkeypatch.setattr(guarded_reading, "MOST_TABLE_BYTES", 1000)
    path.write_bytes(gzip.compress(b" " * 1001))
    assert fault_of(path) == ": more than 1000 bytes after unpacking"


def test_a_line_ends_with_a_newline_only(tmp_path: Path) -> None:
    path, odd = tmp_path / "runs.jsonl", "a\u2028b\x85c\x1cd"
    line = json.dumps({"error": 5, "name": odd}, ensure_ascii=False).replace("\\u001c", "\x1c")
    path.write_text(f"{line}\r\n\n{json.dumps({'error': 6})}\n".replace("\x1c", "-"), newline="")
    sweep = read_sweep(str(path))
    assert sweep.frame["name"].tolist() == [odd.replace("\x1c", "-"), None]
    assert list(sweep.places) == ["line 1", "line 3"]


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (['{"error": 5}', "", '{"error": '], ", line 3: no JSON: Expecting value (character 11)"),
        (['{"e": 5, "e": 6}'], ", line 1: an object has the key 'e' twice"),
        (['{"e": 5}', "[1]"], ", line 2: a list; allowed is one object for each run"),
        (['{"e": 5}', "[" * 100_000], ", line 2: nested too deeply"),
        (['{"a": ' * 40 + "1" + "}" * 40], ": objects are nested more than 32 levels deep"),
        ([], ": no rows"),
        (["{", "{"], ", line 1: no JSON: Expecting property name"),
    ],
)
def test_a_fault_of_json_lines_has_the_line(tmp_path: Path, lines: list[str], said: str) -> None:
    (tmp_path / "t.jsonl").write_text("\n".join(lines))
    assert fault_of(tmp_path / "t.jsonl").startswith(said)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('[{"e": 5},\n {"e": }]', ", line 2: no JSON: Expecting value"),
        ('[{"e": 5, "e": 6}]', ": an object has the key 'e' twice"),
        ("[]", ": no rows"),
        ("", ", line 1: no JSON"),
        ("5", ": a number; allowed is one object for each run"),
        ('[{"e": 5}, null]', ", object 2: null; allowed is one object for each run"),
        ('{"e": 5}', ": an object; allowed is one object for each run"),
        ('{"e": [1, 2], "f": [1]}', ": the columns 'e' and 'f' do not have the same rows"),
        ('{"e": {"0": 1}, "f": {"1": 1}}', ": the columns 'e' and 'f' do not have the same"),
        ('{"columns": ["e"], "index": [0], "data": [[5, 6]]}', ", row 1: no list of 1 cells"),
        ('{"columns": ["e", "e"], "index": [], "data": []}', ": 'columns' is no list of different"),
        ('{"schema": {}, "data": [5]}', ", row 1: a number; allowed is one object"),
    ],
)
def test_a_fault_of_json_is_named(tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / "t.json").write_text(content)
    assert fault_of(tmp_path / "t.json").startswith(said)


def test_lines_of_json_may_be_called_json(tmp_path: Path) -> None:
    (tmp_path / "t.json").write_text('{"error": 5}\n{"error": NaN}\n')
    sweep = read_sweep(str(tmp_path / "t.json"))
    assert (len(sweep.frame), sweep.places[1]) == (2, "line 2")
    (tmp_path / "t.json").write_text('{"error": 5}\n{"error": \n')
    assert ", line 2: no JSON" in fault_of(tmp_path / "t.json")


@pytest.mark.parametrize("between", [", ", ",\n "])
def test_a_list_may_be_called_lines_of_json(tmp_path: Path, between: str) -> None:
    (tmp_path / "t.jsonl").write_text(f'\n[{{"error": 5}}{between}{{"error": 6}}]\n')
    sweep = read_sweep(str(tmp_path / "t.jsonl"))
    assert sweep.frame["error"].tolist() == [5, 6]
    assert list(sweep.places) == ["object 1", "object 2"]
    (tmp_path / "t.jsonl").write_text("[5]\n[6]\n")
    assert ", line 1: a list; allowed is one object" in fault_of(tmp_path / "t.jsonl")


def test_objects_are_numbered(tmp_path: Path) -> None:
    (tmp_path / "t.json").write_text('[{"error": 5},\n {"error": 6}]')
    assert list(read_sweep(str(tmp_path / "t.json")).places) == ["object 1", "object 2"]
