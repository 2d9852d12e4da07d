"""A clock that can be set: what this package's modules call the time, in the processes of a scene.

As when a person or NTP sets the clock, the monotonic clock stays what it is, and so do the times
that the file system gives (a library under all of Python, libfaketime 0.9.10, breaks `time.sleep`).
"""

import os
import sys
import time
from contextlib import suppress
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any

_time = time.time


class Clock:
    """Stands for `datetime` in a module; a file has the seconds by which it is wrong."""

    def __init__(self, setting: Path) -> None:
        self.setting = setting

    def offset(self) -> float:
        """Seconds to add."""
        with suppress(OSError, ValueError):
            return float(self.setting.read_text())
        return 0.0

    def now(self, zone: tzinfo | None = None) -> datetime:
        """The wrong time."""
        return datetime.now(zone) + timedelta(seconds=self.offset())

    def __getattr__(self, name: str) -> Any:
        return getattr(datetime, name)


def fake_clock() -> None:
    """From now on the file `clock` of the scene sets the clock of this process."""
    clock = Clock(Path(os.environ["CHAOS_SCENE"]) / "clock")
    for name, module in list(sys.modules.items()):
        if name.startswith("sweeps.") and getattr(module, "datetime", None) is datetime:
            module.datetime = clock  # type: ignore[attr-defined]
    time.time = lambda: _time() + clock.offset()
