"""Requests to end, by a person or the system, as exceptions that an objective cannot swallow.

An objective may raise `KeyboardInterrupt` or `SystemExit` itself, and it may catch whatever is
raised in it. So a request to end has an exception class of its own and is pending until it is
obeyed.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import NoReturn


class Interrupted(KeyboardInterrupt):
    """Ctrl-C or SIGTERM at the driver: the sweep ends, and the same command continues it."""


class AskedToEnd(SystemExit):
    """SIGTERM at a worker: it releases its claims. Not an error of the training."""


class OutOfTimeError(BaseException):
    """The wall time ended a training that began with all of it; the trial has timed out."""


_requested: list[BaseException] = []
"""The pending request of this process; at most one."""


def raise_request(error: BaseException) -> NoReturn:
    """Raise `error`; it stays pending in case the running code catches it."""
    _requested[:] = [error]
    raise error


def raise_pending() -> None:
    """Raise the pending request again, which the code in which it was raised has caught."""
    if _requested:
        raise _requested[0]


@contextmanager
def as_interrupts() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM raise `Interrupted`, unless Ctrl-C has another handler already."""

    def interrupt(signum: int, frame: FrameType | None) -> None:
        raise_request(Interrupted())

    _requested.clear()
    before = {signal.SIGTERM: signal.signal(signal.SIGTERM, interrupt)}
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        before[signal.SIGINT] = signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            with suppress(TypeError):  # a handler that Python did not install
                signal.signal(number, handler)
        _requested.clear()
