"""Any CSV, JSON, JSONL or parquet table, one row per run."""

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from analysis.errors import TableError
from analysis.importers.cells import frame_of, plain_cell
from analysis.importers.formats.delimited import read_csv
from analysis.importers.formats.json_tables import table_of_json
from analysis.importers.formats.objects import frame_of_objects
from analysis.importers.formats.raw_table import RawTable
from analysis.importers.formats.text_files import (
    ending_of,
    parse_json_lines,
    read_content,
    read_json,
    read_text,
    stem_of,
)
from analysis.importers.source import ExternalSweep

ROWS_AS_DRAWS_NOTE = (
    "the rows are taken as independent random draws; of a grid or an adaptive search: "
    "--set sampler=grid, then no band is drawn"
)


def read_table(path: Path) -> RawTable:
    """Read a file by its ending. Raises TableError where it cannot be read or has no rows."""
    reader = TABLE_READERS.get(ending_of(path))
    if reader is None:
        raise TableError([f"{path}: a table is one of {', '.join(TABLE_READERS)}, or one with .gz"])
    return reader(path)


def flat_sweep(path: Path, table: RawTable) -> ExternalSweep:
    """A table as a sweep: rows are runs, in the order in which they were drawn."""
    return ExternalSweep(
        name=stem_of(path),
        format="table",
        frame=table.frame,
        places=table.places,
        notes=table.notes,
        sampler_note=ROWS_AS_DRAWS_NOTE,
    )


def _read_parquet(path: Path) -> RawTable:
    try:
        table = pq.ParquetFile(pa.BufferReader(read_content(path))).read()
    except pa.ArrowException as error:
        said = " ".join(str(error).split())
        raise TableError([f"{path}: cannot be read: {said}"]) from error
    names = table.column_names
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise TableError([f"{path}: the column {name!r} is there twice" for name in twice])
    if not table.num_rows:
        raise TableError([f"{path}: no rows"])
    # not by way of pandas, which makes NaN of what is not there
    if any(pa.types.is_nested(kind) for kind in table.schema.types):
        frame = frame_of_objects(path, table.to_pylist())
    else:  # a dict for each row costs ten times as much
        frame = frame_of({n: list(map(plain_cell, table[n].to_pylist())) for n in names})
    return RawTable(frame, tuple(f"row {number}" for number in range(1, len(frame) + 1)))


def _read_json_lines(path: Path) -> RawTable:
    text = read_text(path)
    is_list = text.lstrip().startswith("[")
    return table_of_json(path, read_json(path) if is_list else parse_json_lines(path, text))


TABLE_READERS: dict[str, Callable[[Path], RawTable]] = {
    ".csv": read_csv,
    ".tsv": read_csv,
    ".txt": read_csv,
    ".jsonl": _read_json_lines,
    ".json": lambda path: table_of_json(path, read_json(path)),
    ".parquet": _read_parquet,
}
