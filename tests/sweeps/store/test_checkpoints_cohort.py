"""Checkpoints of trials that are trained as one: kept together, gone on from together."""

import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from drivers import order, spawn, wait_for
from toys import HELPERS, make_toy

from stability import objective
from stability.data import load_data
from stability.training.engines.train_with import train_with
from stability.training.recipes import settings_of
from sweeps.driver.driver import DispatchOptions, Driver
from sweeps.errors import EvictedError
from sweeps.executors import InlineExecutor
from sweeps.executors.slurm.lifetime import SlurmJobLifetime
from sweeps.store import checkpoints, claims, views
from sweeps.store.checkpoints import Checkpoint, Checkpoints
from sweeps.store.owner import Owner
from sweeps.store.run_directory import RunDirectory
from sweeps.study.design import draw_design
from sweeps.study.trial import Cohort, Result
from sweeps.worker.worker import AskedToEnd, JobLifetime, registered, work

K = 4
ENGINE = f"stacked:{K}"
DATA = "synthetic:classes=4,size=16,channels=1,n=200,seed=0"


@pytest.fixture(autouse=True)
def every_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(checkpoints.INTERVAL_VARIABLE, "0")


def images(path: Path, epochs: int = 3) -> RunDirectory:
    """Real trainings, with averages, mixing and clipping on."""
    settings = {"ema": 1e-2, "mixup": 0.8, "flip": 0.5, "clip": 1.0, "batch_size": 32}
    study = make_toy(
        models=("regnety-nano",),
        draws=K,
        epochs=(epochs,),
        data=DATA,
        fingerprint=load_data(DATA).fingerprint,
        objective="stability.objective:train_images",
        recipe={"sgd": settings_of("nano", "sgd", settings)},
    )
    run = RunDirectory(path)
    run.create(study, draw_design(study))
    return run


def drive(run: RunDirectory) -> None:
    plan = DispatchOptions(slots=("cpu:0",), submission_folder=HELPERS, engine=ENGINE)
    Driver(run, run.read_design(), InlineExecutor(run, lambda: None), plan).drive()
    views.rebuild(run)


CIRCUMSTANCES = {"seconds", "finished", "worker", "attempt", "peak_memory", "host"}


def told(run: RunDirectory) -> list[dict[str, Any]]:
    """Results and curves, but for what may differ."""
    return [
        {key: value for key, value in row.items() if key not in CIRCUMSTANCES}
        for path in (run.results, run.curves)
        for row in pq.read_table(path).to_pylist()
    ]


class EndsAfter(SlurmJobLifetime):
    """A job that Slurm wants back in some epoch, near its end."""

    def __init__(self, epochs: int) -> None:
        super().__init__(None)
        self.epochs, self.asked, self.saved = epochs, 0, 0

    def epoch_ended(self) -> bool:
        self.asked += 1
        self._stops_at_epoch = self.asked == self.epochs
        return super().epoch_ended()

    def progressed(self) -> None:
        self.saved += 1
        super().progressed()


def test_a_signal_keeps_the_states_of_all_and_the_next_job_goes_on_with_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """To the bit."""
    undisturbed = images(tmp_path / "undisturbed")
    drive(undisturbed)
    run, shift = images(tmp_path / "run"), EndsAfter(2)
    with pytest.raises(AskedToEnd):
        work(replace(order(run), engine=ENGINE), lifetime=shift)
    assert (shift.asked, shift.saved) == (2, 2)  # once an epoch, for all of them
    assert len(list(run.checkpoints.iterdir())) == K
    assert claims.held(run) == {}
    drive(run)
    assert capsys.readouterr().err.count("goes on from its checkpoint") == K
    assert told(run) == told(undisturbed)
    assert len(told(run)) == K + K * 4
    assert list(run.checkpoints.iterdir()) == []


def test_what_the_pieces_of_a_cohort_took_is_added_up(tmp_path: Path) -> None:
    run = images(tmp_path / "run")

    class Telling(JobLifetime):
        earlier = 0.0

        def end(self, result: Result, earlier: float = 0.0) -> None:
            self.earlier = earlier

    with pytest.raises(AskedToEnd):
        work(replace(order(run), engine=ENGINE), lifetime=EndsAfter(2))
    seals = [path.read_bytes().rpartition(b"\n")[2].split() for path in run.checkpoints.iterdir()]
    pieces = [float(seal[-2]) for seal in seals]
    shift = Telling()
    work(replace(order(run), engine=ENGINE), lifetime=shift)
    assert shift.earlier == pytest.approx(sum(pieces))
    views.rebuild(run)
    seconds = pq.read_table(run.results)["seconds"].to_pylist()
    assert min(seconds) > min(pieces) > 0


