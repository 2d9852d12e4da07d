"""Run directories as tables: the design joined with its results, and what decided them."""

import json
import os
import warnings
from collections.abc import Callable, Mapping
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from analysis.errors import TableError
from analysis.table.checks import RANGES, impossible_rows
from analysis.table.guarded_reading import read_bytes, read_toml
from analysis.table.outcomes import MISSING
from analysis.table.units import unit_of

FROM_STUDY = ("sampler", "objective")
"""Columns of a run directory's table that study.toml says."""
FILES = ("design.parquet", "results.parquet")
SCHEMA_KEY = b"stability_schema"
"""In the metadata of each parquet file that this project wrote."""
T = TypeVar("T")


def is_run_directory(path: Path) -> bool:
    """Whether a folder holds a study."""
    return any(os.path.lexists(path / name) for name in (*FILES, "study.toml"))


def read_results(path: Path) -> pd.DataFrame:
    """Read a parquet file, unchecked. Raises TableError where it cannot be read."""
    try:
        return pd.read_parquet(BytesIO(read_bytes(path)))
    except (OSError, ValueError, RecursionError, pa.ArrowException) as error:
        raise TableError([f"cannot be read: {' '.join(str(error).split())}"]) from error


def is_results_table(path: Path) -> bool:
    """Whether a parquet file is of this project: then its errors are percent, or a loss."""
    try:
        if not path.is_file():  # a pipe would be waited for
            return False
        return SCHEMA_KEY in (pq.read_schema(path).metadata or {})
    except (OSError, ValueError, pa.ArrowException):
        return False  # the reader of foreign tables says why it cannot be read


def read_run(folder: Path, study: Mapping[str, Any]) -> pd.DataFrame:
    """Join the design with its results, keeping the design's order.

    Args:
        folder: the run directory.
        study: of `read_study`.

    Returns:
        A row per trial, unchecked; `attrs["search_space"]` are the ranges of study.toml.

    Raises:
        TableError: no run directory, or files that do not fit together.

    """
    names = [name for name in FILES if os.path.lexists(folder / name)]
    if not names:
        raise TableError(["not a run directory: no design.parquet and no results.parquet"])
    parts = [_named(folder / name, read_results) for name in names]
    table = parts[0] if len(parts) == 1 else _join(*parts)
    if "results.parquet" not in names:
        table = table.assign(outcome=MISSING, error=float("nan"))
    if "error_unit" in table or study.get("unit") == "raw":
        is_raw = study.get("unit") == "raw" or unit_of(table) == "raw"
        table = table.assign(error_unit="raw" if is_raw else "percent")
    table = _without_impossible(table, folder)
    said = {name: study[name] for name in FROM_STUDY if isinstance(study.get(name), str)}
    table = table.assign(**said)
    table.attrs["search_space"] = study.get("space", [])
    return table


def read_study(folder: Path) -> dict[str, Any]:
    """The content of study.toml, nothing where there is none. Raises TableError."""
    path = folder / "study.toml"
    return _named(path, read_toml) if os.path.lexists(path) else {}


def law_of(study: Mapping[str, Any], model: str, optim: str) -> dict[str, str]:
    """What decides the results of a model and an optimizer in a study, each item in a few words.

    >>> study = {"seed": 1, "space": [{"name": "lr", "low": 0.01, "high": 1.0, "optims": ["sgd"]}]}
    >>> law_of(study, "vitc", "sgd")
    {'lr': 'lr 0.01:1', 'seed': 'seed 1'}
    """
    law: dict[str, str] = {}
    for entry in _tables(study.get("space")):
        wanted = (entry.get("models"), model), (entry.get("optims"), optim)
        if all(not names or name in names for names, name in wanted):
            name, choices = str(entry.get("name")), entry.get("choices")
            ends = f"{_short(entry.get('low'))}:{_short(entry.get('high'))}"
            scale = " linear" if entry.get("scale") == "linear" else ""
            whole = " whole numbers" if entry.get("integer") else ""
            drawn = ",".join(map(str, choices)) if choices else f"{ends}{scale}{whole}"
            law[name] = f"{name} {drawn}"
    # The settings of a model replace those of the recipe.
    settings = {**_part(study, "recipe", optim), **_part(study, "model_settings", model)}
    law |= {f"setting {k}": f"{k} {_short(v)}" for k, v in settings.items()}
    if listed := study.get("configurations"):
        digest = sha256(json.dumps(listed, sort_keys=True, default=str).encode()).hexdigest()
        law["configurations"] = f"configurations {digest[:6]}"
    words = {"fingerprint": "data", "precision": "", "objective": "", "sampler": "", "seed": "seed"}
    for key, word in words.items():
        if key in study:
            law[key] = f"{word} {_short(study[key])}".strip()
    return law


def _tables(value: object) -> list[dict[str, Any]]:
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []


def _short(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _part(study: Mapping[str, Any], name: str, key: str) -> dict[str, Any]:
    """The table of `key` in the table `name`, empty where there is none."""
    outer = study.get(name)
    inner = outer.get(key) if isinstance(outer, dict) else None
    return inner if isinstance(inner, dict) else {}


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
