"""CSV files as spreadsheets and programs write them: separators, decimal commas, line numbers.

Cells stay text. What separates the cells is found by counting: `csv.Sniffer` guesses by the
frequency of characters and takes letters for separators.
"""

import csv
import io
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from analysis.errors import TableError
from analysis.importers.cells import EMPTY, NUMBER, frame_of
from analysis.importers.formats.objects import expand_objects
from analysis.importers.formats.raw_table import RawTable
from analysis.importers.formats.text_files import ending_of, read_text
from analysis.importers.source import join_names

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}
ROWS_LOOKED_AT = 1000  # to find the separator
ANY = re.compile("[,;\t|]")
MOST_CELL = 16 << 20  # characters; the summary of a W&B run is one cell

WITH_COMMA = re.compile(r"[+-]?\d+,\d+(e[+-]?\d+)?", re.IGNORECASE | re.ASCII)
WITHOUT_COMMA = re.compile(r"[+-]?(\d+|inf(inity)?|nan)", re.IGNORECASE | re.ASCII)
MAYBE_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2},\d{3}", re.ASCII)
"""`1,234` is either; `0,125` and `1234,567` are no thousands."""
NAMED_SEPARATOR = re.compile(r'("?)sep=([^\w"\r\n])\1[\r\n]*', re.IGNORECASE)
"""The first line that Excel writes and reads; the separator may be any character."""
COMMENT = "#"


def read_csv(path: Path) -> RawTable:
    """Read a CSV file with a line of names.

    Returns:
        Cells as text, None where there is nothing. A cell that holds an object becomes columns.

    Raises:
        TableError: with the line of the fault.

    """
    text = read_text(path)
    limit = csv.field_size_limit(MOST_CELL)
    try:
        return _read_cells(path, text)
    finally:
        csv.field_size_limit(limit)


def _read_cells(path: Path, text: str) -> RawTable:
    text, separator, notes = _without_preamble(path, text)
    separator = separator or _separator_of(path, text)
    (first, names), *records = _records(path, text, separator)
    names, said = _checked_names(path, first, _without_trailing(names, records))
    notes += said
    _check_lengths(path, len(names), records)
    columns: dict[str, list[str | None]] = {
        name: [cell if cell.strip() else None for cell in cells]
        for name, cells in zip(names, zip(*(row for _, row in records), strict=True), strict=True)
    }
    if separator != ",":
        notes.append(f"cells are separated by {SEPARATORS.get(separator, repr(separator))}")
    if separator == ";":
        columns, said = _decimal_commas(path, columns)
        notes += said
    places = tuple(f"line {line}" for line, _ in records)
    frame, said = expand_objects(path, frame_of(columns), places)
    return RawTable(frame, places, (*notes, *said))


def _without_preamble(path: Path, text: str) -> tuple[str, str | None, list[str]]:
    """Empty the lines in front of the names: (text, separator that one of them names, notes).

    A line with `#` before a line with a number has the names. Raises TableError without names.
    """
    head: list[str] = []
    for line in io.StringIO(text, newline=""):
        is_named = not head and NAMED_SEPARATOR.fullmatch(line)
        if line.strip() and not is_named and not line.startswith(COMMENT):
            break
        head.append(line)
    else:
        why = "only lines that are skipped" if text.strip() else "the file is empty"
        raise TableError([f"{path}: no rows, {why}"])
    comments = [n for n, skipped in enumerate(head, start=1) if skipped.startswith(COMMENT)]
    if comments and any(NUMBER.fullmatch(cell.strip(' "\r\n')) for cell in ANY.split(line)):
        del head[comments.pop() - 1 :]
    named = NAMED_SEPARATOR.fullmatch(head[0]) if head else None
    numbers = join_names(map(str, comments))
    notes = [f"lines {numbers} are skipped: they begin with {COMMENT}"] if comments[1:] else []
    notes = notes or [f"line {n} is skipped: it begins with {COMMENT}" for n in comments]
    rest = text[sum(map(len, head)) :]
    return "\n" * len(head) + rest, named and named[2], notes


