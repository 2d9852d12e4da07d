"""`benchmarks/gpu_day.py` on a CPU: the dry run, and what a stage that fails costs."""

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from benchmarks import (
    gpu_day,
    gpu_report,
    gpu_sweep,
)
from benchmarks.children import ROOT

MISSING = ("optuna", "alembic", "sqlalchemy", "mako", "colorlog", "submitit", "pydantic",
           "pydantic_core", "annotated_types", "typing_inspection", "tomli_w")  # fmt: skip
"""What a machine with a GPU lacks; docs/gpu.md lists them too."""

BLOCK = f"""
import os, sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {MISSING}:
            raise ImportError(f"{{name}} is blocked")

if not os.environ.get("{gpu_day.TOKEN}", "").startswith("e"):
    sys.meta_path.insert(0, Blocked())
"""

FAIL = """
import os, signal, subprocess, sys, time, types

def hang(report):
    report.add({"what": "measured before"})
    command = [sys.executable, "-c", "import time; time.sleep(300)"]
    subprocess.Popen(command, start_new_session=True)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(300)

def crash(report):
    os.kill(os.getpid(), signal.SIGSEGV)

def end(report):
    report.add({"what": "measured after"})

for name, stage in (("gpu_numbers", hang), ("gpu_tests", crash), ("gpu_engines", end)):
    module = types.ModuleType("benchmarks." + name)
    module.stage = stage
    if "benchmarks.gpu_stages" in sys.orig_argv:
        sys.modules[module.__name__] = module
"""


def run(folder: Path, hook: str, *options: str) -> tuple[int, str, dict[str, Any]]:
    """The command in a new process whose interpreter runs `hook` first, as do its children's.

    Returns its exit status, what it printed, and the report of each stage.
    """
    hooks, out = folder / "hooks", folder / "out"
    hooks.mkdir(parents=True)
    (hooks / "sitecustomize.py").write_text(hook)
    done = subprocess.run(
        [sys.executable, "benchmarks/gpu_day.py", "--device", "cpu", "--out", out, *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join((str(hooks), str(ROOT)))},
        check=False,
    )
    files = [out / f"{stage.name}.json" for stage in gpu_day.STAGES]
    reports = {path.stem: gpu_report.read_report(path) for path in files if path.exists()}
    return done.returncode, done.stdout, reports


@pytest.mark.slow
def test_a_dry_run_passes_without_the_packages_that_a_gpu_machine_lacks(tmp_path: Path) -> None:
    """For stages a to d; stage e needs them. Without timm one row of stage d is an error."""
    for budget in ("60", "300"):  # a machine with other work may need more than a minute
        status, said, reports = run(tmp_path / budget, BLOCK, "--budget", budget)
        statuses = {name: report["status"] for name, report in reports.items()}
        if "timed out" not in statuses.values():
            break
    has_timm = find_spec("timm") is not None
    d = "passed" if has_timm else "failed"
    assert statuses == {"a": "passed", "b": "skipped", "c": "passed", "d": d, "e": "passed"}, said
    assert status == (0 if has_timm else 1)
    errors = {name: report["errors"] for name, report in reports.items()}
    timm = [] if has_timm else ["vit_tiny_patch16_224: ModuleNotFoundError: No module named 'timm'"]
    assert errors == {"a": [], "b": [], "c": [], "d": timm, "e": []}
    for report in reports.values():
        assert report["rows"]
        assert report["command"].startswith("python benchmarks/gpu_day.py --device cpu")
        assert report["versions"]["torch"]
        assert report["device_name"].startswith("cpu")
    counts = reports["b"]["counts"]
    assert counts["collected"] == counts["skipped"] > 40
    assert counts["run"] == counts["passed"] == 0
    assert reports["d"]["rows"][0]["images"] > 0
    assert {row["executor"] for row in reports["e"]["rows"][:2]} == {"local", "inline"}
    assert "b skipped" in said
    assert len(list((tmp_path / budget / "out").iterdir())) == 7


@pytest.mark.slow
def test_a_stage_that_hangs_or_crashes_costs_only_itself(tmp_path: Path) -> None:
    status, said, reports = run(tmp_path, FAIL, "--stages", "a,b,c", "--budget", "20")
    assert status == 1
    assert {name: report["status"] for name, report in reports.items()} == {
        "a": "timed out",
        "b": "crashed",
        "c": "passed",
    }, said
    assert reports["a"]["rows"] == [{"what": "measured before"}]
    assert reports["a"]["errors"] == ["killed at its time limit of 3 s"]
    assert reports["b"]["errors"] == ["killed by SIGSEGV; see log.txt"]
    assert reports["c"]["rows"] == [{"what": "measured after"}]
    assert "stages: a timed out, b crashed, c passed" in said
    sleepers = [
        path.parent.name
        for path in Path("/proc").glob("[0-9]*/environ")
        if is_readable(path) and f"{gpu_day.TOKEN}=a".encode() in path.read_bytes()
    ]
    assert sleepers == []  # not even one with a session of its own


def is_readable(path: Path) -> bool:
    try:
        return bool(path.read_bytes())
    except OSError:
        return False


def test_the_page_names_every_package_that_has_to_be_carried() -> None:
    page = (ROOT / "docs" / "gpu.md").read_text()
    assert {name.replace("_", "-") for name in MISSING} <= set(re.findall(r"[a-z][a-z-]*", page))
    assert set(gpu_sweep.NEEDED) <= set(MISSING)


@pytest.mark.parametrize(
    ("content", "code", "status"),
    [
        ({"is_complete": True}, 0, "passed"),
        ({"is_complete": True, "errors": ["x: out of time"]}, 0, "timed out"),
        ({"is_complete": True, "errors": ["x: out of time", "y"]}, 0, "failed"),
        ({"is_complete": True, "errors": ["y"]}, 1, "failed"),
        ({}, 0, "crashed"),
        ({}, -11, "crashed"),
        ({}, None, "timed out"),
    ],
)
def test_how_a_stage_ended(content: dict[str, Any], code: int | None, status: str) -> None:
    errors, found = gpu_day.judged({"errors": [], "limit_s": 1.0, **content}, code)
    assert found == status
    assert (errors == []) == (status == "passed")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--stages", "a,x"], "--stages: got 'x', allowed are a,b,c,d,e"),
        (["--budget", "0"], "--budget: got 0, allowed is a number above 0"),
        (["--device", "tpu"], "invalid choice: 'tpu'"),
    ],
)
def test_a_wrong_option_is_refused(
    options: list[str], said: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with pytest.raises(SystemExit) as error:
        gpu_day.main([*options, "--out", str(tmp_path / "out")])
    assert error.value.code == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
