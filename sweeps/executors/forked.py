"""Workers forked from one process that has imported what all of them need.

torch takes more than a second of a core and 200 MB to import, the libraries of a worker without it
another second: paid once instead of by each worker. Code of the user is imported after the fork,
since it may start threads, which do not survive one. Linux only: macOS' own libraries do not
survive it. A process that has torch with a GPU is not forked.
"""

import gc
import importlib
import json
import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

from sweeps.study.schema import PART_SCHEMA
from sweeps.system.files import atomic_write
from sweeps.system.processes import signal_child
from sweeps.worker.worker import WorkerSpec, work_as_job


@dataclass(frozen=True, kw_only=True)
class SideTask:
    """A function that is called in a process of its own, forked like the workers."""

    function: str
    """`module:function`; takes and gives what JSON can hold."""
    question: dict[str, Any]

    def run(self, answer: Path) -> None:
        """Call the function and write what it returns to `answer`; an exception as `error`."""
        module, _, name = self.function.partition(":")
        try:
            said = getattr(importlib.import_module(module), name)(self.question)
        except Exception as error:
            said = {"error": f"{type(error).__name__}: {error}"}
        with atomic_write(answer) as temporary:
            temporary.write_text(json.dumps(said), encoding="utf-8")


def work_side_by_side(
    module: str, specs: Sequence[WorkerSpec], ended: Path, side_task: SideTask | None, answer: Path
) -> None:
    """Import `module`, then fork a process for each worker and for the side task.

    When a process ends, however it does, its name is appended to the file `ended`.
    """
    children: dict[int, str] = {}
    stopped = False

    def stop(signum: int, frame: FrameType | None) -> None:
        nonlocal stopped
        stopped = True
        for pid in children:
            signal_child(pid, signal.SIGTERM)

    signal.signal(signal.SIGTERM, stop)
    import_for_good(module)
    tasks: dict[str, Callable[[], object]] = {o.name: partial(work_as_job, o) for o in specs}
    if side_task is not None:
        tasks["side_task"] = partial(side_task.run, answer)
    for name, task in tasks.items():
        if not stopped:
            fork(task, name, children)
    while children:
        ended_one = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)
        assert ended_one is not None  # there are children
        # Before it is waited for: afterwards its pid may be another process's, which `stop` would
        # signal.
        name = children.pop(ended_one.si_pid)
        os.waitpid(ended_one.si_pid, 0)
        with ended.open("a", encoding="utf-8") as file:
            file.write(name + "\n")


def import_for_good(module: str) -> None:
    """Import what stays until the end of the process and of those that are forked from it.

    Garbage of torch's million objects is looked for neither while they are made (a fifth of the
    import) nor when the process ends (a third of a second), nor in a child, where looking would
    copy the pages that it shares.
    """
    gc.disable()
    importlib.import_module(module)
    # Arrow imports pandas, a third of a second, when it first converts a row.
    PART_SCHEMA.empty_table()
    gc.freeze()
    gc.enable()


def fork(task: Callable[[], object], name: str, children: dict[int, str]) -> None:
    """Run `task` in a child, which never returns, and is in `children` from its first moment."""
    sys.stdout.flush()
    sys.stderr.flush()
    # A SIGTERM in between would find a child that nobody knows, or that has its parent's handler.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        if pid := os.fork():
            children[pid] = name
            return
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    status = 1
    try:
        task()
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
