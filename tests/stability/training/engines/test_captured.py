"""The step that is captured does what the eager step does; recorded and done again, it still does.

The capture itself needs a GPU: tests/gpu/test_cuda.py.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from cohorts import cohort_of, in_double, same_numbers
from nets import apart, restless
from recording import Recording, recorded_runner
from torch import nn
from trainings import job, small

from stability.training import loop
from stability.training.engines import captured
from stability.training.engines.captured import CapturedStepRunner, captured_step, graph_kind
from stability.training.engines.cohort import train_cohort
from stability.training.engines.epoch_batches import is_whole
from stability.training.engines.stack import Stack
from stability.training.loop import Epoch, Job, StepRunner, train
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


class Eager(StepRunner):
    """As `StepRunner`; the model that it trained is kept."""

    def initial_model(self, *args: Any) -> Any:
        self._model, optimizer = super().initial_model(*args)
        return self._model, optimizer


def followed(
    job: Job, runner: CapturedStepRunner | Eager | None = None, data: TensorData | None = None
) -> tuple[list[Epoch], Training]:
    rows: list[Epoch] = []
    return rows, train(job, data or small(), rows.append, runner=runner)


def used(name: str, data: TensorData) -> CapturedStepRunner:
    """A recorded runner that has trained another trial: only tensors may undo what stayed."""
    other = of(name, lr=0.03, weight_decay=0.01, seed=8, epochs=1)
    runner = recorded_runner(graph_kind(of(name)), data)
    train(other, data, runner=runner)
    return runner


@pytest.mark.parametrize("name", [name for name in RECIPES if name != "bfloat16"])
def test_a_recorded_step_trains_what_the_eager_one_does(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over a whole schedule, rows and weights; in double precision, which shows all the rest."""
    data = in_double(monkeypatch)
    monkeypatch.setattr(loop, "lr_at", lambda *a: float(np.float32(lr_at(*a))))  # as `_lrs` is
    runner, eager = used(name, data), Eager()
    expected, ended = followed(of(name), eager, data)
    rows, found = followed(of(name), runner, data)
    assert len(rows) == len(expected) == 4
    for mine, theirs in zip(rows, expected, strict=True):
        same_numbers(mine, theirs, rel=1e-7)
    assert (found.raw_test is None) == (ended.raw_test is None) == (name != "averaged")
    for mine, theirs in ((found.test, ended.test), (found.raw_test, ended.raw_test)):
        if theirs is not None:
            assert mine.wrong == theirs.wrong
            assert mine.loss == pytest.approx(theirs.loss, rel=1e-7)
    weights = eager._model.state_dict()
    for path, value in runner._model.state_dict().items():
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
    runner, eager = recorded_runner(graph_kind(one)), Eager()
    first_step(other, runner)
    first_step(one, runner)
    first_step(one, eager)
    found = dict(runner._model.named_parameters())
    for path, parameter in eager._model.named_parameters():
        assert float(parameter.grad.norm()) > 0, path
        assert apart(found[path].grad, parameter.grad) < 1e-5, path


def first_step(one: Job, runner: StepRunner) -> None:
    runner.epoch(loop.initial_state(one, small(), runner), small(), [one.recipe.lr])


def test_one_rig_gives_a_trial_the_same_bits_whatever_came_before() -> None:
    runner = CapturedStepRunner(graph_kind(of("adamw")), small(), capture=False)
    first = followed(of("adamw"), runner)
    followed(of("adamw", lr=1e6, seed=5), runner)  # diverges: NaN in every tensor
    again = followed(of("adamw"), runner)
    assert [replace(row, seconds=0.0) for row in first[0]] == [
        replace(row, seconds=0.0) for row in again[0]
    ]
    assert first[1] == again[1]


