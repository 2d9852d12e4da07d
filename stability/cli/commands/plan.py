"""`stability plan`: how many trials, with what chance of an answer, at what cost."""

import json
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from stability.cli.commands.edf import declared_loss, refresh
from stability.cli.output.tables import WIDTH, notes
from stability.cli.study.code import outdated
from stability.cli.study.parsing import Faults, not_one_of, number
from sweeps.errors import SpecError
from sweeps.system.trust import printable

if TYPE_CHECKING:
    import pandas as pd

    from analysis import Estimand, Sample

NARROWEST = 0.02  # of the half-widths: the search for the exact bands takes seconds there
HALF_WIDTH_ROWS = {
    "share": "one share at a declared distance",
    "difference": "difference of two shares (trials of each)",
    "ks": "all errors at once: band ks",
    "dkw": "all errors at once: band dkw",
    "ld": "all errors at once: band ld, at its widest",
}


@dataclass(frozen=True, kw_only=True)
class PlanArguments:
    """The options as they were typed."""

    half_width: str = "0.1"
    confidence: str = "0.95"
    within: str | None = None
    policy: str = "chance"
    by: str | None = None
    draws: str | None = None
    workers: str | None = None


@dataclass(frozen=True, kw_only=True)
class PlanOptions:
    """The options, checked."""

    half_widths: list[float]
    confidence: float
    within: float | None
    policy: str
    by: list[str] | None
    draws: int | None
    """None for as many as the pilot has."""
    workers: int


def show_plan(runs: list[Path], asked: PlanArguments, *, as_json: bool) -> None:
    """Print trials for half-widths; of pilot runs also power and cost. Raises SpecError."""
    plan = read_options(runs, asked)
    found: dict[str, Any] = {"confidence": plan.confidence, "half_widths": _half_widths(plan)}
    if runs:
        found |= _of_pilot(runs, plan)
    print(json.dumps(found, indent=2) if as_json else printable(_in_words(found)))


def read_options(runs: list[Path], asked: PlanArguments) -> PlanOptions:
    """Check the options. Raises SpecError with every fault."""
    from analysis.table.policies import MEANINGS

    faults = Faults()
    widths = [
        _between(faults, "--half-width", text.strip(), (NARROWEST, 0.5))
        for text in asked.half_width.split(",")
    ]
    confidence = _between(faults, "--confidence", asked.confidence, (0.5, 0.9999))
    within = None if asked.within is None else faults.amount("--within", asked.within, low=0)
    if asked.policy not in MEANINGS:
        faults.add("--policy", not_one_of(asked.policy, MEANINGS))
    counts = {"--draws": asked.draws, "--workers": asked.workers}
    whole = {o: faults.whole(o, text, low=1) for o, text in counts.items() if text is not None}
    if not runs:
        for option, text in {**counts, "--by": asked.by}.items():
            if text is not None:
                faults.add(option, f"got {text!r}, but no pilot run to plan from")
    faults.found += [fault for run in runs if (fault := refresh(run))]
    if faults.found or confidence is None:
        raise SpecError(faults.found)
    return PlanOptions(
        half_widths=[w for w in widths if w is not None],
        confidence=confidence,
        within=within,
        policy=asked.policy,
        by=None if asked.by is None else [name.strip() for name in asked.by.split(",")],
        draws=whole.get("--draws"),
        workers=whole.get("--workers") or 1,
    )


def _between(faults: Faults, option: str, text: str, ends: tuple[float, float]) -> float | None:
    value = number(text)
    if value is not None and ends[0] <= value <= ends[1]:
        return value
    faults.add(option, f"got {text!r}, allowed is a number from {ends[0]:g} to {ends[1]:g}")
    return None


def _half_widths(plan: PlanOptions) -> list[dict[str, Any]]:
    from analysis.planning import trials_for

    return [
        {"half_width": w, **{of: trials_for(w, of, plan.confidence) for of in HALF_WIDTH_ROWS}}  # type: ignore[arg-type]
        for w in plan.half_widths
    ]


def _of_pilot(runs: list[Path], plan: PlanOptions) -> dict[str, Any]:
    """Power and cost of the pilot's groups. Raises SpecError."""
    from analysis import TableError
    from analysis.planning import WANTED_POWER, cost, seconds_by_group

    table, groups, estimand = _asked_of(runs, plan)
    draws = plan.draws or max(group.trials for group in groups)
    powers, no_power = [], "one group: no difference to look for"
    try:
        powers = [_power(*two, draws, estimand) for two in combinations(groups, 2)]
    except ValueError as error:  # points that are not independent, an empty prefix
        no_power = str(error)
    found = {
        "question": estimand.wording,
        "fixed": estimand.fixed,
        "policy": groups[0].policy,
        "draws": draws,
        "workers": plan.workers,
        "wanted": WANTED_POWER,
        "power": powers,
        "no_power": None if powers else no_power,
        "notes": [*notes(groups), *outdated(runs)],
    }
    try:
        seconds = seconds_by_group(table)
    except TableError as error:
        return {**found, "cost": None, "no_cost": error.faults[0]}
    total = cost(seconds, draws, plan.workers, plan.confidence)
    rows = json.loads(seconds.rename_axis("group").reset_index().to_json(orient="records"))
    whole = {name: None if x != x else x for name, x in total._asdict().items()}  # NaN: timed once
    return {**found, "cost": {"seconds": whole, "groups": rows}}


