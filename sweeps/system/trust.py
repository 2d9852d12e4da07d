"""Trust: which files another user could have written, and text that is safe to print.

A run directory may lie where others can write, or come from somebody else. Reading one never
executes its content. Continuing one imports what it names, so its permissions are checked first.
"""

import grp
import os
import pwd
import stat
from pathlib import Path

from sweeps.errors import StoreError
from sweeps.system import acl

FOLDER_MODE = 0o755
"""Mode of run directories and folders in them: not writable by others, whatever the umask."""


def first_writable_by_others(*paths: Path) -> Path | None:
    """Return the first path that somebody else owns or can write; None if there is none.

    The superuser does not count, nor does a group whose only member is this user (Debian gives each
    user one). Of a link both the link and its target are checked.
    """
    for path in paths:
        link = path.lstat()
        if link.st_uid not in (os.geteuid(), 0) or is_writable(path, path.stat()):
            return path
    return None


def is_writable(path: Path | int, found: os.stat_result) -> bool:
    """Whether somebody else can write a file or folder, given by path or descriptor.

    The mode alone does not say so: for a file with an access control list (ACL) the group bits are
    the mask of that list. Lists that cannot be judged count as writable.
    """
    by_group = bool(found.st_mode & stat.S_IWGRP) and not is_private_group(found.st_gid)
    return (
        found.st_uid not in (os.geteuid(), 0)
        or by_group
        or bool(found.st_mode & stat.S_IWOTH)
        or acl.lets_others_write(path, found, is_private_group)
    )


def is_private_group(group: int) -> bool:
    """Whether `group` has the name of this user and no other member."""
    try:
        user, found = pwd.getpwuid(os.geteuid()), grp.getgrgid(group)
    except KeyError:
        return False
    own = group == user.pw_gid and found.gr_name == user.pw_name
    return own and set(found.gr_mem) <= {user.pw_name}


def is_own_file(path: Path) -> bool:
    """Whether this user owns the file itself, not the target of a link."""
    try:
        return path.lstat().st_uid == os.geteuid()
    except OSError:
        return False


def check_exclusive(*paths: Path) -> None:
    """Raise StoreError if somebody else could replace what workers load."""
    if found := first_writable_by_others(*paths):
        raise _not_exclusive(found)


def make_folder(folder: Path, mode: int = FOLDER_MODE) -> None:
    """Create a folder if needed, without the default ACL that it inherits.

    Such an ACL could let others write what is created in it, whatever the modes say.
    """
    try:
        folder.mkdir(mode=mode, parents=True)
    except FileExistsError:
        if not folder.is_dir():
            raise
        return
    acl.remove_default(folder)


def private_folder(folder: Path, top: Path) -> Path:
    """Create `folder`, which only this user may enter, below `top`, which only this user may write.

    Each folder on the way is opened relative to the one that was checked, never through a link, so
    that none can be replaced between its check and its use.

    Raises:
        StoreError: somebody else can write or replace one of them.
    """
    make_folder(top)
    check_exclusive(top)
    handle, here = os.open(top, os.O_RDONLY | os.O_DIRECTORY), top
    try:
        if is_writable(handle, os.fstat(handle)):
            raise _not_exclusive(top)
        for name in folder.relative_to(top).parts:
            here /= name
            handle, above = _made_below(handle, here, is_last=here == folder), handle
            os.close(above)
            if is_writable(handle, os.fstat(handle)):
                raise _not_exclusive(here)
        found, there = os.fstat(handle), folder.stat()
    finally:
        os.close(handle)
    if found.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise StoreError(f"{folder} cannot be kept for you alone here: take another --out")
    if (found.st_dev, found.st_ino) != (there.st_dev, there.st_ino):
        raise StoreError(f"{folder} was replaced while it was made: check who can write {top}")
    return folder


def _made_below(above: int, path: Path, *, is_last: bool) -> int:
    """Return a descriptor of the folder `path` in the folder `above`, created if needed."""
    try:
        os.mkdir(path.name, 0o700 if is_last else FOLDER_MODE, dir_fd=above)
        is_new = True
    except FileExistsError:
        is_new = False
    try:
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
        handle = os.open(path.name, flags, dir_fd=above)
    except OSError as error:
        raise StoreError(f"{path} is a link or no folder: {error.strerror}") from error
    if is_new:
        acl.remove_default(handle)
    return handle


def _not_exclusive(path: Path) -> StoreError:
    return StoreError(
        f"{path} can be written by others, who could exchange what workers load from it; for you "
        f"alone: chmod go-w {path}, and setfacl -b -k {path} where it has an access control list"
    )


def printable(text: str) -> str:
    r"""Escape what a terminal would execute or not show; line breaks stay.

    >>> printable("fine\n\x1b[2Jgone\u202e")
    'fine\n\\x1b[2Jgone\\u202e'
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in text)
