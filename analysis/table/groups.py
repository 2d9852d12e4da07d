"""Groups of trials: which columns tell them apart, how they are called, which rows count."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from analysis.table.outcomes import MISSING

SWEEP = "sweep"
"""Column that tells sweeps of the same model apart, where several differ: by search space, data,
recipe, code or seed, else by file. One sample has one law."""
GROUPS = ("model", "optim", "epochs", "data", SWEEP)
"""Columns that make groups, in the order of a label."""
FEWEST_ROWS = 8
"""Of the median group: with fewer rows in it, a column is no grouping but a hyperparameter."""
MANY_GROUPS = 8
TITLE_ORDER = ("data", "model", "optim", "epochs")
PATTERNS = {"epochs": "{} epochs"}  # a bare 5 says nothing


def group_columns(table: pd.DataFrame) -> list[str]:
    """Columns to group by: `model`, and those of optim, epochs, data and sweep that vary.

    Where several studies have trials of one group and nothing tells the sweeps apart, `study` does.

    >>> table = pd.DataFrame({"model": "a", "optim": ["sgd", "adamw"], "epochs": 5})
    >>> group_columns(table)
    ['model', 'optim']
    """
    found = [
        c for c in GROUPS if c in table and (c == "model" or table[c].nunique(dropna=False) > 1)
    ]
    if SWEEP in table or "study" not in table or not set(found) <= set(table):
        return found
    studies = table.groupby(found, sort=False, dropna=False)["study"].nunique()
    return [*found, "study"] if (studies > 1).any() else found


def grouping_faults(table: pd.DataFrame, by: Sequence[str] | None = None) -> list[str]:
    """A fault where a column makes many small groups: it is a hyperparameter, no grouping.

    That is where the median group has fewer than 8 rows, and there are more than 8 groups, or,
    where nobody asked for it, a column of numbers cuts the rows into more than two groups of
    different sizes.

    Args:
        table: any, of a source that does not say what was drawn.
        by: columns that make the groups; None for `group_columns`.

    >>> table = pd.DataFrame({"model": "a", "epochs": range(5, 25)})
    >>> grouping_faults(table)[0].partition(";")[0]
    "'epochs' cuts 20 rows into 20 groups, most of fewer than 8 rows"

    """
    columns = group_columns(table) if by is None else list(by)
    sizes = table.groupby(columns, sort=False, dropna=False).size() if columns else pd.Series()
    if len(sizes) < 2 or sizes.median() >= FEWEST_ROWS:
        return []
    worst = max(columns, key=lambda c: table[c].nunique(dropna=False))
    is_number = pd.api.types.is_numeric_dtype(table[worst])
    uneven = is_number and len(sizes) > 2 and sizes.nunique() > 1
    if len(sizes) <= MANY_GROUPS and (by is not None or not uneven):
        return []
    more = [c for c in columns if c != worst and table[c].nunique(dropna=False) > 1]
    others = f" (with {', '.join(more)})" if more else ""
    return [
        f"{worst!r}{others} cuts {len(table)} rows into {len(sizes)} groups, most of fewer than "
        f"{FEWEST_ROWS} rows; {way_out(worst, by)}"
    ]


def way_out(column: str, by: Sequence[str] | None) -> str:
    """What to do about a column that is a hyperparameter and not a grouping."""
    if by is not None:
        return f"group by a column with few values instead of {column!r}"
    if column == "model":
        return "if the rows are draws of one model: --set model=NAME"
    return f"if it was drawn at random: --map drawn_{column}={column}, which makes no groups"


def describe(groups: Sequence[Mapping[str, object]]) -> tuple[str, list[str]]:
    """Split the names of groups into what is common to all and what tells them apart.

    Args:
        groups: for each group its columns and their values.

    Returns:
        (title of the common part, one label per group). A single group is labelled by its model.

    >>> describe([{"model": "vitc", "optim": "sgd", "data": "digits", "epochs": 5},
    ...           {"model": "vitp", "optim": "sgd", "data": "digits", "epochs": 5}])
    ('digits, sgd, 5 epochs', ['vitc', 'vitp'])

    """
    columns = list(dict.fromkeys(column for group in groups for column in group))
    differs = [c for c in columns if len({group.get(c) for group in groups}) > 1]
    if not differs:
        differs = [c for c in columns if c == "model"] or columns[:1]
    labels = [
        " ".join(
            _name(c, g[c]) if c in g else f"no {c}"
            for c in _sorted(differs, GROUPS)
            if c in g or c != SWEEP
        )
        for g in groups
    ]
    common = [c for c in _sorted(columns, TITLE_ORDER) if c not in differs]
    return ", ".join(_name(c, groups[0][c]) for c in common), labels


def complete_prefix(group: pd.DataFrame) -> pd.DataFrame:
    """Rows up to the first trial in the design's order that has no result yet.

    What happens to be finished is a biased sample (diverged runs end first, long ones last);
    the finished beginning of a design that was drawn before anything ran is not. Trials whose
    infrastructure failed for good stay: they are unknown, not unfinished.

    Args:
        group: rows in the order of the design, with the column `outcome`.

    Returns:
        The first rows, all of them where nothing is missing.

    >>> group = pd.DataFrame({"outcome": ["ok", "crashed", "missing", "ok"]})
    >>> complete_prefix(group)["outcome"].tolist()
    ['ok', 'crashed']

    """
    missing = group["outcome"].eq(MISSING)
    # Pooled studies have an order each.
    if "study" in group and group["study"].nunique(dropna=False) > 1:
        return group[~missing.groupby(group["study"], sort=False, dropna=False).cummax()]
    return group.iloc[: int(np.argmax(missing)) if missing.any() else len(group)]


def _name(column: str, value: object) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # whole numbers beside empty cells are read as floats
    return PATTERNS.get(column, "{}").format(value)


def _sorted(columns: Sequence[str], order: Sequence[str]) -> list[str]:
    """Columns of the order first and in it, others after them as they came."""
    return [c for c in order if c in columns] + [c for c in columns if c not in order]