def _asked_of(runs: list[Path], plan: PlanOptions) -> "tuple[pd.DataFrame, list[Sample], Estimand]":
    """The table of the pilots, its groups, and the question. Raises SpecError."""
    from analysis import Estimand, load, samples
    from analysis.comparison.confirmed import confirmed, peaks_of
    from analysis.comparison.strata import with_peaks
    from analysis.table.units import near_distance, unit_of

    try:
        table = load(runs)
        d = declared_loss(runs) if plan.within is None else plan.within
        unit = unit_of(table)
        estimand = Estimand(d=near_distance(d, unit), confidence=plan.confidence, unit=unit)
        groups = samples(table, plan.policy, by=plan.by)  # type: ignore[arg-type]
        peaks = peaks_of(groups, [peak for run in runs for peak in confirmed(run)])
    except ValueError as error:
        raise SpecError(list(getattr(error, "faults", [str(error)]))) from error
    return table, groups, with_peaks(estimand, groups, peaks)


def _power(a: "Sample", b: "Sample", draws: int, estimand: "Estimand") -> dict[str, Any]:
    from analysis.planning import power_from_pilot

    scenarios = power_from_pilot(a, b, draws, estimand)
    return {
        "a": a.label,
        "b": b.label,
        "n_a": a.n,
        "n_b": b.n,
        **{name: scenario._asdict() for name, scenario in scenarios.items()},
    }


def _in_words(found: dict[str, Any]) -> str:
    lines = _table_of_widths(found)
    if "power" in found:
        lines += ["", *_power_in_words(found), "", *_cost_in_words(found)]
    return "\n".join(lines)


def _table_of_widths(found: dict[str, Any]) -> list[str]:
    columns = found["half_widths"]
    head = f"trials for {100 * found['confidence']:g}% intervals of half-width"
    lines = [f"{head:<46}" + "".join(f"{column['half_width']:>8g}" for column in columns)]
    lines += [
        f"  {text:<44}" + "".join(f"{column[of]:>8}" for column in columns)
        for of, text in HALF_WIDTH_ROWS.items()
    ]
    return lines


def _power_in_words(found: dict[str, Any]) -> list[str]:
    from analysis.planning import MAX_TRIALS

    draws, wanted = found["draws"], f"{100 * found['wanted']:g}%"
    notes = [line for note in found["notes"] for line in wrap(note, WIDTH)]
    if not found["power"]:
        return [*wrap(f"power: {found['no_power']}", WIDTH), *notes]
    held = "" if found["fixed"] else "in the study these references are to be held fixed; "
    question = f"power to show who has more {found['question']}; {held}policy {found['policy']!r}"
    lines = wrap(question, WIDTH)
    head = f"  {'shares':>14}{'power at ' + str(draws):>18}{'trials for ' + wanted:>18}"
    for pair in found["power"]:
        lines += wrap(f"{pair['a']} (n = {pair['n_a']}), {pair['b']} (n = {pair['n_b']})", WIDTH)
        lines.append(f"  {'':<12}{head}")
        for name in ("pessimistic", "pilot", "optimistic"):
            row = pair[name]
            shares = f"{_share(row['share_a'])}  {_share(row['share_b'])}"
            trials = row["trials"] or (f"over {MAX_TRIALS}" if _as_pilot(pair, row) else "none")
            lines.append(f"  {name:<12}  {shares:>14}{_share(row['power']):>18}{trials:>18}")
    legend = (
        "pessimistic, optimistic: the near and the far end of the pilot's "
        f"{100 * found['confidence']:g}% interval of the difference; samples taken as independent"
    )
    if any(not _as_pilot(pair, pair["pessimistic"]) for pair in found["power"]):
        legend += "; none: the pilot leaves open who has more"
    return [*lines, *wrap(legend, WIDTH), *notes]


def _as_pilot(pair: dict[str, Any], row: dict[str, Any]) -> bool:
    """Whether a scenario has a difference, of the same sign as the pilot's."""
    seen = pair["pilot"]["share_a"] - pair["pilot"]["share_b"]
    return bool(seen * (row["share_a"] - row["share_b"]) > 0)


def _cost_in_words(found: dict[str, Any]) -> list[str]:
    from stability.cli.output.progress import duration

    if found["cost"] is None:
        return wrap(f"cost: {found['no_cost']}", WIDTH)
    groups, total = found["cost"]["groups"], found["cost"]["seconds"]
    ends = (
        f" ({duration(total['low'])} to {duration(total['high'])})"
        if total["low"] is not None
        else ""
    )
    one = "1 worker" if found["workers"] == 1 else f"{found['workers']} workers"
    lines = wrap(
        f"training {found['draws']} draws of each takes {duration(total['estimate'])}{ends} with "
        f"{one}, if a trial takes as long as in the pilot:",
        WIDTH,
    )
    for row in groups:
        spread = "" if row["sd"] is None else f", sd {row['sd']:.2f} s"
        lines.append(
            f"  {row['group']}: {row['mean']:.2f} s a trial{spread} ({row['timed']} timed)"
        )
    return lines


def _share(value: float) -> str:
    return f"{value:.2f}".lstrip("0") if value < 0.995 else "1.0"
