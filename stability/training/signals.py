"""Signals of instability: the gradient's size, in the first layer too, and spikes of the loss.

MoCo v3 (Chen et al. 2021, arXiv 2104.02057, section 4) saw instability as spikes of the gradient
that start in the patch projection, the first layer, and reach the last some steps later.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

LAYERS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)
SPIKE_WINDOW = 32
"""Number of preceding losses that a loss is compared with; the first losses are not judged."""
SPIKE_HEIGHT = 3.2
"""Standard deviations above the mean from which a loss is a spike."""
SPIKE_GAP = 10
"""High losses at most this many steps apart belong to the same spike."""


@dataclass(frozen=True, kw_only=True)
class Signals:
    """Signals of one epoch, or of its steps before the first non-finite loss.

    Gradients are those of the loss that is minimised, before they are clipped. A norm is over the
    steps where it is finite, None where there is no such step.
    """

    grad_norm: float | None
    """Mean over the steps of the L2 norm of the gradient over all parameters."""
    grad_norm_max: float | None
    """Largest over the steps."""
    grad_norm_first_layer: float | None
    """As `grad_norm`, over weight and bias of the first layer; None where that is frozen."""
    grad_norm_first_layer_max: float | None
    loss_spikes: int
    """How many spikes of the training loss began."""


class GradientMonitor:
    """Gathers signals on the device; only `epoch_signals` waits for it."""

    def __init__(self, model: nn.Module) -> None:
        self.parameters = [p for p in model.parameters() if p.requires_grad]
        self._first = first_layer_rows(model, self.parameters)
        self._norms: list[Tensor] = []
        self.losses = LossHistory()

    def norms(self) -> Tensor:
        """(P,): the L2 norm of each parameter's gradient.

        A norm for each parameter costs about 1% of a nano step on a CPU (benchmarks/signals.py).
        """
        gradients = [p.grad if p.grad is not None else p.new_zeros(()) for p in self.parameters]
        return torch.stack(torch._foreach_norm(gradients))

    def record(self, *norms: Tensor) -> None:
        """Keep the norms (P,) of one or several steps."""
        self._norms += norms

    def epoch_signals(self, losses: Tensor) -> Signals:
        """What the steps since the last call showed; `losses` (S,) are theirs."""
        norms, self._norms = torch.stack(self._norms), []  # (S, parameters)
        first = norms[:, self._first].norm(dim=1) if self._first else None
        return self.losses.signals(norms.norm(dim=1), first, losses)


class LossHistory:
    """Losses of a training's latest steps, with which the next are compared."""

    def __init__(self) -> None:
        self.latest = np.empty(0)
        """Losses of the last epoch, and those before it that they were compared with."""

    def signals(self, total: Tensor, first: Tensor | None, losses: Tensor) -> Signals:
        """Signals of the steps since the last call: norms (S,), all and the first layer's, losses.

        The first loss that is not finite, and what comes after it, is left out.
        """
        losses = losses.double().cpu()
        n = finite_steps(losses)
        mean, top = _mean_and_top(total[:n])
        first_mean, first_top = (None, None) if first is None else _mean_and_top(first[:n])
        before = self.latest[
            -(SPIKE_WINDOW + SPIKE_GAP) :
        ]  # what the first steps are compared with
        self.latest = np.concatenate([before, losses[:n].numpy()])
        return Signals(
            grad_norm=mean,
            grad_norm_max=top,
            grad_norm_first_layer=first_mean,
            grad_norm_first_layer_max=first_top,
            loss_spikes=sum(step >= len(before) for step in spikes(self.latest)),
        )


def finite_steps(losses: Tensor) -> int:
    """How many of `losses` (S,) come before the first that is not finite.

    >>> finite_steps(torch.tensor([2.0, 1.0, float("nan"), 1.0]))
    2
    """
    return int(losses.isfinite().long().cumprod(0).sum())


def _mean_and_top(norms: Tensor) -> tuple[float | None, float | None]:
    """Of the finite ones of norms (S,); in double precision, as a sum of the largest overflows."""
    values = norms.double().cpu().numpy()
    values = values[np.isfinite(values)]
    return (float(values.mean()), float(values.max())) if len(values) else (None, None)


def first_layer(model: nn.Module) -> nn.Module | None:
    """The first convolution or linear layer, in the order in which the model holds them.

    In the models of this project that is the stem's first one.
    """
    return next((module for module in model.modules() if isinstance(module, LAYERS)), None)


def first_layer_rows(model: nn.Module, parameters: Sequence[nn.Parameter]) -> list[int]:
    """Which of `parameters` are weight and bias of the first layer; none where that is frozen."""
    layer = first_layer(model)
    own = set() if layer is None else set(layer.parameters(recurse=False))
    return [i for i, parameter in enumerate(parameters) if parameter in own]


def spikes(losses: NDArray[np.float64]) -> list[int]:
    """Steps at which a spike of the loss begins.

    A loss is high if it lies more than 3.2 standard deviations above the mean of the 32 before it;
    high losses at most 10 steps apart are one spike. The height is that of the heuristic of
    Wortsman et al. 2023 (arXiv 2304.13013); window and gap suit trainings of a hundred steps. The
    first 32 steps are not judged. Of a loss that is noise around a constant 0.18% of the steps are
    high (Student's t with 31 degrees of freedom), so that one spike in 500 steps means nothing.

    Args:
        losses: (S,), finite, of each step.

    >>> import numpy as np
    >>> losses = np.random.default_rng(0).normal(2, 0.1, 100)
    >>> losses[60:63] += 3
    >>> spikes(losses)
    [60]
    """
    if len(losses) <= SPIKE_WINDOW:
        return []
    windows = np.lib.stride_tricks.sliding_window_view(losses[:-1], SPIKE_WINDOW)
    limit = windows.mean(axis=1) + SPIKE_HEIGHT * windows.std(axis=1, ddof=1)
    high = SPIKE_WINDOW + np.flatnonzero(losses[SPIKE_WINDOW:] > limit)
    gaps = np.diff(high, prepend=-SPIKE_GAP - 1)
    return [int(step) for step in high[gaps > SPIKE_GAP]]
