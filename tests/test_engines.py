"""The engines: names, side by side in threads, and the choice among what was measured."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from threading import get_ident
from typing import Any

import pytest
import torch
from test_objective import trial
from trainings import job, small

from stability import image_engines
from stability.image_engines import MEASURED_KINDS, ImageEngines
from stability.objective import _data, _job
from stability.training import choice
from stability.training.captured import CapturedRig, kind_of
from stability.training.choice import candidates, measured, seconds_of, shortened
from stability.training.engine_names import GAIN, NAMES, Engine, fastest, fault, parse
from stability.training.engines import Rigs, side_by_side, train_with
from stability.training.loop import Epoch, Job, train
from stability.training.outcome import Training
from stability.training.tensors import TensorData
from sweeps.engine import Settled, Way
from sweeps.errors import DispatchError
from sweeps.trial import Trial


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("stcked", "allowed is auto, eager, captured"),
        ("eager:2", "eager trains one at a time: no number"),
        ("stacked:0", "allowed is stacked:K with K from 1 to 1024"),
        ("stacked:1025", "K from 1 to 1024"),
        ("streams:", "K from 1"),
        ("stacked:2²", "K from 1"),
        ("stacked+compile", "allowed is auto"),
    ],
)
def test_a_wrong_name_is_answered_with_what_is_allowed(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse(text)


def test_names_come_back_as_they_were_typed() -> None:
    assert [str(parse(name)) for name in NAMES] == [
        "eager",
        "captured",
        "captured+compile",
        "streams:4",
        "streams+compile:4",
        "stacked:16",
    ]
    assert parse(str(parse("stacked:64"))) == Engine("stacked", 64)
    on_cpu = {name: fault(parse(name), "cpu") is None for name in NAMES}
    assert [name for name, works in on_cpu.items() if works] == ["eager", "stacked"]
    assert all(fault(parse(name), "cuda") is None for name in NAMES)


def test_stacked_is_taken_only_where_it_gains_enough() -> None:
    found: dict[str, float | str] = {"eager": 8.0, "captured": 2.6, "streams:2": 2.0}
    just_enough = 2.0 / GAIN
    assert str(fastest({**found, "stacked:4": just_enough})) == "stacked:4"
    assert str(fastest({**found, "stacked:4": just_enough * 1.001})) == "streams:2"
    best = {**found, "stacked:4": 1.9, "stacked:16": 1.0, "stacked:64": 1.1}
    assert str(fastest(best)) == "stacked:16"
    failed = dict.fromkeys(best, "OutOfMemoryError: too much")
    assert str(fastest(failed)) == "eager"
    assert str(fastest({**failed, "stacked:4": 9.0})) == "stacked:4"


def test_no_more_at_a_time_is_measured_than_there_are_trials() -> None:
    def names(trials: int) -> list[list[str]]:
        return [list(map(str, ladder)) for ladder in candidates(trials)]

    assert names(1) == [["eager"], ["captured"]]
    assert names(5) == [["eager"], ["captured"], ["streams:2", "streams:4"], ["stacked:4"]]
    assert names(64)[-1] == ["stacked:4", "stacked:16", "stacked:64"]


def test_a_ladder_is_climbed_while_it_gets_faster_and_a_fault_is_noted() -> None:
    asked: list[str] = []
    takes = {"eager": 8.0, "captured": 2.0, "streams:2": 1.99, "stacked:4": 3.0, "stacked:16": 1.0}

    def measure(engine: Engine, job: Job, data: TensorData) -> float:
        asked.append(str(engine))
        if str(engine) == "stacked:64":
            raise torch.OutOfMemoryError("CUDA out of\nmemory")
        return takes.get(str(engine), 1.95)

    found = measured(job(), small(), 64, measure)
    assert asked == [
        "eager", "captured", "streams:2", "streams:4", "stacked:4", "stacked:16", "stacked:64"
    ]  # fmt: skip
    assert found["stacked:64"] == "OutOfMemoryError: CUDA out of memory"
    assert str(fastest(found)) == "stacked:16"
    takes |= {"streams:4": 1.5, "stacked:16": 2.9}
    asked.clear()
    measured(job(), small(), 64, measure)
    assert asked[-1] == "stacked:16"  # 3% faster than 4: no further


def test_what_cannot_be_stacked_is_not_measured_stacked() -> None:
    mixed = replace(job(), model="test_engines:odd")
    found = measured(mixed, small(), 64, lambda engine, job, data: float(engine.trials))
    assert isinstance(found["stacked:4"], str)
    assert "cannot be stacked" in found["stacked:4"]
    assert "stacked:16" not in found


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


@pytest.mark.parametrize("engine", ["eager", "stacked:2"])
def test_the_measurement_finds_what_a_step_costs(
    engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A clock that advances by the steps that are taken, and by much that is paid once."""
    now = [0.0]

    def pretend(
        name: str, jobs: Sequence[Job], data: TensorData, on_epoch: Callable[[int, Epoch], None]
    ) -> Any:
        steps = len(data.train) // jobs[0].recipe.batch_size
        now[0] += 100 + 0.25 * steps * jobs[0].epochs * len(jobs)
        yield from ()

    monkeypatch.setattr(choice, "train_with", pretend)
    monkeypatch.setattr("time.process_time", lambda: now[0])
    assert seconds_of(parse(engine), job(), small()) == pytest.approx(0.25)


