"""The main job, by the installed command, on the real digits."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from command_line import STABILITY, call
from drivers import parent_of
from toys import ROOT

from sweeps.store import claims
from sweeps.store.parts import Ledger
from sweeps.store.run_directory import RunDirectory

pytestmark = [pytest.mark.slow, pytest.mark.alone]
SMALL = ["sweep", "--model", "vitp,vitc", "--optim", "sgd", "--epochs", "1", "--trials", "2"]
EXACT = ["trial", "outcome", "error", "wrong", "loss", "train_loss", "val_error", "diverged_at"]
PATIENCE = 120.0


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small study, by two workers, with nothing in the way."""
    folder = tmp_path_factory.mktemp("undisturbed")
    done = call(*SMALL, "--workers", "2", "--out", "run", cwd=folder)
    assert done.returncode == 0, done.stderr
    (folder / "said.txt").write_text(done.stdout)
    return folder


def exact(run: Path) -> list[dict[str, object]]:
    """Everything that a training decides, to the last bit."""
    rows: list[dict[str, object]] = pq.read_table(
        run / "results.parquet", columns=EXACT
    ).to_pylist()
    return rows


def finished(run: Path) -> int:
    if not (run / "parts").exists():
        return 0
    ledger = Ledger(RunDirectory(run))
    ledger.refresh()
    return len(ledger.records)


def wait_for_results(run: Path, count: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while finished(run) < count:
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def test_the_command_leaves_results_curves_and_a_picture(undisturbed: Path) -> None:
    run = undisturbed / "run"
    rows = pq.read_table(run / "results.parquet").to_pylist()
    assert len(rows) == 4
    assert {row["model"] for row in rows} == {"vitp-nano", "vitc-nano"}
    for row in rows:
        assert row["outcome"] in ("ok", "collapsed", "diverged")
        if row["outcome"] != "diverged":
            assert row["error"] == 100 * row["wrong"] / 400
            assert row["n_eval"] == 400
    curves = pq.read_table(run / "curves.parquet").to_pylist()
    assert {row["epoch"] for row in curves} == {0, 1}
    assert (run / "edf.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    said = (undisturbed / "said.txt").read_text()
    assert "4 trials: 2 draws (random, seed 0)" in said
    assert "training 4 trials on 2 cpu workers: about" in said
    assert "≤4" in said
    assert max(map(len, said.splitlines())) <= 80
    assert sorted(path.name for path in (run / "provenance").iterdir()) == ["1.toml"]


@pytest.mark.parametrize("how", [["--workers", "1"], ["--executor", "inline"]])
def test_workers_and_executor_change_no_bit(
    undisturbed: Path, tmp_path: Path, how: list[str]
) -> None:
    done = call(*SMALL, *how, "--out", "run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert exact(tmp_path / "run") == exact(undisturbed / "run")


def test_the_same_command_again_trains_nothing(undisturbed: Path) -> None:
    before = sorted(path.name for path in (undisturbed / "run" / "parts").iterdir())
    done = call(*SMALL, "--out", "run", cwd=undisturbed)
    assert done.returncode == 0
    assert "4 of 4 trials finished already" in done.stdout
    assert sorted(path.name for path in (undisturbed / "run" / "parts").iterdir()) == before


@pytest.mark.parametrize("victim", ["worker", "driver", "the workers' parent"])
def test_after_a_kill_the_same_command_gives_the_same_numbers(
    undisturbed: Path, tmp_path: Path, victim: str
) -> None:
    command = [*SMALL, "--workers", "2", "--out", "run"]
    run = RunDirectory(tmp_path / "run")
    first = subprocess.Popen(
        [STABILITY, *command], cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    wait_for_results(run.path, 1)
    if victim == "driver":
        first.kill()
    else:
        pid = claims.living_workers(run)[0].pid
        os.kill(pid if victim == "worker" else parent_of(pid), signal.SIGKILL)
    status = first.wait(PATIENCE)
    assert status == (-signal.SIGKILL if victim == "driver" else 0)
    done = call(*command, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert exact(run.path) == exact(undisturbed / "run")
    assert list(run.claims.iterdir()) == []


def test_ctrl_c_stops_cleanly_and_says_how_to_go_on(tmp_path: Path) -> None:
    sweep = subprocess.Popen(
        [STABILITY, *SMALL, "--trials", "30", "--out", "run"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    wait_for_results(tmp_path / "run", 1)
    os.killpg(sweep.pid, signal.SIGINT)  # as a terminal does: to every process of the group
    said, complained = sweep.communicate(timeout=PATIENCE)
    assert sweep.returncode == 130
    assert "the same command goes on from there" in said
    assert "Traceback" not in said + complained
    run = RunDirectory(tmp_path / "run")
    assert list(run.claims.iterdir()) == []
    assert claims.living_workers(run) == []
    state = json.loads(call("status", "run", "--json", cwd=tmp_path).stdout)
    assert 1 <= state["finished"] < 60
    assert (state["workers"], state["running"], state["lost"]) == (0, [], [])


def test_a_damaged_part_is_named_and_its_trials_run_again(
    undisturbed: Path, tmp_path: Path
) -> None:
    command = [*SMALL, "--out", "run"]
    shutil.copytree(undisturbed / "run", tmp_path / "run")
    part = next((tmp_path / "run" / "parts").iterdir())
    part.write_bytes(part.read_bytes()[:100])
    status = call("status", "run", cwd=tmp_path).stdout
    assert f"damaged: parts/{part.name} cannot be read" in status
    done = call(*command, cwd=tmp_path)
    assert done.returncode == 0
    assert f"{part.name}.damaged" in done.stderr
    assert exact(tmp_path / "run") == exact(undisturbed / "run")


def test_a_run_directory_of_another_study_is_refused(undisturbed: Path) -> None:
    before = sorted(undisturbed.rglob("*"))
    done = call(*SMALL, "--seed", "1", "--out", "run", cwd=undisturbed)
    assert done.returncode == 2
    assert "run holds another study: seed: 0 there, 1 asked for" in done.stderr
    assert "Traceback" not in done.stderr
    assert sorted(undisturbed.rglob("*")) == before


def test_resume_and_edf_of_a_finished_run(undisturbed: Path) -> None:
    done = call("resume", "run", cwd=undisturbed)
    assert (done.returncode, done.stderr) == (0, "")
    done = call("edf", "run", "--delta", "-o", "delta.pdf", cwd=undisturbed)
    assert (done.returncode, done.stderr) == (0, "")
    assert (undisturbed / "delta.pdf").read_bytes()[:4] == b"%PDF"


def test_the_python_of_readme_runs(undisturbed: Path) -> None:
    readme = (ROOT / "README.md").read_text()
    (block,) = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    code = "import matplotlib; matplotlib.use('Agg')\n" + block.replace('"RUN"', '"run"')
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=undisturbed,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "vitc-nano" in done.stdout
