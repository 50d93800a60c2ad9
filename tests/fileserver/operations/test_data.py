"""SEEK, ALLOCATE, DEALLOCATE, COPY on a lazy share."""

from tests.fileserver.client import content, fails, make
from tests.fileserver.lazy import Lazy
from womm.fileserver.operations.data import PUNCH_BYTES
from womm.nfs.constants import SHARE_BOTH
from womm.nfs.status import Status


async def test_allocate_makes_a_file_larger_and_never_smaller(top, place):
    async with Lazy(top, place) as lazy:
        fs = lazy.fs
        node = await make(fs, b"f", b"content")
        file = await fs.open(node, SHARE_BOTH)
        await fs.allocate(file, 2, 3)
        assert node.stat.size == 7
        await fs.allocate(file, 5, 10)
        await fs.close(file)
        assert await content(fs, node) == b"content" + bytes(8)


async def test_deallocate_writes_zeros_up_to_the_end_of_the_file(top, place):
    async with Lazy(top, place) as lazy:
        fs = lazy.fs
        node = await make(fs, b"f", b"content")
        file = await fs.open(node, SHARE_BOTH)
        await fs.deallocate(file, 4, 1000)
        assert await fs.read(file, 0, 100) == (b"cont" + bytes(3), True)
        await fs.allocate(file, 0, 2 * PUNCH_BYTES)
        await fails(Status.NOTSUPP, fs.deallocate(file, 0, 2 * PUNCH_BYTES))
        await fs.close(file)


async def test_copy_ends_at_the_end_of_its_source(top, place):
    async with Lazy(top, place) as lazy:
        fs = lazy.fs
        nodes = [await make(fs, b"f", b"content"), await make(fs, b"g", b"0123456789")]
        source, target = [await fs.open(node, SHARE_BOTH) for node in nodes]
        assert await fs.copy(source, 3, target, 2, 100) == 4
        assert await fs.copy(source, 7, target, 2, 100) == 0
        assert await fs.read(target, 0, 100) == (b"01tent6789", True)
        await fs.close(source)
        await fs.close(target)


async def test_seek_finds_data_and_holes_and_fails_beyond_the_end(top, place):
    async with Lazy(top, place) as lazy:
        fs = lazy.fs
        node = await make(fs, b"f", b"content")
        file = await fs.open(node, SHARE_BOTH)
        assert await fs.seek(file, 2, True) == 2
        assert await fs.seek(file, 2, False) == 7
        await fails(Status.NXIO, fs.seek(file, 7, True))
        await fs.close(file)
