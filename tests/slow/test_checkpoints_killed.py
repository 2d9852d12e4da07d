"""Workers that are killed in the middle of a trial: it is gone on with, by whoever comes next."""

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import long_trials
import pyarrow.parquet as pq
import pytest
from drivers import drive, drive_inline, spawn, wait_for
from toys import make_toy

from stability.data import load_data
from stability.training.recipes import settings_of
from sweeps.store import checkpoints, claims
from sweeps.store.owner import Owner
from sweeps.store.run_directory import RunDirectory
from sweeps.study.design import draw_design
from sweeps.study.study import Study

pytestmark = [pytest.mark.slow, pytest.mark.alone]
EPOCHS = 8


@pytest.fixture(autouse=True)
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Each epoch is kept; whatever a test leaves running is ended."""
    monkeypatch.setenv("LONG_LOG", str(tmp_path / "log"))
    monkeypatch.setenv("LONG_SECONDS", "0.2")
    monkeypatch.setenv(checkpoints.INTERVAL_VARIABLE, "0")
    yield
    for run in tmp_path.glob("run*"):
        for owner in claims.living_workers(RunDirectory(run)):
            with suppress(ProcessLookupError):
                os.kill(owner.pid, signal.SIGKILL)


def new_run(path: Path, study: Study) -> RunDirectory:
    run = RunDirectory(path)
    run.create(study, draw_design(study))
    return run


def chains(path: Path) -> RunDirectory:
    fields = {"objective": "long_trials:chain", "epochs": (EPOCHS,), "draws": 3, "models": ("a",)}
    return new_run(path, make_toy(**fields))


def under_way(run: RunDirectory) -> list[tuple[str, Owner]]:
    """Trials of which something is kept, with the workers that train them."""
    return [
        (trial, owner)
        for trial, owner in claims.held(run).items()
        if owner is not None and run.checkpoint(trial).exists()
    ]


def rows(run: RunDirectory) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = pq.read_table(run.results).to_pylist()
    return found


def assert_complete(run: RunDirectory) -> None:
    for trial, row in zip(run.read_design(), rows(run), strict=True):
        assert (row["trial"], row["outcome"]) == (trial.id, "ok")
        assert row["wrong"] == long_trials.answer(trial.seed, EPOCHS)
    for folder in (run.claims, run.workers, run.checkpoints):
        assert list(folder.iterdir()) == []


def assert_gone_on(tmp_path: Path) -> None:
    """Each epoch was trained, and of a trial one at most was trained twice: that of the kill."""
    trained = long_trials.epochs_trained(tmp_path / "log").values()
    assert [sorted(set(epochs)) for epochs in trained] == [[*range(EPOCHS)]] * 3
    assert max(len(epochs) for epochs in trained) <= EPOCHS + 1


def test_a_killed_workers_trial_goes_on_in_another_worker(tmp_path: Path) -> None:
    run = chains(tmp_path / "run")
    driver = spawn(run)
    wait_for(lambda: len(under_way(run)) == 2)
    trial, owner = under_way(run)[0]
    os.kill(owner.pid, signal.SIGKILL)
    assert driver.wait(240) == 0
    assert_complete(run)
    assert_gone_on(tmp_path)
    attempts = {row["trial"]: row["attempt"] for row in rows(run)}
    assert attempts == {each.id: 2 if each.id == trial else 1 for each in run.read_design()}


def test_after_driver_and_workers_were_killed_both_trials_go_on(tmp_path: Path) -> None:
    run = chains(tmp_path / "run")
    driver = spawn(run)
    wait_for(lambda: len(under_way(run)) == 2)
    owners = claims.living_workers(run)
    for pid in [driver.pid, *(owner.pid for owner in owners)]:
        os.kill(pid, signal.SIGKILL)
    driver.wait()
    wait_for(lambda: all(owner.is_gone for owner in owners))
    drive(run)
    assert_complete(run)
    assert_gone_on(tmp_path)
    assert {row["attempt"] for row in rows(run)} == {1}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_an_interrupted_driver_stopped_goes_on(tmp_path: Path, number: int) -> None:
    run = chains(tmp_path / "run")
    driver = spawn(run)
    wait_for(lambda: len(under_way(run)) == 2)
    driver.send_signal(number)
    driver.wait(240)
    assert claims.held(run) == {}
    assert len(list(run.checkpoints.iterdir())) == 2
    drive(run)
    assert_complete(run)
    assert_gone_on(tmp_path)


def images(path: Path) -> RunDirectory:
    """Real trainings, with everything on that a recipe has of randomness and memory."""
    settings = {"ema": 1e-2, "mixup": 0.8, "flip": 0.5, "precise_bn": 256, "clip": 1.0}
    study = make_toy(
        models=("vitc-nano", "regnety-nano"),
        draws=1,
        epochs=(4,),
        data="digits",
        fingerprint=load_data("digits").fingerprint,
        objective="stability.objective:train_images",
        recipe={"sgd": settings_of("nano", "sgd", settings)},
    )
    return new_run(path, study)


def test_real_trainings_end_to_the_bit_as_undisturbed_ones(tmp_path: Path) -> None:
    undisturbed = images(tmp_path / "undisturbed")
    drive_inline(undisturbed)
    run = images(tmp_path / "run")
    driver = spawn(run)
    wait_for(lambda: len(under_way(run)) == 2)
    for _, owner in under_way(run):
        os.kill(owner.pid, signal.SIGKILL)
    assert driver.wait(240) == 0
    logs = "".join(log.read_text() for log in run.jobs.glob("*/*_log.out"))
    assert logs.count("goes on from its checkpoint") == 2
    circumstances = {"seconds", "finished", "worker", "attempt", "peak_memory", "host"}
    for name in ("results", "curves"):
        one, other = (
            [
                {key: value for key, value in row.items() if key not in circumstances}
                for row in pq.read_table(getattr(each, name)).to_pylist()
            ]
            for each in (undisturbed, run)
        )
        assert one == other
        assert len(one) == {"results": 2, "curves": 2 * 5}[name]
    assert {row["attempt"] for row in rows(run)} == {2}
    assert list(run.checkpoints.iterdir()) == []
