"""The two optimizers, with the paper's split of what is decayed."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.adamw import adamw
from torch.optim.sgd import sgd

from stability.training.settings import Recipe

NORMS = (
    nn.LayerNorm,
    nn.RMSNorm,
    nn.GroupNorm,
    nn.modules.batchnorm._BatchNorm,  # SyncBatchNorm too
    nn.modules.instancenorm._InstanceNorm,
)
FIRST_NORMS = (*NORMS[:3], nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, NORMS[4])
"""Norms of revision 1."""


def decay_groups(
    model: nn.Module, revision: int = 2, *, stacked: bool = False
) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """(decayed, not decayed): no norm and no bias is decayed; class token and positions are.

    Not decayed are all parameters of a norm layer, those with at most one axis (biases under any
    name, scales of channels), those called `bias`, and `bias_k` and `bias_v` of torch's attention.
    Frozen parameters are in neither group; one that several modules share is there once.

    Paper, section 5.4: decaying norms and biases "can dramatically reduce top-1" of small models;
    that class token and positions are decayed is pycls' rule (names with bn, ln or bias are exempt,
    no others).

    Args:
        model: any module.
        revision: in 1, of biases only those called `bias` are exempt, SyncBatchNorm is no norm, and
            a shared parameter is there once for each module. For the models of this package both
            revisions are the same.
        stacked: whether all parameters have a leading axis of trials (`models/stacked.py`).
    """
    decayed: list[nn.Parameter] = []
    exempt: list[nn.Parameter] = []
    seen: set[nn.Parameter] = set()
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if not parameter.requires_grad or (revision >= 2 and parameter in seen):
                continue
            seen.add(parameter)
            axes = parameter.dim() - stacked
            is_decayed = _is_decayed(module, name, axes, revision)
            (decayed if is_decayed else exempt).append(parameter)
    return decayed, exempt


def _is_decayed(module: nn.Module, name: str, axes: int, revision: int) -> bool:
    if revision == 1:
        return not isinstance(module, FIRST_NORMS) and name != "bias"
    if isinstance(module, nn.MultiheadAttention) and name in ("bias_k", "bias_v"):
        return False
    return not isinstance(module, NORMS) and name != "bias" and axes > 1


@dataclass
class Group:
    """Parameters with one weight decay, and what the optimizer remembers of each."""

    parameters: list[nn.Parameter]
    weight_decay: float | Tensor
    """A tensor () where a captured step serves trials that differ in it."""
    memory: dict[nn.Parameter, Any] = field(default_factory=dict)

    def moving(self) -> Iterator[list[nn.Parameter]]:
        """Those that have a gradient: those that have moved before, then those that have not.

        torch's SGD takes only one kind at a time; but for models of which a part is asleep at
        first, there is one kind.
        """
        known = [p for p in self.parameters if p.grad is not None and p in self.memory]
        fresh = [p for p in self.parameters if p.grad is not None and p not in self.memory]
        yield from filter(None, (known, fresh))


class Optimizer(ABC):
    """A step of torch's fused kernels.

    `torch.optim`'s own classes are not used: making one imports torch's compiler, one to two
    seconds of every worker. Tests hold the steps equal to theirs, bit by bit.
    """

    def __init__(self, groups: Sequence[Group], recipe: Recipe) -> None:
        self.groups, self.recipe = groups, recipe
        self.lr: float | Tensor = recipe.lr
        """Of the next step."""

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for group in self.groups:
            for parameter in group.parameters:
                parameter.grad = None

    def allocate(self) -> list[Tensor]:
        """Give each parameter the memory that a first step has; returns all of it."""
        tensors: list[Tensor] = []
        for group in self.groups:
            group.memory = {p: self.initial_memory(p) for p in group.parameters}
            for memory in group.memory.values():
                tensors += [memory] if isinstance(memory, Tensor) else memory
        return tensors

    @torch.no_grad()
    def step(self) -> None:
        """Move the parameters that have a gradient."""
        for group in self.groups:
            for parameters in group.moving():
                gradients = [p.grad for p in parameters if p.grad is not None]
                decay = group.weight_decay
                if isinstance(decay, Tensor):  # torch's kernels take a constant alone
                    self.decay(parameters, gradients, decay)
                    decay = 0.0
                self.move(group.memory, parameters, gradients, decay)

    @abstractmethod
    def initial_memory(self, parameter: nn.Parameter) -> Any:
        """What is remembered of a parameter before its first step."""

    @abstractmethod
    def decay(self, parameters: list[nn.Parameter], gradients: list[Tensor], decay: Tensor) -> None:
        """Apply weight decay before the step."""

    @abstractmethod
    def move(
        self,
        memory: dict[nn.Parameter, Any],
        parameters: list[nn.Parameter],
        gradients: list[Tensor],
        decay: float,
    ) -> None:
        """Move parameters of a group, all of which have gradients."""


class SGD(Optimizer):
    """Momentum, L2 coupled through the gradient."""

    def initial_memory(self, parameter: nn.Parameter) -> Tensor:
        """Momentum."""
        return torch.zeros_like(parameter)

    def decay(self, parameters: list[nn.Parameter], gradients: list[Tensor], decay: Tensor) -> None:
        """Add the decay to the gradients."""
        torch._foreach_add_(gradients, list(torch._foreach_mul(parameters, decay)))  # type: ignore[arg-type]

    def move(
        self,
        memory: dict[nn.Parameter, Any],
        parameters: list[nn.Parameter],
        gradients: list[Tensor],
        decay: float,
    ) -> None:
        """One step of `torch.optim.SGD`."""
        momenta = [memory.get(p) for p in parameters]
        sgd(
            parameters,  # type: ignore[arg-type]
            gradients,
            momenta,
            fused=True,
            has_sparse_grad=False,
            weight_decay=decay,
            momentum=self.recipe.momentum,
            lr=self.lr,  # type: ignore[arg-type]  # a tensor too
            dampening=0.0,
            nesterov=self.recipe.nesterov,
            maximize=False,
        )
        memory.update(zip(parameters, momenta, strict=True))


class AdamW(Optimizer):
    """Decoupled weight decay."""

    EPS = 1e-8

    def initial_memory(self, parameter: nn.Parameter) -> tuple[Tensor, Tensor, Tensor]:
        """First and second moment, number of steps."""
        count = torch.zeros((), device=parameter.device)
        return torch.zeros_like(parameter), torch.zeros_like(parameter), count

    def decay(self, parameters: list[nn.Parameter], gradients: list[Tensor], decay: Tensor) -> None:
        """Shrink the parameters."""
        torch._foreach_mul_(parameters, 1 - self.lr * decay)  # type: ignore[arg-type]

    def move(
        self,
        memory: dict[nn.Parameter, Any],
        parameters: list[nn.Parameter],
        gradients: list[Tensor],
        decay: float,
    ) -> None:
        """One step of `torch.optim.AdamW`."""
        for p in parameters:
            if p not in memory:
                memory[p] = self.initial_memory(p)
        first, second, counts = zip(*(memory[p] for p in parameters), strict=True)
        adamw(
            parameters,  # type: ignore[arg-type]
            gradients,
            list(first),
            list(second),
            [],
            list(counts),
            fused=True,
            amsgrad=False,
            beta1=self.recipe.beta1,
            beta2=self.recipe.beta2,
            lr=self.lr,
            weight_decay=decay,
            eps=self.EPS,
            maximize=False,
        )


# docs/architecture.md, "Where to add or find things", lists what else changes.
OPTIMIZER_CLASSES: dict[str, type[SGD] | type[AdamW]] = {"sgd": SGD, "adamw": AdamW}


def build_optimizer(name: str, model: nn.Module, recipe: Recipe) -> Optimizer:
    """`sgd` (momentum, L2 coupled through the gradient) or `adamw` (decoupled).

    Raises KeyError for another name.
    """
    decayed, exempt = decay_groups(model, recipe.revision)
    groups = [Group(decayed, recipe.weight_decay), Group(exempt, 0.0)]
    return OPTIMIZER_CLASSES[name](groups, recipe)
