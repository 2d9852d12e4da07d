"""results.parquet and curves.parquet: rebuilt from the parts, never the truth."""

from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from sweeps.design import read_rows
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
    best: dict[str, dict[str, Any]] = {}
    for row in read_parts(run):
        before = best.get(row["trial"])
        if before is None or before["outcome"] in FAILED:
            best[row["trial"]] = row
    results, curves = [], []
    own: dict[str, None] = {}  # names of the objective's own metrics, in order
    study = run.read_study()
    for row in read_rows(run.design):
        measured = best.get(row["trial"])
        if measured is None:
            continue
        curve = measured.pop("curve") or []
        metrics = {m["name"]: m["value"] for m in measured.pop("metrics", None) or []}
        own |= dict.fromkeys(metrics)
        results.append({**metrics, **measured, **row})
        curves += [{"trial": row["trial"], **epoch} for epoch in curve]
    with atomic_write(run.results) as temporary:
        table = pa.Table.from_pylist(results, schema=results_schema(study.space, list(own)))
        pq.write_table(table, temporary)
    with atomic_write(run.curves) as temporary:
        pq.write_table(pa.Table.from_pylist(curves, schema=CURVES), temporary)
