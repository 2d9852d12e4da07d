"""The slot of a trial in a cohort, and its state as bytes."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from stability.training.augment.batches import Streams
from stability.training.loop import Job
from stability.training.signals import LossHistory
from stability.training.state import Checkpoint, History, deserialize, refuse, serialize

STACKED_FORMAT = "stability stacked 1"
"""To be changed with `Slot.serialize` and `Stack.state`: another format is discarded."""


@dataclass(kw_only=True)
class Slot:
    """The place of one trial in a cohort."""

    index: int
    """Number of the job."""
    job: Job
    saved: Checkpoint | None = None
    streams: Streams
    losses: LossHistory = field(default_factory=LossHistory)
    history: History = field(default_factory=History)
    """History of the interrupted training, or empty; rows are added."""
    loaded: dict[str, Any] | None = None
    """State of an interrupted training, until the stack has it."""
    alive: bool = True

    @property
    def epochs(self) -> int:
        """Number of epochs trained so far."""
        return max(0, len(self.history.rows) - 1)

    def serialize(self, history: History, values: Sequence[Tensor], stack: dict[str, Any]) -> bytes:
        """State after the epochs of `history`.

        `values`: the trial's rows of `Stack.state()`. `stack`: what all trials share.
        """
        own = {
            "values": [each.clone() for each in values],  # of a view torch writes the whole
            "streams": self.streams.state(),
            "losses": torch.from_numpy(self.losses.latest),
        }
        return serialize(STACKED_FORMAT, history, stack | own)

    def restore(self, content: bytes, device: torch.device) -> None:
        """Load the result of `serialize`. Raises as `TrainState.restore`."""
        self.history, self.loaded = deserialize(content, STACKED_FORMAT, device)
        self.streams.load_state(self.loaded["streams"])
        self.losses.latest = self.loaded["losses"].numpy()

    def restarted(self, error: Exception) -> "Slot":
        """The slot of the trial before its first step, as its loaded state cannot be used."""
        if self.saved is not None:
            refuse(self.saved, error)
        return initial_slot(self.index, self.job, self.saved)


def initial_slot(index: int, job: Job, saved: Checkpoint | None) -> Slot:
    """A trial before its first step."""
    return Slot(index=index, job=job, saved=saved, streams=Streams.of(job.seed))


def start_or_resume_slot(
    index: int, job: Job, saved: Checkpoint | None, device: torch.device
) -> Slot:
    """A trial as an interrupted training left it, or before its first step."""
    slot = initial_slot(index, job, saved)
    content = None if saved is None else saved.load()
    if content is None:
        return slot
    try:
        slot.restore(content, device)
    except Exception as error:  # whatever unknown bytes lead to
        return slot.restarted(error)
    return slot


def by_epoch(slots: Sequence[Slot]) -> list[list[Slot]]:
    """Groups that can be trained as one: of equally many epochs; the most advanced first."""
    groups: dict[int, list[Slot]] = {}
    for slot in slots:
        groups.setdefault(slot.epochs, []).append(slot)
    return [groups[epochs] for epochs in sorted(groups, reverse=True)]
