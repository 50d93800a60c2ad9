"""The backend over SFTP keeps the contract of all backends."""

import asyncio
import os

import pytest

from tests.fileserver.lazy import Lazy, fresh_folder, remove
from tests.nfs.filesystem_contract import *  # noqa: F403
from tests.nfs.filesystem_contract import Driver
from womm.nfs.constants import FileType
from womm.nfs.filesystem import NOW, Settings


@pytest.fixture
def fs(tmp_path):
    top = tmp_path / "top"
    top.mkdir()
    folder = fresh_folder()
    with asyncio.Runner() as runner:
        lazy = Lazy(top, folder)
        runner.run(lazy.__aenter__())
        try:
            yield Driver(runner, lazy.fs)
            assert not sum(node.use.opens for node in lazy.tree.nodes.values())
        finally:
            runner.run(lazy.__aexit__(None, None, None))
            remove(folder)


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
