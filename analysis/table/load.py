"""One validated table from run directories, parquet, CSV or JSONL files of any origin.

Only `model` and `error` are needed; the other columns that the analysis knows are used where
they exist, and every further column is kept as it is.

| column | unit and range | where it is absent |
|---|---|---|
| `model`, `optim`, `epochs`, `data` | names, whole numbers: they make the groups | not grouped by |
| `outcome` | one of `OUTCOMES` | `ok` where `error` is finite, else `diverged` |
| `error` | percent, 0 to 100, or with `error_unit` a loss; null where there is none | required |
| `error_unit` | `percent`; `raw`: errors are a loss, finite, lower is better, no chance | percent |
| `chance` | percent, in (0, 100]: error of always answering the largest class | failures at +inf |
| `wrong`, `n_eval` | whole numbers: wrong answers among images | `error` is used as it is |
| `last_finite_error`, `best_val_error` | in the same unit, on validation data | see `Policy` |
| `trial`, `study`, `draw` | identity: a trial counts once, a point once per group | unchecked |
| `sampler` | law of the design; bands need `random` | taken as independent |
| `code` | digest of the user's own code behind the result | see `code_notes` |
| `objective` | `module:function` that trained it | unknown |
"""

import json
import os
import warnings
from collections.abc import Callable, Iterable
from io import BytesIO
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import pyarrow as pa

from analysis.errors import TableError
from analysis.table.checks import RANGES, impossible_rows, table_faults
from analysis.table.guarded_reading import read_bytes, read_toml
from analysis.table.outcomes import DIVERGED, FAILED, KNOWN, MISSING, OK
from analysis.table.units import unit_of

TableSource = str | os.PathLike[str]
FROM_STUDY = ("sampler", "objective")
"""Columns of a run directory's table that study.toml says."""
T = TypeVar("T")


def load(paths: TableSource | Iterable[TableSource]) -> pd.DataFrame:
    r"""Read one source or several into one table, checked, in the order of the design.

    A folder is a run directory: the rows are those of `design.parquet`, joined with
    `results.parquet`, so that a trial without a result appears with the outcome `missing`; the
    columns `sampler` and `objective` are read from `study.toml`. A file is read by its ending:
    `.parquet`, `.csv`, `.jsonl`. A trial that several sources hold (a larger study adopts finished
    trials) counts once, finished before missing.

    Args:
        paths: run directories or files.

    Returns:
        One row per trial; columns as in the description of this module; plain dtypes.

    Raises:
        TableError: anything unreadable or outside its range; every fault of every source at once.

    >>> import tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> path = Path(folder.name, "mine.csv")
    >>> _ = path.write_text("model,error\na,12.5\na,\n")
    >>> load(path)["outcome"].tolist()
    ['ok', 'diverged']
    >>> folder.cleanup()

    """
    sources = [Path(p) for p in ([paths] if isinstance(paths, (str, os.PathLike)) else paths)]
    if not sources:
        raise TableError(["no run directory or file was given"])
    tables: list[pd.DataFrame] = []
    faults: list[str] = []
    for source in sources:
        try:
            tables.append(as_table(read_source(source)))
        except TableError as error:
            faults += [f"{source}: {fault}" for fault in error.faults]
    units = [unit_of(table) for table in tables]
    if len(set(units)) > 1:
        listed = ", ".join(
            f"{source}: {unit}" for source, unit in zip(sources, units, strict=False)
        )
        faults.append(f"errors in different units cannot be put together ({listed})")
    if faults:
        raise TableError(faults)
    together = pd.concat(tables, ignore_index=True)
    if twice := _of_several_versions(together):
        raise TableError(twice)
    return as_table(_each_trial_once(together))


def as_table(frame: pd.DataFrame) -> pd.DataFrame:
    """Check a frame, fill in its outcomes and make its dtypes plain; the argument is unchanged.

    Args:
        frame: columns as in the description of this module, one row per trial.

    Returns:
        A copy with the columns `outcome` and `error` (float), indexed from 0.

    Raises:
        TableError: every fault of the frame.

    >>> as_table(pd.DataFrame({"model": ["a"], "error": [-1.0]}))
    Traceback (most recent call last):
        ...
    analysis.errors.TableError: 1 problem: error: row 1 is -1.0, allowed: 0 to 100

    """
    table = frame.reset_index(drop=True).apply(_plain)
    if "error" in table and "outcome" not in table:
        # text that is no number is left to the checks: it is a fault, not a diverged run
        empty = table["error"].isna() | table["error"].eq(float("inf"))
        table["outcome"] = empty.map({False: OK, True: DIVERGED})
    faults = table_faults(table)
    if faults:
        raise TableError(faults)
    table["error"] = table["error"].astype("float64")
    if unit_of(table) == "raw":  # counts give a percentage, which is not this error
        table = table.drop(columns=["wrong", "chance"], errors="ignore")
    return table


def read_source(source: Path) -> pd.DataFrame:
    """Read one run directory or file, unchecked.

    Raises:
        TableError: it does not exist, cannot be read, or has an unknown ending.

    """
    if not source.exists():
        raise TableError(["no such file or folder"])
    if source.is_dir():
        return _read_run(source)
    readers: dict[str, Callable[[BytesIO], pd.DataFrame]] = {
        ".parquet": pd.read_parquet,
        ".csv": pd.read_csv,
        ".jsonl": _read_jsonl,
    }
    if source.suffix.lower() not in readers:
        raise TableError([f"got {source.name!r}, allowed: a run directory, {', '.join(readers)}"])
    try:
        return readers[source.suffix.lower()](BytesIO(read_bytes(source)))
    except (OSError, ValueError, RecursionError, pa.ArrowException) as error:
        raise TableError([f"cannot be read: {' '.join(str(error).split())}"]) from error


