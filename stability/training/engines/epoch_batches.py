"""The batches of an epoch, of one trial or of several, for a step that a CUDA graph may hold.

The images' order, crops and mirrored images are drawn for the whole epoch, by the numbers that a
training draws step by step, and laid into tensors that stay where they are: a step makes its batch
of them, and waits for nothing.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from stability.training.augment.batches import Streams, mixes, training_batch
from stability.training.augment.crops import corners, cropped_at, mirrored_where, mirrors
from stability.training.settings import Recipe
from stability.training.tensors import TensorData


def is_whole(recipe: Recipe) -> bool:
    """Whether a batch is made inside the step: crops with a border and mirrored images are.

    Enlarged crops, AutoAugment and mixing branch on random numbers in Python: such batches are made
    outside of a graph, while it runs.
    """
    return recipe.crop_area is None and not recipe.autoaugment and not mixes(recipe)


class EpochBatches:
    """Batches of `trials` trials with different streams; the first trial comes first."""

    def __init__(self, data: TensorData, recipe: Recipe, trials: int = 1) -> None:
        self._part, self._recipe, self._classes = data.train, recipe, data.classes
        self._is_whole = is_whole(recipe)
        self._padding = recipe.crop_padding if self._is_whole else 0
        self._flip = recipe.flip if self._is_whole else 0.0
        steps, images = len(data.train) // recipe.batch_size, trials * recipe.batch_size
        like = data.train.mean.new_zeros
        self.rows = like(steps, images, dtype=torch.int64)
        """Rows of the training part."""
        self.corners = like(steps if self._padding > 0 else 0, 2, images, 1, dtype=torch.int64)
        self.mirrors = like(steps if self._flip > 0 else 0, images, dtype=torch.bool)
        if not self._is_whole:
            self._images = like(images, *data.shape)
            labels = like(images, dtype=torch.int64)
            self._targets = like(images, data.classes) if mixes(recipe) else labels

    def draw(self, streams: Sequence[Streams]) -> None:
        """Draw all that is random in the epoch that begins, from the streams of each trial."""
        steps, size = len(self.rows), self._recipe.batch_size
        tables = self.rows, self.corners, self.mirrors
        rows, places, chosen = (torch.empty_like(table, device="cpu") for table in tables)
        for k, own in enumerate(streams):
            mine = slice(k * size, (k + 1) * size)
            order = torch.randperm(len(self._part), generator=own.order)
            rows[:, mine] = order[: steps * size].view(steps, size)
            for step in range(steps):  # one after the other, as `augmented` draws
                if self._padding > 0:
                    where = corners(size, self._padding, own.images, self._recipe.revision)
                    places[step, :, mine] = where
                if self._flip > 0:
                    chosen[step, mine] = mirrors(size, self._flip, own.images)
        for table, drawn in zip(tables, (rows, places, chosen), strict=True):
            table.copy_(drawn)

    def prepare(self, step: int, streams: Sequence[Streams]) -> None:
        """Make the batch of a step that needs Python; to be called before each step."""
        if self._is_whole:
            return
        own = [
            training_batch(self._part, mine, self._classes, self._recipe, stream)
            for mine, stream in zip(self.rows[step].chunk(len(streams)), streams, strict=True)
        ]
        images, targets = zip(*own, strict=True)
        self._images.copy_(torch.cat(images))
        self._targets.copy_(torch.cat(targets))

    def of_step(self, at: Tensor) -> tuple[Tensor, Tensor]:
        """Images (K * B, C, H, W), standardised, and targets of the step that `at` (1,) says.

        Targets are labels (K * B,), or (K * B, classes) where the recipe mixes.
        """
        if not self._is_whole:
            return self._images, self._targets
        part = self._part

        def now(table: Tensor) -> Tensor:
            return table.index_select(0, at).squeeze(0)

        rows = now(self.rows)
        levels = part.images[rows].float()
        if self._padding > 0:
            levels = cropped_at(levels, self._padding, part.mean.round(), now(self.corners))
        if self._flip > 0:
            levels = mirrored_where(levels, now(self.mirrors))
        return part.standardised(levels), part.labels[rows]
