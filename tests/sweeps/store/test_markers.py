"""Workers that do not look at the parts at each trial: markers tell what they have not seen."""

import time
from collections import Counter
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import pytest
from toys import make_toy

from sweeps.store import claims
from sweeps.store.cleanup import remove_leftovers
from sweeps.store.owner import Owner
from sweeps.store.parts import EVER, Ledger, PartWriter
from sweeps.store.run_directory import RunDirectory
from sweeps.study.design import draw_design
from sweeps.study.trial import Result, Trial
from sweeps.worker import queue as waiting
from sweeps.worker.worker import ClaimedCohort, JobLifetime, WorkerSpec, cohorts


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    study = make_toy(draws=20)
    directory = RunDirectory(tmp_path / "run")
    directory.create(study, draw_design(study))
    return directory


@pytest.fixture
def rarely(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """However cheap a look is, it is valid as long as it ever may be; counts the looks."""
    looks: Counter[str] = Counter()
    real = Ledger.refresh

    def refresh(self: Ledger) -> None:
        looks["all"] += 1
        real(self)

    monkeypatch.setattr(Ledger, "refresh", refresh)
    monkeypatch.setattr(waiting, "CHEAP_SECONDS", -1.0)
    monkeypatch.setattr(waiting, "SHARE", 1e12)
    monkeypatch.setattr(waiting, "EARLY_RESULTS", 0)
    return looks


class Worker:
    """Takes trials as a worker does; whoever drives it says when."""

    def __init__(self, run: RunDirectory, name: str, shift: JobLifetime | None = None) -> None:
        self.run, self.owner = run, Owner.this_process(name)
        run.worker(name).write_text(self.owner.to_json())
        order = WorkerSpec(
            run=str(run.path), name=name, slot="cpu:0", max_failures=2,
            since=EVER, begun=datetime.now(UTC), submission_folder="",
        )  # fmt: skip
        self.writer, self.hand = PartWriter(run, name), None
        self.cohorts = cohorts(run, run.read_design(), self.owner, order, shift or JobLifetime())

    hand: ClaimedCohort | None

    def take(self) -> bool:
        """Claim the next; False at the end."""
        self.hand = next(self.cohorts, None)
        return self.hand is not None

    def end(self, fails: set[str]) -> None:
        """Write the result: of a trial in `fails`, the first attempt fails."""
        assert self.hand is not None
        (trial,) = self.hand.trials
        attempt = 1 + self.hand.failures[trial.id]
        outcome = "crashed" if trial.id in fails and attempt == 1 else "ok"
        values = {} if outcome == "crashed" else {"error": 50.0, "chance": 90.0}
        self.writer.append(Result(trial=trial.id, outcome=outcome, values=values), attempt=attempt)
        claims.release(self.run, trial.id)


def train_all(run: RunDirectory, workers: list[Worker], fails: set[str] = frozenset()) -> None:  # type: ignore[assignment]
    """All take one, then all end it, until none is left."""
    while workers := [worker for worker in workers if worker.take()]:
        for worker in workers:
            worker.end(fails)


def attempts(run: RunDirectory) -> Counter[tuple[str, str]]:
    ledger = Ledger(run)
    ledger.refresh()
    return Counter((row["trial"], row["outcome"]) for row in ledger.rows)


def test_workers_that_rarely_look_train_each_trial_once(
    run: RunDirectory, rarely: Counter[str]
) -> None:
    ids = run.read_design().ids
    train_all(run, [Worker(run, name) for name in "abcdef"])
    assert rarely["all"] < len(ids)  # else they would look twice for each
    assert attempts(run) == {(trial, "ok"): 1 for trial in ids}
    assert claims.held(run) == {}


def test_each_of_the_first_results_is_followed_by_a_look(
    run: RunDirectory, rarely: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """They decide whether the sweep stops: a worker sees what others have trained first."""
    monkeypatch.setattr(waiting, "EARLY_RESULTS", 10)
    looks = []
    worker = Worker(run, "a")
    for _ in range(15):
        assert worker.take()
        worker.end(set())
        looks.append(rarely["all"])
    gained = [later - earlier for earlier, later in pairwise(looks)]
    assert min(gained[:9]) >= 1
    assert sum(gained[10:]) == 0


def test_markers_do_not_hide_a_failed_trial_that_is_to_be_tried_first(
    run: RunDirectory, rarely: Counter[str]
) -> None:
    worker = Worker(run, "a")
    failed = set(run.read_design().ids[:3])
    for _ in failed:
        assert worker.take()
        worker.end(failed)
    ledger = Ledger(run)
    queue = waiting.TrialQueue(run.read_design(), ledger, 2)
    queue.refresh()
    assert next(queue.in_turn()).id not in failed
    assert next(queue.in_turn(failed_first=True)).id in failed


def test_a_trial_that_ends_while_another_worker_chooses_it_is_trained_once(
    run: RunDirectory, rarely: Counter[str]
) -> None:
    """After the listing that says what is claimed, and before the claim."""
    other = Worker(run, "other")

    class Interrupting(JobLifetime):
        def fits(self, trial: Trial, ledger: Ledger) -> bool:
            if other.take():
                other.end(set())
            return True

    train_all(run, [Worker(run, "a", Interrupting())])
    assert attempts(run) == {(trial, "ok"): 1 for trial in run.read_design().ids}


def test_attempts_are_counted_by_workers_that_rarely_look(
    run: RunDirectory, rarely: Counter[str]
) -> None:
    ids = run.read_design().ids
    fails = set(ids[::3])
    train_all(run, [Worker(run, name) for name in "abcdef"], fails)
    wanted = Counter({(trial, "ok"): 1 for trial in ids})
    assert attempts(run) == wanted + Counter((trial, "crashed") for trial in fails)


def test_markers_of_a_killed_sweep_block_nothing(run: RunDirectory, rarely: Counter[str]) -> None:
    ids = run.read_design().ids
    for trial in ids:
        run.marker(trial).write_text(Owner.this_process("killed").to_json())
    train_all(run, [Worker(run, name) for name in "ab"])
    assert attempts(run) == {(trial, "ok"): 1 for trial in ids}


def test_a_look_that_is_too_old_is_repeated(
    run: RunDirectory, rarely: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By then the marker may be gone."""
    first, second = Worker(run, "a"), Worker(run, "b")
    assert second.take()
    second.end(set())  # its view is from before what follows
    assert first.take()
    assert first.hand is not None
    (trial,) = first.hand.trials
    first.end(set())
    run.marker(trial.id).unlink()
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + claims.VIEW_SECONDS)
    assert second.take()
    assert second.hand is not None
    assert second.hand.trials[0].id != trial.id


def test_a_claim_that_is_given_back_twice_by_one_owner_is_free(run: RunDirectory) -> None:
    """Claim and marker are then links to one file, and a rename would do nothing."""
    owner, trial = Owner.this_process("a"), run.read_design().ids[0]
    run.worker("a").write_text(owner.to_json())
    for _ in range(2):
        assert claims.acquire(run, trial, owner)
        claims.release(run, trial)
        assert claims.held(run) == {}
        assert claims.has_marker(run, trial)


def test_a_worker_removes_its_own_old_markers(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner, other = Owner.this_process("a"), Owner.this_process("b")
    first, second, third = run.read_design().ids[:3]
    markers, begun = claims.Markers(run, owner), time.monotonic()
    for trial, seconds in ((first, 0.0), (second, 1.0)):
        monkeypatch.setattr(time, "monotonic", lambda s=seconds: begun + s)
        run.marker(trial).write_text(owner.to_json())
        markers.add(trial)
    run.marker(second).write_text(other.to_json())  # trained again meanwhile
    monkeypatch.setattr(time, "monotonic", lambda: begun + claims.VIEW_SECONDS)
    markers.add(third)
    assert run.marker(first).exists()
    monkeypatch.setattr(time, "monotonic", lambda: begun + claims.MARKER_SECONDS + 2)
    markers.add(third)
    assert not run.marker(first).exists()
    assert run.marker(second).exists()


def test_markers_are_swept_up_but_for_those_of_a_worker_that_began_just_now(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    alive, gone = Owner.this_process("alive"), Owner.this_process("gone")
    first, second, third, fourth = run.read_design().ids[:4]
    run.marker(first).write_text(gone.to_json())
    run.marker(second).write_text("garbage")
    run.marker(third).mkdir()
    run.marker(fourth).write_text(alive.to_json())
    run.worker("alive").write_text(alive.to_json())
    remove_leftovers(run)
    assert run.marker(first).exists()  # while a worker lives
    monkeypatch.setattr(claims, "living_workers", lambda *_: [])
    remove_leftovers(run)
    left = sorted(path.name for path in run.claims.iterdir())
    assert left == sorted([run.marker(fourth).name, f"{run.marker(third).name}.damaged"])
