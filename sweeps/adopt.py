"""Finished trials of neighbouring studies: what has been trained once is not trained again.

A trial's id is its content, so a larger study, another box or another length holds trials that a
study beside it has finished. They are copied into a part of the new run directory.
"""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from sweeps.answers import as_read
from sweeps.errors import StoreError
from sweeps.files import atomic_write
from sweeps.parts import ROWS, read_parts
from sweeps.run_directory import RunDirectory
from sweeps.schema import PART
from sweeps.trial import TRAINED, Trial
from sweeps.user_code import UserCode

WORKER = "adopted"
_LOOKED_AT = ("trial", "outcome", "device", "code")

Adopted = dict[Path, pa.Table]
"""Rows of parts, by the run directory that they are from."""


def adoptable(
    run: RunDirectory,
    trials: Sequence[Trial],
    code: UserCode | None = None,
    device: str = "cpu",
    *,
    take_unknown: bool = True,
) -> Adopted:
    """Rows of these trials in the run directories beside `run`, by run directory.

    Each trial once, from the first neighbour by name that has it. Of the user's `code` it must have
    the same version; rows of an unknown one (an earlier version of stability wrote them) are taken
    where there is nothing better and `take_unknown` allows it. Only what was trained on this kind
    of device, `cpu` or `cuda`: a study's trials are comparable. What cannot be read is passed over:
    nothing is lost by training a trial again.
    """
    versions = {trial.id: code.version(trial.model) if code else None for trial in trials}
    tables = [
        (neighbour.path, (rows := read_parts(neighbour)), as_read(rows, neighbour.unit))
        for neighbour in neighbours(run)
        if _has_any(neighbour, set(versions))
    ]
    found: Adopted = {}
    for unknown in (False, True)[: 1 + take_unknown]:
        for path, rows, read in tables:
            places = []
            ended = zip(*(read[name].to_pylist() for name in _LOOKED_AT), strict=True)
            for place, (trial, outcome, where, version) in enumerate(ended):
                is_alike = where is None or (where == "cpu") == (device == "cpu")
                if trial not in versions or outcome not in TRAINED or not is_alike:
                    continue
                if code is None or version == (None if unknown else versions[trial]):
                    del versions[trial]
                    places.append(place)
            if places:
                taken = rows.take(places)
                found[path] = pa.concat_tables([found[path], taken]) if path in found else taken
    return found


def adopt(run: RunDirectory, found: Adopted) -> None:
    """Copy the rows into parts of `run`, with all that they say of where they were trained."""
    rows = pa.concat_tables([PART.empty_table(), *found.values()]).combine_chunks()
    for number, start in enumerate(range(0, len(rows), ROWS)):
        with atomic_write(run.part(WORKER, number)) as temporary:
            pq.write_table(rows.slice(start, ROWS), temporary, write_page_checksum=True)


def neighbours(run: RunDirectory) -> list[RunDirectory]:
    """The other run directories in the folder of `run`."""
    try:
        folders = sorted(path for path in run.path.parent.iterdir() if path != run.path)
    except OSError:
        return []
    return [other for other in map(RunDirectory, folders) if other.exists()]


def _has_any(neighbour: RunDirectory, wanted: set[str]) -> bool:
    """Whether its design names any of these trials; false where it cannot be read."""
    try:
        column = pq.ParquetFile(neighbour.design).read(["trial"])["trial"]
    except (OSError, pa.ArrowException, StoreError):
        return False
    return not wanted.isdisjoint(column.to_pylist())
