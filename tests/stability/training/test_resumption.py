"""A training that goes on from its checkpoint ends as if nothing had interrupted it."""

import pickle
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from kept import InterruptedTraining, Kept, repacked, unpacked, with_earlier, with_fault
from torch import Tensor, nn
from trainings import job, small, trial

from stability.objective import train_images
from stability.training import loop
from stability.training.loop import Epoch, Job, train
from stability.training.outcome import Training
from stability.training.state import TrainState
from sweeps.store.checkpoints import trailer_of
from sweeps.study.trial import Cohort, Saved

EVERYTHING: dict[str, Any] = {
    "ema": 1e-2,
    "ema_period": 3,
    "mixup": 0.8,
    "cutmix": 1.0,
    "crop_padding": 4,
    "flip": 0.5,
    "autoaugment": True,
    "clip": 0.5,
    "precise_bn": 40,
    "warmup_epochs": 0.5,
}
JOBS = {
    "sgd": job(epochs=4),
    "adamw": job(epochs=4, optimizer="adamw", model="vitp-nano"),
    "sgd, all on": job(epochs=4, model="regnety-nano", **EVERYTHING),
    "adamw, all on": job(epochs=4, optimizer="adamw", **EVERYTHING),
    "crops": job(epochs=4, crop_area=0.2, mixup=0.2),
}


End = tuple[Training, list[Epoch], dict[str, Tensor]]
UNDISTURBED: dict[str, End] = {}
"""By job: several tests hold the same ones against theirs."""


@pytest.fixture
def end_of(monkeypatch: pytest.MonkeyPatch) -> Callable[..., End]:
    """Outcome, curve without times, and weights of a training."""
    lives: list[TrainState] = []
    fresh = loop.initial_state

    def remembered(*args: Any) -> TrainState:
        lives.append(fresh(*args))
        return lives[-1]

    monkeypatch.setattr(loop, "initial_state", remembered)

    def end_of(one: Job, saved: Saved | None = None) -> End:
        if saved is None and repr(one) in UNDISTURBED:
            return UNDISTURBED[repr(one)]
        curve: list[Epoch] = []
        training = train(one, small(), curve.append, saved)
        assert [row.seconds for row in curve] == sorted(row.seconds for row in curve)
        timeless = [replace(row, seconds=0.0) for row in curve]
        end = training, timeless, lives[-1].model.state_dict()
        if saved is None:
            UNDISTURBED[repr(one)] = end
        return end

    return end_of


def interrupted(one: Job, epochs: int, state: bytes | None = None) -> bytes:
    """The state of a training after so many more epochs."""
    kept = Kept(state, until=epochs)
    with pytest.raises(InterruptedTraining):
        train(one, small(), saved=kept)
    assert kept.refused == []
    assert kept.state is not None
    return kept.state


def assert_same(one: End, other: End) -> None:
    assert one[0] == other[0]
    assert one[1] == other[1]
    assert one[2].keys() == other[2].keys()
    ours, theirs = (
        {name: t.nan_to_num(777.0) for name, t in end[2].items()} for end in (one, other)
    )
    assert [name for name in ours if not torch.equal(ours[name], theirs[name])] == []


@pytest.mark.parametrize("name", JOBS)
def test_ends_as_an_undisturbed_one_wherever_it_was_interrupted(
    end_of: Callable[..., End], name: str
) -> None:
    undisturbed = end_of(JOBS[name])
    assert [row.epoch for row in undisturbed[1]] == [0, 1, 2, 3, 4]
    after: bytes | None = None
    for epoch in (1, 2, 3):  # each piece is one epoch
        after = interrupted(JOBS[name], 1, after)
        if epoch != 2:
            last = Kept(after)
            assert_same(end_of(JOBS[name], last), undisturbed)
            assert (last.refused, last.offers) == ([], [None] * (3 - epoch))


def test_offering_changes_nothing(end_of: Callable[..., End]) -> None:
    one = JOBS["adamw, all on"]
    assert_same(end_of(one, Kept()), end_of(one))


PARTS = ("model", "memories", "average", "order", "images", "mixing", "statistics", "losses")


@pytest.mark.parametrize("part", PARTS)
def test_each_part_of_the_state_is_needed_and_used(end_of: Callable[..., End], part: str) -> None:
    """With one part of an earlier epoch the end is another."""
    one = replace(JOBS["adamw, all on"], epochs=3)
    first = interrupted(one, 1)
    earlier, now = unpacked(first), unpacked(interrupted(one, 1, first))
    kept = Kept(with_earlier(part, now, earlier))
    _, curve, _ = end_of(one, kept)
    _, undisturbed, _ = end_of(one)
    assert kept.refused == []
    assert curve[:3] == undisturbed[:3]
    assert curve[3:] != undisturbed[3:]


