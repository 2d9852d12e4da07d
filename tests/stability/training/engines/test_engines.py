"""The engines: names, side by side in threads, graphs that are kept."""

from collections.abc import Callable
from dataclasses import replace
from threading import get_ident
from typing import Any

import pytest
import torch
from trainings import job, small

from stability.training.engines import train_with as engines
from stability.training.engines.captured import CapturedStepRunner, graph_kind
from stability.training.engines.names import (
    ENGINE_NAMES,
    GAIN,
    Engine,
    device_fault,
    fastest,
    parse_engine,
)
from stability.training.engines.train_with import (
    GRAPHS,
    KINDS_KEPT,
    GraphCache,
    prepare,
    side_by_side,
    train_with,
)
from stability.training.loop import Epoch, Job, train
from stability.training.outcome import Training
from stability.training.tensors import TensorData


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
        parse_engine(text)


def test_names_come_back_as_they_were_typed() -> None:
    assert [str(parse_engine(name)) for name in ENGINE_NAMES] == [
        "eager",
        "captured",
        "captured+compile",
        "streams:4",
        "streams+compile:4",
        "stacked:16",
    ]
    assert parse_engine(str(parse_engine("stacked:64"))) == Engine("stacked", 64)
    on_cpu = {name: device_fault(parse_engine(name), "cpu") is None for name in ENGINE_NAMES}
    assert [name for name, works in on_cpu.items() if works] == ["eager", "stacked"]
    assert all(device_fault(parse_engine(name), "cuda") is None for name in ENGINE_NAMES)


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


def runners(count: int) -> list[CapturedStepRunner]:
    return [CapturedStepRunner(graph_kind(job()), small(), capture=False) for _ in range(count)]


def test_side_by_side_gives_what_one_after_the_other_gives() -> None:
    jobs = [job(lr=lr, seed=seed) for seed, lr in enumerate((0.05, 1e30, 0.02))]
    threads = set()
    rows: list[list[Epoch]] = [[], [], []]

    def on_epoch(i: int, row: Epoch) -> None:
        threads.add(get_ident())
        rows[i].append(replace(row, seconds=0.0))

    found = dict(side_by_side(jobs, small(), on_epoch, runners(3), [None] * 3))
    assert len(threads) == 3
    for i, one in enumerate(jobs):
        alone: list[Epoch] = []
        assert found[i] == train(one, small(), alone.append, runner=runners(1)[0])
        assert rows[i] == [replace(row, seconds=0.0) for row in alone]


def test_side_by_side_an_error_waits_for_the_others() -> None:
    jobs = [job(seed=seed, epochs=1 + seed) for seed in range(2)]

    def on_epoch(i: int, row: Epoch) -> None:
        if i == 0 and row.epoch == 1:
            raise OSError("no more")

    found: list[tuple[int, Training]] = []
    with pytest.raises(OSError, match="no more"):
        found.extend(side_by_side(jobs, small(), on_epoch, runners(2), [None] * 2))
    assert [i for i, _ in found] == [1]


def test_side_by_side_ends_when_nobody_listens_any_more() -> None:
    jobs = [job(seed=0, epochs=1), job(seed=1, epochs=10_000)]
    trainings = side_by_side(jobs, small(), lambda i, row: None, runners(2), [None] * 2)
    assert next(trainings)[0] == 0
    trainings.close()  # returns: the other one stops at its next epoch


Captures = Callable[[], list[tuple[int, bool]]]


@pytest.fixture
def captures(monkeypatch: pytest.MonkeyPatch) -> Captures:
    """Batch size of each runner that is made, and whether it is compiled."""
    made: list[tuple[int, bool]] = []

    class Counted(CapturedStepRunner):
        def __init__(self, kind: Job, data: TensorData, *, compiled: bool = False) -> None:
            made.append((kind.recipe.batch_size, compiled))
            super().__init__(kind, data, capture=False)

    monkeypatch.setattr("stability.training.engines.train_with.CapturedStepRunner", Counted)
    return lambda: [made.pop(0) for _ in range(len(made))]


