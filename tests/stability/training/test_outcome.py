"""Wrong answers are counted exactly, and useless runs are told from usable ones."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from nets import NANO
from torch import Tensor, nn

from stability.models.build import build
from stability.training import outcome
from stability.training.outcome import evaluate, evaluate_stacked
from stability.training.tensors import TensorPart

CLASSES = 4


class SaysItsPixel(nn.Module):
    """Answers with the first pixel of each image, as sure as `confidence`."""

    def __init__(self, confidence: float = 3.0) -> None:
        super().__init__()
        self.confidence = confidence

    def forward(self, images: Tensor) -> Tensor:
        answers = images[:, 0, 0, 0].long()
        return self.confidence * nn.functional.one_hot(answers, CLASSES).float()


def part(answers: list[int], labels: list[int]) -> TensorPart:
    images = torch.tensor(answers, dtype=torch.uint8)[:, None, None, None]
    return TensorPart(images, torch.tensor(labels), torch.zeros(1, 1, 1), torch.ones(1, 1, 1))


def test_counts_wrong_answers() -> None:
    found = evaluate(SaysItsPixel(), part([0, 1, 2, 3, 3, 3, 0], [0, 1, 2, 3, 0, 1, 1]))
    assert (found.wrong, found.n) == (3, 7)
    assert found.error == 100 * 3 / 7
    assert type(found.wrong) is int
    assert not found.constant


def test_all_right_and_all_wrong() -> None:
    assert evaluate(SaysItsPixel(), part([0, 1, 2], [0, 1, 2])).error == 0.0
    assert evaluate(SaysItsPixel(), part([1, 2, 0], [0, 1, 2])).error == 100.0


def test_loss_is_the_mean_cross_entropy_without_label_smoothing() -> None:
    found = evaluate(SaysItsPixel(3.0), part([0, 1, 2, 3], [0, 1, 2, 0]))
    normaliser = np.log(np.exp(3.0) + 3)
    assert found.loss == pytest.approx(normaliser - 3 * 3.0 / 4, rel=1e-6)


def test_chance_is_the_error_of_always_answering_the_largest_class() -> None:
    labels = [0] * 5 + [1] * 3 + [2] * 2
    assert evaluate(SaysItsPixel(), part([0, 1] * 5, labels)).chance == pytest.approx(50.0)
    assert evaluate(SaysItsPixel(), part([1] * 4, [0, 1, 2, 3])).chance == pytest.approx(75.0)


def test_one_answer_for_all_is_constant_right_or_wrong() -> None:
    assert evaluate(SaysItsPixel(), part([2] * 5, [0, 1, 2, 3, 2])).constant
    assert evaluate(SaysItsPixel(), part([2] * 5, [2] * 5)).constant
    assert not evaluate(SaysItsPixel(), part([2] * 4 + [1], [2] * 5)).constant


@pytest.mark.parametrize("batch", [1, 7, 100, 1000])
@pytest.mark.parametrize("name", NANO)
def test_does_not_depend_on_the_batch(
    name: str, batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also not through a norm: running statistics are used, and left as they are."""
    model, images = awake(name), noise(110)
    assert outcome.EVALUATION_BATCH < 110
    first = evaluate(model, images)
    assert not first.constant
    monkeypatch.setattr(outcome, "EVALUATION_BATCH", batch)
    again = evaluate(model, images)
    assert again == replace(first, loss=again.loss)
    assert again.loss == pytest.approx(first.loss, rel=1e-5)


def noise(n: int) -> TensorPart:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (n, 1, 32, 32), dtype=torch.uint8, generator=generator)
    labels = torch.arange(n) % 10
    return TensorPart(images, labels, torch.full((1, 1, 1), 127.0), torch.full((1, 1, 1), 74.0))


def awake(name: str) -> nn.Module:
    """Its head is not zero and reads no mean that all images share, so that its answers differ."""
    generator = torch.Generator().manual_seed(0)
    model = build(name, channels=1, classes=10, generator=generator)
    nn.init.normal_(model.head.weight, generator=generator)
    with torch.no_grad():
        images, _ = noise(110).batch(torch.arange(110))
        model.head.bias -= model.eval()(images).mean(dim=0)
    return model


@pytest.mark.parametrize("name", NANO)
def test_running_statistics_are_used_and_nothing_is_changed(name: str) -> None:
    model = awake(name).train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    found = evaluate(model, noise(20))
    after = model.state_dict()
    assert all(torch.equal(value, after[key]) for key, value in before.items())
    assert not model.training
    model.train()
    buffers = [b for key, b in model.named_buffers() if key.endswith("running_var")]
    for running_var in buffers:
        running_var.mul_(9.0)
    assert (evaluate(model, noise(20)).loss != found.loss) == bool(buffers)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_models_evaluated_as_one_see_so_many_images_that_all_together_are_a_batch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sizes: list[int] = []

    class Notes(SaysItsPixel):
        def forward(self, images: Tensor) -> Tensor:
            sizes.append(len(images))
            return super().forward(images)

    on_gpu = partial(outcome.images_at_once, torch.device("cuda"))
    monkeypatch.setattr(outcome, "GPU_BATCH", 12)
    monkeypatch.setattr(outcome, "images_at_once", lambda device, models=1: on_gpu(models))
    images = part([0, 1, 2, 3, 3, 3, 0], [0, 1, 2, 3, 0, 1, 1])
    for k, seen in ((1, [7]), (4, [12, 12, 4]), (100, [100] * 7)):
        sizes.clear()
        each = evaluate_stacked(Notes(), k, images)
        assert sizes == seen
        assert [found.wrong for found in each] == [3] * k
