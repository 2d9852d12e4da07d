"""What the dispatcher hands to Slurm, and what it makes of the answers, without a Slurm."""

import os
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from objectives import result
from toys import HELPERS, make_toy

from sweeps.driver.driver import DispatchOptions, Driver
from sweeps.errors import ExecutorError
from sweeps.executors.slurm import commands
from sweeps.executors.slurm.executor import SlurmExecutor, outside_of_jobs
from sweeps.executors.slurm.jobs import Snapshot, Task
from sweeps.executors.slurm.options import SlurmOptions
from sweeps.store.parts import Ledger, PartWriter
from sweeps.store.run_directory import RunDirectory
from sweeps.study.design import draw_design
from sweeps.worker.worker import WorkerSpec

OF_JOB = {
    "SLURM_JOB_ID": "7", "SLURM_JOBID": "7", "SLURM_NPROCS": "4", "SLURM_NTASKS": "4",
    "SLURM_DISTRIBUTION": "block", "SLURM_HINT": "nomultithread", "SLURM_THREADS_PER_CORE": "1",
    "SLURM_CPU_BIND": "quiet,threads", "SLURM_CPU_BIND_LIST": "0x1", "SLURM_MEM_PER_CPU": "128",
    "SLURM_WORKING_CLUSTER": "c:127.0.0.1:6817", "SLURM_TRES_PER_TASK": "cpu:2",
    "SLURM_UMASK": "0022", "SLURMD_NODENAME": "n1", "SLURMD_DEBUG": "3", "SRUN_DEBUG": "3",
    "SRUN_CPUS_PER_TASK": "2", "SBATCH_MEM_BIND": "local", "SBATCH_MEM_BIND_TYPE": "local",
    "SUBMITIT_EXECUTOR": "slurm",
}  # fmt: skip
OF_PERSON = {
    "SLURM_CONF": "/etc/slurm.conf", "SLURM_JWT": "x", "SLURM_CLUSTERS": "c",
    "SBATCH_ACCOUNT": "vision", "SBATCH_PARTITION": "gpu", "SLURMS_OWN": "1",
}  # fmt: skip


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """With nothing of a Slurm around the tests."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("S")}
    monkeypatch.setattr("os.environ", kept)
    return kept


def test_workers_are_told_nothing_of_a_job_around_their_driver(environment: dict[str, str]) -> None:
    environment |= {**OF_JOB, **OF_PERSON}
    before = dict(environment)
    with outside_of_jobs():
        assert set(environment) & set(OF_JOB) == set()
        assert set(OF_PERSON) <= set(environment)
    assert environment == before


def test_on_a_login_node_what_a_person_sets_stays(environment: dict[str, str]) -> None:
    environment |= {"SLURM_HINT": "nomultithread", "SUBMITIT_EXECUTOR": "slurm"}
    with outside_of_jobs():
        assert environment["SLURM_HINT"] == "nomultithread"
        assert "SUBMITIT_EXECUTOR" not in environment


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("sbatch: error: Resource temporarily unavailable", commands.SlurmAwayError),
        (
            "sbatch: error: Slurm temporarily unable to accept job, sleeping and retrying",
            commands.SlurmAwayError,
        ),
        (
            "sbatch: error: fetch_config: DNS SRV lookup failed\n"
            "sbatch: fatal: Could not establish a configuration source",
            commands.SlurmAwayError,
        ),
        (
            "squeue: error: If munged is up, restart with --num-threads=10\n"
            "squeue: error: Munge encode failed: Failed to access socket",
            commands.SlurmAwayError,
        ),
        ("slurm_load_jobs error: Protocol authentication error", commands.SlurmAwayError),
        (
            "sbatch: error: QOSMaxSubmitJobPerUserLimit\n"
            "sbatch: error: Batch job submission failed: Job violates accounting/QOS policy",
            commands.SlurmFullError,
        ),
        ("sbatch: error: AssocMaxSubmitJobLimit", commands.SlurmFullError),
        ("sbatch: error: AssocGrpSubmitJobsLimit", commands.SlurmFullError),
        ("sbatch: error: invalid partition specified: none", commands.SlurmRefusedError),
        ("sbatch: error: QOSMaxCpuPerUserLimit", commands.SlurmRefusedError),
    ],
)
def test_what_is_transient_what_a_limit_and_what_a_refusal(words: str, kind: type) -> None:
    assert type(commands.refusal(words)) is kind


LIMIT = "sbatch: error: AssocMaxSubmitJobLimit"
REFUSAL = "sbatch: error: Invalid qos specification"


@pytest.fixture
def dispatcher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SlurmExecutor:
    """At a Slurm whose arrays have at most two tasks, and which accepts nothing."""
    study = make_toy()
    run = RunDirectory(tmp_path / "run")
    run.create(study, draw_design(study))
    tools = tmp_path / "bin"
    tools.mkdir()
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    for name in commands.NEEDED:
        answers(tools / name, "exit 0")
    answers(tools / "scontrol", "echo 'ClusterName = c'; echo 'MaxArraySize = 2'")
    return SlurmExecutor(run, lambda: None, SlurmOptions())


def answers(tool: Path, line: str) -> None:
    tool.write_text(f"#!/bin/sh\n{line}\n")
    tool.chmod(0o755)


def submit(dispatcher: SlurmExecutor, count: int) -> None:
    """So many workers, and wait until sbatch has answered for all or refused one."""
    now = datetime.now(UTC)
    dispatcher.start(
        [
            WorkerSpec(run=str(dispatcher.run.path), name=f"w{i}", slot=f"cpu:{i}", max_failures=2,
                  since=now, begun=now, submission_folder=str(HELPERS))
            for i in range(count)
        ]
    )  # fmt: skip
    assert dispatcher._thread is not None
    dispatcher._thread.join(60)


def nothing_lives(dispatcher: SlurmExecutor, *tasks: Task) -> None:
    """Slurm's answer, asked for now."""
    time.sleep(0.01)
    dispatcher.monitor.snapshot = Snapshot(
        began=time.monotonic(), cluster="c", asked=frozenset(),
        tasks={(task.submission, task.job): task for task in tasks},
    )  # fmt: skip


