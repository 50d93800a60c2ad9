"""One turn of sending."""

import errno

import pytest

from tests.fileserver.client import make
from tests.fileserver.lazy import Lazy
from womm.nfs.constants import SHARE_BOTH
from womm.nfs.status import NFSError, Status
from womm.share.lazy.exported_folder import ExportedFolder


class Refusing(ExportedFolder):
    """Refuses writes with `error`."""

    error = 0

    def set_open(self, fd, wanted):
        if self.error:
            raise OSError(self.error, "refused")
        super().set_open(fd, wanted)


async def written(lazy, name=b"f", data=b"content"):
    """A file with unsent bytes, which nobody sends yet."""
    fs = lazy.fs
    node = await make(fs, name)
    file = await fs.open(node, SHARE_BOTH)
    await fs.write(file, 0, memoryview(data), False)
    return node, file


async def test_turn_sends_the_bytes_and_the_time_of_the_last_write(top, place):
    async with Lazy(top, place) as lazy:
        node, file = await written(lazy)
        mtime_ns = node.stat.mtime_ns
        async with node.use.lock():
            await lazy.contents.sender.send(node, node.use.log)
        assert (top / "f").read_bytes() == b"content"
        assert (top / "f").stat().st_mtime_ns == node.stat.mtime_ns == mtime_ns
        assert (node.use.log, lazy.contents.sender.sent_bytes) == (None, 7)
        assert lazy.contents.backlog.unsent_bytes == 0
        await lazy.fs.close(file)


@pytest.mark.parametrize(("error", "left"), [(errno.EDQUOT, 7), (errno.EFBIG, 0)])
async def test_refused_turn_leaves_what_may_be_taken_later(top, place, error, left):
    async with Lazy(top, place, export=Refusing) as lazy:
        node, file = await written(lazy)
        lazy.user.export.error = error
        with pytest.raises(OSError) as caught:
            async with node.use.lock():
                await lazy.contents.sender.send(node, node.use.log)
        assert caught.value.errno == error
        assert not node.use.flushing
        assert lazy.contents.backlog.unsent_bytes == left
        assert set(lazy.contents.report.failed) == (set() if left else {b"f"})
        lazy.user.export.error = 0
        await lazy.fs.close(file)


async def test_turn_without_a_link_leaves_everything(top, place):
    async with Lazy(top, place) as lazy:
        node, file = await written(lazy)
        await lazy.cut()
        with pytest.raises(NFSError) as caught:
            async with node.use.lock():
                await lazy.contents.sender.send(node, node.use.log)
        assert caught.value.status is Status.DELAY
        assert lazy.contents.backlog.unsent_bytes == 7 and not node.use.flushing
        await lazy.connect()
        await lazy.fs.close(file)
