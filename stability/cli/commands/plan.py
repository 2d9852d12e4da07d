"""`stability plan`: how many trials, with what chance of an answer, at what cost."""

import json
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from stability.cli.commands.edf import declared_loss, refresh
from stability.cli.output.tables import TERMINAL_WIDTH, print_assumed, sample_notes
from stability.cli.study.code import outdated_code
from stability.cli.study.parsing import FaultList, not_one_of, parse_number
from sweeps.errors import SpecError
from sweeps.system.trust import printable
from sweeps.words import count

if TYPE_CHECKING:
    import pandas as pd

    from analysis import Estimand, Sample

MIN_HALF_WIDTH = 0.02  # of the half-widths: the search for the exact bands takes seconds there
TARGETS = {
    "share": "one share at a declared distance",
    "difference": "difference of two shares (trials of each)",
    "ks": "all errors at once: band ks",
    "dkw": "all errors at once: band dkw",
    "ld": "all errors at once: band ld, at its widest",
}


@dataclass(frozen=True, kw_only=True)
class PlanOptions:
    """The options as they were typed."""

    half_width: str = "0.1"
    confidence: str = "0.95"
    within: str | None = None
    policy: str = "chance"
    by: str | None = None
    draws: str | None = None
    workers: str | None = None
    pool: bool = False


@dataclass(frozen=True, kw_only=True)
class CheckedPlan:
    """The options, checked."""

    half_widths: list[float]
    confidence: float
    within: float | None
    policy: str
    by: list[str] | None
    draws: int | None
    """None for as many as the pilot has."""
    workers: int
    pool: bool = False


def show_plan(runs: list[Path], options: PlanOptions, *, as_json: bool) -> None:
    """Print trials for half-widths; of pilot runs also power and cost. Raises SpecError."""
    from analysis.planning import trials_for

    plan = check_plan_options(runs, options)
    rows = [
        {"half_width": w, **{of: trials_for(w, of, plan.confidence) for of in TARGETS}}  # type: ignore[arg-type]
        for w in plan.half_widths
    ]
    found: dict[str, Any] = {"confidence": plan.confidence, "half_widths": rows}
    if runs:
        found |= _of_pilot(runs, plan)
    if as_json:
        print(json.dumps(found, indent=2))
        return
    lines = _table_of_widths(found)
    if runs:
        lines += ["", *_describe_power(found), "", *_describe_cost(found)]
    print(printable("\n".join(lines)))
    print_assumed(found.get("assumed", []))


def check_plan_options(runs: list[Path], options: PlanOptions) -> CheckedPlan:
    """Check the options. Raises SpecError with every fault."""
    from analysis.table.policies import MEANINGS

    faults = FaultList()
    widths = [
        _between(faults, "--half-width", text.strip(), (MIN_HALF_WIDTH, 0.5))
        for text in options.half_width.split(",")
    ]
    confidence = _between(faults, "--confidence", options.confidence, (0.5, 0.9999))
    within = None if options.within is None else faults.amount("--within", options.within, low=0)
    if options.policy not in MEANINGS:
        faults.add("--policy", not_one_of(options.policy, MEANINGS))
    counts = {"--draws": options.draws, "--workers": options.workers}
    whole = {o: faults.whole(o, text, low=1) for o, text in counts.items() if text is not None}
    if not runs:
        for option, text in {**counts, "--by": options.by}.items():
            if text is not None:
                faults.add(option, f"got {text!r}, but no pilot run to plan from")
    faults.found += [fault for run in runs if (fault := refresh(run))]
    if faults.found or confidence is None:
        raise SpecError(faults.found)
    return CheckedPlan(
        half_widths=[w for w in widths if w is not None],
        confidence=confidence,
        within=within,
        policy=options.policy,
        by=None if options.by is None else [name.strip() for name in options.by.split(",")],
        draws=whole.get("--draws"),
        workers=whole.get("--workers") or 1,
        pool=options.pool,
    )


def _between(faults: FaultList, option: str, text: str, ends: tuple[float, float]) -> float | None:
    value = parse_number(text)
    if value is not None and ends[0] <= value <= ends[1]:
        return value
    faults.add(option, f"got {text!r}, allowed is a number from {ends[0]:g} to {ends[1]:g}")
    return None


