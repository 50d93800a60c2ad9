"""Reads: unsent writes lie over the blocks of the user's side."""

from tests.fileserver.client import content
from tests.fileserver.lazy import Lazy
from womm.fileserver.contents.blocks import BLOCK_BYTES
from womm.nfs.constants import SHARE_BOTH, SHARE_READ


async def test_unsent_writes_are_read_over_the_blocks_and_beyond_them(top, place):
    (top / "f").write_bytes(b"a" * (BLOCK_BYTES + 10))
    async with Lazy(top, place) as lazy:
        fs = lazy.fs
        node = await fs.lookup(fs.root(), b"f")
        file = await fs.open(node, SHARE_BOTH)
        await lazy.cut()
        await lazy.connect()
        await fs.write(file, BLOCK_BYTES - 2, memoryview(b"bbbb"), False)
        await fs.write(file, BLOCK_BYTES + 20, memoryview(b"cc"), False)
        found = await fs.read(file, BLOCK_BYTES - 4, 100)
        assert found == (b"aabbbb" + b"a" * 8 + bytes(10) + b"cc", True)
        assert await fs.read(file, BLOCK_BYTES - 2, 4) == (b"bbbb", False)
        assert await fs.read(file, BLOCK_BYTES + 100, 4) == (b"", True)
        await fs.close(file)
        assert lazy.contents.reader.reads == 3


async def test_removed_file_is_read_from_its_handle(top, place):
    (top / "f").write_bytes(b"content")
    async with Lazy(top, place) as lazy:
        fs = lazy.fs
        node = await fs.lookup(fs.root(), b"f")
        file = await fs.open(node, SHARE_READ)
        await fs.remove(fs.root(), b"f")
        assert await fs.read(file, 3, 100) == (b"tent", True)
        await fs.close(file)


async def test_file_is_read_again_from_the_cache(top, place):
    (top / "f").write_bytes(b"x" * 1000)
    async with Lazy(top, place) as lazy:
        node = await lazy.fs.lookup(lazy.fs.root(), b"f")
        assert await content(lazy.fs, node) == b"x" * 1000
        assert lazy.contents.fetcher.from_cache == 0
        assert await content(lazy.fs, node) == b"x" * 1000
        assert lazy.contents.fetcher.from_cache == 1000
