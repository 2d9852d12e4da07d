"""How many processes this machine has a core for; without torch, so that it is known at once."""

import os
from math import floor
from pathlib import Path


def cores(cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """Cores that this process may use: by its affinity, and by the quota of its container.

    A quota of 2.5 cores has room for two processes that compute all the time. At least 1.
    """
    allowed = float(os.cpu_count() or 1)
    if hasattr(os, "sched_getaffinity"):
        allowed = len(os.sched_getaffinity(0))
    return max(1, floor(min(allowed, quota(cgroup))))


def quota(cgroup: Path) -> float:
    """Cores that a cgroup may keep busy; infinity where none is set.

    Version 2 has both numbers in `cpu.max`, version 1 in two files of microseconds, -1 for none
    (Linux, Documentation/admin-guide/cgroup-v2.rst and scheduler/sched-bwc.rst).
    """
    try:
        if (cgroup / "cpu.max").exists():
            limit, period = (cgroup / "cpu.max").read_text().split()
        else:
            limit = (cgroup / "cpu" / "cpu.cfs_quota_us").read_text()
            period = (cgroup / "cpu" / "cpu.cfs_period_us").read_text()
        return int(limit) / int(period) if int(limit) > 0 else float("inf")
    except (OSError, ValueError):  # not there, or `max`
        return float("inf")
