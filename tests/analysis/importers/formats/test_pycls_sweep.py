"""The sweep.json of pycls: every job stays, and what pycls does not write is named."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
from foreign_sources import cells, pycls_job, stopped, table_of, write_pycls

from analysis import TableError, samples
from analysis.importers import ChanceLevel, ImportOptions, convert_sweep, read_sweep


def write_jobs(path: Path, *jobs: dict[str, Any]) -> str:
    path.write_text(json.dumps(jobs))
    return str(path)


def test_a_pycls_sweep_keeps_what_pycls_drops(tmp_path: Path) -> None:
    folder = tmp_path / "vit-sweep"
    folder.mkdir()
    write_pycls(folder / "sweep.json")
    table = table_of(read_sweep(str(folder / "sweep.json")), chance=ChanceLevel.of_classes(1000))
    assert table["draw"].tolist() == list(range(6))
    assert table["outcome"].tolist() == ["ok", "diverged", "ok", "crashed", "missing", "missing"]
    assert cells(table["error"]) == [41.0, None, 43.0, None, None, None]  # EMA, last epoch
    assert cells(table["raw_error"])[0] == 40.0
    assert cells(table["best_val_error"])[:2] == [41.0, 71.0]
    assert cells(table["last_finite_error"])[:2] == [41.0, 71.0]  # before the loss was NaN
    assert table["lr"].tolist()[:3] == [1.0, 0.1, 0.01]
    assert cells(table["epochs"])[:2] == [3, 3]
    assert (set(table["model"]), set(table["sampler"])) == ({"vit-sweep"}, {"random"})
    assert "cfg.OPTIM.MOMENTUM" in table
    assert "cfg.TRAIN.IM_SIZE" not in table  # the same in every job
    assert set(table["optim"]) == {"adamw"}  # of the job without a log too


def test_the_last_epoch_counts_in_pycls_not_the_best(tmp_path: Path) -> None:
    job = pycls_job(0, test_ema_epoch=None)
    job["test_epoch"] = {**job["test_epoch"], "top1_err": [70.0, 30.0, 60.0]}
    (tmp_path / "s.json").write_text(json.dumps([job]))
    table = table_of(read_sweep(str(tmp_path / "s.json")))
    assert (table["error"][0], table["best_val_error"][0]) == (60.0, 30.0)
    assert "raw_error" not in table


def test_a_job_without_a_log_counts_as_crashed_and_is_said(tmp_path: Path) -> None:
    sweep = read_sweep(write_jobs(tmp_path / "s.json", pycls_job(0), pycls_job(2)))
    assert list(sweep.places) == ["job 0", "job 1", "job 2"]
    assert sweep.frame["state"].tolist() == ["done", "no log", "done"]
    assert table_of(sweep)["outcome"].tolist() == ["ok", "crashed", "ok"]
    assert any("wrote no log: 1; they count as crashed" in note for note in sweep.notes)


NO_METRICS: dict[str, None] = {"train_epoch": None, "test_epoch": None, "test_ema_epoch": None}


def test_a_sweep_in_which_no_job_has_metrics_has_no_errors(tmp_path: Path) -> None:
    jobs = [pycls_job(number, **NO_METRICS) for number in range(2)]
    table = table_of(read_sweep(write_jobs(tmp_path / "s.json", *jobs)))
    assert table["outcome"].tolist() == ["missing"] * 2
    assert cells(table["error"]) == [None, None]
    (sample,) = samples(table)
    assert (sample.n, len(sample.errors)) == (0, 0)


@pytest.mark.parametrize(
    ("text", "state", "outcome"),
    [
        ("torch.OutOfMemoryError: CUDA out of memory.", "oom", "out_of_memory"),
        ("RuntimeError: CUDA error: out of memory", "oom", "out_of_memory"),
        ("slurmstepd: error: killed by the cgroup out-of-memory handler.", "oom", "out_of_memory"),
        ("Out of memory: Killed process 4711", "oom", "out_of_memory"),
        ("Traceback (most recent call last):", "error", "crashed"),
        ("OSError: [Errno 28] No space left on device", "error", "crashed"),
        ("slurmstepd: error: *** JOB 7 ON n1 CANCELLED AT 10:00", "error", "crashed"),
        ("bash: line 1: 4711 Killed", "error", "crashed"),
        ("a warning", "unfinished", "missing"),
        ("", "unfinished", "missing"),
        (None, "unfinished", "missing"),
    ],
)
def test_what_an_unfinished_job_wrote_to_stderr_says_how_it_ended(
    tmp_path: Path, text: str | None, state: str, outcome: str
) -> None:
    early = pycls_job(1, err=text)
    early["test_ema_epoch"] = stopped(early["test_ema_epoch"], 2)
    jobs = [pycls_job(0, err=text), early, pycls_job(2, **NO_METRICS, err=text)]
    sweep = read_sweep(write_jobs(tmp_path / "s.json", *jobs))
    assert sweep.frame["state"].tolist() == ["done", state, state]
    assert table_of(sweep)["outcome"].tolist() == ["ok", outcome, outcome]


def test_how_to_count_unfinished_jobs_is_said(tmp_path: Path) -> None:
    jobs = [pycls_job(0), pycls_job(1, **NO_METRICS), pycls_job(2, **NO_METRICS, err="OSError")]
    sweep = read_sweep(write_jobs(tmp_path / "s.json", *jobs))
    said = " ".join(convert_sweep(sweep).notes)
    for outcome in ("unfinished=crashed", "error=missing"):
        assert f"--map-outcome {outcome}" in said
    told = convert_sweep(sweep, ImportOptions(outcomes={"unfinished": "crashed"}))
    assert told.table["outcome"].tolist() == ["ok", "crashed", "crashed"]
    assert "unfinished=crashed" not in " ".join(told.notes)


def test_a_job_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    source = write_jobs(tmp_path / "s.json", pycls_job(0), pycls_job(3), pycls_job(3))
    with pytest.raises(TableError) as caught:
        read_sweep(source)
    log = pycls_job(3)["log_file"]
    assert list(caught.value.faults) == [f"{source}, job 3: the log_file {log} is there twice"]


def test_what_varies_in_a_sweep_makes_no_groups(tmp_path: Path) -> None:
    other = pycls_job(1)
    other["cfg"]["OPTIM"]["OPTIMIZER"] = "sgd"
    sweep = read_sweep(write_jobs(tmp_path / "s.json", pycls_job(0), other))
    assert "optim" not in sweep.columns
    assert sweep.columns["epochs"] == "cfg.OPTIM.MAX_EPOCH"
    assert any("--map optim=cfg.OPTIM.OPTIMIZER" in note for note in sweep.notes)
    assert table_of(sweep)["cfg.OPTIM.OPTIMIZER"].tolist() == ["adamw", "sgd"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"top1_err": None}, "test_epoch has no top1_err"),
        ({"top1_err": []}, "test_epoch.top1_err is no list of values over the epochs"),
        ({"top1_err": 5.0}, "test_epoch.top1_err is no list of values over the epochs"),
        ({"top1_err": [1.0, "x", 2.0]}, "test_epoch.top1_err has the value 'x'"),
        ({"top1_err": [1.0]}, "test_epoch has 1 values for 3 epochs"),
        ({"epoch_ind": None, "epoch": None}, "test_epoch has no epoch_ind"),
        ({"epoch_ind": None, "epoch": ["a/b"]}, "test_epoch.epoch is no list of texts as 3/50"),
        ({"epoch_max": []}, "test_epoch.epoch_max is no list"),
    ],
)
def test_a_job_with_other_metrics_is_named(
    tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    job = pycls_job(3, test_ema_epoch=None)
    changed = {**job["test_epoch"], **changes}
    job["test_epoch"] = {name: value for name, value in changed.items() if value is not None}
    source = write_jobs(tmp_path / "sweep.json", pycls_job(0), job)
    with pytest.raises(TableError) as caught:
        read_sweep(source)
    (fault,) = caught.value.faults
    assert f"sweep.json, job 3: {said}" in fault


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"train_epoch": []}, "train_epoch is no object"),
        ({"test_ema_epoch": "x"}, "test_ema_epoch is no object"),
        ({"train_epoch": {"loss": [1.0], "epoch_ind": [1, 2]}}, "1 values for 2 epochs"),
        ({"log_file": None}, "it has no log_file"),
        ({"cfg": [1]}, "cfg is no object"),
        ({"cfg": {"a.b": 1, "a": {"b": 2}}}, "the column 'cfg.a.b' is there twice"),
    ],
)
def test_a_job_of_another_shape_is_named(
    tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    source = write_jobs(tmp_path / "s.json", pycls_job(0), pycls_job(1, **changes))
    with pytest.raises(TableError, match=r"s\.json, job [12]: ") as caught:
        read_sweep(source)
    assert said in str(caught.value)


def test_job_numbers_that_are_no_numbers_of_a_sweep_make_no_rows(tmp_path: Path) -> None:
    source = write_jobs(tmp_path / "s.json", pycls_job(0), pycls_job(900_000))
    with pytest.raises(TableError, match="jobs 0 to 900000, but only 2 of them are there"):
        read_sweep(source)


def test_older_logs_have_epochs_as_texts(tmp_path: Path) -> None:
    job = pycls_job(0, test_ema_epoch=None)
    job["test_epoch"] = stopped(job["test_epoch"], 2)
    job["test_epoch"] = {n: v for n, v in job["test_epoch"].items() if n[:6] != "epoch_"}
    job["train_epoch"]["loss"][2] = math.nan
    sweep = read_sweep(write_jobs(tmp_path / "s.json", job, pycls_job(1)))
    assert sweep.frame["state"].tolist() == ["nan", "done"]
    assert sweep.frame["last_finite_error"].tolist()[0] == 50.0
