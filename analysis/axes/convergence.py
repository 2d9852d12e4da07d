"""Convergence: how soon trainings reach an error, and how their curves spread on the way.

Not the question of schedule length: here all curves are of one schedule, whose learning rate has
not come down before its end, so that an early epoch of it is no short schedule. Both functions keep
every trial in the denominator. What a curve has reached before it diverged it has reached.
"""

import os
from collections.abc import Iterable, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from analysis.arrays import FloatArray
from analysis.edf.intervals import if_band, quantile_interval, sample_quantile, share_interval
from analysis.edf.measured import QUARTILES, SampleGroup, sample_groups
from analysis.edf.samples import Sample
from analysis.errors import TableError
from analysis.table.guarded_reading import read_bytes
from analysis.table.units import unit_of

CURVE_COLUMNS = ("trial", "epoch", "val_error")
REACHED = (
    "Epochs until the validation error first reaches a level, over all trials: those that never do "
    "are censored at the end of the schedule and count as infinite. q25, q50, q75: first epoch by "
    "which that share has arrived. Intervals are from one simultaneous band per level."
)
SPREAD = (
    "Quantiles of the validation error over all trials at each epoch, not one training's curve; "
    "diverged trials count at chance from then on."
)


def load_curves(runs: str | os.PathLike[str] | Iterable[str | os.PathLike[str]]) -> pd.DataFrame:
    """Read the training curves of run directories, or of parquet or CSV files.

    Args:
        runs: run directories (with `curves.parquet`) or files.

    Returns:
        One row per trial and epoch: `trial`, `epoch` (0 is before training), `val_error`
        (percent), and whatever else there is; a trial that several runs hold counts once.

    Raises:
        TableError: what is missing or cannot be read, all of it.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as run:
    ...     frame = pd.DataFrame({"trial": ["t"], "epoch": [0], "val_error": [90.0]})
    ...     frame.to_parquet(Path(run, "curves.parquet"))
    ...     len(load_curves(run))
    1

    """
    sources = [Path(p) for p in ([runs] if isinstance(runs, (str, os.PathLike)) else runs)]
    frames: list[pd.DataFrame] = []
    faults = [] if sources else ["no run directory or file was given"]
    for source in sources:
        path = source / "curves.parquet" if source.is_dir() else source
        try:
            content = BytesIO(read_bytes(path))
            frame = pd.read_csv(content) if path.suffix == ".csv" else pd.read_parquet(content)
        except (OSError, ValueError, pa.ArrowException, TableError) as error:
            faults.append(f"{path}: cannot be read: {' '.join(str(error).split())}")
            continue
        faults += [f"{path}: {fault}" for fault in _faults(frame)]
        frames.append(frame)
    if faults:
        raise TableError(faults)
    return pd.concat(frames, ignore_index=True).drop_duplicates(["trial", "epoch"])


def epochs_to_reach(
    curves: pd.DataFrame,
    table: pd.DataFrame,
    levels: Sequence[float],
    *,
    confidence: float = 0.95,
) -> pd.DataFrame:
    """Say after how many epochs trainings first reach given validation errors.

    T = min{epoch: val_error <= level}, +inf where it never happens: such a trial is censored at
    the end of its schedule and stays in the denominator, so that a quantile is infinite where too
    few trials arrive. No parametric survival model, and no mean: it does not exist.

    Args:
        curves: of `load_curves`.
        table: of `load`, the trials of the curves, with the column `trial`.
        levels: validation errors in percent, fixed beforehand.
        confidence: of the simultaneous band of each level, in (0, 1).

    Returns:
        A row per group and level: `group`, `level`, `n` (all trials), `reached`, `share` (reached
        / n) with `share_low`, `share_high`; `q25`, `q50`, `q75` (first epoch by which that share
        of n has arrived, as the median of Kaplan and Meier is; inf for never) and `q50_low`,
        `q50_high`; `length` (the longest curve, epochs), where censoring is. Intervals are NaN
        where draws are not independent.

    Raises:
        TableError: missing columns, finished trials without a curve, faults of the table.
        ValueError: no levels, bad confidence.

    >>> table = pd.DataFrame({"model": "a", "trial": ["s", "t"], "error": [9.0, None]})
    >>> curves = pd.DataFrame({"trial": ["s", "s", "t"], "epoch": [0, 1, 0],
    ...                        "val_error": [90.0, 8.0, 90.0]})
    >>> epochs_to_reach(curves, table, [10.0])[["n", "reached", "q50", "q75"]].values.tolist()
    [[2.0, 1.0, 1.0, inf]]

    """
    if not len(levels):
        raise ValueError("levels: got none, allowed: at least one error")
    rows = []
    for group, errors in _by_epoch(curves, table):
        for level in levels:
            first = _first(errors, level)
            times = Sample(
                label=group.sample.label,
                errors=first,
                unknown=group.sample.unknown,
                sampler=group.sample.sampler,
            )
            length = float(errors.columns.to_numpy(np.float64).max(initial=0.0))
            rows.append(_times_row(times, level, length, confidence))
    found = pd.DataFrame(rows)
    found.attrs["note"] = REACHED
    return found


