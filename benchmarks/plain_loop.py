"""A trial of the main job, trained by a loop as PyTorch's own tutorials write it.

    python -m benchmarks.plain_loop TRIALS FIRST STEP: prints the seconds of training.

DataLoader, `torch.optim`, `LambdaLR`, a model that computes all that it is written to compute: what
a study brings that has no `stability`. Same network, weights, batches, schedule and data as ours,
so that the errors are the same but for rounding (`tests/benchmarks/test_plain_loop.py`); as there,
the validation part is looked at after each epoch and the test part at the end.
"""

import sys
import time
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.bare_loop import design
from stability.data import load_data
from stability.models.build import build
from stability.models.vit import ViT
from stability.training.augment.batches import Streams
from stability.training.optimizers import decay_groups
from stability.training.schedule import lr_at
from stability.training.settings import Recipe
from stability.training.tensors import TensorData, TensorPart
from sweeps.study.trial import Trial

EVALUATION_BATCH = 100


def error_of(trial: Trial) -> float:
    """Train one trial; its error on the test part in percent, infinite where it diverged."""
    torch.set_num_threads(1)  # a process a core
    recipe, streams = Recipe.of(trial.settings), Streams.of(trial.seed)
    data = TensorData.of(load_data(trial.data), "cpu")
    train = standardised(data.train)
    model = build(
        trial.model,
        channels=data.shape[0],
        classes=data.classes,
        generator=streams.weights,
        device="cpu",
        image=data.shape[1:],
        stem_init=recipe.stem_init,
        revision=recipe.revision,
    ).to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    optimizer = sgd(model, recipe)
    steps = trial.epochs * (len(train) // recipe.batch_size)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: lr_at(min(step, steps - 1), steps, recipe, trial.epochs)
    )
    for _ in range(trial.epochs):
        model.train()
        order = torch.randperm(len(train), generator=streams.order).tolist()
        total = 0.0
        for images, labels in DataLoader(train, recipe.batch_size, sampler=order, drop_last=True):
            loss = F.cross_entropy(
                forward(model, images), labels, label_smoothing=recipe.label_smoothing
            )
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            total += loss.item()
        if not torch.isfinite(torch.tensor(total)):
            return float("inf")
        error_on(model, standardised(data.validation))
    return error_on(model, standardised(data.test))


def sgd(model: nn.Module, recipe: Recipe) -> torch.optim.SGD:
    """As a schedule wants it, whose values are learning rates."""
    decayed, exempt = decay_groups(model, recipe.revision)
    groups: list[dict[str, Any]] = [
        {"params": decayed},
        {"params": exempt, "weight_decay": 0.0},
    ]
    return torch.optim.SGD(
        groups,
        lr=1.0,
        momentum=recipe.momentum,
        nesterov=recipe.nesterov,
        weight_decay=recipe.weight_decay,
    )


def standardised(part: TensorPart) -> TensorDataset:
    """Images and labels, once and for all."""
    return TensorDataset(part.standardised(part.images.float()), part.labels)


def forward(model: nn.Module, images: Tensor) -> Tensor:
    """The ViT as its equation says: every block for every token."""
    assert isinstance(model, ViT)
    assert model.class_token is not None
    x = model.stem(images).flatten(2).transpose(1, 2)
    x = torch.cat([model.class_token.expand(len(x), -1, -1), x], dim=1) + model.positions
    for block in model.blocks:
        x = block(x)
    return model.head(model.norm(x)[:, 0])  # type: ignore[no-any-return]


@torch.no_grad()
def error_on(model: nn.Module, part: TensorDataset) -> float:
    """Percent of wrong answers."""
    model.eval()
    wrong = sum(
        int((forward(model, images).argmax(dim=1) != labels).sum())
        for images, labels in DataLoader(part, EVALUATION_BATCH)
    )
    return 100 * wrong / len(part)


def main() -> None:
    """Train and print."""
    mine = design(sys.argv[1])[int(sys.argv[2]) :: int(sys.argv[3])]
    start = time.perf_counter()
    for trial in mine:
        error_of(trial)
    print(time.perf_counter() - start)


if __name__ == "__main__":
    main()
