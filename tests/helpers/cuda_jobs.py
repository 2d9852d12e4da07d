"""Small jobs for a GPU. Imports torch, pytest and `stability.training` alone."""

from typing import Any

import pytest
import torch

from stability.training.loop import Job
from stability.training.settings import Recipe

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")

N, CLASSES = 512, 10
RECIPES: dict[str, dict[str, Any]] = {
    "sgd": {"lr": 0.02},
    "adamw": {"optimizer": "adamw", "weight_decay": 0.3},
    "clip": {"lr": 0.02, "clip": 0.5},
    "averaged": {"lr": 0.02, "ema": 0.005, "ema_period": 2},
    "crops": {"optimizer": "adamw", "flip": 0.5, "crop_padding": 4},
    "mixed": {"optimizer": "adamw", "mixup": 0.8, "cutmix": 1.0, "crop_area": 0.3},
    "batchnorm": {"model": "regnety-nano", "lr": 0.005, "precise_bn": 128},
}


def job(precision: str = "float32", **changes: Any) -> Job:
    own = {name: changes.pop(name, value) for name, value in
           (("model", "vitc-micro"), ("optimizer", "sgd"), ("epochs", 2), ("seed", 3))}  # fmt: skip
    settings: dict[str, Any] = {"lr": 1e-3, "weight_decay": 1e-3, "batch_size": 64}
    return Job(**own, recipe=Recipe(**settings | changes), precision=precision)
