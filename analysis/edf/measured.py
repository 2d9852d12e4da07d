"""Groups of trials with their rows: for questions that need more of a trial than its error."""

from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd

from analysis.arrays import FloatArray
from analysis.edf.intervals import sample_quantile
from analysis.edf.samples import Sample, cut, in_order, samples
from analysis.errors import TableError
from analysis.table.groups import complete_prefix, describe
from analysis.table.outcomes import OK
from analysis.table.policies import Policy

Images = Literal["validation", "test"]
QUARTILES = (0.25, 0.5, 0.75)
SELECTED = {
    "validation": "Selected: the smallest validation error, reported on the test part.",
    "test": "Selected: the smallest test error, reported on the same images: too good.",
    "best": "Selected: the smallest validation error of all epochs (policy 'best'), which is also "
    "what is reported: too good.",
}
"""What `selected` means, for notes. `best` is always the smallest error (`Sample.best`)."""


class SampleGroup(NamedTuple):
    """The sample of one group beside the rows that it was taken from."""

    sample: Sample
    rows: pd.DataFrame
    """n rows: those of `sample.errors` in its order, then those of unknown error."""

    @property
    def known(self) -> pd.DataFrame:
        """Rows of known error, one for each of `sample.errors`."""
        return self.rows.iloc[: self.sample.errors.size]


class SelectedRun(NamedTuple):
    """The configuration of a group that would have been taken, by validation error if there is one.

    Its test error is not the best of the sample: that is the smallest test error (`Sample.best`).
    """

    error: float
    """Percent, on the test part; the mean where several tie for being selected; NaN for none."""
    rows: pd.DataFrame
    """The selected row, several where they tie, none where no run is better than chance."""
    selected_on: Images
    """Images that it was selected by: `test` where the table has no `val_error`."""


def sample_groups(
    table: pd.DataFrame, policy: Policy = "chance", *, by: Sequence[str] | None = None
) -> list[SampleGroup]:
    """Cut a table into groups as `samples` does, and keep the rows beside each sample.

    Raises:
        TableError: as `samples`.

    >>> table = pd.DataFrame({"model": "a", "lr": [0.1, 0.2], "error": [None, 7.0]})
    >>> [(m.sample.errors.tolist(), m.known["lr"].tolist()) for m in sample_groups(table)]
    [([inf, 7.0], [0.1, 0.2])]

    """
    found = samples(table, policy, by=by)
    parts = cut(table, by)[0]
    return [
        SampleGroup(sample, in_order(complete_prefix(part), policy))
        for sample, part in zip(found, parts, strict=True)
    ]


def ranking(of: SampleGroup) -> tuple[FloatArray, Images]:
    """Rank the runs for selecting one: by validation error where there is one.

    Ties in the validation error go to the smaller validation loss; runs that still tie share a
    rank. What is selected on the validation part may be reported on the test part; the best of
    many test errors is too small, the more so the more trials there are.

    Returns:
        (ranks of shape (errors,): 0 for the selected, +inf for runs at chance; the images used).

    >>> table = pd.DataFrame({"model": "a", "error": [5.0, 6.0, None], "val_error": [8.0, 7.0, 9]})
    >>> [(ranks.tolist(), on) for ranks, on in map(ranking, sample_groups(table))]
    [([1.0, 0.0, inf], 'validation')]
    """
    known, errors = of.known, of.sample.errors
    limit = np.inf if of.sample.chance is None else of.sample.chance
    usable = known["outcome"].eq(OK).to_numpy()
    on: Images = "test"
    keys = [errors]
    if of.sample.policy == "best":
        on, usable = "validation", errors < limit
    elif "val_error" in known and known["val_error"][usable].notna().all():
        on = "validation"
        keys = [known[c].to_numpy(dtype=np.float64) for c in ("val_error", "loss") if c in known]
    else:
        usable = usable & (errors < limit)
    ranks = np.full(errors.size, np.inf)
    if usable.any():
        order = pd.DataFrame(np.column_stack(keys)[usable]).fillna(np.inf)
        ranks[usable] = order.groupby(list(order), sort=True).ngroup()
    return ranks, on


