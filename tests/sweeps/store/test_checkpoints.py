"""Checkpoints in a run directory: kept where it is worth it, gone on from, never in the way."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import long_trials
import pyarrow.parquet as pq
import pytest
from drivers import order
from toys import HELPERS, make_toy

from sweeps.driver.driver import DispatchOptions, Driver
from sweeps.errors import EvictedError, SpecError
from sweeps.executors import InlineExecutor
from sweeps.executors.slurm.lifetime import SlurmJobLifetime
from sweeps.store import checkpoints, claims, views
from sweeps.store.checkpoints import Checkpoint, Checkpoints
from sweeps.store.owner import Owner
from sweeps.store.parts import Ledger, PartWriter
from sweeps.store.run_directory import RunDirectory
from sweeps.study.design import draw_design
from sweeps.study.trial import Cohort, Result
from sweeps.worker.worker import AskedToEnd, OutOfTimeError, registered, work

EPOCHS = 6


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunDirectory:
    """Two trials of six epochs, each of which is kept."""
    monkeypatch.setenv("LONG_LOG", str(tmp_path / "log"))
    monkeypatch.setenv(checkpoints.INTERVAL_VARIABLE, "0")
    study = make_toy(objective="long_trials:chain", models=("a",), draws=2, epochs=(EPOCHS,))
    made = RunDirectory(tmp_path / "run")
    made.create(study, draw_design(study))
    return made


def drive(run: RunDirectory) -> None:
    chosen = DispatchOptions(slots=("cpu:0",), submission_folder=HELPERS)
    Driver(run, run.read_design(), InlineExecutor(run, lambda: None), chosen).drive()


def rows(run: RunDirectory) -> list[dict[str, Any]]:
    views.rebuild(run)
    found: list[dict[str, Any]] = pq.read_table(run.results).to_pylist()
    return found


def assert_as_undisturbed(run: RunDirectory) -> None:
    for trial, row in zip(run.read_design(), rows(run), strict=True):
        assert (row["trial"], row["outcome"]) == (trial.id, "ok")
        assert row["wrong"] == long_trials.answer(trial.seed, EPOCHS)
    curves = pq.read_table(run.curves).to_pylist()
    assert [row["epoch"] for row in curves] == [*range(EPOCHS)] * 2
    assert list(run.checkpoints.glob("*")) == []


def trained(run: RunDirectory) -> list[list[int]]:
    """Epochs of each trial, in the order in which they were trained."""
    found = long_trials.epochs_trained(run.path.with_name("log"))
    return [found.get((trial.model, trial.seed), []) for trial in run.read_design()]


def interrupt(run: RunDirectory, epoch: int) -> None:
    """Work until so many epochs have ended and another has begun, then end as by a signal."""
    seen = []

    def sleep(seconds: float) -> None:
        seen.append(seconds)
        if len(seen) == epoch + 1:
            raise AskedToEnd(0)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("long_trials.time.sleep", sleep)
        with pytest.raises(SystemExit):
            work(order(run))


def checkpoint_of(run: RunDirectory, number: int = 0) -> Path:
    return run.checkpoint(run.read_design()[number].id)


# --- going on ----------------------------------------------------------------------------------


def test_an_interrupted_trial_goes_on_where_its_last_epoch_ended(
    run: RunDirectory, capsys: pytest.CaptureFixture[str]
) -> None:
    interrupt(run, 2)
    assert claims.held(run) == {}
    assert checkpoint_of(run).exists()
    interrupt(run, 2)  # of the second piece
    drive(run)
    assert trained(run) == [[0, 1, 2, 2, 3, 4, 4, 5], [*range(EPOCHS)]]
    assert_as_undisturbed(run)
    assert capsys.readouterr().err.count("goes on from its checkpoint") == 2
    assert {row["attempt"] for row in rows(run)} == {1}


def reseal(path: Path, trial: str, seconds: str, code: bytes | None = None) -> None:
    """The same state, said to be another's."""
    state, _, line = path.read_bytes().rpartition(b"\n")
    line = checkpoints.trailer_of(state, trial.encode(), code or line.split()[3], seconds.encode())
    path.write_bytes(state + b"\n" + line)


