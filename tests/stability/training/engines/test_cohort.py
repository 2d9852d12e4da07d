"""A trial in a cohort is the trial alone, whatever becomes of the others."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any
from weakref import ReferenceType, ref

import pytest
import torch
import torch.nn.functional as F
from cohorts import PAPER, alone, cohort_of, different, in_double, same_numbers, together
from nets import apart, restless
from torch import Tensor
from trainings import job, small

from stability.training import loop
from stability.training.augment.batches import Streams, training_batch
from stability.training.engines import cohort
from stability.training.engines.cohort import train_cohort
from stability.training.engines.stack import Stack
from stability.training.loop import Epoch, Job
from stability.training.optimizers import decay_groups
from stability.training.outcome import Training
from stability.training.tensors import TensorData


@pytest.fixture
def double(monkeypatch: pytest.MonkeyPatch) -> TensorData:
    return in_double(monkeypatch)


# --- the same as alone --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "optimizer", "settings"),
    [
        ("vitp-nano", "sgd", {}),
        ("vitp-nano", "adamw", {}),
        ("vitc-nano", "sgd", PAPER),
        ("vitc-nano", "adamw", PAPER),
        ("regnety-nano", "sgd", PAPER),
    ],
)
def test_each_trial_is_what_it_is_alone_over_the_whole_schedule(
    double: TensorData, model: str, optimizer: str, settings: dict[str, Any]
) -> None:
    jobs = different(model=model, optimizer=optimizer, **settings)
    found = together(jobs, double)
    assert found.order == [0, 1, 2]
    for k, one in enumerate(jobs):
        training, rows = alone(one, double)
        assert found.ends[k].outcome == training.outcome != "diverged"
        assert found.ends[k].test.wrong == training.test.wrong
        assert (found.ends[k].raw_test is None) == (training.raw_test is None)
        if training.raw_test is not None:
            assert found.ends[k].raw_test.wrong == training.raw_test.wrong
            assert found.ends[k].raw_test.loss == pytest.approx(training.raw_test.loss, rel=1e-5)
        assert len(found.curves[k]) == len(rows) == 3
        for ours, theirs in zip(found.curves[k], rows, strict=True):
            same_numbers(ours, theirs, rel=1e-5)  # losses are added up in single precision
    assert [found.ends[k].computed for k in range(3)] == [2, 2, 2]


class Enough(Exception):  # noqa: N818 - no error
    pass


@pytest.mark.parametrize(
    ("model", "settings"),
    [
        ("vitp-nano", {}),
        ("vitp-nano", PAPER),
        ("vitc-nano", PAPER),
        ("regnety-nano", {}),
        ("resnet-nano", {}),
    ],
)
def test_gradients_of_the_first_step_in_single_precision(
    monkeypatch: pytest.MonkeyPatch, model: str, settings: dict[str, Any]
) -> None:
    """Of each parameter to 1e-5, as double precision has it alone.

    Single precision alone, in channels-last layout on a CPU, is up to 3% away for conv nets.
    """
    monkeypatch.setattr(loop, "build", restless)
    jobs = different(model=model, **settings)
    found: list[tuple[Tensor, list[Tensor]]] = []

    def only_gradients(stack: Stack) -> Callable[[], None]:
        def note(losses: Tensor, each: list[Tensor]) -> None:
            found.append((losses, each))
            raise Enough

        stack._move = note  # type: ignore[method-assign]
        return stack.step

    with pytest.raises(Enough):
        list(train_cohort(jobs, small(), lambda i, row: None, prepare=only_gradients))
    ((losses, each),) = found
    for k, one in enumerate(jobs):
        loss, gradients = first_gradients(one)
        assert float(losses[k]) == pytest.approx(loss, rel=1e-5)
        for ours, (name, expected) in zip(each, gradients.items(), strict=True):
            assert apart(ours[k], expected.flatten()) < 1e-5, name


def first_gradients(one: Job) -> tuple[float, dict[str, Tensor]]:
    """Loss and gradients of the first step, in the order of the optimizer's groups."""
    streams, part = Streams.of(one.seed), small().train
    model = restless(one.model, channels=1, classes=10, generator=streams.weights)
    model = model.double().train()
    rows = torch.randperm(len(part), generator=streams.order)[: one.recipe.batch_size]
    images, targets = training_batch(part, rows, 10, one.recipe, streams)
    smoothing = one.recipe.label_smoothing
    targets = targets.double() if targets.is_floating_point() else targets
    loss = F.cross_entropy(model(images.double()), targets, label_smoothing=smoothing)
    decayed, exempt = decay_groups(model)
    names = {parameter: name for name, parameter in model.named_parameters()}
    gradients = torch.autograd.grad(loss, [*decayed, *exempt])
    return loss.item(), dict(zip(map(names.get, [*decayed, *exempt]), gradients, strict=True))


