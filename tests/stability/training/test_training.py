"""A training is what its seed and its recipe say, whatever else happens in the process."""

import random
from dataclasses import replace
from itertools import chain
from typing import Any

import numpy as np
import pytest
import torch
from nets import NANO
from torch import Tensor, nn
from trainings import Train, job, keeping, plain_training, small

from stability.data import load_data
from stability.models.build import build
from stability.training import loop
from stability.training.augment.batches import Streams
from stability.training.loop import Epoch, StepRunner
from stability.training.optimizers import Optimizer, build_optimizer
from stability.training.outcome import evaluate
from stability.training.schedule import lr_at
from stability.training.settings import OPTIMIZERS
from stability.training.signals import GradientMonitor
from stability.training.state import TrainState
from stability.training.step import train_step
from stability.training.tensors import TensorData, TensorPart

each_optimizer = pytest.mark.parametrize("optimizer", OPTIMIZERS)


@pytest.fixture
def train(monkeypatch: pytest.MonkeyPatch) -> Train:
    """The training function; the model that it trained is kept."""
    return keeping(monkeypatch)


# --- seeds -------------------------------------------------------------------------------------


@each_optimizer
@pytest.mark.parametrize("model", NANO)
def test_same_seed_same_bits_whatever_the_global_generators_are(
    train: Train, model: str, optimizer: str
) -> None:
    one = job(model=model, optimizer=optimizer)
    first = train(one)
    torch.manual_seed(99)
    torch.rand(7)
    np.random.seed(99)  # noqa: NPY002
    random.seed(99)
    assert first.same_bits(train(one))


def test_global_generators_are_neither_read_nor_set(train: Train) -> None:
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1:]  # noqa: NPY002
    train(job())
    assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]
    after = np.random.get_state()[1:]  # noqa: NPY002
    assert all(np.array_equal(a, b) for a, b in zip(after, before[2], strict=True))


def test_another_seed_is_another_training(train: Train) -> None:
    first, other = train(job(seed=3)), train(job(seed=4))
    assert first.curve[1].train_loss != other.curve[1].train_loss
    assert not first.same_bits(other)


def test_weights_and_order_are_drawn_from_generators_of_their_own() -> None:
    """Two models of a study see the same order, however many numbers their weights took."""
    one, again = Streams.of(5), Streams.of(5)
    torch.rand(1000, generator=again.weights)
    assert torch.equal(
        torch.randperm(50, generator=one.order), torch.randperm(50, generator=again.order)
    )
    seeds = [stream.initial_seed() for stream in vars(one).values()]
    assert len(set(seeds)) == 5
    assert seeds == [stream.initial_seed() for stream in vars(again).values()]
    assert seeds[0] != Streams.of(6).weights.initial_seed()


# --- steps -------------------------------------------------------------------------------------


def as_it_is(part: TensorPart) -> TensorPart:
    """Not standardised: an image keeps its number."""
    return replace(part, mean=torch.zeros(1, 1, 1), std=torch.ones(1, 1, 1))


class Seen(nn.Module):
    """A linear model that notes which images it is trained on, each known by its first pixel."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(1, 10)
        self.batches: list[list[int]] = []

    def forward(self, images: Tensor) -> Tensor:
        numbers = images[:, 0, 0, 0]
        if self.training:
            self.batches.append(numbers.int().tolist())
        return self.linear(numbers[:, None] / 255)  # type: ignore[no-any-return]


def numbered(n: int) -> TensorPart:
    images = torch.arange(n, dtype=torch.uint8)[:, None, None, None]
    return as_it_is(TensorPart(images, torch.arange(n) % 10, torch.zeros(1), torch.zeros(1)))


def test_last_partial_batch_is_dropped_and_no_image_comes_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each epoch has an order of its own, so that other images are left out."""
    model = Seen()
    monkeypatch.setattr(loop, "build", lambda *args, **kwargs: model)
    data = replace(small(), train=numbered(75), validation=numbered(30), test=numbered(40))
    loop.train(job(epochs=3), data)
    assert [len(batch) for batch in model.batches] == [16] * 4 * 3
    epochs = [list(chain(*model.batches[i : i + 4])) for i in (0, 4, 8)]
    assert [len(set(epoch)) for epoch in epochs] == [64, 64, 64]
    assert all(epoch != sorted(epoch) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3
    assert len({frozenset(epoch) for epoch in epochs}) == 3


def test_every_image_of_a_full_last_batch_is_used() -> None:
    model = Seen()
    optimizer = build_optimizer("sgd", model, job().recipe)
    order = torch.Generator().manual_seed(0)
    data = replace(small(), train=numbered(64))
    StepRunner().epoch(state_of(model, optimizer, order), data, [0.1] * 4)
    assert sorted(chain(*model.batches)) == list(range(64))


def state_of(model: nn.Module, optimizer: Optimizer, order: torch.Generator) -> TrainState:
    streams = replace(Streams.of(0), order=order)
    return TrainState(model, optimizer, streams, GradientMonitor(model))


def restless(seed: int = 0) -> nn.Module:
    """A model whose head is not zero, so that its losses differ."""
    model = build(
        "vitp-nano", channels=1, classes=10, generator=torch.Generator().manual_seed(seed)
    )
    nn.init.normal_(model.head.weight, generator=torch.Generator().manual_seed(seed))
    return model


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.4])
def test_loss_is_cross_entropy_with_a_share_spread_over_all_classes(smoothing: float) -> None:
    """Target: smoothing / K for each class, and what is left for the right one."""
    model, data = restless(), small()
    recipe = job(label_smoothing=smoothing).recipe
    order = torch.Generator().manual_seed(1)
    rows = torch.randperm(75, generator=order)[:16]
    images, labels = data.train.batch(rows)
    log_p = model(images).double().log_softmax(1).detach()
    target = torch.full((16, 10), smoothing / 10, dtype=torch.float64)
    target[torch.arange(16), labels] += 1 - smoothing
    expected = -(target * log_p).sum(1).mean().item()
    optimizer = build_optimizer("sgd", model, recipe)
    state = state_of(model, optimizer, torch.Generator().manual_seed(1))
    losses = StepRunner().epoch(state, data, [0.0])
    assert losses.tolist() == [pytest.approx(expected, rel=1e-5)]


