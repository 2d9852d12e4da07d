"""A job and its data cut to a few steps, for a measurement or a trial of what it does."""

import math
from dataclasses import replace

import torch

from stability.training.loop import Job, steps_per_epoch
from stability.training.tensors import TensorData, TensorPart

TINY = 1e-6  # learning rate: nothing diverges, rounding does not grow, no step costs less
TESTED = 64  # images that are left of the test part, which is looked at once


def calibration_job(job: Job, data: TensorData, steps: int, epochs: int) -> Job:
    """The job with so many epochs of `steps` steps, at a learning rate at which nothing diverges.

    Without a warm-up in epochs that it might not have; with as small a share of the images that
    BatchNorm's precise statistics are of as it has of the steps.
    """
    precise = job.recipe.precise_bn
    if precise is not None:
        precise = max(1, _share(precise, job, data, steps))
    recipe = replace(job.recipe, lr=TINY, warmup_epochs=None, precise_bn=precise)
    return replace(job, epochs=epochs, recipe=recipe)


def _share(images: int, job: Job, data: TensorData, steps: int) -> int:
    """As small a share of the images as `steps` are of the steps of an epoch."""
    return math.ceil(images * min(1.0, steps / max(1, steps_per_epoch(job, data))))


def calibration_data(data: TensorData, job: Job, steps: int) -> TensorData:
    """The data with an epoch of so many steps of `job`, some images again where there are too few.

    The validation part is cut in proportion, so that an evaluation has the share of an epoch that
    it has in the study; where it is then less than a batch, it has more than that.
    """

    def part(whole: TensorPart, n: int) -> TensorPart:
        if n <= len(whole):
            return replace(whole, images=whole.images[:n], labels=whole.labels[:n])
        rows = torch.arange(n, device=data.device) % len(whole)
        return replace(whole, images=whole.images[rows], labels=whole.labels[rows])

    return replace(
        data,
        train=part(data.train, steps * job.recipe.batch_size),
        validation=part(data.validation, _share(len(data.validation), job, data, steps)),
        test=part(data.test, min(TESTED, len(data.test))),
    )
