"""The choice of an engine: what is measured, and what is made of it for an image study."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from trainings import job, small, trial

from stability import image_engines
from stability.image_engines import MEASURED_KINDS, ImageEngines
from stability.objective import _data, _job
from stability.training.engines import choice
from stability.training.engines.calibration_job import calibration_data
from stability.training.engines.choice import (
    COMPILING,
    WORTH,
    Cost,
    Measurement,
    NotMeasuredError,
    Workload,
    candidates,
    cost_of,
    measure_engines,
    measure_step,
)
from stability.training.engines.names import Engine, parse_engine
from stability.training.loop import Job
from stability.training.outcome import Training
from stability.training.tensors import TensorData
from sweeps.errors import ExecutorError
from sweeps.study.trial import Trial
from sweeps.worker.engine import EngineDecision, EnginePlan


def test_no_more_at_a_time_is_measured_than_there_are_trials() -> None:
    def names(trials: int) -> list[list[str]]:
        return [list(map(str, ladder)) for ladder in candidates(trials)]

    single = [["eager"], ["captured"], ["captured+compile"]]
    assert names(1) == single
    assert names(5) == [*single, ["streams:2", "streams:4"], ["stacked:4"]]
    assert names(64)[-1] == ["stacked:4", "stacked:16", "stacked:64"]


Takes = dict[str, float | Exception]
MANY = Workload(trials=64, steps=1000)


def pretended(
    takes: Takes, ahead: Workload = MANY, **changes: Any
) -> tuple[list[str], Measurement]:
    """Which engines are asked for their milliseconds a step, and what is found."""
    asked: list[str] = []

    def measure(engine: Engine, job: Job, data: TensorData, ahead: Workload) -> Cost:
        asked.append(str(engine))
        found = takes.get(str(engine), 1.95)
        if isinstance(found, Exception):
            raise found
        return Cost(step=found / 1e3)

    return asked, measure_engines(job(**changes), small(), ahead, measure)


def test_a_ladder_is_climbed_while_it_gets_faster_and_a_fault_is_noted() -> None:
    takes: Takes = {
        "eager": 8.0, "captured": 2.0, "streams:2": 1.99, "stacked:4": 3.0, "stacked:16": 1.0
    }  # fmt: skip
    takes["stacked:64"] = torch.OutOfMemoryError("CUDA out of\nmemory")
    asked, found = pretended(takes)
    assert asked == [
        "eager", "captured", "streams:2", "streams:4", "stacked:4", "stacked:16", "stacked:64"
    ]  # fmt: skip
    assert found.costs["stacked:64"] == "OutOfMemoryError: CUDA out of memory"
    assert not found.is_spoilt
    asked, _ = pretended(takes | {"streams:4": 1.5, "stacked:16": 2.9})
    assert asked[-1] == "stacked:16"  # 3% faster than 4: no further


def test_where_a_step_fills_the_device_several_trials_at_a_time_are_not_measured() -> None:
    asked, found = pretended({"eager": 31.0, "captured": 30.5})
    assert [name for name in asked if name != "captured+compile"] == ["eager", "captured"]
    assert found.why_not("streams:2") == found.why_not("stacked:4")
    assert "a step alone takes 31 ms" in str(found.why_not("stacked:4"))
    assert "stacked:4" in pretended({"eager": 29.0})[0]


def test_after_a_graph_that_failed_nothing_is_measured_any_more() -> None:
    """The process may believe for ever that it captures."""
    broken = RuntimeError("operation not permitted when stream is capturing")
    asked, found = pretended({"captured": broken})
    assert asked == ["eager", "captured"]
    assert found.is_spoilt
    assert "as captured fails: RuntimeError: operation" in str(found.why_not("stacked:4"))
    asked, found = pretended({"streams:2": broken})
    assert asked[-1] == "streams:2"
    assert found.is_spoilt
    assert found.why_not("stacked:4") == "not tried: a graph failed before"
    for harmless in (torch.OutOfMemoryError("full"), NotMeasuredError("too short")):
        assert not pretended({"captured": harmless})[1].is_spoilt


def test_compiled_kernels_are_measured_only_where_a_study_is_long() -> None:
    long = Workload(trials=64, steps=int(WORTH * COMPILING / 64 / 2e-3) + 1)
    assert "captured+compile" in pretended({"captured": 2.0}, long)[0]
    for short in (replace(long, steps=long.steps - 2), replace(long, keeps_graphs=False)):
        assert "captured+compile" not in pretended({"captured": 2.0}, short)[1].costs


def test_what_is_paid_once_decides_with_the_steps() -> None:
    found = Measurement(
        {"captured": Cost(step=2e-3), "captured+compile": Cost(step=1e-3, beside=3)}
    )
    assert image_engines._fastest_plan(found, steps=2900).engine == "captured"
    way = image_engines._fastest_plan(found, steps=3100)
    assert way.engine == "captured+compile"
    assert way.measured == {"captured": 2.0, "captured+compile": 1.0}
    assert way.beside == {"captured": 0.0, "captured+compile": 3}


def test_what_cannot_be_stacked_is_not_measured_stacked() -> None:
    asked, found = pretended({}, model=f"{__name__}:odd")
    assert "cannot be stacked" in str(found.why_not("stacked:4"))
    assert "stacked:16" not in found.costs
    assert "stacked:4" not in asked


class Odd(torch.nn.Module):
    def __init__(self, inputs: int, classes: int) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(inputs, classes))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.flatten(1) @ self.weight


def odd(num_classes: int, input_shape: tuple[int, int, int]) -> torch.nn.Module:
    """Has a weight that no layer of torch has."""
    c, h, w = input_shape
    return Odd(c * h * w, num_classes)


class Pretence:
    """Trainings by a clock that advances with each step, each epoch, and by what is paid once."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, step: float = 0.25) -> None:
        self.now, self.step, self.jobs, self.datas = 0.0, step, [job()], [small()]
        self.jobs.clear()
        self.datas.clear()
        self.lasts, self.outcome = 99, "ok"
        monkeypatch.setattr(choice, "train_with", self.train)
        monkeypatch.setattr(choice, "prepare", self.prepare)
        monkeypatch.setattr("time.process_time", lambda: self.now)

    def prepare(self, name: str, jobs: Sequence[Job], data: TensorData) -> None:
        self.now += 64.0

    def train(
        self, name: str, jobs: Sequence[Job], data: TensorData, on_epoch: Callable[[int, Any], None]
    ) -> Any:
        self.jobs.append(jobs[0])
        self.datas.append(data)
        steps = len(data.train) // jobs[0].recipe.batch_size
        for epoch in range(min(jobs[0].epochs, self.lasts) + 1):
            self.now += self.step * steps * len(jobs) if epoch else 0.0
            self.now += 1000.0 * (epoch == 1)  # a stack is captured after its first evaluation
            for i in range(len(jobs)):
                on_epoch(i, None)
        for i in range(len(jobs)):
            yield i, Training(outcome=self.outcome)  # type: ignore[arg-type]
        self.now += 100.0


