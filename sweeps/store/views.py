"""Views: results.parquet and curves.parquet, which are rebuilt from the parts.

All in Arrow: as Python objects the rows of 100,000 trials and their curves would take gigabytes.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from sweeps.store.accepted import ACCEPT_ALL, read_accepted
from sweeps.store.answers import rows_in_unit
from sweeps.store.parts import read_parts
from sweeps.store.run_directory import RunDirectory
from sweeps.study.schema import CURVES_SCHEMA, PART_SCHEMA, results_schema
from sweeps.study.trial import FAILED
from sweeps.system.files import atomic_write


def rebuild(run: RunDirectory) -> dict[str, str]:
    """Write both views: one row per finished trial, and per trial and epoch, in design order.

    The first complete result of a trial with accepted code wins. A trial that only failed has a row
    with its last failure; a trial that never ended has none. Errors are in percent, whichever unit
    the objective returns; a loss is as it is.

    Returns, by trial, why a result that an earlier version accepted counts as failed.
    Raises StoreError if study or design cannot be read, OSError if nothing can be written.
    """
    study, design, returned = run.read_study(), run.design_table(), counted_parts(run)
    parts = rows_in_unit(returned, study.read_by)
    best = _best(parts)
    places = [best.get(trial) for trial in design["trial"].to_pylist()]
    has_ended = pa.array([place is not None for place in places])
    identity = design.filter(has_ended)
    measured = parts.take(pa.array([place for place in places if place is not None], pa.int64()))
    metrics = _metrics(measured["metrics"].combine_chunks())
    taken = {*design.column_names, *PART_SCHEMA.names}
    metrics = metrics.rename_columns(
        [f"metric_{name}" if name in taken else name for name in metrics.column_names]
    )
    with atomic_write(run.results) as temporary:
        # In the parts, no code of the user is an empty text, which tells it from an unknown one.
        code = measured["code"]
        found = {
            **_columns(measured),
            "code": pc.if_else(pc.equal(code, ""), pa.scalar(None, pa.string()), code),
            "error_unit": pa.repeat("raw" if study.unit == "raw" else "percent", len(measured)),
            **_columns(metrics),
            **_columns(identity),
        }
        schema = results_schema(study.space, metrics.column_names)
        table = pa.table([found[name] for name in schema.names], schema=schema)
        pq.write_table(table.combine_chunks(), temporary)
    with atomic_write(run.curves) as temporary:
        pq.write_table(_curves(measured, study.unit), temporary)
    return _refused_now(returned, parts)


def counted_parts(run: RunDirectory) -> pa.Table:
    """Read the rows of all parts that count, oldest first. Raises StoreError."""
    parts, known = read_parts(run), read_accepted(run)
    if known == ACCEPT_ALL:
        return parts
    rows = zip(parts["outcome"].to_pylist(), parts["code"].to_pylist(), strict=True)
    return parts.filter(pa.array([known.counts(*row) for row in rows], pa.bool_()))


def _best(parts: pa.Table) -> dict[str, int]:
    """Return the row that counts, by trial; `parts` is oldest first."""
    best: dict[str, int] = {}
    failed: set[str] = set()
    rows = zip(parts["trial"].to_pylist(), parts["outcome"].to_pylist(), strict=True)
    for place, (trial, outcome) in enumerate(rows):
        if trial not in best or trial in failed:
            best[trial] = place
            (failed.add if outcome in FAILED else failed.discard)(trial)
    return best


def _columns(table: pa.Table) -> dict[str, pa.ChunkedArray]:
    return dict(zip(table.column_names, table.columns, strict=True))


def _metrics(lists: pa.ListArray) -> pa.Table:
    """Return a column for each metric of the objective, in the order of their appearance."""
    parents = pc.list_parent_indices(lists).to_numpy()
    pairs = lists.flatten()
    names, values = pairs.field("name"), pairs.field("value")
    columns = {}
    for name in names.drop_null().unique().to_pylist():
        is_it = pc.equal(names, name).fill_null(False).to_numpy(zero_copy_only=False)
        chosen = values.filter(pa.array(is_it))
        column, missing = np.zeros(len(lists)), np.ones(len(lists), bool)
        column[parents[is_it]] = chosen.fill_null(0.0).to_numpy()
        missing[parents[is_it]] = chosen.is_null().to_numpy(zero_copy_only=False)
        columns[name] = pa.array(column, mask=missing)
    return pa.table(columns)


def _refused_now(returned: pa.Table, parts: pa.Table) -> dict[str, str]:
    """Return why a result counts as failed when it is read, by trial."""
    changed = pc.not_equal(returned["outcome"], parts["outcome"])
    rows = parts.select(["trial", "outcome", "message"]).filter(changed).to_pylist()
    return {row["trial"]: row["message"] for row in rows if row["outcome"] in FAILED}


def _curves(measured: pa.Table, unit: str) -> pa.Table:
    """Return the rows of the curves, each with its trial."""
    lists = measured["curve"].combine_chunks()
    rows = lists.flatten()
    trials = measured["trial"].combine_chunks().take(pc.list_parent_indices(lists))
    columns = [
        pc.multiply(rows.field(name), 100.0)
        if name == "val_error" and unit == "fraction"
        else rows.field(name)
        for name in CURVES_SCHEMA.names[1:]
    ]
    return pa.table([trials, *columns], schema=CURVES_SCHEMA)
