"""What the dispatcher hands to Slurm, and what it makes of the answers, without a Slurm."""

import os

import pytest

from sweeps.dispatch.slurm import outside_of_jobs

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
