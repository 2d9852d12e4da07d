"""How much of the spread of errors is luck of the seed, and how much the hyperparameters."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from analysis.arrays import FloatArray
from analysis.edf.intervals import Interval
from analysis.edf.samples import cut, in_order
from analysis.edf.summary import clopper_pearson
from analysis.errors import TableError, check_confidence
from analysis.table.groups import complete_prefix
from analysis.table.outcomes import FAILED
from analysis.table.policies import Policy, chance_error, errors_under

VARIANCE_NOTE = (
    "Shares of variance, one-way random effects; runs at chance count by the policy. The interval "
    "of share_hyper is exact for normal effects and equal numbers of seeds, and for no other law: "
    "where a few configurations are far worse than the rest it covers far less. `same_order` has "
    "an exact interval whatever the law."
)


class Components(NamedTuple):
    """Variance components of k configurations with seeds each."""

    seed: float
    """Variance within configurations."""
    hyper: float
    """Variance between them; 0 where the estimate is negative."""
    share: Interval
    """Part of the between in the sum; NaN ends where seeds are unequal in number."""


def variance_components(values: Sequence[FloatArray], confidence: float = 0.95) -> Components:
    """Split a variance in two: one-way random effects, by the analysis of variance.

    MSW = sum of squares within / (N - k), MSB = sum of n_i (mean_i - mean)^2 / (k - 1); seed =
    MSW, hyper = (MSB - MSW) / n_0 with n_0 = (N - sum n_i^2 / N) / (k - 1), which is R where all
    n_i = R. For equal n_i the interval of the share is (F/F_u - 1) / (F/F_u + R - 1) to
    (F/F_l - 1) / (F/F_l + R - 1), F = MSB/MSW and F_u, F_l the quantiles of its law with k - 1
    and k(R - 1) degrees of freedom (Searle 1971, section 9.9; Shrout and Fleiss 1979), ends below
    0 set to 0. It assumes normal effects.

    Args:
        values: one array of finite values per configuration; those with one seed add to the
            between only. At least 2 configurations, and one with 2 seeds.
        confidence: in (0, 1).

    Returns:
        Variances in squared units of the values; the share in [0, 1], NaN if nothing varies.

    Raises:
        ValueError: too few configurations or seeds, values that are not finite, bad confidence.

    >>> found = variance_components([np.array([1.0, 3.0]), np.array([7.0, 9.0])])
    >>> found.seed, found.hyper, round(found.share.estimate, 3)
    (2.0, 17.0, 0.895)

    """
    check_confidence(confidence)
    counts = np.array([v.size for v in values])
    k, total = counts.size, int(counts.sum())
    if k < 2 or total <= k or (counts < 1).any():
        raise ValueError(f"got {total} values of {k} configurations, allowed: 2 of them, 2 seeds")
    if not all(np.isfinite(v).all() for v in values):
        raise ValueError("values: got one that is not finite, allowed: finite numbers")
    means = np.array([v.mean() for v in values])
    within = sum(float(((v - m) ** 2).sum()) for v, m in zip(values, means, strict=True))
    msw = within / (total - k)
    msb = float((counts * (means - counts @ means / total) ** 2).sum()) / (k - 1)
    n0 = (total - float((counts**2).sum()) / total) / (k - 1)
    hyper = max((msb - msw) / n0, 0.0)
    share = hyper / (hyper + msw) if hyper + msw > 0 else np.nan
    equal = bool((counts == counts[0]).all()) and msw > 0
    ends = _ends(msb / msw, k, int(counts[0]), confidence) if equal else (np.nan, np.nan)
    return Components(msw, hyper, Interval(share, *ends))


def variance_shares(
    table: pd.DataFrame,
    policy: Policy = "chance",
    *,
    by: Sequence[str] | None = None,
    confidence: float = 0.95,
) -> pd.DataFrame:
    """Compare the luck of the seed with the choice of hyperparameters: k configurations x R seeds.

    Beside the shares of variance (`variance_components`), `same_order`: the probability that two
    configurations rank alike under two seeds (two at chance tie, and a tie is alike where both
    seeds have it). It is counted over disjoint pairs of configurations, in the order of their
    draws, so that its interval is exact (Clopper and Pearson 1934), whatever the law.

    Args:
        table: with `draw`, whose rows repeat with different seeds.
        policy: where diverged runs count; `best` and `last` as in `Policy`.
        by: columns that make the groups; None for `group_columns`.
        confidence: of both intervals, in (0, 1).

    Returns:
        A row per group: `group`, `configurations` (those with two seeds or more), `seeds` (the
        fewest), `seed_sd`, `hyper_sd` (points of error), `share_hyper` with `share_low`,
        `share_high`; `same_order`, `same_low`, `same_high`, of `pairs`; `mixed` (configurations
        at chance under some seeds only), `unknown` (trials without a known error, left out).

    Raises:
        TableError: no column `draw`, a group in which fewer than two draws have two seeds, no
            chance where runs diverged, other faults of the table.
        ValueError: unknown policy, bad confidence.

    >>> table = pd.DataFrame({"model": "a", "draw": [0, 0, 1, 1], "error": [1.0, 3.0, 7.0, 9.0]})
    >>> variance_shares(table)[["seed_sd", "share_hyper", "same_order"]].round(3).values.tolist()
    [[1.414, 0.895, 1.0]]

    """
    if "draw" not in table:
        raise TableError(["no column 'draw', which tells the configurations apart"])
    parts, _, labels = cut(table, by, repeats=True)
    found = [_row(part, name, policy, confidence) for part, name in zip(parts, labels, strict=True)]
    result = pd.DataFrame(found)
    result.attrs["note"] = VARIANCE_NOTE
    return result


def _row(part: pd.DataFrame, label: str, policy: Policy, confidence: float) -> dict[str, Any]:
    used = complete_prefix(part)
    errors = errors_under(used, policy)
    rows = in_order(used, policy).iloc[: errors.size].assign(error=errors)
    chance = chance_error(part)
    key = [c for c in ("study", "draw") if c in rows]
    rows = rows.sort_values([*key, *(c for c in ("seed",) if c in rows)], kind="stable")
    values = [g["error"].to_numpy() for _, g in rows.groupby(key, sort=True)]
    values = [v for v in values if v.size > 1]
    faults = []
    if len(values) < 2:
        faults.append(f"group {label!r}: {len(values)} draws with two seeds, allowed: 2 or more")
    if np.isinf(errors).any():
        faults.append(f"group {label!r}: runs diverged and there is no chance to count them at")
    if faults:
        raise TableError(faults)
    parts = variance_components(values, confidence)
    worst = np.inf if chance is None else chance
    alike, pairs = _alike(values)
    limits = clopper_pearson(alike, pairs, confidence)
    return {
        "group": label,
        "configurations": len(values),
        "seeds": min(v.size for v in values),
        "seed_sd": parts.seed**0.5,
        "hyper_sd": parts.hyper**0.5,
        "share_hyper": parts.share.estimate,
        "share_low": parts.share.low,
        "share_high": parts.share.high,
        "same_order": alike / pairs,
        "same_low": limits[0],
        "same_high": limits[1],
        "pairs": pairs,
        "mixed": sum(bool((v >= worst).any() and (v < worst).any()) for v in values),
        "unknown": int(used["outcome"].isin(FAILED).sum()),
    }


def _alike(values: Sequence[FloatArray]) -> tuple[int, int]:
    """Count disjoint pairs of configurations that rank alike under their first two seeds."""
    pairs = list(zip(values[::2], values[1::2], strict=False))
    alike = sum(bool(np.sign(a[0] - b[0]) == np.sign(a[1] - b[1])) for a, b in pairs)
    return alike, len(pairs)


def _ends(ratio: float, k: int, seeds: int, confidence: float) -> tuple[float, float]:
    """Interval of the share from F = MSB / MSW, for equal numbers of seeds."""
    from scipy.special import fdtri  # half a second to import

    tail = (1.0 - confidence) / 2.0
    freedom = k - 1, k * (seeds - 1)
    low, high = (ratio / float(fdtri(*freedom, p)) for p in (1.0 - tail, tail))
    return tuple(max((f - 1.0) / (f + seeds - 1.0), 0.0) for f in (low, high))  # type: ignore[return-value]
