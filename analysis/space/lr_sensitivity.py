"""How much is lost when the learning rate is not the best one."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd

from analysis.arrays import FloatArray
from analysis.edf.intervals import NO_INTERVAL, Interval, area_interval
from analysis.edf.measured import SampleGroup, numeric_values, sample_groups
from analysis.edf.samples import Sample
from analysis.errors import TableError, invalid_choice
from analysis.table.known_columns import hyperparameter_columns

Of = Literal["error", "loss"]
SWEEP = "sweep of lr"
BOX_MEAN = "box mean"
SENSITIVITY_NOTE = (
    "Sensitivity: mean of min(l, l_0) over lr, minus the least, l* (Wortsman et al., arXiv "
    "2309.14322); runs no better than l_0 and trials without a result count at l_0. 0 can also "
    "mean that every lr is equally bad: compare least, l*, with start, l_0."
)
BOX_MEAN_NOTE = (
    "Box mean: {lr} varies together with {others}, so this is the mean over the search space and "
    "no LR sensitivity; its interval is from the simultaneous band, at the observed best. If these "
    "are no hyperparameters, name those that are (others=)."
)
LISTED = 4  # names of columns in a note
SWEEP_NOTE = "A sweep over chosen learning rates has no interval."


def lr_sensitivity(
    table: pd.DataFrame,
    curves: pd.DataFrame | None = None,
    *,
    of: Of = "error",
    lr: str = "lr",
    others: Sequence[str] | None = None,
    confidence: float = 0.95,
) -> pd.DataFrame:
    """Average what is lost at each learning rate: S = E_lr[min(l(lr), l_0) - l*].

    Wortsman et al. 2023 (arXiv 2309.14322, section 2.2) define it on the final validation loss,
    l_0 its value before training, on a sweep of lr with everything else fixed. So it is computed
    where nothing else in the group varies that may be a hyperparameter: the mean over the distinct
    learning rates (several seeds of one are averaged first), l* the smallest of them. Where others
    vary too, the mean over all configurations is reported and named "box mean", l* the best.

    Args:
        table: of `load`, with the column of learning rates.
        curves: with `trial`, `epoch`, `loss` (`load_curves`), whose epoch 0 is l_0 of each trial;
            needed for `of="loss"`.
        of: `error`, in percent, with the error of chance as l_0; or `loss`, in nats.
        lr: name of the column.
        others: the other hyperparameters of the table; None for every column that is neither
            identity, result nor circumstance (`analysis/table/known_columns.py`); an empty list
            says that there are none.
        confidence: of the interval of a box mean, in (0, 1).

    Returns:
        A row per group: `group`, `kind` ("sweep of lr" or "box mean"), `n`, `rates` (distinct
        learning rates), `lr_low`, `lr_high`, `least` (l*), `start` (l_0, the largest of the group),
        `sensitivity`, `low`, `high` (points of error, or nats). NaN without a usable run.

    Raises:
        TableError: no chance, no loss or no curves where they are needed, repeats of a draw, other
            faults of the table.
        ValueError: `of` or the confidence out of range.

    >>> table = pd.DataFrame({"model": "a", "lr": [0.01, 0.1, 1.0], "weight_decay": 0.1,
    ...                       "error": [30.0, 20.0, None], "chance": 90.0})
    >>> found = lr_sensitivity(table)
    >>> found[["kind", "least", "sensitivity"]].round(3).values.tolist()
    [['sweep of lr', 20.0, 26.667]]

    """
    if of not in ("error", "loss"):
        raise ValueError(invalid_choice("of", of, ("error", "loss")))
    groups = sample_groups(table)
    if of == "loss":
        _needs_loss(table, curves)
    absent = [c for c in others or () if c not in table]
    if absent:
        raise TableError([f"others: no column {c!r}" for c in absent])
    names = hyperparameter_columns(table) if others is None else others
    varying = [[c for c in names if c != lr and _varies(group.known[c])] for group in groups]
    rows = [
        _row(group, _starts(group, curves, of), of, lr, confidence, is_sweep=not found)
        for group, found in zip(groups, varying, strict=True)
    ]
    found = pd.DataFrame(rows)
    found.attrs["note"] = _note(lr, varying)
    return found


def _note(lr: str, varying: Sequence[Sequence[str]]) -> str:
    """Say what the numbers are, and what varies together with the learning rate."""
    others = list(dict.fromkeys(name for names in varying for name in names))
    more = len(others) - LISTED
    listed = ", ".join(others[:LISTED]) + (f" and {more} more" if more > 0 else "")
    notes = (
        SENSITIVITY_NOTE,
        BOX_MEAN_NOTE.format(lr=lr, others=listed) if others else "",
        SWEEP_NOTE if not all(varying) else "",
    )
    return " ".join(filter(None, notes))


def _varies(column: "pd.Series[Any]") -> bool:
    return column.map(repr).nunique() > 1  # of lists and the like, which cannot be counted, too


def _needs_loss(table: pd.DataFrame, curves: pd.DataFrame | None) -> None:
    faults = [f"of 'loss': no column {c!r}" for c in ("trial", "loss") if c not in table]
    if curves is None:
        faults.append("of 'loss': got no curves, whose epoch 0 is the loss before training")
    else:
        absent = [c for c in ("trial", "epoch", "loss") if c not in curves]
        faults += [f"curves: no column {c!r}" for c in absent]
    if faults:
        raise TableError(faults)


def _starts(group: SampleGroup, curves: pd.DataFrame | None, of: Of) -> FloatArray:
    """l_0 of each known trial: chance, or its own loss before training."""
    sample = group.sample
    if of == "error" or curves is None:
        if sample.chance is None:
            raise TableError([f"group {sample.label!r}: no chance, which diverged runs count at"])
        return np.full(sample.errors.size, sample.chance)
    first = curves[curves["epoch"].eq(0)].drop_duplicates("trial").set_index("trial")["loss"]
    starts = first.reindex(group.known["trial"]).to_numpy(dtype=np.float64)
    if not np.isfinite(starts).all():
        count = int((~np.isfinite(starts)).sum())
        raise TableError([f"curves: no loss at epoch 0 for {count} trials of {sample.label!r}"])
    return np.asarray(starts)


def _row(
    group: SampleGroup,
    starts: FloatArray,
    of: Of,
    lr: str,
    confidence: float,
    *,
    is_sweep: bool,
) -> dict[str, Any]:
    rates = numeric_values(group.known, lr)
    values = group.sample.errors if of == "error" else group.known["loss"].to_numpy(np.float64)
    values = np.minimum(np.where(np.isnan(values), np.inf, values), starts)
    start = float(starts.max(initial=-np.inf))
    # beside the errors, which a sample is of, its class serves any quantity with a worst value
    sample = Sample(
        label=group.sample.label,
        errors=values,
        unknown=group.sample.unknown,
        chance=start,
        sampler=group.sample.sampler,
    )
    least, found = _sweep(sample, rates) if is_sweep else _box(sample, confidence)
    ends = (rates.min(), rates.max()) if rates.size else (np.nan, np.nan)
    return {
        "group": sample.label,
        "kind": SWEEP if is_sweep else BOX_MEAN,
        "n": sample.n,
        "rates": np.unique(rates).size,
        "lr_low": ends[0],
        "lr_high": ends[1],
        "least": least,
        "start": start if rates.size else np.nan,
        **dict(zip(("sensitivity", "low", "high"), found, strict=True)),
    }


def _sweep(sample: Sample, rates: FloatArray) -> tuple[float, Interval]:
    _, place, counts = np.unique(rates, return_inverse=True, return_counts=True)
    means = np.bincount(place, sample.errors) / counts
    if np.isnan(sample.best):
        return np.nan, NO_INTERVAL
    least = float(means.min())
    return least, Interval(float(means.mean()) - least, np.nan, np.nan)


def _box(sample: Sample, confidence: float) -> tuple[float, Interval]:
    best = sample.best
    if np.isnan(best):
        return np.nan, NO_INTERVAL
    if not sample.has_band:
        return best, Interval(float(sample.errors.mean()) - best, np.nan, np.nan)
    # mean(min(l, l_0)) - l* = (l_0 - l*) (1 - area under the EDF from l* to l_0)
    limit = float(sample.chance or 0.0) - best
    area = area_interval(sample, best, limit, confidence)
    return best, Interval(*(limit * (1.0 - a) for a in (area.estimate, area.high, area.low)))
