"""Which trials can be trained as one."""

from collections.abc import Sequence
from dataclasses import fields

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stability.models.names import is_external
from stability.models.stacked import stack, unstackable_layer
from stability.training.augment.batches import Streams
from stability.training.loop import Job, build_job_model
from stability.training.settings import Recipe
from stability.training.tensors import TensorData

PER_TRIAL_SETTINGS = (
    "lr",
    "weight_decay",
    "momentum",
    "beta1",
    "beta2",
    "label_smoothing",
    "clip",
    "warmup",
    "warmup_epochs",
    "warmup_from",
    "floor",
    "lr_per",
)
"""Settings that may differ between the trials of a stacked cohort."""


def can_stack(jobs: Sequence[Job], data: TensorData) -> str | None:
    """None where `jobs` can be trained as one on `data`, else a sentence that says why not.

    A model from elsewhere is tried: two of it on a few images, stacked and alone.
    """
    different = _difference(jobs)
    if different is not None:
        return different
    job = jobs[0]
    model = build_job_model(job, data, Streams.of(job.seed))
    fault = unstackable_layer(model)
    if fault is None and is_external(job.model):
        other = build_job_model(job, data, Streams.of(job.seed + 1))
        fault = _mismatch([model, other], data)
    return f"{job.model} cannot be stacked: {fault}" if fault else None


def _difference(jobs: Sequence[Job]) -> str | None:
    """Why the jobs do not share one computation; None if they do."""
    common = {f.name for f in fields(Recipe)} - set(PER_TRIAL_SETTINGS)
    for name in ("model", "optimizer", "epochs", "precision", *sorted(common)):
        values = [getattr(job.recipe if name in common else job, name) for job in jobs]
        different = list(dict.fromkeys(values))
        if len(different) > 1:
            return f"trials trained as one have one {name}, these have {different}"
    return None


def _mismatch(models: Sequence[nn.Module], data: TensorData) -> str | None:
    """What a stack of models does otherwise than each alone, on a few images, in training mode.

    In double precision: in single, rounding alone moves gradients of conv nets by per cents.
    """
    k = len(models)
    n = min(8, len(data.train) // k)  # other images for each: else a mean over all would pass
    images, labels = data.train.batch(torch.arange(k * n, device=data.device))
    images = images.double()
    own = zip(models, torch.split(images, n), torch.split(labels, n), strict=True)
    gpus = [data.device] if data.device.type == "cuda" else []
    try:
        with torch.random.fork_rng(devices=gpus):  # which a model may read
            alone = [_learnt(model.double(), x, y, 1) for model, x, y in own]
            both = _learnt(stack(models), images, labels, k)
    except Exception as error:  # whatever a stranger's code does
        return f"{type(error).__name__}: {error}"
    for each, stacked in zip(zip(*alone, strict=True), both, strict=True):
        expected = torch.cat(each)
        if not torch.allclose(
            stacked, expected, rtol=1e-6, atol=1e-6 * float(expected.abs().max())
        ):
            return "two of it as one do not what each does alone"
    return None


def _learnt(module: nn.Module, images: Tensor, labels: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Logits and all gradients, (k, n) each. Raises ValueError where a parameter has none."""
    logits = module.train()(images)
    losses = F.cross_entropy(logits, labels, reduction="none").view(k, -1).mean(1)
    parameters = [p for p in module.parameters() if p.requires_grad]
    found = torch.autograd.grad(losses.sum(), parameters, allow_unused=True)
    gradients = [g.reshape(k, -1) for g in found if g is not None]
    if len(gradients) < len(parameters):
        raise ValueError("some of its parameters get no gradient")
    return logits.detach().reshape(k, -1), torch.cat(gradients, dim=1)