class Tiring(nn.Module):
    """Learns less with each step; what it counts by is not in its state."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(1024, 10)
        self.register_buffer("strength", torch.ones(()), persistent=False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if self.training:
            self.strength.mul_(0.7)
        return self.head(images.flatten(1)) * self.strength


def test_what_a_model_keeps_out_of_its_state_is_not_left_to_the_next_trial(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def tiring(*args: Any, generator: torch.Generator, **kwargs: Any) -> nn.Module:
        model = Tiring()
        nn.init.normal_(model.head.weight, std=0.1, generator=generator)
        nn.init.zeros_(model.head.bias)
        return model

    monkeypatch.setattr(loop, "build", tiring)
    runner = recorded_runner(graph_kind(job()))
    rows = [[row.loss for row in followed(job(), each)[0]] for each in (None, runner, runner)]
    assert rows[1] == pytest.approx(rows[0], rel=1e-5)
    assert rows[2] == rows[1]


def test_a_divergence_is_told_with_its_step() -> None:
    wild = of("sgd", lr=1e20)
    runner = CapturedStepRunner(graph_kind(wild), small(), capture=False)
    eager, mine = train(wild, small()), train(wild, small(), runner=runner)
    assert mine.outcome == eager.outcome == "diverged"
    assert mine.diverged_at == eager.diverged_at


def test_what_a_graph_hangs_on_and_what_it_does_not() -> None:
    one = job()
    free = {"lr": 9.0, "weight_decay": 0.5, "warmup": 0.3, "floor": 0.1, "ema": 0.1, "seed": 5}
    assert graph_kind(job(**free, epochs=9)) == graph_kind(one)
    for held in ({"batch_size": 8}, {"momentum": 0.8}, {"clip": 1.0}, {"flip": 0.5}):
        assert graph_kind(job(**held)) != graph_kind(one)
    assert graph_kind(replace(one, precision="bfloat16")) != graph_kind(one)
    assert [is_whole(of(name).recipe) for name in ("crops", "mixed", "autoaugment")] == [
        True,
        False,
        False,
    ]


def test_a_rig_refuses_what_it_was_not_made_for() -> None:
    with pytest.raises(ValueError, match="needs a CUDA device, the data are on cpu"):
        CapturedStepRunner(graph_kind(job()), small())
    runner = CapturedStepRunner(graph_kind(job()), small(), capture=False)
    with pytest.raises(ValueError, match="this graph is of"):
        train(job(batch_size=8), small(), runner=runner)


def stack_of(jobs: list[Job]) -> Stack:
    """Ready for the first step, which does not move the weights."""
    made = cohort_of(jobs)
    made.stack.begin_epoch(
        [[0.0] * len(jobs)] * made.stack.steps, [slot.streams for slot in made.slots]
    )
    nn.init.normal_(made.stack.weights.module.head.weight)
    return made.stack


@pytest.mark.parametrize(
    ("name", "settings"),
    [("rows", {}), ("corners", {"crop_padding": 2}), ("mirrors", {"flip": 0.5})],
)
def test_a_batch_of_a_stack_is_made_inside_its_step(name: str, settings: dict[str, Any]) -> None:
    """Recorded operations read what was drawn: changed for one trial, it trains on other images."""
    stack = stack_of([job(model="vitp-nano", seed=i, **settings) for i in range(2)])
    recording = Recording(stack.step)
    assert recording.waits == []
    before = stack.tables.losses[0].tolist()
    drawn = getattr(stack.batches, name)
    mine = drawn.movedim(-2 if name == "corners" else -1, 0)[: stack.batch]
    mine.copy_(mine == 0)
    stack.tables.at.zero_()
    recording.replay()
    after = stack.tables.losses[0].tolist()
    assert after[0] != pytest.approx(before[0], rel=1e-3)
    assert after[1] == pytest.approx(before[1], rel=1e-6)


def test_a_capture_leaves_a_stack_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights, memories, who is alive, and what a module of one's own counts."""
    monkeypatch.setattr(captured, "recorded", lambda step, at: [step() for _ in range(3)])
    stack = stack_of([job(model="regnety-nano", seed=i) for i in range(2)])
    stack.tables.lrs.fill_(1e30)
    module = stack.weights.module
    module.stem.register_buffer("seen", torch.zeros((), dtype=torch.int64), persistent=False)
    module.stem.register_forward_hook(lambda stem, images, out: stem.seen.add_(1) and None)
    kept = [*module.parameters(), *module.buffers(), *stack.optimizer.memories, stack.alive]
    before = [tensor.clone() for tensor in kept]
    captured_step(stack)
    assert int(stack.tables.at) == 0
    for tensor, value in zip(kept, before, strict=True):
        assert torch.equal(tensor, value)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_a_recorded_stack_trains_what_it_trains_step_by_step(
    optimizer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three trials, one of which diverges; what the warm-up of a capture changes is put back."""
    lrs = [0.05, 1e30, 0.02] if optimizer == "sgd" else [1e-3, 1e30, 3e-3]
    augmented = {"flip": 0.5, "crop_padding": 2}
    jobs = [job(optimizer=optimizer, lr=lr, seed=i, **augmented) for i, lr in enumerate(lrs)]

    def recorded(step: Any, at: torch.Tensor) -> Any:
        for _ in range(3):
            at.zero_()
            step()
        at.zero_()
        recording = Recording(step)
        assert recording.waits == []
        return recording.replay

    monkeypatch.setattr(captured, "recorded", recorded)
    told: dict[str, list[tuple[int, int, Any]]] = {"plain": [], "graph": []}

    def trained(name: str, **options: Any) -> dict[int, Training]:
        def on_epoch(i: int, row: Epoch) -> None:
            told[name].append((i, row.epoch, row.loss and round(row.loss, 5)))

        return dict(train_cohort(jobs, small(), on_epoch, **options))

    plain = trained("plain")
    graph = trained("graph", prepare=captured_step)
    assert graph == plain
    assert told["graph"] == told["plain"]
    assert graph[1].outcome == "diverged"
