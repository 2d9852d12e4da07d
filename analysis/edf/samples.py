"""From a table to one sample per group: what every figure, summary and comparison starts from."""

import warnings
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, Self, get_args

import numpy as np
import pandas as pd

from analysis.arrays import FloatArray
from analysis.edf.bands import Method
from analysis.edf.step_function import EDF
from analysis.errors import TableError, invalid_choice
from analysis.table.code_versions import MixedCodeWarning, code_notes, is_mixed
from analysis.table.groups import (
    GROUPS,
    complete_prefix,
    describe,
    group_columns,
    grouping_faults,
)
from analysis.table.load import as_table
from analysis.table.outcomes import COLLAPSED, DIVERGED, KNOWN, MISSING, OK, UNKNOWN
from analysis.table.policies import Policy, chance_error, errors_under, policy_for
from analysis.table.units import Unit, unit_of

Unfinished = Literal["prefix", "bounds"]
"""What stands for trials without a result.

`prefix`: the sample is the complete beginning of the design. `bounds`: the sample is the whole
design, and their errors are unknown, so that shares have bounds [k/N, (k + missing)/N]. The
finished ones alone are no sample: diverged runs end first, long ones last.
"""


@dataclass(frozen=True, eq=False, kw_only=True)
class Sample:
    """The errors of one group of trials, with all that an honest figure of them has to say."""

    label: str
    """Short name: only what tells the group from the others of the same table."""
    errors: FloatArray
    """Known errors under the policy, in percent; +inf for failures where chance is unknown."""
    unknown: int = 0
    """Trials in the sample whose errors are not known: their infrastructure failed for good, or
    they are unfinished and bounded (`samples(unfinished="bounds")`)."""
    chance: float | None = None
    """Error of always answering the largest class, in percent."""
    policy: Policy = "chance"
    """Where diverged runs count."""
    group: Mapping[str, object] = field(default_factory=dict)
    """The columns that make the group, with their values."""
    ok: int = 0
    collapsed: int = 0
    diverged: int = 0
    unfinished: int = 0
    """Trials without a result; those behind the first of them are not used either, unless they
    are bounded."""
    trials: int = 0
    """Trials of the design."""
    points: tuple[Hashable, ...] = ()
    """Drawn point of each error, then of each unknown one; empty where the table has no `draw`."""
    sampler: str = "random"
    """Law of the design; only independent draws (`random`) have a band."""
    unit: Unit = "percent"
    """Of the errors; `raw` for a loss, which has no chance."""
    code: tuple[str, ...] = ()
    """What must be said of the versions of the user's code behind the table (`code_notes`)."""

    @property
    def n(self) -> int:
        """Number of configurations that shares refer to, the unknown ones included."""
        return self.errors.size + self.unknown

    @property
    def used(self) -> int:
        """Trials behind the numbers: all, or the complete prefix; dropped ones included."""
        return self.ok + self.collapsed + self.diverged + self.unknown

    @property
    def best(self) -> float:
        """Smallest known error, in percent; NaN where no run is better than chance.

        >>> Sample(label="a", errors=np.array([4.0, 90.0]), chance=90.0).best
        4.0
        """
        limit = np.inf if self.chance is None else self.chance
        smallest = float(self.errors.min(initial=np.inf))
        return smallest if smallest < limit else np.nan

    @property
    def has_band(self) -> bool:
        """Whether there are trials, and independent ones: only then is there an interval.

        >>> Sample(label="a", errors=np.array([4.0]), sampler="sobol").has_band
        False
        """
        return self.n > 0 and self.sampler == "random"

    @property
    def note(self) -> str:
        """What a reader must know before believing a number, empty where there is nothing."""
        cut = self.used < self.trials
        notes = [f"first {self.used} of {self.trials} trials"] if cut else []
        if self.unknown:
            notes.append(f"{self.unknown} of {self.n} unknown")
        if self.sampler != "random":
            notes.append(f"{self.sampler} design: no band")
        return ", ".join(notes)

    def edf(self) -> EDF:
        """Take the EDF, the unknown errors as bad as can be: a lower bound where there are any.

        Raises:
            ValueError: the sample is empty.

        >>> sample = Sample(label="a", errors=np.array([4.0]), unknown=1, chance=90.0)
        >>> sample.edf()([4.0, 89.0, 90.0]).tolist()
        [0.5, 0.5, 1.0]

        """
        worst = np.inf if self.chance is None else self.chance  # errors are capped there
        return EDF.of(np.append(self.errors, np.full(self.unknown, worst)))

    def failures_beyond(self) -> Self:
        """Put useless runs beyond every distance: near chance, nothing is near a best by failing.

        >>> Sample(label="a", errors=np.array([88.0, 90.0]), chance=90.0).failures_beyond().errors
        array([88., inf])
        """
        limit = np.inf if self.chance is None else self.chance
        errors = np.where(self.errors < limit, self.errors, np.inf)
        return replace(self, errors=errors, chance=None)

    def band(self, confidence: float = 0.95, method: Method | None = None) -> tuple[EDF, EDF]:
        """Simultaneous band that holds wherever the unknown errors may lie.

        The lower bound is that of k/n, the upper that of (k + unknown)/n, with k the number of
        known errors that are <= x.

        Args:
            confidence: in (0, 1).
            method: as for `EDF.band`.

        Raises:
            ValueError: an empty sample, a design whose points are not independent, bad arguments.

        >>> lower, upper = Sample(label="a", errors=np.arange(60.0), unknown=4).band(method="ks")
        >>> round(lower(29.0), 3), round(upper(29.0), 3)
        (0.302, 0.698)

        """
        if self.sampler != "random":
            raise ValueError(f"no band: the points of a {self.sampler} design are not independent")
        edf = self.edf()
        return edf.band(confidence, method)[0], edf.raised(self.unknown).band(confidence, method)[1]

    def share_within(self, d: float, reference: float | None = None) -> tuple[float, float]:
        """Bounds [k/n, (k + unknown)/n] on the share of configurations within d of a reference.

        Only runs better than chance count, also where the reference itself is near chance.

        Args:
            d: percentage points, 0 or more.
            reference: percent; None for the best of the sample ("sample-min"). Where no run is
                better than chance, none is within any distance of a best: k = 0.

        Returns:
            (lower, upper), equal where every error is known.

        Raises:
            ValueError: the sample is empty, d is negative, or the reference is not finite.

        >>> Sample(label="a", errors=np.array([10.0, 14.0, 90.0]), unknown=1).share_within(4.0)
        (0.5, 0.75)

        """
        base = self.best if reference is None else reference
        nothing = reference is None and np.isnan(base)
        share = 0.0 if nothing else self.failures_beyond().edf().share_within(d, base)
        return share, min(share + self.unknown / self.n, 1.0)


