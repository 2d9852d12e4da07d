"""Reads one part and checks it: a parquet file with other columns or values is damaged."""

import errno
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from sweeps.study.schema import PART_SCHEMA
from sweeps.study.trial import FAILED, TRAINED
from sweeps.system.files import DamagedError, read_parquet

REQUIRED_COLUMNS = ("trial", "outcome", "finished")
EARLIEST, LATEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)
_NO_FILE = (errno.ELOOP, errno.EINVAL, errno.EFBIG, errno.ENXIO, errno.EISDIR, errno.ENOTDIR)


def read_part(path: Path, columns: list[str] | None = None) -> pa.Table:
    """Read all or some columns of a part and verify its checksums.

    Raises DamagedError if it is no part, OSError if it cannot be read now.
    """
    try:
        table = read_parquet(path, columns)
    except OSError as error:
        if error.errno in _NO_FILE:
            raise DamagedError(str(error)) from error
        raise
    if why := oddity(table):
        raise DamagedError(f"{path} is no part: {why}")
    return table


def oddity(table: pa.Table) -> str | None:
    """Return why a table is no part; None if it is one.

    An earlier version had fewer columns, also of the curves; a later one may have more.
    """
    if why := _odd_schema(table.schema):
        return why
    if empty := [name for name in REQUIRED_COLUMNS if table[name].null_count]:
        return f"{empty[0]} is empty in a row"
    return _odd_values(table)


@lru_cache(maxsize=16)  # the parts of a run have one, or one for each version
def _odd_schema(schema: pa.Schema) -> str | None:
    names = schema.names
    if len(set(names)) < len(names):
        return "two columns have the same name"
    if missing := [name for name in REQUIRED_COLUMNS if name not in names]:
        return f"no column {missing[0]}"
    for field in PART_SCHEMA:
        if field.name in names and not _is_of(schema.field(field.name).type, field.type):
            return f"{field.name} is {schema.field(field.name).type}, not {field.type}"
    return None


def _odd_values(table: pa.Table) -> str | None:
    known = pa.array([*TRAINED, *FAILED])
    if not pc.all(pc.is_in(table["outcome"], value_set=known), min_count=0).as_py():
        return "an unknown outcome"
    times = table["finished"].cast(pa.int64()).to_numpy()
    first, last = (int(when.timestamp()) * 10**6 for when in (EARLIEST, LATEST))
    if len(table) and not first <= times.min() <= times.max() <= last:
        return f"finished is not between {EARLIEST.year} and {LATEST.year}"
    return None


def _is_of(found: pa.DataType, wanted: pa.DataType) -> bool:
    """Whether it is the wanted type, or for a list of structs one with fewer fields, or a map."""
    if found == wanted:
        return True
    if pa.types.is_map(found) and pa.types.is_list(wanted):  # metrics, once
        pairs = [found.key_type, found.item_type]
        return pairs == [field.type for field in wanted.value_type]
    if not (pa.types.is_list(found) and pa.types.is_list(wanted)):
        return False
    inner, full = found.value_type, wanted.value_type
    if not (pa.types.is_struct(inner) and pa.types.is_struct(full)):
        return False
    fields = {field.name: field.type for field in full}
    return all(fields.get(field.name) == field.type for field in inner)