def _without_trailing(names: list[str], records: list[tuple[int, list[str]]]) -> list[str]:
    """Names without the empty one after a separator that ends every line; rows in place."""
    rows = [row for _, row in records]
    while len(names) > 1 and not names[-1].strip():
        if any(len(row) != len(names) or row[-1].strip() for row in rows):
            break
        names = names[:-1]
        for row in rows:
            row.pop()
    return names


def _records(path: Path, text: str, separator: str) -> Iterator[tuple[int, list[str]]]:
    """Records that are not empty, each with the line on which it begins. Raises TableError."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    while True:
        begin = reader.line_num + 1
        try:
            record = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise TableError(
                [f"{path}, line {begin}: {error}; is a quote opened there and not closed?"]
            ) from error
        if record:
            yield begin, record


def _separator_of(path: Path, text: str) -> str:
    """What gives the same number of cells, 2 or more, in the names and in the rows.

    Where nothing does, the separator of most rows: the rows that differ are faults. A file of one
    column has none. Raises TableError where two separators fit.
    """
    agreeing: dict[str, float] = {}
    for separator in SEPARATORS:
        try:
            lengths = [len(r) for _, r in islice(_records(path, text, separator), ROWS_LOOKED_AT)]
        except TableError:
            lengths = []
        if lengths and lengths[0] > 1:
            agreeing[separator] = sum(n == lengths[0] for n in lengths) / len(lengths)
    fitting = [separator for separator, share in agreeing.items() if share == 1.0]
    if "\t" in fitting and ending_of(path) == ".tsv":
        return "\t"
    if len(fitting) > 1:
        which = " and ".join(SEPARATORS[separator] for separator in fitting)
        raise TableError(
            [f"{path}: {which} both separate every row into cells; put names and cells in quotes"]
        )
    return max(agreeing, key=agreeing.__getitem__, default=",")


def _checked_names(path: Path, line: int, names: list[str]) -> tuple[list[str], list[str]]:
    """Names of the columns, and what is said of them. Raises TableError."""
    names, notes = [name.strip() for name in names], []
    if not names[0] and len(names) > 1 and "index" not in names:
        names[0] = "index"
        notes.append("the first column has no name, as the index that pandas writes: 'index'")
    twice = sorted({name for name in names if name and names.count(name) > 1})
    faults = [f"the column {name!r} is there twice" for name in twice]
    faults += [f"column {n} has no name" for n, name in enumerate(names, start=1) if not name]
    if faults:
        raise TableError([f"{path}, line {line}: {fault}" for fault in faults])
    return names, notes


def _check_lengths(path: Path, expected: int, records: list[tuple[int, list[str]]]) -> None:
    if not records:
        raise TableError([f"{path}: no rows, only the line of names"])
    ragged = [(line, len(row)) for line, row in records if len(row) != expected]
    if ragged:
        line, length = ragged[0]
        more = f"; so do {len(ragged) - 1} more rows" if len(ragged) > 1 else ""
        cells = "1 cell" if length == 1 else f"{length} cells"
        raise TableError([f"{path}, line {line}: {cells}, the line of names has {expected}{more}"])


def _decimal_commas(
    path: Path, columns: dict[str, list[str | None]]
) -> tuple[dict[str, list[str | None]], list[str]]:
    """Columns of numbers with a decimal point, and what is said. Raises TableError."""
    found, faults = [], []
    for name, cells in columns.items():
        texts = [c.strip() for c in cells if c is not None and c.strip().lower() not in EMPTY]
        with_comma = [text for text in texts if WITH_COMMA.fullmatch(text)]
        others = set(texts).difference(with_comma)
        if not with_comma or not all(map(WITHOUT_COMMA.fullmatch, others)):
            continue
        found.append(name)
        if all(map(MAYBE_THOUSANDS.fullmatch, with_comma)):
            faults.append(
                f"{path}: column {name!r}: {with_comma[0]!r} may have a decimal comma or a "
                "thousands separator; write decimal points and no thousands separators"
            )
    if faults:
        raise TableError(faults)
    points = {name: [c and c.replace(",", ".") for c in columns[name]] for name in found}
    said = [f"decimal commas are read as points: {join_names(found)}"] if found else []
    return {**columns, **points}, said
