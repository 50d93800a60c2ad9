"""Writes: acknowledged from the log on the pod's disk."""

import errno

import pytest

from tests.fileserver.client import fails, make
from tests.fileserver.lazy import Lazy
from womm.nfs.constants import SHARE_BOTH
from womm.nfs.status import Status


async def test_write_is_acknowledged_without_a_link_and_sent_with_the_next(top, place):
    async with Lazy(top, place) as lazy:
        fs = lazy.fs
        node = await make(fs, b"f")
        file = await fs.open(node, SHARE_BOTH)
        await lazy.cut()
        assert await fs.write(file, 0, memoryview(b"content"), True) == 7
        await fs.commit(node, file)
        assert node.use.log is not None and node.use.log.synced
        assert (node.stat.size, lazy.contents.backlog.unsent_bytes) == (7, 7)
        await lazy.connect()
        await fs.close(file)
        await lazy.contents.flusher.flush()
        assert (top / "f").read_bytes() == b"content"
        assert (node.use.log, lazy.contents.backlog.unsent_bytes) == (None, 0)


async def test_write_that_does_not_fit_into_the_logs_waits_for_the_link(top, place):
    async with Lazy(top, place, log_bytes=1000) as lazy:
        fs = lazy.fs
        node = await make(fs, b"f")
        file = await fs.open(node, SHARE_BOTH)
        await lazy.cut()
        await fs.write(file, 0, memoryview(bytes(900)), False)
        await fails(Status.DELAY, fs.write(file, 900, memoryview(bytes(900)), False))
        await lazy.connect()
        assert await fs.write(file, 900, memoryview(bytes(900)), False) == 900
        await fs.close(file)


async def test_error_of_the_last_flush_is_the_next_writers(top, place):
    async with Lazy(top, place) as lazy:
        fs = lazy.fs
        node = await make(fs, b"f")
        file = await fs.open(node, SHARE_BOTH)
        for number, times in ((errno.EDQUOT, 2), (errno.EFBIG, 1)):
            node.use.refused(OSError(number, "refused"))
            for _ in range(times):  # what is tried again is told again
                with pytest.raises(OSError) as caught:
                    await fs.write(file, 0, memoryview(b"x"), False)
                assert caught.value.errno == number
        assert await fs.write(file, 0, memoryview(b"x"), False) == 1
        await fs.close(file)
