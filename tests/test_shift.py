"""A worker's time in a job of Slurm: how much there is."""

import signal
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from stability.cli import sweep
from stability.cli.cluster import Where
from stability.cli.request import Options, Request, read
from sweeps.dispatch import InlineDispatcher
from sweeps.driver import Driver, Plan
from sweeps.run_directory import RunDirectory
from sweeps.slurm import shift as module
from sweeps.slurm.options import SlurmOptions
from sweeps.slurm.shift import JobShift, notice, work_in_slurm
from sweeps.worker import Order

SIGNALS = (signal.SIGTERM, signal.SIGUSR2)


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """Those of the tests stay what they are."""
    before = [signal.getsignal(number) for number in SIGNALS]
    yield
    for number, handler in zip(SIGNALS, before, strict=True):
        signal.signal(number, handler)


def order(**changes: object) -> Order:
    now = datetime.now(UTC)
    fields = {"run": "run", "name": "w", "slot": "cpu:0", "max_failures": 2, "since": now,
              "begun": now, "submission_folder": ""}  # fmt: skip
    return Order(**{**fields, **changes})  # type: ignore[arg-type]


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
    shifts: list[JobShift] = []

    def work(order: Order, shift: JobShift) -> int:
        shifts.append(shift)
        return 0

    monkeypatch.setattr(module, "work", work)
    monkeypatch.setattr(module, "seconds_left", lambda job: said)
    work_in_slurm(order(wall_seconds=asked))
    assert shifts[0].left == pytest.approx(expected, abs=5.0)
    assert notice(3600.0) == 60.0


def test_the_wall_time_that_is_asked_for_reaches_the_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plans: list[Plan] = []

    def dispatch(request: Request, plan: Plan, *more: object) -> int:
        plans.append(plan)
        return 0

    monkeypatch.setattr(sweep, "dispatch", dispatch)
    asked = read(Options(model="vitp", optim="sgd"), Where())
    asked = replace(asked, run=RunDirectory(tmp_path / "run"))
    cluster = replace(asked.site, executor="slurm", device="cuda", slurm=SlurmOptions(time=30))
    for site in (cluster, replace(asked.site, device="cpu")):
        sweep.train(replace(asked, site=site), retry_failed=False, dry_run=False)
    assert [plan.wall_seconds for plan in plans] == [1800.0, None]
    driver = Driver(asked.run, [], InlineDispatcher(asked.run, lambda: None), plans[0])
    assert driver._order("cuda:0").wall_seconds == 1800.0
