"""Finished trials of neighbouring studies: what has been trained once is not trained again.

A trial's id is its content, so a larger study, another box or another length holds trials that a
study beside it has finished. They are copied into a part of the new run directory.
"""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from sweeps.design import read_table
from sweeps.files import atomic_write
from sweeps.parts import ROWS, read_parts
from sweeps.provenance import last, last_dispatch
from sweeps.run_directory import RunDirectory
from sweeps.schema import PART
from sweeps.trial import TRAINED, Trial
from sweeps.trust import writable_by_others

WORKER = "adopted"
_LOOKED_AT = ("trial", "outcome", "device")

Adopted = dict[Path, pa.Table]
"""Rows of parts, by the run directory that they are from."""


def adoptable(
    run: RunDirectory,
    trials: Sequence[Trial],
    own: dict[str, str],
    device: str = "cpu",
    say: Callable[[str], None] = lambda line: None,
) -> Adopted:
    """Rows of these trials in the run directories beside `run`, by run directory.

    Each trial once, from the first neighbour by name that has it. Where modules of the user decide
    results (`own`, of `provenance.code_of`), the neighbour must have been trained with the same.
    Only what was trained on this kind of device, `cpu` or `cuda`: a study's trials are comparable.

    A neighbour that others can write, or that cannot be read, is left out, and `say` gets a line
    that names it: nothing is lost by training a trial again.
    """
    wanted = {trial.id for trial in trials}
    found: Adopted = {}
    left_out: dict[str, list[str]] = {}
    for neighbour in neighbours(run):
        try:
            rows, damaged = _rows_of(neighbour, wanted, own, device)
        # Whatever somebody has put there: it must not keep this study from beginning.
        except Exception as error:
            reason = str(error) if isinstance(error, StrangerError) else "it cannot be read"
            left_out.setdefault(reason, []).append(neighbour.path.name)
            continue
        if damaged:
            left_out.setdefault("it cannot be read", []).append(
                f"{neighbour.path.name}/parts/{damaged[0]}"
            )
        if len(rows):
            wanted.difference_update(rows["trial"].to_pylist())
            found[neighbour.path] = rows
    for reason, names in left_out.items():
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        say(f"nothing is taken over from {', '.join(names[:3])}{more}: {reason}")
    return found


class StrangerError(Exception):
    """Somebody else could have written the results of a neighbour."""


def _rows_of(
    neighbour: RunDirectory, wanted: set[str], own: dict[str, str], device: str
) -> tuple[pa.Table, list[str]]:
    """The rows to take from one neighbour, and the names of its parts that cannot be read.

    Raises StrangerError, or whatever reading it raises.
    """
    _check_own(neighbour)
    nothing = PART.empty_table()
    if wanted.isdisjoint(read_table(neighbour.design)["trial"].to_pylist()):
        return nothing, []
    if last_dispatch(neighbour).get("own", {}) != own:
        return nothing, []
    damaged: list[str] = []
    rows = read_parts(neighbour, damaged)
    places, left = [], set(wanted)
    ended = zip(*(rows[name].to_pylist() for name in _LOOKED_AT), strict=True)
    for place, (trial, outcome, where) in enumerate(ended):
        is_alike = where is None or (where == "cpu") == (device == "cpu")
        if trial in left and outcome in TRAINED and is_alike:
            left.remove(trial)
            places.append(place)
    return rows.take(pa.array(places, pa.int64())), damaged


def _check_own(neighbour: RunDirectory) -> None:
    """Raises StrangerError where others can write something that is read of `neighbour`."""
    if neighbour.link():
        raise StrangerError("a folder in it is a link")
    folders = [neighbour.path, neighbour.parts, neighbour.provenance]
    files = [neighbour.study, neighbour.design, *neighbour.parts.glob("*.parquet")]
    if dispatched := last(neighbour):
        files.append(dispatched)
    if writable_by_others(*(path for path in (*folders, *files) if os.path.lexists(path))):
        raise StrangerError("it can be written by others")


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
