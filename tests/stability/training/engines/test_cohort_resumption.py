"""Trials trained as one go on from their checkpoints as if nothing had interrupted them."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
import torch
from cohorts import PAPER, different, in_double, same_numbers
from kept import InterruptedTraining, Kept, repacked, unpacked, with_earlier, with_fault
from torch import Tensor, nn
from trainings import job, small

from stability.training.engines import cohort
from stability.training.engines.cohort import train_cohort
from stability.training.engines.stack import Stack
from stability.training.loop import Epoch, Job
from stability.training.outcome import Training
from stability.training.tensors import TensorData
from sweeps.study.trial import Saved

JOBS = {
    "sgd": different(model="vitc-nano", epochs=3),
    "adamw, paper": different(model="vitc-nano", epochs=3, optimizer="adamw", **PAPER),
    "batchnorm": different(model="regnety-nano", epochs=3, **PAPER),
}


Ends = dict[int, Training]


class Run:
    """A cohort's ends, curves without times, weights, and the cohorts that were stacked."""

    def __init__(
        self, jobs: Sequence[Job], saved: Sequence[Saved] = (), data: TensorData | None = None
    ) -> None:
        self.curves: list[list[Epoch]] = [[] for _ in jobs]
        self.stacks: list[Stack] = []
        self.sizes: list[int] = []

        def noted(stack: Stack) -> Callable[[], None]:
            self.stacks.append(stack)
            self.sizes.append(len(stack))
            return stack.step

        def on_epoch(i: int, row: Epoch) -> None:
            assert not self.curves[i] or row.seconds >= seconds[i]
            seconds[i] = row.seconds
            self.curves[i].append(replace(row, seconds=0.0))

        seconds: dict[int, float] = {}
        self.ends: Ends = dict(train_cohort(jobs, data or small(), on_epoch, saved, prepare=noted))


def interrupted(
    jobs: Sequence[Job], epochs: int, kept: Sequence[Kept] = (), data: TensorData | None = None
) -> list[bytes | None]:
    """The states of a cohort after so many more epochs."""
    places = [Kept(place.state) for place in kept] or [Kept() for _ in jobs]
    places[0].until = epochs
    with pytest.raises(InterruptedTraining):
        Run(jobs, places, data)
    assert [place.refused for place in places] == [[]] * len(jobs)
    return [place.state for place in places]


def kept_of(states: Sequence[bytes | None]) -> list[Kept]:
    return [Kept(state) for state in states]


@pytest.mark.parametrize("name", JOBS)
def test_ends_as_an_undisturbed_one_wherever_it_was_interrupted(name: str) -> None:
    """To the bit: ends, curves and weights."""
    jobs = JOBS[name]
    undisturbed, kept = Run(jobs), list[Kept]()
    for _ in (1, 2):  # each piece is one epoch
        kept = kept_of(interrupted(jobs, 1, kept))
    last = Run(jobs, kept)
    assert last.ends == undisturbed.ends
    assert last.curves == undisturbed.curves
    assert [len(rows) for rows in last.curves] == [4, 4, 4]
    assert torch.equal(last.stacks[0].weights.matrix, undisturbed.stacks[0].weights.matrix)
    assert [place.refused + place.offers for place in kept] == [[]] * 3


def test_all_that_are_alive_are_offered_together_once_an_epoch() -> None:
    jobs, places = JOBS["sgd"], [Kept() for _ in range(3)]
    assert Run(jobs, places).curves == Run(jobs).curves
    assert [place.offers for place in places] == [[2, 2], [], []]


# --- divergence --------------------------------------------------------------------------------


@pytest.fixture
def double(monkeypatch: pytest.MonkeyPatch) -> TensorData:
    return in_double(monkeypatch)


def with_wild(epochs: int) -> list[Job]:
    jobs = different(model="vitc-nano", optimizer="adamw", ema=0.01, ema_period=2, epochs=epochs)
    calm = replace(jobs[0].recipe, clip=None)
    jobs[0] = replace(jobs[0], recipe=replace(calm, lr=1e200))
    return jobs


def test_those_that_diverged_are_offered_no_more_and_the_others_go_on(
    monkeypatch: pytest.MonkeyPatch, double: TensorData
) -> None:
    """To rounding: what is left is another cohort. What was computed for the lost one stays."""
    monkeypatch.setattr(cohort, "SIZES", (3,))
    jobs, places = with_wild(4), [Kept() for _ in range(3)]
    undisturbed = Run(jobs, data=double)
    assert undisturbed.ends[0].outcome == "diverged"
    places[1].until = 2
    with pytest.raises(InterruptedTraining):
        Run(jobs, places, double)
    assert places[0].state is None
    assert places[1].offers == [1, 1]
    found = Run(jobs[1:], kept_of([places[1].state, places[2].state]), double)
    for k in (1, 2):
        for ours, theirs in zip(found.curves[k - 1], undisturbed.curves[k], strict=True):
            same_numbers(ours, theirs, rel=1e-5)
        assert found.ends[k - 1].test is not None
        assert undisturbed.ends[k].computed == 5.5  # three more of the diverged
        assert found.ends[k - 1].computed == 4.5  # one was before the interruption


def test_those_of_different_epochs_are_trained_one_group_after_the_other(
    double: TensorData,
) -> None:
    jobs = JOBS["sgd"]
    undisturbed = Run(jobs, data=double)
    after_one = interrupted(jobs, 1, data=double)
    after_two = interrupted(jobs, 2, data=double)
    found = Run(jobs, kept_of([after_one[0], None, after_two[2]]), double)
    assert found.sizes == [1, 1, 1]
    assert list(found.ends) == [2, 0, 1]  # what is nearest to its end comes first
    found = Run(jobs, kept_of([after_one[0], None, after_one[2]]), double)
    assert found.sizes == [2, 1]
    assert list(found.ends) == [0, 2, 1]
    for k in range(3):
        for ours, theirs in zip(found.curves[k], undisturbed.curves[k], strict=True):
            same_numbers(ours, theirs, rel=1e-5)


