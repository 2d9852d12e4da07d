"""Finished trials of neighbouring studies: what has been trained once is not trained again.

A trial's id is its content, so a larger study, another box or another length holds trials that a
study beside it has finished. They are copied into a part of the new run directory.
"""

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from sweeps.objective.user_code import UserCode
from sweeps.store.answers import rows_in_unit
from sweeps.store.parts import ROWS_PER_PART, read_parts
from sweeps.store.provenance import last_file
from sweeps.store.run_directory import RunDirectory
from sweeps.study.design import read_design_table
from sweeps.study.schema import PART_SCHEMA
from sweeps.study.trial import TRAINED, Trial
from sweeps.system.files import atomic_write
from sweeps.system.trust import first_writable_by_others

WORKER = "adopted"
_LOOKED_AT = ("trial", "outcome", "device", "code")

Adopted = dict[Path, pa.Table]
"""Rows of parts, by the run directory that they are from."""


def adoptable(
    run: RunDirectory,
    trials: Sequence[Trial],
    code: UserCode | None = None,
    device: str = "cpu",
    say: Callable[[str], None] = lambda line: None,
    *,
    take_unknown: bool = True,
) -> Adopted:
    """Rows of these trials in the run directories beside `run`, by run directory.

    Each trial once, from the first neighbour by name that has it. The version of the user's `code`
    must be the same; rows of an unknown version (written by an earlier version of stability) are
    taken where there is nothing better and `take_unknown` allows it. Only rows that were trained on
    this kind of device, `cpu` or `cuda`, are taken: the trials of a study are comparable.

    A neighbour that others can write, or that cannot be read, is left out, and `say` gets a line
    that names it: nothing is lost by training a trial again.
    """
    versions = {trial.id: code.version(trial.model) if code else None for trial in trials}
    readable: list[tuple[Path, pa.Table, pa.Table]] = []
    left_out: dict[str, list[str]] = {}
    for neighbour in neighbours(run):
        damaged: list[str] = []
        try:
            rows = _rows_of(neighbour, versions.keys(), damaged)
            readable.append((neighbour.path, rows, rows_in_unit(rows, neighbour.unit)))
        # Whatever somebody has put there: it must not keep this study from beginning.
        except Exception as error:
            reason = str(error) if isinstance(error, StrangerError) else "it cannot be read"
            left_out.setdefault(reason, []).append(neighbour.path.name)
            continue
        if damaged:
            part = f"{neighbour.path.name}/parts/{damaged[0]}"
            left_out.setdefault("it cannot be read", []).append(part)
    for reason, names in left_out.items():
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        say(f"nothing is taken over from {', '.join(names[:3])}{more}: {reason}")
    found: Adopted = {}
    for unknown in (False, True)[: 1 + take_unknown]:
        for path, rows, read in readable:
            wanted = dict.fromkeys(versions) if unknown or code is None else versions
            places = _places(read, wanted, device, any_version=code is None)
            for trial in rows["trial"].take(places).to_pylist():
                del versions[trial]
            if len(places):
                taken = rows.take(places)
                found[path] = pa.concat_tables([found[path], taken]) if path in found else taken
    return found


def _places(
    rows: pa.Table, versions: dict[str, str | None], device: str, *, any_version: bool
) -> pa.Array:
    """Which rows are the first result of a wanted trial, of its version, on this kind of device."""
    places, left = [], dict(versions)
    ended = zip(*(rows[name].to_pylist() for name in _LOOKED_AT), strict=True)
    for place, (trial, outcome, where, version) in enumerate(ended):
        is_alike = where is None or (where == "cpu") == (device == "cpu")
        if trial not in left or outcome not in TRAINED or not is_alike:
            continue
        if any_version or version == left[trial]:
            del left[trial]
            places.append(place)
    return pa.array(places, pa.int64())


class StrangerError(Exception):
    """Somebody else could have written the results of a neighbour."""


def _rows_of(neighbour: RunDirectory, wanted: Iterable[str], damaged: list[str]) -> pa.Table:
    """The rows of one neighbour, none where its design names none of the wanted trials.

    `damaged` gets the names of its parts that cannot be read. Raises StrangerError, or whatever
    reading it raises.
    """
    _check_own(neighbour)
    if set(wanted).isdisjoint(read_design_table(neighbour.design)["trial"].to_pylist()):
        return PART_SCHEMA.empty_table()
    return read_parts(neighbour, damaged)


def _check_own(neighbour: RunDirectory) -> None:
    """Raises StrangerError where others can write something that is read of `neighbour`."""
    if neighbour.link():
        raise StrangerError("a folder in it is a link")
    folders = [neighbour.path, neighbour.parts, neighbour.provenance]
    files = [neighbour.study, neighbour.design, *neighbour.parts.glob("*.parquet")]
    if dispatched := last_file(neighbour):
        files.append(dispatched)
    if first_writable_by_others(*(path for path in (*folders, *files) if os.path.lexists(path))):
        raise StrangerError("it can be written by others")


def adopt(run: RunDirectory, found: Adopted) -> None:
    """Copy the rows into parts of `run`, with all that they say of where they were trained."""
    rows = pa.concat_tables([PART_SCHEMA.empty_table(), *found.values()]).combine_chunks()
    for number, start in enumerate(range(0, len(rows), ROWS_PER_PART)):
        with atomic_write(run.part(WORKER, number)) as temporary:
            pq.write_table(rows.slice(start, ROWS_PER_PART), temporary, write_page_checksum=True)


def neighbours(run: RunDirectory) -> list[RunDirectory]:
    """The other run directories in the folder of `run`."""
    try:
        folders = sorted(path for path in run.path.parent.iterdir() if path != run.path)
    except OSError:
        return []
    return [other for other in map(RunDirectory, folders) if other.exists()]