def accepts_once(tmp_path: Path, words: str) -> None:
    once = tmp_path / "once"
    answers(
        tmp_path / "bin" / "sbatch",
        f"mkdir {once} 2>/dev/null && echo Submitted batch job 7 && exit 0; "
        f"echo '{words}' >&2; exit 1",
    )


def test_a_refusal_of_a_later_array_leaves_the_first_one(
    dispatcher: SlurmExecutor, tmp_path: Path
) -> None:
    nothing_lives(dispatcher)  # the last answer is older than the array that is accepted now
    accepts_once(tmp_path, REFUSAL)
    submit(dispatcher, 3)
    assert dispatcher.busy() == {"cpu:0", "cpu:1", "cpu:2"}
    assert dispatcher.refusal() is None
    assert "Invalid qos" in dispatcher.state()
    with pytest.raises(ExecutorError, match="not take 1 of the workers: Invalid qos"):
        dispatcher.detach()
    nothing_lives(dispatcher)  # its workers have ended: none is left, and no other is taken
    assert "Slurm refuses the workers: Invalid qos" in str(dispatcher.refusal())
    assert dispatcher.busy() == {"cpu:2"}


class Trained(SlurmExecutor):
    """What is accepted has trained all but `left` before anything else is submitted."""

    left = 0
    deadline = float("inf")

    def _send(self, orders: list[WorkerSpec]) -> None:
        super()._send(orders)
        writer = PartWriter(self.run, orders[0].name)
        for trial in self.run.read_design()[self.left :]:
            writer.append(result(trial))

    def rest(self, seconds: float) -> None:
        assert time.monotonic() < self.deadline
        super().rest(0.05)


