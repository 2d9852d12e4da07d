"""Columns that are no hyperparameters: identity, results and circumstances of a trial.

The columns of a results table of `sweeps` (`sweeps/study/schema.py`) and those that `load` adds; a
test holds both together. Every further column that varies may be a hyperparameter.
"""

import pandas as pd

IDENTITY = ("trial", "study", "draw", "model", "optim", "epochs", "seed", "data", "sweep")
RESULTS = (
    *("outcome", "diverged_at", "error", "wrong", "n_eval", "chance", "error_unit"),
    *("val_error", "best_val_error", "best_epoch", "last_finite_error", "raw_error", "ema_error"),
    *("loss", "train_loss", "message"),
)
CIRCUMSTANCES = (
    *("seconds", "computed", "engine", "cohort_size", "precision", "device", "host", "attempt"),
    *("peak_memory", "finished", "worker", "code", "sampler", "objective"),
)


def hyperparameter_columns(table: pd.DataFrame) -> list[str]:
    """List the columns that may be hyperparameters.

    Those of the study that the table was loaded from (`attrs["search_space"]`); without one, every
    column that is neither identity, result nor circumstance.

    >>> table = pd.DataFrame({"model": "a", "error": [5.0, 7.0], "lr": [0.1, 0.2], "depth": 3})
    >>> hyperparameter_columns(table)
    ['lr', 'depth']

    """
    known = {*IDENTITY, *RESULTS, *CIRCUMSTANCES}
    study = dict.fromkeys(entry["name"] for entry in table.attrs.get("search_space") or ())
    return [c for c in study if c in table] or [c for c in table if c not in known]
