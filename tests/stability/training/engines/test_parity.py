"""What a graph would freeze in a model from elsewhere is seen before it trains."""

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from recording import Recording
from torch import Tensor, nn
from trainings import job, small

from stability.training.engines.captured import CapturedStepRunner
from stability.training.engines.parity import parity_fault

Shape = tuple[int, int, int]


class Net(nn.Module):
    """Two layers, and between them something that `change` does."""

    def __init__(
        self, classes: int, shape: Shape, change: Callable[["Net", Tensor], Tensor]
    ) -> None:
        super().__init__()
        c, h, w = shape
        self.calls, self.change = 0, change
        self.first, self.last = nn.Linear(c * h * w, 16), nn.Linear(16, classes)

    def forward(self, images: Tensor) -> Tensor:
        hidden: Tensor = self.first(images.flatten(1))
        if self.training:
            hidden = self.change(self, hidden)
        out: Tensor = self.last(hidden.relu())
        return out


def honest(classes: int, shape: Shape) -> Net:
    return Net(classes, shape, lambda net, x: x)


def counting(classes: int, shape: Shape) -> Net:
    """Its layers grow with the steps, by a number that Python keeps."""

    def change(net: Net, x: Tensor) -> Tensor:
        net.calls += 1
        return x * (1 + 0.1 * net.calls)

    return Net(classes, shape, change)


def gambling(classes: int, shape: Shape) -> Net:
    return Net(classes, shape, lambda net, x: x * random.choice((1.0, 1.0)))


def gambling_with_numpy(classes: int, shape: Shape) -> Net:
    return Net(classes, shape, lambda net, x: x + 0.0 * np.random.rand())  # noqa: NPY002


def dropping(classes: int, shape: Shape) -> Net:
    """By torch's random numbers, which a graph draws anew."""
    return Net(classes, shape, lambda net, x: nn.functional.dropout(x, 0.5))


@pytest.fixture(autouse=True)
def recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A recording in the place of the graph."""

    class Recorded(CapturedStepRunner):
        def __init__(self, *args: Any, compiled: bool) -> None:
            super().__init__(*args, capture=False)
            self._model.train()
            self._take_step = Recording(self._step).replay

    monkeypatch.setattr("stability.training.engines.train_with.CapturedStepRunner", Recorded)


@pytest.mark.parametrize("model", ["vitc-nano", f"{__name__}:honest", f"{__name__}:dropping"])
@pytest.mark.parametrize("changes", [{}, {"optimizer": "adamw", "lr": 1e30, "flip": 0.5}])
def test_who_does_the_same_steps_is_taken(model: str, changes: dict[str, Any]) -> None:
    assert parity_fault(job(model=model, **changes), small()) is None


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("counting", "does other steps as a graph than step by step"),
        ("gambling", "draws random numbers of Python or NumPy"),
        ("gambling_with_numpy", "draws random numbers of Python or NumPy"),
    ],
)
def test_what_python_does_in_a_forward_pass_keeps_a_model_from_graphs(
    model: str, words: str
) -> None:
    assert words in str(parity_fault(job(model=f"{__name__}:{model}"), small()))