def test_the_measurement_of_a_real_step() -> None:
    seconds = seconds_of(parse("eager"), job(model="vitp-nano", batch_size=4), small())
    assert 1e-4 < seconds < 1


def test_data_are_cut_or_repeated_for_the_measurement() -> None:
    short = shortened(small(), 100)
    assert (len(short.train), len(short.validation), len(short.test)) == (100, 30, 40)
    assert torch.equal(short.train.images[75], small().train.images[0])


def rigs(count: int) -> list[CapturedRig]:
    return [CapturedRig(kind_of(job()), small(), capture=False) for _ in range(count)]


def test_side_by_side_gives_what_one_after_the_other_gives() -> None:
    jobs = [job(lr=lr, seed=seed) for seed, lr in enumerate((0.05, 1e30, 0.02))]
    threads = set()
    rows: list[list[Epoch]] = [[], [], []]

    def on_epoch(i: int, row: Epoch) -> None:
        threads.add(get_ident())
        rows[i].append(replace(row, seconds=0.0))

    found = dict(side_by_side(jobs, small(), on_epoch, rigs(3), [None] * 3))
    assert len(threads) == 3
    for i, one in enumerate(jobs):
        alone: list[Epoch] = []
        assert found[i] == train(one, small(), alone.append, rig=rigs(1)[0])
        assert rows[i] == [replace(row, seconds=0.0) for row in alone]


def test_side_by_side_an_error_waits_for_the_others() -> None:
    jobs = [job(seed=seed, epochs=1 + seed) for seed in range(2)]

    def on_epoch(i: int, row: Epoch) -> None:
        if i == 0 and row.epoch == 1:
            raise OSError("no more")

    found: list[tuple[int, Training]] = []
    with pytest.raises(OSError, match="no more"):
        found.extend(side_by_side(jobs, small(), on_epoch, rigs(2), [None] * 2))
    assert [i for i, _ in found] == [1]


def test_side_by_side_ends_when_nobody_listens_any_more() -> None:
    jobs = [job(seed=0, epochs=1), job(seed=1, epochs=10_000)]
    trainings = side_by_side(jobs, small(), lambda i, row: None, rigs(2), [None] * 2)
    assert next(trainings)[0] == 0
    trainings.close()  # returns: the other one stops at its next epoch


def test_graphs_of_one_kind_are_kept_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Job] = []

    class Counted(CapturedRig):
        def __init__(self, kind: Job, data: TensorData, *, compiled: bool = False) -> None:
            made.append(kind)
            super().__init__(kind, data, capture=False)

    monkeypatch.setattr("stability.training.engines.CapturedRig", Counted)
    kept, data = Rigs(), small()
    one, other = kind_of(job()), kind_of(job(batch_size=8))
    two = list(kept.of(one, data, 2, compiled=False))
    assert list(kept.of(one, data, 1, compiled=False)) == two[:1]
    assert kept.of(one, data, 3, compiled=False)[:2] == two
    assert made == [one] * 3
    kept.of(other, data, 1, compiled=False)
    kept.of(one, data, 1, compiled=False)
    assert made == [one] * 3 + [other, one]