def kind(batch: int) -> Job:
    return graph_kind(job(batch_size=batch))


def test_graphs_of_a_few_kinds_are_kept(captures: Captures) -> None:
    kept, data = GraphCache(), small()
    two = list(kept.of(kind(1), data, 2, compiled=False))
    assert list(kept.of(kind(1), data, 1, compiled=False)) == two[:1]
    assert list(kept.of(kind(1), data, 3, compiled=False))[:2] == two
    assert captures() == [(1, False)] * 3
    for _ in range(3):  # a design goes draw by draw, its models side by side
        for batch in range(1, KINDS_KEPT + 1):
            kept.of(kind(batch), data, 1, compiled=False)
    assert [batch for batch, _ in captures()] == list(range(2, KINDS_KEPT + 1))
    kept.of(kind(1), data, 1, compiled=False)
    kept.of(kind(2), data, 1, compiled=True)  # the least recently used goes: 2
    for batch in (1, *range(3, KINDS_KEPT + 1), 2):
        kept.of(kind(batch), data, 1, compiled=False)
    assert captures() == [(2, True), (2, False)]
    kept.clear()
    kept.of(kind(2), data, 1, compiled=False)
    assert captures() == [(2, False)]


def test_trials_of_alternating_kinds_are_captured_once(captures: Captures) -> None:
    jobs = [job(batch_size=8 + 8 * (i % 2), seed=i, epochs=1) for i in range(6)]
    try:
        assert len(list(train_with("captured", jobs, small(), lambda i, row: None))) == 6
    finally:
        GRAPHS.clear()
    assert captures() == [(8, False), (16, False)]


def test_on_a_full_device_other_kinds_make_room_once(
    captures: Captures, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, data = GraphCache(), small()
    kept.of(kind(1), data, 1, compiled=False)
    kept.of(kind(2), data, 1, compiled=False)
    plain, refusals = engines.CapturedStepRunner, [1]

    def full(*args: Any, **kwargs: Any) -> CapturedStepRunner:
        if refusals:
            refusals.pop()
            raise torch.OutOfMemoryError("full")
        return plain(*args, **kwargs)

    monkeypatch.setattr(engines, "CapturedStepRunner", full)
    assert len(kept.of(kind(3), data, 2, compiled=False)) == 2
    assert [batch for batch, _ in captures()] == [1, 2, 3, 3]
    kept.of(kind(2), data, 1, compiled=False)
    assert [batch for batch, _ in captures()] == [2]
    refusals.extend([1, 1])
    with pytest.raises(torch.OutOfMemoryError):
        kept.of(kind(4), data, 1, compiled=False)
    assert refusals == []


def test_what_was_captured_is_freed_where_it_is_asked_for_alone(
    captures: Captures, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A graph holds itself; to look for such things takes long."""
    collected = []
    monkeypatch.setattr("gc.collect", lambda: collected.append("now"))
    kept = GraphCache()
    for _ in range(2):
        kept.of(kind(1), small(), 1, compiled=False)
    assert collected == []
    kept.clear()
    kept.clear()  # a stack leaves a graph too, of which nothing is kept
    assert len(collected) == 2


def test_what_a_graph_keeps_is_made_ready(captures: Captures) -> None:
    jobs = [job(seed=i) for i in range(3)]
    for engine, count in (("eager", 0), ("stacked", 0), ("captured", 1), ("streams", 3)):
        try:
            prepare(engine, jobs, small())
        finally:
            GRAPHS.clear()
        assert len(captures()) == count


def test_streams_take_one_kind_and_engines_have_names() -> None:
    with pytest.raises(ValueError, match="of several kinds"):
        list(train_with("streams", [job(), job(batch_size=8)], small(), lambda i, row: None))
    with pytest.raises(ValueError, match="needs a CUDA device"):
        list(train_with("captured", [job()], small(), lambda i, row: None))
    with pytest.raises(KeyError):
        list(train_with("fast", [job()], small(), lambda i, row: None))