def test_a_trial_does_not_hang_on_its_place_or_company(double: TensorData) -> None:
    jobs = different(model="vitp-nano")
    first, turned = together(jobs, double), together(jobs[::-1], double)
    single = together(jobs[1:2], double)
    for ours, theirs in (
        (first.curves[1], turned.curves[1]),
        (first.curves[0], turned.curves[2]),
        (first.curves[1], single.curves[0]),
    ):
        for a, b in zip(ours, theirs, strict=True):
            same_numbers(a, b, rel=1e-5)


# --- divergence ---------------------------------------------------------------------------------


WILD = {"lr": 1e20}


def with_wild(wild: dict[str, Any], **changes: Any) -> list[Job]:
    jobs = different(**changes)
    calm = replace(jobs[1].recipe, clip=None)
    jobs[1] = replace(jobs[1], recipe=replace(calm, **wild))
    return jobs


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize(
    ("model", "settings"),
    [("vitp-nano", {}), ("vitc-nano", PAPER | {"precise_bn": None}), ("regnety-nano", {})],
    ids=["vitp", "vitc-paper", "regnety"],
)
def test_who_diverges_touches_nobody(
    monkeypatch: pytest.MonkeyPatch, model: str, settings: dict[str, Any], optimizer: str
) -> None:
    """The others are, to the bit, what they are beside a trial that stays finite."""
    monkeypatch.setattr(cohort, "SIZES", (3,))
    options = {"model": model, "optimizer": optimizer, "epochs": 2, **settings}
    calm, spoilt = together(with_wild({}, **options)), together(with_wild(WILD, **options))
    assert calm.ends[1].outcome != "diverged"
    assert spoilt.ends[1] == alone(with_wild(WILD, **options)[1])[0]
    assert spoilt.ends[1].outcome == "diverged"
    assert spoilt.order[0] == 1
    for k in (0, 2):
        assert spoilt.ends[k] == calm.ends[k]
        assert [replace(row, seconds=0.0) for row in spoilt.curves[k]] == [
            replace(row, seconds=0.0) for row in calm.curves[k]
        ]
        assert torch.equal(spoilt.stack.weights.matrix[k], calm.stack.weights.matrix[k])


@pytest.mark.parametrize("lr", [1e4, 1e200])  # at 20, rounding decides the step
@pytest.mark.parametrize("model", ["vitp-nano", "vitc-nano"])
def test_the_step_of_divergence_is_that_alone(double: TensorData, model: str, lr: float) -> None:
    jobs = [job(model=model, seed=seed, lr=lr, epochs=6, batch_size=25) for seed in (3, 4, 5)]
    found = together(jobs, double)
    for k, one in enumerate(jobs):
        training, rows = alone(one, double)
        assert training.outcome == "diverged"
        assert found.ends[k] == training
        for ours, theirs in zip(found.curves[k], rows, strict=True):
            assert (ours.epoch, ours.lr) == (theirs.epoch, theirs.lr)
            if lr > 1e4 or theirs.epoch == 0:  # later rounding is magnified without bounds
                same_numbers(ours, theirs, rel=1e-5)
        assert found.curves[k][-1].diverged_at == rows[-1].diverged_at == training.diverged_at


def test_the_row_of_the_epoch_of_divergence_is_told_before_the_end_is() -> None:
    told: list[Epoch] = []
    jobs = [job(model="vitp-nano", seed=seed, lr=1e20) for seed in range(2)]
    for index, training in train_cohort(jobs, small(), lambda i, row: i or told.append(row)):
        if index == 0:
            assert training.outcome == "diverged"
            assert told[-1].diverged_at == training.diverged_at
            assert told[-1].grad_norm > 0
            return


@pytest.mark.parametrize("name", ["stem.0.weight", "stem.1.running_var"])
def test_a_value_that_no_loss_shows_ends_the_training(name: str) -> None:
    jobs = [job(model="vitc-nano", seed=seed, epochs=3) for seed in range(3)]

    def spoiling(stack: Stack) -> Callable[[], None]:
        def step() -> None:
            stack.step()
            if len(stack) == 3 and int(stack.tables.at) == 4:
                stack.weights.module.state_dict()[name][0].view(-1)[0] = float("inf")

        return step

    ends = dict(train_cohort(jobs, small(), lambda i, row: None, prepare=spoiling))
    assert ends[0] == Training(outcome="diverged", diverged_at=3, devices=("cpu",))
    assert [ends[k].outcome == "diverged" for k in (1, 2)] == [False, False]