def test_streams_take_one_kind_and_engines_have_names() -> None:
    with pytest.raises(ValueError, match="of several kinds"):
        list(train_with("streams", [job(), job(batch_size=8)], small(), lambda i, row: None))
    with pytest.raises(ValueError, match="needs a CUDA device"):
        list(train_with("captured", [job()], small(), lambda i, row: None))
    with pytest.raises(KeyError):
        list(train_with("fast", [job()], small(), lambda i, row: None))


ENGINES = ImageEngines(_job, _data)


def test_on_a_cpu_nothing_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_engines, "measured", None)
    trials = [trial(0), trial(1, model="vitc-nano")]
    kinds = [ENGINES.kind(one) for one in trials]
    assert kinds == ["vitp-nano, sgd, batch 256", "vitc-nano, sgd, batch 256"]
    assert ENGINES.ways(trials, "cpu", "auto") == {}
    assert Settled(device="cpu").way(kinds[0]) == Way()  # one by one


def test_on_a_gpu_each_kind_is_measured_and_has_its_own_engine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = []

    def pretend(job: Job, data: TensorData, trials: int) -> dict[str, float | str]:
        asked.append((job.model, job.recipe.batch_size, trials))
        stacked = 0.001 if job.model == "vitp-nano" else 0.0019
        return {"eager": 0.008, "captured": 0.002, "stacked:16": stacked, "streams:2": "no"}

    monkeypatch.setattr(image_engines, "measured", pretend)
    engines = ImageEngines(_job, lambda trial, device: small())
    trials = [trial(i, model=model) for i in range(3) for model in ("vitp-nano", "vitc-nano")]
    ways = engines.ways(trials, "cuda", "auto")
    assert asked == [("vitp-nano", 256, 3), ("vitc-nano", 256, 3)]
    assert [(way.engine, way.trials) for way in ways.values()] == [("stacked", 16), ("captured", 1)]
    first = next(iter(ways.values()))
    assert first.measured == {"eager": 8.0, "captured": 2.0, "stacked:16": 1.0, "streams:2": "no"}


def test_of_many_kinds_the_first_are_measured_and_the_others_do_as_the_nearest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def pretend(job: Job, data: TensorData, trials: int) -> dict[str, float | str]:
        return {"eager": 1.0, "captured": 0.5 if job.recipe.batch_size > 60 else 2.0}

    monkeypatch.setattr(image_engines, "measured", pretend)
    engines = ImageEngines(_job, lambda trial, device: small())
    batches = [10 * i for i in range(1, MEASURED_KINDS + 1)] + [33, 99]
    trials = [trial(b, settings={"batch_size": b}) for b in batches]
    ways = list(engines.ways(trials, "cuda", "auto").values())
    assert [way.engine for way in ways] == ["eager"] * 6 + ["captured"] * 2 + ["eager", "captured"]
    assert [bool(way.measured) for way in ways] == [True] * MEASURED_KINDS + [False] * 2


def test_an_engine_that_is_asked_for_is_taken_where_it_can_be() -> None:
    trials = [trial(0), trial(1, model="test_engines:odd")]
    able, unable = ENGINES.ways(trials, "cpu", "stacked:3").values()
    assert able == Way(engine="stacked", trials=3)
    assert (unable.engine, unable.trials) == ("eager", 1)
    assert "cannot be stacked" in str(unable.measured["stacked:3"])
    with pytest.raises(DispatchError, match="captured needs a CUDA device"):
        ENGINES.ways(trials, "cpu", "captured")


def test_who_is_alike_hangs_on_the_engine() -> None:
    def alike(engine: str, one: Trial, other: Trial) -> bool:
        return ENGINES.alike(one, engine) == ENGINES.alike(other, engine)

    drawn = {"lr": 0.3, "weight_decay": 0.01}
    for engine in ("stacked", "streams", "captured+compile"):
        assert alike(engine, trial(0), trial(1, settings=drawn))
        assert not alike(engine, trial(0), trial(1, settings={"batch_size": 64}))
        for field, value in (("model", "vitc-nano"), ("epochs", 2), ("optim", "adamw")):
            assert not alike(engine, trial(0), trial(1, **{field: value}))
    momentum = trial(1, settings={"momentum": 0.5})
    assert alike("stacked", trial(0), momentum)
    assert not alike("streams", trial(0), momentum)
