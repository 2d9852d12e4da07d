"""Parts: what workers wrote, the truth about results.

A worker owns its parts and rewrites the current one whole with each result, so that a reader sees
the old or the new one, never half of it. After `ROWS` rows it begins the next.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from sweeps.design import DAMAGED
from sweeps.errors import StoreError
from sweeps.files import atomic_write
from sweeps.run_directory import RunDirectory
from sweeps.schema import PART
from sweeps.trial import FAILED, TRAINED, Result, Trial

ROWS = 256
EVER = datetime.min.replace(tzinfo=UTC)
_BRIEF = ["trial", "outcome", "error", "seconds", "finished", "message", "host"]


class PartWriter:
    """Appends results to the parts of one worker."""

    def __init__(self, run: RunDirectory, worker: str) -> None:
        self.run = run
        self.worker = worker
        self._rows: list[dict[str, Any]] = []
        self._number = 0

    def append(self, result: Result, **circumstances: Any) -> None:
        """Write one result; when this returns it is on the disk.

        Raises TypeError for a value that is no column of the results table.
        """
        row = {
            "trial": result.trial,
            "outcome": result.outcome,
            **result.values,
            "worker": self.worker,
            "finished": datetime.now(UTC),
            "curve": result.curve,
            **circumstances,
        }
        if unknown := sorted(set(row) - set(PART.names)):
            raise TypeError(f"{', '.join(unknown)}: no such column in the results table")
        self._rows.append(row)
        with atomic_write(self.run.part(self.worker, self._number)) as temporary:
            table = pa.Table.from_pylist(self._rows, schema=PART)
            pq.write_table(table, temporary, write_page_checksum=True)
        if len(self._rows) == ROWS:
            self._rows, self._number = [], self._number + 1


@dataclass(frozen=True, kw_only=True)
class Record:
    """What is known of one trial."""

    outcome: str | None = None
    """Of the training; None where it has not been trained yet."""
    error: float | None = None
    seconds: float | None = None
    finished: datetime | None = None
    failures: int = 0
    failures_since: int = 0
    """Those after the ledger's `since`."""
    message: str | None = None
    """Of the last failure."""


class Ledger:
    """What the parts say; `refresh` reads only files that changed since it last looked."""

    def __init__(self, run: RunDirectory, since: datetime = EVER) -> None:
        self.run = run
        self.since = since
        self.damaged: list[Path] = []
        self.records: dict[str, Record] = {}
        self.rows: list[dict[str, Any]] = []
        """Of each trial and attempt: trial, outcome, message, host, ...; oldest first."""
        self._seen: dict[Path, tuple[tuple[int, ...], list[dict[str, Any]]]] = {}

    def refresh(self) -> None:
        """Look again."""
        seen = {}
        changed = False
        self.damaged = []
        for path in sorted(self.run.parts.glob("*.parquet")):
            try:
                stat = path.stat()
            except FileNotFoundError:  # set aside just now
                continue
            stamp = (stat.st_ino, stat.st_mtime_ns, stat.st_size)
            if path in self._seen and self._seen[path][0] == stamp:
                seen[path] = self._seen[path]
                continue
            changed = True
            try:
                seen[path] = (stamp, _read(path).select(_BRIEF).to_pylist())
            except DamagedError:
                self.damaged.append(path)
        if changed or seen.keys() != self._seen.keys():
            self._seen = seen
            rows = [row for _, rows in seen.values() for row in rows]
            self.rows = sorted(rows, key=lambda row: row["finished"])
            self.records = _records(self.rows, self.since)

    def is_trained(self, trial: str) -> bool:
        """Whether a result is there."""
        return self[trial].outcome is not None

    def __getitem__(self, trial: str) -> Record:
        return self.records.get(trial, Record())


class DamagedError(Exception):
    """A part does not hold what was written into it."""


def _read(path: Path) -> pa.Table:
    """Every column of a part, with its checksums looked at. Raises DamagedError."""
    if path.exists() and not path.is_file():  # a pipe would be waited for
        raise DamagedError
    try:
        return pq.read_table(path, page_checksum_verification=True)
    except pa.ArrowException as error:
        raise DamagedError from error
    except OSError as error:
        if error.errno is None:  # Arrow's own, of the content; the system's have a number
            raise DamagedError from error
        raise


def _records(rows: list[dict[str, Any]], since: datetime) -> dict[str, Record]:
    records: dict[str, Record] = {}
    for row in rows:  # oldest first: the first complete result wins
        before = records.get(row["trial"], Record())
        if row["outcome"] in FAILED:
            records[row["trial"]] = replace(
                before,
                failures=before.failures + 1,
                failures_since=before.failures_since + (row["finished"] >= since),
                message=row["message"],
            )
        elif row["outcome"] in TRAINED and before.outcome is None:
            measured = {name: row[name] for name in ("outcome", "error", "seconds", "finished")}
            records[row["trial"]] = replace(before, **measured)
    return records


def set_aside(damaged: list[Path]) -> list[Path]:
    """Rename damaged parts, so that they are neither read again nor lost; returns the new names."""
    moved = []
    for path in damaged:
        try:
            taken = len(list(path.parent.glob(f"{path.name}{DAMAGED}*")))
            moved.append(path.rename(path.with_name(f"{path.name}{DAMAGED}{taken or ''}")))
        except OSError as error:
            raise StoreError(f"{path} is damaged and cannot be renamed: {error}") from error
    return moved


def read_parts(run: RunDirectory) -> list[dict[str, Any]]:
    """Every row of every readable part, with its curve, oldest first."""
    rows: list[dict[str, Any]] = []
    for path in sorted(run.parts.glob("*.parquet")):
        try:
            rows += _read(path).to_pylist()
        except DamagedError:
            continue  # the ledger names it, the driver sets it aside
    return sorted(rows, key=lambda row: row["finished"])


def seconds_left(trials: Sequence[Trial], ledger: Ledger, workers: int) -> float | None:
    """Time until the last trial ends, if an epoch goes on costing what it has; None before."""
    spent = epochs_done = epochs_left = 0.0
    for trial in trials:
        record = ledger[trial.id]
        if record.outcome is None:
            epochs_left += trial.epochs
        elif record.seconds is not None:
            spent += record.seconds
            epochs_done += trial.epochs
    return epochs_left * spent / epochs_done / workers if epochs_done and workers else None
