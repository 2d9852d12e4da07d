"""Parts: the results that workers wrote, from which all tables are built.

A worker owns its parts. It rewrites the current one as a whole with each result, so that a reader
sees the old or the new one. After `ROWS_PER_PART` rows it begins the next part.
"""

import errno
import os
from bisect import insort
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from sweeps.errors import StoreError
from sweeps.store.accepted import ACCEPT_ALL, Accepted, CodeDecision, read_accepted
from sweeps.store.answers import UNIT_COLUMNS, rows_in_unit
from sweeps.store.failure_detection import Hosts, was_answer_refused, was_cohort_too_large
from sweeps.store.part_file import read_part
from sweeps.store.run_directory import RunDirectory
from sweeps.study.schema import PART_SCHEMA, Row
from sweeps.study.trial import FAILED, TRAINED, Result
from sweeps.study.values import as_text, result_row
from sweeps.system import files
from sweeps.system.files import DamagedError, atomic_write

ROWS_PER_PART = 256
FAILURES_IF_REFUSED = 1000  # a refused return value counts as so many failures: it is not retried
EVER = datetime.min.replace(tzinfo=UTC)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_KEYS = ["trial", "outcome", "finished"]
_LEDGER_COLUMNS = [
    *("trial", "outcome", "error", "seconds", "computed", "finished"),
    *("message", "host", "cohort_size", "code", "error_unit"),
    *(name for name in UNIT_COLUMNS if name != "error"),
]


_finished = itemgetter("finished")
"""Key by which rows are ordered."""


class PartWriter:
    """Appends results to the parts of one worker."""

    def __init__(self, run: RunDirectory, worker: str) -> None:
        self.run = run
        self.worker = worker
        self._rows = PART_SCHEMA.empty_table()
        self._number = 0

    def append(self, result: Result, **circumstances: Any) -> Result:
        """Write one result to the disk.

        Returns the result with the outcome that was written: `crashed` if its values cannot be
        stored; the row's `message` names them.
        """
        row = {
            **result_row(result),
            "trial": result.trial,
            "worker": self.worker,
            "finished": datetime.now(UTC),
        }
        message = "; ".join(filter(None, (circumstances.pop("message", None), row.get("message"))))
        row |= {"message": as_text(message) or None, **circumstances}
        # Only the new row is converted: the others, with their curves, are in Arrow's format.
        new = pa.Table.from_pylist([row], schema=PART_SCHEMA)
        self._rows = pa.concat_tables([self._rows, new]).combine_chunks()
        with atomic_write(self.run.part(self.worker, self._number)) as temporary:
            pq.write_table(self._rows, temporary, write_page_checksum=True)
        if len(self._rows) == ROWS_PER_PART:
            self._rows, self._number = PART_SCHEMA.empty_table(), self._number + 1
        return replace(result, outcome=row["outcome"])


class Record(NamedTuple):
    """What is known of one trial."""

    outcome: str | None = None
    """Outcome of the training; None if it was not trained yet."""
    error: float | None = None
    seconds: float | None = None
    computed: float | None = None
    """Epochs, if it was trained in a cohort as one."""
    finished: datetime | None = None
    code: str | None = None
    """Version of the user's code; empty if there is none, None if it is not known."""
    failures: int = 0
    """Number of failures, without cohorts that were too large for the memory."""
    failures_since: int = 0
    """Failures after the ledger's `since`; a refused one counts as `FAILURES_IF_REFUSED`."""
    message: str | None = None
    """Message of the last failure."""
    failed: datetime | None = None
    """Time of the last failure."""

    def after(self, row: Row, since: datetime) -> "Record":
        """Return the record with one more row; the order of rows does not matter."""
        finished = row["finished"]
        if was_cohort_too_large(row):
            return self
        if row["outcome"] in FAILED:
            is_last = self.failed is None or finished >= self.failed
            return self._replace(
                failures=self.failures + 1,
                failures_since=self.failures_since
                + (finished >= since) * (FAILURES_IF_REFUSED if was_answer_refused(row) else 1),
                message=row["message"] if is_last else self.message,
                failed=finished if is_last else self.failed,
            )
        # The first complete result wins.
        if row["outcome"] in TRAINED and (self.finished is None or finished < self.finished):
            # Half of what `_replace` takes.
            first = row["outcome"], row["error"], row["seconds"], row["computed"]
            return Record(*first, finished, row.get("code"), *self[6:])
        return self


