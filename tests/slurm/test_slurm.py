"""Workers on a real Slurm: placed, killed, preempted, cancelled, adopted."""

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from slurm_cluster import STABILITY, Sweep, new_sweep, slurm, wait_for
from toys import HELPERS

from sweeps.store import claims

New = Callable[..., Sweep]

__all__ = ["new_sweep"]  # a fixture: pytest finds it by its name


def finished(sweep: Sweep) -> int:
    return int(sweep.state()["finished"])


def trainings(tmp_path: Path) -> list[str]:
    return [line.split()[0] for line in (tmp_path / "trainings").read_text().splitlines()
            if " start " in line]  # fmt: skip


def test_every_trial_is_trained_once_on_both_nodes(new_sweep: New, tmp_path: Path) -> None:
    sweep = new_sweep()
    assert sweep.drive() == 0, sweep.said()
    sweep.assert_complete()
    assert len(trainings(tmp_path)) == 12
    assert {row["host"] for row in sweep.rows()} == {"n1", "n2"}
    assert {job.split()[1] for job in sweep.jobs()} == {"COMPLETED"}


@pytest.mark.slow
def test_a_sweep_that_is_started_within_a_job_hands_nothing_of_it_on(
    new_sweep: New, tmp_path: Path
) -> None:
    """The job's own shape (four tasks, their distribution, a hint) is not that of its workers."""
    sweep = new_sweep()
    setup = f"env | grep -E ^S >>{tmp_path}/environment"
    command = f"{STABILITY} resume {sweep.run.path} --executor slurm --parallel 2 --setup '{setup}'"
    place = ("-D", str(HELPERS), "-o", str(sweep.log))
    around = ("-n4", "-m", "block", "--hint=nomultithread", *place)
    slurm("sbatch", "--wait", *around, "--wrap", command)
    sweep.assert_complete()
    assert len(trainings(tmp_path)) == 12
    said = (tmp_path / "environment").read_text()
    assert said.count("SLURM_JOB_ID=") == 2
    assert "SLURM_HINT" not in said
    assert "SLURM_DISTRIBUTION" not in said


def test_after_a_killed_driver_its_workers_are_adopted(new_sweep: New, tmp_path: Path) -> None:
    sweep = new_sweep(draws=30)
    driver = sweep.start("--executor", "slurm", "--parallel", "2")
    wait_for(lambda: finished(sweep) >= 2)
    driver.kill()
    jobs = len(sweep.jobs())
    assert sweep.start().wait(90) == 0, sweep.said()  # executor and workers are remembered
    sweep.assert_complete()
    assert len(sweep.jobs()) == jobs == 2
    assert len(trainings(tmp_path)) == 30


def test_a_killed_worker_costs_its_trial_an_attempt(new_sweep: New) -> None:
    """Its host is another to the driver: only Slurm can say that it is gone."""
    sweep = new_sweep()
    driver = sweep.start("--executor", "slurm", "--parallel", "2")
    wait_for(lambda: finished(sweep) >= 2 and len(claims.held(sweep.run)) == 2)
    victim = claims.workers(sweep.run)[0]
    assert not victim.is_gone
    os.kill(victim.pid, signal.SIGKILL)
    assert driver.wait(90) == 0, sweep.said()
    sweep.assert_complete()
    assert sorted(row["attempt"] for row in sweep.rows())[-2:] == [1, 2]


def test_a_cancelled_worker_is_replaced_and_no_fault_of_its_trial(new_sweep: New) -> None:
    sweep = new_sweep()
    driver = sweep.start("--executor", "slurm", "--parallel", "2")
    wait_for(lambda: finished(sweep) >= 2)
    slurm("scancel", claims.workers(sweep.run)[0].job)
    assert driver.wait(90) == 0, sweep.said()
    sweep.assert_complete()
    assert {row["attempt"] for row in sweep.rows()} == {1}
    assert len(sweep.jobs()) == 3


