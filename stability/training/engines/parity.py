"""Whether a graph of a model from elsewhere trains what its eager steps train.

A graph repeats what the device did in one step. What Python does in a forward pass (a random number
of its own, a counter) stays in it as it was then, and trains wrong in silence.
"""

import random

import numpy as np
import torch

from stability.training.engines.calibration_job import brief, shortened
from stability.training.engines.captured import kind_of
from stability.training.engines.train_with import STEP_RUNNERS
from stability.training.loop import Epoch, Job, StepRunner, train
from stability.training.tensors import TensorData

STEPS = 6  # of an epoch
EPOCHS = 2
NEAR = {"float32": 1e-3, "bfloat16": 2e-2}
"""By precision of the forward pass: how far means over an epoch may lie apart, as a share."""


def parity_fault(job: Job, data: TensorData) -> str | None:
    """Why a graph must not train jobs like this one; None where nothing speaks against it.

    A few steps by a graph and eagerly, from the same weights, images and random numbers of torch:
    losses and norms of the gradient must be equal to rounding. Raises what a capture raises.
    """
    one, few = brief(job, data, STEPS, EPOCHS), shortened(data, job, STEPS)
    before = _python_side()
    expected = _followed(one, few, StepRunner())
    if _python_side() != before:
        return f"{job.model} draws random numbers of Python or NumPy, which a graph would freeze"
    try:
        (rig,) = STEP_RUNNERS.of(kind_of(one), few, 1, compiled=False)
        with rig.lane():
            found = _followed(one, few, rig)
    finally:
        STEP_RUNNERS.clear()
    near = NEAR[job.precision]
    if found.shape != expected.shape or not np.allclose(found, expected, rtol=near):
        return f"{job.model} does other steps as a graph than step by step"
    return None


def _followed(job: Job, data: TensorData, rig: StepRunner) -> np.ndarray:
    """Mean loss and norm of the gradient of each epoch."""
    rows: list[Epoch] = []
    gpus = [data.device] if data.device.type == "cuda" else []
    with torch.random.fork_rng(devices=gpus):  # which a model may read
        torch.manual_seed(0)
        train(job, data, rows.append, rig=rig)
    return np.array([(row.train_loss, row.grad_norm) for row in rows[1:]], float)


def _python_side() -> tuple[object, bytes, int]:
    """State of the generators of Python and NumPy."""
    _, keys, position, *_ = np.random.get_state()  # noqa: NPY002  # the one that a model would read
    return random.getstate(), np.asarray(keys).tobytes(), int(position)
