"""What a step of one trial costs by each engine, and by processes packed onto one device.

    python -m benchmarks.engine [--device cuda|cpu] [--budget SECONDS] [--quick] [--json]

Each row is a model, a batch and an engine: milliseconds per step and trial, images a second of all
trials together, MFU, peak memory. bfloat16 on a GPU, float32 on a CPU, random images, SGD. All in
one run, so that ratios mean something. Packed processes are the real rival (`benchmarks.packed`).
Engines are measured in a process beside this one: one that fails or hangs is a row with its reason.
What matters most is measured first; what the budget (280 s) leaves no time for is "not measured".
On a CPU only small sizes are measured, of the rest the table says "not measured". An EDF is
estimated from steps with the recipe micro, evaluations, models and captures (`engine_aims`).
Exits 0 where every aim is met, 1 otherwise, so on a CPU always 1; moonshots do not decide. --quick
is the first case alone, a few steps: that it runs, not how fast.

micro is `vitp-micro+d12`: width 192, 12 blocks (MLP of 3 x 192), 64 tokens and the class token.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import groupby
from textwrap import wrap
from typing import Any

import torch

from benchmarks import engine_aims
from benchmarks.children import OUT_OF_TIME, Measurer
from benchmarks.engine_row import ROW_SECONDS, Case, Row, Rows, request
from benchmarks.gpu import (
    BUDGET,
    NO_GPU,
    NOT_MEASURED,
    machine,
    peak_flops,
    peak_in_words,
    peak_of,
    run_facts,
)
from benchmarks.packed import steps_a_second
from stability.training.engines.names import parse_engine

MODULE = "benchmarks.engine"
ENGINES = ("eager", "captured", "captured+compile", "streams:2", "streams:4",
           *(f"stacked:{k}" for k in (1, 2, 4, 8, 16, 32, 64)))  # fmt: skip
"""In the order of the table."""
PACKED = "packed"
CORE = ("eager", "captured", "stacked:16", "streams:4")
REST = ("stacked:64", "stacked:8", "stacked:4", "stacked:32", "streams:2", "stacked:2", "stacked:1")
"""In the order in which they are measured. torch.compile takes a minute, and has its own place."""
EDF = ("edf captured", "edf stacked:16", "edf streams:4")

MICRO_128 = Case(model="vitp-micro+d12", batch=128, load=800, repeats=3)
NANO = Case(model="vitp-nano", batch=64, load=6400, repeats=3)
MICRO_64 = Case(model="vitp-micro+d12", batch=64, load=800)
MICRO_512 = Case(model="vitp-micro+d12", batch=512, load=200)
REGNETY = Case(model="regnety-nano", batch=64, load=800)
OTHERS = (MICRO_64, REGNETY, MICRO_512)
COMPILED = ("captured+compile",)
PLANS: dict[str, tuple[tuple[Case, tuple[str, ...]], ...]] = {
    "cuda": (
        (MICRO_128, ("eager", PACKED, *CORE[1:], *REST)),
        (NANO, (*CORE, *REST, PACKED)),
        (MICRO_128, COMPILED),
        (MICRO_128, EDF),
        *((case, CORE) for case in OTHERS),
        *((case, REST) for case in OTHERS),
        *((case, COMPILED) for case in (NANO, *OTHERS)),
    ),
    "cpu": tuple(
        (
            Case(model="vitp-nano", batch=batch, load=160),
            ("eager", "stacked:1", "stacked:4", "stacked:16"),
        )
        for batch in (16, 64)
    ),
}
"""What is measured where, the most important first."""


@dataclass(frozen=True)
class Effort:
    """How much is measured."""

    packed: tuple[int, ...] = (8, 16)
    """Processes."""
    seconds: float = 5.0
    """Of the window of packed processes."""
    quick: bool = False


QUICK = Effort(packed=(2,), seconds=1.0, quick=True)


def main(argv: list[str] | None = None) -> int:
    """Measure, print, judge."""
    given, start = parsed(argv), time.monotonic()
    deadline, device = start + given.budget, given.device
    effort = QUICK if given.quick else Effort()
    peak = peak_flops(device)
    with Measurer("benchmarks.engine_row", [device], deadline) as measurer:
        rows, edf = measured(Rows(device, peak, measurer), effort)
    aims = engine_aims.judged(rows if device == "cuda" else [], edf)  # they are a GPU's
    if device == "cuda":
        rows.sort(key=place)
    else:
        why = "--device cpu" if torch.cuda.is_available() else NO_GPU
        rows += sorted(unmeasured(why), key=place)
    if given.json:
        facts = run_facts(MODULE, argv, device, start) | {"mfu_of": peak_of(peak, device)}
        rest = {"includes": INCLUDES, "rows": list(map(asdict, rows)), "aims": aims}
        print(json.dumps(facts | rest, indent=2))
    else:
        show(rows, aims, device, peak_of(peak, device))
    return 0 if all(aim["met"] for aim in aims if aim["kind"] == "aim") else 1


def parsed(argv: list[str] | None) -> argparse.Namespace:
    """The options; exits with 2 where they cannot be."""
    is_cuda = torch.cuda.is_available()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=PLANS, default="cuda" if is_cuda else "cpu")
    parser.add_argument("--budget", type=float, default=BUDGET, metavar="SECONDS")
    parser.add_argument("--quick", action="store_true", help="the first case alone, a few steps")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(argv)
    if given.device == "cuda" and not is_cuda:
        parser.error(f"--device: got cuda, there is {NO_GPU}")
    return given


def plan(device: str, *, quick: bool) -> Iterator[tuple[Case, str]]:
    """What is measured, in order."""
    first = PLANS[device][0][0]
    for case, names in PLANS[device]:
        if quick and case != first:
            continue
        some = replace(case, load=2, repeats=1) if quick else case
        yield from ((some, name) for name in names)


def measured(rows: Rows, effort: Effort) -> tuple[list[Row], dict[str, dict[str, Any]]]:
    """The rows of this device, and what was found of an EDF by each engine."""
    found: list[Row] = []
    edf: dict[str, dict[str, Any]] = {}
    for case, name in plan(rows.device, quick=effort.quick):
        if name in EDF:
            engine = parse_engine(name.removeprefix("edf "))
            asked = request(case, engine) | {"what": "edf"}
            edf[str(engine)] = asked | rows.measurer.ask(asked, ROW_SECONDS)
            continue
        for row in rows_of(case, name, rows, effort):
            found.append(row)
            print(line(row), file=sys.stderr, flush=True)  # minutes are long without a word
    return found, edf


def rows_of(case: Case, name: str, rows: Rows, effort: Effort) -> list[Row]:
    """Measure one engine of the plan, or packed processes, which are several rows."""
    return packed(case, rows, effort) if name == PACKED else [rows.of(case, name)]


def packed(case: Case, rows: Rows, effort: Effort) -> list[Row]:
    """So many eager processes at once."""
    found = [
        Row(model=case.model, batch=case.batch, engine=f"{count} eager processes")
        for count in effort.packed
    ]
    if time.monotonic() >= rows.measurer.deadline:
        return [replace(row, fault=OUT_OF_TIME) for row in found]
    rows.measurer.close()  # the device is theirs
    together = steps_a_second(
        case.model,
        case.batch,
        rows.device,
        effort.packed,
        seconds=effort.seconds,
        deadline=min(rows.measurer.deadline, time.monotonic() + rows.most),
    )
    return [
        replace(row, fault=rate)
        if isinstance(rate, str)
        else rows.told(replace(row, steps=round(rate * effort.seconds)), 1 / rate)
        for row, rate in zip(found, together.values(), strict=True)
    ]


def unmeasured(why: str) -> Iterator[Row]:
    """The rows of a GPU, where there is none."""
    for case, name in plan("cuda", quick=False):
        counts = [f"{count} eager processes" for count in Effort().packed]
        for engine in counts if name == PACKED else [name] * (name not in EDF):
            yield Row(model=case.model, batch=case.batch, engine=engine, fault=why)


def place(row: Row) -> tuple[int, int]:
    """Of a GPU's row in the table: by case as planned, packed processes last."""
    cases = [(case.model, case.batch) for case, _ in PLANS["cuda"]]
    of_engine = ENGINES.index(row.engine) if row.engine in ENGINES else len(ENGINES)
    return cases.index((row.model, row.batch)), of_engine


