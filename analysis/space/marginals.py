"""One hyperparameter at a time, with the others drawn: curves, and how much depends on it."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from analysis.arrays import FloatArray
from analysis.comparison.estimand import Estimand
from analysis.comparison.secondary import tau_b
from analysis.edf.bands import method_for
from analysis.edf.intervals import within_interval
from analysis.edf.measured import SampleGroup, numeric_values, quartiles, ranking, sample_groups
from analysis.edf.samples import Sample
from analysis.edf.summary import clopper_pearson
from analysis.errors import TableError
from analysis.space.scale import Scale
from analysis.space.search_space import (
    SearchRange,
    SearchSpace,
    names_in,
    range_for,
    scale_note,
    scales_of,
    search_space_of,
)
from analysis.space.subspace import SLACK
from analysis.table.policies import Policy
from analysis.table.units import unit_of

BINS = 6
IMPORTANCE_PERMUTATIONS = 199
BIN_COLUMNS = [
    *("group", "low", "high", "n", "diverged", "within", "within_low", "within_high"),
    *("q25", "q50", "q75", "source"),
]
EXACT = "Intervals are those of Clopper and Pearson"
BAND = "Intervals are from a simultaneous band in each bin, at the observed best of the group"
IMPORTANCE = (
    "Secondary: tau-b sees monotone dependence, tau_distance growth away from the selected run; "
    "p-values are by permutation, one test each, not adjusted; there is no interval."
)


def marginals(
    table: pd.DataFrame,
    hyperparameter: str = "lr",
    space: SearchSpace = None,
    policy: Policy = "chance",
    *,
    bins: int = BINS,
    estimand: Estimand | None = None,
) -> pd.DataFrame:
    """Follow the error along one hyperparameter, with the others drawn, in bins of equal width.

    The bins are equal on the scale of the range (log or linear) and do not depend on the errors; a
    bin without trials has NaN. Of each, the share within d of the reference: with a
    reference fixed beforehand an exact binomial interval (Clopper and Pearson 1934); with the best
    of the group, which is no fixed threshold, the simultaneous band of the bin's own EDF, valid at
    any threshold. Each interval has its level alone, not all bins together.

    Args:
        table: of `load`, or any frame with the columns `model` and `error`.
        hyperparameter: a column, or with `space=None` a product such as `lr*weight_decay`.
        space: see `search_space_of`.
        policy: where diverged runs count.
        bins: number of bins, 1 or more.
        estimand: names d, the reference and the level; by default within 4 points of the best of
            each group ("sample-min"), 95%.

    Returns:
        A row per group and bin: `group`, `low`, `high` (ends of the bin, in its unit), `n`,
        `diverged`, `within`, `within_low`, `within_high`, `q25`, `q50`, `q75` (percent, of all
        trials of the bin, those at chance included, see `sample_quantile`), `source` of the range.
        Groups that the hyperparameter was not drawn for have no row.

    Raises:
        TableError: as `search_space_of`; trials that lie outside the search space.
        ValueError: bins below 1, a reference that is missing, a pilot, unknown policy.

    >>> table = pd.DataFrame({"model": "a", "error": [5.0, 6.0, 30.0], "lr": [0.01, 0.02, 1.0]})
    >>> marginals(table, "lr", {"lr": (0.01, 1.0)}, bins=2)[["n", "within", "q50"]].values.tolist()
    [[2.0, 1.0, 5.5], [1.0, 0.0, 30.0]]

    """
    asked = Estimand(unit=unit_of(table)) if estimand is None else estimand
    if bins < 1 or asked.pilot:
        raise ValueError(
            f"bins: got {bins}, allowed: 1 or more; pilot: got {asked.pilot}, allowed: 0"
        )
    ranges = search_space_of(table, space, [hyperparameter])
    rows = []
    for group in sample_groups(table, policy):
        of = range_for(ranges, hyperparameter, group.sample.group)
        rows += [] if of is None else _rows(group, of, bins, asked)
    found = pd.DataFrame(rows, columns=BIN_COLUMNS)
    kind = EXACT if asked.fixed else BAND
    level = f"{100 * asked.confidence:g}% for each bin alone"
    scales = scales_of(table, [hyperparameter], ranges)
    note = f"Share {asked.wording}. {kind}, {level}. {scale_note(scales)}"
    found.attrs.update(note=note.strip(), hyperparameter=hyperparameter, scales=scales)
    return found


def importance(
    table: pd.DataFrame,
    policy: Policy = "chance",
    *,
    hyperparameters: Sequence[str] | None = None,
    space: SearchSpace = None,
    rng: np.random.Generator | None = None,
    permutations: int = IMPORTANCE_PERMUTATIONS,
) -> pd.DataFrame:
    """Say how much the error depends on each hyperparameter: Kendall's tau-b, twice.

    `tau`, of the value with the error, is large where more (or less) of it is always worse.
    `tau_distance`, of its distance from the selected configuration with the error, is large where
    the error grows away from an optimum; on a log scale the distance is |log x - log x_selected|.
    It is selected anew in each permutation, so that having looked for it is part of the test:
    p = (1 + b) / (1 + B) of the B permutations of the errors over the configurations, two-sided.

    Args:
        table: of `load`, or any frame with the columns `model` and `error`.
        policy: where diverged runs count; runs no better than chance tie there.
        hyperparameters: columns or products; None for the known ones that vary.
        space: what the scales of the hyperparameters are taken from, see `search_space_of`.
        rng: draws the permutations; without it there are no p-values.
        permutations: B, at least 1.

    Returns:
        A row per group and hyperparameter: `group`, `hyperparameter`, `n` (trials of known
        error), `tau`, `p`, `tau_distance`, `p_distance`; taus in [-1, 1], NaN where one side is
        all ties. Secondary, as `attrs["note"]` says.

    Raises:
        TableError: an unknown hyperparameter, other faults of the table.
        ValueError: unknown policy, permutations below 1.

    >>> table = pd.DataFrame({"model": "a", "error": [8.0, 5.0, 9.0], "lr": [0.01, 0.1, 10.0]})
    >>> importance(table)[["tau", "tau_distance"]].round(3).values.tolist()
    [[0.333, 1.0]]

    """
    if permutations < 1:
        raise ValueError(f"permutations: got {permutations}, allowed: 1 or more")
    groups = sample_groups(table, policy)
    names = names_in(table, hyperparameters)
    scales = scales_of(table, names, space)
    rows = []
    for group in groups:
        ranks = ranking(group)[0]
        for name in names:
            x = _scaled(numeric_values(group.known, name), scales[name][0])
            if x.size and np.isnan(x).all():
                continue  # a hyperparameter of the other optimizer
            taus, p = _taus(x, group.sample.errors, ranks, rng, permutations)
            rows.append(
                {
                    "group": group.sample.label,
                    "hyperparameter": name,
                    "n": x.size,
                    "tau": taus[0],
                    "p": p[0],
                    "tau_distance": taus[1],
                    "p_distance": p[1],
                }
            )
    found = pd.DataFrame(rows)
    found.attrs["note"] = " ".join(filter(None, [IMPORTANCE, scale_note(scales)]))
    return found


def _rows(
    group: SampleGroup, of: SearchRange, bins: int, estimand: Estimand
) -> list[dict[str, object]]:
    place = _bins_of(group, of, bins)
    edges = of.at(np.linspace(0.0, 1.0, bins + 1)).tolist()
    rows = []
    for i in range(bins):
        inside = _in_bin(group, place, i)
        rows.append(
            {
                "group": group.sample.label,
                "low": edges[i],
                "high": edges[i + 1],
                "n": inside.n,
                "diverged": inside.diverged,
                **_near(inside, group.sample, estimand),
                **quartiles(inside),
                "source": of.source,
            }
        )
    return rows


def _bins_of(
    group: SampleGroup, of: SearchRange, bins: int
) -> "np.ndarray[tuple[int], np.dtype[np.intp]]":
    """Number of each trial's bin; the upper end belongs to the last."""
    position = of.position(numeric_values(group.rows, of.name))
    outside = ~((position >= -SLACK) & (position <= 1.0 + SLACK))
    if outside.any():
        raise TableError(
            [
                f"{of.name}: {int(outside.sum())} trials of {group.sample.label!r} lie outside "
                f"the search space, {of.low:g} to {of.high:g}"
            ]
        )
    return np.clip(np.floor(position * bins).astype(np.intp), 0, bins - 1)


