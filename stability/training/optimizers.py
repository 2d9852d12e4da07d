"""The two optimizers, with the paper's split of what is decayed."""

import torch
from torch import nn

from stability.training.recipe import Recipe

NORMS = (
    nn.LayerNorm,
    nn.RMSNorm,
    nn.GroupNorm,
    nn.BatchNorm1d,
    nn.BatchNorm2d,
    nn.BatchNorm3d,
    nn.InstanceNorm1d,
    nn.InstanceNorm2d,
    nn.InstanceNorm3d,
)


def decay_groups(model: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """(decayed, not decayed): no norm and no bias is decayed; class token and positions are.

    What is frozen is in neither.
    Paper, section 5.4: decaying them "can dramatically reduce top-1" of small models; that the
    two embeddings are decayed is pycls' rule (names with bn, ln or bias are exempt, no others).
    """
    decayed: list[nn.Parameter] = []
    exempt: list[nn.Parameter] = []
    for module in model.modules():
        is_norm = isinstance(module, NORMS)
        for name, parameter in module.named_parameters(recurse=False):
            if not parameter.requires_grad:
                continue
            (exempt if is_norm or name == "bias" else decayed).append(parameter)
    return decayed, exempt


def build_optimizer(name: str, model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """`sgd` (momentum, L2 coupled through the gradient) or `adamw` (decoupled).

    Raises KeyError for another name.
    """
    decayed, exempt = decay_groups(model)
    groups = [
        {"params": decayed, "weight_decay": recipe.weight_decay},
        {"params": exempt, "weight_decay": 0.0},
    ]
    build = {"sgd": _sgd, "adamw": _adamw}[name]
    return build(groups, recipe)


def _sgd(groups: list[dict[str, object]], recipe: Recipe) -> torch.optim.Optimizer:
    return torch.optim.SGD(
        groups, lr=recipe.lr, momentum=recipe.momentum, nesterov=recipe.nesterov, fused=True
    )


def _adamw(groups: list[dict[str, object]], recipe: Recipe) -> torch.optim.Optimizer:
    betas = (recipe.beta1, recipe.beta2)
    return torch.optim.AdamW(groups, lr=recipe.lr, betas=betas, fused=True)


def set_lr(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Use `lr` from the next step on."""
    for group in optimizer.param_groups:
        group["lr"] = lr
