"""Long trials on a real Slurm: preempted or out of time, they go on in the next job."""

from collections.abc import Callable
from pathlib import Path

import long_trials
import pytest
from slurm_cluster import Sweep, new_sweep, slurm, wait_for

from sweeps.store import checkpoints, claims

New = Callable[..., Sweep]
NewChain = Callable[[int, int, float], Sweep]
__all__ = ["new_sweep"]  # a fixture: pytest finds it by its name


@pytest.fixture
def new_chain(new_sweep: New, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NewChain:
    """Makes a sweep of so many trials, epochs and seconds an epoch, each of which is kept."""

    def make(draws: int, epochs: int, seconds: float) -> Sweep:
        monkeypatch.setenv("LONG_LOG", str(tmp_path / "log"))
        monkeypatch.setenv("LONG_SECONDS", str(seconds))
        monkeypatch.setenv(checkpoints.INTERVAL_VARIABLE, "0")
        return new_sweep(objective="long_trials:chain", epochs=(epochs,), draws=draws)

    return make


def assert_gone_on(sweep: Sweep, log: Path) -> None:
    """Every trial once, as undisturbed; what was kept was never trained again."""
    design, rows = sweep.run.read_design(), sweep.rows()
    for trial, row in zip(design, rows, strict=True):
        assert (row["trial"], row["outcome"], row["attempt"]) == (trial.id, "ok", 1), sweep.said()
        assert row["wrong"] == long_trials.answer(trial.seed, trial.epochs)
    trained = long_trials.epochs_trained(log).values()
    assert [sorted(set(epochs)) for epochs in trained] == [[*range(design[0].epochs)]] * len(design)
    assert all(epochs == sorted(epochs) for epochs in trained)
    for folder in (sweep.run.claims, sweep.run.workers, sweep.run.checkpoints):
        assert list(folder.iterdir()) == []
    logs = "".join(path.read_text() for path in sweep.run.jobs.glob("*/*_log.*"))
    assert "goes on from its checkpoint" in logs


def test_a_preempted_worker_goes_on_from_the_checkpoints(
    new_chain: NewChain, tmp_path: Path
) -> None:
    sweep = new_chain(4, 8, 1.5)
    driver = sweep.start("--executor", "slurm", "--parallel", "2")
    wait_for(lambda: len(list(sweep.run.checkpoints.glob("*.pt"))) == 2)
    urgent = ("sbatch", "--parsable", "-p", "urgent", "-N2", "--exclusive", "-o", "/dev/null")
    job = slurm(*urgent, "--wrap", "sleep 3").strip()
    wait_for(lambda: len(sweep.state()["queued"]) == 2)
    assert claims.held(sweep.run) == {}
    assert driver.wait(180) == 0, sweep.said()
    slurm("scancel", job)
    assert_gone_on(sweep, tmp_path / "log")


@pytest.mark.slow
def test_a_trial_longer_than_the_wall_time_ends_in_the_next_one(
    new_chain: NewChain, tmp_path: Path
) -> None:
    sweep = new_chain(1, 16, 4.0)
    chosen = ("--executor", "slurm", "--parallel", "1", "--time", "1")
    assert sweep.start(*chosen).wait(300) == 0, sweep.said()
    assert_gone_on(sweep, tmp_path / "log")
    (row,) = sweep.rows()
    assert "-r" in row["worker"]  # Slurm sends its signal up to a minute early: more than once
    assert row["seconds"] > 16 * 4
    assert len(sweep.jobs()) == 1
