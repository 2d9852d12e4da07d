"""Who is provably gone, and whose fault that was: by Slurm's word, and never without it."""

import os
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from drivers import NAME, far, seen
from objectives import result
from toys import HELPERS, make_run

from sweeps.driver.driver import DispatchOptions, Driver
from sweeps.errors import EvictedError
from sweeps.executors import InlineExecutor
from sweeps.executors.slurm import commands
from sweeps.executors.slurm.jobs import Snapshot, Submission, name_of, new_token, submissions
from sweeps.executors.slurm.lifetime import SlurmJobLifetime
from sweeps.executors.slurm.monitor import JobMonitor
from sweeps.store import claims
from sweeps.store.owner import Owner
from sweeps.store.parts import Ledger, PartWriter
from sweeps.store.run_directory import RunDirectory
from sweeps.study.trial import Result
from sweeps.worker.worker import OutOfTimeError, WorkerSpec, registered, unused_name, work


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    directory = make_run(tmp_path / "run")
    folder = directory.jobs / "0123456789ab"
    folder.mkdir()
    Submission(name=NAME, cluster="c", slots=("cpu:0",), workers=("w",)).write(folder)
    return directory


@pytest.mark.parametrize(
    ("snapshot", "gone"),
    [
        (("RUNNING",), False),
        (("COMPLETING",), False),  # accounting says CANCELLED by now; its processes may live
        (("SUSPENDED",), False),
        (("A_STATE_OF_TOMORROW",), False),
        (("RUNNING", 2), True),  # the same job, begun again
        (("PENDING", 2), True),
        (("REQUEUE_HOLD", 1), True),
        (("CANCELLED",), True),
        (("NODE_FAIL",), True),
        (("OUT_OF_MEMORY",), True),
        (("RUNNING", 1, "stability-ffffffffffff"), True),  # the id was given to another job
    ],
)
def test_a_worker_is_gone_by_the_word_of_the_controller(
    run: RunDirectory, snapshot: tuple[str, int, str], gone: bool
) -> None:
    witness, owner = JobMonitor(run), far()
    witness.see([owner])
    witness.snapshot = seen(*snapshot)
    assert witness.is_gone(owner) is gone


def test_what_was_asked_before_an_owner_was_seen_proves_nothing(run: RunDirectory) -> None:
    """The job that waited then may have begun since, and made the claim that we see."""
    witness, owner = JobMonitor(run), far()
    witness.snapshot = seen("PENDING")
    assert not witness.is_gone(owner)
    witness.snapshot = seen("PENDING")
    assert witness.is_gone(owner)


def test_of_jobs_that_were_not_asked_for_an_answer_says_nothing(run: RunDirectory) -> None:
    """Their record may be damaged, deleted, or not yet visible here: they run on."""
    witness, owner = JobMonitor(run), far(submission="stability-ffffffffffff")
    witness.see([owner])
    witness.snapshot = seen("RUNNING")
    assert not witness.is_gone(owner)


