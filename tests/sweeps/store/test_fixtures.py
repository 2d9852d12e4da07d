"""Run directories and tables of an earlier version: readable, and resumed with the same numbers."""

import json
import shutil
import socket
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from command_line import call
from toys import FIXTURES

from analysis import load, summarise

FOLDERS = ("claims", "workers", "parts", "jobs", "checkpoints", "provenance")
INTERRUPTED = {  # of the same study, trained without an interruption
    "vitc-nano-adamw-e3-556b7b862eaf": (58, 1.0295472145080566),
    "vitc-nano-adamw-e3-f4d0f0e3f8ad": (45, 0.9168821573257446),
}


def opened(name: str, folder: Path) -> Path:
    """A copy of a run directory, with its views removed and its empty folders made."""
    run = folder / name
    shutil.copytree(FIXTURES / name, run)
    for each in FOLDERS:
        (run / each).mkdir(exist_ok=True)
    for view in ("results.parquet", "curves.parquet"):
        (run / view).unlink(missing_ok=True)
    return run


def results(run: Path) -> dict[str, dict[str, Any]]:
    rows = pq.read_table(run / "results.parquet").to_pylist()
    return {row["trial"]: row for row in rows}


def forget(run: Path, draw: int) -> None:
    """Remove the results of one draw, as if its trials had never been run."""
    for part in (run / "parts").glob("*.parquet"):
        table = pq.read_table(part)
        drawn = pq.read_table(run / "design.parquet", columns=["trial", "draw"]).to_pylist()
        dropped = {row["trial"] for row in drawn if row["draw"] == draw}
        keep = [name not in dropped for name in table["trial"].to_pylist()]
        pq.write_table(table.filter(keep), part, write_page_checksum=True)


@pytest.mark.parametrize(("name", "n", "failed"), [("finished", 12, 0), ("own", 12, 3)])
def test_status_of_an_old_run(name: str, n: int, failed: int, tmp_path: Path) -> None:
    run = opened(name, tmp_path)
    done = call("status", str(run), "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    state = json.loads(done.stdout)
    assert (state["trials"], state["finished"], len(state["failed"])) == (n, n - failed, failed)


def test_tables_of_old_runs_are_read_as_they_were() -> None:
    best = summarise(load(FIXTURES / "finished"))["best"].to_dict()
    sgd = {"vitp-nano sgd": 74.75, "vitc-nano sgd": 61.0}
    assert best == sgd | {"vitp-nano adamw": 61.75, "vitc-nano adamw": 64.25}
    own = summarise(load(FIXTURES / "own")).iloc[0]
    assert (own["n"], own["failed"], own["best"]) == (12, 3, 1.4)
    imported = summarise(load(FIXTURES / "imported.parquet"))
    assert imported["best"].to_dict() == {"resnet": 9.25, "cnn": 10.25}
    assert imported["collapsed"].to_dict() == {"resnet": 1, "cnn": 0}
    assert imported["diverged"].to_dict() == {"resnet": 1, "cnn": 0}


@pytest.mark.slow
def test_one_draw_of_an_old_run_is_trained_again_with_the_same_numbers(tmp_path: Path) -> None:
    run, before = opened("finished", tmp_path), results(FIXTURES / "finished")
    forget(run, draw=2)
    done = call("resume", str(run), "--executor", "inline", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    after = results(run)
    assert after.keys() == before.keys()
    for trial, row in after.items():
        # To the bit on the processor that computed them; another one adds in another order.
        assert row["outcome"] == before[trial]["outcome"]
        assert abs(row["wrong"] - before[trial]["wrong"]) <= 2
        assert row["train_loss"] == pytest.approx(before[trial]["train_loss"], rel=1e-4)


@pytest.mark.slow
def test_an_old_checkpoint_is_resumed_with_the_same_numbers(tmp_path: Path) -> None:
    run = opened("interrupted", tmp_path)
    for path in [*run.glob("claims/*.json"), *run.glob("workers/*.json")]:
        # The owner is provably gone only on its own host, which has been started again since.
        path.write_text(json.dumps(json.loads(path.read_text()) | {"host": socket.gethostname()}))
    done = call("resume", str(run), "--executor", "inline", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "from its checkpoint" in done.stdout + done.stderr
    after = results(run)
    assert after.keys() == INTERRUPTED.keys()
    for trial, (wrong, train_loss) in INTERRUPTED.items():
        assert abs(after[trial]["wrong"] - wrong) <= 2
        assert after[trial]["train_loss"] == pytest.approx(train_loss, rel=1e-4)
    assert list((run / "checkpoints").iterdir()) == list((run / "claims").iterdir()) == []


@pytest.mark.slow
def test_an_old_run_of_ones_own_objective_is_resumed(tmp_path: Path) -> None:
    run, before = opened("own", tmp_path), results(FIXTURES / "own")
    shutil.copy(FIXTURES / "quadratic.py", tmp_path)
    forget(run, draw=1)
    done = call("resume", str(run), "--executor", "inline", cwd=tmp_path)
    assert done.returncode == 1, done.stderr  # three trials failed three times and stay failed
    after = results(run)
    assert {t: (r["outcome"], r["wrong"]) for t, r in after.items()} == {
        t: (r["outcome"], r["wrong"]) for t, r in before.items()
    }
