"""Precise BatchNorm: statistics of one set of weights, in place of an average over the training."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from stability.training.precision import arithmetic

BATCHNORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def tracking(model: nn.Module) -> list[nn.modules.batchnorm._BatchNorm]:
    """The BatchNorms of a model that keep running statistics."""
    norms = (module for module in model.modules() if isinstance(module, BATCHNORMS))
    return [norm for norm in norms if norm.track_running_stats]


@torch.no_grad()
def set_precise_statistics(
    model: nn.Module,
    batches: Iterable[Tensor],
    precision: str = "float32",
    revision: int = 2,
) -> None:
    """Set each BatchNorm's running statistics to those of `batches` of images (B, C, H, W).

    The mean of the batches' means, and the mean of their variances, as pycls does since commit
    82928a6 of June 2020 (`net.py`, `compute_precise_bn_stats`). Revision 1 took the variance of all
    images together, as pycls did before: the mean of var + mean^2 less the squared mean.

    The batches must be equally large. What lies behind another BatchNorm sees images as in
    training, normalised by their own batch. Leaves the model in training mode; a model without
    BatchNorm is not run.
    """
    norms = tracking(model)
    if not norms:
        return
    before = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    means, variances = _buffers(norms, "running_mean"), _buffers(norms, "running_var")
    # In double precision: in revision 1 the difference of two squares loses half of the digits.
    sums = [torch.zeros(2, *mean.shape, dtype=torch.float64, device=mean.device) for mean in means]
    model.train()
    for norm in norms:
        norm.momentum, norm.num_batches_tracked = 1.0, None  # the running ones are the last batch's
    seen = 0
    for images in batches:
        with arithmetic(precision, images.device):
            model(images)
        seen += 1
        for both, mean, variance in zip(sums, means, variances, strict=True):
            square = mean.double() ** 2 if revision == 1 else 0.0
            both += torch.stack([mean.double(), variance + square])
    for both, mean, variance in zip(sums, means, variances, strict=True):
        mean.copy_(both[0] / seen)
        square = (both[0] / seen) ** 2 if revision == 1 else 0.0
        variance.copy_(both[1] / seen - square)
    for norm, (momentum, count) in zip(norms, before, strict=True):
        norm.momentum, norm.num_batches_tracked = momentum, count


def _buffers(norms: list[nn.modules.batchnorm._BatchNorm], name: str) -> list[Tensor]:
    return [getattr(norm, name) for norm in norms]
