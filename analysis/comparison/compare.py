"""Two samples side by side: the primary estimand decides, everything else is labelled."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd

from analysis.comparison import wording
from analysis.comparison.dominance import Dominance, Verdict, dominance, verdict_of
from analysis.comparison.estimand import Estimand
from analysis.comparison.pairs import PairedResult, pair_up, paired_result
from analysis.comparison.secondary import secondary_statistics
from analysis.comparison.shares import near_difference, share_near
from analysis.edf.intervals import Interval
from analysis.edf.samples import Sample

Views = Mapping[str, tuple[Sample, Sample]]
DecidedBy = Literal["pairs", "shares"]


class PrimaryDecision(NamedTuple):
    """The primary estimand of two samples, and what follows from it."""

    share_a: Interval
    """Share within d of the reference, with its Clopper-Pearson limits."""
    share_b: Interval
    shares: Interval
    """Share of A minus share of B, from those limits, squared and added."""
    paired: PairedResult | None
    """By pairs; only where the designs are paired and the reference is from elsewhere."""

    @property
    def difference(self) -> Interval:
        """Share of A minus share of B: by pairs where there are any, else from two shares."""
        return self.shares if self.paired is None else self.paired.difference

    @property
    def by(self) -> DecidedBy:
        """What decides."""
        return "shares" if self.paired is None else "pairs"

    @property
    def verdict(self) -> Verdict:
        """Who is more stable."""
        return verdict_of(self.difference)


@dataclass(frozen=True, eq=False, kw_only=True)
class Comparison:
    """All that is said about two samples. `str()` gives it as text, `to_dict` as plain data."""

    a: str
    b: str
    estimand: Estimand
    """With the reference that was used, also where a pilot gave it."""
    decision: PrimaryDecision
    dominance: Dominance
    peak: str
    """One sentence on the best errors; it says nothing about stability."""
    stability: str
    """One sentence on the primary estimand."""
    verdict: str
    """The conclusion, and where other policies or views would change it."""
    secondary: pd.DataFrame
    """See `secondary_statistics`: labelled, not adjusted."""
    sensitivity: pd.DataFrame
    """The primary estimand in each other view: `difference`, `low`, `high`, `verdict`."""
    notes: tuple[str, ...]
    """What a reader must know before believing it."""

    def __str__(self) -> str:
        curves = wording.curves_sentence(self.dominance, self.a, self.b, self.estimand.unit)
        lines = (self.peak, self.stability, curves)
        return "\n".join([*lines, self.verdict, *(f"Note: {note}" for note in self.notes)])

    def to_dict(self) -> dict[str, object]:
        """Return plain numbers, texts, lists and dicts, for JSON; NaN and infinities become None.

        >>> a, b = (Sample(label=x, errors=np.array([5.0, 9.0])) for x in "ab")
        >>> sorted(compare(a, b).to_dict())[:4]
        ['a', 'b', 'by', 'confidence']
        """
        decision = self.decision
        return {
            "a": self.a,
            "b": self.b,
            "estimand": self.estimand.wording,
            "confidence": self.estimand.confidence,
            "share_a": decision.share_a._asdict(),
            "share_b": decision.share_b._asdict(),
            "difference": decision.difference._asdict(),
            "by": decision.by,
            "p": None if decision.paired is None else decision.paired.p,
            "verdict": decision.verdict,
            "dominance": self.dominance._asdict(),
            "sentences": [self.peak, self.stability, self.verdict],
            "secondary": _records(self.secondary),
            "sensitivity": _records(self.sensitivity),
            "notes": list(self.notes),
        }


def compare(
    a: Sample,
    b: Sample,
    estimand: Estimand | None = None,
    *,
    rng: np.random.Generator | None = None,
    views: Views | None = None,
) -> Comparison:
    """Compare two samples: stability by the primary estimand, peak apart from it.

    The difference of the shares within d of the references decides; d is declared beforehand. Its
    interval comes from the exact limits of both shares, squared and added (`share_difference`),
    or, where the configurations are paired and the reference is from elsewhere, from the pairs
    (`paired_interval`). The minimum of a sample is never resampled; as a reference ("sample-min")
    it is held fixed, and the statement is about distances from these two observed errors. The
    curves are compared at all distances by two simultaneous bands.

    Args:
        a: first sample, A in the verdicts.
        b: second sample, with another label.
        estimand: the question; within 4 points of the best of each sample by default.
        rng: for the permutation test among the secondary statistics; without it, none.
        views: the same two groups under other policies, metrics, boxes or seeds, by name; what
            they say about the primary estimand becomes the sensitivity table.

    Returns:
        The comparison; `print` shows its sentences.

    Raises:
        ValueError: equal labels, an empty sample, dependent points, a reference that is missing,
            a pilot that takes all trials or has no usable run.

    >>> a = Sample(label="a", errors=np.linspace(5, 7, 64), chance=90.0)
    >>> b = Sample(label="b", errors=np.linspace(4, 44, 64), chance=90.0)
    >>> comparison = compare(a, b)
    >>> comparison.decision.verdict, comparison.dominance.verdict
    ('A', 'A')
    >>> print(comparison.peak)
    Peak: the best run of a (n = 64) has 5.00%, that of b (n = 64) 4.00%, 1.00 points less; \
