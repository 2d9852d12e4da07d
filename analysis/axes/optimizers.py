"""The optimizer gap: what it costs to train a model with the other optimizer."""

from typing import Any

import numpy as np
import pandas as pd

from analysis.comparison.dominance import difference_of
from analysis.edf.intervals import NO_INTERVAL, Interval
from analysis.edf.measured import SampleGroup, SelectedRun, how_selected, select_run, series
from analysis.edf.summary import clopper_pearson
from analysis.errors import TableError, invalid_choice
from analysis.table.policies import Policy, error_name
from analysis.table.units import unit_of

GAP = (
    "Each optimizer at its own selected run: an extreme of its sample, so the gap has no interval."
)
EVALUATION = (
    "eval_low and eval_high cover the sampling of the test images for these two trained networks, "
    "not other draws or seeds."
)
COPIED = (
    "Copied, dashed: where no run of a length is better than chance, the one selected at the "
    "longest shorter schedule stands in (the rule of Xiao et al.)."
)


def optimizer_gap(
    table: pd.DataFrame,
    policy: Policy = "chance",
    *,
    optims: tuple[str, str] = ("sgd", "adamw"),
    copy_shorter: bool = False,
    confidence: float = 0.95,
) -> pd.DataFrame:
    """Compare two optimizers, each at its selected run: err(SGD) - err(AdamW), by model and length.

    The measure of Xiao et al. (arXiv 2106.14881, section 5.2, "optimizer stability"). The run is
    selected by validation error and reported by test error where the table has both.

    Args:
        table: with the column `optim`.
        policy: where diverged runs count.
        optims: two names; the gap is the first minus the second.
        copy_shorter: where no run of a length is better than chance, copy the run selected at the
            longest shorter schedule that has one (the paper's rule).
        confidence: of the evaluation interval, in (0, 1).

    Returns:
        A row per group: `group`, its columns (`model`, `epochs`, ...), and for each optimizer
        `<optim>` (error of the selected run in percent, NaN where none is better than chance),
        `n_<optim>` and `from_<optim>` (the length that the error is of; another than `epochs` where
        it was copied); `gap` (points); `eval_low`, `eval_high` (points, from two exact binomial
        intervals at 1 - alpha/2; NaN unless one run of each was selected on other images, with
        `wrong` and `n_eval`);
        `selected_on`. `attrs["note"]` and `attrs["evaluation"]` say what has an interval.

    Raises:
        TableError: no column `optim`, a name that is not in it, no model with both, other faults
            of the table.
        ValueError: unknown policy, bad confidence.

    >>> table = pd.DataFrame({"model": "a", "optim": ["sgd", "sgd", "adamw"],
    ...                       "error": [30.0, None, 22.0]})
    >>> optimizer_gap(table)[["sgd", "adamw", "gap"]].values.tolist()
    [[30.0, 22.0, 8.0]]

    """
    found = series(table, policy, "optim")
    names = list(dict.fromkeys(str(name) for of in found.values() for name in of))
    faults = [invalid_choice("optims", name, names) for name in optims if name not in names]
    both = {label: of for label, of in found.items() if set(optims) <= set(of)}
    if faults or not both:
        raise TableError(faults or [f"no model was trained with both {' and '.join(optims)}"])
    rows = [
        _row(label, (of[optims[0]], of[optims[1]]), optims, confidence)
        for label, of in both.items()
    ]
    if copy_shorter:
        _copy_shorter(rows, optims)
    result = pd.DataFrame(rows)
    copied = COPIED if any(_is_copied(row, name) for row in rows for name in optims) else ""
    notes = (GAP, how_selected(result["selected_on"], policy), copied)
    note = " ".join(filter(None, notes))
    error = error_name(policy, unit_of(table))
    result.attrs.update(note=note, evaluation=EVALUATION, optims=optims, error=error)
    return result


def _row(
    label: str, pair: tuple[SampleGroup, SampleGroup], optims: tuple[str, str], confidence: float
) -> dict[str, Any]:
    choices = select_run(pair[0]), select_run(pair[1])
    group = {c: v for c, v in pair[0].sample.group.items() if c != "optim"}
    noise = _evaluation(choices, confidence)
    on_test = any(choice.selected_on == "test" for choice in choices)
    row: dict[str, Any] = {"group": label, "epochs": np.nan, **group}
    for name, of, choice in zip(optims, pair, choices, strict=True):
        usable = np.isfinite(choice.error)
        row |= {
            name: choice.error,
            f"n_{name}": of.sample.n,
            f"from_{name}": row["epochs"] if usable else np.nan,
        }
    gap = choices[0].error - choices[1].error
    ends = {"eval_low": noise.low, "eval_high": noise.high}
    return {**row, "gap": gap, **ends, "selected_on": "test" if on_test else "validation"}


def _evaluation(choices: tuple[SelectedRun, SelectedRun], confidence: float) -> Interval:
    """Bound the difference of two trained networks' errors, given the size of the test part."""
    limits = []
    for choice in choices:
        counted = {"wrong", "n_eval"} <= set(choice.rows) and len(choice.rows) == 1
        counts = choice.rows[["wrong", "n_eval"]].iloc[0] if counted else pd.Series([np.nan])
        # the count has to be that of the error: it is not under 'best', nor of one beyond chance
        other = counts.isna().any() or not np.isclose(
            choice.error, 100 * counts.iloc[0] / counts.iloc[-1]
        )
        if other or choice.selected_on == "test":
            return NO_INTERVAL
        low, high = clopper_pearson(
            int(counts.iloc[0]), int(counts.iloc[1]), (1.0 + confidence) / 2.0
        )
        limits.append(Interval(choice.error, 100.0 * low, 100.0 * high))
    return difference_of(*limits)


def _copy_shorter(rows: list[dict[str, Any]], optims: tuple[str, str]) -> None:
    """Fill each length without a selected run from the longest shorter one that has one."""
    measured = [{**row} for row in rows]
    for row in rows:
        for name in optims:
            shorter = [
                other
                for other in measured
                if np.isfinite(other[name])
                and other["epochs"] < row["epochs"]
                and all(other.get(c) == row.get(c) for c in ("model", "data"))
            ]
            if np.isnan(row[name]) and shorter:
                source = max(shorter, key=lambda other: float(other["epochs"]))
                row |= {name: source[name], f"from_{name}": source["epochs"]}
        row["gap"] = row[optims[0]] - row[optims[1]]


def _is_copied(row: dict[str, Any], name: str) -> bool:
    known = bool(np.isfinite(row[name]) and pd.notna(row["epochs"]))
    return known and bool(row[f"from_{name}"] != row["epochs"])
