"""K trials that are trained as one: their weights, and one step of all of them.

A step reads and writes tensors that stay where they are and waits for nothing, so that it can be
captured; what it found is fetched once an epoch.
"""

from collections.abc import Iterable, Iterator, Sequence
from copy import deepcopy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stability.models.stacked import stack, statistics
from stability.training.augment.batches import Streams, mixes
from stability.training.ema import ema_rate, warmup_steps
from stability.training.engines.epoch_batches import EpochBatches
from stability.training.engines.stacked_optimizers import STACKED_OPTIMIZER_CLASSES
from stability.training.loop import Job
from stability.training.optimizers import decay_groups
from stability.training.precision import logits_of
from stability.training.signals import first_layer_rows
from stability.training.step import StepTables
from stability.training.tensors import TensorData


class Weights:
    """A stacked module whose trained parameters are columns of one matrix (K, P)."""

    def __init__(self, module: nn.Module, revision: int) -> None:
        """`revision`: of the rule of what is decayed."""
        self.module, self.revision = module, revision
        decayed, exempt = decay_groups(module, revision, stacked=True)
        names = {p: name for name, p in module.named_parameters()}
        self._names = [names[p] for p in (*decayed, *exempt)]
        self._frozen = [n for n, p in module.named_parameters() if not p.requires_grad]
        self.decayed = sum(p[0].numel() for p in decayed)
        """Number of columns that are decayed: the first of the P."""
        self._lay(torch.cat([p.detach().flatten(1) for p in (*decayed, *exempt)], dim=1))

    def _lay(self, matrix: Tensor) -> None:
        """Make the parameters views of `matrix`."""
        self.matrix, column = matrix, 0
        self.parameters: list[nn.Parameter] = []
        """In the order of the columns."""
        for name in self._names:
            shape = self.module.get_parameter(name).shape[1:]
            values = matrix[:, column : column + shape.numel()].view(-1, *shape)
            self.parameters.append(self._put(name, nn.Parameter(values)))
            column += shape.numel()

    def _put(self, name: str, parameter: nn.Parameter) -> nn.Parameter:
        holder, _, own = name.rpartition(".")
        setattr(self.module.get_submodule(holder), own, parameter)
        return parameter

    def finite(self) -> Tensor:
        """(K,): whether all weights and statistics are finite."""
        found = [self.matrix.isfinite().all(1)]
        for _, _, values in statistics(self.module):
            found.append(values.isfinite().flatten(1).all(1) if values.dim() > 1 else found[0])
        return torch.stack(found).all(0)

    def state(self) -> list[Tensor]:
        """All that has K as first axis, on the device."""
        frozen = [self.module.get_parameter(name).detach() for name in self._frozen]
        return [self.matrix, *frozen, *(values for _, _, values in statistics(self.module))]

    def load_state(self, state: Iterator[Tensor]) -> None:
        """Continue with the next tensors of `state`, which are in the order of `state()`."""
        matrix = next(state)
        for name in self._frozen:
            self._put(name, nn.Parameter(next(state), requires_grad=False))
        for layer, name, _ in statistics(self.module):
            setattr(layer, name, next(state))
        self._lay(matrix)

    def shared(self) -> list[Tensor]:
        """Buffers that all trials share, of layers that know nothing of K."""
        own = {id(values) for _, _, values in statistics(self.module)}
        return [values for values in self.module.buffers() if id(values) not in own]


class Averages:
    """Averaged weights of K trials: `ema.Average`, each with its own warm-up."""

    def __init__(self, weights: Weights, jobs: Sequence[Job], steps: int) -> None:
        """`steps`: of an epoch."""
        recipe, epochs = jobs[0].recipe, jobs[0].epochs
        self.weights = Weights(deepcopy(weights.module), weights.revision)
        self._theirs = weights
        self._period = recipe.ema_period
        self._rate = weights.matrix.new_tensor(ema_rate(recipe, epochs))
        lengths = [warmup_steps(job.recipe, epochs, steps * epochs) for job in jobs]
        self._warmup = weights.matrix.new_tensor(lengths, dtype=torch.float64)
        self.step = 0
        """Steps of the optimizer so far."""

    @torch.no_grad()
    def update(self) -> None:
        """Count a step of the optimizer; update every `ema_period` steps."""
        step, self.step = self.step, self.step + 1
        if step % self._period:
            return
        rates = torch.where(step < self._warmup, 1.0, self._rate)[:, None]
        self.weights.matrix.lerp_(self._theirs.matrix, rates)
        pairs = zip(statistics(self.weights.module), statistics(self._theirs.module), strict=True)
        for (_, _, ours), (_, _, theirs) in pairs:
            if ours.is_floating_point():
                ours.lerp_(theirs, rates)
            else:
                ours.copy_(theirs)

    def state(self) -> list[Tensor]:
        """All that has K as first axis."""
        return [*self.weights.state(), self._warmup]

    def load_state(self, state: Iterator[Tensor]) -> None:
        """Continue with the next tensors of `state`."""
        self.weights.load_state(state)
        self._warmup = next(state)


