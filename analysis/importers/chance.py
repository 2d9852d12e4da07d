"""What a useless run is: the error of chance, and who is no better.

The error of chance is c = 100 (1 - share of the largest class). A model that answers one class
always has the error 100 (1 - share of that class), which is c for the largest class and more for
every other: runs that end as constant predictions of different classes end at different errors,
all of them at c or above. So one threshold at c finds them all, given the shares of the classes;
with balanced classes assumed (`1 - 1/k`) it does not, because the largest class is larger than
that. A guess that is right with probability 1 - c/100 varies: three standard deviations are allowed
for it, where the number of evaluated examples is known.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from analysis.importers.cells import is_finite
from analysis.table.collapse import is_collapsed

WITHOUT_N = "no --n-eval, so no allowance for the luck of a guess"
SPIKE_COUNT = 5
"""Fewest runs at one error that count as a spike."""
SPIKE_SHARE = 0.01
"""Smallest share of all runs that counts as a spike."""
SPIKE_FACTOR = 5
"""A spike has this many times the mean count of the others (rounding repeats errors too)."""
SPIKE_DISTANCE = 10.0
"""Points above the best error from which a spike is suspicious."""


@dataclass(frozen=True, kw_only=True)
class ChanceLevel:
    """The error of always answering the largest class, in percent, and where it comes from."""

    error: float
    said: str
    n_eval: int | None = None

    @classmethod
    def of_classes(cls, classes: int) -> "ChanceLevel":
        """For `classes` classes of equal size.

        >>> ChanceLevel.of_classes(10).error
        90.0
        """
        error = round(100.0 * (classes - 1) / classes, 10)
        return cls(error=error, said=f"{error:.6g}%, {classes} classes taken as balanced")

    @classmethod
    def of_counts(cls, counts: Sequence[int]) -> "ChanceLevel":
        """For classes with so many evaluated examples each.

        >>> chance = ChanceLevel.of_counts([3479, 3123, 3213])  # MultiNLI, matched validation
        >>> round(chance.error, 4), chance.n_eval
        (64.5543, 9815)
        """
        n = sum(counts)
        error = 100.0 * (n - max(counts)) / n
        said = f"{error:.6g}%, the error of always answering the largest class of {n} examples"
        return cls(error=error, said=said, n_eval=n)

    @classmethod
    def given(cls, error: float) -> "ChanceLevel":
        """As a person says it."""
        return cls(error=error, said=f"{error:.6g}%, as given")


def mark_collapsed(table: pd.DataFrame) -> int:
    """Call the useless among the `ok` runs of a table collapsed, in place; returns how many.

    Args:
        table: columns `outcome`, `error` (percent), `chance` (percent), and `n_eval` or not.

    """
    n_evals = table["n_eval"] if "n_eval" in table else pd.Series(None, table.index, dtype=object)
    useless = [
        outcome == "ok"
        and is_finite(chance)
        and is_collapsed(error, chance, n if is_finite(n) else None)
        for outcome, error, chance, n in zip(
            table["outcome"], table["error"], table["chance"], n_evals, strict=True
        )
    ]
    table.loc[useless, "outcome"] = "collapsed"
    return sum(useless)


def counts_of(table: pd.DataFrame) -> list[int | None] | None:
    """Wrong answers of each run, where every error is a whole number of them; else None.

    An error that is an average, or that belongs to another number of examples, is no multiple of
    100/n. Errors come rounded; half a step would fit anything, a quarter is asked for.
    """
    counts: list[int | None] = []
    for error, n in zip(table["error"], table["n_eval"], strict=True):
        if not is_finite(error) or not is_finite(n):
            counts.append(None)
            continue
        wrong = error * n / 100.0
        if abs(wrong - round(wrong)) > 0.25:
            return None
        counts.append(round(wrong))
    return counts


def error_spikes(errors: Sequence[float]) -> dict[float, int]:
    """Errors at which far more runs end than at any other, as constant predictions do.

    A spike proves nothing: it is only reported, and no run is called collapsed for it.

    Args:
        errors: of the runs that count as ok, in percent.

    Returns:
        The errors, smallest first, with the number of runs at each.

    >>> error_spikes([*(10 + i / 100 for i in range(90)), *[64.5543] * 9, *[67.2644] * 11])
    {64.5543: 9, 67.2644: 11}
    """
    found = pd.Series(list(errors), dtype="float64").value_counts()
    is_common = found >= max(SPIKE_COUNT, SPIKE_SHARE * len(errors))
    others = found[~is_common]
    if others.empty:
        return {}
    is_bad = found.index >= min(errors) + SPIKE_DISTANCE
    spikes = found[is_common & is_bad & (found >= SPIKE_FACTOR * others.mean())].sort_index()
    return dict(zip(spikes.index.tolist(), spikes.tolist(), strict=True))
