"""`stability import`: sweeps of other tools as a results table."""

import json
import re
import shlex
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from analysis.importers import (
    FORMATS,
    Chance,
    ExternalSweep,
    Imported,
    ImportOptions,
    convert,
    read,
)
from analysis.importers.source import OUTCOMES
from stability.cli.output.tables import TERMINAL_WIDTH, print_groups, shown_path
from stability.cli.study.parsing import FaultList, parse_number
from sweeps.errors import SpecError
from sweeps.study.schema import METADATA
from sweeps.system.files import atomic_write
from sweeps.system.trust import printable
from sweeps.words import count

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, kw_only=True)
class ImportArguments:
    """What a person says about the sources, as it was typed."""

    map: list[str]
    accuracy: str | None
    unit: str | None
    set: list[str]
    map_outcome: list[str]
    empty: str
    chance: str | None
    classes: str | None
    class_counts: str | None
    n_eval: str | None
    format: str | None
    study: list[str]


def import_sources(
    sources: list[str], options: ImportArguments, out: Path | None, *, dry_run: bool, force: bool
) -> None:
    """Read, convert, check, say what was done, and write. Raises SpecError with every fault."""
    faults = FaultList()
    settings = import_options(faults, options)
    _check_target(faults, out, dry_run=dry_run, force=force)
    if out is not None and any(out.resolve() == Path(source).resolve() for source in sources):
        faults.add("--out", f"{out} is what shall be read")
    read_in = [_read(faults, source, options) for source in sources]
    found = [f for f in read_in if f is not None]
    done = [] if settings is None else [_converted(faults, sweep, settings) for sweep in found]
    if faults.found:
        raise SpecError(faults.found)
    imported = [one for one in done if one is not None]
    table = _together(imported)
    for sweep, one in zip(found, imported, strict=True):
        _say(sweep, one)
    print_groups(table)
    if dry_run or out is None:
        print("nothing was written")
        return
    write_table(table, [note for one in imported for note in one.notes], out)
    print(f"{shown_path(out)}; draw it: stability edf {shlex.quote(shown_path(out))}")


def import_options(faults: FaultList, options: ImportArguments) -> ImportOptions | None:
    """What is asked for; None where there is a fault."""
    before = len(faults.found)
    outcomes = _pairs(faults, "--map-outcome", options.map_outcome)
    for value, outcome in {**outcomes, "--empty": options.empty}.items():
        option = value if value == "--empty" else f"--map-outcome {value}"
        faults.one_of(option, outcome, OUTCOMES)
    if options.empty in ("ok", "collapsed"):
        faults.add("--empty", f"got {options.empty!r}, a run without an error is neither")
    if options.unit is not None:
        faults.one_of("--unit", options.unit, ("percent", "fraction"))
    if options.format is not None:
        faults.one_of("--format", options.format, FORMATS)
    constants = _pairs(faults, "--set", options.set)
    chance = _chance(faults, options)
    n_eval = None if options.n_eval is None else faults.whole("--n-eval", options.n_eval, low=1)
    columns = _pairs(faults, "--map", options.map)
    if len(faults.found) > before:
        return None
    return ImportOptions(
        columns=columns,
        accuracy=options.accuracy,
        unit=options.unit,  # type: ignore[arg-type]
        constants={name: _value(text) for name, text in constants.items()},
        outcomes=outcomes,
        empty=options.empty,
        chance=chance,
        n_eval=n_eval,
    )


def write_table(table: "pd.DataFrame", notes: Iterable[str], path: Path) -> None:
    """Write a table as parquet, with the command and its assumptions beside the columns."""
    content = pa.Table.from_pandas(table, preserve_index=False)
    about = {"command": shlex.join(["stability", *sys.argv[1:]]), "notes": list(notes)}
    metadata = {**METADATA, "stability_import": json.dumps(about)}
    with atomic_write(path) as temporary:
        pq.write_table(content.replace_schema_metadata(metadata), temporary)


