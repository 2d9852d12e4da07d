"""Names of data: `KIND`, `KIND:PATH`, `KIND:PATH@SIZE`, `synthetic:classes=10,...`.

A name has a canonical form, by which any process loads the same data (paths are absolute in it),
and a short one for people, tables and folders.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from stability.data.faults import DataError

SKIP = "+skip-unreadable"
"""Follows the kind where unreadable images are left out: `folder+skip-unreadable:flowers`."""
LONGEST_NAME = 40  # characters of a short name: it becomes part of a folder's name
SMALLEST, LARGEST = 8, 1024  # pixels of a side


@dataclass(frozen=True, kw_only=True)
class DataName:
    """A data set's name, taken apart."""

    kind: str
    argument: str = ""
    """An absolute path, a name on a hub, or settings in their canonical order."""
    size: int | None = None
    """Pixels to which images are brought; None leaves them as they are."""
    short: str
    """For people: `folder-flowers@64`."""
    skip_unreadable: bool = False
    """Whether unreadable images are left out instead of being a fault."""

    @property
    def canonical(self) -> str:
        """By which it is loaded, from whatever folder."""
        argument = f":{self.argument}" if self.argument else ""
        return (
            f"{self.kind}{SKIP if self.skip_unreadable else ''}{argument}{size_suffix(self.size)}"
        )

    @property
    def path(self) -> Path:
        """Of data that lie in files."""
        return Path(self.argument)


def size_suffix(size: int | None) -> str:
    """The end of a name that asks for a size."""
    return "" if size is None else f"@{size}"


def without_argument(kind: str, text: str) -> DataName:
    """`digits`. Raises DataError where more is said."""
    if text:
        raise DataError([f"got {kind}:{text}, {kind} has nothing after its name"])
    return DataName(kind=kind, short=kind)


def with_path(kind: str, text: str) -> DataName:
    """`cifar10:PATH`: the name says what it is, so the path is not in the short name."""
    return DataName(kind=kind, argument=absolute(required_path(kind, text)), short=kind)


def with_path_and_size(kind: str, text: str) -> DataName:
    """`folder:PATH` or `folder:PATH@SIZE`."""
    place, size = size_of(text)
    path = absolute(required_path(kind, place))
    return DataName(
        kind=kind, argument=path, size=size, short=short_name(kind, Path(path).name, size)
    )


def required_path(kind: str, text: str) -> str:
    """`text`. Raises DataError where it is empty."""
    if not text:
        raise DataError([f"{kind} needs a path: {kind}:PATH"])
    return text


def size_of(text: str) -> tuple[str, int | None]:
    """What stands before `@SIZE`, and the size. Raises DataError where it cannot be one.

    >>> size_of("flowers@64"), size_of("me@home/flowers")
    (('flowers', 64), ('me@home/flowers', None))
    """
    found = re.fullmatch(r"(.*)@(-?[0-9]+)", text, re.DOTALL)
    if not found:
        return text, None
    size = int(found[2][:9])
    if not SMALLEST <= size <= LARGEST:
        raise DataError([f"got @{found[2]}, allowed are {SMALLEST} to {LARGEST} pixels"])
    return found[1], size


def absolute(text: str) -> str:
    """The path from the root, without `..`, with `~` as the home folder."""
    return os.path.abspath(os.path.expanduser(text))  # noqa: PTH100, PTH111 - Path keeps `..`


def short_name(kind: str, what: str, size: int | None) -> str:
    """A name that can be part of a folder's name everywhere.

    >>> short_name("folder", "my flowers (new)", 64)
    'folder-my_flowers_new@64'
    """
    clean = re.sub(r"[^\w.-]+", "_", what, flags=re.ASCII).strip("_.-")[:LONGEST_NAME]
    return f"{kind}{f'-{clean}' if clean else ''}{size_suffix(size)}"
