"""A process that is killed within `os.replace`: between the temporary file and its last name."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

_replace = os.replace


def taken(order: Path) -> bool:
    """Whether `order` was there, for us alone."""
    try:
        os.rename(order, order.with_name(f"{order.name}-{os.getpid()}"))  # noqa: PTH104
    except OSError:
        return False
    return True


def is_meant(order: Path, target: Any) -> bool:
    """Whether `order` is there, is of such files, and is for us alone."""
    try:
        ending = order.read_text()
    except OSError:
        return False
    return str(target).endswith(ending) and taken(order)


def cut_replace(role: str) -> None:
    """From now on the files `cut-before-ROLE` and `cut-after-ROLE` kill this process.

    At the next file whose name ends as they say.
    """
    scene = Path(os.environ["CHAOS_SCENE"])
    if os.replace is _replace:
        os.replace = cutting(scene / f"cut-before-{role}", scene / f"cut-after-{role}")


def cutting(before: Path, after: Path) -> Callable[..., None]:
    """`os.replace`, that kills this process where one of the files is there."""

    def replace(source: Any, target: Any, **options: Any) -> None:
        if is_meant(before, target):
            os.kill(os.getpid(), signal.SIGKILL)
        _replace(source, target, **options)
        if is_meant(after, target):
            os.kill(os.getpid(), signal.SIGKILL)

    return replace
