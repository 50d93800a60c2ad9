"""Blocks that come from the user's side: once for all, and ahead."""

import asyncio

from tests.fileserver.lazy import Lazy
from womm.fileserver.contents.blocks import BLOCK_BYTES
from womm.nfs.constants import SHARE_READ


async def test_many_who_read_one_block_fetch_it_once(top, place):
    (top / "f").write_bytes(b"x" * BLOCK_BYTES)
    async with Lazy(top, place) as lazy:
        fs = lazy.fs
        node = await fs.lookup(fs.root(), b"f")
        files = [await fs.open(node, SHARE_READ) for _ in range(5)]
        before = lazy.link.received_bytes
        found = await asyncio.gather(*(fs.read(file, 0, BLOCK_BYTES) for file in files))
        assert found == [(b"x" * BLOCK_BYTES, True)] * 5
        assert lazy.link.received_bytes - before < 2 * BLOCK_BYTES
        for file in files:
            await fs.close(file)


async def test_reader_that_reads_on_finds_the_next_blocks_fetched(top, place):
    (top / "f").write_bytes(b"x" * (16 * BLOCK_BYTES))
    async with Lazy(top, place) as lazy:
        fs = lazy.fs
        node = await fs.lookup(fs.root(), b"f")
        file = await fs.open(node, SHARE_READ)
        for number in range(3):
            await fs.read(file, number * BLOCK_BYTES, BLOCK_BYTES)
        while not lazy.blocks.has(node.fileid, 4):
            await asyncio.sleep(0.01)
        await fs.close(file)
