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
from stability.training.signals import Watch

FORMAT = "stability eager 1"
"""To be changed with `TrainState.state`: what another format has kept is begun anew."""


State = Callable[[], bytes]


class Saved(Protocol):
    """Where a training keeps its state; `sweeps.study.trial.Saved` is one."""

    def load(self) -> bytes | None:
        """What an interrupted training left; None to begin anew."""

    def offer(self, state: State, beside: Sequence[tuple[Any, State]] | None = None) -> None:
        """Keep what `state` gives, where that is due; else it is not called.

        `beside`: those of the trials that are trained as one with this, with their states, which
        are then kept too.
        """

    def discard(self, reason: str) -> None:
        """What was loaded is of no use: training begins anew."""


@dataclass(frozen=True, kw_only=True)
class History:
    """The training so far, as it is told."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    """Of the curve; epoch 0 is before training."""
    seconds: float = 0.0
    devices: tuple[str, ...] = ()
    """Names of those that trained it, each once, in their order."""


@dataclass(frozen=True)
class TrainState:
    """What a training changes. The position in the data is the state of the generators."""

    model: nn.Module
    optimizer: Optimizer
    streams: Streams
    watch: Watch
    average: Average | None

    @property
    def device(self) -> torch.device:
        """Where it is trained."""
        return next(self.model.parameters()).device

    def packed(self, past: History) -> bytes:
        """Between two epochs, after those that `past` tells of."""
        return packed(FORMAT, past, self.state())

    def restore(self, content: bytes) -> History:
        """Become what was `packed`.

        Raises ValueError where that is of another format or kind of device, and what torch raises
        for other bytes: then this is neither what it was nor what was packed. Nothing but tensors
        and plain values is unpickled.
        """
        past, state = unpacked(content, FORMAT, self.device)
        self._become(state)
        return past

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
            "losses": torch.from_numpy(self.watch.losses.latest),
            "global": torch.get_rng_state(),
            "global_cuda": torch.cuda.get_rng_state(self.device) if is_cuda else None,
        }

    def _become(self, state: dict[str, Any]) -> None:
        _put_back(self.model, state["model"])
        for group, memories in zip(self.optimizer.groups, state["memories"], strict=True):
            for parameter, memory in zip(group.parameters, memories, strict=True):
                there = group.memory.get(parameter)
                if memory is not None and there is not None:  # of a graph: it stays where it lies
                    _overwrite(there, memory)
                elif memory is not None:
                    group.memory[parameter] = _moved(memory, self.device)
        if self.average is not None:
            content, self.average.step = state["average"]
            _put_back(self.average.model, content)
        self.streams.become(state["streams"])
        self.watch.losses.latest = state["losses"].numpy()
        torch.set_rng_state(state["global"])
        if state["global_cuda"] is not None:
            torch.cuda.set_rng_state(state["global_cuda"], self.device)


def packed(form: str, past: History, state: dict[str, Any]) -> bytes:
    """Tensors and plain values as bytes; `state["kind"]` is of the device."""
    content = io.BytesIO()
    torch.save({"format": form, "past": vars(past), "live": state}, content)
    return content.getvalue()


def unpacked(content: bytes, form: str, device: torch.device) -> tuple[History, dict[str, Any]]:
    """What was `packed`, its tensors on the CPU. Raises as `TrainState.restore`."""
    found = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    if found["format"] != form:
        raise ValueError(f"format {found['format']!r}, this is {form!r}")
    if found["live"]["kind"] != device.type:
        raise ValueError(f"made on {found['live']['kind']}, this is {device.type}")
    return History(**found["past"]), found["live"]


def refuse(saved: Saved, error: Exception) -> None:
    """What was loaded led to `error`."""
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


def _moved(memory: Any, device: torch.device) -> Any:
    if isinstance(memory, Tensor):
        return memory.to(device)
    return tuple(each.to(device) for each in memory)


@torch.no_grad()
def _overwrite(memory: Any, kept: Any) -> None:
    pairs = [(memory, kept)] if isinstance(memory, Tensor) else zip(memory, kept, strict=True)
    for ours, theirs in pairs:
        ours.copy_(theirs)