NO_RECORD = Record()


@dataclass(frozen=True)
class _Seen:
    """A part as it was when the ledger last read it."""

    stamp: tuple[int, ...]
    keys: pa.Table
    """Columns that identify each row."""

    @property
    def is_full(self) -> bool:
        """Whether its writer has begun another part."""
        return len(self.keys) >= ROWS_PER_PART

    def is_in(self, later: "_Seen") -> bool:
        """Whether `later` begins with the same rows."""
        return self is later or bool(later.keys.slice(0, len(self.keys)).equals(self.keys))


class Ledger:
    """A summary of all parts.

    `refresh` reads only files that changed since the last call, and of these only the new rows, so
    its cost does not grow with the number of known rows. Everything is read anew only if rows have
    gone (a part was damaged or set aside), or other versions of the user's code are accepted.
    """

    def __init__(
        self,
        run: RunDirectory,
        since: datetime = EVER,
        *,
        begun: datetime = EVER,
        trusting: bool = False,
        unit: str | None = None,
        decision: CodeDecision | None = None,
    ) -> None:
        """Create it without reading anything.

        Args:
            run: the run directory.
            since: earlier failures are not in `Record.failures_since`.
            begun: time since which hosts are judged.
            trusting: read only the columns that a ledger keeps, which takes half of the time, and
                do not check full parts again: they are never written again. That saves a worker a
                `stat` for every 256 trials; damage to them is noticed by others.
            unit: unit of errors; None for that of the run.
            decision: which rows count, if that is decided and not written yet.
        """
        self.run = run
        self.since = since
        self.begun = begun
        self.trusting = trusting
        self.unit = run.unit if unit is None else unit
        self.decision = decision
        self.damaged: list[Path] = []
        self.accepted: Accepted = ACCEPT_ALL
        """Versions of the user's code whose rows count."""
        self._forget()

    def _forget(self) -> None:
        self._seen: dict[str, _Seen] = {}
        self._full: dict[str, _Seen] = {}  # those at which nobody looks again
        self.records: dict[str, Record] = {}
        self.rows: list[Row] = []
        """One row per trial and attempt: trial, outcome, message, host, ...; oldest first."""
        self.arrived: list[str] = []
        """The trial of each row in the order in which rows were read. It is another list once rows
        have gone, so that a reader can tell which rows are new."""
        self.hosts = Hosts(self.begun)
        self.longest = 0.0
        """Seconds of the longest trial."""
        self.too_many: dict[str, int] = {}
        """By trial, the size of its smallest cohort that ran out of memory."""

    def refresh(self) -> None:
        """Read what is new. Raises StoreError if code.toml cannot be read."""
        now = read_accepted(self.run) if self.decision is None else self.decision.accepted
        if now != self.accepted:
            self.accepted = now
            self._forget()
        self.damaged = []
        names = _names(self.run.parts)
        before, seen, new = self._seen, {}, []
        for name in sorted(names - self._full.keys()):
            if looked := self._look(name, before.get(name)):
                seen[name] = looked[0]
                new += looked[1]
        is_there = self._full.keys() <= names and before.keys() <= seen.keys()
        if not is_there or not all(known.is_in(seen[name]) for name, known in before.items()):
            self._forget()
            self.refresh()
            return
        self._seen = seen
        if self.trusting:
            self._full |= {name: known for name, known in seen.items() if known.is_full}
            self._seen = {name: known for name, known in seen.items() if not known.is_full}
        for row in sorted(new, key=_finished):
            self._take_in(row)

    def _look(self, name: str, known: "_Seen | None") -> tuple["_Seen", list[Row]] | None:
        """Return a part as it is now and its new rows; None if it cannot be read."""
        path = f"{self.run.parts}/{name}"
        try:
            stat = os.stat(path)  # noqa: PTH116 - a Path for each part takes longer than the call
            stamp = (stat.st_ino, stat.st_mtime_ns, stat.st_size)
            if known and known.stamp == stamp:
                return known, []
            table = read_part(Path(path), _LEDGER_COLUMNS if self.trusting else None)
        except FileNotFoundError:  # set aside just now
            return None
        except (DamagedError, OSError) as error:
            if isinstance(error, OSError) and error.errno != errno.ELOOP:  # a link to itself
                raise
            self.damaged.append(Path(path))
            return None
        after = table.slice(len(known.keys) if known else 0)
        return _Seen(stamp, table.select(_KEYS)), _rows(rows_in_unit(after, self.unit))

    def _take_in(self, row: Row) -> None:
        """Add a row, at its place by time: files are read in any order."""
        if self.rows and row["finished"] < self.rows[-1]["finished"]:
            insort(self.rows, row, key=_finished)
        else:
            self.rows.append(row)
        self.arrived.append(row["trial"])
        if self.accepted.counts(row["outcome"], row["code"]):
            self.records[row["trial"]] = self[row["trial"]].after(row, self.since)
        self.hosts.add(row)
        self.longest = max(self.longest, row["seconds"] or 0.0)
        if was_cohort_too_large(row):
            size = self.too_many.get(row["trial"], row["cohort_size"])
            self.too_many[row["trial"]] = min(size, row["cohort_size"])

    @property
    def counted(self) -> Iterator[Row]:
        """The rows whose version of the user's code is accepted, oldest first."""
        return (row for row in self.rows if self.accepted.counts(row["outcome"], row["code"]))

    def is_trained(self, trial: str) -> bool:
        """Whether the trial has a result."""
        return self[trial].outcome is not None

    def __getitem__(self, trial: str) -> Record:
        return self.records.get(trial, NO_RECORD)


