"""Where the best configurations lie, and whether the search space was wide enough."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from analysis.arrays import FloatArray
from analysis.edf.measured import SampleGroup, choose_best, numeric_values, ranking, sample_groups
from analysis.edf.samples import Sample
from analysis.space.search_space import SearchSpace, names_in, range_for, search_space_of
from analysis.table.policies import Policy, error_name
from analysis.table.units import unit_of

EDGE_WIDTH = 0.05
"""Share of the width of a range, on its scale: nearer to an end than this is at the edge."""
SPAN_COLUMNS = [
    *("group", "hyperparameter", "best", "low", "median", "high"),
    *("n", "m", "runs", "no_winner", "selected_on"),
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
        policy: where diverged runs count; failures stay in n and never win over a usable run.
        hyperparameters: columns, or products such as `lr*weight_decay`; None for the known ones.
        fraction: of n, in (0, 1]: m = max(1, floor(fraction n)).
        mass: of the percentiles, equal tails, in (0, 1).

    Returns:
        A row per group and hyperparameter: `group`, `hyperparameter`, `best` (the smallest where
        several tie), `low`, `median`, `high` (in its unit; values that were drawn), `n`, `m`,
        `runs`, `no_winner` (probability that a resample holds no usable run; the percentiles are
        of those that do), `selected_on`. It has no interval, and `attrs["note"]` says so.

    Raises:
        TableError: an unknown hyperparameter, faults of the table.
        ValueError: fraction or mass out of range, unknown policy.

    >>> table = pd.DataFrame({"model": "a", "error": [5.0, 6.0, 7.0, 8.0], "lr": [1e-3, 0.1, 1, 2]})
    >>> span_of_the_best(table, fraction=0.5)[["best", "low", "median", "high"]].values.tolist()
    [[0.001, 0.001, 0.1, 2.0]]

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
    found.attrs["note"] = f"{SPAN} Runs are ranked by their {images} error."
    return found


def landscape(
    table: pd.DataFrame,
    policy: Policy = "chance",
    *,
    hyperparameters: Sequence[str] | None = None,
) -> pd.DataFrame:
    """List where each trial lies and how it ended: the points of a scatter plot.

    Args:
        table: of `load`, or any frame with the columns `model` and `error`.
        policy: where diverged runs count.
        hyperparameters: columns or products; None for the known ones that vary.

    Returns:
        A row per trial of known error: `group`, each hyperparameter, `error` (percent), `usable`
        (better than chance), `best` (chosen by validation error where there is one; several where
        they tie).

    Raises:
        TableError: an unknown hyperparameter, faults of the table.
        ValueError: unknown policy.

    >>> table = pd.DataFrame({"model": "a", "error": [5.0, None], "lr": [0.1, 1.0]})
    >>> landscape(table)[["lr", "usable", "best"]].values.tolist()
    [[0.1, True, True], [1.0, False, False]]

    """
    names = names_in(table, hyperparameters)
    found = []
    for group in sample_groups(table, policy):
        sample, ranks = group.sample, ranking(group)[0]
        worst = np.inf if sample.chance is None else sample.chance
        values = {name: numeric_values(group.known, name) for name in names}
        ends = {"error": sample.errors, "usable": sample.errors < worst, "best": ranks == 0}
        found.append(pd.DataFrame({"group": sample.label, **values, **ends}))
    points = pd.concat(found, ignore_index=True)
    points.attrs["error"] = error_name(policy, unit_of(table))
    return points


def edge_warnings(
    table: pd.DataFrame,
    space: SearchSpace = None,
    policy: Policy = "chance",
    *,
    hyperparameters: Sequence[str] | None = None,
    near: float = EDGE_WIDTH,
) -> pd.DataFrame:
    """Flag each best configuration at an edge of the search space: a better one may lie outside.

    Args:
        table: of `load`, or any frame with the columns `model` and `error`.
        space: a run directory, whose `study.toml` has the ranges; `{name: (low, high)}`; ranges; or
            None for the smallest and largest value observed, where one of the outermost runs is
            at the edge by definition (`source` says "observed").
        policy: where diverged runs count.
        hyperparameters: None for those of the search space.
        near: share of the width of each range on its scale (log or linear), in [0, 0.5).

    Returns:
        A row per group, hyperparameter and best run (several where they tie): `group`,
        `hyperparameter`, `value`, `low`, `high` (its unit), `position` (0 to 1), `edge` ("low",
        "high" or ""), `source`, `selected_on`. Groups without a usable run have no row.

    Raises:
        TableError: as `search_space_of`.
        ValueError: near out of range, unknown policy.

    >>> table = pd.DataFrame({"model": "a", "error": [5.0, 6.0], "lr": [0.0011, 0.01]})
    >>> edge_warnings(table, {"lr": (0.001, 0.1)})[["position", "edge"]].round(3).values.tolist()
    [[0.021, 'low']]

    """
    if not 0.0 <= near < 0.5:
        raise ValueError(f"near: got {near}, allowed: 0 or more, below 0.5")
    ranges = search_space_of(table, space, hyperparameters)
    rows = []
    for group in sample_groups(table, policy):
        choice = choose_best(group)
        for name in dict.fromkeys(r.name for r in ranges):
            of = range_for(ranges, name, group.sample.group)
            if of is None:
                continue
            values = numeric_values(choice.rows, name)
            rows += [
                {
                    "group": group.sample.label,
                    "hyperparameter": name,
                    "value": value,
                    "low": of.low,
                    "high": of.high,
                    "position": place,
                    "edge": "low" if place <= near else "high" if place >= 1.0 - near else "",
                    "source": of.source,
                    "selected_on": choice.selected_on,
                }
                for value, place in zip(values.tolist(), of.position(values).tolist(), strict=True)
            ]
    columns = ["group", "hyperparameter", "value", "low", "high", "position", "edge", "source"]
    found = pd.DataFrame(rows, columns=[*columns, "selected_on"])
    found.attrs["note"] = edge_sentence(found)
    return found


def edge_sentence(found: pd.DataFrame) -> str:
    """Say which optima lie at an edge, for the foot of a table or figure.

    >>> table = pd.DataFrame({"model": "a", "error": [5.0, 6.0], "lr": [0.0011, 0.01]})
    >>> edge_sentence(edge_warnings(table, {"lr": (0.001, 0.1)}))
    'At an edge of the search space, so that better ones may lie outside: lr of a (low).'
    """
    flagged = found[found["edge"].ne("")]
    observed = found["source"].eq("observed").any()
    note = (
        " The search space is not known: its edges are the outermost values drawn."
        if observed
        else ""
    )
    if flagged.empty:
        return f"No optimum lies at an edge of the search space.{note}"
    named = [f"{r.hyperparameter} of {r.group} ({r.edge})" for r in flagged.itertuples()]
    said = ", ".join(dict.fromkeys(named))
    return f"At an edge of the search space, so that better ones may lie outside: {said}.{note}"


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
    """Probability of each known run to win; trials of unknown error are in n as failures."""
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
    """The best run's value, and the ends and the middle of the winners' law."""
    if not shares.any():
        return (np.nan,) * 4
    order = np.argsort(values, kind="stable")
    total = np.cumsum(shares[order]) / shares.sum()
    tail = (1.0 - mass) / 2.0
    places = np.searchsorted(total, np.array([tail, 0.5, 1.0 - tail]) - 1e-12)
    return (float(values[ranks == 0].min()), *values[order][places].tolist())
