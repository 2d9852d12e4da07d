"""`benchmarks/gpu_day.py` on a CPU: the dry run, and what a stage that fails costs."""

import doctest
import json
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
    gpu_engines,
    gpu_numbers,
    gpu_report,
    gpu_sweep,
    gpu_tests,
    vit_throughput,
)
from benchmarks.children import ROOT
from benchmarks.gpu_report import Report

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


def report_in(folder: Path, device: str = "cpu", seconds: float = 60.0) -> Report:
    path = folder / "x.json"
    gpu_report.write_report(path, {"rows": [], "errors": [], "limit_s": seconds})
    return Report(path, device, seconds)


TESTS = """
import os, time, pytest
pytestmark = pytest.mark.cuda

def test_good(): pass
def test_bad(): assert 1 == 2
def test_ends(): os._exit(9)
def test_hangs(): time.sleep(60)
@pytest.mark.skip
def test_skipped(): pass
@pytest.fixture
def broken():
    yield
    raise RuntimeError("clean-up")
def test_broken(broken): pass
def test_compiled_kernels(): pass
def test_last(): pass
"""


@pytest.mark.slow
def test_each_test_on_a_gpu_is_counted_whatever_the_others_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A test that ends the process or hangs has failed, and the others still run."""
    (tmp_path / "test_made_up.py").write_text(TESTS)
    (tmp_path / "test_unreadable.py").write_text("import no_such_module\n")
    files = [str(path) for path in sorted(tmp_path.glob("test_*.py"))]
    monkeypatch.setattr(gpu_tests, "FILES", files)
    monkeypatch.setattr(gpu_tests, "TEST_SECONDS", 3.0)
    report = report_in(tmp_path)
    gpu_tests.stage(report)
    outcomes = {
        row["test"].rpartition("/")[2].rpartition(":")[2]: row["outcome"]
        for row in report.content["rows"]
    }
    failed = ("bad", "ends", "hangs", "broken")
    for name in failed:
        assert outcomes.pop(f"test_{name}") == "failed"
    assert [name for name in outcomes if outcomes[name] == "failed"] == ["test_unreadable.py"]
    assert outcomes["test_skipped"] == "skipped"
    assert list(outcomes)[-1] == "test_compiled_kernels"  # takes long on a GPU
    expected = {"collected": 9, "run": 8, "passed": 3, "failed": 5, "skipped": 1}
    assert report.content["counts"] == expected
    errors = " | ".join(report.content["errors"])
    assert "the process ended, status 9" in errors
    assert "no answer in 3 s" in errors
    assert "RuntimeError: clean-up" in errors


class Silent:
    """A process of pytest that collects so many tests, which all have one outcome."""

    tests: tuple[str, ...] = ()
    outcome = "skipped"

    def __init__(self, *command: str) -> None:
        ends = ({"test": name, "outcome": self.outcome, "message": ""} for name in self.tests)
        self._said = [{"collected": list(self.tests)}, *ends, {"status": 0, "why": ""}]

    def tell(self, content: Any) -> None:
        pass

    def hear(self, seconds: float) -> Any:
        return self._said.pop(0)

    def close(self) -> None:
        pass


@pytest.mark.parametrize(
    ("tests", "device", "error"),
    [
        ((), "cpu", "no test was collected"),
        (("t1", "t2"), "cuda", "every test was skipped: torch sees no CUDA device"),
        (("t1", "t2"), "cpu", None),
    ],
)
def test_tests_that_are_skipped_or_not_there_do_not_count_as_passed(
    tests: tuple[str, ...],
    device: str,
    error: str | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gpu_tests, "Child", type("Made", (Silent,), {"tests": tests}))
    report = report_in(tmp_path, device)
    gpu_tests.stage(report)
    assert report.content["errors"] == ([error] if error else [])
    report.content["is_complete"] = True
    status = gpu_day.judged(report.content, 0)[1]
    assert status == ("failed" if error else "skipped")


def test_every_test_marked_cuda_is_in_a_file_that_the_stage_runs() -> None:
    marked = {
        f"tests/{path.relative_to(ROOT / 'tests')}"
        for path in (ROOT / "tests").rglob("*.py")
        if re.search(
            r"^pytestmark.*cuda|^\s*(@|)pytest\.mark\.cuda", path.read_text(), re.MULTILINE
        )
        and path != Path(__file__)
    }
    assert marked
    assert marked <= set(gpu_tests.FILES)


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


@pytest.mark.parametrize("module", [gpu_numbers, gpu_engines])
def test_examples(module: Any) -> None:
    found = doctest.testmod(module)
    assert (found.failed, found.attempted > 0) == (0, True)


def test_without_its_packages_the_sweep_says_what_to_carry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    report = report_in(tmp_path)
    gpu_sweep.stage(report)
    told = "stability sweep needs optuna: carry it as a wheel (docs/gpu.md)"
    assert report.content["errors"] == [told]


ROW = {"outcome": "ok", "error": 50.0, "loss": 2.0}


@pytest.mark.parametrize(
    ("device", "change", "is_equal"),
    [
        ("cpu", {}, True),
        ("cpu", {"error": 50.1}, False),
        ("cuda", {"error": 50.1, "loss": 2.02}, True),
        ("cuda", {"error": 58.0}, False),
        ("cuda", {"outcome": "diverged"}, False),
        ("cuda", {"error": float("nan")}, False),
    ],
)
def test_results_by_submitit_are_held_against_inline(
    device: str, change: dict[str, Any], is_equal: bool, tmp_path: Path
) -> None:
    report = report_in(tmp_path, device)
    gpu_sweep.compare(report, 2, {"t1": ROW, "t2": {**ROW, **change}}, {"t1": ROW, "t2": ROW})
    found = [] if is_equal else ["1 of 2 trials differ between submitit and inline: t2"]
    assert report.content["errors"] == found


def test_results_that_are_missing_are_an_error(tmp_path: Path) -> None:
    report = report_in(tmp_path)
    gpu_sweep.compare(report, 2, {"t1": ROW}, {"t1": ROW, "t2": ROW})
    assert report.content["errors"] == ["got 1 trials by submitit and 2 inline of 2"]


def test_the_plan_on_a_gpu_has_each_engine_of_the_table() -> None:
    planned = list(gpu_engines.plan(True))
    for case in gpu_engines.CASES:
        names = {name for other, name in planned if other == case}
        assert {"eager", *gpu_engines.ENGINES, gpu_engines.COMPILED} <= names
    assert [name for _, name in planned[:3]] == ["eager", "packed", "captured"]
    assert len(planned) == len(set(planned))


def test_a_report_is_never_half_a_file(tmp_path: Path) -> None:
    report = report_in(tmp_path)
    report.add({"value": 1})
    report.add({"value": 2}, "wrong")
    found = json.loads((tmp_path / "x.json").read_text())
    assert found["rows"] == [{"value": 1}, {"value": 2}]
    assert found["errors"] == ["wrong"]
    assert [path.name for path in tmp_path.iterdir()] == ["x.json"]


def test_without_timm_ours_are_measured_all_the_same() -> None:
    rows = vit_throughput.rows_of(vit_throughput.PAIRS)
    assert [row.model for row in rows][:2] == ["vitc-4gf", "vit_small_patch16_224"]
    for row in rows:
        row.flops = 10**9
        row.images, row.fault = (100.0, "") if row.rival else (None, "no timm")
    vit_throughput.judge(rows, 1e12)
    assert [row.mfu for row in rows] == [0.1, None, 0.1, None]
    assert {row.ratio for row in rows} == {None}
    rows[1].images = 50.0
    vit_throughput.judge(rows, 1e12)
    assert rows[0].ratio == 2.0
    assert "MFU 10.0% (aim 35%), 2.000x vit_small_patch16_224 (aim 1x)" in vit_throughput.line(
        rows[0]
    )
