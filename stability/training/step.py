"""One training step, and the tables by which a captured step knows its number in the epoch."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stability.training.optimizers import Optimizer
from stability.training.precision import logits_of
from stability.training.signals import GradientMonitor


def train_step(
    model: nn.Module,
    optimizer: Optimizer,
    monitor: GradientMonitor,
    batch: tuple[Tensor, Tensor],
    lr: float | Tensor,
    precision: str,
) -> tuple[Tensor, Tensor]:
    """Forward, loss, backward, norms of the gradient, clipping, update of the weights.

    It never waits for the device, nor branches on a value that lies there, so that a CUDA graph
    can hold it. Loss and clipping are those of the recipe of `optimizer`.

    Args:
        model: in training mode.
        optimizer: of the parameters of `model`.
        monitor: of the gradients of `model`.
        batch: images (B, C, H, W), and labels (B,) or targets (B, classes).
        lr: learning rate of this step; a tensor () in a captured step.
        precision: of the forward pass.

    Returns:
        Loss (), and the norm of each parameter's gradient (P,) before clipping.
    """
    (images, targets), recipe = batch, optimizer.recipe
    logits = logits_of(model, images, precision)
    loss = F.cross_entropy(logits, targets, label_smoothing=recipe.label_smoothing)
    optimizer.zero_grad()  # in a capture the gradients then lie in the graph's memory
    loss.backward()  # type: ignore[no-untyped-call]
    norms = monitor.norms()
    if recipe.clip is not None:
        nn.utils.clip_grads_with_norm_(monitor.parameters, recipe.clip, norms.norm())
    optimizer.lr = lr
    optimizer.step()
    return loss.detach(), norms


class StepTables:
    """Learning rates, losses and norms of an epoch by step, in tensors that a graph can hold."""

    def __init__(self, lrs: Tensor, losses: Tensor, norms: Tensor) -> None:
        """Each has the steps of an epoch as first axis."""
        self.lrs, self.losses, self.norms = lrs, losses, norms
        self.at = torch.zeros(1, dtype=torch.int64, device=lrs.device)
        """Number of the step in the epoch, counted up by `record`."""

    def begin_epoch(self, lrs: Sequence[float] | Sequence[Sequence[float]]) -> None:
        """Set the learning rates of the epoch that begins."""
        self.lrs.copy_(torch.tensor(lrs, dtype=self.lrs.dtype).view(self.lrs.shape))
        self.at.zero_()

    def lr(self) -> Tensor:
        """The learning rate of this step."""
        return self.lrs.index_select(0, self.at)[0]

    def record(self, losses: Tensor, norms: Tensor) -> None:
        """End the step."""
        self.losses.index_copy_(0, self.at, losses[None])
        self.norms.index_copy_(0, self.at, norms[None])
        self.at += 1
