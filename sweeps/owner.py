"""Who holds something, and whether that process provably no longer exists."""

import json
import os
import socket
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, kw_only=True)
class Owner:
    """A process, named so that no later process can be taken for it."""

    name: str
    host: str
    pid: int
    started: str
    """Start of the process on a clock that nobody can set; a pid alone is used again."""
    boot: str
    """Which boot of the host; empty where the system does not say."""
    namespace: str
    """Whose pids they are: a container has its own."""
    slot: str = ""
    """Which place of the host it fills, such as `cpu:1`."""

    @classmethod
    def this_process(cls, name: str, slot: str = "") -> "Owner":
        """The running process."""
        pid = os.getpid()
        started = _started(pid)
        assert started is not None  # it is running this line
        host = socket.gethostname()
        return cls(
            name=name,
            host=host,
            pid=pid,
            started=started,
            boot=_boot(),
            namespace=_namespace(),
            slot=slot,
        )

    @property
    def is_here(self) -> bool:
        """Whether it runs, or ran, on this host."""
        return self.host == socket.gethostname()

    @property
    def is_gone(self) -> bool:
        """Whether it provably ended. Of another host or container nothing is proved from here."""
        if not self.is_here:
            return False
        if self.boot != _boot():
            return True
        return self.namespace == _namespace() and _started(self.pid) != self.started

    def to_json(self) -> str:
        """For a file."""
        return json.dumps(asdict(self))

    @classmethod
    def read(cls, path: Path) -> "Owner | None":
        """From a file; None where it is gone or garbage."""
        try:
            return cls(**json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None

    def __str__(self) -> str:
        return f"{self.name} (pid {self.pid} on {self.host})"


def _boot() -> str:
    try:
        return BOOT_ID.read_text().strip()
    except OSError:
        return ""


def _namespace() -> str:
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""


def _started(pid: int) -> str | None:
    """When process `pid` started; None where it has ended (a zombie has)."""
    if sys.platform != "linux":
        return _started_by_ps(pid)
    try:
        # After the name, which may hold anything: state, ..., and as the 20th the start in ticks
        # since boot, which no change of the clock moves.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else fields[19]


def _started_by_ps(pid: int) -> str | None:
    command = ["ps", "-o", "stat=,lstart=", "-p", str(pid)]
    answer = subprocess.run(command, capture_output=True, text=True, check=False).stdout.split()
    return None if not answer or answer[0].startswith("Z") else " ".join(answer[1:])
