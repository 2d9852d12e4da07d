"""Which trials can be trained as one, and why others cannot."""

import sys
from pathlib import Path

import pytest
import torch
from cohorts import alone, different, in_double, same_numbers, together
from trainings import job, small

from stability.training.engines.stackable import can_stack
from stability.training.tensors import TensorData


@pytest.fixture
def double(monkeypatch: pytest.MonkeyPatch) -> TensorData:
    return in_double(monkeypatch)


def test_what_differs_in_the_computation_is_named() -> None:
    assert can_stack(different(), small()) is None
    one = job()
    for changes, words in [
        ({"batch_size": 32}, "one batch_size, these have [16, 32]"),
        ({"epochs": 3}, "one epochs, these have [2, 3]"),
        ({"model": "vitp-nano"}, "one model, these have ['vitc-nano', 'vitp-nano']"),
        ({"flip": 0.5}, "one flip, these have [0.0, 0.5]"),
        ({"nesterov": False}, "one nesterov, these have [True, False]"),
    ]:
        assert can_stack([one, job(**changes)], small()) == f"trials trained as one have {words}"


NETS = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, classes, shape, kind):
        super().__init__()
        self.kind = kind
        convs = nn.Conv2d(shape[0], 4, 3, stride=4), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2)
        self.net = nn.Sequential(*convs, nn.Flatten(), nn.Linear(64, classes))
        self.spare = nn.Linear(2, 2) if kind == "spare" else None
        self.scale = nn.Parameter(torch.ones(1)) if kind == "scale" else 1.0

    def forward(self, x):
        if self.kind == "mixing":
            x = x - x.mean(0)
        if self.kind == "random":
            x = x + torch.randn_like(x)
        return self.net(x) * self.scale

def good(classes, shape): return Net(classes, shape, "good")
def mixing(classes, shape): return Net(classes, shape, "mixing")
def random(classes, shape): return Net(classes, shape, "random")
def spare(classes, shape): return Net(classes, shape, "spare")
def scale(classes, shape): return Net(classes, shape, "scale")
"""


@pytest.fixture
def their_nets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "theirnets.py").write_text(NETS)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "theirnets", raising=False)


@pytest.mark.usefixtures("their_nets")
@pytest.mark.parametrize(
    ("kind", "fault"),
    [
        ("mixing", "two of it as one do not what each does alone"),
        ("random", "two of it as one do not what each does alone"),
        ("spare", "ValueError: some of its parameters get no gradient"),
        ("scale", "its Net has no stacked form"),
    ],
)
def test_a_model_from_elsewhere_that_cannot_be_stacked_says_why(kind: str, fault: str) -> None:
    before = torch.get_rng_state()
    found = can_stack([job(model=f"theirnets:{kind}")], small())
    assert found is not None
    assert found.startswith(f"theirnets:{kind} cannot be stacked: {fault}")
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.usefixtures("their_nets")
def test_a_model_from_elsewhere_is_trained_as_one_where_it_can_be(double: TensorData) -> None:
    jobs = different(model="theirnets:good")
    assert can_stack(jobs, double) is None
    found = together(jobs, double)
    for k, one in enumerate(jobs):
        training, rows = alone(one, double)
        assert found.ends[k].test.wrong == training.test.wrong
        for ours, theirs in zip(found.curves[k], rows, strict=True):
            same_numbers(ours, theirs, rel=1e-5)
