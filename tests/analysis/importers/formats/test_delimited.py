"""CSV files of spreadsheets and programs: separators, commas in numbers, faults with lines."""

import csv
from pathlib import Path

import pytest
from foreign_sources import table_of

from analysis import TableError
from analysis.importers import read_sweep
from analysis.importers.source import ExternalSweep


def read(folder: Path, text: str, name: str = "t.csv") -> ExternalSweep:
    (folder / name).write_text(text, newline="")
    return read_sweep(str(folder / name))


def fault_of(folder: Path, text: str) -> str:
    with pytest.raises(TableError) as caught:
        read(folder, text)
    (fault,) = caught.value.faults
    return fault.removeprefix(str(folder / "t.csv"))


@pytest.mark.parametrize(
    ("separator", "name", "said"),
    [
        (",", "t.csv", None),
        (";", "t.csv", "cells are separated by semicolons"),
        ("\t", "t.tsv", "cells are separated by tabs"),
        ("|", "t.txt", "cells are separated by vertical bars"),
    ],
)
def test_the_separator_is_found(
    tmp_path: Path, separator: str, name: str, said: str | None
) -> None:
    rows = [["lr", "error", "act"], ["0.1", "5.5", "relu"], ["", "6", '"a,b;c|d\te"']]
    sweep = read(tmp_path, "\n".join(separator.join(row) for row in rows), name)
    assert sweep.frame["lr"].tolist() == ["0.1", None]
    assert sweep.frame["act"].tolist() == ["relu", "a,b;c|d\te"]
    assert sweep.notes == ((said,) if said else ())


def test_a_file_of_one_column_needs_no_separator(tmp_path: Path) -> None:
    assert read(tmp_path, "error\n5\n6\n").frame["error"].tolist() == ["5", "6"]


@pytest.mark.parametrize("end", ["|", "||", "| "])
def test_a_separator_that_ends_every_line_makes_no_column(tmp_path: Path, end: str) -> None:
    lines = ["State|err", "COMPLETED|5", "FAILED|"]
    sweep = read(tmp_path, "".join(f"{line}{end}\n" for line in lines), "sacct.txt")
    assert list(sweep.frame) == ["State", "err"]
    assert sweep.frame["err"].tolist() == ["5", None]
    assert sweep.notes == ("cells are separated by vertical bars",)
    one = read(tmp_path, "err|\n5|\n6|\n")
    assert one.frame["err"].tolist() == ["5", "6"]


@pytest.mark.parametrize(
    ("named", "separator", "said"),
    [
        ("sep=;\r\n", ";", "cells are separated by semicolons"),
        ('"SEP=\t"\n', "\t", "cells are separated by tabs"),
        ("sep=:\n", ":", "cells are separated by ':'"),
        ("sep=,\n", ",", None),
    ],
)
def test_the_first_line_of_excel_names_the_separator(
    tmp_path: Path, named: str, separator: str, said: str | None
) -> None:
    rows = "".join(f"{separator.join(row)}\n" for row in (["err", "a;b,c"], ["5", '"x;y,z"']))
    sweep = read(tmp_path, "\ufeff" + named + rows.replace("a;b,c", '"a;b,c"'))
    assert sweep.frame["err"].tolist() == ["5"]
    assert sweep.frame["a;b,c"].tolist() == ["x;y,z"]
    assert list(sweep.places) == ["line 3"]
    assert sweep.notes == ((said,) if said else ())


def test_the_line_that_names_the_separator_is_the_first(tmp_path: Path) -> None:
    assert list(read(tmp_path, "err\nsep=;\n").frame) == ["err"]
    assert list(read(tmp_path, "# x\nsep=;\n5;\n").frame) == ["sep="]
    assert list(read(tmp_path, "sep=ab,err\n1,5\n").frame) == ["sep=ab", "err"]


def test_lines_of_comments_before_the_names_are_skipped_and_said(tmp_path: Path) -> None:
    sweep = read(tmp_path, "# made, by; x\nerr,lr\n5,0.1\n#6,7\n")
    assert sweep.frame["err"].tolist() == ["5", "#6"]
    assert list(sweep.places) == ["line 3", "line 4"]
    assert sweep.notes == ("line 1 is skipped: it begins with #",)
    sweep = read(tmp_path, "sep=;\n#a;b\n\n# c\nerr;lr\n5;1\n")
    assert list(sweep.places) == ["line 6"]
    assert sweep.notes[0] == "lines 2, 4 are skipped: they begin with #"


def test_names_that_begin_with_the_sign_of_comments_stay_names(tmp_path: Path) -> None:
    sweep = read(tmp_path, '# made by x\n#,err\n"1",5\n')
    assert list(sweep.frame) == ["#", "err"]
    assert list(sweep.places) == ["line 3"]
    assert sweep.notes == ("line 1 is skipped: it begins with #",)


def test_two_separators_that_fit_are_refused(tmp_path: Path) -> None:
    fault = fault_of(tmp_path, "a;b,c\n1;2,3\n")
    assert fault.startswith(": commas and semicolons both separate every row into cells; put")
    tabs = read(tmp_path, "a,b\tc,d\n1,2\t3,4\n", "t.tsv")
    assert list(tabs.frame) == ["a,b", "c,d"]


