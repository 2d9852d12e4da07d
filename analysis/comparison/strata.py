"""Comparisons by one column, at equal values of the others: models within optimizer and length.

Pooling lengths or optimizers of the same configurations as if they were independent covers .76 at
nominal .95 (three lengths of 64 pairs); each stratum is compared by itself.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import pandas as pd

from analysis.comparison.all_pairs import compare_all, policy_views
from analysis.comparison.compare import Comparison, compare
from analysis.comparison.confirmed import Confirmed, peak_sentence, peaks_of
from analysis.comparison.estimand import Estimand
from analysis.edf.samples import Sample, samples
from analysis.errors import TableError, invalid_choice
from analysis.table.groups import GROUPS, SWEEP, describe, grouping_faults
from analysis.table.policies import Policy

CONFIRMED = "confirmed"
VALIDATION = "validation error"


@dataclass(frozen=True, eq=False, kw_only=True)
class Stratum:
    """The groups that are compared with each other, and what came out."""

    title: str
    """What they have in common."""
    groups: Sequence[Sample]
    peaks: Mapping[str, Confirmed]
    """By label; of groups that have one."""
    pairs: Sequence[Comparison]
    """Each pair by itself, at the level of the estimand."""
    together: pd.DataFrame | None
    """Of more than two groups: verdicts that hold together, see `compare_all`."""


def compared_column(table: pd.DataFrame) -> str:
    """Name the first of model, optim, epochs and data that varies; `model` where none does.

    >>> compared_column(pd.DataFrame({"model": "a", "optim": ["sgd", "adamw"]}))
    'optim'
    """
    return next((c for c in GROUPS if c in table and table[c].nunique() > 1), "model")


def strata_of(table: pd.DataFrame, by: str) -> list[pd.DataFrame]:
    """Cut a table at every value of the grouping columns other than `by`.

    In each part the groups come in the order of their first appearance in the whole table, so that
    A - B has one sign in all of them.

    Raises:
        TableError: there is no such column.

    >>> table = pd.DataFrame({"model": ["a", "b", "b", "a"], "optim": ["sgd"] * 2 + ["adamw"] * 2})
    >>> [part["model"].tolist() for part in strata_of(table, "model")]
    [['a', 'b'], ['a', 'b']]

    """
    if by not in table:
        raise TableError([invalid_choice("by", by, [c for c in GROUPS if c in table])])
    table = table.reset_index(drop=True)
    others = [c for c in GROUPS if c in table and c != by]
    if SWEEP in others and table.groupby(by, dropna=False)[SWEEP].nunique(dropna=False).max() == 1:
        others.remove(SWEEP)  # each model comes from one sweep, so the sweep is no stratum
    number = pd.Series(pd.factorize(table[by], use_na_sentinel=False)[0], index=table.index)
    parts = [p for _, p in table.groupby(others, sort=False, dropna=False)] if others else [table]
    return [part.loc[number.loc[part.index].sort_values(kind="stable").index] for part in parts]


def left_out(table: pd.DataFrame, by: str | None = None) -> list[str]:
    """Name the strata that hold one group and cannot be compared, while others can.

    >>> table = pd.DataFrame({"model": ["a", "b", "a"], "optim": ["sgd", "sgd", "adamw"]})
    >>> left_out(table, "model")
    ['adamw is not compared: its only model is a']

    """
    column = compared_column(table) if by is None else by
    parts = strata_of(table, column)
    alone = [part for part in parts if part[column].nunique(dropna=False) < 2]
    if len(alone) == len(parts):
        return []
    names = describe([{c: p[c].iloc[0] for c in GROUPS if c in p and c != column} for p in parts])
    return [
        f"{name} is not compared: its only {column} is {part[column].iloc[0]}"
        for name, part in zip(names[1], parts, strict=True)
        if any(part is one for one in alone)
    ]


def compare_strata(
    table: pd.DataFrame,
    estimand: Estimand,
    *,
    by: str | None = None,
    policy: Policy = "chance",
    peaks: Sequence[Confirmed] = (),
    reference: str | None = None,
    rng: np.random.Generator | None = None,
) -> list[Stratum]:
    """Compare the groups of each stratum, pair by pair and all together.

    Args:
        table: of `load`.
        estimand: the question.
        by: what is compared; None for `compared_column`.
        policy: where diverged runs count in the answer; the others make the sensitivity table.
        peaks: confirmed peaks.
        reference: `confirmed` puts the confirmed peaks in the place of the estimand's reference,
            and every group must have one; None does so in the strata where every group has.
        rng: for the permutation tests.

    Returns:
        One per stratum of two groups or more, in the order of the table; `left_out` names the
        others. Groups have the same order in all of them.

    Raises:
        TableError: a fault of the table, no stratum of two groups, a group without a confirmed
            peak.
        ValueError: as `compare`.

    >>> table = pd.DataFrame({"model": ["a"] * 9 + ["b"] * 9, "error": [5.0, 6.0, 7.0] * 6})
    >>> compare_strata(table, Estimand())[0].pairs[0].decision.verdict
    'unresolved'

    """
    column = compared_column(table) if by is None else by
    if column in table and column not in GROUPS and (faults := grouping_faults(table, [column])):
        raise TableError(faults)
    found = []
    parts = strata_of(table, column)
    compared = [part for part in parts if part[column].nunique(dropna=False) > 1]
    if not compared:
        here = ", ".join(dict.fromkeys(str(part[column].iloc[0]) for part in parts))
        one = "one value" if table[column].nunique() < 2 else "one value in each stratum"
        raise TableError([f"by: {column} has {one} ({here}), allowed is a column with two or more"])
    for part in compared:
        groups = samples(part, policy, by=[column])
        mine = peaks_of(groups, peaks)
        asked = with_peaks(estimand, groups, mine, reference)
        found.append(
            Stratum(
                title=describe([g.group for g in groups])[0],
                groups=groups,
                peaks=mine,
                pairs=_pairs(part, column, groups, asked, mine, rng),
                together=compare_all(groups, asked)
                if len(groups) > 2 and not asked.pilot
                else None,
            )
        )
    return found


def with_peaks(
    estimand: Estimand,
    groups: Sequence[Sample],
    peaks: Mapping[str, Confirmed],
    asked: str | None = None,
) -> Estimand:
    """Put the confirmed peaks in the place of the estimand's reference.

    Args:
        estimand: the question; one that has a fixed reference or a pilot keeps it.
        groups: what is asked about.
        peaks: by label.
        asked: `confirmed`: every group must have a peak; None: only where every group has one;
            anything else: never.

    Raises:
        TableError: a group without a peak.

    >>> sample = Sample(label="a", errors=np.array([5.0]))
    >>> peaks = {"a": Confirmed(errors=np.array([4.0, 6.0]), group={})}
    >>> with_peaks(Estimand(), [sample], peaks).reference
    {'a': 5.0}

    """
    # A loss has no value for a seed that diverged: the mean is infinite, and no reference.
    absent = [
        g.label for g in groups if g.label not in peaks or not np.isfinite(peaks[g.label].mean)
    ]
    if absent and asked == CONFIRMED:
        raise TableError([f"reference: nothing was confirmed for {', '.join(absent)}"])
    if absent or asked not in (None, CONFIRMED) or estimand.fixed or estimand.pilot:
        return estimand
    seeds = min(peaks[g.label].errors.size for g in groups)
    return replace(
        estimand,
        reference={g.label: peaks[g.label].mean for g in groups},
        named=f"confirmed with {seeds} seeds",
    )


def _pairs(
    part: pd.DataFrame,
    column: str,
    groups: Sequence[Sample],
    estimand: Estimand,
    peaks: Mapping[str, Confirmed],
    rng: np.random.Generator | None,
) -> list[Comparison]:
    """Each pair, with the other policies and the validation error as sensitivity table."""
    views = _other_views(part, column, groups[0].policy)
    if estimand.fixed:  # a reference in test error is none for validation errors
        views.pop(VALIDATION, None)
    found = []
    for i, j in combinations(range(len(groups)), 2):
        a, b = groups[i], groups[j]
        pair_views = {name: (view[i], view[j]) for name, view in views.items()}
        comparison = compare(a, b, estimand, rng=rng, views=pair_views)
        if a.label in peaks and b.label in peaks:
            sentence = peak_sentence(
                (a.label, b.label), (peaks[a.label], peaks[b.label]), estimand.confidence
            )
            comparison = replace(comparison, peak=sentence)
        found.append(comparison)
    return found


def _other_views(part: pd.DataFrame, column: str, policy: Policy) -> dict[str, list[Sample]]:
    views = policy_views(part, policy, [column])
    if "val_error" in part and part.loc[part["outcome"] == "ok", "val_error"].notna().all():
        # The counts belong to the test part, and would be believed before the error.
        judged = part.drop(columns=["wrong", "n_eval"], errors="ignore")
        judged = judged.assign(error=part["val_error"].where(part["error"].notna()))
        views[VALIDATION] = samples(judged, policy, by=[column])
    return views