def samples(
    table: pd.DataFrame,
    policy: Policy = "chance",
    *,
    by: Sequence[str] | None = None,
    unfinished: Unfinished = "prefix",
) -> list[Sample]:
    """Cut a table into groups and take the sample of each, in the order of first appearance.

    Args:
        table: of `load`, or any frame with the columns `model` and `error`.
        policy: where diverged runs count.
        by: columns that make the groups; None for `group_columns`.
        unfinished: whether a group with trials that have no result yet is cut to the complete
            prefix of the design, or whole, with bounds.

    Returns:
        One sample per group; its errors are in percent.

    Raises:
        ValueError: unknown policy, unknown way with unfinished trials.
        TableError: a fault of the table, an unknown column in `by`, or a drawn point that appears
            twice in one group: n is the number of distinct configurations, and models, optimizers,
            lengths or seeds of the same point are not independent of each other.

    >>> table = pd.DataFrame({"model": ["a", "a", "b"], "error": [5.0, None, 7.0]})
    >>> [(s.label, s.n, s.diverged, s.best) for s in samples(table)]
    [('a', 2, 1, 5.0), ('b', 1, 0, 7.0)]
    >>> half = pd.DataFrame({"model": "a", "outcome": ["ok", "missing", "ok", "missing"],
    ...                      "error": [5.0, None, 7.0, None]})
    >>> [sample.share_within(4.0) for sample in samples(half, unfinished="bounds")]
    [(0.5, 1.0)]

    """
    if unfinished not in get_args(Unfinished):
        raise ValueError(invalid_choice("unfinished", unfinished, get_args(Unfinished)))
    parts, groups, labels = cut(table, by)
    rows = zip(labels, parts, groups, strict=True)
    bounded = unfinished == "bounds"
    found = [_sample(label, part, group, policy, bounded=bounded) for label, part, group in rows]
    # Of all rows: the groups of a table are compared, so they should come from one version.
    code = tuple(code_notes(table))
    return [replace(sample, code=code) for sample in found]


