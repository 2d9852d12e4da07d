"""The benchmarks of GPUs on a CPU: their processes, arithmetic, what they say without a GPU."""

import doctest
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from benchmarks import children, engine, engine_aims, gpu, packed, vit_throughput
from benchmarks.children import OUT_OF_TIME, Child, Measurer
from benchmarks.engine_row import Case, Row, Rows, answer, request
from stability.training import loop
from stability.training.engines.names import parse_engine

pytestmark = pytest.mark.alone
ROW = Row(model="vitp-micro+d12", batch=128, engine="eager")
SMALL = Case(model="vitp-nano", batch=16, load=2)


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Child]:
    """Every child that is started."""
    found: list[Child] = []
    begin = Child.__init__

    def kept(self: Child, *command: str) -> None:
        begin(self, *command)
        found.append(self)

    monkeypatch.setattr(Child, "__init__", kept)
    return found


@pytest.fixture
def measurer() -> Iterator[Measurer]:
    with Measurer("benchmarks.engine_row", ["cpu"], time.monotonic() + 120) as found:
        yield found


def soon(seconds: float = 60.0) -> float:
    return time.monotonic() + seconds


@pytest.mark.parametrize("module", [gpu, engine_aims])
def test_examples(module: Any) -> None:
    found = doctest.testmod(module)
    assert (found.failed, found.attempted > 0) == (0, True)


