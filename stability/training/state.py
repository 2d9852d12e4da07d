"""All that changes while a training runs, as bytes, and back: to the bit on the same device."""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from stability.training.augment.batches import Streams
from stability.training.ema import Average
from stability.training.optimizers import Optimizer
from stability.training.signals import GradientMonitor

EAGER_FORMAT = "stability eager 1"
"""To be changed with `TrainState.state`: a state of another format is discarded."""


Serialize = Callable[[], bytes]


class Checkpoint(Protocol):
    """Where a training keeps its state; `sweeps.study.trial.Saved` is one."""

    def load(self) -> bytes | None:
        """State of an interrupted training; None to start from scratch."""

    def offer(
        self, state: Serialize, beside: Sequence[tuple[Any, Serialize]] | None = None
    ) -> None:
        """Save what `state` returns if a checkpoint is due; else it is not called.

        `beside`: checkpoints and states of the other trials of a stack, saved at the same time.
        """

    def discard(self, reason: str) -> None:
        """The loaded state cannot be used: training starts from scratch."""


@dataclass(frozen=True, kw_only=True)
class History:
    """The training so far, as it was reported."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    """Of the curve; epoch 0 is before training."""
    seconds: float = 0.0
    devices: tuple[str, ...] = ()
    """Names of those that trained it, each once, in their order."""


@dataclass(frozen=True)
class TrainState:
    """All that a training changes. The position in the data is the state of the generators."""

    model: nn.Module
    optimizer: Optimizer
    streams: Streams
    monitor: GradientMonitor
    average: Average | None = None
    precision: str = "float32"
    """Of the forward pass; never changes."""

    @property
    def device(self) -> torch.device:
        """Where it is trained."""
        return next(self.model.parameters()).device

    def serialize(self, history: History) -> bytes:
        """The state between two epochs as bytes, with the `history` up to there."""
        return serialize(EAGER_FORMAT, history, self.state())

    def restore(self, content: bytes) -> History:
        """Load the result of `serialize`; returns its history.

        Raises ValueError for another format or kind of device, and what torch raises for other
        bytes; the state is then partly overwritten and of no use. Nothing but tensors and plain
        values is unpickled.
        """
        history, state = deserialize(content, EAGER_FORMAT, self.device)
        self._load_state(state)
        return history

    def state(self) -> dict[str, Any]:
        """Tensors, none of them a copy, and plain values.

        torch's global generators are in it for models from elsewhere that have dropout; those of
        this project do not read them.
        """
        groups = self.optimizer.groups
        is_cuda = self.device.type == "cuda"
        return {
            "kind": self.device.type,
            "model": _contents(self.model),
            "memories": [[group.memory.get(p) for p in group.parameters] for group in groups],
            "average": self.average and (_contents(self.average.model), self.average.step),
            "streams": self.streams.state(),
            "losses": torch.from_numpy(self.monitor.losses.latest),
            "global": torch.get_rng_state(),
            "global_cuda": torch.cuda.get_rng_state(self.device) if is_cuda else None,
        }

    def _load_state(self, state: dict[str, Any]) -> None:
        _put_back(self.model, state["model"])
        for group, memories in zip(self.optimizer.groups, state["memories"], strict=True):
            for parameter, memory in zip(group.parameters, memories, strict=True):
                if memory is None:
                    continue
                if parameter not in group.memory:  # that of a graph stays where it lies
                    group.memory[parameter] = self.optimizer.initial_memory(parameter)
                _overwrite(group.memory[parameter], memory)
        if self.average is not None:
            content, self.average.step = state["average"]
            _put_back(self.average.model, content)
        self.streams.load_state(state["streams"])
        self.monitor.losses.latest = state["losses"].numpy()
        torch.set_rng_state(state["global"])
        if state["global_cuda"] is not None:
            torch.cuda.set_rng_state(state["global_cuda"], self.device)


def serialize(form: str, history: History, state: dict[str, Any]) -> bytes:
    """Tensors and plain values as bytes; `state["kind"]` is the kind of device."""
    content = io.BytesIO()
    torch.save({"format": form, "past": vars(history), "live": state}, content)
    return content.getvalue()


def deserialize(content: bytes, form: str, device: torch.device) -> tuple[History, dict[str, Any]]:
    """The arguments of `serialize`, tensors on the CPU. Raises as `TrainState.restore`."""
    found = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    if found["format"] != form:
        raise ValueError(f"format {found['format']!r}, this is {form!r}")
    if found["live"]["kind"] != device.type:
        raise ValueError(f"made on {found['live']['kind']}, this is {device.type}")
    return History(**found["past"]), found["live"]


def refuse(saved: Checkpoint, error: Exception) -> None:
    """Discard a loaded state that led to `error`."""
    saved.discard(f"cannot be used ({type(error).__name__}: {str(error)[:200]})")


def device_name(device: torch.device) -> str:
    """Kind of device, for a person."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def _contents(module: nn.Module) -> dict[str, Any]:
    """Its state, and the buffers that a module keeps out of that."""
    return {"state": module.state_dict(), "buffers": dict(module.named_buffers())}


@torch.no_grad()
def _put_back(module: nn.Module, contents: dict[str, Any]) -> None:
    """In place: an average holds tensors of its model."""
    module.load_state_dict(contents["state"])
    buffers = dict(module.named_buffers())
    if buffers.keys() != contents["buffers"].keys():
        raise ValueError("the model has other buffers")
    for name, buffer in buffers.items():
        buffer.copy_(contents["buffers"][name].view_as(buffer))


@torch.no_grad()
def _overwrite(memory: Any, kept: Any) -> None:
    pairs = [(memory, kept)] if isinstance(memory, Tensor) else zip(memory, kept, strict=True)
    for ours, theirs in pairs:
        ours.copy_(theirs)
