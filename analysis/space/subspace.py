"""Another law than the one drawn from: subspaces by selection, other laws by weights."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, NoReturn

import numpy as np
import numpy.typing as npt
import pandas as pd

from analysis.edf.measured import numeric_values
from analysis.edf.step_function import EDF
from analysis.errors import TableError
from analysis.space.search_space import (
    Ends,
    SearchRange,
    SearchSpace,
    drawn_alike,
    range_for,
    search_space_of,
)
from analysis.table.load import as_table

SLACK = 1e-6
"""Share of the width of a range: drawn values are stored with 6 significant digits."""
SELECTED = "selected"
"""`sampler` of rows that were chosen after their errors had been seen: no band."""


def subspace(
    table: pd.DataFrame,
    inside: Mapping[str, Ends] | Sequence[SearchRange],
    space: SearchSpace = None,
    *,
    relative: bool = False,
    beforehand: bool = True,
) -> pd.DataFrame:
    """Keep the trials inside a smaller search space: a sample of it, without training anything.

    Given its count, what falls into a subspace fixed beforehand is an independent sample of the
    law restricted to it, so that every band stays exact. A subspace that was chosen after the
    errors had been seen is a choice of errors: pass `beforehand=False`, and it gets no band.

    Args:
        table: of `load`, or any frame with the columns `model` and `error`, and the draws.
        inside: `{name: (low, high)}` in the unit of each hyperparameter, the same for all models,
            or ranges (each model or optimizer its own); both ends belong to it.
        space: what was drawn from, see `search_space_of`; the subspace has to lie in it.
        relative: the ends are positions in the ranges of each model and optimizer, 0 to 1 on
            their scale, so that the same draws are kept for all of them and pairs stay pairs.
        beforehand: whether the subspace was fixed before any error was seen.

    Returns:
        The rows inside, in their order; `attrs["note"]` says for which subspaces it is valid.
        With `beforehand=False` the column `sampler` is "selected" and samples have no band.

    Raises:
        TableError: ends outside the search space or the wrong way round, unknown
            hyperparameters, no trial inside, other faults of the table.

    >>> table = pd.DataFrame({"model": "a", "error": [1.0, 2.0, 3.0], "lr": [0.01, 0.1, 1.0]})
    >>> subspace(table, {"lr": (0.5, 1.0)}, relative=True)["error"].tolist()
    [2.0, 3.0]

    """
    table = as_table(table)
    wanted = _wanted(inside)
    whole = search_space_of(table, space, list(dict.fromkeys(r[0] for r in wanted)))
    kept = np.ones(len(table), dtype=bool)
    narrowed: list[dict[str, object]] = []
    faults: list[str] = []
    for columns, rows in drawn_alike(table):
        for name, ends, applies in wanted:
            of = range_for(whole, name, columns)
            if not applies(columns):
                continue
            if of is None:
                faults.append(
                    f"{name}: not drawn from an interval for {' '.join(map(str, columns.values()))}"
                )
                continue
            low, high = ends if relative else of.position(ends)
            if not -SLACK <= low <= high <= 1.0 + SLACK:
                allowed = "0 to 1" if relative else f"{of.low:g} to {of.high:g}"
                faults.append(f"{name}: got {ends[0]:g} to {ends[1]:g}, allowed: within {allowed}")
            narrowed += [_entry(of, low, high, columns)] if low < high else []
            position = of.position(numeric_values(table.iloc[rows], name))
            kept[rows] &= (low - SLACK <= position) & (position <= high + SLACK)
    if not faults and not kept.any():
        faults = ["no trial lies inside the subspace"]
    if faults:
        raise TableError(list(dict.fromkeys(faults)))
    result = table[kept].reset_index(drop=True)
    result.attrs["note"] = _note(whole, kept, beforehand=beforehand)
    if known := table.attrs.get("search_space"):  # the first entry that applies is the one used
        result.attrs["search_space"] = [*narrowed, *known]
    return result if beforehand else result.assign(sampler=SELECTED)


def _entry(
    of: SearchRange, low: float, high: float, columns: Mapping[str, object]
) -> dict[str, object]:
    """The part of a range between two positions, as `ranges_from` reads it."""
    groups = {f"{c}s": [columns[c]] for c in ("model", "optim") if isinstance(columns.get(c), str)}
    ends = {"low": float(of.at(low)), "high": float(of.at(high))}
    return {"name": of.name, **ends, "scale": of.scale, **groups}


def _note(whole: Sequence[SearchRange], kept: "npt.NDArray[np.bool_]", *, beforehand: bool) -> str:
    count = f"{int(kept.sum())} of {kept.size} trials inside the subspace"
    observed = any(r.source.startswith("observed") for r in whole)
    edges = "; the search space is known only by the values observed" if observed else ""
    if not beforehand:
        return f"{count}{edges}; chosen after its errors were seen: no band."
    return f"{count}{edges}; bands hold for a subspace fixed beforehand, given this count."


def _wanted(inside: Mapping[str, Ends] | Sequence[SearchRange]) -> list[tuple[str, Ends, Any]]:
    """List the subspace as (name, ends, which groups it applies to)."""
    if isinstance(inside, Mapping):
        return [(name, ends, lambda _: True) for name, ends in inside.items()]
    return [(r.name, (r.low, r.high), r.applies_to) for r in inside]


@dataclass(frozen=True, eq=False)
class WeightedEDF(EDF):
    """A step curve of weighted values: it has no band."""

    def band(self, *_: object, **__: object) -> NoReturn:
        """Refuse: bands count independent values of the law that is judged.

        Raises:
            ValueError: always.

        """
        raise ValueError("no band: the values were drawn from another law and are weighted")


class Reweighted(NamedTuple):
    """What a sample says about another law than its own."""

    edf: WeightedEDF
    effective_n: float
    """Independent draws of the other law that would be as precise, roughly."""


def reweighted(errors: npt.ArrayLike, weights: npt.ArrayLike) -> Reweighted:
    """Take the EDF under another law: F(x) = sum of w_i over e_i <= x, divided by the sum of w.

    w_i is the density of the other law at configuration i over that of the law drawn from (say
    the learning rate itself, for "uniform in lr" from log-uniform draws). effective_n =
    (sum w)^2 / sum w^2 (Kish 1965). An estimate: there is no band for it.

    Args:
        errors: (n,), real numbers or +inf.
        weights: (n,), 0 or more, not all 0; only their ratios count.

    Returns:
        The curve, whose `band` refuses, and the effective number of draws, 1 to n.

    Raises:
        ValueError: shapes that differ, negative, infinite or no weights, NaN among the errors.

    >>> found = reweighted([10.0, 20.0, 30.0], [2.0, 1.0, 1.0])
    >>> found.edf(10.0), round(found.effective_n, 3)
    (0.5, 2.667)

    """
    values, w = np.asarray(errors, dtype=np.float64), np.asarray(weights, dtype=np.float64)
    if values.shape != w.shape:
        raise ValueError(
            f"weights: got shape {w.shape}, allowed: that of the errors {values.shape}"
        )
    plain = EDF.of(values)
    if not (np.isfinite(w).all() and (w >= 0).all() and w.max() > 0):
        raise ValueError("weights: got a negative, an infinite or no positive one, allowed: >= 0")
    w = w / w.max()  # squares of tiny or huge ones would leave the range of floats
    mass = np.bincount(np.searchsorted(plain.x, values), w, plain.x.size)
    height = np.minimum(np.cumsum(mass) / mass.sum(), 1.0)
    height[-1] = 1.0
    edf = WeightedEDF(plain.x.copy(), height, plain.n)
    return Reweighted(edf, float(w.sum() ** 2 / (w**2).sum()))