def test_decimal_commas_are_read_in_files_with_semicolons(tmp_path: Path) -> None:
    text = "lr;error;n;act;mixed\n0,125;5,5;3;a,b;1,5\n1e-05;12;4;1,5;1.5\n;nan;NA;x;2\n"
    sweep = read(tmp_path, text.replace("1e-05", "1,5e-05"))
    assert sweep.frame["lr"].tolist() == ["0.125", "1.5e-05", None]
    assert sweep.frame["error"].tolist() == ["5.5", "12", "nan"]
    assert sweep.frame["act"].tolist() == ["a,b", "1,5", "x"]
    assert sweep.frame["mixed"].tolist() == ["1,5", "1.5", "2"]
    assert sweep.notes[-1] == "decimal commas are read as points: lr, error"
    assert table_of(sweep)["error"].tolist()[:2] == [5.5, 12.0]


@pytest.mark.parametrize("other", ["12,500", "7", ""])
def test_a_comma_that_may_separate_thousands_is_refused(tmp_path: Path, other: str) -> None:
    fault = fault_of(tmp_path, f"error;steps\n5;1,250\n6;{other}\n")
    assert fault.startswith(": column 'steps': '1,250' may have a decimal comma or a thousands")


@pytest.mark.parametrize("other", ["0,125", "1234,567", "1,25"])
def test_one_value_settles_what_the_comma_is(tmp_path: Path, other: str) -> None:
    sweep = read(tmp_path, f"error;steps\n5;1,250\n6;{other}\n")
    assert sweep.frame["steps"].tolist() == ["1.250", other.replace(",", ".")]


def test_quoted_commas_in_a_file_with_commas_stay_text(tmp_path: Path) -> None:
    assert read(tmp_path, 'e,layers\n5,"128,64"\n').frame["layers"].tolist() == ["128,64"]


def test_places_are_lines_of_the_file(tmp_path: Path) -> None:
    sweep = read(tmp_path, 'error,note\r\n\r\n5,"a\nb\nc"\r\n6,d\r\n')
    assert list(sweep.places) == ["line 3", "line 6"]
    assert sweep.frame["note"].tolist() == ["a\nb\nc", "d"]


def test_the_index_of_pandas_is_a_column(tmp_path: Path) -> None:
    sweep = read(tmp_path, ",error\n0,5\n1,6\n")
    assert list(sweep.frame) == ["index", "error"]
    assert sweep.notes == (
        "the first column has no name, as the index that pandas writes: 'index'",
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", ": no rows, the file is empty"),
        ("\ufeff \n\n", ": no rows, the file is empty"),
        ("error,lr\n", ": no rows, only the line of names"),
        ("error,lr,\n", ": no rows, only the line of names"),
        ("sep=;\n# x\n", ": no rows, only lines that are skipped"),
        ("sep=;\n#x\ne;e\n1;2\n", ", line 3: the column 'e' is there twice"),
        ("sep=;\n#x\ne;b\n1;2;3\n", ", line 4: 3 cells, the line of names has 2"),
        ("# x\n0.1,5\n0.2,6\n", ", line 2: 2 cells, the line of names has 1"),
        ("e,b\n1,2,\n3,4,\n", ", line 2: 3 cells, the line of names has 2; so do 1 more rows"),
        ("e,\n1,\n2,3\n", ", line 1: column 2 has no name"),
        (",\n,\n", ", line 1: column 1 has no name"),
        ("\nerror,error\n1,2\n", ", line 2: the column 'error' is there twice"),
        ("error,,lr\n1,2,3\n", ", line 1: column 2 has no name"),
        (",error,index\n1,2,3\n", ", line 1: column 1 has no name"),
        ("e,b\n1,2\n3\n4\n", ", line 3: 1 cell, the line of names has 2; so do 1 more rows"),
        ("e,b\n1,2\n\n3,4,5\n", ", line 4: 3 cells, the line of names has 2"),
        ("e\n0,5\n", ", line 2: 2 cells, the line of names has 1"),
        ('e,b\n1,2\n3,"x\n4,5\n', ", line 3: unexpected end of data; is a quote opened there"),
        ('e,b\n1,"x"y\n', ", line 2: ',' expected after '\"'; is a quote opened there"),
    ],
)
def test_a_fault_has_its_line(tmp_path: Path, text: str, said: str) -> None:
    assert fault_of(tmp_path, text).startswith(said)


def test_rows_that_differ_late_in_the_file_are_seen(tmp_path: Path) -> None:
    rows = "".join(f"{i},2\n" for i in range(2000))
    assert fault_of(tmp_path, f"e,b\n{rows}1,2,3\n").startswith(", line 2002: 3 cells, the line")


def test_a_separator_must_fit_in_every_row(tmp_path: Path) -> None:
    sweep = read(tmp_path, "lr, base;error\n0.1;5\n0.2;6\n")
    assert list(sweep.frame) == ["lr, base", "error"]


def test_a_cell_may_be_long(tmp_path: Path) -> None:
    text = "x" * 200_000
    assert read(tmp_path, f"error,note\n5,{text}\n").frame["note"].tolist() == [text]
    assert csv.field_size_limit() == 131_072  # of the whole process, restored
