"""The aims of `benchmarks.engine`, beside what was reached, and the estimate of a whole EDF."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from benchmarks.engine_row import Row
from benchmarks.gpu import NOT_MEASURED, verdict

MICRO, NANO = ("vitp-micro+d12", 128), ("vitp-nano", 64)
EDF_MINUTES = 25.0
EDF_TRIALS, EDF_EPOCHS = 64, 30
EDF_TRAINED = 50_000  # images of an epoch
PARTS = ("steps", "evaluations", "beginnings", "captures")

Value = Callable[[Sequence[Row]], float | None]


def best_over(case: tuple[str, int], rival: str, mine: str = "") -> Value:
    """How many times as fast the best engine is as the best rival; `mine` names the one engine."""

    def value(rows: Sequence[Row]) -> float | None:
        ours, theirs = fastest(rows, case, mine or "ours"), fastest(rows, case, rival)
        return theirs / ours if ours and theirs else None

    return value


def best_images(rows: Sequence[Row]) -> float | None:
    """Images a second of micro by the best engine."""
    ours = fastest(rows, MICRO, "ours")
    return MICRO[1] / (ours / 1e3) if ours else None


AIMS: tuple[tuple[str, str, Value, float, str], ...] = (
    ("aim", "micro, batch 128: best over eager", best_over(MICRO, "eager"), 6.0, "x"),
    ("aim", "micro, batch 128: best over packed", best_over(MICRO, "packed"), 1.3, "x"),
    ("aim", "nano: stacked:64 over eager", best_over(NANO, "eager", "stacked:64"), 30.0, "x"),
    ("moonshot", "micro, batch 128: best over eager", best_over(MICRO, "eager"), 8.0, "x"),
    ("moonshot", "micro, batch 128: images/s of the best", best_images, 135_000.0, ""),
    ("moonshot", "nano: stacked:64 over eager", best_over(NANO, "eager", "stacked:64"), 45.0, "x"),
)
"""Of the issue that asks for an H200. 135,000 images/s is what its memory allows."""


def fastest(rows: Sequence[Row], case: tuple[str, int], kind: str) -> float | None:
    """Milliseconds per step and trial of the fastest of a kind: `ours`, `packed` or an engine."""
    found = [
        row.ms
        for row in rows
        if (row.model, row.batch) == case
        and row.ms is not None
        and kind in (row.engine, kind_of(row))
    ]
    return min(found, default=None)


def kind_of(row: Row) -> str:
    """`eager`, `packed` or `ours`."""
    if row.engine == "eager":
        return "eager"
    return "packed" if "processes" in row.engine else "ours"


def judged(rows: Sequence[Row], edf: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Each aim and moonshot with what was reached; None where it was not measured.

    `edf`: by engine, what `engine_row.edf_seconds` found.
    """
    found: list[dict[str, Any]] = []
    for kind, name, value_of, least, unit in AIMS:
        value = value_of(rows)
        met = value is not None and value >= least
        found.append(
            {"kind": kind, "aim": name, "value": value, "least": least, "unit": unit, "met": met}
        )
    found.insert(3, judged_edf(edf))
    return found


def judged_edf(edf: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The aim of the EDF, from the engine by which it takes the least time."""
    parts = {name: estimated(found) for name, found in edf.items() if "fault" not in found}
    best = min(parts, key=lambda name: sum(parts[name].values()), default=None)
    value = sum(parts[best].values()) if best else None
    return {
        "kind": "aim",
        "aim": f"EDF of {EDF_TRIALS} micro trials, {EDF_EPOCHS} epochs of {EDF_TRAINED:,} images",
        "value": value,
        "most": EDF_MINUTES,
        "unit": " min",
        "met": value is not None and value < EDF_MINUTES,
        "estimated_from": best,
        "minutes": parts,
        "measured": edf,
    }


def estimated(found: Mapping[str, Any]) -> dict[str, float]:
    """Minutes of each part of an EDF that one process trains, from seconds that were measured.

    Trainings of K trials at a time last a + e epochs, whose slope is that of its steps and of the
    evaluation at an epoch's end. `beginnings` are models, captures of stacks, the first and the
    last evaluation, of each K trials; `captures` what is paid once.

    >>> parts = estimated({"seconds": 1e-3, "few": 10, "trials": 1, "batch": 128,
    ...                    "first": 3.0, "again": 1.0, "longer": 1.3})
    >>> {name: round(minutes, 3) for name, minutes in parts.items()}
    {'steps': 12.48, 'evaluations': 4.48, 'beginnings': 0.907, 'captures': 0.033}
    """
    steps_of_few = found["few"] * found["trials"] * found["seconds"]
    slope = (found["longer"] - found["again"]) / 2
    evaluation, beginning = max(slope - steps_of_few, 0.0), max(found["again"] - slope, 0.0)
    cohorts = -(-EDF_TRIALS // found["trials"])
    steps = EDF_TRIALS * EDF_EPOCHS * (EDF_TRAINED // found["batch"])
    seconds = (
        steps * found["seconds"],
        cohorts * EDF_EPOCHS * evaluation,
        cohorts * beginning,
        max(found["first"] - found["again"], 0.0),
    )
    return {part: value / 60 for part, value in zip(PARTS, seconds, strict=True)}


def in_words(aim: Mapping[str, Any]) -> str:
    """A line of the table; of the EDF two."""
    if "least" in aim:
        said = verdict(aim["value"], aim["least"], aim["unit"], aim["kind"])
        return f"{aim['aim']}: {said}"
    if aim["value"] is None:
        return f"{aim['aim']}: {NOT_MEASURED}, aim below {aim['most']:g} min"
    parts = aim["minutes"][aim["estimated_from"]]
    terms = " + ".join(f"{part} {minutes:.1f}" for part, minutes in parts.items())
    said = f"{aim['value']:.1f} min, aim below {aim['most']:g} min"
    return (
        f"{aim['aim']}: {said}: {'met' if aim['met'] else 'missed'}\n"
        f"  estimated from {aim['estimated_from']}, the recipe micro: {terms}"
    )
