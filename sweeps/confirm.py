"""Confirmation: the selected configuration of each group is trained again with fresh seeds.

The best of n runs is best partly because of a lucky seed. Trained again with seeds that chose
nothing, its configuration has an error without that luck. It is the seed-robust reference of
"within d points", and the peak.
"""

from typing import Any

import numpy as np

from sweeps.errors import SpecError, StoreError
from sweeps.store.run_directory import RunDirectory
from sweeps.study.sampling import axis_names
from sweeps.study.schema import Row
from sweeps.study.study import Study
from sweeps.system.files import DamagedError, read_parquet

GROUP_COLUMNS = ("model", "optim", "epochs")


def confirmation(run: RunDirectory, seeds: int) -> Study:
    """Return the study that trains the selected run of each group with `seeds` fresh seeds.

    A group is a model, optimizer and length. It is selected on the validation part (lowest
    error, then lower loss, then earlier draw), or by `error` if the objective gives no validation
    error. A group without a usable run is left out.

    Raises SpecError if a trial of the sweep has no result yet, or no run is usable.
    """
    study = run.read_study()
    rows = _results(run)
    if len(rows) < study.trials:
        raise SpecError(
            [
                f"--confirm: {len(rows)} of {study.trials} trials of {run.path} have ended; the "
                "configurations are selected when all have"
            ]
        )
    best = best_rows(rows)
    if not best:
        raise SpecError([f"--confirm: no run of {run.path} is usable, there is none to select"])
    names = axis_names(study.space)
    listed = [
        {
            **{name: row[name] for name in GROUP_COLUMNS},
            "hyperparameters": {name: row[name] for name in names if row[name] is not None},
        }
        for row in best
    ]
    changes = {
        "sampler": "listed",
        "draws": seeds,
        "seed": fresh_seed(study.seed),
        "configurations": listed,
        "unit": study.unit or ("" if study.read_by else "percent"),
    }
    return Study.model_validate({**study.model_dump(), **changes})


def best_rows(rows: list[Row]) -> list[Row]:
    """Return the best usable row of each group, in the order in which the groups appear."""
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        usable = groups.setdefault(tuple(row[name] for name in GROUP_COLUMNS), [])
        if row["outcome"] == "ok":
            usable.append(row)
    return [_best(usable) for usable in groups.values() if usable]


def _best(rows: list[Row]) -> Row:
    known = {n for n in ("val_error", "loss") if all(row.get(n) is not None for row in rows)}
    order = ["val_error" if "val_error" in known else "error", *(known & {"loss"}), "draw"]
    return min(rows, key=lambda row: [row[name] for name in order])


def fresh_seed(seed: int) -> int:
    """Return the seed of a study's confirmation: the two have no training seed in common."""
    return int(np.random.SeedSequence([seed, 0, 1]).generate_state(1)[0] >> 1)


def _results(run: RunDirectory) -> list[Row]:
    """Read results.parquet; no rows if there is none yet. Raises StoreError."""
    try:
        return list(read_parquet(run.results).to_pylist())
    except FileNotFoundError:
        return []
    except (OSError, DamagedError) as error:
        raise StoreError(
            f"{run.results} cannot be read: {error}. Remove it; stability resume {run.path} writes "
            "it again"
        ) from error