one run each, chosen for being the best: no interval.

    """
    if a.label == b.label:
        raise ValueError(f"labels: got {a.label!r} twice, allowed: two different ones")
    asked = Estimand(unit=a.unit) if estimand is None else estimand
    asked.check_unit(a, b)
    used_a, used_b, question = after_pilot(a, b, asked)
    decision = decide_primary(used_a, used_b, question)
    table = sensitivity(views or {}, asked)
    pairs = pair_up(used_a, used_b)
    return Comparison(
        a=a.label,
        b=b.label,
        estimand=question,
        decision=decision,
        dominance=dominance(used_a, used_b, question),
        peak=wording.best_errors_sentence(a, b),
        stability=wording.stability_sentence(
            a.label, b.label, question, (decision.share_a, decision.share_b, decision.difference)
        ),
        verdict=wording.verdict_sentence(
            a.label, b.label, (decision.verdict, decision.by), table, question
        ),
        secondary=secondary_statistics(used_a, used_b, question, pairs, rng),
        sensitivity=table,
        notes=wording.comparison_notes(a, b, question, decision.by, paired=pairs is not None),
    )


def decide_primary(a: Sample, b: Sample, estimand: Estimand) -> PrimaryDecision:
    """Take the primary estimand of two samples with its interval; see `compare`.

    >>> a, b = (Sample(label=x, errors=np.array([5.0, 9.0])) for x in "ab")
    >>> decide_primary(a, b, Estimand()).verdict
    'unresolved'
    """
    share_a, share_b = (share_near(sample, estimand).interval for sample in (a, b))
    pairs = pair_up(a, b) if estimand.fixed else None
    result = None if pairs is None else paired_result(a, b, pairs, estimand)
    return PrimaryDecision(share_a, share_b, near_difference(a, b, estimand), result)


def sensitivity(views: Views, estimand: Estimand) -> pd.DataFrame:
    """Ask the primary question in other views of the same two groups.

    Args:
        views: by name, the two samples.
        estimand: the question; a pilot is taken anew in each view.

    Returns:
        Indexed by the name: `difference`, `low`, `high`, `by`, `verdict` (`A`, `B`, `unresolved`,
        or the reason why there is no answer).

    >>> a, b = (Sample(label=x, errors=np.array([5.0, 9.0])) for x in "ab")
    >>> sensitivity({"policy 'last'": (a, b)}, Estimand())["verdict"].tolist()
    ['unresolved']

    """
    rows = []
    for a, b in views.values():
        try:
            decision = decide_primary(*after_pilot(a, b, estimand))
        except ValueError as error:  # an empty sample, a pilot without a usable run
            rows.append((np.nan, np.nan, np.nan, "", f"no answer: {error}"))
        else:
            rows.append((*decision.difference, decision.by, decision.verdict))
    columns = ["difference", "low", "high", "by", "verdict"]
    return pd.DataFrame(rows, columns=columns, index=pd.Index(views, name="view", dtype=object))


def after_pilot(a: Sample, b: Sample, estimand: Estimand) -> tuple[Sample, Sample, Estimand]:
    """Spend the first trials of both samples on the references, which are fixed for the others.

    Of paired designs, the first k pairs with both errors known; else the first k known errors of
    each. Without a pilot everything stays as it is.

    Raises:
        ValueError: nothing is left, or no pilot run is better than chance.

    >>> a, b = (Sample(label=x, errors=np.array([5.0, 9.0, 7.0])) for x in "ab")
    >>> rest, _, question = after_pilot(a, b, Estimand(pilot=2))
    >>> rest.errors.tolist(), question.reference
    ([7.0], {'a': 5.0, 'b': 5.0})

    """
    k = estimand.pilot
    if not k:
        return a, b, estimand
    pairs = pair_up(a, b)
    first = [np.arange(k), np.arange(k)] if pairs is None else [pairs.a[:k], pairs.b[:k]]
    cut, references = [], {}
    for sample, indices in zip((a, b), first, strict=True):
        if min(sample.errors.size, sample.n - 1) < k or indices.size < k:
            raise ValueError(f"pilot: got {k} of {sample.n} trials of {sample.label!r}: none left")
        best = replace(sample, errors=sample.errors[indices], points=(), unknown=0).best
        if not np.isfinite(best):
            raise ValueError(f"pilot: none of the first {k} of {sample.label!r} is usable")
        references[sample.label] = best
        cut.append(_without(sample, set(indices.tolist())))
    named = f"best of a pilot of {k}"
    return cut[0], cut[1], replace(estimand, pilot=0, reference=references, named=named)


def _without(sample: Sample, left_out: set[int]) -> Sample:
    kept = [i for i in range(sample.errors.size) if i not in left_out]
    points = tuple(p for i, p in enumerate(sample.points) if i not in left_out)
    return replace(sample, errors=sample.errors[kept], points=points)


def _records(table: pd.DataFrame) -> list[dict[str, object]]:
    """Rows as dicts, with the index under its name; what JSON has no number for becomes None."""
    name = str(table.index.name or "statistic")
    rows = table.rename_axis(name).reset_index().to_dict(orient="records")
    return [
        {
            str(key): None if isinstance(x, float) and not np.isfinite(x) else x
            for key, x in row.items()
        }
        for row in rows
    ]
