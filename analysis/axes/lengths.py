"""Schedule length: what a shorter schedule costs, and whether it asks the same question.

Speed and stability are told apart: a gap that closes with length is speed; stability is the share
of configurations near the best of each length.
"""

from typing import Any

import numpy as np
import pandas as pd

from analysis.comparison.dominance import difference_of
from analysis.comparison.pairs import pair_up
from analysis.comparison.secondary import tau_b
from analysis.edf.intervals import Interval, if_band, quantile_interval, within_interval
from analysis.edf.measured import (
    SampleGroup,
    SelectedRun,
    how_selected,
    quartiles,
    select_run,
    series,
)
from analysis.edf.samples import Sample
from analysis.errors import TableError
from analysis.table.policies import Policy
from analysis.table.units import near_distance, unit_of

LENGTHS = (
    "Each length stands on its own configurations; lengths are not pooled. A gap that closes with "
    "length is speed, not stability: stability is the share within d of the best (the smallest "
    "error) of each length. The gap of the selected run has no interval; that of the median is "
    "from two simultaneous bands."
)


def schedule_length(
    table: pd.DataFrame,
    policy: Policy = "chance",
    *,
    d: float | None = None,
    tuned_at: int | None = None,
    confidence: float = 0.95,
) -> pd.DataFrame:
    """Compare each schedule length E with the longest: err(E) - err(longest), per model.

    The measure of Xiao et al. (arXiv 2106.14881, section 5.1, "training length stability"), there
    at the one configuration tuned at the shortest length; here, by default, at the run selected at
    each length (`select_run`: by validation error), or with `tuned_at` at the configuration that is
    selected at that length. Beside it the same for the quartiles of all errors
    (`sample_quantile`), the share within d of the best (the smallest error) of each length, and
    tau-b: whether configurations rank alike at E and at the longest (Kendall 1945), by draw.

    Args:
        table: with the column `epochs`, for which models (optimizers, data) have several.
        policy: where diverged runs count.
        d: percentage points, 0 or more; 4 by default. Required for a loss, in its unit.
        tuned_at: length whose selected configuration is followed through the lengths, by its draw.
        confidence: of the intervals, in (0, 1).

    Returns:
        A row per group and length, shortest first: `group`, `epochs`, `n`, `diverged`, `selected`
        (its error) and `gap` (percent and points), `selected_on`; `q25`, `q50`, `q75` (percent) and
        `gap_q25`, `gap_q50`, `gap_q75` (points), `gap_q50_low`, `gap_q50_high`; `within`,
        `within_low`, `within_high`; `tau` and the `pairs` that it is of. NaN where there is none.

    Raises:
        TableError: no column `epochs`, `tuned_at` not among the lengths or without draws, draws
            that do not repeat over the lengths, other faults of the table.
        ValueError: unknown policy, bad d or confidence.

    >>> table = pd.DataFrame({"model": "a", "epochs": [5, 5, 50, 50], "draw": [0, 1, 0, 1],
    ...                       "error": [30.0, 40.0, 20.0, 25.0]})
    >>> schedule_length(table)[["epochs", "selected", "gap", "gap_q75", "tau"]].values.tolist()
    [[5.0, 30.0, 10.0, 13.75, 1.0], [50.0, 20.0, 0.0, 0.0, 1.0]]

    """
    found = series(table, policy, "epochs")
    d, unit = near_distance(d, unit_of(table)), unit_of(table)
    rows = []
    for label, lengths in found.items():
        groups = [lengths[e] for e in sorted(lengths, key=float)]  # type: ignore[arg-type]
        choices = _followed(groups, label, tuned_at)
        longest = groups[-1].sample, choices[-1].error
        for group, choice in zip(groups, choices, strict=True):
            sample = group.sample
            rows.append(
                {
                    "group": label,
                    "epochs": sample.group["epochs"],
                    "n": sample.n,
                    "diverged": sample.diverged,
                    "selected": choice.error,
                    "gap": choice.error - longest[1],
                    "selected_on": choice.selected_on,
                    **_quartiles(sample, longest[0], confidence),
                    **_within(sample, d, confidence),
                    **_agreement(sample, longest[0]),
                }
            )
    table = pd.DataFrame(rows)
    at = "" if tuned_at is None else f"The configuration selected at {tuned_at} epochs. "
    table.attrs["unit"] = unit
    table.attrs["note"] = f"{at}{LENGTHS} {how_selected(table.get('selected_on', ()), policy)}"
    return table