def _of_pilot(runs: list[Path], plan: CheckedPlan) -> dict[str, Any]:
    """Power and cost of the pilot's groups. Raises SpecError."""
    from analysis import TableError
    from analysis.planning import WANTED_POWER, cost, seconds_by_group

    table, groups, estimand = _pilot_question(runs, plan)
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
        "notes": [*sample_notes(groups), *outdated_code(runs)],
        "assumed": table.attrs.get("notes", []),
    }
    try:
        seconds = seconds_by_group(table)
    except TableError as error:
        return {**found, "cost": None, "no_cost": error.faults[0]}
    total = cost(seconds, draws, plan.workers, plan.confidence)
    rows = json.loads(seconds.rename_axis("group").reset_index().to_json(orient="records"))
    whole = {name: None if x != x else x for name, x in total._asdict().items()}  # NaN: timed once
    return {**found, "cost": {"seconds": whole, "groups": rows}}


def _pilot_question(
    runs: list[Path], plan: CheckedPlan
) -> "tuple[pd.DataFrame, list[Sample], Estimand]":
    """The table of the pilots, its groups, and the question. Raises SpecError."""
    from analysis import Estimand, TableError, load, samples
    from analysis.comparison.confirmed import confirmed, peaks_of
    from analysis.comparison.strata import with_peaks
    from analysis.table.units import near_distance, unit_of

    try:
        table = load(runs, pool=plan.pool)
        d = declared_loss(runs) if plan.within is None else plan.within
        unit = unit_of(table)
        estimand = Estimand(d=near_distance(d, unit), confidence=plan.confidence, unit=unit)
        groups = samples(table, plan.policy, by=plan.by)  # type: ignore[arg-type]
        peaks = peaks_of(groups, [peak for run in runs for peak in confirmed(run)])
    except TableError:
        raise
    except ValueError as error:
        raise SpecError([str(error)]) from error
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


def _table_of_widths(found: dict[str, Any]) -> list[str]:
    columns = found["half_widths"]
    head = f"trials for {100 * found['confidence']:g}% intervals of half-width"
    lines = [f"{head:<46}" + "".join(f"{column['half_width']:>8g}" for column in columns)]
    lines += [
        f"  {text:<44}" + "".join(f"{column[of]:>8}" for column in columns)
        for of, text in TARGETS.items()
    ]
    return lines


def _describe_power(found: dict[str, Any]) -> list[str]:
    from analysis.planning import MAX_TRIALS

    draws, wanted = found["draws"], f"{100 * found['wanted']:g}%"
    notes = [line for note in found["notes"] for line in wrap(note, TERMINAL_WIDTH)]
    if not found["power"]:
        return [*wrap(f"power: {found['no_power']}", TERMINAL_WIDTH), *notes]
    held = "" if found["fixed"] else "in the study these references are to be held fixed; "
    question = f"power to show who has more {found['question']}; {held}policy {found['policy']!r}"
    lines = wrap(question, TERMINAL_WIDTH)
    head = f"  {'shares':>14}{'power at ' + str(draws):>18}{'trials for ' + wanted:>18}"
    for pair in found["power"]:
        lines += wrap(
            f"{pair['a']} (n = {pair['n_a']}), {pair['b']} (n = {pair['n_b']})", TERMINAL_WIDTH
        )
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
    return [*lines, *wrap(legend, TERMINAL_WIDTH), *notes]


def _as_pilot(pair: dict[str, Any], row: dict[str, Any]) -> bool:
    """Whether a scenario has a difference, of the same sign as the pilot's."""
    seen = pair["pilot"]["share_a"] - pair["pilot"]["share_b"]
    return bool(seen * (row["share_a"] - row["share_b"]) > 0)


def _describe_cost(found: dict[str, Any]) -> list[str]:
    from stability.cli.output.progress import duration

    if found["cost"] is None:
        return wrap(f"cost: {found['no_cost']}", TERMINAL_WIDTH)
    groups, total = found["cost"]["groups"], found["cost"]["seconds"]
    ends = (
        f" ({duration(total['low'])} to {duration(total['high'])})"
        if total["low"] is not None
        else ""
    )
    lines = wrap(
        f"training {count(found['draws'], 'draw')} of each takes "
        f"{duration(total['estimate'])}{ends} with {count(found['workers'], 'worker')}, "
        "if a trial takes as long as in the pilot:",
        TERMINAL_WIDTH,
    )
    for row in groups:
        spread = "" if row["sd"] is None else f", sd {row['sd']:.2f} s"
        lines.append(
            f"  {row['group']}: {row['mean']:.2f} s a trial{spread} ({row['timed']} timed)"
        )
    return lines


def _share(value: float) -> str:
    return f"{value:.2f}".lstrip("0") if value < 0.995 else "1.0"
