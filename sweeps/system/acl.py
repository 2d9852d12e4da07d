"""Access control lists (ACLs): who may write a file in addition to its mode. Linux only.

POSIX ACLs (`setfacl`) and those of NFSv4 are read from the extended attributes of the file. Other
kinds, and lists that cannot be read, count as letting others write.
"""

import errno
import os
import pwd
import stat
import struct
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

ACCESS, DEFAULT = "system.posix_acl_access", "system.posix_acl_default"
NFS4 = "system.nfs4_acl"
UNJUDGED = ("system.nfs4_acl_xdr", "system.richacl")
"""Kinds that are not evaluated: a file with one counts as writable by others."""

# <linux/posix_acl_xattr.h>: a version, then tag, permissions and id of each entry.
POSIX_VERSION = 2
USER, OWNING_GROUP, GROUP, MASK, OTHER = 0x02, 0x04, 0x08, 0x10, 0x20
WRITE = 2
# RFC 7530, section 6.2: to write, append or make folders, remove, change the list or the owner.
NFS4_WRITE = 0x2 | 0x4 | 0x40 | 0x40000 | 0x80000
NFS4_ALLOW, NFS4_IS_GROUP = 0, 0x40

IsPrivate = Callable[[int], bool]


def lets_others_write(path: Path | int, found: os.stat_result, is_private: IsPrivate) -> bool:
    """Whether an ACL of a file or folder lets another user or group write.

    Args:
        path: path or descriptor.
        found: its `stat`.
        is_private: whether a group has this user as its only member.
    """
    try:
        # What is created in a folder inherits its default list.
        for name in (ACCESS, DEFAULT) if stat.S_ISDIR(found.st_mode) else (ACCESS,):
            if (content := _read(path, name)) and _posix(content, found.st_gid, is_private):
                return True
        if (nfs4 := _read(path, NFS4)) and _nfs4(nfs4):
            return True
        return any(_read(path, name) for name in UNJUDGED)
    except (OSError, ValueError, struct.error):
        return True


def remove_default(path: Path | int) -> None:
    """Remove the default ACL of a folder, which its content would inherit, if it has one."""
    with suppress(OSError, AttributeError):
        os.removexattr(path, DEFAULT)


def _read(path: Path | int, name: str) -> bytes:
    """Read an attribute; empty if there is none, or the file system has no such attributes."""
    if not hasattr(os, "getxattr"):
        return b""
    try:
        return os.getxattr(path, name)
    except OSError as error:
        if error.errno in (errno.ENODATA, errno.EOPNOTSUPP, errno.ENOSYS):
            return b""
        raise


def _posix(content: bytes, owning_group: int, is_private: IsPrivate) -> bool:
    """Evaluate a POSIX list. Raises ValueError or struct.error if it is none."""
    if struct.unpack_from("<I", content)[0] != POSIX_VERSION:
        raise ValueError("another version")
    entries = list(struct.iter_unpack("<HHI", content[4:]))
    mask = next((rights for tag, rights, _ in entries if tag == MASK), WRITE)
    for tag, rights, who in entries:
        if tag == OTHER and rights & WRITE:
            return True
        if not rights & mask & WRITE:
            continue
        if (
            (tag == USER and who not in (os.geteuid(), 0))
            or (tag == GROUP and not is_private(who))
            or (tag == OWNING_GROUP and not is_private(owning_group))
        ):
            return True
    return False


def _nfs4(content: bytes) -> bool:
    """Evaluate an NFSv4 list. Raises struct.error or ValueError if it is none.

    Owner, group and everyone are also in the mode, which is evaluated elsewhere.
    """
    own = {"OWNER@", "GROUP@", "EVERYONE@", str(os.geteuid()), "root", "0"}
    with suppress(KeyError):
        own.add(pwd.getpwuid(os.geteuid()).pw_name)
    (count,), place = struct.unpack_from(">I", content), 4
    for _ in range(count):
        kind, flags, rights, length = struct.unpack_from(">IIII", content, place)
        name = content[place + 16 : place + 16 + length].decode()
        place += 16 + (length + 3) // 4 * 4
        if place > len(content):
            raise ValueError("cut short")
        is_own = name in own or (name.partition("@")[0] in own and not flags & NFS4_IS_GROUP)
        if kind == NFS4_ALLOW and rights & NFS4_WRITE and not is_own:
            return True
    return False
