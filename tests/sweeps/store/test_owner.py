"""Who a process is, and when it has ended."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from sweeps.store.owner import Owner, wait_for_any_end

SELF = Owner.this_process("self")
LONG = 30.0


@contextmanager
def sleeping(seconds: float) -> Iterator[Owner]:
    """A process that ends after so long; not the one that its start says, which does not matter."""
    child = subprocess.Popen([sys.executable, "-c", f"import time; time.sleep({seconds})"])
    try:
        yield replace(SELF, pid=child.pid)
    finally:
        child.kill()
        child.wait()


@pytest.mark.skipif(sys.platform != "linux", reason="only there the system tells")
def test_the_first_end_is_noticed_at_once() -> None:
    start = time.monotonic()
    with sleeping(LONG) as long, sleeping(0.1) as short:
        wait_for_any_end([long, short], LONG)
    assert time.monotonic() - start < LONG / 2


def test_who_lives_is_waited_for_so_long_and_no_longer() -> None:
    start = time.monotonic()
    wait_for_any_end([SELF], 0.2)
    assert time.monotonic() - start >= 0.2


@pytest.mark.parametrize("owners", [[], [replace(SELF, pid=2**22 + 1)]])
def test_where_nobody_lives_the_time_passes_all_the_same(owners: list[Owner]) -> None:
    """Or a driver whose workers have just ended would look without rest."""
    start = time.monotonic()
    wait_for_any_end(owners, 0.2)
    assert time.monotonic() - start >= 0.2
