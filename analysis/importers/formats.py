"""Which format a source has, and its reader."""

from pathlib import Path

from analysis.errors import TableError
from analysis.importers.flat_table import read_csv_header, read_flat_table, read_json
from analysis.importers.optuna_storage import read_optuna
from analysis.importers.pycls_sweep import is_sweep, read_pycls
from analysis.importers.source import SQLITE, ExternalSweep
from analysis.importers.wandb_export import is_export, read_wandb

# docs/architecture.md, "Where to add or find things", lists what else changes.
IMPORT_FORMATS = ("table", "optuna", "wandb", "pycls")
ALLOWED_SOURCES = (
    "allowed are .csv, .jsonl, .json and .parquet, an Optuna storage (sqlite:///FILE, a .db file, "
    "a journal file), a pycls sweep.json; or say --format"
)


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
    name = recognise_format(source) if format_name is None else format_name
    if studies and name != "optuna":
        raise TableError(
            [f"--study: {source} is read as {name}, only Optuna storages have studies"]
        )
    if name == "optuna":
        return read_optuna(source if "://" in source else existing_file(source), studies)
    path = existing_file(source)
    if name == "pycls":
        return read_pycls(path, read_json(path))
    return read_wandb(path) if name == "wandb" else read_flat_table(path)


def recognise_format(source: str) -> str:
    """The format of a source, by its URL, ending and first bytes. Raises TableError."""
    if "://" in source:
        return "optuna"
    path = existing_file(source)
    try:
        with path.open("rb") as file:
            head = file.read(4096)
    except OSError as error:
        raise TableError([f"{source} cannot be read: {error.strerror}"]) from error
    if head.startswith(SQLITE) or b'"op_code"' in head.partition(b"\n")[0]:
        return "optuna"
    match path.suffix.lower():
        case ".csv":
            return "wandb" if is_export(read_csv_header(path)) else "table"
        case ".json":
            return "pycls" if is_sweep(read_json(path)) else "table"
        case ".jsonl" | ".parquet":
            return "table"
    raise TableError([f"{source}: its format is not recognised; {ALLOWED_SOURCES}"])


def existing_file(source: str) -> Path:
    """The path of a file that is there. Raises TableError."""
    path = Path(source)
    if path.is_dir():
        raise TableError(
            [f"{source} is a folder; a run directory needs no import: stability edf {source}"]
        )
    if not path.is_file():
        raise TableError([f"{source}: no such file"])
    return path
