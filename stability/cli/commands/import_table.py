"""`stability import`: sweeps of other tools as a results table."""

import json
import re
import shlex
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from textwrap import wrap

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from analysis import TableError, samples
from analysis.importers import (
    IMPORT_FORMATS,
    ChanceLevel,
    ExternalSweep,
    ImportedTable,
    ImportOptions,
    convert_sweep,
    read_sweep,
)
from analysis.table.outcomes import OUTCOMES
from stability.cli.output.tables import WIDTH, print_groups, shown
from stability.cli.study.parsing import Faults, number
from sweeps.errors import SpecError
from sweeps.study.schema import METADATA
from sweeps.system.files import atomic_write
from sweeps.system.trust import printable


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


def bring_in(
    sources: list[str], arguments: ImportArguments, out: Path | None, *, dry_run: bool, force: bool
) -> None:
    """Read, convert, check, say what was done, and write. Raises with every fault.

    Raises:
        SpecError: faults of the options and of single sources.
        TableError: a trial that two sources hold.
    """
    faults = Faults()
    options = options_of(faults, arguments)
    _check_target(faults, out, dry_run=dry_run, force=force)
    if out is not None and any(out.resolve() == Path(source).resolve() for source in sources):
        faults.add("--out", f"{out} is what shall be read")
    read_in = [_read_source(faults, source, arguments) for source in sources]
    found = [f for f in read_in if f is not None]
    done = [] if options is None else [_converted(faults, sweep, options) for sweep in found]
    if faults.found:
        raise SpecError(faults.found)
    imported = [one for one in done if one is not None]
    table = pd.concat([one.table for one in imported], ignore_index=True)
    samples(table)  # no trial is in two sources
    for sweep, one in zip(found, imported, strict=True):
        _say(sweep, one)
    print_groups(table)
    if dry_run or out is None:
        print("nothing was written")
        return
    write_table(table, [note for one in imported for note in one.notes], out)
    print(f"{shown(out)}; draw it: stability edf {shlex.quote(shown(out))}")


def options_of(faults: Faults, arguments: ImportArguments) -> ImportOptions | None:
    """What is asked for; None where there is a fault."""
    before = len(faults.found)
    outcomes = _pairs(faults, "--map-outcome", arguments.map_outcome)
    for value, outcome in {**outcomes, "--empty": arguments.empty}.items():
        option = value if value == "--empty" else f"--map-outcome {value}"
        faults.one_of(option, outcome, OUTCOMES)
    if arguments.empty in ("ok", "collapsed"):
        faults.add("--empty", f"got {arguments.empty!r}, a run without an error is neither")
    if arguments.unit is not None:
        faults.one_of("--unit", arguments.unit, ("percent", "fraction"))
    if arguments.format is not None:
        faults.one_of("--format", arguments.format, IMPORT_FORMATS)
    constants = _pairs(faults, "--set", arguments.set)
    chance = _chance(faults, arguments)
    n_eval = None if arguments.n_eval is None else faults.whole("--n-eval", arguments.n_eval, low=1)
    columns = _pairs(faults, "--map", arguments.map)
    if len(faults.found) > before:
        return None
    return ImportOptions(
        columns=columns,
        accuracy=arguments.accuracy,
        unit=arguments.unit,  # type: ignore[arg-type]
        constants={name: _value(text) for name, text in constants.items()},
        outcomes=outcomes,
        empty=arguments.empty,
        chance=chance,
        n_eval=n_eval,
    )


def write_table(table: pd.DataFrame, notes: Iterable[str], path: Path) -> None:
    """Write a table as parquet, with the command and its assumptions beside the columns."""
    content = pa.Table.from_pandas(table, preserve_index=False)
    about = {"command": shlex.join(["stability", *sys.argv[1:]]), "notes": list(notes)}
    metadata = {**METADATA, "stability_import": json.dumps(about)}
    with atomic_write(path) as temporary:
        pq.write_table(content.replace_schema_metadata(metadata), temporary)


def _chance(faults: Faults, arguments: ImportArguments) -> ChanceLevel | None:
    """The error of chance, from whichever option has it."""
    given = [
        name
        for name, text in (
            ("--chance", arguments.chance),
            ("--classes", arguments.classes),
            ("--class-counts", arguments.class_counts),
        )
        if text is not None
    ]
    if len(given) > 1:
        faults.add(given[0], f"{' and '.join(given[1:])} says it too, one of them is enough")
    if arguments.class_counts is not None:
        if arguments.n_eval is not None:
            faults.add("--n-eval", "--class-counts says it already")
        texts = arguments.class_counts.split(",")
        counts = [faults.whole("--class-counts", text.strip(), low=0) for text in texts]
        if None in counts:
            return None
        if sum(count or 0 for count in counts) == max(count or 0 for count in counts):
            faults.add("--class-counts", "two classes with examples, or more, are needed")
            return None
        return ChanceLevel.of_counts([count or 0 for count in counts])
    if arguments.classes is not None:
        classes = faults.whole("--classes", arguments.classes, low=2)
        return None if classes is None else ChanceLevel.of_classes(classes)
    if arguments.chance is not None:
        error = number(arguments.chance)
        if error is not None and 1 < error <= 100:
            return ChanceLevel.given(error)
        faults.add(
            "--chance", f"got {arguments.chance!r}, allowed is percent: above 1, at most 100"
        )
    return None


def _pairs(faults: Faults, option: str, texts: list[str]) -> dict[str, str]:
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
    value = number(text)
    if value is None:
        return text
    return int(text) if re.fullmatch("-?[0-9]{1,18}", text) else value


def _check_target(faults: Faults, out: Path | None, *, dry_run: bool, force: bool) -> None:
    if out is None:
        if not dry_run:
            faults.add("--out", "say where the table shall go, or --dry-run")
        return
    if out.suffix.lower() != ".parquet":
        faults.add("--out", f"got {out.name!r}, allowed is a .parquet file")
    elif out.is_dir() or not out.parent.is_dir():
        faults.add("--out", f"{out if out.is_dir() else out.parent} is no {_kind(out)}")
    elif out.exists() and not force and not dry_run:
        faults.add("--out", f"{out} is there already; --force replaces it")


def _kind(out: Path) -> str:
    return "file" if out.is_dir() else "folder"


def _read_source(faults: Faults, source: str, arguments: ImportArguments) -> ExternalSweep | None:
    known = (
        arguments.format if arguments.format in IMPORT_FORMATS else None
    )  # a wrong one is said already
    try:
        return read_sweep(source, known, tuple(arguments.study))
    except TableError as error:
        faults.found += error.faults
        return None


def _converted(
    faults: Faults, sweep: ExternalSweep, options: ImportOptions
) -> ImportedTable | None:
    try:
        imported = convert_sweep(sweep, options)
    except TableError as error:
        faults.found += error.faults
        return None
    try:
        samples(imported.table)
    except TableError as error:
        faults.found += [f"{sweep.name}: {fault}" for fault in error.faults]
        return None
    return imported


def _say(sweep: ExternalSweep, imported: ImportedTable) -> None:
    """Print what became of a source."""
    rows = f"{len(imported.table)} runs"
    print(printable(f"{sweep.name}: {rows}, read as {sweep.format}"))
    moved = [
        f"{ours}={theirs}" + (" (by its name)" if ours in imported.guessed else "")
        for ours, theirs in imported.taken.items()
        if ours != theirs
    ]
    lines = [f"columns: {', '.join(moved)}"] if moved else []
    for note in [*lines, *imported.notes]:
        print("\n".join(wrap(printable(note), WIDTH, initial_indent="- ", subsequent_indent="  ")))
    print()
