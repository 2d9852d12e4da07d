"""Owners of claims: processes, and whether they provably no longer exist."""

import json
import os
import select
import signal
import socket
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from sweeps.system import processes
from sweeps.system.files import parse_json, read_text
from sweeps.system.slurm_job import SlurmJobId

MAX_OWNER_BYTES = 1 << 16


@dataclass(frozen=True, kw_only=True)
class Owner:
    """A process, described so that no later process can be mistaken for it."""

    name: str
    host: str
    pid: int
    started: str
    """Start of the process on a clock that nobody can set, since a pid is reused."""
    boot: str
    """Boot id of the host; empty if the system does not say."""
    namespace: str
    """Pid namespace: a container has its own."""
    slot: str = ""
    """Slot of the host, such as `cpu:1`."""
    job: str = ""
    """Slurm job, `1234` or `1234_5`; empty for a process that no cluster started."""
    submission: str = ""
    """Name of that job."""
    restarts: int = 0
    """How often that job had been requeued when this process started."""
    cluster: str = ""
    node: str = ""
    """Slurm's name of the host."""
    directory: str = ""
    """Identity of its run directory (`RunDirectory.identity`), since this may be read in a copy.
    Empty if an earlier version wrote it."""

    @classmethod
    def this_process(cls, name: str, slot: str = "", directory: str = "") -> "Owner":
        """Describe the running process."""
        pid = os.getpid()
        started = processes.start_time(pid)
        assert started is not None  # it is running this line
        host = socket.gethostname()
        return cls(
            name=name,
            host=host,
            pid=pid,
            started=started,
            boot=processes.boot_id(),
            namespace=processes.pid_namespace(),
            slot=slot,
            directory=directory,
            **asdict(SlurmJobId.here()),
        )

    @property
    def is_here(self) -> bool:
        """Whether it is a process of this host that no cluster started."""
        return self.host == socket.gethostname() and not self.job

    @property
    def is_gone(self) -> bool:
        """Whether it provably ended; never known of another host or container."""
        if self.is_visible:
            return processes.start_time(self.pid) != self.started
        # All nodes of a cluster may call themselves alike: a job's other boot proves nothing.
        return self.is_here and self.boot != processes.boot_id()

    @property
    def ended_alone(self) -> bool:
        """Whether the process provably ended while the system went on."""
        return self.is_visible and self.is_gone

    @property
    def is_visible(self) -> bool:
        """Whether this system knows if it runs: same host, boot and pid namespace."""
        return (
            self.host == socket.gethostname()
            and self.boot == processes.boot_id()
            and self.namespace == processes.pid_namespace()
        )

    def send(self, number: signal.Signals, directory: str) -> bool:
        """Signal the process if it provably is this one and works in `directory`.

        The proof: same host, boot, pid namespace and start time, checked immediately before the
        signal, and the identity of the run directory that it noted when it started.

        Returns:
            Whether the signal was sent.
        """
        if self.why_unproven(directory) is not None:
            return False
        return processes.signal_process(self.pid, self.started, number)

    def why_unproven(self, directory: str) -> str | None:
        """Return why a living process is not signalled from here; None if it may be."""
        if self.host != socket.gethostname():
            return "it runs on another host: call stability cancel there"
        if not self.is_visible:
            return "it runs in another container or pid namespace: call stability cancel there"
        if not self.directory:
            return "an earlier version started it, which did not note its run directory"
        if self.directory != directory:
            return "it works in another run directory, of which this one is a copy"
        return None

    @property
    def where(self) -> str:
        """Host and pid, or job and node, for messages."""
        return f"job {self.job} on {self.node}" if self.job else f"pid {self.pid} on {self.host}"

    def to_json(self) -> str:
        """Return it as JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def read(cls, path: Path) -> "Owner | None":
        """Read it from a file; None if there is none or it is invalid."""
        try:
            owner = cls(**parse_json(read_text(path, MAX_OWNER_BYTES)))
        except (OSError, ValueError, TypeError):
            return None
        numbers, words = {"pid": owner.pid, "restarts": owner.restarts}, vars(owner)
        is_sound = all(
            type(value) is int and 0 <= value <= processes.MAX_PID for value in numbers.values()
        ) and all(
            isinstance(words[name], str) and words[name].isprintable()
            for name in words.keys() - numbers.keys()
        )
        return owner if is_sound and owner.pid else None

    def __str__(self) -> str:
        return f"{self.name} ({self.where})"


def wait_for_any_end(owners: Sequence[Owner], seconds: float) -> None:
    """Wait until one of the processes has ended, at most so many seconds.

    Without pidfds (they need Linux 5.3), or without processes, wait for the whole time.
    """
    handles = []
    if hasattr(os, "pidfd_open"):
        for owner in owners:
            with suppress(OSError):  # it has ended meanwhile, or there are too many open files
                handles.append(os.pidfd_open(owner.pid))
    if not handles:
        time.sleep(seconds)
        return
    ends = select.poll()
    for handle in handles:
        ends.register(handle, select.POLLIN)
    ends.poll(1000 * seconds)
    for handle in handles:
        os.close(handle)
