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
from sweeps.provenance import last_dispatch
from sweeps.run_directory import RunDirectory
from sweeps.schema import PART
from sweeps.trial import TRAINED, Trial

WORKER = "adopted"
_LOOKED_AT = ("trial", "outcome", "device")

Adopted = dict[Path, pa.Table]
"""Rows of parts, by the run directory that they are from."""


def adoptable(
    run: RunDirectory, trials: Sequence[Trial], own: dict[str, str], device: str = "cpu"
) -> Adopted:
    """Rows of these trials in the run directories beside `run`, by run directory.

    Each trial once, from the first neighbour by name that has it. Where modules of the user decide
    results (`own`, of `provenance.code_of`), the neighbour must have been trained with the same.
    Only what was trained on this kind of device, `cpu` or `cuda`: a study's trials are comparable.
    What cannot be read is passed over: nothing is lost by training a trial again.
    """
    wanted = {trial.id for trial in trials}
    found: Adopted = {}
    for neighbour in neighbours(run):
        last = last_dispatch(neighbour)
        if last.get("own", {}) != own or not _has_any(neighbour, wanted):
            continue
        rows = read_parts(neighbour)
        places = []
        read = as_read(rows, neighbour.unit)
        ended = zip(*(read[name].to_pylist() for name in _LOOKED_AT), strict=True)
        for place, (trial, outcome, where) in enumerate(ended):
            is_alike = where is None or (where == "cpu") == (device == "cpu")
            if trial in wanted and outcome in TRAINED and is_alike:
                wanted.remove(trial)
                places.append(place)
        if places:
            found[neighbour.path] = rows.take(places)
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
