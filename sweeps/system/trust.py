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
from sweeps.system import acl

FOLDER_MODE = 0o755
"""Of run directories and what is in them: for nobody else to write, whatever the umask."""


def first_writable_by_others(*paths: Path) -> Path | None:
    """The first that belongs to, or can be written by, somebody else; None where none does.

    The superuser is nobody else, and neither is a group whose one member is this user (Debian and
    its like give each user one). A link counts as what it leads to, and as itself.
    """
    for path in paths:
        link = path.lstat()
        if link.st_uid not in (os.geteuid(), 0) or is_writable(path, path.stat()):
            return path
    return None


def is_writable(path: Path | int, found: os.stat_result) -> bool:
    """Whether somebody else can write a file or folder, given by path or descriptor.

    The mode alone does not say so: of a file with an access control list (ACL) its group bits are
    the mask of that list. Lists that cannot be judged count as writable.
    """
    if found.st_uid not in (os.geteuid(), 0):
        return True
    return is_open_by_mode(found) or acl.lets_others_write(path, found, is_private_group)


def is_open_by_mode(found: os.stat_result) -> bool:
    """Whether its mode lets somebody else write."""
    by_group = bool(found.st_mode & stat.S_IWGRP) and not is_private_group(found.st_gid)
    return by_group or bool(found.st_mode & stat.S_IWOTH)


def is_private_group(group: int) -> bool:
    """Whether `group` has the name of this user and nobody else in it."""
    try:
        user, found = pwd.getpwuid(os.geteuid()), grp.getgrgid(group)
    except KeyError:
        return False
    own = group == user.pw_gid and found.gr_name == user.pw_name
    return own and set(found.gr_mem) <= {user.pw_name}


def is_own_file(path: Path) -> bool:
    """Whether this user made the file itself."""
    try:
        return path.lstat().st_uid == os.geteuid()
    except OSError:
        return False


def check_exclusive(*paths: Path) -> None:
    """Raises StoreError where somebody else could put other orders in the place of ours."""
    if open_one := first_writable_by_others(*paths):
        raise _not_exclusive(open_one)


def make_folder(folder: Path, mode: int = FOLDER_MODE) -> None:
    """Make a folder where there is none, without the ACL that a folder above hands down.

    Such a default ACL would let others write what is made in it, whatever the modes say.
    """
    try:
        folder.mkdir(mode=mode, parents=True)
    except FileExistsError:
        if not folder.is_dir():
            raise
        return
    acl.remove_default(folder)


def private_folder(folder: Path, top: Path) -> Path:
    """Make `folder`, which only this user may enter, below `top`, which only this user may write.

    Each folder on the way is opened below the one that was checked, never through a link, so that
    none can be exchanged between its check and its use.

    Raises:
        StoreError: somebody else can write one of them, or put another in its place.
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
    """A descriptor of the folder `path`, made where there is none in the folder `above`."""
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
    r"""The text with what a terminal would obey, or not show, written out; lines stay lines.

    >>> printable("fine\n\x1b[2Jgone\u202e")
    'fine\n\\x1b[2Jgone\\u202e'
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in text)