@pytest.mark.slow
def test_the_engines_are_measured_on_a_cpu_and_the_rest_is_said(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert engine.main(["--device", "cpu", "--quick", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert set(found) == {"machine", "command", "seconds", "mfu_of", "includes", "rows", "aims"}
    assert {"device", "torch", "cuda", "numpy", "python"} <= set(found["machine"])
    assert found["command"] == "python -m benchmarks.engine --device cpu --quick --json"
    mine = [row for row in found["rows"] if not row["fault"]]
    assert [row["engine"] for row in mine] == ["eager", "stacked:1", "stacked:4", "stacked:16"]
    assert all(row["ms"] > 0 and row["steps"] == 2 and row["took"] > 0 for row in mine)
    others = [row for row in found["rows"] if row["fault"]]
    assert {row["fault"] for row in others} == {"no GPU"}
    assert len(others) == 5 * len(engine.ENGINES) + 4
    assert all(aim["value"] is None and not aim["met"] for aim in found["aims"])


def test_without_time_everything_is_out_of_it(
    capsys: pytest.CaptureFixture[str], started: list[Child]
) -> None:
    assert engine.main(["--device", "cpu", "--budget", "0"]) == 1
    said = capsys.readouterr().out
    assert "vitp-nano         16  4 engines          not measured: out of time\n" in said
    assert "vitp-micro+d12   128  14 engines         not measured: no GPU\n" in said
    assert "    stacked:2, stacked:4, stacked:8" in said
    assert "micro, batch 128: best over packed: not measured, aim 1.3x\n" in said
    assert "micro, batch 128: images/s of the best: not measured, moonshot 135,000\n" in said
    assert "30 epochs of 50,000 images: not measured, aim below 25 min\n" in said
    assert "to be measured in this run" in said
    assert started == []


def test_a_gpu_that_is_not_there_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as error:
        engine.main(["--device", "cuda"])
    assert error.value.code == 2
    assert "got cuda, there is no GPU" in capsys.readouterr().err


def test_every_engine_is_planned_for_every_case_and_micro_at_128_is_first() -> None:
    planned = list(engine.plan("cuda", quick=False))
    for case in (engine.MICRO_128, engine.MICRO_64, engine.MICRO_512, engine.NANO, engine.REGNETY):
        names = [name for other, name in planned if other == case]
        assert set(engine.ENGINES) <= set(names)
        assert len(names) == len(set(names))
    assert [name for _, name in planned[:3]] == ["eager", "packed", "captured"]
    assert {case for case, _ in planned[:12]} == {engine.MICRO_128}
    assert {case for case, name in planned if name == "packed"} == {engine.MICRO_128, engine.NANO}
    assert engine.MICRO_128.steps(parse_engine("stacked:8")) == 100
    assert engine.MICRO_128.steps(parse_engine("stacked:64")) == 12


class MadeUp:
    """A measurer whose engines take 8 ms eager and 1 ms otherwise; `streams:4` fails."""

    def __init__(self) -> None:
        self.deadline, self.asked = time.monotonic() + 60, list[str]()

    def ask(self, asked: dict[str, Any], most: float) -> dict[str, Any]:
        self.asked.append(f"{asked['model']} {asked['batch']} {asked['engine']}")
        if asked["engine"] == "streams:4":
            return {"fault": "OutOfMemoryError: made up"}
        found = {"seconds": 8e-3 if asked["engine"] == "eager" else 1e-3, "memory": 1.0}
        edf = {"few": 10, "trials": 1, "first": 3.0, "again": 1.0, "longer": 1.3}
        return found | {"took": 1.0, "steps": 100} | (edf if asked["what"] == "edf" else {})

    def close(self) -> None:
        pass


def test_a_whole_run_on_a_gpu_with_measurements_made_up(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rates = {8: 400.0, 16: "one of them: no memory"}
    monkeypatch.setattr(engine, "steps_a_second", lambda *args, **options: rates)
    rows, edf = engine.measured(Rows("cuda", 7e14, MadeUp()), engine.Effort())  # type: ignore[arg-type]
    assert len(rows) == 5 * len(engine.ENGINES) + 4
    failed = [row for row in rows if row.fault]
    assert [row.engine for row in failed].count("streams:4") == 5
    assert {row.fault for row in failed} == {"OutOfMemoryError: made up", rates[16]}
    found = {(aim["kind"], aim["aim"]): aim for aim in engine_aims.judged(rows, edf)}
    values = [round(aim["value"], 3) for aim in found.values()]
    assert values == [8.0, 2.5, 8.0, 17.9, 8.0, 128_000.0, 8.0]
    assert [aim["met"] for aim in found.values()] == [True, True, False, True, True, False, False]
    with monkeypatch.context() as patch:
        patch.setattr(torch.cuda, "get_device_name", lambda: "NVIDIA H200")
        peak = gpu.peak_of(7e14, "cuda")
        engine.show(sorted(rows, key=engine.place), list(found.values()), "cuda", peak)
    said = capsys.readouterr().out
    assert "MFU: of 700 TFLOP/s, a bfloat16 product of 8192 x 8192 matrices, measured" in said
    assert "data sheet 989, dense" in said
    assert "  8 eager processes     2.500    51,200" in said
    assert "16 eager processes not measured: one of them: no memory" in said
    assert "images/s of the best: 128,000, moonshot 135,000: missed\n" in said
    assert "  estimated from captured, the recipe micro: steps 12.5 + evaluations 4.5" in said


def test_an_edf_is_never_estimated_from_packed_processes_or_from_what_failed() -> None:
    fast = replace(ROW, engine="16 eager processes", ms=0.001)
    edf = {"captured": {"fault": "RuntimeError: no"}}
    aim = engine_aims.judged([fast], edf)[3]
    assert (aim["value"], aim["estimated_from"], aim["minutes"]) == (None, None, {})
    assert aim["measured"] == edf


def test_of_trials_at_a_time_beginnings_and_evaluations_are_shared() -> None:
    found = {"seconds": 1e-3, "few": 10, "batch": 128, "first": 9.0, "again": 6.0, "longer": 10.0}
    parts = engine_aims.estimated(found | {"trials": 16})
    assert parts["evaluations"] * 60 == pytest.approx(4 * 30 * (2.0 - 0.16))
    assert parts["beginnings"] * 60 == pytest.approx(4 * 4.0)
    assert parts["captures"] * 60 == pytest.approx(3.0)
    assert parts["steps"] * 60 == pytest.approx(64 * 30 * 390 * 1e-3)


@pytest.mark.parametrize("seconds", [1e-9, 0.0, -0.01, float("nan")])
def test_no_time_is_no_fast_engine(seconds: float) -> None:
    row = Rows("cpu", 1e12, MadeUp()).told(ROW, seconds)  # type: ignore[arg-type]
    assert row.ms is None
    assert row.fault.endswith("no time was measured")


@pytest.mark.slow
def test_an_engine_that_fails_hangs_or_dies_is_a_row_and_the_next_is_measured(
    measurer: Measurer, started: list[Child]
) -> None:
    rows = Rows("cpu", 1e12, measurer)
    assert rows.of(SMALL, "captured").fault.startswith("ValueError: a CUDA graph needs a CUDA")
    good = rows.of(SMALL, "eager")
    assert good.ms is not None
    assert good.ms > 0.1
    assert good.mfu == pytest.approx(16e3 / good.ms * gpu.flops_of("vitp-nano") / 1e12)
    started[-1]._process.kill()
    assert rows.of(SMALL, "eager").fault == "the process ended, status -9"
    asked = request(SMALL, parse_engine("eager")) | {"what": "step"}
    assert measurer.ask(asked, 0.01)["fault"] == "no answer in 0 s"
    measurer.deadline = soon(0.01)
    assert rows.of(SMALL, "eager").fault == OUT_OF_TIME
    assert len(started) == 4
    assert all(child._process.poll() is not None for child in started)


@pytest.mark.slow
def test_an_edf_is_made_of_trainings_with_the_recipe_micro() -> None:
    asked = request(SMALL, parse_engine("stacked:2")) | {"what": "edf", "held": (20, 20)}
    found = answer(asked, "cpu")
    assert found["settings"]["flip"] == 0.5
    assert found["settings"]["crop_padding"] == 4
    assert found["settings"]["batch_size"] == 16
    assert (found["few"], found["trials"]) == (2, 2)
    assert 0 < found["seconds"] < found["again"] < found["longer"]
    assert sum(engine_aims.estimated(asked | found).values()) > 0


@pytest.mark.slow
def test_packed_processes_train_at_once_and_are_gone_at_the_end(started: list[Child]) -> None:
    start = time.monotonic()
    found = packed.steps_a_second("vitp-nano", 16, "cpu", (1, 2), seconds=1.0, deadline=soon())
    assert list(found) == [1, 2]
    one, two = found.values()
    assert isinstance(one, float)
    assert isinstance(two, float)
    assert one > 5
    assert two > 5
    assert time.monotonic() - start > 2
    assert len(started) == 2
    assert all(child._process.poll() is not None for child in started)


@pytest.mark.slow
def test_packed_processes_that_fail_or_come_too_late_are_a_reason(started: list[Child]) -> None:
    rate = packed.steps_a_second
    failed = rate("vitp-none", 16, "cpu", (2,), seconds=1.0, deadline=soon())
    assert failed == {2: "one of them: ModelNameError: 'vitp-none'"}
    late = rate("vitp-nano", 16, "cpu", (2,), seconds=1.0, deadline=soon(0.1))
    assert late == {2: OUT_OF_TIME}
    assert len(started) == 4
    assert all(child._process.poll() is not None for child in started)


class Told:
    """A parent that gives windows of so many seconds."""

    def __init__(self, *windows: float) -> None:
        self.windows, self.start = list(windows), time.monotonic()
        self.steps: list[float] = []
        """Of each window."""

    def tell(self, content: dict[str, float]) -> None:
        self.steps.append(content["rate"] * (time.monotonic() - self.start))

    def hear(self) -> dict[str, float] | None:
        if not self.windows:
            return None
        self.start = time.monotonic()
        return {"start": self.start, "end": self.start + self.windows.pop(0)}


def test_of_a_packed_process_the_steps_alone_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """More than an epoch of steps, and one evaluation: the one before training."""
    evaluated, steps = [], []
    whole, step_begins = loop.evaluate, packed.Endless._step_begins

    def counted(self: packed.Endless, module: nn.Module, inputs: object) -> None:
        steps.append(module.training)
        step_begins(self, module, inputs)

    def evaluate(*args: Any, **options: Any) -> Any:
        evaluated.append(1)
        return whole(*args, **options)

    monkeypatch.setattr(loop, "evaluate", evaluate)
    monkeypatch.setattr(packed.Endless, "_step_begins", counted)
    data, parent = gpu.data_of("vitp-nano", "cpu", images=64), Told(0.3)
    job = gpu.job_of("vitp-nano", 16, "cpu")
    with pytest.raises(packed.OverError):
        loop.train(job, data, runner=packed.Endless(parent, data.device))  # type: ignore[arg-type]
    taken = sum(steps) - 1  # the last began, and was not taken
    assert taken > len(data.train) // 16
    assert len(evaluated) == 1
    assert len(parent.steps) == 2
    assert parent.steps[1] == pytest.approx(taken - packed.WARM_UP + 1, abs=0.5)


def test_what_a_child_prints_besides_its_answers_is_no_answer() -> None:
    code = (
        "import os; from benchmarks.children import serve\n"
        "serve(lambda asked: {'value': 1 / asked['n'], 'bytes': os.write(1, b'a word\\n')})\n"
    )
    requests = '{"n": 1}\n{"n": 0}\n'
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=requests,
        capture_output=True,
        text=True,
        check=True,
        cwd=children.ROOT,
    )
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert answers == [
        {"value": 1.0, "bytes": 7},
        {"fault": "ZeroDivisionError: division by zero"},
    ]
    assert done.stderr == "a word\n"


class Rival(nn.Module):
    """In place of timm's."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head = nn.Conv2d(3, 8, 8, 8), nn.Linear(8, vit_throughput.CLASSES)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.head(self.stem(images).mean((2, 3)))
        return out


@pytest.fixture
def timm(monkeypatch: pytest.MonkeyPatch) -> None:
    made = SimpleNamespace(create_model=lambda name, num_classes, img_size: Rival())
    monkeypatch.setitem(sys.modules, "timm", made)


@pytest.mark.parametrize(("model", "is_ours"), [("vitc-micro", True), ("vit_tiny", False)])
def test_a_model_is_trained_by_steps_and_its_flops_are_counted(
    model: str, is_ours: bool, timm: None
) -> None:
    trainer = vit_throughput.Trainer("cpu")
    found = trainer.answer({"model": model, "batch": 2, "side": 32, "is_ours": is_ours})
    assert found["flops"] > 1e5
    assert trainer.answer({"steps": 1})["images"] > 0