@pytest.mark.slow
def test_a_preempted_worker_gives_back_its_claim_and_goes_on_later(new_sweep: New) -> None:
    sweep = new_sweep(draws=40)
    driver = sweep.start("--executor", "slurm", "--parallel", "2")
    wait_for(lambda: finished(sweep) >= 2)
    urgent = ("sbatch", "--parsable", "-p", "urgent", "-N2", "--exclusive", "-o", "/dev/null")
    job = slurm(*urgent, "--wrap", "sleep 6").strip()
    wait_for(lambda: len(sweep.state()["queued"]) == 2)
    assert claims.held(sweep.run) == {}
    assert {task["restarts"] for task in sweep.state()["queued"]} <= {0, 1}
    assert driver.wait(120) == 0, sweep.said()
    slurm("scancel", job)
    sweep.assert_complete()
    assert any(row["worker"].endswith("-r1") for row in sweep.rows())
    assert {row["attempt"] for row in sweep.rows()} == {1}


@pytest.mark.slow
def test_where_going_back_is_refused_the_driver_starts_another(new_sweep: New) -> None:
    sweep = new_sweep(draws=20)
    driver = sweep.start("--executor", "slurm", "--parallel", "1")
    wait_for(lambda: finished(sweep) >= 2)
    job = claims.workers(sweep.run)[0].job
    slurm("scontrol", "update", f"jobid={job}", "requeue=0")
    slurm("scancel", "--signal=USR2", job)
    assert driver.wait(90) == 0, sweep.said()
    sweep.assert_complete()
    assert len(sweep.jobs()) == 2
    assert "not put back into the queue" in "".join(
        log.read_text() for log in sweep.run.jobs.glob("*/*_log.out")
    )


@pytest.mark.parametrize(
    "number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)]
)
def test_an_interrupted_driver_cancels_its_jobs(new_sweep: New, number: int) -> None:
    sweep = new_sweep(draws=60)
    driver = sweep.start("--executor", "slurm", "--parallel", "2")
    wait_for(lambda: finished(sweep) >= 2)
    driver.send_signal(number)
    assert driver.wait(60) == 130, sweep.said()
    assert {job.split()[1] for job in sweep.jobs()} == {"CANCELLED"}
    assert list(sweep.run.claims.iterdir()) == []
    assert "stopped: " in sweep.said()


def test_detached_workers_are_looked_at_cancelled_and_resumed(new_sweep: New) -> None:
    sweep = new_sweep(draws=30)
    assert sweep.drive("--detach") == 0, sweep.said()
    assert "stability cancel" in sweep.said()
    wait_for(lambda: finished(sweep) >= 2)
    state = sweep.state()
    assert state["workers"] == 2
    assert {task["host"] for task in state["running"]} <= {"n1", "n2"}
    assert all(task["job"] and task["since"] for task in state["running"])
    cancelled = sweep.call("cancel")
    assert cancelled.returncode == 0, cancelled.stderr
    assert "2 of 2 workers ended" in cancelled.stdout
    assert list(sweep.run.workers.iterdir()) == []
    assert finished(sweep) < 30
    assert sweep.start().wait(90) == 0, sweep.said()
    sweep.assert_complete()
    assert {row["attempt"] for row in sweep.rows()} == {1}


@pytest.mark.slow
def test_cancel_ends_a_driver_too(new_sweep: New) -> None:
    sweep = new_sweep(draws=60)
    driver = sweep.start("--executor", "slurm", "--parallel", "2")
    wait_for(lambda: finished(sweep) >= 2)
    assert sweep.call("cancel").returncode == 0
    assert driver.wait(10) == 130
    assert {job.split()[1] for job in sweep.jobs()} == {"CANCELLED"}


@pytest.mark.slow
def test_workers_that_wait_are_named_with_their_reason(new_sweep: New) -> None:
    sweep = new_sweep()
    assert sweep.drive("--detach", "--slurm", "begin=now+1hour") == 0, sweep.said()
    wait_for(lambda: len(sweep.state()["queued"]) == 2)
    assert "2 workers queued: BeginTime" in sweep.call("status").stdout
    assert sweep.call("cancel").returncode == 0
    assert sweep.state()["queued"] == []


def test_what_slurm_refuses_is_said_in_its_words(new_sweep: New) -> None:
    sweep = new_sweep()
    assert sweep.drive("--partition", "nowhere") == 1
    assert "Slurm refuses the workers: " in sweep.said()
    assert "nvalid partition" in sweep.said()
    assert sweep.jobs() == []


