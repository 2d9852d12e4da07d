"""results.parquet and curves.parquet: rebuilt from the parts, never the truth.

Table by table, in Arrow: as Python objects the rows of 100,000 trials and their curves would take
gigabytes.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from sweeps.design import read_table
from sweeps.files import atomic_write
from sweeps.parts import read_parts
from sweeps.run_directory import RunDirectory
from sweeps.schema import CURVES, results_schema
from sweeps.trial import FAILED


def rebuild(run: RunDirectory) -> None:
    """Write both views: one row per finished trial, and per trial and epoch, in design order.

    The first complete result of a trial wins. A trial that only failed is there with its last
    failure, so that it is seen and counted; a trial that never ended is not.
    Raises StoreError where study or design cannot be read, OSError where nothing can be written.
    """
    study, design, parts = run.read_study(), read_table(run.design), read_parts(run)
    best = _best(parts)
    places = [best.get(trial) for trial in design["trial"].to_pylist()]
    has_ended = pa.array([place is not None for place in places])
    identity = design.filter(has_ended)
    measured = parts.take(pa.array([place for place in places if place is not None], pa.int64()))
    metrics = _metrics(measured["metrics"].combine_chunks())
    with atomic_write(run.results) as temporary:
        found = _columns(metrics) | _columns(measured) | _columns(identity)
        taken = results_schema(study.space).names  # a part may say anything
        own = [name for name in metrics.column_names if name not in taken]
        schema = results_schema(study.space, own)
        table = pa.table([found[name] for name in schema.names], schema=schema)
        pq.write_table(table.combine_chunks(), temporary)
    with atomic_write(run.curves) as temporary:
        pq.write_table(_curves(measured), temporary)


def _best(parts: pa.Table) -> dict[str, int]:
    """By trial, the row that counts; `parts` is oldest first."""
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
    """A column for each of the objective's own metrics, in the order in which they appear."""
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


def _curves(measured: pa.Table) -> pa.Table:
    """The rows of the curves, each with its trial."""
    lists = measured["curve"].combine_chunks()
    rows = lists.flatten()
    trials = measured["trial"].combine_chunks().take(pc.list_parent_indices(lists))
    columns = [rows.field(name) for name in CURVES.names[1:]]
    return pa.table([trials, *columns], schema=CURVES)
