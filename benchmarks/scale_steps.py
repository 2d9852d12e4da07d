"""The steps of `scale`, each in a process of its own: what it takes, and the memory that it needs.

python -m benchmarks.scale_steps STEP RUN TRIALS: prints a line of JSON.
"""

import json
import os
import resource
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any, Self

import numpy as np

from sweeps.run import DispatchOptions, Reporter, create, dispatch, prepare, resume
from sweeps.store.parts import EVER, ROWS_PER_PART, Ledger
from sweeps.store.run_directory import RunDirectory
from sweeps.study.space import Hyperparameter
from sweeps.study.study import Study
from sweeps.study.trial import Cohort, Result, Trial

OPEN = 500  # trials that are left open, to be trained by the loops
EPOCHS = 5

Numbers = dict[str, float]

calls: list[tuple[float, float]] = []
"""When the objective was called in this process: on the wall, and in time of a processor."""


def nothing(cohort: Cohort) -> Iterator[Result]:
    """An objective that costs nothing: a result with its curve, as a training would give it."""
    calls.append((time.perf_counter(), time.process_time()))
    for trial in cohort.trials:
        yield Result(trial=trial.id, outcome="ok", **answer(trial))


def answer(trial: Trial) -> dict[str, Any]:
    """Values and curve of a trial: what lr decides."""
    wrong = round(400 * float(trial.hyperparameters["lr"]))
    error = 100 * wrong / 400
    values = {"error": error, "wrong": wrong, "n_eval": 400, "chance": 90.0, "loss": 1.0}
    curve = [
        {"epoch": e, "loss": 1.0, "val_error": error, "seconds": 0.1} for e in range(EPOCHS + 1)
    ]
    return {"values": {**values, "val_error": error}, "curve": curve}


def study_of(trials: int) -> Study:
    """One model, the optimizer's two hyperparameters, a recipe of the usual length."""
    return Study(
        models=("trivial",),
        optims=("sgd",),
        epochs=(EPOCHS,),
        draws=trials,
        sampler="random",
        seed=0,
        data="none",
        fingerprint="0" * 12,
        objective="benchmarks.scale_steps:nothing",
        recipe={"sgd": {f"setting_{i}": 0.5 for i in range(20)}},
        space=(
            Hyperparameter(name="lr", low=0.01, high=0.9),
            Hyperparameter(name="weight_decay", low=1e-5, high=1e-3),
        ),
    )


def design(run: RunDirectory, trials: int) -> Numbers:
    """Draw a random design and write it with its study."""
    study = study_of(trials)
    start, cpu = time.perf_counter(), time.process_time()
    create(prepare(run, study))
    return {"seconds": time.perf_counter() - start, "cpu": time.process_time() - cpu}


def fill(run: RunDirectory, trials: int) -> Numbers:
    """Parts with the results of all trials but the last `OPEN`, as workers would have left them."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from sweeps.study.schema import PART_SCHEMA

    drawn = run.read_design()
    done = max(0, trials - OPEN)
    for number, start in enumerate(range(0, done, ROWS_PER_PART)):
        rows = [
            {"trial": trial.id, "outcome": "ok", "attempt": 1, "seconds": 0.5, "host": "earlier",
             "worker": "earlier", "finished": datetime.now(UTC), **told["values"],
             "curve": told["curve"]}
            for trial in drawn[start : min(start + ROWS_PER_PART, done)]
            for told in [answer(trial)]
        ]  # fmt: skip
        table = pa.Table.from_pylist(rows, schema=PART_SCHEMA)
        pq.write_table(table, run.part("earlier", number), write_page_checksum=True)
    os.sync()  # what is still on its way to the disk would be waited for with the first results
    return {"parts": float(len(list(run.parts.iterdir())))}


def collect(run: RunDirectory, trials: int) -> Numbers:
    """Rebuild the views."""
    from sweeps.store import views

    start, cpu = time.perf_counter(), time.process_time()
    views.rebuild(run)
    return {"seconds": time.perf_counter() - start, "cpu": time.process_time() - cpu}


def work(run: RunDirectory, trials: int) -> Numbers:
    """A worker that trains half of the open trials: from one training to the next, and before."""
    from sweeps.worker.worker import JobLifetime, WorkerSpec
    from sweeps.worker.worker import work as work_off

    class HalfShift(JobLifetime):
        """Ends before the sweep does: the rest is for the driver."""

        taken = 0

        def begin(self, trial: Trial) -> None:
            self.taken += 1

        def is_over(self, ledger: Ledger) -> bool:
            return self.taken >= min(OPEN, trials) // 2

    order = WorkerSpec(
        run=str(run.path), name="worker", slot="cpu:0", max_failures=2,
        since=EVER, begun=datetime.now(UTC), submission_folder=".",
    )  # fmt: skip
    import benchmarks.scale_steps as imported  # not this module, which runs as `__main__`

    start = time.perf_counter()
    count = work_off(order, lifetime=HalfShift())
    wall, cpu = np.diff(imported.calls, axis=0).T
    return {
        "begin": imported.calls[0][0] - start,
        "each": float(median(wall)),
        "each_cpu": float(cpu.mean()),
        "trials": float(count),
    }


class Clock(Reporter):
    """Times what the driver spends, with its display, without what comes before and after."""

    def __init__(self, show: Callable[[Ledger], None]) -> None:
        self.show = show
        self.wall = self.spent = 0.0
        self.looked: float | None = None
        """Processor time when the driver had read the parts."""

    def __enter__(self) -> Self:
        self.wall = -time.perf_counter()
        return self

    def update(self, ledger: Ledger) -> None:
        """Show the state; the first time the driver has just read the parts."""
        self.looked = time.process_time() if self.looked is None else self.looked
        self.show(ledger)

    def __exit__(self, *error: object) -> None:
        self.spent = time.process_time() - (self.looked or 0.0)
        self.wall += time.perf_counter()


def drive(run: RunDirectory, trials: int) -> Numbers:
    """The driver of two local workers that train the other half, with its display."""
    from stability.cli.output.progress import Display
    from sweeps.executors import LocalExecutor

    cpu = time.process_time()
    study_run = resume(run)
    first, looked = time.process_time() - cpu, time.process_time()
    study_run.tally.look()
    again, before = time.process_time() - looked, study_run.tally.done
    options = DispatchOptions(slots=("cpu:0", "cpu:1"), submission_folder=Path.cwd())
    with closing(Display(study_run.trials, 2)) as display:
        clock = Clock(display.update)
        dispatch(study_run, LocalExecutor(run), options, reporter=clock)
    count = study_run.tally.done - before
    return {
        "begin": first,
        "look": again,
        "each": clock.spent / count,
        "trials": count,
        "wall": clock.wall,
    }


STEPS = {step.__name__: step for step in (design, fill, collect, work, drive)}


def main() -> None:
    """Do one step."""
    name, folder, trials = sys.argv[1:]
    numbers = STEPS[name](RunDirectory(Path(folder)), int(trials))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({**numbers, "peak_mb": peak}))


if __name__ == "__main__":
    main()
