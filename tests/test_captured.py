"""The step that is captured does what the eager step does; recorded and done again, it still does.

The capture itself needs a GPU: tests/test_cuda.py.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from cohorts import in_double, same_numbers
from nets import apart, restless
from recording import Recording, recorded_rig
from trainings import job, small

from stability.training import captured, loop
from stability.training.captured import CapturedRig, captured_step, is_whole, kind_of
from stability.training.cohort import train_cohort
from stability.training.loop import Beside, Epoch, Job, Rig, train
from stability.training.outcome import Training
from stability.training.schedule import lr_at
from stability.training.tensors import TensorData

RECIPES: dict[str, dict[str, Any]] = {
    "sgd": {},
    "adamw": {"optimizer": "adamw", "weight_decay": 0.3},
    "clip": {"clip": 0.5, "momentum": 0.0, "nesterov": False},
    "averaged": {"ema": 0.005, "ema_period": 2},
    "crops": {"flip": 0.5, "crop_padding": 2, "optimizer": "adamw"},
    "mixed": {"mixup": 0.8, "cutmix": 1.0, "crop_area": 0.3, "flip": 0.5},
    "autoaugment": {"autoaugment": True},
    "batchnorm": {"model": "regnety-nano", "lr": 0.005, "precise_bn": 40},
    "bfloat16": {},
}


def of(name: str, **changes: Any) -> Job:
    """Three epochs: 12 steps, warm-up and cosine."""
    one = job(**{"epochs": 3} | RECIPES[name] | changes)
    return replace(one, precision="bfloat16") if name == "bfloat16" else one


class Eager(Rig):
    """As `Rig`; the model that it trained is kept."""

    def fresh(self, *args: Any) -> Any:
        self._model, optimizer = super().fresh(*args)
        return self._model, optimizer


def followed(
    job: Job, rig: CapturedRig | Eager | None = None, data: TensorData | None = None
) -> tuple[list[Epoch], Training]:
    rows: list[Epoch] = []
    return rows, train(job, data or small(), rows.append, rig=rig)


def used(name: str, data: TensorData) -> CapturedRig:
    """A recorded rig that has trained another trial: what stayed of that, only tensors may undo."""
    other = of(name, lr=0.03, weight_decay=0.01, seed=8, epochs=1)
    rig = recorded_rig(kind_of(of(name)), data)
    train(other, data, rig=rig)
    return rig


@pytest.mark.parametrize("name", [name for name in RECIPES if name != "bfloat16"])
def test_a_recorded_step_trains_what_the_eager_one_does(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over a whole schedule, rows and weights; in double precision, which shows all the rest."""
    data = in_double(monkeypatch)
    monkeypatch.setattr(loop, "lr_at", lambda *a: float(np.float32(lr_at(*a))))  # as `_lrs` is
    rig, eager = used(name, data), Eager()
    expected, ended = followed(of(name), eager, data)
    rows, found = followed(of(name), rig, data)
    assert len(rows) == len(expected) == 4
    for mine, theirs in zip(rows, expected, strict=True):
        same_numbers(mine, theirs, rel=1e-7)
    assert (found.raw_test is None) == (ended.raw_test is None) == (name != "averaged")
    for mine, theirs in ((found.test, ended.test), (found.raw_test, ended.raw_test)):
        if theirs is not None:
            assert mine.wrong == theirs.wrong
            assert mine.loss == pytest.approx(theirs.loss, rel=1e-7)
    weights = eager._model.state_dict()
    for path, value in rig._model.state_dict().items():
        assert apart(value, weights[path]) < 1e-7, path


def test_in_bfloat16_a_recorded_step_is_as_near_as_rounding_allows() -> None:
    """Four times as far as two eager trainings are whose weights began 1e-7 apart.

    Those differ by 4e-4 in the losses, 6e-4 in the gradients, and 5e-2 in the first layer's; and
    by one image.
    """
    expected, ended = followed(of("bfloat16"))
    rows, found = followed(of("bfloat16"), used("bfloat16", small()))
    for mine, theirs in zip(rows, expected, strict=True):
        assert mine.lr == theirs.lr
        assert mine.loss == pytest.approx(theirs.loss, rel=1.6e-3)
        if mine.epoch > 0:
            assert mine.train_loss == pytest.approx(theirs.train_loss, rel=1.6e-3)
            assert mine.grad_norm == pytest.approx(theirs.grad_norm, rel=2.4e-3)
            assert mine.grad_norm_first_layer == pytest.approx(
                theirs.grad_norm_first_layer, rel=0.2
            )
    assert abs(found.test.wrong - ended.test.wrong) <= 4


