"""File locks (`flock`), which the system releases when the process that holds them ends.

A lock belongs to the open file. A forked process has a copy of it and would keep the lock, so each
forked process closes its copies; a program that is started gets none (O_CLOEXEC).
"""

import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_held: set[int] = set()
"""Descriptors of the lock files that this process has open."""


def _close_copies() -> None:
    for handle in _held:
        with suppress(OSError):
            os.close(handle)
    _held.clear()


os.register_at_fork(after_in_child=_close_copies)


@contextmanager
def open_lock(path: Path) -> Iterator[int]:
    """Yield a descriptor of the lock file, which is created if needed; links are not followed.

    Raises OSError if it cannot be opened.
    """
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    _held.add(handle)
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, "not a regular file", str(path))
        yield handle
    finally:
        if handle in _held:  # not in a process that was forked meanwhile
            _held.discard(handle)
            os.close(handle)


def any_held() -> bool:
    """Whether this process has a lock file open."""
    return bool(_held)


def acquire(handle: int, *, wait: bool = False) -> None:
    """Acquire the lock. Raises BlockingIOError if another process holds it."""
    fcntl.flock(handle, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
