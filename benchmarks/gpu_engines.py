"""Stage c of `gpu_day`: the part of `benchmarks.engine` by which engines are kept or deleted."""

import sys
from collections.abc import Iterator
from dataclasses import asdict, replace

from benchmarks import engine
from benchmarks.children import Measurer
from benchmarks.engine import MICRO_128, NANO, PACKED, QUICK, REGNETY, Effort
from benchmarks.engine_row import Case, Row, Rows
from benchmarks.gpu import peak_flops
from benchmarks.gpu_report import Report
from stability.training.engines.names import GAIN, parse_engine

ENGINES = ("captured", "stacked:16", "streams:4", "stacked:64", "stacked:4")
COMPILED = "captured+compile"
CASES = (replace(MICRO_128, repeats=2), replace(NANO, repeats=2), REGNETY)
DRY = Case(model="vitp-nano", batch=16, load=2)
ROW_SECONDS = 40.0  # a row that takes longer hangs, packed processes included
COMPILE_SECONDS = 75.0
WITHOUT_GPU = ("eager", "stacked:4", PACKED)
SIMPLEST_FIRST = ("eager", PACKED, "captured", "streams", COMPILED, "stacked")
"""By the code that each needs; packed processes are eager workers that share a GPU."""


def stage(report: Report) -> None:
    """Measure one row after the other; compiling, which takes a minute, comes last."""
    device, on_gpu = report.device, report.device == "cuda"
    effort = Effort(packed=(8,), seconds=4.0) if on_gpu else replace(QUICK, packed=(1,))
    found: list[Row] = []
    peak = peak_flops(device)
    report.content["peak_flops"] = peak
    with Measurer("benchmarks.engine_row", [device], report.deadline) as measurer:
        rows = Rows(device, peak, measurer)
        for case, name in plan(on_gpu):
            rows.most = COMPILE_SECONDS if name == COMPILED else ROW_SECONDS
            for row in engine.rows_of(case, name, rows, effort):
                found.append(row)
                print(engine.line(row), file=sys.stderr, flush=True)
                where = f"{row.model} batch {row.batch} {row.engine}"
                report.add(asdict(row), f"{where}: {row.fault}" if row.fault else "")
    for row in found:
        if row.ms is not None:
            report.say(engine.line(row))
    for model in dict.fromkeys(row.model for row in found):
        report.content.setdefault("gains", {})[model] = gain = gains(found, model)
        said = [f"{name} {value:.2f}x" for name, value in gain.items() if value is not None]
        report.say(f"{model}, over the fastest simpler engine ({GAIN}x to stay): {', '.join(said)}")


def plan(on_gpu: bool) -> Iterator[tuple[Case, str]]:
    """Yield what is measured, the most important first."""
    if not on_gpu:
        yield from ((DRY, name) for name in WITHOUT_GPU)
        return
    for case in CASES:
        yield case, "eager"
        if case is CASES[0]:
            yield case, PACKED
        yield from ((case, name) for name in ENGINES)
    yield from ((case, COMPILED) for case in CASES)
    yield CASES[1], PACKED


def gains(rows: list[Row], model: str) -> dict[str, float | None]:
    """Return how many times as fast each engine is as the fastest simpler one, for one model.

    Simpler than an engine are those before it in `SIMPLEST_FIRST`. Of an engine that trains K
    trials at a time the fastest K counts. None where one of the two was not measured.

    >>> rows = [Row(model="m", batch=1, engine="eager", ms=4.0),
    ...         Row(model="m", batch=1, engine="stacked:4", ms=1.0)]
    >>> gains(rows, "m")["stacked"]
    4.0
    """
    best: dict[str, float] = {}
    for row in rows:
        if row.model == model and row.ms is not None:
            is_packed = "processes" in row.engine
            name = PACKED if is_packed else parse_engine(row.engine).name
            best[name] = min(row.ms, best.get(name, row.ms))
    found: dict[str, float | None] = {}
    for i, name in enumerate(SIMPLEST_FIRST[1:], start=1):
        simpler = [best[other] for other in SIMPLEST_FIRST[:i] if other in best]
        found[name] = min(simpler) / best[name] if simpler and name in best else None
    return found
