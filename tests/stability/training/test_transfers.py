"""No step waits for a device, as far as that can be seen without one.

Batches are made, and steps taken, on torch's device `meta`, whose tensors have no content. On a GPU
torch says it itself: tests/gpu/test_cuda.py.
"""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
import torch
from recording import Meta
from torch import Tensor

from stability.models.build import build
from stability.training.augment.batches import Streams
from stability.training.ema import Average
from stability.training.loop import StepRunner, make_precise
from stability.training.optimizers import build_optimizer
from stability.training.recipes import RECIPES
from stability.training.settings import Recipe
from stability.training.signals import GradientMonitor
from stability.training.state import TrainState
from stability.training.tensors import TensorData, TensorPart, to_device

STEPS, BATCH, CLASSES = 2, 16, 10


def colour_images(n: int) -> TensorPart:
    """Without content; in colour, as grey ones have less done to them."""
    images = torch.empty(n, 3, 32, 32, dtype=torch.uint8, device="meta")
    labels = torch.empty(n, dtype=torch.int64, device="meta")
    return TensorPart(images, labels, *torch.empty(2, 3, 1, 1, device="meta"))


@pytest.mark.parametrize(
    ("settings", "copies"),
    [
        (RECIPES["nano"].settings, 1),  # of the order
        (RECIPES["micro"].settings, 1 + STEPS * 2),  # corners and mirrored images
        (RECIPES["paper"].settings | {"precise_bn": BATCH}, None),
        ({"mixup": 0.8, "clip": 1.0}, 1 + STEPS),
        ({"cutmix": 1.0, "ema": 1e-3, "ema_period": 2}, 1 + STEPS),
    ],
    ids=["nano", "micro", "paper", "mixup", "cutmix"],
)
@pytest.mark.parametrize(
    ("model", "optimizer"), [("vitc-micro", "adamw"), ("regnety-micro", "sgd")]
)
def test_an_epoch_waits_for_nothing(
    settings: dict[str, Any], copies: int | None, model: str, optimizer: str
) -> None:
    recipe = Recipe(**{"lr": 0.1, "weight_decay": 0.1, **settings, "batch_size": BATCH})
    part, streams = colour_images(STEPS * BATCH + 8), Streams.of(0)
    built = build(model, channels=3, classes=CLASSES, generator=streams.weights, image=(32, 32)).to(
        "meta"
    )
    average = Average(built, recipe, 1, STEPS) if recipe.ema else None
    with Meta() as meta:
        mover = build_optimizer(optimizer, built, recipe)
        state = TrainState(built, mover, streams, GradientMonitor(built), average)
        data = TensorData((3, 32, 32), CLASSES, part, part, part)
        losses = StepRunner().epoch(state, data, [0.1] * STEPS)
        make_precise(state, part, recipe)
    assert meta.waits == []
    assert meta.copies == copies or (copies is None and meta.copies > 20 * STEPS)
    assert losses.shape == (STEPS,)
    assert losses.is_meta


@pytest.mark.parametrize(
    ("do", "name"),
    [
        (lambda there, here: here.to("meta"), "_to_copy"),
        (lambda there, here: here.sum().to(there), "_to_copy"),
        (lambda there, here: there.copy_(here), "copy_"),
        (lambda there, here: there.new_tensor([1.0]), "new_tensor"),
        (lambda there, here: torch.tensor(1.0, device=there.device), "tensor"),
        (lambda there, here: there[torch.arange(2)], "index"),
        (lambda there, here: there.sum().item(), "_local_scalar_dense"),
        (lambda there, here: there[there > 1], "index"),
        (lambda there, here: there.nonzero(), "nonzero"),
    ],
)
def test_what_would_wait_is_seen(do: Callable[[Tensor, Tensor], Any], name: str) -> None:
    with Meta() as meta, suppress(RuntimeError, NotImplementedError):  # there is no answer
        do(torch.empty(3, device="meta"), torch.ones(3))
    assert name in meta.waits


def test_what_is_sent_from_the_cpu_to_the_cpu_stays_where_it_is() -> None:
    drawn = torch.arange(3)
    assert to_device(drawn, torch.device("cpu")) is drawn