# --- what is kept ------------------------------------------------------------------------------


def test_no_part_of_another_trial_is_in_a_trials_bytes() -> None:
    """Of a view torch would write all that it is a view of."""
    jobs = [job(model="vitp-nano", seed=seed) for seed in range(8)]
    sizes = [len(state or b"") for state in interrupted(jobs, 1)]
    (alone,) = interrupted(jobs[:1], 1)
    assert max(sizes) < 1.1 * len(alone or b"")


@cache
def paper() -> tuple[list[bytes | None], list[bytes | None], Run]:
    """States after one epoch and after two, and what comes of the third."""
    first = interrupted(JOBS["adamw, paper"], 1)
    second = interrupted(JOBS["adamw, paper"], 1, kept_of(first))
    return first, second, Run(JOBS["adamw, paper"])


@pytest.mark.parametrize("part", ["values", "order", "images", "mixing", "statistics", "losses"])
def test_each_part_of_the_state_is_needed_and_used(part: str) -> None:
    """With one part of an earlier epoch the trial's end is another; its neighbours' is not."""
    jobs, (first, second, undisturbed) = JOBS["adamw, paper"], paper()
    earlier, now = unpacked(first[1]), unpacked(second[1])
    kept = kept_of([second[0], with_earlier(part, now, earlier), second[2]])
    found = Run(jobs, kept)
    assert [place.refused for place in kept] == [[]] * 3
    assert found.curves[1][:3] == undisturbed.curves[1][:3]
    assert found.curves[1][3:] != undisturbed.curves[1][3:]
    assert found.curves[0] == undisturbed.curves[0]
    assert found.curves[2] == undisturbed.curves[2]


class Counting(nn.Module):
    """Counts its batches, in a buffer that a stack does not know, and shows it."""

    def __init__(self, size: int, classes: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(size, classes))
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))

    def forward(self, images: Tensor) -> Tensor:
        self.seen += 1
        return self.layers(images) * (1 + self.seen / 100)  # type: ignore[no-any-return]


def counting(classes: int, image_shape: tuple[int, int, int]) -> nn.Module:
    channels, height, width = image_shape
    return Counting(channels * height * width, classes)


@pytest.mark.parametrize("settings", [{}, {"ema": 0.01, "ema_period": 1}], ids=["raw", "averaged"])
def test_what_the_trials_of_a_stack_share_goes_on_too(settings: dict[str, Any]) -> None:
    jobs = [job(model=f"{__name__}:counting", seed=seed, epochs=3, **settings) for seed in (3, 4)]
    undisturbed = Run(jobs)
    found = Run(jobs, kept_of(interrupted(jobs, 2)))
    assert found.curves == undisturbed.curves
    assert found.ends == undisturbed.ends


def test_seconds_and_kinds_of_device_go_on_for_each_trial() -> None:
    jobs = JOBS["sgd"]
    contents = [unpacked(state) for state in interrupted(jobs, 2)]
    contents[1]["past"]["seconds"] += 1000.0
    contents[1]["past"]["devices"] = ("an older one",)
    rows: dict[int, list[Epoch]] = {0: [], 1: [], 2: []}
    kept = kept_of([repacked(content) for content in contents])
    ends = dict(train_cohort(jobs, small(), lambda i, row: rows[i].append(row), kept))
    assert ends[1].devices == ("an older one", "cpu")
    assert ends[0].devices == ends[2].devices == ("cpu",)
    assert rows[1][2].seconds == contents[1]["past"]["rows"][2]["seconds"]
    assert 1000 < rows[1][3].seconds < 1060
    assert rows[0][2].seconds < rows[0][3].seconds < 60


# --- what cannot be used -----------------------------------------------------------------------


def spoilt(state: bytes | None, how: str) -> bytes:
    return (state or b"")[:1000] if how == "cut" else with_fault(state, how)


PRECISE: list[tuple[list[bytes | None], Run]] = []


def precise(double: TensorData) -> tuple[list[bytes | None], Run]:
    """States after two epochs, and an undisturbed run, in double precision; made once."""
    if not PRECISE:
        states = interrupted(JOBS["sgd"], 2, data=double)
        PRECISE.append((states, Run(JOBS["sgd"], data=double)))
    return PRECISE[0]


@pytest.mark.parametrize("how", ["format", "kind", "late", "cut"])
def test_who_cannot_go_on_begins_anew_and_the_others_go_on(how: str, double: TensorData) -> None:
    jobs, (states, undisturbed) = JOBS["sgd"], precise(double)
    kept = kept_of([states[0], spoilt(states[1], how), states[2]])
    found = Run(jobs, kept, double)
    assert [len(place.refused) for place in kept] == [0, 1, 0]
    assert kept[1].refused[0].startswith("cannot be used (")
    assert found.sizes == [2, 1]
    for k in range(3):
        for ours, theirs in zip(found.curves[k], undisturbed.curves[k], strict=True):
            same_numbers(ours, theirs, rel=1e-5)


def test_weights_of_another_model_are_refused_by_all_of_them() -> None:
    others = different(model="vitp-nano", epochs=3)
    kept, jobs = kept_of(interrupted(others, 1)), JOBS["sgd"]
    found, undisturbed = Run(jobs, kept), Run(jobs)
    assert found.curves == undisturbed.curves
    assert found.ends == undisturbed.ends
    for place in kept:
        assert place.refused == ["cannot be used (ValueError: the model has other weights)"]
