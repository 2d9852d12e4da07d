"""What the tests of cohorts share: jobs that differ, trained together and alone."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import pytest
from torch import nn
from trainings import job, small

from stability.models.build import build
from stability.training import loop
from stability.training.engines import cohort
from stability.training.engines.cohort import train_cohort
from stability.training.engines.slots import start_or_resume_slot
from stability.training.engines.stack import Stack
from stability.training.loop import Epoch, Job
from stability.training.outcome import Training
from stability.training.tensors import TensorData, TensorPart

PAPER = {
    "ema": 0.01,
    "ema_period": 2,
    "mixup": 0.8,
    "cutmix": 1.0,
    "precise_bn": 40,
    "flip": 0.5,
    "crop_padding": 2,
}


def different(**changes: Any) -> list[Job]:
    """Three jobs that differ in all that trials of a cohort may differ in."""
    lr = {"sgd": 0.03, "adamw": 1e-3}[changes.get("optimizer", "sgd")]
    own = [
        {"seed": 3, "lr": lr, "warmup": 0.3, "label_smoothing": 0.0, "clip": 0.5},
        {"seed": 4, "lr": lr / 2, "weight_decay": 0.1, "momentum": 0.5, "beta2": 0.9},
        {"seed": 5, "lr": lr * 2, "warmup_epochs": 2, "floor": 0.1, "clip": 2.0, "lr_per": "epoch"},
    ]
    return [job(**changes, **each) for each in own]


@dataclass
class Run:
    ends: dict[int, Training]
    curves: list[list[Epoch]]
    order: list[int]
    """In which the trials ended."""
    stack: Stack

    @property
    def computed(self) -> float:
        """Epochs, of all trials together."""
        return sum(end.computed or 0.0 for end in self.ends.values())


def together(jobs: Sequence[Job], data: TensorData | None = None) -> Run:
    stacks: list[Stack] = []
    curves: list[list[Epoch]] = [[] for _ in jobs]

    def noted(stack: Stack) -> Callable[[], None]:
        stacks.append(stack)
        return stack.step

    ends = list(
        train_cohort(
            jobs,
            data or small(),
            lambda i, row: curves[i].append(row),
            prepare=noted,
        )
    )
    return Run(dict(ends), curves, [index for index, _ in ends], stacks[0])


def cohort_of(jobs: Sequence[Job]) -> cohort._Cohort:
    """Before its first step."""
    data = small()
    slots = [start_or_resume_slot(i, one, None, data.device) for i, one in enumerate(jobs)]
    return cohort._Cohort(slots, data, lambda i, row: None)


def alone(one: Job, data: TensorData | None = None) -> tuple[Training, list[Epoch]]:
    rows: list[Epoch] = []
    return loop.train(one, data or small(), rows.append), rows


def same_numbers(ours: Epoch, theirs: Epoch, rel: float) -> None:
    for name in (field.name for field in fields(Epoch) if field.name != "seconds"):
        expected = getattr(theirs, name)
        if expected is not None:
            expected = pytest.approx(expected, rel=rel)
        assert getattr(ours, name) == expected, name


def in_double(monkeypatch: pytest.MonkeyPatch) -> TensorData:
    """Data that are trained on in double precision, and so are models then.

    In single precision a training of conv nets with small batches magnifies rounding a
    millionfold within ten steps; here what is left shows that the same is computed.
    """

    def doubled(*args: Any, **kwargs: Any) -> nn.Module:
        return build(*args, **kwargs).double()

    monkeypatch.setattr(loop, "build", doubled)

    def part(source: TensorPart) -> TensorPart:
        return replace(source, mean=source.mean.double(), std=source.std.double())

    data = small()
    parts = {name: part(getattr(data, name)) for name in ("train", "validation", "test")}
    return replace(data, **parts)
