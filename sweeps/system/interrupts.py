"""Requests to end: by a person or the system, never by the code that is being trained.

An objective may raise `KeyboardInterrupt` or `SystemExit` itself, and it may catch whatever is
raised in it. A request to end therefore has an exception class of its own, and is remembered until
it has been obeyed.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import NoReturn


class Interrupted(KeyboardInterrupt):
    """Ctrl-C or SIGTERM at the driver: the sweep ends, and the same command continues it."""


class AskedToEnd(SystemExit):
    """SIGTERM at a worker: it gives its claims back; neither an error nor the end of a training."""


class OutOfTimeError(BaseException):
    """The wall time ended a training that had all of it: not caught as an error of the training."""


_requested: list[BaseException] = []
"""The request that this process has received and not yet obeyed."""


def raise_request(error: BaseException) -> NoReturn:
    """Raise `error`, and remember it in case the code that runs now catches it."""
    _requested[:] = [error]
    raise error


def raise_pending() -> None:
    """Raise the request again where the code in which it was raised has caught it."""
    if _requested:
        raise _requested[0]


@contextmanager
def as_interrupts() -> Iterator[None]:
    """Ctrl-C and SIGTERM raise `Interrupted`, as long as nobody else handles them."""

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
