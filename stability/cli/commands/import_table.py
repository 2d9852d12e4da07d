"""`stability import`: sweeps of other tools as a results table."""

import json
import re
import shlex
import sys
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from textwrap import wrap
from typing import get_args

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
from analysis.importers.source import SourceUnit
from analysis.table.combine import combine
from analysis.table.load import source_of
from analysis.table.outcomes import OUTCOMES
from stability.cli.output.tables import TERMINAL_WIDTH, print_groups, print_wrapped, shown_path
from stability.cli.study.parsing import FaultList, parse_number
from sweeps.study.schema import METADATA
from sweeps.system.files import atomic_write
from sweeps.system.trust import printable


@dataclass(frozen=True, kw_only=True)
class ImportArguments:
    """What a person says about the sources, as it was typed."""

    map: list[str]
    accuracy: str | None
    negate: bool = False
    unit: list[str]
    set: list[str]
    map_outcome: list[str]
    empty: str | None
    last_of: str | None = None
    chance: str | None
    classes: str | None
    class_counts: str | None
    n_eval: str | None
    format: str | None
    study: list[str]
    pool: bool = False


def import_sources(
    sources: list[str], arguments: ImportArguments, out: Path | None, *, dry_run: bool, force: bool
) -> None:
    """Read, convert, check, say what was done, and write. Raises with every fault.

    Raises:
        TableError: faults of the options and the sources, with commands that would settle them.

    """
    faults = FaultList()
    options = options_of(faults, arguments)
    _check_target(faults, out, dry_run=dry_run, force=force)
    if out is not None and any(out.resolve() == Path(source).resolve() for source in sources):
        faults.add("--out", f"{out} is what shall be read")
    done, hints = _converted(faults, sources, options, arguments, out)
    if faults.found:
        raise TableError(faults.found, hint="\n".join(hints))
    table, notes = combine(
        [source_of(sweep, imported) for sweep, imported in done], pool=arguments.pool
    )
    samples(table)  # no configuration is there twice
    for sweep, imported in done:
        _say(sweep, imported)
    for note in notes:
        print_wrapped(note)
    print_groups(table)
    if dry_run or out is None:
        print("nothing was written")
        return
    write_table(table, [note for _, one in done for note in one.notes] + notes, out)
    print(f"{shown_path(out)}; draw it: stability edf {shlex.quote(shown_path(out))}")


def options_of(faults: FaultList, arguments: ImportArguments) -> ImportOptions | None:
    """What is asked for; None where there is a fault."""
    before = len(faults.found)
    outcomes = _pairs(faults, "--map-outcome", arguments.map_outcome)
    for value, outcome in outcomes.items():
        faults.one_of(f"--map-outcome {value}", outcome, OUTCOMES)
    if arguments.empty is not None:
        faults.one_of("--empty", arguments.empty, OUTCOMES)
    if arguments.empty in ("ok", "collapsed"):
        faults.add("--empty", f"got {arguments.empty!r}, a run without an error is neither")
    units = _units(faults, arguments.unit)
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
        negate=arguments.negate,
        unit=units.pop("", None),
        units=units,
        last_of=arguments.last_of,
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


def _chance(faults: FaultList, arguments: ImportArguments) -> ChanceLevel | None:
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
        error = parse_number(arguments.chance)
        if error is not None and 1 < error <= 100:
            return ChanceLevel.given(error)
        faults.add(
            "--chance", f"got {arguments.chance!r}, allowed is percent: above 1, at most 100"
        )
    return None


def _units(faults: FaultList, texts: list[str]) -> dict[str, SourceUnit]:
    """Units by column; that of the errors has the name ""."""
    found: dict[str, SourceUnit] = {}
    for text in texts:
        column, _, unit = text.rpartition("=")
        if column in found:
            faults.add("--unit", f"{column or 'the unit of the errors'} is named twice")
        elif faults.one_of("--unit", unit, get_args(SourceUnit)) is not None:
            found[column] = unit  # type: ignore[assignment]
    return found


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


def _converted(
    faults: FaultList,
    sources: list[str],
    options: ImportOptions | None,
    arguments: ImportArguments,
    out: Path | None,
) -> tuple[list[tuple[ExternalSweep, ImportedTable]], list[str]]:
    """The sources that can be read and converted, and the commands that would settle the others."""
    done, hints = [], []
    # A wrong format is a fault already.
    known = arguments.format if arguments.format in IMPORT_FORMATS else None
    for source in sources:
        try:
            sweep = read_sweep(source, known, tuple(arguments.study))
            sweep = replace(sweep, source=source)
            if options is not None:
                done.append((sweep, convert_sweep(sweep, options)))
        except TableError as error:
            faults.found += error.faults
            hints += [_as_typed(error.hint, arguments, out)] if error.hint else []
    return done, hints


def _as_typed(hint: str, arguments: ImportArguments, out: Path | None) -> str:
    """A proposed command with the options about reading and writing that were typed."""
    words = shlex.split(hint)[:-2]
    words += ["--format", arguments.format] if arguments.format else []
    words += [word for study in arguments.study for word in ("--study", study)]
    return shlex.join([*words, *(["--dry-run"] if out is None else ["--out", str(out)])])


def _say(sweep: ExternalSweep, imported: ImportedTable) -> None:
    """Print what became of a source."""
    rows = f"{len(imported.table)} runs"
    print(printable(f"{sweep.name}: {rows}, read as {sweep.format}"))
    for note in imported.said:
        print(
            "\n".join(
                wrap(printable(note), TERMINAL_WIDTH, initial_indent="- ", subsequent_indent="  ")
            )
        )
    print()