@pytest.mark.parametrize("engine", ["eager", "stacked:2"])
def test_the_measurement_finds_what_a_step_costs_and_what_is_paid_beside(
    engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    Pretence(monkeypatch)
    for repeats in (1, 3):
        found = measure_step(parse_engine(engine), job(), small(), steps=7, repeats=repeats)
        assert found == pytest.approx(0.25)
    k = parse_engine(engine).trials
    for keeps, sharing in ((True, 32), (False, k)):
        ahead = Workload(trials=32, steps=100, keeps_graphs=keeps)
        cost = cost_of(parse_engine(engine), job(), small(), ahead)
        assert cost.step == pytest.approx(0.25)
        assert cost.beside == pytest.approx(64 / sharing + 1000 / k)


@pytest.mark.parametrize(("step", "steps"), [(1e-3, 4), (0.25, 3), (10.0, 2)])
def test_a_measured_epoch_is_that_of_the_study_or_what_the_budget_allows(
    step: float, steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretence = Pretence(monkeypatch, step)
    one = job(lr=1e30, warmup_epochs=1.0, precise_bn=40)
    cost_of(parse_engine("eager"), one, small(), MANY)
    assert len(pretence.datas[-1].train) == 16 * steps
    assert len(pretence.datas[-1].validation) == -(-30 * steps // 4)
    assert pretence.jobs[-1].recipe.precise_bn == 10 * steps
    assert pretence.jobs[-1].recipe.lr < 1e-5
    assert pretence.jobs[-1].epochs == choice.MEASURED_EPOCHS


def test_a_training_that_ends_early_or_takes_no_time_gives_no_number(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pretence = Pretence(monkeypatch)
    for changes, words in (
        ({"lasts": 1}, "ended before its last epoch"),
        ({"lasts": 99, "outcome": "diverged"}, "diverged"),
        ({"outcome": "ok", "step": 0.0}, "says 0 seconds"),
        ({"step": -1.0}, "seconds for an epoch"),
    ):
        vars(pretence).update(changes)
        with pytest.raises(NotMeasuredError, match=words):
            measure_step(parse_engine("eager"), job(), small(), steps=2)
        assert words in str(measure_engines(job(), small(), MANY).why_not("eager"))


@pytest.mark.parametrize("engine", ["eager", "stacked:2"])
def test_the_measurement_of_a_real_step(engine: str) -> None:
    one = job(model="vitp-nano", batch_size=4, lr=1e30)  # which diverges in its first epoch
    assert 1e-4 < measure_step(parse_engine(engine), one, small(), steps=4) < 1


def test_data_are_cut_or_repeated_for_the_measurement() -> None:
    short = calibration_data(small(), job(batch_size=25), 4)
    assert (len(short.train), len(short.validation), len(short.test)) == (100, 30, 40)
    assert torch.equal(short.train.images[75], small().train.images[0])
    cut = calibration_data(small(), job(), 2)
    assert (len(cut.train), len(cut.validation)) == (32, 15)
    assert cut.train.images.data_ptr() == small().train.images.data_ptr()  # no copy


ENGINES = ImageEngines(_job, _data)


def test_on_a_cpu_nothing_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_engines, "measure_engines", None)
    trials = [trial(0), trial(1, model="vitc-nano")]
    kinds = [ENGINES.kind(one) for one in trials]
    assert kinds == ["vitp-nano, sgd, batch 256", "vitc-nano, sgd, batch 256"]
    assert ENGINES.ways(trials, "cpu", "auto") == {}
    assert EngineDecision(device="cpu").plan(kinds[0]) == EnginePlan()  # one by one


def test_on_a_gpu_each_kind_is_measured_and_has_its_own_engine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = []

    def pretend(job: Job, data: TensorData, ahead: Workload) -> Measurement:
        assert not torch.backends.cudnn.allow_tf32  # as when it trains
        asked.append((job.model, job.recipe.batch_size, ahead))
        stacked = 0.001 if job.model == "vitp-nano" else 0.0019
        takes = {"eager": 0.008, "captured": 0.002, "stacked:16": stacked}
        return Measurement({name: Cost(step=step) for name, step in takes.items()} | {"s:2": "no"})

    monkeypatch.setattr(image_engines, "measure_engines", pretend)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    here = ImageEngines(_job, lambda trial, device: small())
    lengths = [(i, model) for i in range(3) for model in ("vitp-nano", "vitc-nano")]
    settings = {"batch_size": 16}
    trials = [trial(i, model=model, epochs=i + 1, settings=settings) for i, model in lengths]
    ways = here.ways(trials, "cuda", "auto")
    ahead = Workload(trials=3, steps=8)  # of two epochs, the mean, of four steps
    assert asked == [("vitp-nano", 16, ahead), ("vitc-nano", 16, ahead)]
    assert [(way.engine, way.trials) for way in ways.values()] == [("stacked", 16), ("captured", 1)]
    first = next(iter(ways.values()))
    assert first.measured == {"eager": 8.0, "captured": 2.0, "stacked:16": 1.0, "s:2": "no"}


def test_of_many_kinds_the_first_are_measured_and_the_others_do_as_the_nearest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def pretend(job: Job, data: TensorData, ahead: Workload) -> Measurement:
        assert not ahead.keeps_graphs  # of so many kinds
        captured = 0.5 if job.recipe.batch_size > 60 else 2.0
        return Measurement({"eager": Cost(step=1.0), "captured": Cost(step=captured)})

    monkeypatch.setattr(image_engines, "measure_engines", pretend)
    here = ImageEngines(_job, lambda trial, device: small())
    batches = [10 * i for i in range(1, MEASURED_KINDS + 1)] + [33, 99]
    trials = [trial(b, settings={"batch_size": b}) for b in batches]
    ways = list(here.ways(trials, "cuda", "auto").values())
    assert [way.engine for way in ways] == ["eager"] * 6 + ["captured"] * 2 + ["eager", "captured"]
    assert [bool(way.measured) for way in ways] == [True] * MEASURED_KINDS + [False] * 2


@pytest.mark.parametrize(("name", "kept"), [("weight_decay", True), ("momentum", False)])
def test_a_setting_that_a_graph_holds_has_each_trial_captured(
    name: str, kept: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def pretend(job: Job, data: TensorData, ahead: Workload) -> Measurement:
        seen.append(ahead.keeps_graphs)
        return Measurement({"eager": Cost(step=1.0)})

    monkeypatch.setattr(image_engines, "measure_engines", pretend)
    here = ImageEngines(_job, lambda trial, device: small())
    here.ways([trial(i, settings={name: i / 100}) for i in range(9)], "cuda", "auto")
    assert seen == [kept]


def test_models_from_elsewhere_are_measured_last_and_spoil_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def pretend(job: Job, data: TensorData, ahead: Workload) -> Measurement:
        costs = {"eager": Cost(step=1.0), "captured": Cost(step=0.5)}
        return Measurement(costs, is_spoilt=job.model == f"{__name__}:odd")  # type: ignore[arg-type]

    monkeypatch.setattr(image_engines, "measure_engines", pretend)
    here = ImageEngines(_job, lambda trial, device: small())
    models = (f"{__name__}:odd", f"{__name__}:other", "vitp-nano")
    trials = [trial(i, model=model) for i, model in enumerate(models)]
    odd, other, plain = here.ways(trials, "cuda", "auto").values()
    assert here.is_spoilt
    assert (plain.engine, odd.engine, other.engine) == ("captured", "captured", "eager")
    assert other.reason == "not tried: a graph of another kind failed"


def test_an_engine_that_is_asked_for_is_taken_where_it_can_be() -> None:
    trials = [trial(0), trial(1, model=f"{__name__}:odd")]
    able, unable = ENGINES.ways(trials, "cpu", "stacked:3").values()
    assert able == EnginePlan(engine="stacked", trials=3)
    assert (unable.engine, unable.trials) == ("eager", 1)
    assert "cannot be stacked" in str(unable.measured["stacked:3"])
    assert not ENGINES.is_spoilt
    with pytest.raises(ExecutorError, match="captured needs a CUDA device"):
        ENGINES.ways(trials, "cpu", "captured")


def test_an_engine_that_is_asked_for_is_tried_with_a_model_from_elsewhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(engine: Engine, job: Job, data: TensorData) -> str | None:
        if job.model == f"{__name__}:odd":
            raise RuntimeError("cannot\nbe captured")
        return None

    monkeypatch.setattr(image_engines, "unusable_reason", refuse)
    here = ImageEngines(_job, lambda trial, device: small())
    models = ("vitp-nano", f"{__name__}:odd", f"{__name__}:other", "vitc-nano")
    ways = list(
        here.ways([trial(i, model=m) for i, m in enumerate(models)], "cuda", "captured").values()
    )
    assert [way.engine for way in ways] == ["captured", "eager", "eager", "captured"]
    assert ways[1].reason == "RuntimeError: cannot be captured"
    assert here.is_spoilt


def test_who_is_alike_hangs_on_the_engine() -> None:
    def alike(engine: str, one: Trial, other: Trial) -> bool:
        return ENGINES.cohort_key(one, engine) == ENGINES.cohort_key(other, engine)

    drawn = {"lr": 0.3, "weight_decay": 0.01}
    for engine in ("stacked", "streams", "captured+compile"):
        assert alike(engine, trial(0), trial(1, settings=drawn))
        assert not alike(engine, trial(0), trial(1, settings={"batch_size": 64}))
        for field, value in (("model", "vitc-nano"), ("epochs", 2), ("optim", "adamw")):
            assert not alike(engine, trial(0), trial(1, **{field: value}))
    momentum = trial(1, settings={"momentum": 0.5})
    assert alike("stacked", trial(0), momentum)
    assert not alike("streams", trial(0), momentum)
