"""K models of one kind as one module, each with its own weights, so that they train as one.

The batch carries K: (K * B, ...), the B rows of the first model, then those of the second, so that
whatever treats rows alike (attention, pooling, activations, residuals) stays as it is. Only leaves
know of K: their weights have it as first axis, and each row meets those of its own model.

HFTA (Wang et al. 2021, arXiv 2102.02344) trains models as one in this way; there each model is
written anew.
"""

from collections.abc import Iterator, Sequence
from copy import deepcopy
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """`F.linear`; with a stacked weight (K, out, in) and bias (K, out), K matrix products at once.

    Takes (B, ..., in) or (K * B, ..., in), gives the same with `out` for `in`.
    """
    if weight.dim() == 2:
        return F.linear(x, weight, bias)
    k, out, inside = weight.shape
    y = torch.bmm(x.reshape(k, -1, inside), weight.transpose(1, 2))
    if bias is not None:
        y = y + bias[:, None].to(y.dtype)  # autocast narrows the product alone, F.linear's bias too
    return y.view(*x.shape[:-1], out)


def for_rows(parameter: Tensor, rows: int) -> Tensor:
    """What all rows share, (1, N, D), as (rows, N, D); stacked, (K, 1, N, D), rows / K of each."""
    if parameter.dim() == 3:
        return parameter.expand(rows, -1, -1)
    return parameter.expand(-1, rows // len(parameter), -1, -1).flatten(0, 1)


class StackedLinear(nn.Linear):
    """`weight` (K, out, in), `bias` (K, out)."""

    def forward(self, x: Tensor) -> Tensor:
        return linear(x, self.weight, self.bias)


class StackedLayerNorm(nn.LayerNorm):
    """`weight` and `bias` (K, width)."""

    def forward(self, x: Tensor) -> Tensor:
        normed = F.layer_norm(x, self.normalized_shape, None, None, self.eps)
        if self.weight is None:
            return normed
        k = len(self.weight)
        split = normed.reshape(k, -1, *self.normalized_shape)
        scaled = split * self.weight[:, None]
        if self.bias is not None:
            scaled = scaled + self.bias[:, None]
        return scaled.to(normed.dtype).view(x.shape)  # float32 weights would widen it


class StackedConv2d(nn.Conv2d):
    """`weight` (K, out, in / groups, h, w), `bias` (K, out): one convolution of K * groups."""

    def forward(self, x: Tensor) -> Tensor:
        k = len(self.weight)
        bias = None if self.bias is None else self.bias.flatten()
        weight = self.weight.flatten(0, 1)
        padding, groups = self.padding, k * self.groups
        y = F.conv2d(_side_by_side(x, k), weight, bias, self.stride, padding, self.dilation, groups)
        return _one_after_another(y, k)


class StackedBatchNorm2d(nn.BatchNorm2d):
    """Parameters and running statistics (K, channels), of each model's own rows."""

    def forward(self, x: Tensor) -> Tensor:
        values = (self.weight, self.bias, self.running_mean, self.running_var)
        k = next(len(value) for value in values if value is not None)
        # Statistics as views, which are written to.
        mean, var = (None if value is None else value.view(-1) for value in values[2:])
        weight, bias = (None if value is None else value.flatten() for value in values[:2])
        if self.training and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
        own = self.training or mean is None
        momentum = 0.0 if self.momentum is None else self.momentum  # None only where none is kept
        wide = _side_by_side(x, k)
        return _one_after_another(
            F.batch_norm(wide, mean, var, weight, bias, own, momentum, self.eps), k
        )


def _side_by_side(x: Tensor, k: int) -> Tensor:
    """(K * B, C, h, w) to (B, K * C, h, w)."""
    return x.reshape(k, -1, *x.shape[1:]).transpose(0, 1).flatten(1, 2)


def _one_after_another(x: Tensor, k: int) -> Tensor:
    """(B, K * C, h, w) to (K * B, C, h, w)."""
    return x.reshape(len(x), k, -1, *x.shape[2:]).transpose(0, 1).flatten(0, 1)


FORMS: dict[type[nn.Module], type[nn.Module]] = {
    nn.Linear: StackedLinear,
    nn.LayerNorm: StackedLayerNorm,
    nn.Conv2d: StackedConv2d,
    nn.BatchNorm2d: StackedBatchNorm2d,
}
"""Layer -> its stacked form, which a class derived from the layer takes in its place."""


def stack(models: Sequence[nn.Module]) -> nn.Module:
    """One module that does to the rows of each model what that model does.

    Its parameters and buffers are copies with a leading axis of len(models). Models are alike but
    for their values, and `unstackable_layer` has nothing against them.
    """
    stacked = deepcopy(models[0])
    for module, *same in zip(*(m.modules() for m in (stacked, *models)), strict=True):
        for name, own in list(module.named_parameters(recurse=False)):
            values = torch.stack([m.get_parameter(name).detach() for m in same])
            setattr(module, name, nn.Parameter(values, requires_grad=own.requires_grad))
        base = _base(module)
        if base is not None:
            for name, _ in list(module.named_buffers(recurse=False)):
                setattr(module, name, torch.stack([m.get_buffer(name) for m in same]))
            module.__class__ = _stacked_class(type(module), base)  # type: ignore[arg-type]
    return stacked


def statistics(stacked: nn.Module) -> list[tuple[nn.Module, str, Tensor]]:
    """The buffers of a stacked module that have K as first axis: (layer, name, buffer)."""
    return [
        (module, name, buffer)
        for module in stacked.modules()
        if _base(module) is not None
        for name, buffer in module.named_buffers(recurse=False)
    ]


def _base(module: nn.Module) -> type[nn.Module] | None:
    return next((base for base in FORMS if isinstance(module, base)), None)


@cache
def _stacked_class(kind: type[nn.Module], base: type[nn.Module]) -> type[nn.Module]:
    """Subclass of `kind` whose inherited `forward` is that of the stacked form."""
    if kind is base:
        return FORMS[base]
    return type(f"Stacked{kind.__name__}", (kind, FORMS[base]), {})


def unstackable_layer(model: nn.Module) -> str | None:
    """Why a model has no stacked form, as the end of a sentence; None where its leaves have one.

    >>> unstackable_layer(nn.Sequential(nn.Linear(2, 2), nn.PReLU()))
    'its PReLU (1) has no stacked form'
    """
    return next(_faults(model), None)


def _faults(model: nn.Module) -> Iterator[str]:
    for name, module in model.named_modules():
        place = f"{type(module).__name__}{f' ({name})' if name else ''}"
        base = _base(module)
        floats = any(b.is_floating_point() for b in module.buffers(recurse=False))
        owns = floats or any(True for _ in module.parameters(recurse=False))
        if base is None and owns and not getattr(module, "stacks", False):
            yield f"its {place} has no stacked form"
        if isinstance(module, nn.Conv2d) and module.padding_mode != "zeros":
            yield f"its {place} pads with {module.padding_mode}, not with zeros"
        if isinstance(module, nn.BatchNorm2d) and module.momentum is None:
            yield f"its {place} keeps a cumulative average"
        if isinstance(module, nn.BatchNorm2d) and not module.state_dict():
            yield f"its {place} has neither weights nor statistics"
        if isinstance(module, nn.modules.dropout._DropoutNd) and module.p > 0:
            yield f"its {place} draws from torch's global generator"
    count = len(list(model.parameters()))
    if count < len(list(model.named_parameters(remove_duplicate=False))):
        yield "two of its layers share weights"