def _followed(groups: list[SampleGroup], label: str, tuned_at: int | None) -> list[SelectedRun]:
    """Select a run at each length, or follow the one of one length through all."""
    if tuned_at is None:
        return [select_run(group) for group in groups]
    tuned = [g for g in groups if g.sample.group["epochs"] == tuned_at]
    if not tuned or not tuned[0].sample.points:
        lengths = ", ".join(str(g.sample.group["epochs"]) for g in groups)
        raise TableError(
            [f"tuned_at: got {tuned_at}, allowed in {label!r}: one of {lengths}, with draws"]
        )
    choice = select_run(tuned[0])
    where = tuned[0].known.index.isin(choice.rows.index)
    points = {p for p, chosen in zip(tuned[0].sample.points, where, strict=False) if chosen}
    _check_repeated(groups, points, label, tuned_at)
    return [_at(group, points, choice) for group in groups]


def _check_repeated(groups: list[SampleGroup], points: set[Any], label: str, tuned_at: int) -> None:
    """Refuse lengths that are finished and have no trial of the selected configuration."""
    absent = [
        str(group.sample.group["epochs"])
        for group in groups
        if not group.sample.unfinished and not points <= set(group.sample.points)
    ]
    if absent:
        raise TableError(
            [
                f"tuned_at: the draw selected in {label!r} at {tuned_at} epochs has no trial at "
                f"{', '.join(absent)} epochs: draws do not repeat over the lengths. Train all "
                "lengths in one study, whose draws they share, or leave tuned_at out: then a run "
                "is selected at each length"
            ]
        )


def _at(group: SampleGroup, points: set[Any], choice: SelectedRun) -> SelectedRun:
    sample = group.sample
    there = np.array([p in points for p in sample.points[: sample.errors.size]], dtype=bool)
    error = float(sample.errors[there].mean()) if there.any() else np.nan
    return SelectedRun(error, group.known[there], choice.selected_on)


def _quartiles(sample: Sample, longest: Sample, confidence: float) -> dict[str, float]:
    """Quartiles of the errors, and how far they are from those of the longest schedule."""
    both = sample, longest
    row, ends = quartiles(sample), quartiles(longest)
    gaps = {
        f"gap_{q}": here - ends[q] if np.isfinite(here + ends[q]) else np.nan
        for q, here in row.items()
    }
    medians = [if_band(quantile_interval, s, 0.5, (1.0 + confidence) / 2.0) for s in both]
    gap = Interval(0.0, 0.0, 0.0) if sample is longest else difference_of(*medians)
    return {**row, **gaps, "gap_q50_low": gap.low, "gap_q50_high": gap.high}


def _within(sample: Sample, d: float, confidence: float) -> dict[str, float]:
    share = sample.share_within(d)[0] if sample.n else np.nan
    found = if_band(within_interval, sample, d, None, confidence)
    return {"within": share, "within_low": found.low, "within_high": found.high}


def _agreement(sample: Sample, longest: Sample) -> dict[str, float]:
    pairs = pair_up(sample, longest)
    if pairs is None or not pairs.a.size:
        return {"tau": np.nan, "pairs": 0}
    tau = tau_b(sample.errors[pairs.a], longest.errors[pairs.b])
    return {"tau": tau, "pairs": pairs.a.size}
