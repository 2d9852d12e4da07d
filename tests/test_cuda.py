"""On a GPU: graphs, streams, bfloat16. Imports torch, numpy and pytest alone, and no data set.

python -m pytest tests/test_cuda.py -p no:cacheprovider --noconftest
"""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from stability.training import choice, recipes
from stability.training.captured import CapturedRig, kind_of
from stability.training.engine_names import parse
from stability.training.engines import RIGS, train_with
from stability.training.loop import (
    Beside,
    Epoch,
    Job,
    Rig,
    fresh,
    make_precise,
    train,
    train_epoch,
)
from stability.training.outcome import Training
from stability.training.parity import parity_fault
from stability.training.recipe import Recipe
from stability.training.tensors import TensorData, TensorPart

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.filterwarnings("default"),  # of libraries that only a GPU machine has
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
N, CLASSES = 512, 10


@pytest.fixture(autouse=True)
def exact() -> Any:
    """float32 means it; whatever a test captured is freed."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    yield
    RIGS.clear()
    torch.backends.cudnn.allow_tf32 = before


@pytest.fixture(scope="module")
def data() -> TensorData:
    """Images of ten noisy patterns: something can be learnt in a few steps."""
    rng = np.random.default_rng(0)
    patterns = rng.integers(0, 256, (CLASSES, 3, 32, 32))

    def part(n: int) -> TensorPart:
        labels = rng.integers(0, CLASSES, n)
        images = (patterns[labels] + rng.integers(0, 256, (n, 3, 32, 32))) // 2
        mean, std = (torch.full((3, 1, 1), value, device="cuda") for value in (127.0, 50.0))
        pixels = torch.tensor(images.astype(np.uint8), device="cuda")
        return TensorPart(pixels, torch.tensor(labels, device="cuda"), mean, std)

    return TensorData((3, 32, 32), CLASSES, part(N), part(128), part(128))


RECIPES: dict[str, dict[str, Any]] = {
    "sgd": {"lr": 0.02},
    "adamw": {"optimizer": "adamw", "weight_decay": 0.3},
    "clip": {"lr": 0.02, "clip": 0.5},
    "averaged": {"lr": 0.02, "ema": 0.005, "ema_period": 2},
    "crops": {"optimizer": "adamw", "flip": 0.5, "crop_padding": 4},
    "mixed": {"optimizer": "adamw", "mixup": 0.8, "cutmix": 1.0, "crop_area": 0.3},
    "batchnorm": {"model": "regnety-nano", "lr": 0.005, "precise_bn": 128},
}


def job(precision: str = "float32", **changes: Any) -> Job:
    own = {name: changes.pop(name, value) for name, value in
           (("model", "vitc-micro"), ("optimizer", "sgd"), ("epochs", 2), ("seed", 3))}  # fmt: skip
    settings: dict[str, Any] = {"lr": 1e-3, "weight_decay": 1e-3, "batch_size": 64}
    return Job(**own, recipe=Recipe(**settings | changes), precision=precision)


def followed(job: Job, data: TensorData, engine: str = "eager") -> tuple[list[Epoch], Training]:
    rows: list[Epoch] = []
    ((_, training),) = train_with(engine, [job], data, lambda i, row: rows.append(row))
    return rows, training


def assert_alike(rows: list[Epoch], expected: list[Epoch], near: float) -> None:
    for mine, theirs in zip(rows, expected, strict=True):
        assert (mine.epoch, mine.lr) == (theirs.epoch, theirs.lr)
        assert mine.loss == pytest.approx(theirs.loss, rel=near)
        if mine.epoch == 1:  # the rounding of eight steps
            assert mine.train_loss == pytest.approx(theirs.train_loss, rel=near)
            assert mine.grad_norm == pytest.approx(theirs.grad_norm, rel=10 * near)


@pytest.mark.parametrize("engine", ["captured", "streams", "stacked"])
@pytest.mark.parametrize("name", RECIPES)
def test_over_a_whole_schedule_an_engine_trains_what_the_eager_one_does(
    name: str, engine: str, data: TensorData
) -> None:
    one = job(**RECIPES[name])
    expected, ended = followed(one, data)
    rows, found = followed(one, data, engine)
    assert_alike(rows, expected, 5e-2 if name == "batchnorm" else 2e-3)
    assert found.test is not None
    assert ended.test is not None
    assert abs(found.test.wrong - ended.test.wrong) <= 6


def test_the_first_step_is_equal_to_rounding(data: TensorData) -> None:
    """One step an epoch: the gradient's norm after one step has no history to differ in."""
    one = job(batch_size=N, epochs=1)
    expected, rows = followed(one, data)[0], followed(one, data, "captured")[0]
    assert rows[1].grad_norm == pytest.approx(expected[1].grad_norm, rel=1e-5)
    assert rows[1].train_loss == pytest.approx(expected[1].train_loss, rel=1e-6)