class Stack:
    """K trials in training: `begin_epoch`, then `batches.prepare` and `step` for each step."""

    def __init__(self, jobs: Sequence[Job], models: Sequence[nn.Module], data: TensorData) -> None:
        recipes, device = [job.recipe for job in jobs], data.device
        recipe = recipes[0]
        self._data, self._recipe = data, recipe
        self.batch, self.precision = recipe.batch_size, jobs[0].precision
        self.steps = len(data.train) // self.batch  # of an epoch
        self.weights = Weights(stack(models), recipe.revision)
        self.optimizer = STACKED_OPTIMIZER_CLASSES[jobs[0].optimizer](
            self.weights.matrix, self.weights.decayed, recipes
        )
        self.averages = Averages(self.weights, jobs, self.steps) if recipe.ema else None
        self.alive = torch.ones(len(jobs), 1, dtype=torch.bool, device=device)
        self._smoothing = self.weights.matrix.new_tensor([r.label_smoothing for r in recipes])
        clips = [[float("inf") if r.clip is None else r.clip] for r in recipes]
        self._clip = self.weights.matrix.new_tensor(clips)
        self._clips = any(r.clip is not None for r in recipes)
        self._soft = mixes(recipe)
        self.first_layer = first_layer_rows(self.weights.module, self.weights.parameters)
        """Which of the parameters are those of the first layer; none where it is frozen."""
        self._make_room()

    def __len__(self) -> int:
        return len(self.alive)

    def _make_room(self) -> None:
        k, steps, like = len(self), self.steps, self.weights.matrix.new_zeros
        self.batches = EpochBatches(self._data, self._recipe, k)
        lrs = like(steps, k, 1, dtype=torch.float64)
        self.tables = StepTables(lrs, like(steps, k), like(steps, k, 2))
        """Norms are of the gradient over all parameters, and over those of the first layer."""

    def begin_epoch(self, lrs: Sequence[Sequence[float]], streams: Sequence[Streams]) -> None:
        """Learning rates (S, K) of the epoch that begins, and the streams of each trial."""
        self.tables.begin_epoch(lrs)
        self.batches.draw(streams)
        self.weights.module.train()

    def step(self) -> None:
        """Train each trial that is alive on its batch; note loss and norms."""
        images, targets = self.batches.of_step(self.tables.at)
        losses = self._cross_entropy(
            logits_of(self.weights.module, images, self.precision), targets
        )
        # Each row of the gradient is that of its own trial's loss.
        each = torch.autograd.grad(losses.sum(), self.weights.parameters)
        self._move(losses.detach(), [gradient.flatten(1) for gradient in each])

    def _cross_entropy(self, logits: Tensor, targets: Tensor) -> Tensor:
        """(K,): means over each trial's rows, as `F.cross_entropy` with each one's smoothing."""
        log_p = F.log_softmax(logits, dim=1)
        mine = (log_p * targets).sum(1) if self._soft else log_p.gather(1, targets[:, None])[:, 0]
        right = mine.view(-1, self.batch).mean(1)
        evenly = log_p.mean(1).view(-1, self.batch).mean(1)
        return -(1 - self._smoothing) * right - self._smoothing * evenly

    @torch.no_grad()
    def _move(self, losses: Tensor, each: list[Tensor]) -> None:
        gradients = torch.cat(each, dim=1)
        norm = torch.linalg.vector_norm(gradients, dim=1)
        first = torch.cat([each[i] for i in self.first_layer] or [gradients[:, :0]], dim=1)
        norms = torch.stack([norm, torch.linalg.vector_norm(first, dim=1)], dim=1)
        self.alive.logical_and_(losses.isfinite()[:, None])
        if self._clips:  # as `nn.utils.clip_grads_with_norm_`
            scale = (self._clip / (norm[:, None] + 1e-6)).clamp(max=1)
            gradients.mul_(torch.where(self._clip.isinf(), 1, scale))
        self.optimizer.step(gradients, self.tables.lr(), self.alive)
        self.tables.record(losses, norms)

    def state(self) -> list[Tensor]:
        """All that differs between trials: tensors whose first axis is K."""
        averages = [] if self.averages is None else self.averages.state()
        own = self.alive, self._smoothing, self._clip
        return [*self.weights.state(), *self.optimizer.state(), *averages, *own]

    def shared(self) -> list[Tensor]:
        """Changing tensors that all trials share: buffers of layers of external models."""
        averages = [] if self.averages is None else self.averages.weights.shared()
        return [*self.weights.shared(), *averages]

    def load_state(self, state: Iterable[Tensor]) -> None:
        """Continue from the result of `state()`, which may be of another number of trials."""
        values = iter(state)
        self.weights.load_state(values)
        self.optimizer.load_state(self.weights.matrix, values)
        if self.averages is not None:
            self.averages.load_state(values)
        self.alive, self._smoothing, self._clip = values
        self._make_room()