def _chance(faults: FaultList, options: ImportArguments) -> Chance | None:
    """The error of chance, from whichever option has it."""
    given = [
        name
        for name, text in (
            ("--chance", options.chance),
            ("--classes", options.classes),
            ("--class-counts", options.class_counts),
        )
        if text is not None
    ]
    if len(given) > 1:
        faults.add(given[0], f"{' and '.join(given[1:])} says it too, one of them is enough")
    if options.class_counts is not None:
        if options.n_eval is not None:
            faults.add("--n-eval", "--class-counts says it already")
        texts = options.class_counts.split(",")
        counts = [faults.whole("--class-counts", text.strip(), low=0) for text in texts]
        if None in counts:
            return None
        if sum(count or 0 for count in counts) == max(count or 0 for count in counts):
            faults.add("--class-counts", "two classes with examples, or more, are needed")
            return None
        return Chance.of_counts([count or 0 for count in counts])
    if options.classes is not None:
        classes = faults.whole("--classes", options.classes, low=2)
        return None if classes is None else Chance.of_classes(classes)
    if options.chance is not None:
        error = parse_number(options.chance)
        if error is not None and 1 < error <= 100:
            return Chance.given(error)
        faults.add("--chance", f"got {options.chance!r}, allowed is percent: above 1, at most 100")
    return None


def _pairs(faults: FaultList, option: str, texts: list[str]) -> dict[str, str]:
    """`NAME=TEXT` of an option that is given again and again."""
    found: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (name and equals and value):
            faults.add(option, f"got {text!r}, allowed is NAME=VALUE")
        elif name in found:
            faults.add(option, f"{name} is named twice")
        else:
            found[name] = value
    return found


def _value(text: str) -> int | float | str:
    value = parse_number(text)
    if value is None:
        return text
    return int(text) if re.fullmatch("-?[0-9]{1,18}", text) else value


def _check_target(faults: FaultList, out: Path | None, *, dry_run: bool, force: bool) -> None:
    if out is None:
        if not dry_run:
            faults.add("--out", "say where the table shall go, or --dry-run")
        return
    if out.suffix.lower() != ".parquet":
        faults.add("--out", f"got {out.name!r}, allowed is a .parquet file")
    elif out.is_dir() or not out.parent.is_dir():
        fault = f"{out} is no file" if out.is_dir() else f"{out.parent} is no folder"
        faults.add("--out", fault)
    elif out.exists() and not force and not dry_run:
        faults.add("--out", f"{out} is there already; --force replaces it")


def _read(faults: FaultList, source: str, options: ImportArguments) -> ExternalSweep | None:
    known = options.format if options.format in FORMATS else None  # a wrong one is said already
    try:
        return read(source, known, tuple(options.study))
    except SpecError as error:
        faults.found += error.faults
        return None


def _converted(faults: FaultList, sweep: ExternalSweep, settings: ImportOptions) -> Imported | None:
    from analysis import TableError, samples

    try:
        imported = convert(sweep, settings)
        samples(imported.table)
    except SpecError as error:
        faults.found += error.faults
    except TableError as error:
        faults.found += [f"{sweep.name}: {fault}" for fault in error.faults]
    else:
        return imported
    return None


def _together(imported: list[Imported]) -> "pd.DataFrame":
    """One table of all sources. Raises SpecError where a trial is in two of them."""
    import pandas as pd

    from analysis import TableError, samples

    table = pd.concat([one.table for one in imported], ignore_index=True)
    try:
        samples(table)
    except TableError as error:
        raise SpecError(list(error.faults)) from error
    return table


def _say(sweep: ExternalSweep, imported: Imported) -> None:
    """Print what became of a source."""
    print(printable(f"{sweep.name}: {count(len(imported.table), 'run')}, read as {sweep.format}"))
    moved = [
        f"{ours}={theirs}" + (" (by its name)" if ours in imported.guessed else "")
        for ours, theirs in imported.taken.items()
        if ours != theirs
    ]
    lines = [f"columns: {', '.join(moved)}"] if moved else []
    for note in [*lines, *imported.notes]:
        print(
            "\n".join(
                wrap(printable(note), TERMINAL_WIDTH, initial_indent="- ", subsequent_indent="  ")
            )
        )
    print()
