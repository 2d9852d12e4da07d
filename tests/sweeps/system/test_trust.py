"""Who else can write: modes, access control lists, and folders exchanged while they are made."""

import errno
import os
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from drivers import IS_ROOT, ORDER, SOMEBODY
from toys import make_run

from stability.cli.site.remembered import check_trusted
from sweeps.errors import SpecError, StoreError
from sweeps.executors import LocalExecutor
from sweeps.system import acl, trust

UNUSED = 0xFFFFFFFF
USER_OBJ, USER, GROUP_OBJ, GROUP, MASK, OTHER = 1, 2, 4, 8, 16, 32

Entry = tuple[int, int, int]


def posix(*entries: Entry, version: int = 2) -> bytes:
    """As the kernel shows it: tag, permissions and id of each entry."""
    return struct.pack("<I", version) + b"".join(struct.pack("<HHI", *e) for e in sorted(entries))


def listing(named: Entry, mask: int = 7, group: int = 5) -> bytes:
    return posix(
        (USER_OBJ, 7, UNUSED), named, (GROUP_OBJ, group, UNUSED), (MASK, mask, UNUSED),
        (OTHER, 5, UNUSED),
    )  # fmt: skip


LETS = listing((USER, 7, SOMEBODY))


def write_acl(path: Path, content: bytes, name: str = acl.ACCESS) -> None:
    try:
        os.setxattr(path, name, content)
    except (OSError, AttributeError) as error:
        pytest.skip(f"this file system takes no ACL: {error}")


