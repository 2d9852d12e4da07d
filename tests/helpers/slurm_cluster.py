"""A sweep on a real cluster, as its tests see it."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from toys import HELPERS, make_toy

from stability.cli.commands.status import state_of
from sweeps.store.run_directory import RunDirectory
from sweeps.study.design import draw_design

STABILITY = str(Path(sys.executable).with_name("stability"))
PATIENCE = 90.0


def slurm(*command: str) -> str:
    """What a Slurm command prints."""
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@dataclass
class Sweep:
    """A run directory on the cluster, driven by the command line."""

    run: RunDirectory
    log: Path
    processes: list["subprocess.Popen[str]"] = field(default_factory=list)

    def start(self, *options: str, command: str = "resume") -> "subprocess.Popen[str]":
        """`stability resume RUN` with options; its output goes to `log`."""
        with self.log.open("a") as log:
            process = subprocess.Popen(
                [STABILITY, command, str(self.run.path), *options],
                cwd=HELPERS, stdout=log, stderr=log, text=True,
            )  # fmt: skip
        self.processes.append(process)
        return process

    def drive(self, *options: str) -> int:
        """On Slurm with two workers, to the end; returns the exit status."""
        chosen = ("--executor", "slurm", "--parallel", "2", *options)
        return self.start(*chosen).wait(3 * PATIENCE)

    def call(self, command: str, *options: str) -> "subprocess.CompletedProcess[str]":
        """Another command on the run directory."""
        return subprocess.run(
            [STABILITY, command, str(self.run.path), *options],
            cwd=HELPERS, capture_output=True, text=True, check=False,
        )  # fmt: skip

    def said(self) -> str:
        """What the drivers have said."""
        return self.log.read_text()

    def state(self) -> dict[str, Any]:
        """As `stability status` has it."""
        return state_of(self.run)

    def rows(self) -> list[dict[str, Any]]:
        """The results."""
        rows: list[dict[str, Any]] = pq.read_table(self.run.results).to_pylist()
        return rows

    def jobs(self) -> list[str]:
        """Jobs of this run that Slurm has not forgotten."""
        names = [
            f"stability-{path.parent.name[:12]}" for path in self.run.jobs.glob("*/slurm.json")
        ]
        answer = slurm(
            "squeue", "-h", "-r", "-t", "all", f"--name={','.join(names)}", "-o", "%i %T"
        )
        return answer.splitlines() if names else []

    def assert_complete(self) -> None:
        """One result for each trial, as any worker would have it; nothing is left behind."""
        rows = self.rows()
        assert [row["trial"] for row in rows] == [t.id for t in self.run.read_design()], self.said()
        assert {row["outcome"] for row in rows} == {"ok"}
        for trial, row in zip(self.run.read_design(), rows, strict=True):
            wrong = round(100 * min(float(trial.hyperparameters["lr"]), 0.9))
            assert row["wrong"] == wrong
        assert list(self.run.claims.iterdir()) == []
        assert list(self.run.workers.iterdir()) == []
        assert [job for job in self.jobs() if job.split()[1] in ("PENDING", "RUNNING")] == []


def wait_for(condition: Callable[[], bool], seconds: float = PATIENCE) -> None:
    """Look until it is so."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.2)


@pytest.fixture
def new_sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Sweep]]:
    """Makes a run directory of the toy; ends whatever a test leaves running."""
    monkeypatch.setenv("TOY_LOG", str(tmp_path / "trainings"))
    monkeypatch.setenv("TOY_SECONDS", "0.5")
    made: list[Sweep] = []

    def make(**changes: object) -> Sweep:
        study = make_toy(**{"models": ("a",), "draws": 12, **changes})
        run = RunDirectory(tmp_path / f"run{len(made)}")
        run.create(study, draw_design(study))
        made.append(Sweep(run, tmp_path / f"said{len(made)}"))
        return made[-1]

    yield make
    for sweep in made:
        for process in sweep.processes:
            process.kill()
            process.wait()
        jobs = [job.split()[0] for job in sweep.jobs()]
        subprocess.run(["scancel", *jobs], check=False, capture_output=True)