def test_seconds_of_a_trial_are_those_of_its_pieces(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupt(run, 2)
    path = checkpoint_of(run)
    before = float(path.read_bytes().split()[-2])
    assert 0 <= before < 5
    reseal(path, path.stem, "1000.000")
    interrupt(run, 1)
    assert 1000 <= float(path.read_bytes().split()[-2]) < 1005
    monkeypatch.setenv("LONG_SECONDS", "0.05")
    drive(run)
    first, second = rows(run)
    assert 1000.15 <= first["seconds"] < 1010
    assert 0.3 <= second["seconds"] < 10


@pytest.fixture
def broken(run: RunDirectory) -> Callable[[str], None]:
    """Does something to the checkpoint of the first trial."""

    def spoil(how: str) -> None:
        path = checkpoint_of(run)
        content = path.read_bytes()
        spoilt = {
            "cut": content[: len(content) // 2],
            "cut short": content[:-1],
            "longer": content + b"x",
            "one bit": bytes([content[0] ^ 1]) + content[1:],
            "seconds": content.replace(b" 0.", b" 9."),
            "empty": b"",
            "garbage": os.urandom(500) + b"\n" * 3,
        }
        if how == "a folder":
            path.unlink()
            path.mkdir()
        elif how == "another trial":
            reseal(path, checkpoint_of(run, 1).stem, "0.100")
        elif how == "other code":
            reseal(path, path.stem, "0.100", b"0" * 12)
        else:
            path.write_bytes(spoilt[how])

    return spoil


@pytest.mark.parametrize(
    "how",
    [
        *("cut", "cut short", "longer", "one bit", "seconds", "empty", "garbage"),
        *("a folder", "another trial", "other code"),
    ],
)
def test_what_is_damaged_or_of_others_is_ignored_and_said(
    run: RunDirectory,
    broken: Callable[[str], None],
    how: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    interrupt(run, 3)
    broken(how)
    drive(run)
    assert trained(run)[0] == [0, 1, 2, 3, 0, 1, 2, 3, 4, 5]
    said = capsys.readouterr().err
    assert said.count("training begins anew") == 1
    if how == "a folder":
        (aside,) = run.checkpoints.glob("*.damaged")  # not ours: it is kept
        aside.rmdir()
    assert_as_undisturbed(run)


# --- when it is kept ---------------------------------------------------------------------------


class Clock:
    """A clock that goes when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def held(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[str], tuple[Checkpoint, Clock]]]:
    """The first trial in the hands of this process, with a given least time between checkpoints."""
    clock = Clock()
    monkeypatch.setattr(checkpoints, "perf_counter", clock)
    owner, trial = Owner.this_process("w"), run.read_design()[0]
    with registered(run, owner):
        assert claims.acquire(run, trial.id, owner)

        def make(every: str) -> tuple[Checkpoint, Clock]:
            monkeypatch.setenv(checkpoints.INTERVAL_VARIABLE, every)
            cohort = Cohort(trials=(trial,), device="cpu")
            return Checkpoints.here(run, owner).of(cohort)[trial.id], clock

        yield make


def test_short_trials_keep_nothing_and_long_ones_spend_a_hundredth_on_it(
    run: RunDirectory, held: Callable[[str], tuple[Checkpoint, Clock]]
) -> None:
    place, clock = held("")
    made: list[float] = []

    def state() -> bytes:
        made.append(clock.now)
        clock.now += 2.0
        return b"state"

    for _ in range(1000):
        clock.now += 1.0
        place.offer(state)
    assert made[0] == 160.0  # after a minute
    assert made[1:] == [162.0 + 200, 364.0 + 200, 566.0 + 200, 768.0 + 200]
    assert not run.path.joinpath("checkpoints", "x").exists()
    place, clock = held("10")
    made.clear()
    for _ in range(25):
        clock.now += 1.0
        place.offer(lambda: made.append(clock.now) or b"cheap")  # type: ignore[func-returns-value]
    assert len(made) == 2


def test_at_zero_each_is_kept(held: Callable[[str], tuple[Checkpoint, Clock]]) -> None:
    place, _ = held("0")
    made = []
    for number in range(3):
        place.offer(lambda number=number: made.append(number) or b"x")  # type: ignore[misc]
    assert made == [0, 1, 2]
    assert place.load() == b"x"


@pytest.mark.parametrize("text", ["soon", "-1", "inf", "nan"])
def test_another_time_is_refused(run: RunDirectory, text: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(checkpoints.INTERVAL_VARIABLE, text)
        with pytest.raises(SpecError, match=f"'{text}', allowed is a number of seconds from 0"):
            work(order(run))


def test_where_nothing_can_be_written_training_goes_on_and_says_so_once(
    run: RunDirectory, capsys: pytest.CaptureFixture[str]
) -> None:
    run.checkpoints.rmdir()
    run.checkpoints.write_text("in the way")  # permissions mean nothing to root
    drive(run)
    run.checkpoints.unlink()
    assert_as_undisturbed(run)
    assert trained(run) == [[*range(EPOCHS)]] * 2
    assert capsys.readouterr().err.count("no checkpoint can be written, training goes on") == 2


def test_who_was_taken_for_dead_keeps_nothing(
    run: RunDirectory, held: Callable[[str], tuple[Checkpoint, Clock]]
) -> None:
    place, _ = held("0")
    run.claim(place.trial).unlink()
    with pytest.raises(EvictedError, match="was given to others"):
        place.offer(lambda: b"old")
    assert not checkpoint_of(run).exists()


def test_who_lost_its_trial_stops_at_the_next_checkpoint(run: RunDirectory) -> None:
    """The rest of the epochs is not trained for nothing."""

    def give_away(seconds: float) -> None:
        for claim in run.claims.glob("*.json"):
            claim.unlink()
            claim.write_text(Owner.this_process("other").to_json())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("long_trials.time.sleep", give_away)
        assert work(order(run)) == 0
    assert trained(run) == [[0], []]
    assert list(run.parts.iterdir()) == list(run.checkpoints.glob("*")) == []


# --- failures ----------------------------------------------------------------------------------


def test_a_failure_goes_on_but_what_may_be_its_cause_is_removed(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """First attempt: fails in the third epoch. Second: goes on, fails at once. Third: anew."""
    sleeps: list[float] = []

    def sleep(seconds: float) -> None:
        sleeps.append(seconds)
        if len(sleeps) in (3, 3 + EPOCHS + 1):  # the other trial comes in between
            raise ConnectionError("the file server went away")

    monkeypatch.setattr("long_trials.time.sleep", sleep)
    drive(run)
    assert trained(run) == [[0, 1, 2, 2, *range(EPOCHS)], [*range(EPOCHS)]]
    assert [row["attempt"] for row in rows(run)] == [3, 1]
    assert_as_undisturbed(run)


def test_a_failure_that_came_further_is_gone_on_from(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    sleeps: list[float] = []

    def sleep(seconds: float) -> None:
        sleeps.append(seconds)
        if len(sleeps) in (3, 3 + EPOCHS + 3):  # the other trial comes in between
            raise ConnectionError("the file server went away")

    monkeypatch.setattr("long_trials.time.sleep", sleep)
    drive(run)
    assert trained(run) == [[0, 1, 2, 2, 3, 4, 4, 5], [*range(EPOCHS)]]
    assert [row["attempt"] for row in rows(run)] == [3, 1]
    assert_as_undisturbed(run)


def test_driver_removes_what_killed_workers_left(run: RunDirectory) -> None:
    first, second = run.read_design()
    run.checkpoint(first.id).write_bytes(b"it has a result")
    half = run.checkpoints / f".{first.id}.pt.abc.tmp"
    half.write_bytes(b"half")
    run.checkpoint(second.id).write_bytes(b"it has none")
    PartWriter(run, "w").append(Result(trial=first.id, outcome="ok"))
    ledger = Ledger(run)
    ledger.refresh()
    checkpoints.remove_finished(run, ledger)
    assert list(run.checkpoints.iterdir()) == [run.checkpoint(second.id)]
    run.checkpoint(first.id).write_bytes(b"it has a result")
    drive(run)
    assert list(run.checkpoints.iterdir()) == []


# --- the wall time -----------------------------------------------------------------------------


def test_a_trial_that_came_further_in_its_wall_time_has_not_timed_out(run: RunDirectory) -> None:
    shift, trial = SlurmJobLifetime(100.0), run.read_design()[0]
    shift.begin(trial)
    shift.ends = 0.0
    with pytest.raises(OutOfTimeError, match="neither ended nor made a checkpoint"):
        shift.signalled()
    shift.progressed()
    with pytest.raises(SystemExit):
        shift.signalled()


def test_the_worker_tells_its_shift_of_each_checkpoint(run: RunDirectory) -> None:
    told = []

    class Counting(SlurmJobLifetime):
        def progressed(self) -> None:
            told.append(self._training)

    interrupt(run, 4)
    assert work(order(run), lifetime=Counting(None)) == 2
    assert len(told) == EPOCHS - 4 + EPOCHS
    assert list(run.checkpoints.iterdir()) == []  # there need not be a driver


def test_what_a_trial_takes_is_judged_by_all_its_pieces(run: RunDirectory) -> None:
    shift, (trial, other) = SlurmJobLifetime(1000.0), run.read_design()
    shift.begin(trial)
    shift.end(Result(trial=trial.id, outcome="ok"), 600.0)
    assert shift.expected(other, Ledger(run)) == pytest.approx(600.0, abs=1)
