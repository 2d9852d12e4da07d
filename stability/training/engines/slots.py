"""A trial's place in a cohort, and what it keeps there of a training, to go on from."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from stability.training.augment.batches import Streams
from stability.training.loop import Job
from stability.training.signals import Losses
from stability.training.state import History, Saved, packed, refuse, unpacked

FORMAT = "stability stacked 1"
"""To be changed with `Slot.packed` and `Stack.state`; what another has kept is begun anew."""


@dataclass(kw_only=True)
class Slot:
    """A place in a cohort."""

    index: int
    """Of the job."""
    job: Job
    saved: Saved | None = None
    streams: Streams
    losses: Losses = field(default_factory=Losses)
    past: History = field(default_factory=History)
    """What an interrupted training left; its rows grow."""
    kept: dict[str, Any] | None = None
    """State that an interrupted training left, until the stack has it."""
    alive: bool = True

    @property
    def epochs(self) -> int:
        """So many are behind it."""
        return max(0, len(self.past.rows) - 1)

    def packed(self, past: History, values: Sequence[Tensor], stack: dict[str, Any]) -> bytes:
        """Its state after the epochs of `past`: its rows of `Stack.state()`; `stack` is of all."""
        own = {
            "values": [each.clone() for each in values],  # of a view torch writes the whole
            "streams": self.streams.state(),
            "losses": torch.from_numpy(self.losses.latest),
        }
        return packed(FORMAT, past, stack | own)

    def restore(self, content: bytes, device: torch.device) -> None:
        """Go on from what was `packed`. Raises as `TrainState.restore`."""
        self.past, self.kept = unpacked(content, FORMAT, device)
        self.streams.become(self.kept["streams"])
        self.losses.latest = self.kept["losses"].numpy()

    def anew(self, error: Exception) -> "Slot":
        """A place in which the trial begins anew, as its state cannot be used."""
        if self.saved is not None:
            refuse(self.saved, error)
        return fresh(self.index, self.job, self.saved)


def fresh(index: int, job: Job, saved: Saved | None) -> Slot:
    """A trial before its first step."""
    return Slot(index=index, job=job, saved=saved, streams=Streams.of(job.seed))


def begun(index: int, job: Job, saved: Saved | None, device: torch.device) -> Slot:
    """A trial as an interrupted training left it, or before its first step."""
    slot = fresh(index, job, saved)
    content = None if saved is None else saved.load()
    if content is None:
        return slot
    try:
        slot.restore(content, device)
    except Exception as error:  # whatever unknown bytes lead to
        return slot.anew(error)
    return slot


def by_epoch(slots: Sequence[Slot]) -> list[list[Slot]]:
    """Those that can be trained as one: of equally many epochs; the most advanced first."""
    groups: dict[int, list[Slot]] = {}
    for slot in slots:
        groups.setdefault(slot.epochs, []).append(slot)
    return [groups[epochs] for epochs in sorted(groups, reverse=True)]
