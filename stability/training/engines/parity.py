"""Whether a graph of a model from elsewhere trains what its eager steps train.

A graph repeats what the device did in one step. What Python does in a forward pass (a random number
of its own, a counter) stays in it as it was then, and trains wrong in silence.
"""

import random

import numpy as np
import torch

from stability.training.engines.calibration_job import calibration_data, calibration_job
from stability.training.engines.captured import graph_kind
from stability.training.engines.train_with import GRAPHS
from stability.training.loop import Epoch, Job, StepRunner, train
from stability.training.tensors import TensorData

PARITY_STEPS = 6  # of an epoch
PARITY_EPOCHS = 2
TOLERANCES = {"float32": 1e-3, "bfloat16": 2e-2}
"""By precision of the forward pass: how far means over an epoch may lie apart, as a share."""


def parity_fault(job: Job, data: TensorData) -> str | None:
    """Why a graph must not train jobs like this one; None where nothing speaks against it.

    A few steps by a graph and eagerly, from the same weights, images and random numbers of torch:
    losses and norms of the gradient must be equal to rounding. Raises what a capture raises.
    """
    one, few = (
        calibration_job(job, data, PARITY_STEPS, PARITY_EPOCHS),
        calibration_data(data, job, PARITY_STEPS),
    )
    before = _python_side()
    expected = _followed(one, few, StepRunner())
    if _python_side() != before:
        return f"{job.model} draws random numbers of Python or NumPy, which a graph would freeze"
    try:
        (runner,) = GRAPHS.of(graph_kind(one), few, 1, compiled=False)
        with runner.stream():
            found = _followed(one, few, runner)
    finally:
        GRAPHS.clear()
    near = TOLERANCES[job.precision]
    if found.shape != expected.shape or not np.allclose(found, expected, rtol=near):
        return f"{job.model} does other steps as a graph than step by step"
    return None


def _followed(job: Job, data: TensorData, runner: StepRunner) -> np.ndarray:
    """Mean loss and norm of the gradient of each epoch."""
    rows: list[Epoch] = []
    gpus = [data.device] if data.device.type == "cuda" else []
    with torch.random.fork_rng(devices=gpus):  # which a model may read
        torch.manual_seed(0)
        train(job, data, rows.append, runner=runner)
    return np.array([(row.train_loss, row.grad_norm) for row in rows[1:]], float)


def _python_side() -> tuple[object, bytes, int]:
    """State of the generators of Python and NumPy."""
    _, keys, position, *_ = np.random.get_state()  # noqa: NPY002  # the one that a model would read
    return random.getstate(), np.asarray(keys).tobytes(), int(position)
