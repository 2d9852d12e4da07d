"""Repairs a damaged study.toml or design.parquet: both are written again from the study asked for.

Both follow from the study, and results are in the parts, by trial, so nothing is lost. The files
are written again only if nothing that can be read belongs to another study.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from sweeps.errors import SpecError, StoreError
from sweeps.store.part_file import read_part
from sweeps.study.design import read_design_table
from sweeps.study.study import Study
from sweeps.study.trial import Trial
from sweeps.system.files import (
    DAMAGED,
    MAX_TABLE_BYTES,
    DamagedError,
    read_bytes,
    read_text,
    set_aside,
)

AGAIN = "if it was damaged, the stability sweep command that made it writes it again"
STUDY_HEADER = re.compile(r"# Study ([0-9a-f]+): ")


def read_study(path: Path) -> Study:
    """Read the study.

    Raises StoreError if it cannot be read, is no study, or does not match its first line.
    """
    try:
        study = Study.read(path)
        written = STUDY_HEADER.match(read_text(path))
    except (StoreError, SpecError, OSError) as error:
        raise StoreError(f"{error}; {AGAIN}") from error
    if written and written[1] != study.hash:
        raise StoreError(
            f"{path} was study {written[1]} when it was written, now it is another; {AGAIN}"
        )
    return study


def contradiction(design: Sequence[Trial], written: Path, parts: Path) -> str | None:
    """Return what shows that `design` is not that of this folder; None if nothing does.

    `written` is the path of design.parquet; if it cannot be read, only the parts are compared.
    """
    ids = [trial.id for trial in design]
    try:
        if ids != read_design_table(written)["trial"].to_pylist():
            return f"{written.name} is that of another study"
    except StoreError:
        pass
    if strangers := trials_in_parts(parts) - set(ids):
        return f"{len(strangers)} trials in {parts.name}/ are of another study: {min(strangers)}"
    return None


def trials_in_parts(parts: Path) -> set[str]:
    """Return the trials in all parts that can be read."""
    found: set[str] = set()
    for path in parts.glob("*.parquet"):
        try:
            found |= set(read_part(path)["trial"].to_pylist())
        except (OSError, DamagedError):
            continue
    return found


def keep_damaged(path: Path) -> None:
    """Keep a copy under a name that nothing reads; what is no regular file is renamed."""
    try:
        content = read_bytes(path, MAX_TABLE_BYTES)
    except FileNotFoundError:
        return
    except OSError:
        set_aside(path)
        return
    taken = len(list(path.parent.glob(f"{path.name}{DAMAGED}*")))
    path.with_name(f"{path.name}{DAMAGED}{taken or ''}").write_bytes(content)