def _in_bin(
    group: SampleGroup, place: "np.ndarray[tuple[int], np.dtype[np.intp]]", i: int
) -> Sample:
    known = group.sample.errors.size
    there = place[:known] == i
    return replace(
        group.sample,
        errors=group.sample.errors[there],
        unknown=int((place[known:] == i).sum()),
        diverged=int(group.known["outcome"].eq("diverged").to_numpy()[there].sum()),
        points=(),
    )


def _near(inside: Sample, whole: Sample, estimand: Estimand) -> dict[str, float]:
    """Share of a bin within d of the reference, and its interval."""
    d, level = estimand.d, estimand.confidence
    base = estimand.reference_of(whole)
    share = inside.share_within(d, base)[0] if inside.n else np.nan
    low, high = np.nan, np.nan
    if inside.has_band and estimand.fixed:
        near = round(share * inside.n)
        low = clopper_pearson(near, inside.n, level)[0]
        high = clopper_pearson(near + inside.unknown, inside.n, level)[1]
    elif inside.has_band:
        low, high = within_interval(inside, d, base, level, method_for(inside.n, estimand.method))[
            1:
        ]
    return {"within": share, "within_low": low, "within_high": high}


def _scaled(values: FloatArray, scale: Scale) -> FloatArray:
    positive = bool((values[np.isfinite(values)] > 0).all())
    return np.log(values) if positive and scale == "log" else values


def _taus(
    x: FloatArray,
    errors: FloatArray,
    ranks: FloatArray,
    rng: np.random.Generator | None,
    permutations: int,
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Both taus of one hyperparameter, and their p-values."""
    found = _pair(x, errors, ranks)
    if rng is None:
        return found, (np.nan, np.nan)
    reached = np.zeros(2)
    for _ in range(permutations):
        order = rng.permutation(x.size)
        other = _pair(x, errors[order], ranks[order])
        reached += np.abs(other) >= np.abs(found) - 1e-12
    p = np.where(np.isnan(found), np.nan, (1 + reached) / (1 + permutations))
    return found, (float(p[0]), float(p[1]))


def _pair(x: FloatArray, errors: FloatArray, ranks: FloatArray) -> tuple[float, float]:
    first = ranks == 0
    distance = np.abs(x - x[first].mean()) if first.any() else np.zeros(x.size)
    return tau_b(x, errors), tau_b(distance, errors)