def test_who_was_seen_is_asked_for_whatever_is_written_down(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[set[str]] = []

    def look(names: set[str], *more: object, **told: float) -> Snapshot:
        asked.append(set(names))
        return Snapshot(began=told["began"], cluster="c", asked=frozenset(names), tasks={})

    monkeypatch.setattr("sweeps.executors.slurm.monitor.look", look)
    monkeypatch.setattr(JobMonitor, "cluster", lambda self, patience: "c")
    (run.jobs / "0123456789ab" / "slurm.json").unlink()
    witness = JobMonitor(run)
    witness.see([far()])
    assert witness.refresh()
    assert asked == [{NAME}]


def test_another_cluster_is_not_asked(run: RunDirectory) -> None:
    witness, owner = JobMonitor(run), far(cluster="another")
    witness.see([owner])
    witness.snapshot = seen("CANCELLED")
    assert not witness.is_gone(owner)


def fake(folder: Path, monkeypatch: pytest.MonkeyPatch, **scripts: str) -> None:
    """Slurm's commands, as shell scripts."""
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    for name, line in scripts.items():
        (folder / name).write_text(f"#!/bin/sh\n{line}\n")
        (folder / name).chmod(0o755)


def test_a_cluster_that_does_not_say_its_name_is_sure_of_the_jobs_that_it_told_of(
    run: RunDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = "echo 'scontrol: error: Access/permission denied' >&2; exit 1"
    running = f"echo '7_0|RUNNING|1|{NAME}|n1|N/A|0|None|'"
    fake(tmp_path, monkeypatch, squeue="", scontrol=refused)
    assert commands.largest_array(commands.config()) == 1001
    witness = JobMonitor(run)
    for answer, gone in (("", False), (running, False), ("", True)):
        (tmp_path / "squeue").write_text(f"#!/bin/sh\n{answer}\n")
        witness.see([far()])
        assert witness.refresh(), witness.trouble
        assert witness.is_gone(far()) is gone  # at first it may have been asked of another cluster


def test_a_process_that_is_seen_here_needs_no_slurm(run: RunDirectory) -> None:
    here = Owner.this_process("w")
    place = {"job": "7_0", "submission": NAME, "cluster": "c"}
    living = Owner(**{**here.__dict__, **place})
    dead = Owner(**{**living.__dict__, "started": "1"})
    witness = JobMonitor(run)
    witness.see([living])
    witness.snapshot = seen("CANCELLED")
    assert [witness.is_gone(owner) for owner in (living, dead)] == [False, True]
    assert not living.is_here  # the driver of this host must not count or kill it


@pytest.mark.parametrize(
    ("squeue", "trouble"),
    [
        ("echo 'slurm_load_jobs error: Unable to contact slurm controller' >&2; exit 1", "contact"),
        ("exec sleep 30", "squeue has not answered for"),
    ],
)
def test_without_an_answer_nothing_is_gone(
    run: RunDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, squeue: str, trouble: str
) -> None:
    fake(tmp_path, monkeypatch, squeue=squeue, scontrol="echo 'ClusterName = c'")
    witness, owner = JobMonitor(run), far()
    witness.see([owner])
    start = time.monotonic()
    assert not witness.refresh(patience=3)
    assert time.monotonic() - start < 15
    assert trouble in witness.trouble
    assert not witness.is_gone(owner)
    (tmp_path / "squeue").write_text("#!/bin/sh\n")  # it answers: there is no such job
    assert witness.refresh()
    assert witness.is_gone(owner)


@pytest.mark.parametrize(
    ("state", "restarts", "outcome"),
    [
        ("OUT_OF_MEMORY", 1, "out_of_memory"),
        ("TIMEOUT", 1, "timed_out"),
        ("FAILED", 1, "crashed"),
        ("CANCELLED", 1, None),
        ("NODE_FAIL", 1, None),
        ("PENDING", 2, None),
        ("RUNNING", 2, None),
    ],
)
def test_whose_fault_an_end_was(
    run: RunDirectory, state: str, restarts: int, outcome: str | None
) -> None:
    witness = JobMonitor(run)
    witness.snapshot = seen(state, restarts)
    found = witness.fault(far())
    assert (found and found[0]) == outcome
    assert found is None or f"7_0 on n1 {state} (exit 9)" in found[1]


def test_an_end_that_nobody_knows_is_a_fault_of_the_trial_the_second_time(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Accounting is off, and the controller has forgotten the jobs."""
    monkeypatch.setattr("sweeps.executors.slurm.monitor.remembered", lambda job, submission: None)
    witness, (one, other) = JobMonitor(run), [trial.id for trial in run.read_design()][:2]
    asked = [(one, "w1", None), (other, "w2", None), (one, "w3", "crashed"), (one, "w4", "crashed")]
    for trial, worker, outcome in asked:
        owner = far(name=worker, job=f"{worker[1]}_0")
        run.claim(trial).write_text(owner.to_json())
        for _ in range(2):  # however often it is asked of the same end
            found = witness.fault(owner)
            assert (found and found[0]) == outcome
        claims.release(run, trial)
    assert found is not None
    assert "4_0 on n1, of which Slurm knows nothing" in found[1]


def test_a_submission_with_a_foreign_name_is_none(run: RunDirectory) -> None:
    """What others write into the folder reaches no command line."""
    folder = run.jobs / "f"
    folder.mkdir()
    Submission(name="x; rm -rf", cluster="c", slots=(), workers=()).write(folder)
    (run.jobs / "g").mkdir()
    (run.jobs / "g" / "slurm.json").write_text("[1]")
    assert [submission.name for submission in submissions(run)] == [NAME]


def test_of_a_damaged_record_the_name_of_the_job_is_known(run: RunDirectory) -> None:
    """Its jobs are asked for, and cancelled, all the same."""
    (run.jobs / (token := new_token(run))).mkdir()
    (run.jobs / token / "slurm.json").write_text("{")
    assert [submission.name for submission in submissions(run, own=True)] == [name_of(token)]


def order(run: RunDirectory) -> WorkerSpec:
    now = datetime.now(UTC)
    return WorkerSpec(
        run=str(run.path), name="w", slot="cpu:0", max_failures=2, since=now, begun=now,
        submission_folder=str(HELPERS),
    )  # fmt: skip


def test_who_was_taken_for_dead_claims_nothing(run: RunDirectory) -> None:
    trials, owner = run.read_design(), Owner.this_process("old")
    with registered(run, owner):
        run.worker("old").unlink()  # what the driver does
        with pytest.raises(EvictedError):
            claims.acquire(run, trials[0].id, owner)
    assert claims.held(run) == {}


def test_who_was_taken_for_dead_writes_nothing(run: RunDirectory) -> None:
    """Its trial has been given to another while it trained."""
    other = far(name="other").to_json()

    def give_away(seconds: float) -> None:
        for claim in run.claims.glob("*.json"):
            claim.unlink()
            claim.write_text(other)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("objectives.time.sleep", give_away)
        assert work(order(run)) == 0
    assert list(run.parts.iterdir()) == []
    assert [owner and owner.name for owner in claims.held(run).values()] == ["other"]


def test_a_job_that_begins_again_does_not_write_over_its_parts(run: RunDirectory) -> None:
    assert unused_name(run, "w", 0) == "w"
    assert unused_name(run, "w", 2) == "w-r2"
    PartWriter(run, "w").append(Result(trial="x", outcome="ok"))
    assert unused_name(run, "w", 0) not in ("w", "w-r0")


def test_a_shift_takes_what_fits_and_gives_its_first_trial_a_chance(run: RunDirectory) -> None:
    trials, ledger = run.read_design(), Ledger(run)
    shift = SlurmJobLifetime(1000.0)
    PartWriter(run, "w").append(result(trials[1]), seconds=2000.0)
    ledger.refresh()
    assert shift.fits(trials[0], ledger)  # whatever it takes: it never would have more time
    shift.begin(trials[0])
    shift._since -= 100.0
    shift.end(result(trials[0]))
    assert shift.fits(trials[2], ledger)  # 120 of 940 seconds
    assert not shift.wants_more
    shift.ends = time.monotonic() + 110.0
    assert not shift.fits(trials[2], ledger)
    assert shift.wants_more


def test_a_signal_is_a_fault_only_of_a_trial_that_had_all_the_time(run: RunDirectory) -> None:
    trials = run.read_design()
    preempted, long, second = (
        SlurmJobLifetime(7200.0),
        SlurmJobLifetime(7200.0),
        SlurmJobLifetime(7200.0),
    )
    for shift in (preempted, long, second):
        shift.begin(trials[0])
    second.end(result(trials[0]))
    second.begin(trials[1])
    for shift, seconds, kind in (
        (preempted, 3600.0, SystemExit),
        (long, 1.0, OutOfTimeError),
        (second, 1.0, SystemExit),
    ):
        shift.ends = time.monotonic() + seconds
        with pytest.raises(kind):
            shift.signalled()
        assert shift.wants_more
        assert shift.is_over(Ledger(run))


def test_a_worker_for_whom_everything_fails_ends(run: RunDirectory) -> None:
    shift = SlurmJobLifetime(None)
    for trial in run.read_design()[:3]:
        assert not shift.is_over(Ledger(run))
        shift.begin(trial)
        shift.end(Result(trial=trial.id, outcome="crashed"))
    assert shift.is_over(Ledger(run))
    assert not shift.wants_more


class OldAnswer(InlineExecutor):
    """Takes a worker for queued that has begun since; the third look is at its end."""

    looks = 0

    def busy(self) -> set[str]:
        self.looks += 1
        if self.looks == 3:
            for trial in self.run.read_design():
                PartWriter(self.run, f"w{trial.draw}{trial.model}").append(result(trial))
                claims.release(self.run, trial.id)
            self.run.worker("w").unlink()
        return {"cpu:0"} if self.run.worker("w").exists() else set()

    def queued(self) -> set[str]:
        return {"cpu:0"} if self.looks < 3 else set()


def test_a_worker_that_has_begun_is_waited_for_whatever_was_answered_before(
    run: RunDirectory,
) -> None:
    """All that is left is in its hands: were it taken for queued, its job would be cancelled."""
    with registered(run, Owner.this_process("w", "cpu:0")) as owner:
        for trial in run.read_design():
            assert claims.acquire(run, trial.id, owner)
        dispatcher = OldAnswer(run, lambda: None)
        chosen = DispatchOptions(slots=("cpu:0",), submission_folder=HELPERS)
        Driver(run, run.read_design(), dispatcher, chosen).drive()
    ledger = Ledger(run)
    ledger.refresh()
    assert len(ledger.rows) == len(run.read_design())
