"""Real files of other tools, made by those tools or as their code writes them."""

import csv
import json
import math
from pathlib import Path
from typing import Any

import optuna
import pandas as pd

from analysis.importers import ExternalSweep, ImportOptions, convert_sweep

HEADER = [
    # Order and names of an export of the W&B runs table: columns of the run, config, summary.
    *("Name", "Agent", "State", "Notes", "User", "Tags", "Created", "Runtime", "Sweep"),
    *("arch", "lr", "test/acc", "train/loss"),
]
STATES = ["finished"] * 6 + ["failed", "crashed", "killed", "running", "finished", "finished"]


def wandb_rows() -> list[list[str]]:
    """Twelve runs, oldest first; the last two ended with NaN and without the metric."""
    rows = []
    for i, state in enumerate(STATES):
        accuracy = {10: "NaN", 11: ""}.get(i, f"{0.9 - i / 100:g}")
        created = f"2025-11-{i + 1:02d}T09:48:11.000Z"
        run = [f"fancy-sweep-{i}", "", state, "-", "", "", created, "9910", "1wfhjnkh"]
        rows.append([*run, "ab"[i % 2], f"{0.1 / (i + 1):g}", accuracy, "0.3"])
    return rows


def write_wandb(path: Path) -> None:
    """Write an export as the web page does: every cell quoted, newest run first."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file, quoting=csv.QUOTE_ALL)
        writer.writerows([HEADER, *reversed(wandb_rows())])


def wandb_api_runs() -> list[dict[str, Any]]:
    """Runs as `wandb.Api().runs` has them: summary, config, name and state; NaN is a text."""
    summaries = [
        {"test_err": 12.5, "_runtime": 10, "_wandb": {"runtime": 10}},
        {"test_err": "NaN", "_runtime": 11},
        {"test_err": 80, "_runtime": 3},
    ]
    states = ["finished", "finished", "crashed"]
    return [
        {
            "summary": summary,
            "config": {"lr": (i + 1) / 10, "opt": {"name": "sgd"}},
            "name": f"run-{i}",
            "state": state,
        }
        for i, (summary, state) in enumerate(zip(summaries, states, strict=True))
    ]


def pycls_job(number: int, **changes: Any) -> dict[str, Any]:
    """A job as `sweep_collect.load_data` returns it: metrics as lists over the epochs."""
    epochs, errors = [1, 2, 3], [70.0, 50.0, 40.0 + number]
    test = {
        "epoch": [f"{e}/3" for e in epochs],
        "epoch_ind": epochs,
        "epoch_max": [3, 3, 3],
        "top1_err": errors,
        "min_top1_err": [min(errors[:e]) for e in epochs],
        "top5_err": [30.0, 20.0, 10.0],
    }
    job = {
        "log_file": f"/checkpoint/me/sweeps/vit/logs/{number:06}/stdout.log",
        "err_file": f"/checkpoint/me/sweeps/vit/logs/{number:06}/stderr.log",
        "err": "",
        "cfg": {
            "DESC": f"OPTIM.BASE_LR {number}",
            "RNG_SEED": 1,
            "OPTIM": {
                "BASE_LR": 10.0**-number,
                "WEIGHT_DECAY": 0.1,
                "OPTIMIZER": "adamw",
                "MAX_EPOCH": 3,
                "MOMENTUM": 0.9 + number / 1000,
            },
            "TRAIN": {"DATASET": "imagenet", "IM_SIZE": 224},
        },
        "complexity": {"params": 4_800_000, "flops": 1_100_000_000},
        "train_epoch": {"epoch_ind": epochs, "epoch_max": [3, 3, 3], "loss": [6.0, 4.0, 3.0]},
        "test_epoch": test,
        "test_ema_epoch": {**test, "top1_err": [e + 1.0 for e in errors]},
    }
    return {key: value for key, value in (job | changes).items() if value is not None}


def stopped(test: dict[str, Any], after: int) -> dict[str, Any]:
    """Metrics of a job that ended after so many epochs."""
    return {metric: values[:after] for metric, values in test.items()}


def write_pycls(path: Path) -> None:
    """Six jobs: two done, one of NaN, one stopped, one without a log, one without an evaluation."""
    one = pycls_job(0)
    nan_loss = {"epoch_ind": [1, 2, 3], "epoch_max": [3, 3, 3], "loss": [6.0, math.nan, math.nan]}
    jobs = [
        one,
        pycls_job(1, train_epoch=nan_loss),
        pycls_job(2),
        pycls_job(4, test_epoch=None, test_ema_epoch=None, train_epoch=None),
        pycls_job(5, test_ema_epoch=stopped(one["test_ema_epoch"], 2)),
    ]
    path.write_text(json.dumps(jobs, sort_keys=True))  # NaN, as Python's json writes it


def objective(trial: optuna.Trial) -> float:
    """Every way in which a trial of Optuna can end."""
    lr = trial.suggest_float("lr", 1e-4, 1.0, log=True)
    trial.suggest_categorical("act", ["relu", "gelu"])
    trial.set_user_attr("host", "here")
    match trial.number:
        case 3:
            return math.nan
        case 4:
            raise ValueError("a disk that is full")
        case 5:
            return math.inf
        case 6 | 7:
            trial.report(30.0, 0)
            trial.report(math.nan if trial.number == 6 else 29.0, 1)
            raise optuna.TrialPruned
        case 8:
            trial.report(math.nan, 0)
            raise FloatingPointError("loss is NaN")
    return 10.0 + 10.0 * abs(math.log10(lr) + 2.0)


def write_optuna(storage: "str | optuna.storages.BaseStorage", name: str = "cnn") -> optuna.Study:
    """A real study of twelve trials that ended, one that runs and one that waits."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    sampler = optuna.samplers.RandomSampler(seed=0)
    study = optuna.create_study(storage=storage, study_name=name, sampler=sampler)
    study.optimize(objective, n_trials=12, catch=(ValueError, FloatingPointError))
    study.ask()
    study.enqueue_trial({"lr": 0.1})
    return study