def _read_run(folder: Path) -> pd.DataFrame:
    """Join the design with its results, keeping the design's order."""
    names = [n for n in ("design.parquet", "results.parquet") if os.path.lexists(folder / n)]
    if not names:
        raise TableError(["not a run directory: no design.parquet and no results.parquet"])
    parts = [_named(folder / name, read_source) for name in names]
    table = parts[0] if len(parts) == 1 else _join(*parts)
    if "results.parquet" not in names:
        table = table.assign(outcome=MISSING, error=float("nan"))
    path = folder / "study.toml"
    study = _named(path, read_toml) if os.path.lexists(path) else {}
    if "error_unit" in table or study.get("unit") == "raw":
        is_raw = study.get("unit") == "raw" or unit_of(table) == "raw"
        table = table.assign(error_unit="raw" if is_raw else "percent")
    table = _without_impossible(table, folder)
    said = {name: study[name] for name in FROM_STUDY if isinstance(study.get(name), str)}
    return table.assign(**said)


def _without_impossible(table: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """Count results with impossible values as failed, with a warning: one must not block the rest.

    An earlier version stored whatever an objective returned.
    """
    found = impossible_rows(table)
    if not found:
        return table
    names = [name for name in RANGES if name in table]
    bad = np.isin(np.arange(len(table)), list(found))
    table = table.assign(
        outcome=table["outcome"].mask(bad, "crashed"),
        **{name: table[name].mask(bad) for name in names},
    )
    place, why = next(iter(found.items()))
    which = table["trial"].iloc[place] if "trial" in table else f"row {place + 1}"
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    warnings.warn(f"{folder}: {which} counts as failed: {why}{more}", stacklevel=2)
    return table


def _named(path: Path, reader: Callable[[Path], T]) -> T:
    """What `reader` reads; its faults name the file."""
    try:
        return reader(path)
    except TableError as error:
        raise TableError([f"{path.name}: {fault}" for fault in error.faults]) from error


def _join(design: pd.DataFrame, results: pd.DataFrame) -> pd.DataFrame:
    faults = [
        f"{name}: no column {column!r}"
        for name, part, columns in (
            ("design.parquet", design, ["trial"]),
            ("results.parquet", results, ["trial", "outcome", "error"]),
        )
        for column in columns
        if column not in part
    ]
    faults += [
        f"{name}: trial has values that are not text"
        for name, part in (("design.parquet", design), ("results.parquet", results))
        if "trial" in part and not all(isinstance(trial, str) for trial in part["trial"])
    ]
    if not faults:
        strangers = sorted(set(results["trial"]) - set(design["trial"]))
        faults += [f"results.parquet: trial {trial!r} is not in the design" for trial in strangers]
        twice = results["trial"][results["trial"].duplicated()].unique()
        faults += [f"results.parquet: trial {trial!r} has several results" for trial in twice]
    if faults:
        raise TableError(faults)
    new = ["trial", *(column for column in results if column not in design)]
    table = design.merge(results[new], how="left", on="trial")
    finished = design["trial"].isin(results["trial"])
    return table.assign(outcome=table["outcome"].astype(object).where(finished, MISSING))


def _read_jsonl(content: BytesIO) -> pd.DataFrame:
    """One JSON object per line; NaN and Infinity are understood, empty lines are passed over."""
    rows: list[dict[str, Any]] = []
    for number, line in enumerate(content.read().decode().splitlines(), start=1):
        if line.strip():
            row = json.loads(line)
            if not isinstance(row, dict):
                raise ValueError(f"line {number} is not an object: {line[:40]}")
            rows.append(row)
    return pd.DataFrame(rows)


def _plain(column: "pd.Series[Any]") -> "pd.Series[Any]":
    """Categories, nullable and arrow-backed types become text, float, int or bool.

    Categories would make groups of models that are not there; `pd.NA` compares to nothing.
    """
    if not isinstance(column.dtype, pd.api.extensions.ExtensionDtype) or str(column.dtype) == "str":
        return column
    plain = column.astype(object).where(column.notna(), None)
    return pd.Series(plain.tolist(), index=column.index, name=column.name)


def _of_several_versions(table: pd.DataFrame) -> list[str]:
    """A fault where sources hold the same trial, trained by different versions of the code."""
    if not {"trial", "code"} <= set(table.columns):
        return []
    trained = table[table["trial"].notna() & table["outcome"].isin(KNOWN)]
    versions = trained.groupby("trial", sort=False)["code"].nunique()
    if not len(several := versions[versions > 1]):
        return []
    more = f" (and {len(several) - 1} more)" if len(several) > 1 else ""
    return [
        f"trial {several.index[0]!r}{more} has results of different versions of your code in "
        "these sources: read them one at a time"
    ]


def _each_trial_once(table: pd.DataFrame) -> pd.DataFrame:
    """Keep one row per trial: the first with a result, else the first failure, else the first."""
    if "trial" not in table:
        return table
    named = table["trial"].notna()
    key = table["trial"].astype(object).where(named, table.index.to_series())
    rank = 2 * table["outcome"].eq(MISSING).astype(int) + table["outcome"].isin(FAILED)
    first = rank.groupby(key, sort=False).idxmin()
    return table.loc[first.to_numpy()]
