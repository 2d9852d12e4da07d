"""How a training ended: its errors as counts."""

from dataclasses import dataclass, field
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stability.training.precision import logits_of
from stability.training.tensors import TensorPart

EVALUATION_BATCH = 100  # about what the caches hold; answers do not depend on it
GPU_BATCH = 1024  # of all models together; with fewer images a GPU waits for Python


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """A model's answers on one part of the data."""

    wrong: int
    n: int
    loss: float
    """Mean cross-entropy, without label smoothing."""
    chance: float
    """Percent of errors made by always answering the part's largest class."""
    constant: bool
    """Whether every image got the same answer."""

    @property
    def error(self) -> float:
        """Percent of wrong answers."""
        return 100 * self.wrong / self.n


@dataclass(frozen=True, kw_only=True)
class Training:
    """How a training ended."""

    outcome: Literal["ok", "diverged"]
    """Whether an `ok` one is collapsed is decided by `stability.objective`."""
    diverged_at: int | None = None
    """Step, from 0, of the first non-finite training loss; the epoch's last step where at its end
    only a weight, a running statistic or the validation loss was not finite."""
    test: Evaluation | None = None
    """Of the model that is evaluated: the averaged one if the recipe averages. None if diverged."""
    raw_test: Evaluation | None = None
    """Of the weights themselves, where the recipe averages."""
    devices: tuple[str, ...] = ()
    """Names of those that trained it: more than one only where an interrupted training went on."""
    computed: float | None = field(default=None, compare=False)  # depends on the cohort
    """Epochs charged to a trial of a cohort: its own, plus, for those that end last, an equal share
    of the epochs computed for diverged slots."""


def majority_error(part: TensorPart) -> float:
    """Percent of errors made by always answering the part's largest class."""
    return 100 * (1 - int(torch.bincount(part.labels).max()) / len(part))


def images_at_once(device: torch.device, models: int = 1) -> int:
    """How many images a model, of `models` evaluated as one, is shown at a time.

    >>> images_at_once(torch.device("cuda")), images_at_once(torch.device("cuda"), 16)
    (1024, 64)
    """
    return max(1, GPU_BATCH // models) if device.type == "cuda" else EVALUATION_BATCH


@torch.no_grad()
def evaluate(model: nn.Module, part: TensorPart, precision: str = "float32") -> Evaluation:
    """Evaluate `model`, in evaluation mode, on every image of `part`."""
    model.eval()
    answers, loss = [], torch.zeros((), device=part.labels.device)
    everything = torch.arange(len(part), device=part.labels.device)
    for rows in torch.split(everything, images_at_once(everything.device)):
        images, labels = part.batch(rows)
        logits = logits_of(model, images, precision)
        loss += F.cross_entropy(logits, labels, reduction="sum")
        answers.append(logits.argmax(dim=1))
    return _judged(torch.cat(answers), float(loss), part)


@torch.no_grad()
def evaluate_stacked(
    model: nn.Module, k: int, part: TensorPart, precision: str = "float32"
) -> list[Evaluation]:
    """Evaluate a stack of k models (`models.stacked`), each on every image of `part`."""
    model.eval()
    answers, loss = [], torch.zeros(k, device=part.labels.device)
    everything = torch.arange(len(part), device=part.labels.device)
    for rows in torch.split(everything, images_at_once(everything.device, k)):
        images, labels = part.batch(rows)
        logits = logits_of(model, images.repeat(k, 1, 1, 1), precision)
        each = F.cross_entropy(logits, labels.repeat(k), reduction="none")
        loss += each.view(k, -1).sum(1)
        answers.append(logits.argmax(dim=1).view(k, -1))
    pairs = zip(torch.cat(answers, dim=1), loss.tolist(), strict=True)
    return [_judged(answer, total, part) for answer, total in pairs]


def _judged(answer: Tensor, loss: float, part: TensorPart) -> Evaluation:
    """Of the answers (N,) to a part and the sum of their losses."""
    return Evaluation(
        wrong=int((answer != part.labels).sum()),
        n=len(part),
        loss=loss / len(part),
        chance=majority_error(part),
        constant=bool((answer == answer[0]).all()),
    )
