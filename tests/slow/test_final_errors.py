"""Whichever way it is trained, a trial's final error is its own: on digits, in single precision.

There rounding grows, with BatchNorm a millionfold within ten steps, so that final errors may differ
by as much as those of two seeds do.
"""

from collections.abc import Sequence

import pytest
from cohorts import alone, together
from recording import recorded_runner
from trainings import job

from stability.data import load_data
from stability.training.engines.captured import graph_kind
from stability.training.loop import Job, train
from stability.training.tensors import TensorData

pytestmark = pytest.mark.slow


def stacked(jobs: Sequence[Job], data: TensorData) -> list[int]:
    ends = together(jobs, data).ends
    return [ends[k].test.wrong for k in range(len(jobs))]


def captured(jobs: Sequence[Job], data: TensorData) -> list[int]:
    """One after the other by one recording: what a graph does on a GPU."""
    runner = recorded_runner(graph_kind(jobs[0]), data)
    return [train(one, data, runner=runner).test.wrong for one in jobs]


@pytest.mark.parametrize(
    ("model", "optimizer", "settings"),
    [
        ("vitp-nano", "adamw", {}),
        ("vitc-nano", "sgd", {}),
        ("vitc-nano", "adamw", {"mixup": 0.8, "ema": 0.01, "ema_period": 2}),
    ],
)
def test_errors_are_those_of_the_trials_alone(
    model: str, optimizer: str, settings: dict[str, float]
) -> None:
    data = TensorData.of(load_data("digits"), "cpu")
    options = {"model": model, "optimizer": optimizer, "epochs": 2, "batch_size": 64, **settings}
    jobs = [job(**options, seed=seed) for seed in (1, 2)]
    ends = [alone(one, data)[0] for one in jobs]
    expected = [end.test.wrong for end in ends]
    apart = max(1, abs(expected[0] - expected[1]))
    assert max(expected) < 0.75 * ends[0].test.n  # something was learnt
    for train_by in (stacked, captured):
        found = train_by(jobs, data)
        assert max(abs(a - b) for a, b in zip(found, expected, strict=True)) <= apart