def test_one_graph_serves_many_trials(data: TensorData) -> None:
    """Other lr, weight decay and seed by the same graph; the first again, to the bit."""
    rig = CapturedRig(kind_of(job()), data)

    def curve(one: Job) -> list[float]:
        rows: list[Epoch] = []
        with rig.lane():
            train(one, data, rows.append, rig=rig)
        return [row.loss for row in rows]

    first = curve(job(lr=0.02))
    other = job(lr=0.005, weight_decay=0.1, seed=9)
    assert curve(other) == pytest.approx([row.loss for row in followed(other, data)[0]], rel=2e-3)
    with rig.lane():
        assert train(job(lr=1e20), data, rig=rig).outcome == "diverged"
    assert curve(job(lr=0.02)) == first


def test_trials_side_by_side_are_what_they_are_alone(data: TensorData) -> None:
    jobs = [job(lr=0.005 * (i + 1), seed=i) for i in range(4)]
    found = dict(train_with("streams", jobs, data, lambda i, row: None))
    for i, one in enumerate(jobs):
        alone = followed(one, data)[1]
        assert alone.test is not None
        assert found[i].test is not None
        assert found[i].test.loss == pytest.approx(alone.test.loss, rel=1e-2)


def test_a_stack_goes_on_captured_when_one_diverges(data: TensorData) -> None:
    jobs = [job(lr=lr, seed=i, epochs=3) for i, lr in enumerate((0.01, 1e20, 0.02, 1e20, 0.005))]
    found = dict(train_with("stacked", jobs, data, lambda i, row: None))
    assert [found[i].outcome == "diverged" for i in range(5)] == [False, True, False, True, False]
    alone = followed(jobs[4], data)[1]
    assert found[4].test is not None
    assert alone.test is not None
    assert found[4].test.loss == pytest.approx(alone.test.loss, rel=1e-2)


@pytest.mark.parametrize("name", ["micro", "paper"])
@pytest.mark.parametrize("model", ["vitc-micro", "regnety-micro"])
def test_an_epoch_waits_for_nothing(model: str, name: str, data: TensorData) -> None:
    """By torch's own word, which a blocking copy, `.item()` and `nonzero` make an error."""
    settings = recipes.RECIPES[name].settings | {"batch_size": 64}
    one = job(model=model, optimizer="adamw", clip=1.0, **settings)
    live, lrs = fresh(one, data, Rig()), [1e-3] * (N // 64)
    beside = Beside(CLASSES, live.streams, live.watch, live.average)

    def epoch() -> torch.Tensor:
        order = live.streams.order
        found = train_epoch(live.model, live.optimizer, data.train, one.recipe, lrs, order, beside)
        make_precise(live.model, data.train, one.recipe, beside)
        return found

    epoch()  # in which libraries choose their kernels
    torch.cuda.set_sync_debug_mode("error")
    try:
        with pytest.raises(RuntimeError, match="synchroniz"):
            torch.ones(3).to(data.device)
        losses = epoch()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert losses.isfinite().all()


@pytest.mark.parametrize("engine", ["eager", "captured", "stacked"])
def test_bfloat16_learns_what_float32_learns_and_keeps_float32_weights(
    engine: str, data: TensorData
) -> None:
    exact = followed(job(lr=0.02, epochs=4), data)[0]
    rows, training = followed(replace(job(lr=0.02, epochs=4), precision="bfloat16"), data, engine)
    assert rows[-1].loss == pytest.approx(exact[-1].loss, rel=0.1)
    assert [row.loss for row in rows] != [row.loss for row in exact]
    assert training.outcome == "ok"
    rig = CapturedRig(kind_of(replace(job(), precision="bfloat16")), data)
    kinds = {p.dtype for p in rig._model.parameters()} | {p.grad.dtype for p in rig._model.parameters() if p.grad is not None}  # fmt: skip  # noqa: E501
    assert kinds == {torch.float32}


def test_compiled_kernels_train_the_same(data: TensorData) -> None:
    one = job(lr=0.02)
    assert_alike(followed(one, data, "captured+compile")[0], followed(one, data)[0], 5e-3)


def test_the_choice_measures_every_engine(data: TensorData) -> None:
    found = choice.measured(job("bfloat16"), data, choice.Ahead(trials=16, steps=1000))
    steps = {name: found.step(name) for name in ("eager", "captured", "streams:2", "stacked:4")}
    assert all(step is not None for step in steps.values()), found
    assert not found.is_spoilt
    assert steps["captured"] < steps["eager"]  # type: ignore[operator]
    assert choice.seconds_of(parse("captured"), job(), data, steps=8) > 0


class Frozen(torch.nn.Module):
    """Has a number of Python's in its forward pass."""

    def __init__(self, classes: int, shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.calls, self.drops = 0, False
        self.layer = torch.nn.Linear(shape[0] * shape[1] * shape[2], classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.calls += self.training
        out: torch.Tensor = self.layer(images.flatten(1))
        return torch.dropout(out, 0.5, self.training) if self.drops else out * self.calls


def dropping(classes: int, shape: tuple[int, int, int]) -> Frozen:
    """By torch's random numbers, which a graph draws anew."""
    model = Frozen(classes, shape)
    model.drops = True
    return model


def test_a_model_from_elsewhere_is_held_against_its_graph(data: TensorData) -> None:
    assert parity_fault(job(), data) is None
    assert parity_fault(job(model="test_cuda:dropping"), data) is None
    assert "other steps" in str(parity_fault(job(model="test_cuda:Frozen"), data))
