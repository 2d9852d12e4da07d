"""Identity of processes on this system, and the only module that sends signals.

A pid alone proves nothing: it is reused after its process has ended, and a container has pids of
its own. A process is identified by boot, pid namespace, pid and start time together.
"""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
MAX_PID = 2**31 - 1


def boot_id() -> str:
    """Return the id of the current boot; empty if the system does not say."""
    try:
        return BOOT_ID.read_text().strip()
    except OSError:
        return ""


def pid_namespace() -> str:
    """Return the pid namespace of this process; empty if the system does not say."""
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""


def start_time(pid: int) -> str | None:
    """Return when process `pid` started, on a clock that nobody can set; None if it has ended.

    A zombie has ended.
    """
    if sys.platform != "linux":
        return _started_by_ps(pid)
    if (name := _name_in_proc(pid)) is None:
        return None
    try:
        # The name in parentheses may hold anything. After it come the state and, as the 20th field,
        # the start in clock ticks since boot.
        fields = Path(f"/proc/{name}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else fields[19]


def signal_process(pid: int, start: str, number: signal.Signals) -> bool:
    """Send a signal to process `pid` of this pid namespace if it started at `start`.

    The pidfd is opened before the start time is compared, so the pid cannot be reused in between.
    Without a pidfd (macOS, Linux before 5.3), the comparison comes immediately before the signal.

    Returns:
        Whether the signal was sent. False if the process has ended, is another one, may not be
        signalled, or is no single process (pid 0 and 1 and negative numbers).
    """
    if not 1 < pid <= MAX_PID or pid == os.getpid():
        return False
    with suppress(ProcessLookupError, PermissionError), _open_pidfd(pid) as handle:
        if start_time(pid) != start:
            return False
        if handle is None:
            os.kill(pid, number)
        else:
            signal.pidfd_send_signal(handle, number)
        return True
    return False


def signal_child(pid: int, number: signal.Signals) -> None:
    """Send a signal to a child that was not waited for yet: until then its pid is not reused."""
    if pid > 1:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


@contextmanager
def _open_pidfd(pid: int) -> Iterator[int | None]:
    """Yield a pidfd; None if the system has none. Raises ProcessLookupError."""
    handle = None
    if hasattr(os, "pidfd_open") and hasattr(signal, "pidfd_send_signal"):
        try:
            handle = os.pidfd_open(pid)
        except ProcessLookupError:
            raise
        except OSError:  # an old kernel, a filter of system calls, too many open files
            handle = None
    try:
        yield handle
    finally:
        if handle is not None:
            os.close(handle)


def _name_in_proc(pid: int) -> str | None:
    """Return the name of process `pid` in /proc; None if it has ended.

    /proc may show another pid namespace: `unshare --pid` without `--mount-proc`. Raises OSError if
    the name cannot be found.
    """
    if pid == os.getpid():
        return "self"
    if os.readlink("/proc/self") == str(os.getpid()):  # noqa: PTH115 - called very often
        return str(pid)
    with suppress(ProcessLookupError), _open_pidfd(pid) as handle:
        info = Path(f"/proc/self/fdinfo/{handle}").read_text()
        found = re.search(r"^Pid:\s*([1-9]\d*)$", info, re.MULTILINE)
        return found[1] if found else None
    return None


def _started_by_ps(pid: int) -> str | None:
    command = ["ps", "-o", "stat=,lstart=", "-p", str(pid)]
    answer = subprocess.run(command, capture_output=True, text=True, check=False).stdout.split()
    return None if not answer or answer[0].startswith("Z") else " ".join(answer[1:])
