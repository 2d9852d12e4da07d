"""Sentences of a comparison: what a careful statistician would sign, and no more."""

import numpy as np
import pandas as pd

from analysis.comparison.dominance import DistanceRanges, Dominance, Verdict
from analysis.comparison.estimand import Estimand
from analysis.edf.bands import method_for
from analysis.edf.intervals import Interval
from analysis.edf.samples import Sample
from analysis.table.units import Unit, format_distance, format_error, format_number

MAX_RANGES = 3  # ranges; a list of more is not read


def best_errors_sentence(a: Sample, b: Sample) -> str:
    """Compare the best errors: an observed best of n runs has no interval, and none is made up."""
    absent = [s.label for s in (a, b) if np.isnan(s.best)]
    if absent:
        usable = "better than chance" if a.unit == "percent" else "usable"
        return f"Peak: no run of {' and '.join(absent)} is {usable}."
    gap = a.best - b.best
    size = format_distance(format_number(abs(gap), a.unit), a.unit)
    than = "no difference" if gap == 0 else f"{size} {'less' if gap > 0 else 'more'}"
    return (
        f"Peak: the best run of {a.label} (n = {a.n}) has {format_error(a.best, a.unit)}, that of "
        f"{b.label} (n = {b.n}) {format_error(b.best, b.unit)}, {than}; "
        "one run each, chosen for being the best: no interval."
    )


def stability_sentence(
    a: str, b: str, estimand: Estimand, found: tuple[Interval, Interval, Interval]
) -> str:
    """Say which shares are within d of the references, and how they differ."""
    share_a, share_b, difference = found
    low, high = (f"{100 * x:+.1f}" for x in difference[1:])
    return (
        f"Stability: {_percent(share_a)} of {a} and {_percent(share_b)} of {b} are "
        f"{estimand.wording}; difference {100 * difference.estimate:+.1f} points of share, "
        f"{100 * estimand.confidence:g}% interval {low} to {high}."
    )


def curves_sentence(found: Dominance, a: str, b: str, unit: Unit = "percent") -> str:
    """Say which curve is above the other, and where."""
    if found.verdict == "unresolved":
        return f"Curves: neither {a} nor {b} is shown to be above the other at any distance."
    if found.verdict == "cross":
        return (
            f"Curves: they cross: {a} is above {b} at {_ranges(found.a_above, unit)}, {b} above "
            f"{a} at {format_distance(_ranges(found.b_above, unit), unit)} from the reference."
        )
    upper, lower = (a, b) if found.verdict == "A" else (b, a)
    where = found.a_above if found.verdict == "A" else found.b_above
    more = "; elsewhere, unresolved, the estimates cross" if found.estimates_cross else ""
    return (
        f"Curves: {upper} is above {lower} at {format_distance(_ranges(where, unit), unit)} from "
        f"the reference and nowhere shown to be below{more}."
    )


def verdict_sentence(
    a: str, b: str, decided: tuple[Verdict, str], table: pd.DataFrame, estimand: Estimand
) -> str:
    """State the verdict, its interval, and in one sentence where another view would change it.

    With the best of each sample as reference it is no statement about stability: at equal
    stability it goes to the sample whose best runs are rarer, at n = 64 up to 85% of the time
    (docs/coverage.md).
    """
    verdict, by = decided
    names = {"A": _more(a, b, estimand), "B": _more(b, a, estimand)}
    said = names.get(verdict, _nothing(a, b, estimand))
    of = "pairs" if by == "pairs" else "two shares"
    said += f" ({100 * estimand.confidence:g}% interval of {of})"
    end = "" if estimand.fixed else " Which is more stable needs a reference from elsewhere."
    answered = table[table["verdict"].isin(["A", "B", "unresolved"])]
    other = answered[answered["verdict"] != verdict]
    if answered.empty:
        return f"Verdict: {said}.{end}"
    if other.empty:
        return f"Verdict: {said}; so under each of: {', '.join(map(str, answered.index))}.{end}"
    flips = "; ".join(
        f"under {view}: {names.get(to, 'not resolved')}" for view, to in other["verdict"].items()
    )
    word = "flips" if {verdict, *other["verdict"]} >= {"A", "B"} else "depends on the view"
    return f"Verdict: {said}, but this {word}: {flips}.{end}"


def _more(a: str, b: str, estimand: Estimand) -> str:
    if estimand.fixed:
        return f"{a} is more stable than {b}"
    return f"more of {a} than of {b} is near the best of its own sample"


def _nothing(a: str, b: str, estimand: Estimand) -> str:
    if estimand.fixed:
        return f"no difference in stability of {a} and {b} is resolved"
    return f"whether more of {a} or of {b} is near the best of its own sample is not resolved"


def comparison_notes(
    a: Sample, b: Sample, estimand: Estimand, by: str, *, paired: bool
) -> tuple[str, ...]:
    """List what a reader must know: policy, interval, reference, unknown and unfinished trials."""
    policies = " and ".join(dict.fromkeys(f"'{s.policy}'" for s in (a, b)))
    methods = ", ".join(dict.fromkeys(method_for(s.n, estimand.method) for s in (a, b)))
    shares = "Clopper-Pearson limits of two shares, squared and added"
    pairs = "exact, from pairs of the same configuration"
    found = {
        f"policy {policies}; interval of the difference: {pairs if by == 'pairs' else shares}; "
        f"curves: two simultaneous bands ({methods})": True,
        "reference 'sample-min': distances from the observed best of each sample, not from the "
        "best error possible; it flatters the more sensitive model": not estimand.fixed,
        "the samples differ in size, and the best of more trials is better: compare at equal n, "
        "or with a reference from elsewhere": not estimand.fixed and a.n != b.n,
        "the configurations are paired, but pairs need a reference from elsewhere (confirmed, "
        "tuned, a pilot)": paired and not estimand.fixed,
        **{f"{s.label}: {s.note}": bool(s.note) for s in (a, b)},
        **{text: True for s in (a, b) for text in s.code},
    }
    return tuple(note for note, applies in found.items() if applies)


def _percent(share: Interval) -> str:
    return f"{100 * share.estimate:.1f}%"


def _ranges(ranges: DistanceRanges, unit: Unit) -> str:
    if len(ranges) > MAX_RANGES:
        first, last = format_number(ranges[0][0], unit), format_number(ranges[-1][1], unit)
        return f"{len(ranges)} ranges between {first} and {last}"
    return ", ".join(f"{format_number(p, unit)} to {format_number(q, unit)}" for p, q in ranges)
