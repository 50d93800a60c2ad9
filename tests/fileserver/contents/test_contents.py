"""The contents as a whole: what starts, stops and is recovered."""

from tests.fileserver.client import make
from tests.fileserver.lazy import Lazy
from womm.nfs.constants import SHARE_BOTH


async def test_unsent_writes_are_recovered_by_the_next_start_and_sent(top, place):
    async with Lazy(top, place) as lazy:
        fs = lazy.fs
        node = await make(fs, b"f")
        file = await fs.open(node, SHARE_BOTH)
        await lazy.cut()
        await fs.write(file, 0, memoryview(b"content"), True)
        await fs.close(file)
        assert (top / "f").read_bytes() == b""
    async with Lazy(top, place) as lazy:
        await lazy.contents.flusher.flush()
        assert (top / "f").read_bytes() == b"content"
        assert (await lazy.user.control.ask("flush"))["changed"] == ["f"]


async def test_last_close_forgets_the_error_that_its_writers_have_had(top, place):
    async with Lazy(top, place) as lazy:
        fs = lazy.fs
        node = await make(fs, b"f")
        file = await fs.open(node, SHARE_BOTH)
        node.use.refused(OSError(28, "full"))
        await fs.close(file)
        assert (node.use.error, node.use.opens) == (None, 0)
