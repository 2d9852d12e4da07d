"""Which format a source has, and its reader."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from analysis.errors import TableError
from analysis.importers.formats.flat_table import TABLE_READERS, flat_sweep, read_table
from analysis.importers.formats.json_tables import table_of_json
from analysis.importers.formats.optuna_storage import read_optuna
from analysis.importers.formats.pycls_sweep import is_sweep, read_pycls
from analysis.importers.formats.raw_table import RawTable
from analysis.importers.formats.ray_results import is_experiment, is_progress, is_trial, read_ray
from analysis.importers.formats.text_files import ending_of, read_head, read_json
from analysis.importers.formats.wandb_export import is_chart, is_export, read_wandb
from analysis.importers.source import SQLITE, ExternalSweep
from analysis.table.run_directory import is_run_directory


@dataclass(frozen=True)
class _Source:
    """A source as the person named it; what is read of it is read once."""

    text: str
    studies: tuple[str, ...] = ()

    @property
    def is_url(self) -> bool:
        return "://" in self.text

    @cached_property
    def path(self) -> Path:
        return existing_path(self.text)

    @property
    def is_folder(self) -> bool:
        return not self.is_url and self.path.is_dir()

    @cached_property
    def head(self) -> bytes:
        return read_head(self.path)

    @cached_property
    def json(self) -> Any:
        return read_json(self.path)

    @property
    def is_json(self) -> bool:
        return not self.is_folder and ending_of(self.path) == ".json"

    @property
    def is_table(self) -> bool:
        return not self.is_url and not self.is_folder and ending_of(self.path) in TABLE_READERS

    @cached_property
    def table(self) -> RawTable:
        return table_of_json(self.path, self.json) if self.is_json else read_table(self.path)


@dataclass(frozen=True)
class _Format:
    """A format of other tools."""

    name: str
    known_by: str
    """What it is recognised by, for messages."""
    recognises: Callable[[_Source], bool]
    read: Callable[[_Source], ExternalSweep]


def _is_optuna(source: _Source) -> bool:
    if source.is_url:
        return True
    if source.is_folder:
        return False
    return source.head.startswith(SQLITE) or b'"op_code"' in source.head.partition(b"\n")[0]


def _is_ray(source: _Source) -> bool:
    if source.is_folder:
        return is_experiment(source.path)
    if source.is_json:
        return is_trial(source.json)
    return source.is_table and ending_of(source.path) == ".csv" and is_progress(source.table.frame)


# docs/architecture.md, "Where to add or find things", lists what else changes.
_FORMATS = (
    _Format(
        "optuna",
        "an Optuna storage (sqlite:///FILE, a .db file, a journal file)",
        _is_optuna,
        lambda s: read_optuna(s.text if s.is_url else s.path, s.studies),
    ),
    _Format(
        "pycls",
        "a pycls sweep.json",
        lambda s: s.is_json and is_sweep(s.json),
        lambda s: read_pycls(s.path, s.json),
    ),
    _Format(
        "ray",
        "an experiment folder, a result.json or a progress.csv of Ray Tune",
        _is_ray,
        lambda s: read_ray(s.path),
    ),
    _Format(
        "wandb",
        "an export of W&B (with Name and State, or with summary, config and name)",
        lambda s: s.is_table and (is_export(s.table.frame) or is_chart(s.table.frame)),
        lambda s: read_wandb(s.path, s.table),
    ),
    _Format(
        "table",
        f"a table ({', '.join(TABLE_READERS)}, also with .gz)",
        lambda s: s.is_table,
        lambda s: flat_sweep(s.path, s.table),
    ),
)
IMPORT_FORMATS = tuple(each.name for each in _FORMATS)


def read_sweep(
    source: str, format_name: str | None = None, studies: tuple[str, ...] = ()
) -> ExternalSweep:
    """Read a source in its format.

    Args:
        source: a path, or the URL of an Optuna storage.
        format_name: one of `IMPORT_FORMATS`; None to recognise it.
        studies: names of Optuna studies; none for all.

    Raises:
        TableError: it is not there, not of this format, or of none that is known.

    """
    found = _Source(source, studies)
    name = _recognised(found).name if format_name is None else format_name
    if studies and name != "optuna":
        raise TableError(
            [f"--study: {source} is read as {name}, only Optuna storages have studies"]
        )
    if name not in ("optuna", "ray") and (found.is_url or found.is_folder):
        raise TableError([f"{source}: no file, so that it cannot be read as {name}"])
    return next(each for each in _FORMATS if each.name == name).read(found)


def recognise_format(source: str) -> str:
    """The format of a source, by its URL, ending and content. Raises TableError."""
    return _recognised(_Source(source)).name


def existing_path(source: str) -> Path:
    """The path of a file or folder that is there. Raises TableError."""
    path = Path(source)
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError, ValueError) as error:  # ValueError: a NUL
        raise TableError([f"{source}: no such file"]) from error
    except OSError as error:
        raise TableError([f"{source}: cannot be read: {error.strerror}"]) from error
    return path


def _recognised(source: _Source) -> _Format:
    for each in _FORMATS:
        if each.recognises(source):
            return each
    if source.is_folder and is_run_directory(source.path):
        raise TableError([f"{source.text}: a run directory, which needs no import"])
    if source.is_folder:
        raise TableError(
            [
                f"{source.text}: a folder without design.parquet, results.parquet and study.toml; "
                "allowed is a run directory, an experiment folder of Ray Tune, or a file"
            ]
        )
    allowed = "; ".join(each.known_by for each in _FORMATS)
    raise TableError(
        [f"{source.text}: its format is not recognised; allowed are {allowed}; or say --format"]
    )
