"""The backend over SFTP keeps the contract of all backends."""

import asyncio
import os

import pytest

from tests.fileserver.lazy import Lazy, fresh_folder, remove
from tests.nfs.filesystem_contract import *  # noqa: F403
from tests.nfs.filesystem_contract import Driver
from womm.nfs.constants import FileType
from womm.nfs.filesystem import NOW, WANT_KEY, Settings
from womm.nfs.status import Status


@pytest.fixture
def served(tmp_path):
    """A runner, and a lazy file server in it."""
    top = tmp_path / "top"
    top.mkdir()
    folder = fresh_folder()
    with asyncio.Runner() as runner:
        lazy = Lazy(top, folder)
        runner.run(lazy.__aenter__())
        try:
            yield runner, lazy
        finally:
            runner.run(lazy.__aexit__(None, None, None))
            remove(folder)


@pytest.fixture
def fs(served):
    runner, lazy = served
    yield Driver(runner, lazy.fs)
    assert not sum(node.use.opens for node in lazy.tree.nodes.values())


def test_setattr_sets_what_it_is_given(fs):  # type: ignore[no-redef]
    """As for all backends, but no setuid: the exporter gives no file of the user's that bit."""
    node = fs.make(b"f", b"0123456789")
    time_ns = 1_234_567_890_123_456_789
    fs(fs.real.setattr(node, Settings(mode=0o4711, size=4, atime_ns=5, mtime_ns=time_ns), None))
    found = fs.attributes(node)
    assert (found.mode, found.size, found.atime_ns, found.mtime_ns) == (0o711, 4, 5, time_ns)
    assert fs.content(node) == b"0123"
    fs(fs.real.setattr(node, Settings(atime_ns=NOW), None))
    assert fs.attributes(node).atime_ns > 5
    assert fs.attributes(node).mtime_ns == time_ns
    fs(fs.real.setattr(node, Settings(size=1 << 20), None))
    assert fs.content(node) == b"0123" + bytes((1 << 20) - 4)


@pytest.mark.skipif(os.getuid() != 0, reason="gives files to another group")
def test_what_is_made_in_a_setgid_directory_belongs_to_its_group(fs, tmp_path):
    directory = tmp_path / "top" / "d"
    directory.mkdir()
    os.chown(directory, 0, 4242)
    directory.chmod(0o2775)
    above = fs(fs.real.lookup(fs.root, b"d"))
    fs.make(b"f", b"x", above, mode=0o640)
    below, _ = fs(fs.real.mkdir(above, b"x", Settings(mode=0o755)))
    fs.make(b"g", b"x", below)
    fs(fs.real.symlink(above, b"l", b"f", Settings()))
    fs(fs.real.mknod(above, b"p", FileType.FIFO, (0, 0), Settings(mode=0o600)))
    found = {path.name: path.lstat() for path in directory.rglob("*")}
    assert {name: stat.st_gid for name, stat in found.items()} == dict.fromkeys("fxglp", 4242)
    assert found["x"].st_mode & 0o7777 == 0o2755
    # chmod 2755 of it, as of any other.
    fs(fs.real.setattr(below, Settings(mode=0o755), None))
    fs(fs.real.setattr(below, Settings(mode=0o2711), None))
    assert (directory / "x").stat().st_mode & 0o7777 == 0o2711


@pytest.mark.parametrize("mode", [0o4755, 0o2755, 0o6711, 0o1755])
def test_file_is_made_without_setuid_and_setgid(fs, tmp_path, mode):
    node = fs.make(b"f", b"x", mode=mode)
    assert fs.attributes(node).mode == mode & 0o1777
    assert (tmp_path / "top" / "f").stat().st_mode & 0o7777 == mode & 0o1777


@pytest.mark.parametrize("key", [b"", b"1234567", b"123456789", bytes(48)])
def test_key_of_another_length_is_no_handle(fs, key):
    assert fs.real.find(key) is None
    fs.fails(fs.real.resolve(key), Status.BADHANDLE)


def test_key_of_a_file_that_never_was_is_stale(fs):
    for number in (0, 2**63, 2**64 - 1):
        key = number.to_bytes(8, "big")
        assert fs.real.find(key) is None
        fs.fails(fs.real.resolve(key), Status.STALE)


def test_all_belongs_to_whom_the_share_belongs_from_now_on(fs):
    node = fs.make(b"f")
    fs.real.own(1234, 5678)
    assert [(found.uid, found.gid) for found in (fs.attributes(node), fs.attributes(fs.root))] == [
        (1234, 5678)
    ] * 2
    [entry] = fs(fs.real.readdir(fs.root, 0, WANT_KEY, 10)).entries
    assert (entry.attributes.uid, entry.attributes.gid) == (1234, 5678)


@pytest.mark.parametrize("cookie", [2**63 - 1, 2**63, 2**64 - 1])
def test_listing_after_the_last_cookie_of_all_is_at_the_end(fs, cookie):
    fs.make(b"f")
    listing = fs(fs.real.readdir(fs.root, cookie, WANT_KEY, 10))
    assert (list(listing.entries), listing.eof) == ([], True)


def test_there_are_no_extended_attributes(fs):
    node = fs.make(b"f")
    assert not fs.real.limits.xattrs
    fs.fails(fs.real.getxattr(node, b"name"), Status.NOTSUPP)
    fs.fails(fs.real.setxattr(node, b"name", b"value", 0), Status.NOTSUPP)
    fs.fails(fs.real.listxattr(node), Status.NOTSUPP)
    fs.fails(fs.real.removexattr(node, b"name"), Status.NOTSUPP)


def test_devices_are_not_made(fs):
    for kind in (FileType.BLOCK, FileType.CHARACTER):
        fs.fails(fs.real.mknod(fs.root, b"n", kind, (1, 3), Settings()), Status.PERM)
    assert fs.names() == []


@pytest.mark.parametrize("target", [b"\xff\n", b"/", b"../" * 300, b"x" * 1000])
def test_link_keeps_its_target_byte_by_byte(fs, tmp_path, target):
    node, _ = fs(fs.real.symlink(fs.root, b"l", target, Settings()))
    assert fs(fs.real.readlink(node)) == target == os.readlink(os.fsencode(tmp_path / "top" / "l"))
    (tmp_path / "top" / "mine").symlink_to(os.fsdecode(target))
    assert fs(fs.real.readlink(fs(fs.real.lookup(fs.root, b"mine")))) == target


def test_changes_are_asked_for_again_while_the_user_is_away(fs, served):
    runner, lazy = served
    node = fs.make(b"f", b"content")
    runner.run(lazy.cut())
    assert fs.attributes(node).size == 7
    fs.fails(fs.real.mkdir(fs.root, b"d", Settings()), Status.DELAY)
    fs.fails(fs.real.remove(fs.root, b"f"), Status.DELAY)
    fs.fails(fs.real.symlink(fs.root, b"l", b"f", Settings()), Status.DELAY)
    runner.run(lazy.connect())
    fs(fs.real.remove(fs.root, b"f"))
    assert fs.names() == []
