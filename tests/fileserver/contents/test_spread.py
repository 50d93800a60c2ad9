"""What is fetched with a block of a program, and with a small file."""

from tests.fileserver.client import content
from tests.fileserver.lazy import Lazy
from tests.loop import until
from womm.fileserver.contents.blocks import BLOCK_BYTES
from womm.nfs.constants import SHARE_READ


async def read(lazy, path, block=0):
    node = lazy.fs.root()
    for name in path.split(b"/"):
        node = await lazy.fs.lookup(node, name)
    file = await lazy.fs.open(node, SHARE_READ)
    await lazy.fs.read(file, block * BLOCK_BYTES, 100)
    await lazy.fs.close(file)
    return node


def here(lazy, node, blocks):
    return [number for number in range(blocks) if lazy.blocks.has(node.fileid, number)]


async def test_faults_of_a_program_bring_more_each_time_but_not_much_that_is_not_read(top, place):
    (top / "prog").write_bytes(bytes(40 * BLOCK_BYTES))
    (top / "prog").chmod(0o755)
    (top / "data").write_bytes(bytes(40 * BLOCK_BYTES))
    async with Lazy(top, place, static=True) as lazy:
        prog = await read(lazy, b"prog", 20)
        await until(lambda: here(lazy, prog, 40) == [19, 20, 21], "the blocks around")
        await read(lazy, b"prog", 0)
        await until(lambda: here(lazy, prog, 40) == [0, 1, 2, 19, 20, 21], "as many as may be unread")
        for block in (1, 2, 19, 21):
            await read(lazy, b"prog", block)
        await read(lazy, b"prog", 30)
        await until(lambda: here(lazy, prog, 40) == [0, 1, 2, 19, 20, 21, *range(28, 33)], "more")
        data = await read(lazy, b"data", 20)
        assert here(lazy, data, 40) == [20]


async def test_small_files_of_a_directory_come_together(top, place):
    for name, count, size in (("few", 5, 100), ("many", 50, 9000)):
        (top / name).mkdir()
        for number in range(count):
            (top / name / f"f{number}").write_bytes(b"x" * size)
    async with Lazy(top, place, static=True) as lazy:
        for folder in (b"few", b"many"):
            await lazy.lookup.list_names(await lazy.fs.lookup(lazy.fs.root(), folder))
        await read(lazy, b"few/f0")
        await read(lazy, b"many/f0")
        few = [
            await lazy.fs.lookup(await lazy.fs.lookup(lazy.fs.root(), b"few"), b"f%d" % n) for n in range(5)
        ]
        await until(lambda: all(lazy.blocks.has(node.fileid, 0) for node in few), "the others")
        asked = lazy.link.session().sent_requests
        assert await content(lazy.fs, few[4]) == b"x" * 100
        assert lazy.link.session().sent_requests == asked
        many = await lazy.fs.lookup(await lazy.fs.lookup(lazy.fs.root(), b"many"), b"f1")
        assert not lazy.blocks.has(many.fileid, 0)
