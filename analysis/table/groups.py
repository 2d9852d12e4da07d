"""Groups of trials: which columns tell them apart, how they are called, which rows count."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from analysis.table.outcomes import MISSING

GROUPS = ("model", "optim", "epochs", "data")
"""Columns that make groups, in the order of a label."""
TITLE_ORDER = ("data", "model", "optim", "epochs")
PATTERNS = {"epochs": "{} epochs"}  # a bare 5 says nothing


def group_columns(table: pd.DataFrame) -> list[str]:
    """Columns to group by: `model`, and those of optim, epochs and data that vary.

    >>> table = pd.DataFrame({"model": "a", "optim": ["sgd", "adamw"], "epochs": 5})
    >>> group_columns(table)
    ['model', 'optim']
    """
    return [
        c for c in GROUPS if c in table and (c == "model" or table[c].nunique(dropna=False) > 1)
    ]


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
    labels = [" ".join(_name(c, g[c]) for c in _sorted(differs, GROUPS) if c in g) for g in groups]
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
    missing = group["outcome"].eq(MISSING).to_numpy()
    return group.iloc[: int(np.argmax(missing)) if missing.any() else len(group)]


def _name(column: str, value: object) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # whole numbers beside empty cells are read as floats
    return PATTERNS.get(column, "{}").format(value)


def _sorted(columns: Sequence[str], order: Sequence[str]) -> list[str]:
    """Columns of the order first and in it, others after them as they came."""
    return [c for c in order if c in columns] + [c for c in columns if c not in order]