@pytest.fixture
def private_group(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on Debian, where mode 775 lets nobody else write."""
    monkeypatch.setattr(trust, "is_private_group", lambda group: group == os.getegid())


@pytest.mark.parametrize(
    ("content", "is_open"),
    [
        (LETS, True),
        (listing((GROUP, 7, SOMEBODY)), True),
        (listing((USER, 5, SOMEBODY)), False),
        (listing((USER, 7, SOMEBODY), mask=5), False),
        (listing((USER, 7, os.geteuid())), False),
        (listing((GROUP, 7, os.getegid())), False),
        (listing((USER, 5, SOMEBODY), group=7), False),
    ],
)
@pytest.mark.usefixtures("private_group")
def test_an_acl_counts_beside_the_mode(tmp_path: Path, content: bytes, is_open: bool) -> None:
    folder = tmp_path / "folder"
    folder.mkdir(mode=0o755)
    for name in (acl.ACCESS, acl.DEFAULT):
        write_acl(folder, content, name)
        found = trust.first_writable_by_others(folder)
        assert found == (folder if is_open else None)
        os.removexattr(folder, name)
        folder.chmod(0o755)
    assert trust.first_writable_by_others(folder) is None


@pytest.mark.usefixtures("private_group")
def test_what_is_made_below_a_default_acl_is_for_nobody_else(tmp_path: Path) -> None:
    write_acl(tmp_path, LETS, acl.DEFAULT)
    run = make_run(tmp_path / "run")
    made = trust.private_folder(run.jobs / "a", run.path)
    (run.jobs / "b").mkdir()
    assert trust.first_writable_by_others(run.path, *run.path.rglob("*"), made) is None


@pytest.mark.parametrize("place", [".", "jobs"])
@pytest.mark.parametrize("name", [acl.ACCESS, acl.DEFAULT])
@pytest.mark.usefixtures("private_group")
def test_no_worker_is_started_where_an_acl_lets_others_write(
    tmp_path: Path, place: str, name: str
) -> None:
    run = make_run(tmp_path / "run")
    write_acl(run.path / place, LETS, name)
    with pytest.raises(StoreError, match=r"can be written by others.*setfacl -b -k"):
        LocalExecutor(run, lambda: None).start([ORDER])
    assert list(run.jobs.iterdir()) == []
    if place == ".":
        with pytest.raises(SpecError, match="can be written by others"):
            check_trusted(run)


def nfs4(*entries: tuple[int, int, int, str]) -> bytes:
    """RFC 7530: kind, flags, rights and name of each entry."""
    packed = struct.pack(">I", len(entries))
    for kind, flags, rights, name in entries:
        padded = name.encode() + b"\0" * (-len(name) % 4)
        packed += struct.pack(">IIII", kind, flags, rights, len(name)) + padded
    return packed


OWNER = (0, 0, 0x1601FF, "OWNER@")


@pytest.mark.parametrize(
    ("name", "content", "is_open"),
    [
        (acl.NFS4, nfs4(OWNER, (0, 0, 0x2, "GROUP@"), (0, 0, 0x21, "EVERYONE@")), False),
        (acl.NFS4, nfs4(OWNER, (0, 0, 0x2, "mallory@example.org")), True),
        (acl.NFS4, nfs4(OWNER, (0, 0x40, 0x40, "lab@example.org")), True),
        (acl.NFS4, nfs4(OWNER, (0, 0, 0x40000, "12345")), True),
        (acl.NFS4, nfs4(OWNER, (0, 0, 0x21, "mallory@example.org")), False),
        (acl.NFS4, nfs4(OWNER, (1, 0, 0x2, "mallory@example.org")), False),
        (acl.NFS4, nfs4(OWNER, (0, 0, 0x2, f"{os.geteuid()}")), False),
        (acl.NFS4, nfs4(OWNER)[:-4], True),
        (acl.NFS4, b"\xff" * 8, True),
        (acl.ACCESS, posix((USER_OBJ, 7, UNUSED), version=3), True),
        (acl.ACCESS, b"\x02\x00\x00\x00\x01", True),
        (acl.UNJUDGED[0], b"anything", True),
    ],
)
def test_lists_of_other_kinds_are_judged_or_count_as_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, content: bytes, is_open: bool
) -> None:
    def getxattr(path: object, asked: str) -> bytes:
        if asked == name:
            return content
        raise OSError(errno.ENODATA, "none")

    monkeypatch.setattr(os, "getxattr", getxattr, raising=False)
    assert trust.first_writable_by_others(tmp_path) == (tmp_path if is_open else None)


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO, errno.E2BIG])
def test_a_list_that_cannot_be_read_counts_as_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(path: object, name: str) -> bytes:
        raise OSError(number, "no")

    monkeypatch.setattr(os, "getxattr", refuse, raising=False)
    assert trust.first_writable_by_others(tmp_path) == tmp_path


def as_link(jobs: Path) -> None:
    (jobs.parent / "elsewhere").mkdir()
    jobs.symlink_to(jobs.parent / "elsewhere")


def as_strangers(jobs: Path) -> None:
    if not IS_ROOT:
        pytest.skip("only root can give files away")
    jobs.mkdir()
    os.chown(jobs, SOMEBODY, SOMEBODY)


@pytest.mark.parametrize("exchange", [as_link, as_strangers])
def test_a_folder_that_was_exchanged_is_refused(
    tmp_path: Path, exchange: Callable[[Path], None]
) -> None:
    exchange(tmp_path / "jobs")
    with pytest.raises(StoreError, match=r"jobs (is a link|can be written by others)"):
        trust.private_folder(tmp_path / "jobs" / "a", tmp_path)


def test_a_folder_exchanged_between_its_check_and_its_use_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked = trust.is_writable

    def exchanging(path: Path | int, found: os.stat_result) -> bool:
        if (tmp_path / "jobs" / "a").exists():  # the last one is being checked
            (tmp_path / "jobs").rename(tmp_path / "old")
            (tmp_path / "jobs" / "a").mkdir(parents=True, mode=0o700)
        return checked(path, found)

    monkeypatch.setattr(trust, "is_writable", exchanging)
    with pytest.raises(StoreError, match="was replaced while it was made"):
        trust.private_folder(tmp_path / "jobs" / "a", tmp_path)
