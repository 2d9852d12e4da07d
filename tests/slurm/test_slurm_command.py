"""`stability sweep` on a real Slurm, as it is typed, with a cluster's facts in a profile."""

import subprocess
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from slurm_cluster import STABILITY, slurm

pytestmark = pytest.mark.slow
OBJECTIVE = """
import os
def fit(trial):
    is_urgent = os.environ["SLURM_JOB_PARTITION"] == "urgent"
    return {"error": 50.0, "mark": float(os.environ["MARK"]), "urgent": float(is_urgent)}
"""
PROFILE = """
[profiles.ours]
partition = "main"
time = "0:10:00"
cpus = 2
workers = 3
setup = ["export MARK=7"]
slurm = { comment = "ours" }
"""
SWEEP = ("sweep", "--objective", "mine:fit", "--vary", "C=0.01:100", "--trials", "8")


def call(*words: str, cwd: Path) -> "subprocess.CompletedProcess[str]":
    done = subprocess.run(
        [STABILITY, *words], cwd=cwd, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def test_a_sweep_is_shown_and_then_trained_by_a_profile(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(OBJECTIVE)
    (tmp_path / "stability.toml").write_text(PROFILE)
    before = sorted(tmp_path.iterdir())
    jobs = slurm("squeue", "-h", "-t", "all", "-o", "%i")
    said = call(*SWEEP, "--profile", "ours", "--out", "run", "--dry-run", cwd=tmp_path).stdout
    for line in (
        "  8 trials: 8 draws (random, seed 0) for each of",
        "training 8 trials on 3 cpu workers of Slurm, 10 min 0 s of wall time each",
        "#SBATCH --array=0-2%3",
        "#SBATCH --comment=ours",
        "#SBATCH --cpus-per-task=2",
        "#SBATCH --partition=main",
        "#SBATCH --time=10",
        "export MARK=7",
        "dry run: nothing was written",
    ):
        assert line in said.splitlines()
    after = sorted(path for path in tmp_path.iterdir() if path.name != "__pycache__")
    assert after == before
    assert slurm("squeue", "-h", "-t", "all", "-o", "%i") == jobs
    call(*SWEEP, "--profile", "ours", "--workers", "2", "--out", "run", cwd=tmp_path)
    rows = pq.read_table(tmp_path / "run" / "results.parquet").to_pylist()
    assert len(rows) == 8
    assert {row["outcome"] for row in rows} == {"ok"}
    assert {row["mark"] for row in rows} == {7.0}
    assert {row["host"] for row in rows} <= {"n1", "n2"}
    (script,) = (tmp_path / "run" / "jobs").glob("*/*_submission.sh")
    assert "#SBATCH --array=0-1%2" in script.read_text()


def test_a_sweep_is_typed_without_a_profile(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(OBJECTIVE)
    chosen = ("--executor", "slurm", "--parallel", "1", "--partition", "urgent", "--time", "5")
    call(*SWEEP, *chosen, "--setup", "export MARK=8", "--out", "run", cwd=tmp_path)
    (row, *_) = pq.read_table(tmp_path / "run" / "results.parquet").to_pylist()
    assert (row["mark"], row["urgent"]) == (8.0, 1.0)