def training_curves(
    curves: pd.DataFrame, table: pd.DataFrame, quantiles: Sequence[float] = QUARTILES
) -> pd.DataFrame:
    """Describe how the training curves of a group spread, epoch by epoch.

    A diverged trial counts at chance from the epoch on at which it has no finite error, a trial
    whose error is unknown as worst throughout; no curve leaves the denominator.

    Args:
        curves: of `load_curves`.
        table: of `load`, the trials of the curves, with the column `trial`.
        quantiles: each in [0, 1], see `sample_quantile`.

    Returns:
        A row per group and epoch: `group`, `epoch`, `n`, `alive` (trials with a finite error),
        and `q25`, ... (percent; inf where diverged trials have no chance to count at).

    Raises:
        TableError: as `epochs_to_reach`.
        ValueError: a quantile outside [0, 1].

    >>> table = pd.DataFrame({"model": "a", "trial": ["s", "t"], "error": [9.0, None],
    ...                       "chance": 90.0})
    >>> curves = pd.DataFrame({"trial": ["s", "s", "t"], "epoch": [0, 1, 0],
    ...                        "val_error": [91.0, 8.0, 90.0]})
    >>> training_curves(curves, table, [0.5, 1.0])[["alive", "q50", "q100"]].values.tolist()
    [[2.0, 90.0, 90.0], [1.0, 49.0, 90.0]]

    """
    rows = []
    for group, errors in _by_epoch(curves, table):
        sample = group.sample
        worst = np.inf if sample.chance is None else sample.chance
        for epoch in errors.columns:
            now = errors[epoch].to_numpy(np.float64)
            values = np.minimum(np.where(np.isnan(now), np.inf, now), worst)
            spread = Sample(label="", errors=values, unknown=sample.unknown, chance=sample.chance)
            rows.append(
                {
                    "group": sample.label,
                    "epoch": epoch,
                    "n": sample.n,
                    "alive": int(np.isfinite(now).sum()),
                    **{f"q{100 * p:g}": sample_quantile(spread, p) for p in quantiles},
                }
            )
    names = [f"q{100 * p:g}" for p in quantiles]
    found = pd.DataFrame(rows, columns=["group", "epoch", "n", "alive", *names])
    found.attrs.update(note=SPREAD, unit=unit_of(table))
    return found


def _by_epoch(curves: pd.DataFrame, table: pd.DataFrame) -> list[tuple[SampleGroup, pd.DataFrame]]:
    """Each group with the errors of its known trials: a row per trial, a column per epoch.

    An epoch that a trial has not logged, but others have, keeps its last error; NaN after its end.
    """
    faults = _faults(curves) + ([] if "trial" in table else ["table: no column 'trial'"])
    if faults:
        raise TableError(faults)
    groups = sample_groups(table)
    wide = curves.set_index(["trial", "epoch"])["val_error"].unstack().sort_index(axis=1)
    found = []
    for group in groups:
        names = group.known["trial"]
        absent = len(names[~names.isin(wide.index)])
        if absent:
            faults.append(f"curves: none for {absent} trials of {group.sample.label!r}")
        of = wide.reindex(names)
        of = of.loc[:, of.notna().any()]
        found.append((group, of.ffill(axis=1).where(of.bfill(axis=1).notna())))
    if faults:
        raise TableError(faults)
    return found


def _faults(curves: pd.DataFrame) -> list[str]:
    faults = [f"curves: no column {c!r}" for c in CURVE_COLUMNS if c not in curves]
    if not faults and curves.duplicated(["trial", "epoch"]).any():
        faults = ["curves: a trial has the same epoch twice"]
    return faults


def _first(errors: pd.DataFrame, level: float) -> FloatArray:
    """First epoch at or below the level, +inf for never; a NaN is not below anything."""
    there = errors.to_numpy(np.float64) <= level
    if not there.shape[1]:
        return np.full(there.shape[0], np.inf)
    epochs = errors.columns.to_numpy(np.float64)
    return np.where(there.any(axis=1), epochs[there.argmax(axis=1)], np.inf)


def _times_row(times: Sample, level: float, length: float, confidence: float) -> dict[str, Any]:
    share = if_band(share_interval, times, float(length), confidence)
    median = if_band(quantile_interval, times, 0.5, confidence)
    reached = int(np.isfinite(times.errors).sum())
    arrived = {f"q{100 * p:g}": times.edf().quantile(p) if times.n else np.nan for p in QUARTILES}
    return {
        "group": times.label,
        "level": float(level),
        "n": times.n,
        "reached": reached,
        "share": reached / times.n if times.n else np.nan,
        "share_low": share.low,
        "share_high": share.high,
        **arrived,
        "q50_low": median.low,
        "q50_high": median.high,
        "length": length,
    }
