"""A worker's time in a job of Slurm: how much there is, and what a signal does."""

import json
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import long_trials
import pytest
from drivers import wait_for
from toys import HELPERS, make_toy

from stability.cli.commands import sweep
from stability.cli.site.cluster import SiteOptions
from stability.cli.study.options import StudyOptions
from stability.cli.study.request import read_request
from sweeps.driver.driver import DispatchOptions, Driver
from sweeps.executors import InlineExecutor
from sweeps.executors.slurm import lifetime as module
from sweeps.executors.slurm.lifetime import SlurmJobLifetime, notice, work_in_slurm
from sweeps.executors.slurm.options import SlurmOptions
from sweeps.store import claims
from sweeps.store.parts import Ledger
from sweeps.store.run_directory import RunDirectory
from sweeps.study.design import draw_design
from sweeps.worker.worker import WorkerSpec

SIGNALS = (signal.SIGTERM, signal.SIGUSR2, signal.SIGALRM)


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """Those of the tests stay what they are."""
    before = [signal.getsignal(number) for number in SIGNALS]
    yield
    for number, handler in zip(SIGNALS, before, strict=True):
        signal.signal(number, handler)


def order(**changes: object) -> WorkerSpec:
    now = datetime.now(UTC)
    fields = {"run": "run", "name": "w", "slot": "cpu:0", "max_failures": 2, "since": now,
              "begun": now, "submission_folder": ""}  # fmt: skip
    return WorkerSpec(**{**fields, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("said", "asked", "expected"),
    [
        (None, 3600.0, 3540.0),  # else a trial that is too long would come back for ever
        (1200.0, 3600.0, 1140.0),
        (None, None, float("inf")),
    ],
)
def test_where_slurm_does_not_say_the_wall_time_is_what_was_asked_for(
    monkeypatch: pytest.MonkeyPatch, said: float | None, asked: float | None, expected: float
) -> None:
    shifts: list[SlurmJobLifetime] = []

    def work(spec: WorkerSpec, lifetime: SlurmJobLifetime) -> int:
        shifts.append(lifetime)
        return 0

    monkeypatch.setattr(module, "work", work)
    monkeypatch.setattr(module, "seconds_left", lambda job: said)
    work_in_slurm(order(wall_seconds=asked))
    assert shifts[0].left == pytest.approx(expected, abs=5.0)
    assert notice(3600.0) == 60.0


def test_the_wall_time_that_is_asked_for_reaches_the_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plans: list[DispatchOptions] = []
    asked = read_request(StudyOptions(model="vitp", optim="sgd"), SiteOptions())
    asked = replace(asked, run=RunDirectory(tmp_path / "run"))
    cluster = replace(asked.site, executor="slurm", device="cuda", slurm=SlurmOptions(time=30))
    for site in (cluster, replace(asked.site, device="cpu")):
        training = sweep.prepare_training(
            replace(asked, site=site), retry_failed=False, dry_run=False
        )
        assert isinstance(training, sweep.Training)
        plans.append(training.options)
    assert [plan.wall_seconds for plan in plans] == [1800.0, None]
    driver = Driver(asked.run, [], InlineExecutor(asked.run, lambda: None), plans[0])
    assert driver._spec("cuda:0").wall_seconds == 1800.0


# --- a real worker and real signals -----------------------------------------------------------

EPOCHS = 6


class Job:
    """A worker in a process of its own, as in a job; `scontrol` notes what it is asked."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, **environment: str) -> None:
        study = make_toy(objective="long_trials:chain", epochs=(EPOCHS,), draws=1, models=("a",))
        self.run = RunDirectory(folder / "run")
        self.run.create(study, draw_design(study))
        self.log, self.asked = folder / "log", folder / "asked"
        (folder / "scontrol").write_text(f'#!/bin/sh\necho "$@" >> {self.asked}\n')
        (folder / "scontrol").chmod(0o755)
        environment |= {"LONG_LOG": str(self.log), "PATH": f"{folder}:{os.environ['PATH']}"}
        for name, value in environment.items():
            monkeypatch.setenv(name, value)

    def start(self, wall_seconds: float) -> "subprocess.Popen[bytes]":
        told = order(
            run=str(self.run.path), submission_folder=str(HELPERS), wall_seconds=wall_seconds
        )
        code = "import pickle, sys; from sweeps.executors.slurm.lifetime import work_in_slurm\n"
        code += "work_in_slurm(pickle.load(sys.stdin.buffer))"
        process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE)
        assert process.stdin is not None
        with process.stdin as pipe:
            pipe.write(pickle.dumps(told))
        return process

    @property
    def epochs(self) -> list[int]:
        """That were begun."""
        return next(iter(long_trials.epochs_trained(self.log).values()), [])

    @property
    def kept(self) -> int:
        """Epochs of the checkpoint."""
        found = list(self.run.checkpoints.glob("*.pt"))
        return len(json.loads(found[0].read_bytes().rpartition(b"\n")[0])["curve"]) if found else 0

    @property
    def requeued(self) -> bool:
        return self.asked.exists() and "requeue" in self.asked.read_text()


@pytest.mark.slow
def test_after_the_signal_an_epoch_ends_and_its_state_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No minute has passed since the training began, so no checkpoint would be due."""
    job = Job(tmp_path, monkeypatch, LONG_SECONDS="0.5")
    worker = job.start(wall_seconds=3600.0)
    wait_for(lambda: len(job.epochs) == 3)
    worker.send_signal(signal.SIGUSR2)
    assert worker.wait(20) == 0
    assert (job.epochs, job.kept, job.requeued) == ([0, 1, 2], 3, True)
    assert claims.held(job.run) == {}
    assert list(job.run.parts.iterdir()) == []
    assert job.start(wall_seconds=3600.0).wait(20) == 0
    assert job.epochs == [*range(EPOCHS)]  # none was trained again
    ledger = Ledger(job.run)
    ledger.refresh()
    (trial,) = job.run.read_design()
    assert ledger[trial.id].error == long_trials.answer(trial.seed, EPOCHS)
    assert list(job.run.checkpoints.iterdir()) == []


# Seconds of an epoch, and from which on they take a minute.
@pytest.mark.slow
@pytest.mark.parametrize(
    ("epochs", "wall", "told", "at_most", "requeued"),
    [
        (("3", "9"), 12.0, (signal.SIGUSR2,), 2.0, True),  # an epoch is longer than 0.8 of 3 s
        (("0.3", "2"), 8.0, (signal.SIGUSR2,), 4.0, True),  # this one is, though none was before
        (("0.3", "2"), 80.0, (signal.SIGUSR2, signal.SIGTERM), 4.0, False),  # cancelled meanwhile
        (("0.3", "2"), 80.0, (signal.SIGTERM,), 2.0, False),
    ],
)
def test_an_epoch_that_does_not_end_in_time_is_given_up(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    epochs: tuple[str, str],
    wall: float,
    told: tuple[signal.Signals, ...],
    at_most: float,
    requeued: bool,
) -> None:
    job = Job(tmp_path, monkeypatch, LONG_SECONDS=epochs[0], LONG_SLOW_FROM=epochs[1])
    worker = job.start(wall_seconds=wall)
    wait_for(lambda: len(job.epochs) == 3)
    start = time.monotonic()
    for number in told:
        worker.send_signal(number)
        time.sleep(0.5)
    assert worker.wait(20) == 0
    assert time.monotonic() - start < at_most
    assert (job.epochs, job.kept, job.requeued) == ([0, 1, 2], 0, requeued)
    assert claims.held(job.run) == {}
    assert claims.workers(job.run) == []
