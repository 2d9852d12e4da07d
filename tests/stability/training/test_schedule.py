"""The learning rate climbs over the warm-up and falls along half a cosine, as in pycls."""

import math
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stability.training.schedule import lr_at
from stability.training.settings import Recipe


def recipe(**changes: float) -> Recipe:
    return Recipe(**{"lr": 1.0, "weight_decay": 0.0, **changes})


def schedule(steps: int, **changes: float) -> list[float]:
    return [lr_at(step, steps, recipe(**changes)) for step in range(steps)]


def test_starts_at_a_tenth_of_the_peak() -> None:
    assert lr_at(0, 100, recipe(lr=0.4)) == pytest.approx(0.04, rel=1e-12)


def test_is_the_cosine_from_the_end_of_the_warm_up_on() -> None:
    """Which is below the peak: the cosine's clock starts at step 0."""
    expected = 0.995 * 0.5 * (1 + math.cos(math.pi / 10)) + 0.005
    assert lr_at(10, 100, recipe()) == pytest.approx(expected, rel=1e-12)
    assert expected < 0.98


def test_is_halfway_between_peak_and_floor_in_the_middle() -> None:
    assert lr_at(50, 100, recipe()) == pytest.approx((1 + 0.005) / 2, rel=1e-12)


@pytest.mark.parametrize("steps", [2, 17, 85, 10_000])
def test_last_step_is_just_above_the_floor(steps: int) -> None:
    rest = 0.995 * 0.5 * (1 - math.cos(math.pi / steps))
    assert lr_at(steps - 1, steps, recipe(warmup=0.0)) == pytest.approx(0.005 + rest, rel=1e-9)


def test_climbs_to_the_end_of_the_warm_up_and_falls_after_it() -> None:
    lrs = schedule(200)
    assert all(a < b for a, b in pairwise(lrs[:21]))
    assert all(a > b for a, b in pairwise(lrs[20:]))


@pytest.mark.parametrize("lengths", [(50, 5), (100, 5), (400, 5), (85, 8), (7, 3)])
def test_is_the_schedule_of_pycls_once_a_step(lengths: tuple[int, int]) -> None:
    """Theirs counts epochs e of E with a warm-up of W; ours is the same with steps."""
    total, warm = lengths
    for e in range(total):
        expected = 0.7 * (0.995 * 0.5 * (1 + math.cos(math.pi * e / total)) + 0.005)
        if e < warm:
            alpha = e / warm
            expected *= 0.1 * (1 - alpha) + alpha
        found = lr_at(e, total, recipe(lr=0.7, warmup=warm / total))
        assert found == pytest.approx(expected, rel=1e-12)


def test_without_a_warm_up_it_starts_at_the_peak() -> None:
    assert lr_at(0, 100, recipe(warmup=0.0)) == 1.0


def test_constants_are_the_recipes() -> None:
    assert lr_at(0, 100, recipe(warmup_from=0.25)) == pytest.approx(0.25)
    assert schedule(50, warmup=0.0, floor=1.0) == [1.0] * 50
    assert lr_at(99_999, 100_000, recipe(floor=0.3)) == pytest.approx(0.3)
    assert lr_at(25, 100, recipe(warmup=0.5, floor=1.0)) == pytest.approx(0.1 + 0.9 / 2)


def test_once_an_epoch_is_pycls_schedule() -> None:
    """lr(e) = base (0.995 (1 + cos(pi e / E)) / 2 + 0.005), times 0.1 (1 - e/5) + e/5 for e < 5."""
    epochs, of_epoch = 50, 7
    one = recipe(lr=0.3, lr_per="epoch", warmup_epochs=5)
    for step in range(epochs * of_epoch):
        e = step // of_epoch
        expected = 0.3 * (0.995 * 0.5 * (1 + math.cos(math.pi * e / epochs)) + 0.005)
        if e < 5:
            expected *= 0.1 * (1 - e / 5) + e / 5
        assert lr_at(step, epochs * of_epoch, one, epochs) == pytest.approx(expected, rel=1e-12)


def test_warm_up_in_epochs_is_the_share_of_the_schedule_that_they_are() -> None:
    for step in range(60):
        share = lr_at(step, 60, recipe(warmup=0.25), 12)
        assert lr_at(step, 60, recipe(warmup_epochs=3), 12) == pytest.approx(share, rel=1e-12)


@settings(deadline=None)  # a busy machine is no fault of the schedule
@given(
    steps=st.integers(1, 2000),
    share=st.floats(0, 1, exclude_max=True),
    warmup=st.floats(0, 1),
    floor=st.floats(0, 1),
    peak=st.floats(1e-6, 1e3),
)
def test_never_above_the_peak_and_never_below_the_floor_after_the_warm_up(
    steps: int, share: float, warmup: float, floor: float, peak: float
) -> None:
    step = int(share * steps)
    lr = lr_at(step, steps, recipe(lr=peak, warmup=warmup, floor=floor))
    assert 0 <= lr <= peak * (1 + 1e-12)
    if step >= warmup * steps:
        assert lr >= floor * peak * (1 - 1e-12)
    assert lr == pytest.approx(peak * lr_at(step, steps, recipe(warmup=warmup, floor=floor)))