def cut(
    table: pd.DataFrame, by: Sequence[str] | None = None, *, repeats: bool = False
) -> tuple[list[pd.DataFrame], list[dict[str, object]], list[str]]:
    """Check a table and cut it into groups, in the order of first appearance.

    Args:
        table: of `load`, or any frame with the columns `model` and `error`.
        by: columns that make the groups; None for `group_columns`.
        repeats: allow a drawn point to appear more than once in a group.

    Returns:
        (rows of each group, its columns with their values, its label).

    Raises:
        TableError: as `samples`.

    >>> cut(pd.DataFrame({"model": ["a", "b"], "error": [5.0, 7.0]}))[1:]
    ([{'model': 'a'}, {'model': 'b'}], ['a', 'b'])

    """
    table = as_table(table)
    columns = group_columns(table) if by is None else list(by)
    faults = [invalid_choice("by", c, list(table.columns)) for c in columns if c not in table]
    if not faults and set(columns) - {*GROUPS, "study"}:
        faults = grouping_faults(table, columns)
    if faults:
        raise TableError(faults)
    parts = [part for _, part in table.groupby(columns, sort=False, dropna=False)]
    groups = [_group(part, columns) for part in parts]
    labels = describe(groups)[1]
    if not repeats:
        named = zip(parts, labels, strict=True)
        faults = [fault for part, label in named for fault in _repeats(part, label)]
    if faults:
        raise TableError(faults)
    if is_mixed(table):
        warnings.warn("; ".join(code_notes(table)), MixedCodeWarning, stacklevel=3)
    return parts, groups, labels


def _group(part: pd.DataFrame, columns: Sequence[str]) -> dict[str, object]:
    """Values of the grouping columns, and of the other known ones that are constant in it."""
    constant = [
        c for c in GROUPS if c in part and c not in columns and part[c].nunique(dropna=False) == 1
    ]
    return {c: part[c].iloc[0] for c in [*columns, *constant] if pd.notna(part[c].iloc[0])}


def _repeats(part: pd.DataFrame, label: str) -> list[str]:
    key = [c for c in ("study", "draw") if c in part]
    if "draw" not in key:
        return []
    drawn = part[part["draw"].notna()]
    twice = drawn["draw"][drawn.duplicated(key)]
    if twice.empty:
        return []
    return [
        f"group {label!r}: draw {twice.iloc[0]} appears more than once; trials of the same "
        "drawn point are not independent: group by what differs (by=), or keep one of them"
    ]


def _points(used: pd.DataFrame, policy: Policy) -> tuple[Hashable, ...]:
    """Name the drawn points, in the order of the sample: the known ones before the unknown."""
    key = [c for c in ("study", "draw") if c in used]
    if "draw" not in key or used["draw"].isna().any():
        return ()
    ordered = in_order(used, policy)
    return tuple(zip(*(ordered[c] for c in key), strict=True))


def in_order(used: pd.DataFrame, policy: Policy) -> pd.DataFrame:
    """Rows in the order of a sample: those of known error, then those whose error is unknown.

    >>> used = pd.DataFrame({"outcome": ["crashed", "ok", "diverged"]})
    >>> in_order(used, "drop")["outcome"].tolist()
    ['ok', 'crashed']
    """
    kept = [o for o in KNOWN if not (policy == "drop" and o == DIVERGED)]
    return pd.concat([used[used["outcome"].isin(some)] for some in (kept, UNKNOWN)])


def _sample(
    label: str, part: pd.DataFrame, group: dict[str, object], policy: Policy, *, bounded: bool
) -> Sample:
    used = part if bounded else complete_prefix(part)
    outcome = used["outcome"]
    unit = unit_of(part)
    policy = policy_for(policy, unit)
    samplers = part["sampler"].dropna() if "sampler" in part else pd.Series(dtype=object)
    dependent = samplers[samplers != "random"]
    return Sample(
        label=label,
        errors=errors_under(used, policy),
        unknown=int(outcome.isin(UNKNOWN).sum()),
        chance=chance_error(part),
        policy=policy,
        group=group,
        ok=int(outcome.eq(OK).sum()),
        collapsed=int(outcome.eq(COLLAPSED).sum()),
        diverged=int(outcome.eq(DIVERGED).sum()),
        unfinished=int(part["outcome"].eq(MISSING).sum()),
        trials=len(part),
        points=_points(used, policy),
        sampler="random" if dependent.empty else str(dependent.iloc[0]),
        unit=unit,
    )
