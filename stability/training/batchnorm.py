"""Precise BatchNorm: statistics of one set of weights, in place of an average over the training."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

BATCHNORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def tracking(model: nn.Module) -> list[nn.modules.batchnorm._BatchNorm]:
    """The BatchNorms of a model that keep running statistics."""
    return [
        module
        for module in model.modules()
        if isinstance(module, BATCHNORMS) and module.running_mean is not None
    ]


@torch.no_grad()
def set_precise_statistics(model: nn.Module, batches: Iterable[Tensor]) -> None:
    """Set each BatchNorm's running statistics to those of `batches` of images (B, C, H, W).

    The mean of the batches' means, and the variance of all images together: the mean of
    var + mean^2 less the squared mean (pycls `net.py`, `compute_precise_bn_stats`). The batches
    must be equally large. What lies behind another BatchNorm sees images as in training,
    normalised by their own batch. Leaves the model in training mode; a model without BatchNorm
    is not run.
    """
    norms = tracking(model)
    if not norms:
        return
    momenta = [norm.momentum for norm in norms]
    counts = [norm.num_batches_tracked.clone() for norm in norms if _counts(norm)]
    sums = [(torch.zeros_like(_mean(n)), torch.zeros_like(_mean(n))) for n in norms]
    model.train()
    for norm in norms:
        norm.momentum = 1.0  # the running statistics are the last batch's
    seen = 0
    for images in batches:
        model(images)
        seen += 1
        for (means, squares), norm in zip(sums, norms, strict=True):
            means += _mean(norm)
            squares += _var(norm) + _mean(norm) ** 2
    for (means, squares), norm, momentum in zip(sums, norms, momenta, strict=True):
        norm.momentum = momentum
        _mean(norm).copy_(means / seen)
        _var(norm).copy_(squares / seen - (means / seen) ** 2)
    for norm, count in zip(filter(_counts, norms), counts, strict=True):
        norm.num_batches_tracked.copy_(count)


def _counts(norm: nn.modules.batchnorm._BatchNorm) -> bool:
    return norm.num_batches_tracked is not None


def _mean(norm: nn.modules.batchnorm._BatchNorm) -> Tensor:
    assert norm.running_mean is not None  # by `tracking`
    return norm.running_mean


def _var(norm: nn.modules.batchnorm._BatchNorm) -> Tensor:
    assert norm.running_var is not None
    return norm.running_var