@pytest.mark.parametrize("model", ["vitp-nano", "vitc-nano", "regnety-nano"])
@pytest.mark.parametrize("name", ["sgd", "clip", "crops", "mixed"])
def test_gradients_of_the_first_step_in_single_precision(
    name: str, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of each parameter to 1e-5, by a step that another trial has taken before."""
    monkeypatch.setattr(loop, "build", restless)
    # One step an epoch. Without decay, which SGD would have in the gradients.
    one = of(name, model=model, batch_size=64, weight_decay=0.0)
    other = of(name, model=model, batch_size=64, lr=0.03, weight_decay=0.01, seed=8)
    rig, eager = recorded_rig(kind_of(one)), Eager()
    first_step(other, rig)
    first_step(one, rig)
    first_step(one, eager)
    found = dict(rig._model.named_parameters())
    for path, parameter in eager._model.named_parameters():
        assert float(parameter.grad.norm()) > 0, path
        assert apart(found[path].grad, parameter.grad) < 1e-5, path


def first_step(one: Job, rig: Rig) -> None:
    live = loop.fresh(one, small(), rig)
    beside = Beside(10, live.streams, live.watch, live.average, one.precision)
    rig.epoch(live.model, live.optimizer, small().train, one.recipe, [one.recipe.lr], beside)


def test_one_rig_gives_a_trial_the_same_bits_whatever_came_before() -> None:
    rig = CapturedRig(kind_of(of("adamw")), small(), capture=False)
    first = followed(of("adamw"), rig)
    followed(of("adamw", lr=1e6, seed=5), rig)  # diverges: NaN in every tensor
    again = followed(of("adamw"), rig)
    assert [replace(row, seconds=0.0) for row in first[0]] == [
        replace(row, seconds=0.0) for row in again[0]
    ]
    assert first[1] == again[1]


def test_a_divergence_is_told_with_its_step() -> None:
    wild = of("sgd", lr=1e20)
    rig = CapturedRig(kind_of(wild), small(), capture=False)
    eager, mine = train(wild, small()), train(wild, small(), rig=rig)
    assert mine.outcome == eager.outcome == "diverged"
    assert mine.diverged_at == eager.diverged_at


def test_what_a_graph_hangs_on_and_what_it_does_not() -> None:
    one = job()
    free = {"lr": 9.0, "weight_decay": 0.5, "warmup": 0.3, "floor": 0.1, "ema": 0.1, "seed": 5}
    assert kind_of(job(**free, epochs=9)) == kind_of(one)
    for held in ({"batch_size": 8}, {"momentum": 0.8}, {"clip": 1.0}, {"flip": 0.5}):
        assert kind_of(job(**held)) != kind_of(one)
    assert kind_of(replace(one, precision="bfloat16")) != kind_of(one)
    assert [is_whole(of(name).recipe) for name in ("crops", "mixed", "autoaugment")] == [
        True,
        False,
        False,
    ]


def test_a_rig_refuses_what_it_was_not_made_for() -> None:
    with pytest.raises(ValueError, match="needs a CUDA device, the data are on cpu"):
        CapturedRig(kind_of(job()), small())
    rig = CapturedRig(kind_of(job()), small(), capture=False)
    with pytest.raises(ValueError, match="this graph is of"):
        train(job(batch_size=8), small(), rig=rig)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_a_recorded_stack_trains_what_it_trains_step_by_step(
    optimizer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three trials, one of which diverges; what the warm-up of a capture changes is put back."""
    lrs = [0.05, 1e30, 0.02] if optimizer == "sgd" else [1e-3, 1e30, 3e-3]
    jobs = [job(optimizer=optimizer, lr=lr, seed=i, flip=0.5) for i, lr in enumerate(lrs)]

    def recorded(step: Any, at: torch.Tensor) -> Any:
        for _ in range(3):
            at.zero_()
            step()
        at.zero_()
        recording = Recording(step)
        assert recording.waits == []
        return recording.replay

    monkeypatch.setattr(captured, "recorded", recorded)
    told: dict[str, list[tuple[int, float]]] = {"plain": [], "graph": []}
    plain = dict(
        train_cohort(jobs, small(), lambda i, row: told["plain"].append((i, round(row.loss, 5))))
    )
    graph = dict(
        train_cohort(
            jobs,
            small(),
            lambda i, row: told["graph"].append((i, round(row.loss, 5))),
            prepare=captured_step,
        )
    )
    assert graph == plain
    assert told["graph"] == told["plain"]
    assert graph[1].outcome == "diverged"
