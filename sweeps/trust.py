"""What another user could have put there: whose files are, and text that is safe to print.

A run directory may lie where others write, or come from somebody else. Reading one never runs
anything of it; going on with one imports what it names, and so asks first who can write it.
"""

import grp
import os
import pwd
import stat
from pathlib import Path

from sweeps.errors import StoreError

FOLDER_MODE = 0o755
"""Of run directories and what is in them: for nobody else to write, whatever the umask."""


def writable_by_others(*paths: Path) -> Path | None:
    """The first that belongs to, or can be written by, somebody else; None where none does.

    The superuser is nobody else, and neither is a group whose one member is this user (Debian and
    its like give each user one). A link counts as what it leads to, and as itself.
    """
    for path in paths:
        for found in (path.lstat(), path.stat()):
            if found.st_uid not in (os.geteuid(), 0):
                return path
            if not stat.S_ISLNK(found.st_mode) and is_open(found):
                return path
    return None


def is_open(found: os.stat_result) -> bool:
    """Whether its mode lets somebody else write."""
    by_group = bool(found.st_mode & stat.S_IWGRP) and not is_private(found.st_gid)
    return by_group or bool(found.st_mode & stat.S_IWOTH)


def is_private(group: int) -> bool:
    """Whether `group` has the name of this user and nobody else in it."""
    try:
        user, found = pwd.getpwuid(os.geteuid()), grp.getgrgid(group)
    except KeyError:
        return False
    own = group == user.pw_gid and found.gr_name == user.pw_name
    return own and set(found.gr_mem) <= {user.pw_name}


def is_own(path: Path) -> bool:
    """Whether this user made the file itself."""
    try:
        return path.lstat().st_uid == os.geteuid()
    except OSError:
        return False


def check_exclusive(*paths: Path) -> None:
    """Raises StoreError where somebody else could put other orders in the place of ours."""
    if open_one := writable_by_others(*paths):
        raise StoreError(
            f"{open_one} can be written by others, who could exchange what workers load from it; "
            f"for you alone: chmod go-w {open_one}"
        )


def private_folder(folder: Path, *above: Path) -> Path:
    """Make `folder`, which only this user may enter, below folders that only this user may write.

    Raises StoreError where somebody else could put another in its place.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    check_exclusive(*above, folder)
    if folder.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise StoreError(f"{folder} cannot be kept for you alone here: take another --out")
    return folder


def printable(text: str) -> str:
    r"""The text with what a terminal would obey, or not show, written out; lines stay lines.

    >>> printable("fine\n\x1b[2Jgone\u202e")
    'fine\n\\x1b[2Jgone\\u202e'
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in text)
