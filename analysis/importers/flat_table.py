"""Any CSV, JSONL, JSON or parquet table, one row per run."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from analysis.errors import TableError
from analysis.importers.cells import frame_of, frame_of_rows, parse_cells, plain_cell
from analysis.importers.source import ExternalSweep

ROWS_AS_DRAWS_NOTE = (
    "the rows are taken as independent random draws, and get a band; of a grid or a search that "
    "looks at results: --set sampler=grid, or any other name"
)


def read_flat_table(path: Path) -> ExternalSweep:
    """Read a table by its ending. Raises TableError where it cannot be read or has no rows."""
    readers: dict[str, Callable[[Path], pd.DataFrame]] = {
        ".csv": read_csv,
        ".jsonl": _read_jsonl,
        ".json": lambda path: _of_objects(path, read_json(path)),
        ".parquet": _read_parquet,
    }
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise TableError([f"{path}: a table is one of {', '.join(readers)}"])
    return ExternalSweep(
        name=path.stem, format="table", frame=reader(path), sampler_note=ROWS_AS_DRAWS_NOTE
    )


def read_csv_header(path: Path) -> list[str]:
    """Names of the columns of a CSV file. Raises TableError."""
    return next(iter(_lines(path)), [])


def read_csv(path: Path) -> pd.DataFrame:
    """Read a CSV file with a line of names. Raises TableError."""
    names, *rows = _lines(path) or [[]]
    twice = sorted({name for name in names if names.count(name) > 1})
    faults = [f"the column {name!r} is there twice" for name in twice]
    faults += [
        f"row {number} has {len(row)} cells, the first line has {len(names)}"
        for number, row in enumerate(rows, start=1)
        if len(row) != len(names)
    ][:3]
    if not rows:
        faults.append("no rows")
    if faults:
        raise TableError([f"{path}: {fault}" for fault in faults])
    columns = zip(*rows, strict=True)
    return frame_of({name: parse_cells(cells) for name, cells in zip(names, columns, strict=True)})


def read_json(path: Path) -> Any:
    """The content of a JSON file; NaN and Infinity are understood. Raises TableError."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:  # ValueError: no JSON, no UTF-8
        raise TableError([f"{path} cannot be read: {error}"]) from error


def _lines(path: Path) -> list[list[str]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:  # Excel writes a mark in front
            return [line for line in csv.reader(file, strict=True) if line]
    except (OSError, ValueError, csv.Error) as error:
        raise TableError([f"{path} cannot be read: {error}"]) from error


def _read_jsonl(path: Path) -> pd.DataFrame:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        rows = [json.loads(line) for line in lines if line.strip()]
    except (OSError, ValueError) as error:
        raise TableError([f"{path} cannot be read: {error}"]) from error
    return _of_objects(path, rows)


def _of_objects(path: Path, rows: Any) -> pd.DataFrame:
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise TableError([f"{path}: allowed is one object for each run"])
    if not rows:
        raise TableError([f"{path}: no rows"])
    return frame_of_rows(rows)


def _read_parquet(path: Path) -> pd.DataFrame:
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise TableError([f"{path} cannot be read: {' '.join(str(error).split())}"]) from error
    if not table.num_rows:
        raise TableError([f"{path}: no rows"])
    # not by way of pandas, which makes NaN of what is not there
    return frame_of(
        {n: [plain_cell(cell) for cell in table[n].to_pylist()] for n in table.column_names}
    )
