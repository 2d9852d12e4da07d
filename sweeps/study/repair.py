"""study.toml and design.parquet where they are damaged: the study asked for writes them again.

Both are decided by the study, so nothing is lost with them: what was trained is in the parts, by
trial. They are written again only where nothing that can be read speaks of another study.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from sweeps.errors import SpecError, StoreError
from sweeps.store.part_file import read_part
from sweeps.study.design import read_table
from sweeps.study.study import Study
from sweeps.study.trial import Trial
from sweeps.system.files import (
    DAMAGED,
    MOST_TABLE_BYTES,
    DamagedError,
    read_bytes,
    read_text,
    set_aside,
)

AGAIN = "if it was damaged, the stability sweep command that made it writes it again"
HEADER = re.compile(r"# Study ([0-9a-f]+): ")


def read_study(path: Path) -> Study:
    """The study as it was written.

    Raises StoreError where it cannot be read, is none, or is not what its first line says.
    """
    try:
        study = Study.read(path)
        written = HEADER.match(read_text(path))
    except (StoreError, SpecError, OSError) as error:
        raise StoreError(f"{error}; {AGAIN}") from error
    if written and written[1] != study.hash:
        raise StoreError(
            f"{path} was study {written[1]} when it was written, now it is another; {AGAIN}"
        )
    return study


def contradiction(design: Sequence[Trial], written: Path, parts: Path) -> str | None:
    """What speaks against `design` being that of this folder; None where nothing does.

    `written` is the path of design.parquet, which says nothing where it cannot be read.
    """
    ids = [trial.id for trial in design]
    try:
        if ids != read_table(written)["trial"].to_pylist():
            return f"{written.name} is that of another study"
    except StoreError:
        pass
    if strangers := trained(parts) - set(ids):
        return f"{len(strangers)} trials in {parts.name}/ are of another study: {min(strangers)}"
    return None


def trained(parts: Path) -> set[str]:
    """Trials in the parts that can be read."""
    found: set[str] = set()
    for path in parts.glob("*.parquet"):
        try:
            found |= set(read_part(path)["trial"].to_pylist())
        except (OSError, DamagedError):
            continue
    return found


def keep_damaged(path: Path) -> None:
    """A copy beside it, under a name that nothing reads; what is no file is renamed."""
    try:
        content = read_bytes(path, MOST_TABLE_BYTES)
    except FileNotFoundError:
        return
    except OSError:
        set_aside(path)
        return
    taken = len(list(path.parent.glob(f"{path.name}{DAMAGED}*")))
    path.with_name(f"{path.name}{DAMAGED}{taken or ''}").write_bytes(content)
