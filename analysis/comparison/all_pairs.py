"""More than two groups, and other views of a table: every pair, at one level for all."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import combinations

import numpy as np
import pandas as pd

from analysis.comparison.compare import Comparison, compare
from analysis.comparison.dominance import Verdict, verdict_of
from analysis.comparison.estimand import Estimand
from analysis.comparison.pairs import PairedResult, pair_up, paired_result
from analysis.comparison.secondary import holm
from analysis.comparison.shares import near_difference
from analysis.edf.intervals import Interval
from analysis.edf.samples import Sample, samples
from analysis.errors import TableError
from analysis.table.policies import Policy, policies_of
from analysis.table.units import unit_of

Pair = tuple[Sample, Sample]


def compare_all(groups: Sequence[Sample], estimand: Estimand | None = None) -> pd.DataFrame:
    """Compare every pair of groups by the primary estimand; all verdicts hold together.

    For m pairs the intervals of `share_difference` are taken at 1 - alpha/m. Those that exclude 0
    decide their pairs, which are set aside, and the rest is asked again with its smaller m: the
    step-down of Holm, which controls the chance of any false verdict at alpha however the pairs
    depend on each other. Where all designs are paired and the reference is from elsewhere: by
    pairs, with McNemar's p-values adjusted by Holm.

    The intervals are those of the first step, simultaneous for all pairs; a verdict of a later
    step may come with one that touches 0.

    Args:
        groups: at least two, with different labels.
        estimand: the question, without a pilot; see `Estimand`.

    Returns:
        One row per pair: `a`, `b`, `difference` (share of A minus share of B), `low`, `high`,
        `verdict` (`A`, `B`, `unresolved`), `p` and `p_holm` (NaN where shares decide).
        `attrs["by"]` says what decides.

    Raises:
        ValueError: fewer than two groups, equal labels, a pilot; as `compare`.

    >>> groups = [Sample(label=x, errors=np.linspace(5, 5 + s, 64)) for x, s in
    ...           (("a", 2), ("b", 40), ("c", 41))]
    >>> compare_all(groups)[["a", "b", "verdict"]].values.tolist()
    [['a', 'b', 'A'], ['a', 'c', 'A'], ['b', 'c', 'unresolved']]

    """
    asked = Estimand(unit=groups[0].unit if groups else "percent") if estimand is None else estimand
    labels = [g.label for g in groups]
    if len(groups) < 2 or len(set(labels)) < len(labels) or asked.pilot:
        raise ValueError(
            f"got {len(groups)} groups {labels} and a pilot of {asked.pilot}, allowed: two or "
            "more groups of different labels, no pilot"
        )
    pairs = list(combinations(groups, 2))
    matched = [pair_up(*pair) for pair in pairs]
    if asked.fixed and all(m is not None for m in matched):
        level = 1.0 - (1.0 - asked.confidence) / len(pairs)
        at_level = replace(asked, confidence=level)
        results = [
            paired_result(*pair, m, at_level)
            for pair, m in zip(pairs, matched, strict=True)
            if m is not None
        ]
        return _by_pairs(pairs, results, asked)
    return _by_shares(pairs, asked)


def _by_pairs(
    pairs: Sequence[Pair], results: Sequence[PairedResult], estimand: Estimand
) -> pd.DataFrame:
    alpha = 1.0 - estimand.confidence
    adjusted = holm([result.p for result in results])
    verdicts: list[Verdict] = [
        "unresolved" if p > alpha else "A" if result.only_a > result.only_b else "B"
        for result, p in zip(results, adjusted, strict=True)
    ]
    rows = [
        (a.label, b.label, *result.difference, verdict, result.p, p)
        for (a, b), result, verdict, p in zip(pairs, results, verdicts, adjusted, strict=True)
    ]
    return _table(rows, "pairs: exact McNemar tests, adjusted by Holm")


def _by_shares(pairs: Sequence[Pair], estimand: Estimand) -> pd.DataFrame:
    alpha = 1.0 - estimand.confidence

    def differences(left: Sequence[int]) -> list[Interval]:
        at_level = replace(estimand, confidence=1.0 - alpha / len(left))
        return [near_difference(*pairs[i], at_level) for i in left]

    left = list(range(len(pairs)))
    first = found = differences(left)
    verdicts: list[Verdict] = ["unresolved"] * len(pairs)
    while decided := [i for i, d in zip(left, found, strict=True) if verdict_of(d) != "unresolved"]:
        for i, difference in zip(left, found, strict=True):
            verdicts[i] = verdict_of(difference)
        left = [i for i in left if i not in decided]
        found = differences(left) if left else []
    rows = [
        (a.label, b.label, *difference, verdict, np.nan, np.nan)
        for (a, b), difference, verdict in zip(pairs, first, verdicts, strict=True)
    ]
    return _table(rows, "shares: one interval per pair, Clopper-Pearson, step-down of Holm")


def _table(rows: Sequence[tuple[object, ...]], by: str) -> pd.DataFrame:
    columns = ["a", "b", "difference", "low", "high", "verdict", "p", "p_holm"]
    table = pd.DataFrame(rows, columns=columns)
    table.attrs["by"] = by
    return table


def policy_views(
    table: pd.DataFrame, policy: Policy, by: Sequence[str] | None = None
) -> dict[str, list[Sample]]:
    """Samples of the same groups under each other policy that the table has the columns for."""
    views: dict[str, list[Sample]] = {}
    for other in policies_of(unit_of(table)):
        if other != policy:
            with suppress(TableError):  # `best` needs a column that not every table has
                views[f"policy '{other}'"] = samples(table, other, by=by)
    return views


def compare_table(
    table: pd.DataFrame,
    estimand: Estimand | None = None,
    *,
    policy: Policy = "chance",
    by: Sequence[str] | None = None,
    rng: np.random.Generator | None = None,
) -> list[Comparison]:
    """Compare every pair of groups of a table, with the other policies as sensitivity table.

    Each comparison is at the level of the estimand alone; for verdicts that hold together for
    more than two groups see `compare_all`.

    Args:
        table: of `load`, or any frame with the columns `model` and `error`.
        estimand: the question.
        policy: where diverged runs count in the primary answer.
        by: columns that make the groups; None for those that vary.
        rng: for the permutation tests.

    Returns:
        One comparison per pair of groups, in their order.

    Raises:
        ValueError: fewer than two groups; as `compare`.
        TableError: a fault of the table.

    >>> table = pd.DataFrame({"model": ["a", "a", "b", "b"], "error": [5.0, 6.0, 5.0, None]})
    >>> compare_table(table)[0].sensitivity.index.tolist()
    ["policy 'last'", "policy 'drop'"]

    """
    groups = samples(table, policy, by=by)
    if len(groups) < 2:
        raise ValueError(f"groups: got {len(groups)}, allowed: at least 2")
    others = policy_views(table, groups[0].policy, by)
    return [
        compare(
            groups[i],
            groups[j],
            estimand,
            rng=rng,
            views={name: (view[i], view[j]) for name, view in others.items()},
        )
        for i, j in combinations(range(len(groups)), 2)
    ]
