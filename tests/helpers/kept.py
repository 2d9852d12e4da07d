"""What the tests of checkpoints share: states in memory, and what is in them.

Imports torch and `stability.training` alone, for the tests on a GPU.
"""

import io
from collections.abc import Callable, Sequence
from typing import Any

import torch


class InterruptedTraining(BaseException):
    """As a signal would: nothing in a training catches it."""


State = Callable[[], bytes]


class Kept:
    """Keeps in memory what is offered; interrupts after so many offers to this one."""

    def __init__(self, state: bytes | None = None, until: int | None = None) -> None:
        self.state, self.until, self.refused = state, until, list[str]()
        self.offers: list[int | None] = []
        """How many others were trained as one with it, at each; None where it is trained alone."""

    def load(self) -> bytes | None:
        return self.state

    def offer(self, state: State, beside: Sequence[tuple[Any, State]] | None = None) -> None:
        self.offers.append(None if beside is None else len(beside))
        for place, its in ((self, state), *(beside or ())):
            place.state = its()
        if len(self.offers) == self.until:
            raise InterruptedTraining

    def discard(self, reason: str) -> None:
        self.refused.append(reason)


def unpacked(state: bytes | None) -> dict[str, Any]:
    assert state is not None
    content: dict[str, Any] = torch.load(io.BytesIO(state), weights_only=True)
    return content


def repacked(content: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def with_earlier(part: str, now: dict[str, Any], earlier: dict[str, Any]) -> bytes:
    """The state `now`, with one part of it as it was earlier."""
    if part == "losses":  # spikes are rare: make one
        now["live"][part] = torch.linspace(0, 1e-3, 42, dtype=torch.float64)
    elif part in now["live"]["streams"]:
        now["live"]["streams"][part] = earlier["live"]["streams"][part]
    else:
        now["live"][part] = earlier["live"][part]
    return repacked(now)


def with_fault(state: bytes | None, how: str) -> bytes:
    """A state of another `format` or `kind` of device, or wrong in what is read `late`."""
    content = unpacked(state)
    if how == "format":
        content["format"] += "0"
    elif how == "kind":
        content["live"]["kind"] = "cuda"
    elif how == "late":  # what comes last is wrong: everything before it is in place already
        content["live"]["streams"]["statistics"] = torch.zeros(3)
    else:
        raise KeyError(how)
    return repacked(content)