def select_run(of: SampleGroup) -> SelectedRun:
    """Select a configuration of a group by `ranking`, and report its error.

    >>> table = pd.DataFrame({"model": "a", "error": [5.0, 6.0], "val_error": [8.0, 7.0]})
    >>> [select_run(group).error for group in sample_groups(table)]
    [6.0]
    """
    ranks, on = ranking(of)
    first = ranks == 0
    error = float(of.sample.errors[first].mean()) if first.any() else np.nan
    return SelectedRun(error, of.known[first], on)


def series(table: pd.DataFrame, policy: Policy, along: str) -> dict[str, dict[object, SampleGroup]]:
    """Arrange groups that differ in one column: {label of the others: {value: group}}.

    Args:
        table: of `load`, or any frame with the columns `model` and `error`.
        policy: where diverged runs count.
        along: the column, one of those that make groups; rows without a value are left out.

    Raises:
        TableError: no such column, other faults of the table.

    >>> table = pd.DataFrame({"model": "a", "epochs": [9, 5], "error": [5.0, 6.0]})
    >>> [(label, len(of)) for label, of in series(table, "chance", "epochs").items()]
    [('a', 2)]

    """
    if along not in table:
        raise TableError([f"no column {along!r} (got {', '.join(map(repr, map(str, table)))})"])
    groups = [m for m in sample_groups(table, policy) if along in m.sample.group]
    others = [{c: v for c, v in m.sample.group.items() if c != along} for m in groups]
    found: dict[str, dict[object, SampleGroup]] = {}
    for label, group in zip(describe(others)[1] if others else [], groups, strict=True):
        found.setdefault(label, {})[group.sample.group[along]] = group
    return found


def how_selected(selected_on: Iterable[str], policy: Policy) -> str:
    """Say what `selected` means, for the note of a result.

    >>> how_selected(["validation"], "chance")
    'Selected: the smallest validation error, reported on the test part.'
    """
    used = ["best"] if policy == "best" else sorted(set(selected_on))
    return " ".join(SELECTED[name] for name in used)


def quartiles(sample: Sample) -> dict[str, float]:
    """Quartiles of the errors (`sample_quantile`), NaN for an empty sample.

    >>> quartiles(Sample(label="a", errors=np.arange(4.0)))
    {'q25': 0.75, 'q50': 1.5, 'q75': 2.25}
    """
    return {f"q{100 * p:g}": sample_quantile(sample, p) for p in QUARTILES}


def numeric_values(rows: pd.DataFrame, name: str) -> FloatArray:
    """Values of a hyperparameter; `lr*weight_decay` is the product of two.

    Raises:
        TableError: no such column, or one that does not hold numbers.

    >>> rows = pd.DataFrame({"lr": [2.0], "weight_decay": [0.5]})
    >>> numeric_values(rows, "lr*weight_decay").tolist()
    [1.0]

    """
    columns = columns_of(name)
    faults = numeric_faults(rows, columns)
    if faults:
        raise TableError(faults)
    values = [rows[column].to_numpy(dtype=np.float64) for column in columns]
    return np.asarray(np.prod(values, axis=0), dtype=np.float64)


def columns_of(name: str) -> list[str]:
    """Columns that a hyperparameter is the product of.

    >>> columns_of("lr*weight_decay")
    ['lr', 'weight_decay']
    """
    return [part.strip() for part in name.split("*")]


def numeric_faults(rows: pd.DataFrame, columns: Sequence[str]) -> list[str]:
    """Say which of the columns are absent or hold something other than numbers."""
    names = ", ".join(map(repr, map(str, rows.columns)))
    absent = [f"no column {c!r} (got {names})" for c in columns if c not in rows]
    text = [
        f"{c}: got {rows[c].dtype}, allowed: numbers"
        for c in columns
        if c in rows and not pd.api.types.is_numeric_dtype(rows[c])
    ]
    return absent + text
