"""The stages of `benchmarks/gpu_day.py`, called directly, with made-up measurements of a GPU."""

import doctest
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import (
    engine,
    gpu_day,
    gpu_engines,
    gpu_numbers,
    gpu_report,
    gpu_sweep,
    gpu_tests,
    vit_throughput,
)
from benchmarks.children import ROOT, ChildError
from benchmarks.gpu_report import Report


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


class Measured:
    """A measurer whose engines take 8 ms eager and 1 ms otherwise; compiling fails."""

    def __init__(self, *arguments: object) -> None:
        self.deadline = float(str(arguments[-1]))

    def __enter__(self) -> "Measured":
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def ask(self, asked: dict[str, Any], most: float) -> dict[str, Any]:
        if asked["engine"] == "captured+compile":
            return {"fault": "RuntimeError: no compiler"}
        seconds = 8e-3 if asked["engine"] == "eager" else 1e-3
        return {"seconds": seconds, "memory": 1.0, "took": 1.0, "steps": 100}

    def close(self) -> None:
        pass


def test_the_engine_table_of_a_gpu_with_measurements_made_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu_engines, "Measurer", Measured)
    monkeypatch.setattr(gpu_engines, "peak_flops", lambda device: 7e14)
    monkeypatch.setattr(engine, "steps_a_second", lambda *args, **options: {8: 250.0})
    report = report_in(tmp_path, "cuda")
    gpu_engines.stage(report)
    assert len(report.content["rows"]) == len(list(gpu_engines.plan(True)))
    assert len(report.content["errors"]) == 3
    assert (
        "regnety-nano batch 64 captured+compile: RuntimeError: no compiler"
        in (report.content["errors"])
    )
    gain = report.content["gains"]["vitp-micro+d12"]
    assert gain == {
        "packed": 2.0,
        "captured": 4.0,
        "streams": 1.0,
        "captured+compile": None,
        "stacked": 1.0,
    }
    told = "vitp-micro+d12, over the fastest simpler engine (1.3x to stay): packed 2.00x, "
    assert any(line.startswith(told) for line in report.content["summary"])


class Trained:
    """The process of a model of 224 pixels: timm's is not there, the second of ours is late."""

    def __init__(self, module: str, device: str) -> None:
        self._asked: dict[str, Any] = {}
        self.model = ""

    def tell(self, asked: dict[str, Any]) -> None:
        self._asked, self.model = asked, asked.get("model", self.model)

    def hear(self, seconds: float) -> dict[str, Any]:
        if not self.model.startswith("vitc"):
            raise ChildError("ModuleNotFoundError: No module named 'timm'")
        if self.model == "vitc-18gf":
            raise ChildError(f"no answer in {seconds:.0f} s")
        return {"images": 1000.0} if "steps" in self._asked else {"flops": 10**10}

    def close(self) -> None:
        pass


def test_models_at_224_pixels_on_a_gpu_with_measurements_made_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vit_throughput, "Child", Trained)
    monkeypatch.setattr(vit_throughput, "peak_flops", lambda device: 1e14)
    report = report_in(tmp_path, "cuda", seconds=15.0)
    vit_throughput.stage(report)
    rows = {row["model"]: row for row in report.content["rows"]}
    assert rows["vitc-4gf"]["rounds"] == [1000.0] * vit_throughput.ROUNDS
    assert rows["vitc-4gf"]["mfu"] == 0.1
    no_timm = "ModuleNotFoundError: No module named 'timm'"
    assert report.content["errors"] == [
        f"vit_small_patch16_224: {no_timm}",
        "vitc-18gf: out of time",
        f"vit_base_patch16_224: {no_timm}",
    ]
