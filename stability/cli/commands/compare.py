"""`stability compare`: which model is more stable, in sentences or as JSON."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stability.cli.commands.edf import refresh
from stability.cli.output.tables import (
    console,
    escape_cell,
    grid_of,
    print_assumed,
    print_wrapped,
)
from stability.cli.study.code import outdated_code
from stability.cli.study.parsing import FaultList, parse_number
from sweeps.errors import SpecError, StabilityError
from sweeps.store.run_directory import RunDirectory
from sweeps.study.study import Estimand as Declared

if TYPE_CHECKING:
    import pandas as pd

    from analysis import Comparison, Estimand
    from analysis.comparison.strata import Stratum
    from analysis.table.units import Unit

NAMED = ("confirmed", "sample-min")
SECONDARY_LABELS = {
    "area": "area under the curves up to {limit}, {a} less {b}",
    "ks": "largest distance of the curves (of {of})",
    "p_a_better": "P({a} better) + ties/2 (of {of})",
    "tau_b": "tau-b: configurations rank alike",
}
PERMUTATION_SEED = 0  # of the secondary permutation test; its p-value moves by a percent or so


@dataclass(frozen=True)
class CompareOptions:
    """Options of `stability compare`, as they were typed."""

    by: str | None
    reference: str | None
    within: str | None
    policy: str | None
    pilot: str
    confidence: str
    pool: bool = False


def show_comparison(runs: list[Path], options: CompareOptions, *, as_json: bool) -> None:
    """Compare the groups of `runs` and print what came out. Raises SpecError with every fault."""
    from analysis import load
    from analysis.table.units import unit_of

    faults = FaultList([fault for run in runs if (fault := refresh(run))])
    declared = declared_by(faults, runs)
    table = None if faults.found else load(runs, pool=options.pool)
    unit = "percent" if table is None else unit_of(table)
    estimand, policy = estimand_of(faults, options, declared, unit)
    if faults.found or estimand is None or table is None:
        raise SpecError(faults.found)
    strata, absent = compared(table, runs, options, estimand, policy)
    notes = [*absent, *outdated_code(runs)]
    if as_json:
        print(json.dumps([as_data(stratum, notes) for stratum in strata], indent=2))
        return
    for place, stratum in enumerate(strata):
        print("\n" if place else "", end="")
        print_stratum(stratum)
    for line in notes:
        print_wrapped(f"Note: {line}")
    print_assumed(table.attrs.get("notes", []))


def declared_by(faults: FaultList, runs: Sequence[Path]) -> Declared:
    """The primary estimand that the studies of the run directories declare."""
    found: dict[Path, Declared] = {}
    for run in map(RunDirectory, runs):
        if run.exists():
            try:
                found[run.path] = run.read_study().primary
            except StabilityError:
                continue  # said already, when its views were rebuilt
    of_loss = {path.name: d.policy == "beyond" for path, d in found.items()}
    if len(set(of_loss.values())) > 1:
        listed = ", ".join(f"{name}: {'a loss' if x else 'percent'}" for name, x in of_loss.items())
        faults.add(
            "runs", f"their errors are in different units ({listed}); compare them separately"
        )
    elif len({declared.model_dump_json() for declared in found.values()}) > 1:
        listed = "; ".join(f"{run.name}: {d}" for run, d in found.items())
        faults.add("runs", f"they declare different questions ({listed}); compare them apart")
    return next(iter(found.values()), Declared())


def estimand_of(
    faults: FaultList, options: CompareOptions, declared: Declared, unit: "Unit" = "percent"
) -> tuple["Estimand | None", str]:
    """The options in numbers, and the policy."""
    from analysis import Estimand
    from analysis.table.policies import policies_of

    policy = options.policy or declared.policy
    if options.policy is not None:
        faults.one_of("--policy", policy, policies_of(unit))
    if options.within is None and unit == "raw" and declared.policy != "beyond":
        faults.add("--within", "needed for a loss: the distance that counts as near, in its unit")
    d = faults.amount("--within", options.within or f"{declared.within!r}", low=0)
    confidence = faults.amount("--confidence", options.confidence, low=0, high=1)
    pilot = faults.whole("--pilot", options.pilot, low=0)
    reference = reference_of(faults, options.reference)
    if pilot and options.reference not in (None, "sample-min"):
        faults.add("--pilot", "it gives the reference: leave --reference out")
    if faults.found or d is None or confidence is None or pilot is None:
        return None, policy
    try:
        asked = Estimand(d=d, confidence=confidence, pilot=pilot, unit=unit, **reference)
        return asked, policy
    except ValueError as error:
        faults.found.append(f"--{error}")
        return None, policy


def reference_of(faults: FaultList, text: str | None) -> dict[str, Any]:
    """`--reference` as arguments of an estimand; a name is resolved when the groups are known."""
    if text is None or text in NAMED:
        return {}
    values: dict[str, float] = {}
    for part in text.split(","):
        label, _, value = part.rpartition("=")
        percent = parse_number(value)
        if percent is None or (not label and "," in text):
            faults.add(
                "--reference",
                f"got {text!r}, allowed is {', '.join(NAMED)}, a percentage such as 5.2, or one "
                "for each group such as vitc-nano=5.2,vitp-nano=7",
            )
            return {}
        values[label.strip()] = percent
    return {"reference": values.get("", values), "named": "given"}


def compared(
    table: "pd.DataFrame",
    runs: list[Path],
    options: CompareOptions,
    estimand: "Estimand",
    policy: str,
) -> tuple[list["Stratum"], list[str]]:
    """The comparisons, and which strata have none. Raises SpecError where the tables admit none."""
    import numpy as np

    from analysis import TableError
    from analysis.comparison.confirmed import confirmed
    from analysis.comparison.strata import compare_strata, left_out

    try:
        strata = compare_strata(
            table,
            estimand,
            by=options.by,
            policy=policy,  # type: ignore[arg-type]
            peaks=[peak for run in runs for peak in confirmed(run)],
            reference=options.reference,
            rng=np.random.default_rng(PERMUTATION_SEED),
        )
        return strata, left_out(table, options.by)
    except TableError:
        raise
    except ValueError as error:
        raise SpecError([str(error)]) from error


def print_stratum(stratum: "Stratum") -> None:
    """Two groups in sentences; more as a table of all pairs, and the peaks."""
    print_wrapped(stratum.title)
    if stratum.together is None:
        for comparison in stratum.pairs:
            print_wrapped(str(comparison))
            print_views(comparison)
            print_secondary(comparison)
        return
    estimand, together = stratum.pairs[0].estimand, stratum.together
    print_wrapped(
        f"Stability: share of each {estimand.wording}. Verdicts and "
        f"{100 * estimand.confidence:g}% intervals hold for all {len(stratum.pairs)} pairs "
        f"together ({together.attrs['by']})."
    )
    print_pairs(stratum)
    for comparison in stratum.pairs:
        print_wrapped(comparison.peak)
    for note in dict.fromkeys(note for comparison in stratum.pairs for note in comparison.notes):
        print_wrapped(f"Note: {note}")


def print_pairs(stratum: "Stratum") -> None:
    """A row per pair: both shares, their difference, its interval, the verdict."""
    assert stratum.together is not None
    grid = grid_of("pair", "share", "share", "difference", "interval", "more")
    together = stratum.together
    differences = together[["difference", "low", "high"]].to_numpy(dtype=float)
    rows = zip(stratum.pairs, differences, together["verdict"], strict=True)
    for comparison, difference, verdict in rows:
        a, b = comparison.decision.share_a.estimate, comparison.decision.share_b.estimate
        more = {"A": comparison.a, "B": comparison.b}.get(verdict, "unresolved")
        grid.add_row(
            escape_cell(f"{comparison.a} - {comparison.b}"),
            f"{a:.3f}",
            f"{b:.3f}",
            *with_ends(*difference),
            escape_cell(more),
        )
    console().print(grid)


def print_views(comparison: "Comparison") -> None:
    """The primary difference in the other views: policies, the validation error."""
    grid = grid_of("primary difference under", "difference", "interval", "more stable")
    names = {"A": comparison.a, "B": comparison.b}
    for view, row in comparison.sensitivity.iterrows():
        verdict = names.get(str(row["verdict"]), str(row["verdict"]))
        grid.add_row(
            escape_cell(view),
            *with_ends(row["difference"], row["low"], row["high"]),
            escape_cell(verdict),
        )
    console().print(grid)


def print_secondary(comparison: "Comparison") -> None:
    """What is described and not decided by, with what each row means."""
    from analysis.table.units import format_distance

    grid = grid_of("secondary, not adjusted", "estimate", "interval", "p")
    estimand = comparison.estimand
    limit = format_distance(f"{estimand.area_limit:g}", estimand.unit)
    for name, row in comparison.secondary.iterrows():
        p = "-" if math.isnan(row["p"]) else f"{row['p']:.3f}"
        names = {"a": comparison.a, "b": comparison.b, "limit": limit}
        label = SECONDARY_LABELS.get(str(name), str(name)).format(**names, **row)
        grid.add_row(escape_cell(label), *with_ends(row["estimate"], row["low"], row["high"]), p)
    console().print(grid)


def with_ends(estimate: float, low: float, high: float) -> tuple[str, str]:
    """An estimate and its interval, `-` for what there is not."""
    if math.isnan(estimate):
        return "-", "-"
    return f"{estimate:+.3f}", "-" if math.isnan(low) else f"{low:+.3f} .. {high:+.3f}"


def as_data(stratum: "Stratum", notes: list[str]) -> dict[str, Any]:
    """A stratum as plain data, with what must be said of the runs."""
    from analysis.comparison.confirmed import peaks_table

    peaks = json.loads(peaks_table(stratum.peaks).reset_index().to_json(orient="records"))
    together = stratum.together
    rows = None if together is None else json.loads(together.to_json(orient="records"))
    return {
        "stratum": stratum.title,
        "groups": [
            {"group": g.label, "n": g.n, "policy": g.policy, "best": g.best, "note": g.note}
            for g in stratum.groups
        ],
        "peaks": peaks,
        "pairs": [comparison.to_dict() for comparison in stratum.pairs],
        "together": rows,
        "notes": notes,
    }