def write_runs(path: Path) -> None:
    """A person's own table: 24 runs, one NaN, one at chance, one empty."""
    errors = [f"{12 + i}" for i in range(21)] + ["nan", "89.8", ""]
    rows = "".join(f"{i},{0.1 / (i + 1):g},{error}\n" for i, error in enumerate(errors))
    path.write_text("run,learning_rate,test_err\n" + rows)


def write_states(path: Path) -> None:
    """A person's table with a column of states."""
    path.write_text("status,acc\ndone,0.9\ndone,0.8\nweird,0.1\noom,\nmissing,\ndone,0.7\n")


def ray_line(trial: str, iteration: int, loss: Any, lr: float, *, done: bool) -> dict[str, Any]:
    """A result as Ray's JsonLoggerCallback writes it: metrics, what Tune adds, the config."""
    return {
        "loss": loss,
        "info": {"val": {"err": 10.0 + iteration}},
        "timestamp": 1700000000 + iteration,
        "done": done,
        "training_iteration": iteration,
        "trial_id": trial,
        "date": "2025-11-01_10-00-00",
        "time_total_s": 1.5 * iteration,
        "pid": 4711,
        "hostname": "node1",
        "node_ip": "10.0.0.1",
        "config": {"lr": lr, "model": {"width": 64}, "done": "config's own"},
        "experiment_tag": f"{trial[-1]}_lr={lr}",
    }


def write_ray_trial(folder: Path, lines: list[dict[str, Any]], *, csv_only: bool = False) -> None:
    """Files of a trial: `result.json`, `progress.csv` without the config, `params.json`."""
    folder.mkdir(parents=True)
    (folder / "params.pkl").write_bytes(b"\x80\x05never read")
    (folder / "result.json").write_text(
        "" if csv_only else "".join(json.dumps(line) + "\n" for line in lines)
    )
    if not lines:
        (folder / "progress.csv").write_text("")
        return
    (folder / "params.json").write_text(json.dumps(lines[0]["config"], indent=2, sort_keys=True))
    flat = [{**line, "info/val/err": line["info"]["val"]["err"]} for line in lines]
    names = [name for name in flat[0] if name not in ("config", "info")]
    with (folder / "progress.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, names, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(flat)


def write_ray(experiment: Path, *, state: bool = True) -> None:
    """An experiment of six trials: ended, ended by a scheduler, NaN, failed twice, not begun."""
    names = [f"a826b_{i:05}" for i in range(6)]
    folders = [experiment / f"train_{name}_{i}_lr=0.{i}_2025" for i, name in enumerate(names)]
    first, second, third, fourth, *_ = names
    # a function that returns leaves done = false
    write_ray_trial(folders[0], [ray_line(first, i, 50.0 / i, 0.1, done=False) for i in (1, 2)])
    write_ray_trial(folders[1], [ray_line(second, 1, 60.0, 0.2, done=True)], csv_only=True)
    write_ray_trial(folders[2], [ray_line(third, i, math.nan, 0.3, done=i == 2) for i in (1, 2)])
    write_ray_trial(folders[3], [ray_line(fourth, 1, 70.0, 0.4, done=False)])
    (folders[3] / "error.txt").write_text("Traceback")
    write_ray_trial(folders[4], [])
    (folders[4] / "error.pkl").write_bytes(b"\x80\x05never read")
    (folders[4] / "params.json").write_text('{"lr": 0.5}')
    write_ray_trial(folders[5], [])
    (experiment / "checkpoints").mkdir()
    if state:
        status = ["TERMINATED", "TERMINATED", "TERMINATED", "ERROR", "ERROR", "PENDING"]
        trials = [
            [json.dumps({"trial_id": name, "status": each}), "{}"]
            for name, each in zip(names, status, strict=True)
        ]
        content = {"trial_data": trials, "runner_data": {}, "stats": {"start_time": 1.0}}
        (experiment / "experiment_state-2025-11-01_09-00-00.json").write_text("{}")
        (experiment / "experiment_state-2025-11-01_10-00-00.json").write_text(json.dumps(content))


def table_of(source: ExternalSweep, **wish: Any) -> pd.DataFrame:
    """The results table of a source."""
    return convert_sweep(source, ImportOptions(**wish)).table


def cells(column: "pd.Series[Any]") -> list[Any]:
    """Cells of a column, None where there is nothing."""
    return [None if pd.isna(cell) else cell for cell in column]