@pytest.mark.parametrize("left", [0, 1])
def test_a_refusal_of_a_later_array_is_an_error_only_where_trials_are_left(
    dispatcher: SlurmExecutor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, left: int
) -> None:
    """By squeue no worker lives."""
    monkeypatch.setattr("sweeps.executors.slurm.monitor.BETWEEN_SECONDS", (0.05, 60.0))
    monkeypatch.setattr("sweeps.executors.slurm.monitor.SHARE", 0)
    accepts_once(tmp_path, REFUSAL)
    dispatcher = Trained(dispatcher.run, lambda: None, SlurmOptions())
    dispatcher.left, dispatcher.deadline = left, time.monotonic() + 30
    plan = DispatchOptions(slots=("cpu:0", "cpu:1", "cpu:2"), submission_folder=HELPERS)
    driver = Driver(dispatcher.run, dispatcher.run.read_design(), dispatcher, plan)
    refused = pytest.raises(ExecutorError, match="Slurm refuses the workers: Invalid qos")
    with refused if left else nullcontext():
        driver.drive()
    ledger = Ledger(dispatcher.run)
    ledger.refresh()
    assert len(ledger.rows) == len(driver.trials) - left


def test_a_limit_of_jobs_is_waited_for_where_ours_may_fill_it(
    dispatcher: SlurmExecutor, tmp_path: Path
) -> None:
    accepts_once(tmp_path, LIMIT)
    submit(dispatcher, 3)
    nothing_lives(dispatcher)
    assert dispatcher.busy() == {"cpu:2"}
    assert dispatcher.refusal() is None
    assert "AssocMaxSubmitJobLimit" in dispatcher.state()


def test_a_limit_of_jobs_that_others_fill_is_a_refusal_at_first(
    dispatcher: SlurmExecutor, tmp_path: Path
) -> None:
    answers(tmp_path / "bin" / "sbatch", f"echo '{LIMIT}' >&2; exit 1")
    submit(dispatcher, 1)
    nothing_lives(dispatcher)
    assert "Slurm refuses the workers: AssocMaxSubmitJobLimit" in str(dispatcher.refusal())
    nothing_lives(dispatcher, Task(job="3_0", state="COMPLETED", submission="earlier"))
    assert dispatcher.refusal() is None
    assert dispatcher.busy() == {"cpu:0"}


@pytest.mark.parametrize(
    ("state", "reason", "is_stuck"),
    [
        ("PENDING", "PartitionTimeLimit", True),
        ("PENDING", "PartitionNodeLimit", True),
        ("PENDING", "launch failed requeued held", True),
        ("PENDING", "launch_failed_requeued_held", True),
        ("REQUEUE_HOLD", "", True),
        ("PENDING", "JobHeldUser", False),  # whoever held it may release it
        ("PENDING", "PartitionDown", False),
        ("PENDING", "Nodes required for job are DOWN, DRAINED or reserved", False),
        ("RUNNING", "PartitionTimeLimit", False),
    ],
)
def test_what_never_starts_of_itself(state: str, reason: str, is_stuck: bool) -> None:
    assert Task(job="7_0", state=state, reason=reason).is_stuck is is_stuck


def test_what_would_never_start_is_cancelled_and_the_reason_is_the_complaint(
    dispatcher: SlurmExecutor, tmp_path: Path
) -> None:
    dispatcher._own = lambda tasks: tasks  # type: ignore[method-assign]
    log = tmp_path / "cancelled"
    answers(
        tmp_path / "bin" / "scancel",
        f"echo $* >>{log}; mkdir {tmp_path}/again 2>/dev/null || exit 0; "
        "echo 'scancel: error: Unable to contact slurm controller' >&2; exit 1",
    )
    stuck = Task(job="7_0", state="PENDING", submission="s", reason="PartitionTimeLimit")
    nothing_lives(dispatcher, stuck)
    deadline = time.monotonic() + 30
    while not log.exists() or log.read_text().split() != ["7_0", "7_0"]:  # till it is heard
        assert time.monotonic() < deadline
        dispatcher.busy()
        time.sleep(0.05)
    ran = Task(job="6_0", state="FAILED", submission="t", started="2026-01-02T03:04:05")
    nothing_lives(
        dispatcher, ran, Task(job="7", state="CANCELLED", submission="s", started="2026-01-03")
    )
    said = "Slurm job 7: cancelled, as it would never start: PartitionTimeLimit"
    assert dispatcher.last_log_line() == said


