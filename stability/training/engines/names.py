"""Names of the engines, and which of several that were measured is taken. No torch.

eager      one after the other, each step as Python gives it out
captured   one after the other, each step a replay of one CUDA graph
streams    as captured, several side by side, each a graph on a stream of its own
stacked    as one: weights with a leading axis, one set of kernels for all

`+compile` behind captured or streams has torch.compile make the kernels of the model; `:K` behind
streams or stacked says how many at a time.
"""

from collections.abc import Mapping
from dataclasses import dataclass

ENGINE_NAMES = ("eager", "captured", "captured+compile", "streams", "streams+compile", "stacked")
USUAL = {"streams": 4, "stacked": 16}
"""How many at a time where nobody says."""
MOST_TRIALS = 1024  # at a time
GAIN = 1.3
"""Trials are trained as one only where that is so much faster than the best other way: one of them
that is slow or out of memory concerns all."""


@dataclass(frozen=True)
class Engine:
    """An engine's name and what belongs to it."""

    name: str
    trials: int = 1
    """How many it trains at a time."""

    @property
    def base(self) -> str:
        """Without `+compile`."""
        return self.name.partition("+")[0]

    @property
    def is_compiled(self) -> bool:
        """Whether torch.compile makes the kernels."""
        return self.name.endswith("+compile")

    def __str__(self) -> str:
        return f"{self.name}:{self.trials}" if self.base in USUAL else self.name


def parse_engine(text: str) -> Engine:
    """`stacked:16` as an engine. Raises ValueError with what is allowed.

    >>> parse_engine("stacked"), str(parse_engine("streams+compile:2")), str(parse_engine("eager"))
    (Engine(name='stacked', trials=16), 'streams+compile:2', 'eager')
    """
    name, colon, number = text.partition(":")
    usual = USUAL.get(Engine(name).base)
    if name not in ENGINE_NAMES:
        raise ValueError(f"got {text!r}, allowed is auto, {', '.join(ENGINE_NAMES)}")
    if not colon:
        return Engine(name, usual or 1)
    if usual is None:
        raise ValueError(f"got {text!r}, {name} trains one at a time: no number")
    if not (number.isascii() and number.isdigit() and 1 <= int(number) <= MOST_TRIALS):
        raise ValueError(f"got {text!r}, allowed is {name}:K with K from 1 to {MOST_TRIALS}")
    return Engine(name, int(number))


def device_fault(engine: Engine, device: str) -> str | None:
    """Why `engine` cannot be used on `cpu` or `cuda`; None where it can."""
    if device != "cuda" and engine.base in ("captured", "streams"):
        return f"{engine} needs a CUDA device, the trials run on {device}"
    return None


def fastest(found: Mapping[str, float | str]) -> Engine:
    """The one to take of what was measured; stacked only where it gains enough.

    `found`: seconds of a step or a trial, or why there are none; eager where nothing is known.

    >>> str(fastest({"eager": 7.7, "captured": 1.7, "stacked:16": 1.4}))
    'captured'
    >>> str(fastest({"eager": 7.7, "captured": 1.7, "stacked:16": 1.3}))
    'stacked:16'
    """
    seconds = {
        parse_engine(text): value for text, value in found.items() if isinstance(value, float)
    }
    if not seconds:
        return Engine("eager")
    order = sorted(seconds, key=lambda engine: seconds[engine])
    others = [engine for engine in order if engine.base != "stacked"]
    first = order[0]
    if first.base != "stacked" or not others:
        return first
    return first if seconds[others[0]] >= GAIN * seconds[first] else others[0]
