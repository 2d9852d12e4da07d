"""Processes that measure for a benchmark: what fails or hangs in one is a reason, not the end.

Both sides say JSON, a line at a time: a parent on the child's standard input, the child on what was
its standard output.
"""

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
OUT_OF_TIME = "out of time"


class ChildError(Exception):
    """Why a child gives no answer."""


class Child:
    """A process of its own group, so that what it starts ends with it."""

    def __init__(self, module: str, *arguments: str) -> None:
        """`module`: what is run, as by `python -m`."""
        paths = (str(ROOT), os.environ.get("PYTHONPATH"))
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
            start_new_session=True,
        )
        self._heard = b""

    def tell(self, content: Any) -> None:
        """Send a line. Raises ChildError where nobody reads it."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(content).encode() + b"\n")
        except BrokenPipeError:
            raise ChildError(self._end()) from None

    def hear(self, seconds: float) -> Any:
        """The child's next line. Raises ChildError where none comes in time, or it says a fault."""
        assert self._process.stdout is not None
        pipe, until = self._process.stdout.fileno(), time.monotonic() + seconds
        while b"\n" not in self._heard:
            left = until - time.monotonic()
            if left <= 0 or not select.select([pipe], [], [], left)[0]:
                raise ChildError(f"no answer in {seconds:.0f} s")
            piece = os.read(pipe, 1 << 16)
            if not piece:
                raise ChildError(self._end())
            self._heard += piece
        line, _, self._heard = self._heard.partition(b"\n")
        content = json.loads(line)
        if "fault" in content:
            raise ChildError(content["fault"])
        return content

    def _end(self) -> str:
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(5)
        return f"the process ended, status {self._process.poll()}"

    def close(self) -> None:
        """Kill it, and wait until what it held on the device is free."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()


class Parent:
    """Seen from the child. What else prints goes to standard error from then on."""

    def __init__(self) -> None:
        self._lines = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)

    def tell(self, content: Any) -> None:
        """Send a line."""
        print(json.dumps(content), file=self._lines, flush=True)

    def hear(self) -> Any:
        """The next line; None where the parent is gone."""
        line = sys.stdin.readline()
        return json.loads(line) if line else None


def in_words(error: Exception) -> str:
    """One line, cut off where it gets long."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"


def serve(answer: Callable[[Any], Any]) -> None:
    """Answer the parent until it is gone; an exception is answered as a fault."""
    parent = Parent()
    while (request := parent.hear()) is not None:
        try:
            content = answer(request)
        except Exception as error:  # whatever it is, it is the parent's to judge
            content = {"fault": in_words(error)}
        parent.tell(content)


class Measurer:
    """Asks a child for one measurement after the other, until a deadline.

    After a fault a new child takes its place: a capture that failed may leave the device unusable
    for the process, and memory that is not given back.
    """

    def __init__(self, module: str, arguments: Sequence[str], deadline: float) -> None:
        """`deadline`: by time.monotonic()."""
        self._command, self.deadline = (module, *arguments), deadline
        self._child: Child | None = None

    def __enter__(self) -> "Measurer":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def ask(self, request: Any, most: float) -> dict[str, Any]:
        """The answer, or {"fault": why there is none}; after `most` seconds there is none."""
        left = self.deadline - time.monotonic()
        if left <= 0:
            return {"fault": OUT_OF_TIME}
        try:
            if self._child is None:
                self._child = Child(*self._command)
            self._child.tell(request)
            content: dict[str, Any] = self._child.hear(min(left, most))
        except ChildError as error:
            self.close()
            over = time.monotonic() >= self.deadline
            return {"fault": OUT_OF_TIME if over else str(error)}
        return content

    def close(self) -> None:
        """End the child, if there is one."""
        if self._child is not None:
            self._child.close()
        self._child = None
