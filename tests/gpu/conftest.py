"""What the tests on a GPU share; they run without pydantic and optuna."""

from typing import Any

import numpy as np
import pytest
import torch
from cuda_jobs import CLASSES, N

from stability.training.engines.train_with import GRAPHS
from stability.training.tensors import TensorData, TensorPart


@pytest.fixture(autouse=True)
def exact() -> Any:
    """float32 means it; whatever a test captured is freed."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    yield
    GRAPHS.clear()
    torch.backends.cudnn.allow_tf32 = before


@pytest.fixture(scope="module")
def data() -> TensorData:
    """Images of ten noisy patterns: something can be learnt in a few steps."""
    rng = np.random.default_rng(0)
    patterns = rng.integers(0, 256, (CLASSES, 3, 32, 32))

    def part(n: int) -> TensorPart:
        labels = rng.integers(0, CLASSES, n)
        images = (patterns[labels] + rng.integers(0, 256, (n, 3, 32, 32))) // 2
        mean, std = (torch.full((3, 1, 1), value, device="cuda") for value in (127.0, 50.0))
        pixels = torch.tensor(images.astype(np.uint8), device="cuda")
        return TensorPart(pixels, torch.tensor(labels, device="cuda"), mean, std)

    return TensorData((3, 32, 32), CLASSES, part(N), part(128), part(128))
