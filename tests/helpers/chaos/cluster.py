"""A Slurm of our own for the time of a campaign, where one can be had."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from toys import TESTS

SCRIPTS = TESTS / "slurm"
CANNOT = 77


@contextmanager
def slurm(*, is_wanted: bool) -> Iterator[str | None]:
    """Start one, or take the one of `SLURM_SANDBOX`; yields why there is none, or None.

    What is started here is stopped and removed at the end.
    """
    if not is_wanted or "SLURM_SANDBOX" in os.environ:
        yield None
        return
    # Short, for unix sockets; open to all, as munged wants it.
    os.environ["SLURM_SANDBOX"] = f"/tmp/stability-slurm-{os.getpid()}"
    up = subprocess.run(["bash", str(SCRIPTS / "up.sh")], capture_output=True, text=True)
    try:
        if up.returncode == CANNOT:
            yield up.stderr.strip().splitlines()[-1]
            return
        if up.returncode != 0:
            raise SystemExit(up.stderr)
        os.environ["SLURM_CONF"] = str(Path(os.environ["SLURM_SANDBOX"], "etc", "slurm.conf"))
        yield None
    finally:
        subprocess.run(["bash", str(SCRIPTS / "down.sh"), "--purge"], check=False)
        del os.environ["SLURM_SANDBOX"]