def norm_of_gradient(model: nn.Module) -> float:
    return torch.cat([p.grad.flatten() for p in model.parameters()]).double().norm().item()


def test_clip_bounds_the_norm_over_all_parameters_and_off_it_does_nothing() -> None:
    def norms(clip: float | None) -> list[float]:
        model, recipe = restless(), job(clip=clip).recipe
        optimizer = build_optimizer("sgd", model, recipe)
        found: list[float] = []
        optimizer.step = lambda: found.append(norm_of_gradient(model))  # type: ignore[method-assign]
        order = torch.Generator().manual_seed(1)
        StepRunner().epoch(state_of(model, optimizer, order), small(), [0.0] * 4)
        return found

    free = norms(None)
    assert min(free) > 1
    assert norms(0.25) == [pytest.approx(0.25, rel=1e-4)] * 4
    bound = sorted(free)[1]  # between the gradients: the smaller ones stay as they are
    assert norms(bound) == [pytest.approx(min(norm, bound), rel=1e-4) for norm in free]


def test_each_step_has_its_own_learning_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    """Over the whole schedule, not over the epoch."""
    used: list[float] = []

    def note(*args: Any) -> Any:
        used.append(args[4])
        return train_step(*args)

    monkeypatch.setattr(loop, "train_step", note)
    one = job(epochs=3)
    loop.train(one, small())
    assert used == [lr_at(step, 12, one.recipe) for step in range(12)]


@each_optimizer
def test_is_the_plain_loop(train: Train, optimizer: str) -> None:
    one = job(optimizer=optimizer, epochs=3)
    losses, model = plain_training(one, small())
    found = train(one)
    means = np.array(losses).reshape(3, 4).mean(axis=1)
    assert [row.train_loss for row in found.curve[1:]] == pytest.approx(means, rel=1e-6)
    ours = found.model.state_dict()
    assert all(torch.equal(ours[name], value) for name, value in model.state_dict().items())


def test_learns_the_digits(train: Train) -> None:
    """On all of them one epoch brings a ViT_C far below chance."""
    data = TensorData.of(load_data("digits"), "cpu")
    found = train(job(epochs=1, batch_size=32), data)
    assert found.training.outcome == "ok"
    assert found.training.test.n == 400
    assert found.training.test.error < 60 < found.curve[0].val_error


# --- what it reports ---------------------------------------------------------------------------


def test_curve_has_a_row_for_each_epoch_and_one_before_training(train: Train) -> None:
    one = job(epochs=3, model="vitp-nano")
    found = train(one)
    assert [row.epoch for row in found.curve] == [0, 1, 2, 3]
    before, *trained = found.curve
    assert (before.lr, before.train_loss) == (None, None)
    assert before.loss == pytest.approx(np.log(10), rel=1e-6)
    assert [row.lr for row in trained] == [lr_at(s, 12, one.recipe) for s in (3, 7, 11)]
    last = evaluate(found.model, small().validation)
    assert (trained[-1].loss, trained[-1].val_error) == (last.loss, last.error)
    assert found.training.test == evaluate(found.model, small().test)
    assert found.training.diverged_at is None


def test_rows_arrive_while_it_trains(train: Train) -> None:
    class Enough(Exception):  # noqa: N818 - no error
        pass

    rows = []

    def stop(row: Epoch) -> None:
        rows.append(row.epoch)
        if row.epoch == 1:
            raise Enough

    with pytest.raises(Enough):
        loop.train(job(epochs=50), small(), stop)
    assert rows == [0, 1]


@pytest.mark.parametrize("model", NANO)
@pytest.mark.parametrize("part", ["validation", "test"])
def test_images_that_are_not_trained_on_never_touch_the_weights(
    train: Train, model: str, part: str
) -> None:
    one, data = job(model=model), small()
    source = getattr(data, part)
    noise = torch.randint(
        0, 256, source.images.shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    changed = replace(source, images=noise, labels=source.labels.flip(0))
    first, other = train(one, data), train(one, replace(data, **{part: changed}))
    theirs = other.model.state_dict()
    for name, value in first.model.state_dict().items():
        assert torch.equal(value, theirs[name]), name
    assert [row.train_loss for row in first.curve] == [row.train_loss for row in other.curve]
    if part == "test":
        assert first.curve == other.curve
    else:
        assert first.training == other.training