def test_a_training_that_diverges_later_does_so_at_the_same_step(
    end_of: Callable[..., End],
) -> None:
    one = job(epochs=4, lr=10.0, weight_decay=0.0, model="vitp-nano", warmup_epochs=2.0)
    undisturbed = end_of(one)
    assert undisturbed[0].outcome == "diverged"
    assert undisturbed[0].diverged_at is not None
    assert undisturbed[0].diverged_at >= 4
    assert_same(end_of(one, Kept(interrupted(one, 1))), undisturbed)


class Dropping(nn.Module):
    """Reads torch's global generator, and counts in a buffer that is in no state_dict."""

    def __init__(self, size: int, classes: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Dropout(0.3), nn.Linear(size, classes))
        self.register_buffer("seen", torch.zeros(()), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        self.seen += 1
        return self.layers(images) * (1 + self.seen / 100)  # type: ignore[no-any-return]


def dropping(classes: int, image_shape: tuple[int, int, int]) -> nn.Module:
    channels, height, width = image_shape
    return Dropping(channels * height * width, classes)


def test_a_model_with_dropout_goes_on_with_its_random_numbers(end_of: Callable[..., End]) -> None:
    one = job(model=f"{__name__}:dropping", epochs=4)
    torch.manual_seed(5)
    undisturbed = end_of(one)
    torch.manual_seed(5)
    state = interrupted(one, 2)
    torch.manual_seed(77)
    assert_same(end_of(one, Kept(state)), undisturbed)


def test_a_sealed_file_is_one_that_torch_opens(tmp_path: Path) -> None:
    state = interrupted(JOBS["sgd"], 1)
    path = tmp_path / "trial.pt"
    path.write_bytes(state + b"\n" + trailer_of(state, b"trial", b"code", b"1.000"))
    assert torch.load(path, weights_only=True)["past"]["rows"][1]["epoch"] == 1


# --- what cannot be used -----------------------------------------------------------------------


class Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return (pytest.fail, ("it was unpickled",))


def spoilt(state: bytes, how: str) -> bytes:
    others = {
        "bomb": lambda: pickle.dumps(Bomb()),
        "bomb inside": lambda: repacked(unpacked(state) | {"past": Bomb()}),
        "cut": lambda: state[: len(state) // 2],
        "garbage": lambda: b"\x80\x04" + bytes(range(256)),
        "empty": lambda: b"",
    }
    return others[how]() if how in others else with_fault(state, how)


@pytest.mark.parametrize(
    "how", ["format", "kind", "late", "bomb", "bomb inside", "cut", "garbage", "empty"]
)
def test_what_cannot_be_used_is_refused_and_training_begins_anew(
    end_of: Callable[..., End], how: str
) -> None:
    one = job(epochs=2)
    kept = Kept(spoilt(interrupted(one, 1), how))
    assert_same(end_of(one, kept), end_of(one))
    (reason,) = kept.refused
    assert reason.startswith("cannot be used (")
    if how == "kind":
        assert "made on cuda, this is cpu" in reason


def test_a_checkpoint_of_another_model_is_refused(end_of: Callable[..., End]) -> None:
    kept = Kept(interrupted(JOBS["sgd"], 1))
    assert_same(end_of(JOBS["adamw"], kept), end_of(JOBS["adamw"]))
    assert len(kept.refused) == 1


# --- the objective -----------------------------------------------------------------------------


def test_the_objective_gives_the_same_result_whether_interrupted_or_not() -> None:
    one = trial(epochs=3)

    def result(saved: Saved) -> dict[str, Any]:
        cohort = Cohort(trials=(one,), device="cpu", saved={one.id: saved})
        (found,) = train_images(cohort)
        values = {key: v for key, v in asdict(found).items() if key != "curve"}
        values["values"].pop("peak_memory")
        curve = [{key: v for key, v in row.items() if key != "seconds"} for row in found.curve]
        return {**values, "curve": curve}

    kept = Kept(until=2)
    with pytest.raises(InterruptedTraining):
        result(kept)
    undisturbed = result(Saved())
    assert len(undisturbed["curve"]) == 4
    assert undisturbed["values"]["device"] == "cpu"
    assert result(Kept(kept.state)) == undisturbed


def test_seconds_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """And the kinds of device are all named."""
    state = interrupted(JOBS["sgd"], 2)
    content = unpacked(state)
    before = content["past"]["rows"][2]["seconds"]
    content["past"]["seconds"] += 1000.0
    content["past"]["devices"] = ("an older one",)
    curve: list[Epoch] = []
    training = train(JOBS["sgd"], small(), curve.append, Kept(repacked(content)))
    assert curve[2].seconds == before
    assert 1000 + before < curve[3].seconds < 1060
    assert training.devices == ("an older one", "cpu")
    assert np.isfinite(curve[3].loss)