def test_an_error_of_the_cohort_costs_no_checkpoint_and_one_of_a_trial_alone_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The cohort fails as it goes on; then each is alone, where the first fails too."""
    run, sizes = images(tmp_path / "run"), list[int]()

    def failing(engine: str, jobs: Any, *rest: Any) -> Any:
        sizes.append(len(jobs))
        if len(sizes) <= 2:
            for saved in rest[-1]:
                saved.load()
            raise [ConnectionError, TimeoutError][len(sizes) - 1]("the file server went away")
        return train_with(engine, jobs, *rest)

    with pytest.raises(AskedToEnd):
        work(replace(order(run), engine=ENGINE), lifetime=EndsAfter(2))
    capsys.readouterr()
    monkeypatch.setattr(objective, "train_with", failing)
    drive(run)
    assert sizes == [K, 1, 1, 1, 1, 1]
    said = capsys.readouterr().err
    assert said.count("goes on from its checkpoint") == K + 1 + (K - 1)
    rows = pq.read_table(run.results).to_pylist()
    assert sorted(row["attempt"] for row in rows) == [2, 2, 2, 3]
    assert {row["outcome"] for row in rows} <= {"ok", "collapsed"}
    assert list(run.checkpoints.iterdir()) == []


Held = tuple[RunDirectory, list[Checkpoint], list[str]]


@pytest.fixture
def held(tmp_path: Path) -> Iterator[Callable[[bool], Held]]:
    """A cohort's checkpoints in the hands of this process; what was done is noted."""
    run, owner = images(tmp_path / "run"), Owner.this_process("w")
    trials = tuple(run.read_design())

    def make(ends: bool) -> Held:
        events = list[str]()
        for trial in trials:
            assert claims.acquire(run, trial.id, owner)

        def on_save() -> None:
            events.append("saved")
            if ends:
                raise AskedToEnd(0)

        places = Checkpoints.here(run, owner, on_save, lambda: bool(events.append("epoch")))
        of = places.of(Cohort(trials=trials, device="cpu"))
        return run, [of[trial.id] for trial in trials], events

    with registered(run, owner):
        yield make


def test_all_are_written_before_the_worker_ends(held: Callable[[bool], Held]) -> None:
    _, (first, *others), events = held(True)
    with pytest.raises(AskedToEnd):
        first.offer(lambda: b"first", [(place, lambda: b"other") for place in others])
    assert events == ["epoch", "saved"]
    assert [place.load() for place in (first, *others)] == [b"first", *[b"other"] * 3]


def test_where_one_cannot_be_written_the_others_are(
    held: Callable[[bool], Held],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _, (first, *others), events = held(False)

    def refuse(state: bytes) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(first, "_write", refuse)
    for _ in range(2):
        first.offer(lambda: b"first", [(place, lambda: b"other") for place in others])
    assert events == ["epoch", "saved"] * 2
    assert [place.load() for place in others] == [b"other"] * 3
    assert capsys.readouterr().err.count("no checkpoint can be written") == 1


def test_the_next_is_due_for_all_at_once(
    held: Callable[[bool], Held], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever is the first of those that are left, by the cost of all."""
    now = [100.0]
    monkeypatch.setattr(checkpoints, "perf_counter", lambda: now[0])
    monkeypatch.setenv(checkpoints.INTERVAL_VARIABLE, "10")
    _, places, _ = held(False)
    made: list[float] = []

    def state() -> bytes:
        made.append(now[0])
        now[0] += 1.0
        return b"state"

    for _ in range(700):
        now[0] += 1.0
        places[0].offer(state, [(place, state) for place in places[1:]])
        places = places[-2:] if len(made) == K else places
    assert made[:4] == [110.0, 111.0, 112.0, 113.0]  # ten seconds after the beginning
    assert made[4:] == [514.0, 515.0, 716.0, 717.0]  # a hundred times what the last ones cost later


def test_who_lost_one_of_its_trials_ends(held: Callable[[bool], Held]) -> None:
    run, (first, *others), _ = held(False)
    run.claim(others[0].trial).unlink()
    with pytest.raises(EvictedError, match="was given to others"):
        first.offer(lambda: b"first", [(place, lambda: b"other") for place in others])
    assert not others[0].path.exists()


@pytest.mark.slow
@pytest.mark.alone
def test_after_driver_and_worker_were_killed_the_cohort_goes_on_to_the_bit(tmp_path: Path) -> None:
    undisturbed, run = (images(tmp_path / name, epochs=6) for name in ("undisturbed", "run"))
    drive(undisturbed)
    run.engine.write_bytes(undisturbed.engine.read_bytes())
    driver = spawn(run, 1, ENGINE)
    wait_for(lambda: len(list(run.checkpoints.glob("*.pt"))) == K)
    owners = claims.living_workers(run)
    for pid in [driver.pid, *(owner.pid for owner in owners)]:
        os.kill(pid, signal.SIGKILL)
    driver.wait()
    wait_for(lambda: all(owner.is_gone for owner in owners))
    assert len(claims.held(run)) == K
    drive(run)
    assert told(run) == told(undisturbed)
    assert len(told(run)) == K + K * 7
    assert list(run.checkpoints.iterdir()) == []
