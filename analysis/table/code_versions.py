"""Results of several versions of the user's own code: stated wherever they are shown together.

`sweeps` stores with each result the digest of the code that trained it (column `code`), and only
pools different versions when somebody asks for it.
"""

from collections.abc import Iterator

import pandas as pd

from analysis.table.outcomes import KNOWN

DIGEST = r"[0-9a-f]{12}"
PROJECT_PACKAGES = ("stability", "sweeps", "analysis", "timm", "torchvision")
"""First part of the names of modules that are not the user's. `sweeps` has the same list."""


class MixedCodeWarning(UserWarning):
    """A table holds results of several versions of the user's code, one of them perhaps unknown."""


def code_notes(table: pd.DataFrame) -> list[str]:
    """Say where results of one module come from several versions of it, or from unknown ones.

    The module is that of the model (`mymodels:mlp`) or of the study's objective (column
    `objective`, which `load` fills in). Where neither is the user's there is nothing to say.

    Args:
        table: of `load`, or any frame; without the column `code` all versions are unknown.

    Returns:
        Sentences; empty where each module has one known version.

    >>> table = pd.DataFrame({"model": "a", "outcome": "ok", "code": ["0" * 12, "1" * 12]})
    >>> code_notes(table)
    ['results come from 2 versions of your code: 1 from 000000000000, 1 from 111111111111']

    """
    notes = []
    for module, counts, unknown in _versions(table):
        what = module or "your code"
        if len(counts) > 1:
            listed = ", ".join(f"{n} from {version}" for version, n in counts.items())
            notes.append(f"results come from {len(counts)} versions of {what}: {listed}")
        if unknown:
            notes.append(
                f"{unknown} of {unknown + sum(counts.values())} results come from an unknown "
                f"version of {what}: it was not recorded"
            )
    return notes


def is_mixed(table: pd.DataFrame) -> bool:
    """Whether results of one module come from several versions; unknown ones count as one more.

    >>> is_mixed(pd.DataFrame({"model": "a", "code": ["0" * 12, None]}))
    True
    """
    return any(len(counts) + bool(unknown) > 1 for _, counts, unknown in _versions(table))


def _versions(table: pd.DataFrame) -> Iterator[tuple[str, dict[str, int], int]]:
    """For each of the user's modules, results of each version and of unknown ones."""
    rows = table[table["outcome"].isin(KNOWN)] if "outcome" in table else table
    if rows.empty:
        return
    code = rows["code"] if "code" in rows else pd.Series(index=rows.index, dtype=object)
    code = code.astype(object).where(code.astype(str).str.fullmatch(DIGEST), None)
    for module, part in code.groupby(_modules(rows), sort=False):
        counts = {str(version): int(n) for version, n in part.value_counts(sort=False).items()}
        if module or counts:
            yield str(module), counts, int(part.isna().sum())


def _modules(rows: pd.DataFrame) -> "pd.Series[str]":
    """The user's module behind each row, empty where none is known."""
    model = rows["model"].astype(str)
    objective = rows["objective"] if "objective" in rows else pd.Series("", index=rows.index)
    named = model.where(model.str.contains(":"), objective.fillna("").astype(str))
    module = named.str.partition(":")[0]
    return module.where(~module.str.partition(".")[0].isin(PROJECT_PACKAGES), "")