@pytest.mark.slow
def test_workers_that_would_never_start_are_given_up_with_the_reason(new_sweep: New) -> None:
    slurm("scontrol", "create", "partitionname=short", "nodes=ALL", "maxtime=1")
    sweep = new_sweep()
    try:
        assert sweep.drive("--partition", "short", "--time", "10") == 1
    finally:
        slurm("scontrol", "delete", "partition=short")
    assert "cancelled, as it would never start: PartitionTimeLimit" in sweep.said()
    assert {job.split()[1] for job in sweep.jobs()} == {"CANCELLED"}


def test_trials_that_all_fail_alike_stop_the_sweep_and_are_shown_once(new_sweep: New) -> None:
    sweep = new_sweep(objective="objectives:broken", draws=200)
    assert sweep.drive() == 1
    assert sweep.said().count("the first trials all fail alike") == 1
    assert "ValueError: no such file" in sweep.said()
    assert len(sweep.state()["failed"]) < 10


@pytest.mark.slow
def test_a_node_on_which_everything_fails_is_left_out(new_sweep: New) -> None:
    sweep = new_sweep(objective="objectives:fails_on_n2", draws=60)
    assert sweep.drive() == 0, sweep.said()
    sweep.assert_complete()
    scripts = [path.read_text() for path in sweep.run.jobs.glob("*/*_submission.sh")]
    assert any("--exclude=n2" in script for script in scripts)
    assert {row["host"] for row in sweep.rows()} == {"n1"}


@pytest.mark.slow
def test_what_is_queued_does_not_begin_on_a_node_that_has_gone_bad_since(
    new_sweep: New, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One worker fills a node. The third is held until the driver has had time to tell Slurm."""
    monkeypatch.setenv("TOY_FULL", str(tmp_path / "full"))
    sweep = new_sweep(objective="objectives:fails_on_n2", draws=60)
    driver = sweep.start("--executor", "slurm", "--parallel", "3", "--cpus", "4")
    wait_for(lambda: finished(sweep) >= 2 and len(sweep.state()["queued"]) == 1)
    (third,) = (task["job"] for task in sweep.state()["queued"])
    slurm("scontrol", "hold", third)
    (tmp_path / "full").touch()
    wait_for(lambda: slurm("squeue", "-h", "-j", third, "-o", "%x").strip() == "n2")
    slurm("scontrol", "release", third)
    assert driver.wait(90) == 0, sweep.said()
    sweep.assert_complete()
    nodes = [slurm("squeue", "-h", "-t", "all", "-j", job.split()[0], "-o", "%N").strip()
             for job in sweep.jobs()]  # fmt: skip
    assert nodes.count("n2") == 1
    assert "n2 left out" in sweep.said()


@pytest.mark.slow
def test_workers_of_one_node_see_one_gpu_each(
    new_sweep: New, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each node pretends to have two, all of which are taken here."""
    monkeypatch.setenv("TOY_SECONDS", "1")
    sweep = new_sweep(objective="objectives:sees_gpus", draws=16)
    chosen = ("--executor", "slurm", "--parallel", "4", "--gpus", "1")
    assert sweep.start(*chosen).wait(90) == 0, sweep.said()
    seen = {row["worker"]: (row["host"], row["device"]) for row in sweep.rows()}
    both = [(node, f"cuda {gpu}") for node in ("n1", "n2") for gpu in (0, 1)]
    assert sorted(seen.values()) == both


@pytest.mark.slow
def test_while_the_controller_is_away_nothing_is_void(new_sweep: New) -> None:
    sweep = new_sweep(draws=120)  # enough for all the looking, on a busy machine too
    driver = sweep.start("--executor", "slurm", "--parallel", "2")
    wait_for(lambda: finished(sweep) >= 2)
    time.sleep(6)  # Slurm saves its state every five seconds
    sandbox = Path(os.environ["SLURM_CONF"]).parent.parent
    os.kill(int((sandbox / "run" / "slurmctld.pid").read_text()), signal.SIGKILL)
    before = finished(sweep)
    assert sweep.state()["slurm"] != "answers"
    assert sweep.state()["lost"] == []
    wait_for(lambda: finished(sweep) > before + 4)
    assert driver.poll() is None
    subprocess.run(["bash", str(Path(__file__).with_name("up.sh"))], check=True)
    assert driver.wait(90) == 0, sweep.said()
    sweep.assert_complete()
    assert {row["attempt"] for row in sweep.rows()} == {1}