def _names(parts: Path) -> set[str]:
    """Return the names of all parts from a listing, without opening one."""
    try:
        return {name for name in os.listdir(parts) if name.endswith(".parquet")}  # noqa: PTH208
    except FileNotFoundError:
        return set()


def _rows(table: pa.Table) -> list[Row]:
    """Return the columns that a ledger keeps of each row."""
    there = set(table.column_names)  # an older version had fewer
    columns = {
        name: table[name].to_pylist() if name in there else [None] * len(table)
        for name in _LEDGER_COLUMNS
        if name != "finished"
    }
    # Arrow takes ten times as long for a time.
    stamps = table["finished"].cast(pa.int64()).to_pylist()
    columns["finished"] = [EPOCH + timedelta(microseconds=stamp) for stamp in stamps]
    return [
        dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)
    ]


def set_aside_parts(damaged: list[Path]) -> list[Path]:
    """Rename damaged parts, so that they are neither read nor lost; return the new names."""
    try:
        return [files.set_aside(path) for path in damaged]
    except OSError as error:
        raise StoreError(f"a damaged part cannot be renamed: {error}") from error


def read_parts(run: RunDirectory, damaged: list[str] | None = None) -> pa.Table:
    """Read every row of every readable part with its curve, oldest first, as `PART_SCHEMA`.

    The numbers are as the objective returned them: see `sweeps.store.answers.rows_in_unit`. The
    names of parts that cannot be read are added to `damaged`; the driver sets them aside.
    """
    tables = [PART_SCHEMA.empty_table()]
    for name in sorted(_names(run.parts)):
        try:
            tables.append(_as_part(read_part(run.parts / name)))
        except FileNotFoundError:  # set aside just now
            continue
        except DamagedError:
            if damaged is not None:
                damaged.append(name)
    rows = pa.concat_tables(tables)
    return rows.take(pc.sort_indices(rows["finished"]))  # which is a stable sort


def _as_part(table: pa.Table) -> pa.Table:
    """Add missing columns: an older version had fewer, also of the curves."""
    for field in PART_SCHEMA:
        if field.name not in table.column_names:
            table = table.append_column(field, pa.nulls(len(table), field.type))
    table = table.select(PART_SCHEMA.names)
    if table.schema.equals(PART_SCHEMA):
        return table
    return pa.Table.from_pylist(table.to_pylist(), schema=PART_SCHEMA)