AWAY = "slurm_update error: Unable to contact slurm controller (connect failure)"
BEGUN = "7_2: Job is no longer pending execution"


def queued(job: str, restarts: int = 0) -> Task:
    return Task(job=job, state="PENDING", submission="s", restarts=restarts)


@pytest.fixture
def updates(dispatcher: SlurmExecutor, tmp_path: Path) -> Callable[[], list[str]]:
    """Look a few times; what scontrol was asked to update since the last call."""
    log = tmp_path / "updated"
    log.touch()
    answers(tmp_path / "bin" / "scontrol", f"echo $* >>{log}")

    dispatcher._own = lambda tasks: tasks  # type: ignore[method-assign]

    def look() -> list[str]:
        log.write_text("")
        for _ in range(5):
            dispatcher.busy()
            if dispatcher._telling is not None:
                dispatcher._telling.join(60)
        return log.read_text().splitlines()

    return look


def test_what_is_queued_is_told_once_of_each_node_that_goes_bad(
    dispatcher: SlurmExecutor, updates: Callable[[], list[str]]
) -> None:
    dispatcher.options = SlurmOptions(exclude="n8,n9")
    running = Task(job="7_1", state="RUNNING", submission="s", node="n1")
    nothing_lives(dispatcher, queued("7_0"), running, queued("7_2"), queued("8"))
    assert updates() == []
    dispatcher.avoid(["n2"])
    assert updates() == ["update JobId=7_[0,2],8 ExcNodeList=n8,n9,n2"]
    dispatcher.avoid(["n2"])
    assert updates() == []
    dispatcher.avoid(["n2", "n3"])
    assert updates() == ["update JobId=7_[0,2],8 ExcNodeList=n8,n9,n2,n3"]
    dispatcher.avoid(["n2"])
    assert updates() == []


def test_what_comes_back_into_the_queue_is_told_too(
    dispatcher: SlurmExecutor, updates: Callable[[], list[str]]
) -> None:
    """It began with the list of before the node went bad."""
    dispatcher.avoid(["n2"])
    nothing_lives(dispatcher, queued("7_0"), replace(queued("7_1"), state="RUNNING"))
    assert updates() == ["update JobId=7_[0] ExcNodeList=n2"]
    nothing_lives(dispatcher, queued("7_0", restarts=1), queued("7_1", restarts=1))
    assert updates() == ["update JobId=7_[0,1] ExcNodeList=n2"]


@pytest.mark.parametrize(("words", "asked"), [(AWAY, 2), (BEGUN, 1)])
def test_what_is_queued_is_told_again_where_slurm_is_away_not_where_it_refuses(
    dispatcher: SlurmExecutor,
    updates: Callable[[], list[str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: str,
    asked: int,
) -> None:
    monkeypatch.setattr("sweeps.executors.slurm.executor.AGAIN_SECONDS", 0.05)
    answers(
        tmp_path / "bin" / "scontrol",
        f"echo $* >>{tmp_path}/updated; mkdir {tmp_path}/again 2>/dev/null || exit 0; "
        f"echo '{words}' >&2; exit 1",
    )
    nothing_lives(dispatcher, queued("7_0"), queued("7_2"))
    dispatcher.avoid(["n2"])
    assert updates() == asked * ["update JobId=7_[0,2] ExcNodeList=n2"]
