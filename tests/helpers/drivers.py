"""Toy studies that are driven, in this process or as processes that a test can kill."""

import itertools
import os
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import objectives
import pyarrow.parquet as pq
from toys import HELPERS, make_run, make_toy

from sweeps.driver.tally import Tally
from sweeps.executors import InlineExecutor, LocalExecutor
from sweeps.executors.slurm.jobs import Snapshot, Task
from sweeps.run import DispatchOptions, create, dispatch, prepare, resume
from sweeps.store.owner import Owner
from sweeps.store.parts import Ledger
from sweeps.store.run_directory import RunDirectory
from sweeps.study.design import draw_design
from sweeps.study.space import Hyperparameter
from sweeps.study.study import Study
from sweeps.worker.worker import WorkerSpec

PATIENCE = 60.0  # seconds; a moment on a quiet machine
NAME = "stability-0123456789ab"
IS_ROOT = os.geteuid() == 0
SOMEBODY = 12345  # a user id that is not ours
NOW = datetime.now(UTC)
ORDER = WorkerSpec(
    run="run", name="x", slot="cpu:0", max_failures=0, since=NOW, begun=NOW, submission_folder="."
)


def new_run(tmp_path: Path, **changes: object) -> RunDirectory:
    study = make_toy(**changes)
    run = RunDirectory(tmp_path / "run")
    run.create(study, draw_design(study))
    return run


def drive(run: RunDirectory, slots: int = 2, **options: Any) -> None:
    """In this process, with local workers."""
    places = tuple(f"cpu:{i}" for i in range(slots))
    chosen = DispatchOptions(slots=places, submission_folder=HELPERS, **options)
    dispatch(resume(run), LocalExecutor(run), chosen)


def drive_inline(run: RunDirectory, **options: Any) -> None:
    chosen = DispatchOptions(slots=("cpu:0",), submission_folder=HELPERS, **options)
    dispatch(resume(run), InlineExecutor(run), chosen)


def spawn(run: RunDirectory, slots: int = 2, *engine: str) -> "subprocess.Popen[bytes]":
    """A driver of its own process."""
    return subprocess.Popen(
        [sys.executable, str(HELPERS / "programs" / "drive.py"), str(run.path), str(slots), *engine]
    )


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def finished(run: RunDirectory) -> int:
    ledger = Ledger(run)
    ledger.refresh()
    return sum(ledger.is_trained(trial.id) for trial in run.read_design())


def results(run: RunDirectory) -> list[tuple[object, ...]]:
    rows = pq.read_table(run.results).to_pylist()
    return [(row["trial"], row["outcome"], row["error"], row["loss"]) for row in rows]


def trainings(tmp_path: Path) -> dict[str, list[tuple[float, float]]]:
    """When each trial was trained; an end that never came is infinity."""
    spans: dict[str, list[tuple[float, float]]] = {}
    begun: dict[tuple[str, str], float] = {}
    for line in (tmp_path / "log").read_text().splitlines():
        trial, pid, event, when = line.split()
        if event == "start":
            begun[trial, pid] = float(when)
        else:
            spans.setdefault(trial, []).append((begun.pop((trial, pid)), float(when)))
    return spans


def assert_complete_and_single(run: RunDirectory, tmp_path: Path) -> None:
    """Exactly one result a trial, none trained by two living workers, nothing left behind."""
    design = [trial.id for trial in run.read_design()]
    assert [row[0] for row in results(run)] == design
    for spans in trainings(tmp_path).values():
        ordered = sorted(spans)
        assert all(a[1] <= b[0] for a, b in itertools.pairwise(ordered))
    assert list(run.claims.iterdir()) == []
    assert list(run.workers.iterdir()) == []


def start_detached(run: RunDirectory) -> None:
    """Two workers, as `stability resume --detach` leaves them."""
    options = DispatchOptions(slots=("cpu:0", "cpu:1"), submission_folder=HELPERS, detach=True)
    dispatch(resume(run), LocalExecutor(run), options)


def run_of(study: Study, path: Path) -> RunDirectory:
    """A finished run directory of a toy study, trained in this process."""
    run = RunDirectory(path)
    options = DispatchOptions(slots=("cpu:0",), submission_folder=HELPERS)
    dispatch(create(prepare(run, study)), InlineExecutor(run), options)
    return run


def order(run: RunDirectory) -> WorkerSpec:
    now = datetime.now(UTC)
    return WorkerSpec(
        run=str(run.path), name="w", slot="cpu:0", max_failures=2, since=now, begun=now,
        submission_folder=str(HELPERS),
    )  # fmt: skip


def asking(folder: Path, answers: Any, objective: str = "answered") -> RunDirectory:
    """A study of eight trials whose objective returns `answers`; nothing is trained yet."""
    objectives.ANSWERS = dict(enumerate(answers))
    objectives.ASKED.clear()
    space = (Hyperparameter(name="which", choices=tuple(range(len(answers)))),)
    study = {"models": ("a",), "objective": f"objectives:{objective}", "space": space}
    return make_run(folder, **study, draws=len(answers), sampler="grid", recipe={"sgd": {}})


def drive_in_unit(
    run: RunDirectory, unit: str = "", within: float | None = None, **options: Any
) -> Tally:
    """Train what is missing, by the name of a unit where one is given."""
    if unit:
        run.name_unit(run.read_study().in_unit(unit, within))  # type: ignore[arg-type]
    chosen = DispatchOptions(slots=("cpu:0",), submission_folder=HELPERS, **options)
    study_run = resume(run)
    dispatch(study_run, InlineExecutor(run), chosen)
    return study_run.tally


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def far(**changes: object) -> Owner:
    """A worker on another host."""
    fields = {**Owner.this_process("w", "cpu:0").__dict__, "host": "far", "boot": "another"}
    place = {"job": "7_0", "submission": NAME, "restarts": 1, "cluster": "c", "node": "n1"}
    return Owner(**{**fields, **place, **changes})  # type: ignore[arg-type]


def seen(state: str, restarts: int = 1, name: str = NAME) -> Snapshot:
    """The controller's answer, given now."""
    task = Task(job="7_0", state=state, restarts=restarts, submission=name, exit_code="9")
    tasks = {(name, "7_0"): task}
    return Snapshot(began=time.monotonic(), cluster="c", asked=frozenset([NAME]), tasks=tasks)
