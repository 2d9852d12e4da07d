"""Locks on files, which the system frees when the process that holds them ends, however it ends.

`flock` belongs to the open file: a forked process has a copy of it and keeps the lock. So each
process that is forked here closes its copies; a program that is started gets none (O_CLOEXEC).
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
    """A descriptor of the lock file, made where there is none; not through a link.

    Raises OSError where it cannot be opened.
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
    """Lock it for this process alone. Raises BlockingIOError where another one has it."""
    fcntl.flock(handle, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