INCLUDES = (
    "ms/step: of a trial, its share of a step of all; images/s: of all trials. Left out: building, "
    "captures, first steps. Counted in: what follows an epoch of the steps named in the JSON, an "
    "evaluation of 64 images among it. Packed: steps alone, in one window for all."
)


def line(row: Row) -> str:
    """Of the table."""
    head = f"{row.model:14} {row.batch:5}  {row.engine:18}"
    if row.ms is None or row.images is None:
        return f"{head} {NOT_MEASURED}: {row.fault}"
    mfu = "-" if row.mfu is None else f"{100 * row.mfu:.1f}%"
    memory = "-" if row.memory is None else f"{row.memory:.1f} G"
    return f"{head} {row.ms:8.3f} {row.images:9,.0f} {mfu:>7} {memory:>7}"


def show(
    rows: Sequence[Row], aims: Sequence[dict[str, Any]], device: str, peak: dict[str, Any]
) -> None:
    """The table; neighbours without a number for one reason are one line."""
    where = machine(device)
    print(f"{where['device']}, torch {where['torch']}, CUDA {where['cuda'] or '-'}")
    print(peak_in_words(peak))
    print("model          batch  engine              ms/step  images/s     MFU  memory")
    for key, some in groupby(rows, key=lambda row: (row.model, row.batch, row.fault)):
        group = list(some)
        if not key[2] or len(group) == 1:
            print(*map(line, group), sep="\n")
            continue
        print(line(replace(group[0], engine=f"{len(group)} engines")))
        names = wrap(", ".join(row.engine for row in group), 76)
        print(*(f"    {part}" for part in names), sep="\n")
    print(*wrap(INCLUDES, 100), sep="\n")
    print(*map(engine_aims.in_words, aims), sep="\n")


if __name__ == "__main__":
    sys.exit(main())
