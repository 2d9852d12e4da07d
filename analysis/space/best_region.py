"""Where the selected configurations lie, and whether the search space was wide enough."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from analysis.arrays import FloatArray
from analysis.edf.measured import SampleGroup, numeric_values, ranking, sample_groups, select_run
from analysis.edf.samples import Sample
from analysis.space.search_space import (
    SearchRange,
    SearchSpace,
    names_in,
    range_for,
    scale_note,
    scales_of,
    search_space_of,
)
from analysis.table.policies import Policy, error_name
from analysis.table.units import unit_of

EDGE_WIDTH = 0.05
"""Share of the width of a range, on its scale: nearer to an end than this is at the edge."""
SPAN_COLUMNS = [
    *("group", "hyperparameter", "selected", "low", "median", "high"),
    *("n", "m", "runs", "no_winner", "selected_on"),
]
EDGE_COLUMNS = [
    *("group", "hyperparameter", "value", "low", "high", "position", "edge"),
    *("n", "miss", "source", "selected_on"),
]
SPAN = (
    "Span of the best: where the winners of resamples lie, exactly. It is no interval for the best "
    "value there is; it narrows with n only as far as the few best runs happen to lie together."
)


def winning_probabilities(errors: FloatArray, m: int) -> FloatArray:
    """Probability that each of n runs wins a resample of m, drawn with replacement.

    P(rank i wins) = ((n - i + 1) / n)^m - ((n - i) / n)^m. Runs that tie share their probability:
    which of them is drawn first, and so found first, is equally likely for each.

    Args:
        errors: shape (n,), +inf allowed; only their order counts.
        m: size of a resample, at least 1.

    Returns:
        Shape (n,), in the order given, of sum 1.

    Raises:
        ValueError: no errors, a NaN among them, m below 1.

    >>> winning_probabilities(np.array([7.0, 5.0, 5.0]), 1).round(3).tolist()
    [0.333, 0.333, 0.333]
    >>> winning_probabilities(np.array([7.0, 5.0]), 2).tolist()
    [0.25, 0.75]

    """
    n = errors.size
    if n == 0 or m < 1 or np.isnan(errors).any():
        raise ValueError(f"got {n} errors, m = {m}, allowed: at least 1 of each, and no NaN")
    _, place, counts = np.unique(errors, return_inverse=True, return_counts=True)
    after = n - np.cumsum(counts)
    mass = ((after + counts) / n) ** m - (after / n) ** m
    return np.asarray((mass / counts)[place])


def span_of_the_best(
    table: pd.DataFrame,
    policy: Policy = "chance",
    *,
    hyperparameters: Sequence[str] | None = None,
    fraction: float = 0.25,
    mass: float = 0.95,
) -> pd.DataFrame:
    """Show where the best of a smaller study would have lain: percentiles of the winner's values.

    pycls resamples n/4 runs 2500 times and takes percentiles of the winner's learning rate
    (`pycls/sweep/analysis.py`, `get_filters`); this is the law that it samples from, without
    simulation (`winning_probabilities`). With m = n/4 it is in truth the span of about the best
    dozen runs, whatever n: `runs` says how many share 95% of the wins.

    Args:
        table: of `load`, or any frame with the columns `model` and `error`.
        policy: where diverged runs count; runs at chance stay in n and win over no usable run.
        hyperparameters: columns, or products such as `lr*weight_decay`; None for the known ones.
        fraction: of n, in (0, 1]: m = max(1, floor(fraction n)).
        mass: of the percentiles, equal tails, in (0, 1).

    Returns:
        A row per group and hyperparameter: `group`, `hyperparameter`, `selected` (value of the
        selected run, the smallest where several tie), `low`, `median`, `high` (percentiles of the
        law of the winner's value, in its unit; each is a value that was drawn), `n`, `m`, `runs`,
        `no_winner` (probability that a resample holds no usable run; the percentiles are of those
        that do), `selected_on`. It has no interval, and `attrs["note"]` says so.

    Raises:
        TableError: an unknown hyperparameter, faults of the table.
        ValueError: fraction or mass out of range, unknown policy.

    >>> table = pd.DataFrame({"model": "a", "error": [5.0, 6.0, 7.0, 8.0], "lr": [1e-3, 0.1, 1, 2]})
    >>> span_of_the_best(table, fraction=0.5)[["low", "median", "high"]].values.tolist()
    [[0.001, 0.1, 2.0]]

    """
    if not (0.0 < fraction <= 1.0 and 0.0 < mass < 1.0):
        raise ValueError(
            f"got fraction {fraction} and mass {mass}, allowed: above 0 to 1, between 0 and 1"
        )
    names = names_in(table, hyperparameters)
    groups = sample_groups(table, policy)
    found = pd.DataFrame(
        [row for group in groups for row in _spans(group, names, fraction, mass)],
        columns=SPAN_COLUMNS,
    )
    images = " and ".join(sorted(set(found["selected_on"])))
    found.attrs["note"] = (
        f"{SPAN} Runs are ranked by their {images} error; the first of all n is the selected one."
    )
    return found


def landscape(
    table: pd.DataFrame,
    policy: Policy = "chance",
    *,
    hyperparameters: Sequence[str] | None = None,
    space: SearchSpace = None,
) -> pd.DataFrame:
    """List where each trial lies and how it ended: the points of a scatter plot.

    Args:
        table: of `load`, or any frame with the columns `model` and `error`.
        policy: where diverged runs count.
        hyperparameters: columns or products; None for the known ones that vary.
        space: what the scales of the hyperparameters are taken from, see `search_space_of`.

    Returns:
        A row per trial of known error: `group`, each hyperparameter, `error` (percent), `usable`
        (better than chance), `selected` (by validation error where there is one; several where
        they tie), `selected_on`. `attrs["scales"]` is as `scales_of` has it.

    Raises:
        TableError: an unknown hyperparameter, faults of the table.
        ValueError: unknown policy.

    >>> table = pd.DataFrame({"model": "a", "error": [5.0, None], "lr": [0.1, 1.0]})
    >>> landscape(table)[["lr", "usable", "selected"]].values.tolist()
    [[0.1, True, True], [1.0, False, False]]

    """
    names = names_in(table, hyperparameters)
    found = []
    for group in sample_groups(table, policy):
        sample, (ranks, on) = group.sample, ranking(group)
        worst = np.inf if sample.chance is None else sample.chance
        values = {name: numeric_values(group.known, name) for name in names}
        ends = {"error": sample.errors, "usable": sample.errors < worst, "selected": ranks == 0}
        found.append(pd.DataFrame({"group": sample.label, **values, **ends, "selected_on": on}))
    points = pd.concat(found, ignore_index=True)
    points.attrs["error"] = error_name(policy, unit_of(table))
    points.attrs["scales"] = scales_of(table, names, space)
    return points


def edge_warnings(
    table: pd.DataFrame,
    space: SearchSpace = None,
    policy: Policy = "chance",
    *,
    hyperparameters: Sequence[str] | None = None,
    near: float = EDGE_WIDTH,
) -> pd.DataFrame:
    """Flag each selected configuration at an edge of the search space: better ones may lie outside.

    No flag does not settle it. If the error falls all the way to one edge, the best of n
    independent draws still misses the outer share `near` of that side with probability
    (1 - near)^n: 44% for 16 draws and 5%, 4% for 64.

    Args:
        table: of `load`, or any frame with the columns `model` and `error`.
        space: see `search_space_of`. With ranges that are only observed, one of the outermost runs
            is at the edge by definition (`source` says "observed").
        policy: where diverged runs count.
        hyperparameters: None for those of the search space.
        near: share of the width of each range on its scale (log or linear), in [0, 0.5).

    Returns:
        A row per group, hyperparameter and selected run (several where they tie): `group`,
        `hyperparameter`, `value`, `low`, `high` (its unit), `position` (0 to 1), `edge` ("low",
        "high" or ""), `n` (trials of known error), `miss` (probability to miss, as above; NaN
        where draws are not independent), `source`, `selected_on`. Groups without a usable run have
        no row.

    Raises:
        TableError: as `search_space_of`.
        ValueError: near out of range, unknown policy.

    >>> table = pd.DataFrame({"model": "a", "error": [5.0, 6.0], "lr": [0.0011, 0.01]})
    >>> found = edge_warnings(table, {"lr": (0.001, 0.1, "log")})
    >>> found[["position", "edge", "miss"]].round(4).values.tolist()
    [[0.0207, 'low', 0.9025]]

    """
    if not 0.0 <= near < 0.5:
        raise ValueError(f"near: got {near}, allowed: 0 or more, below 0.5")
    ranges = search_space_of(table, space, hyperparameters)
    rows = [
        row
        for group in sample_groups(table, policy)
        for name in dict.fromkeys(r.name for r in ranges)
        if (of := range_for(ranges, name, group.sample.group)) is not None
        for row in _edge_rows(group, of, near)
    ]
    found = pd.DataFrame(rows, columns=EDGE_COLUMNS)
    scales = scales_of(table, list(dict.fromkeys(r.name for r in ranges)), ranges)
    found.attrs["note"] = " ".join(filter(None, [edge_sentence(found, near), scale_note(scales)]))
    return found


def edge_sentence(found: pd.DataFrame, near: float = EDGE_WIDTH) -> str:
    """Say which optima lie at an edge and how much that says, for the foot of a table or figure.

    >>> table = pd.DataFrame({"model": "a", "error": [5.0, 6.0], "lr": [0.0011, 0.01]})
    >>> edge_sentence(edge_warnings(table, {"lr": (0.001, 0.1, "log")}))
    'At an edge of the search space, so that better ones may lie outside: lr of a (low).'
    """
    if found.empty:
        return "No run is better than chance: nothing is known about the edges."
    flagged = found[found["edge"].ne("")]
    named = [f"{r.hyperparameter} of {r.group} ({r.edge})" for r in flagged.itertuples()]
    said = ", ".join(dict.fromkeys(named))
    sentences = [
        f"At an edge of the search space, so that better ones may lie outside: {said}."
        if said
        else f"No selected run lies within {100 * near:g}% of an edge of the search space.",
        _miss_sentence(found[found["edge"].eq("")], near),
        "The search space is not known: its edges are the outermost values drawn."
        if found["source"].str.startswith("observed").any()
        else "",
    ]
    return " ".join(filter(None, sentences))


def _miss_sentence(rows: pd.DataFrame, near: float) -> str:
    """Say how likely an optimum at an edge is to be missed; empty where everything is flagged."""
    known = {n: p for n, p in zip(rows["n"], rows["miss"], strict=True) if np.isfinite(p)}
    if not known:
        return "" if rows.empty else "How much that says is not known: draws are not independent."
    chances = " and ".join(
        f"{f'{known[n]:.0%}' if known[n] >= 0.01 else 'below 1%'} at n = {n}"
        for n in dict.fromkeys([min(known), max(known)])
    )
    return (
        "How much a missing flag says depends on n: even if the error fell all the way to an edge, "
        f"the best of n draws would miss the outer {100 * near:g}% of that side with probability "
        f"(1 - {near:g})^n, {chances}."
    )


def _edge_rows(group: SampleGroup, of: SearchRange, near: float) -> list[tuple[object, ...]]:
    """Rows of one group and hyperparameter, as `EDGE_COLUMNS` has them."""
    choice, sample = select_run(group), group.sample
    n = sample.errors.size
    miss = (1.0 - near) ** n if sample.has_band else np.nan
    values = numeric_values(choice.rows, of.name)
    rows: list[tuple[object, ...]] = []
    for value, place in zip(values.tolist(), of.position(values).tolist(), strict=True):
        edge = "low" if place <= near else "high" if place >= 1.0 - near else ""
        where = (sample.label, of.name, value, of.low, of.high, place, edge)
        rows.append((*where, n, miss, of.source, choice.selected_on))
    return rows


def _spans(
    group: SampleGroup, names: Sequence[str], fraction: float, mass: float
) -> list[tuple[object, ...]]:
    """Rows of one group, as `SPAN_COLUMNS` has them."""
    ranks, on = ranking(group)
    sample = group.sample
    m = max(1, int(fraction * sample.n))
    shares = _wins(sample, ranks, m)
    size = sample.n, m, _runs(shares, mass), 1.0 - float(shares.sum()), on
    rows: list[tuple[object, ...]] = []
    for name in names:
        values = numeric_values(group.known, name)
        if values.size and np.isnan(values).all():
            continue  # a hyperparameter of the other optimizer
        rows.append((sample.label, name, *_percentiles(values, ranks, shares, mass), *size))
    return rows


def _wins(sample: Sample, ranks: FloatArray, m: int) -> FloatArray:
    """Probability of each known run to win; trials of unknown error are in n and never win."""
    everyone = np.append(ranks, np.full(sample.unknown, np.inf))
    if not everyone.size:
        return np.zeros(0)
    shares = winning_probabilities(everyone, m)[: ranks.size]
    return np.asarray(np.where(np.isfinite(ranks), shares, 0.0))


def _runs(shares: FloatArray, mass: float) -> int:
    """How many of the best runs share the mass of the wins."""
    total = np.cumsum(np.sort(shares)[::-1])
    return int(np.searchsorted(total, mass * total[-1] * (1 - 1e-12))) + 1 if shares.any() else 0


def _percentiles(
    values: FloatArray, ranks: FloatArray, shares: FloatArray, mass: float
) -> tuple[float, ...]:
    """The selected run's value, and the ends and the middle of the winners' law."""
    if not shares.any():
        return (np.nan,) * 4
    order = np.argsort(values, kind="stable")
    total = np.cumsum(shares[order]) / shares.sum()
    tail = (1.0 - mass) / 2.0
    places = np.searchsorted(total, np.array([tail, 0.5, 1.0 - tail]) - 1e-12)
    return (float(values[ranks == 0].min()), *values[order][places].tolist())
