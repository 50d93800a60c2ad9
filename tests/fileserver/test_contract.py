"""The backend over SFTP keeps the contract of all backends."""

import asyncio

import pytest

from tests.fileserver.lazy import Lazy, fresh_folder, remove
from tests.nfs.filesystem_contract import *  # noqa: F403
from tests.nfs.filesystem_contract import Driver
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
            assert not sum(node.opens for node in lazy.tree.nodes.values())
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
