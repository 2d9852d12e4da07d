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
| `sweep` | tells sweeps of one model apart, and makes groups | not grouped by |
| `trial`, `study`, `draw` | identity: a trial counts once, a point once per group | unchecked |
| `sampler` | law of the design; bands need `random` | taken as independent |
| `code` | digest of the user's own code behind the result | see `code_notes` |
| `objective` | `module:function` that trained it | unknown |
"""

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.errors import TableError
from analysis.importers import (
    ExternalSweep,
    ImportedTable,
    ImportOptions,
    convert_sweep,
    read_sweep,
)
from analysis.importers.source import join_names
from analysis.table.checks import table_faults
from analysis.table.combine import Source, combine, short_names
from analysis.table.outcomes import DIVERGED, OK
from analysis.table.run_directory import (
    FILES,
    is_results_table,
    is_run_directory,
    read_results,
    read_run,
    read_study,
)
from analysis.table.units import unit_of

TableSource = str | os.PathLike[str]


def load(
    paths: TableSource | Iterable[TableSource],
    options: ImportOptions | None = None,
    *,
    pool: bool = False,
) -> pd.DataFrame:
    r"""Read one source or several into one table, checked, in the order of the design.

    A folder is a run directory: the rows are those of `design.parquet`, joined with
    `results.parquet`, so that a trial without a result appears with the outcome `missing`; the
    columns `sampler` and `objective` are read from `study.toml`. A parquet file that a sweep or
    `stability import` wrote is taken as it is. Any other file is read as `stability import` reads
    it, with `options`.

    One sample has one law. Sources of the same model that differ in search space, data, recipe,
    code or seed get different values in the column `sweep`, which makes groups; sources whose law
    is not known are told apart by their names.

    Args:
        paths: run directories or files.
        options: what is to be said about files of other tools (columns, unit, states); run
            directories and tables of this project need nothing.
        pool: take sources that differ in their seed alone, or whose law is not known, as one.

    Returns:
        One row per trial; columns as in the description of this module; plain dtypes.
        `attrs["notes"]` lists what was assumed, `attrs["search_space"]` the ranges that were drawn
        from, where all sources have the same.

    Raises:
        TableError: anything unreadable, outside its range or ambiguous; a trial or a file that is
            there twice. Every fault of every source at once; `hint` is a command that settles them.

    >>> import tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> path = Path(folder.name, "mine.csv")
    >>> _ = path.write_text("model,error\na,12.5\na,\n")
    >>> load(path)["outcome"].tolist()
    ['ok', 'diverged']
    >>> folder.cleanup()

    """
    names = [paths] if isinstance(paths, (str, os.PathLike)) else list(paths)
    if not names:
        raise TableError(["no run directory or file was given"])
    sources: list[Source] = []
    faults: list[str] = []
    hints: list[str] = []
    for name in names:
        try:
            sources.append(read_source(os.fspath(name), options))
        except TableError as error:
            faults += [f if f.startswith(str(name)) else f"{name}: {f}" for f in error.faults]
            hints += [error.hint] if error.hint else []
    if faults:
        raise TableError(faults, hint="\n".join(hints))
    together, notes = combine(sources, pool=pool)
    table = as_table(together)
    table.attrs["notes"] = [*_merged_notes(sources), *notes]
    return table


def read_source(name: str, options: ImportOptions | None = None) -> Source:
    """Read one run directory, file or storage.

    Raises:
        TableError: it does not exist, cannot be read, or leaves something open.

    """
    path = Path(name)
    if path.name in FILES and os.path.lexists(path.parent / "study.toml"):
        path = path.parent  # a view of a run: the design and the law are beside it
    if path.is_dir() and is_run_directory(path):
        study = read_study(path)
        return Source(name=name, table=as_table(read_run(path, study)), study=study)
    if path.suffix.lower() == ".parquet" and is_results_table(path):
        return Source(name=name, table=as_table(read_results(path)))
    if "://" not in name and not os.path.lexists(path):
        raise TableError(["no such file or folder"])
    sweep = replace(read_sweep(name), source=name)
    return source_of(sweep, convert_sweep(sweep, options))


def source_of(sweep: ExternalSweep, imported: ImportedTable) -> Source:
    """A sweep of another tool as a source, with what was assumed."""
    return Source(
        name=sweep.title,
        table=as_table(imported.table),
        experiment=sweep.experiment,
        notes=imported.said,
    )


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
    table = frame.reset_index(drop=True).apply(plain_dtype)
    table.attrs = dict(frame.attrs)
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


def _merged_notes(sources: Sequence[Source]) -> list[str]:
    """The notes of all sources; what holds for several is said once, with their names."""
    names: dict[str, list[str]] = {}
    for source, name in zip(sources, short_names([s.name for s in sources]), strict=True):
        for note in source.notes:
            names.setdefault(note, []).append(name)
    return [f"{join_names(of)}: {note}" for note, of in names.items()]


def plain_dtype(column: "pd.Series[Any]") -> "pd.Series[Any]":
    """Categories, nullable and arrow-backed types become text, float, int or bool.

    Categories would make groups of models that are not there; `pd.NA` compares to nothing.
    """
    if not isinstance(column.dtype, pd.api.extensions.ExtensionDtype) or str(column.dtype) == "str":
        return column
    plain = column.astype(object).where(column.notna(), None)
    return pd.Series(plain.tolist(), index=column.index, name=column.name)