def test_repacking_changes_nothing_and_saves_its_share(
    monkeypatch: pytest.MonkeyPatch, double: TensorData
) -> None:
    """Of three one diverges in the first of four epochs: three epochs are computed for two."""
    options = {"model": "vitc-nano", "optimizer": "adamw", "epochs": 4}
    options |= {"ema": 0.01, "ema_period": 2}
    jobs = with_wild({"lr": 1e200}, **options)
    packed = together(jobs, double)
    monkeypatch.setattr(cohort, "SIZES", (3,))
    whole = together(jobs, double)
    assert packed.order == whole.order == [1, 0, 2]
    for k in range(3):
        assert packed.ends[k].outcome == whole.ends[k].outcome
        assert packed.ends[k].diverged_at == whole.ends[k].diverged_at
        for ours, theirs in zip(packed.curves[k], whole.curves[k], strict=True):
            same_numbers(ours, theirs, rel=1e-5)
    assert (len(packed.stack), len(whole.stack)) == (2, 3)
    assert [packed.ends[k].computed for k in range(3)] == [4, 1, 4]
    assert [whole.ends[k].computed for k in range(3)] == [5.5, 1, 5.5]  # three more of the diverged
    assert (packed.computed, whole.computed) == (3 + 3 * 2, 3 * 4)


def out_of_memory() -> None:
    raise torch.OutOfMemoryError


def capture_that_fails_to_end() -> None:
    try:
        out_of_memory()
    finally:
        raise RuntimeError("CUDA error: operation failed due to a previous error during capture")


class Held:
    """A step that holds memory."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack

    def __call__(self) -> None:
        self._stack.step()


@pytest.mark.parametrize("fail", [out_of_memory, capture_that_fails_to_end])
def test_a_cohort_that_cannot_be_repacked_goes_on_as_it_was(
    monkeypatch: pytest.MonkeyPatch, fail: Callable[[], None]
) -> None:
    """To the bit, whatever the attempt did; before a step is made the last one's memory is free."""
    options = {"model": "vitc-nano", "optimizer": "adamw", "epochs": 4, "ema": 0.01}
    jobs = with_wild({"lr": 1e20}, **options)
    tried: list[int] = []
    steps: list[ReferenceType[Held]] = []
    curves: dict[str, list[tuple[int, Epoch]]] = {"whole": [], "tried": []}

    def prepare(stack: Stack) -> Callable[[], None]:
        assert all(step() is None for step in steps)
        tried.append(len(stack))
        if len(stack) == 2:
            stack.step()
            stack.step()
            fail()
        step = Held(stack)
        steps.append(ref(step))
        return step

    def note(name: str) -> Callable[[int, Epoch], None]:
        return lambda i, row: curves[name].append((i, replace(row, seconds=0.0)))

    ends = list(train_cohort(jobs, small(), note("tried"), prepare=prepare))
    monkeypatch.setattr(cohort, "SIZES", (3,))
    assert ends == list(train_cohort(jobs, small(), note("whole")))
    assert curves["tried"] == curves["whole"]
    assert tried == [3, 2, 3]


def test_what_is_no_lack_of_memory_is_raised_when_a_cohort_is_repacked() -> None:
    def prepare(stack: Stack) -> Callable[[], None]:
        if len(stack) == 2:
            raise RuntimeError("no such kernel")
        return stack.step

    jobs = with_wild({"lr": 1e20}, model="vitp-nano", epochs=3)
    with pytest.raises(RuntimeError, match="no such kernel"):
        list(train_cohort(jobs, small(), lambda i, row: None, prepare=prepare))


def test_where_all_diverge_nothing_more_is_computed() -> None:
    jobs = [job(model="vitp-nano", seed=seed, lr=1e20, epochs=50) for seed in range(2)]
    found = together(jobs)
    assert {end.outcome for end in found.ends.values()} == {"diverged"}
    assert found.computed <= 2 * 4 < 2 * 50


@pytest.mark.parametrize(
    ("alive", "slots", "left"), [(9, 10, 10), (8, 10, 8), (5, 8, 6), (1, 2, 1)]
)
def test_a_cohort_is_repacked_to_few_sizes(alive: int, slots: int, left: int) -> None:
    jobs = [job(model="vitp-nano", seed=seed) for seed in range(slots)]
    made = cohort_of(jobs)
    for slot in made.slots[1 : 1 + slots - alive]:
        slot.alive = False
    made.repack(cohort.as_it_is)
    assert len(made.stack) == len(made.slots) == left
    assert sum(slot.alive for slot in made.slots) == alive
    assert [slot.index for slot in made.slots] == sorted(slot.index for slot in made.slots)
