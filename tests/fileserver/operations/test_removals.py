"""REMOVE and RENAME on a lazy share."""

import os

from tests.fileserver.client import content, fails, make
from tests.fileserver.lazy import Lazy
from womm.nfs.constants import SHARE_BOTH
from womm.nfs.filesystem import NOTHING
from womm.nfs.status import Status


async def test_removed_file_that_nobody_has_open_is_never_sent(top, place):
    async with Lazy(top, place) as lazy:
        fs = lazy.fs
        node = await make(fs, b"f", b"content")
        await fs.remove(fs.root(), b"f")
        assert (node.removed, node.use.log, lazy.contents.backlog.unsent_bytes) == (True, None, 0)
        assert await lazy.contents.flusher.flush() == (0, {})
        assert os.listdir(top) == []


async def test_removed_file_that_is_open_is_read_and_written_on(top, place):
    async with Lazy(top, place) as lazy:
        fs = lazy.fs
        node, file, _, _ = await fs.create(
            fs.root(), b"f", NOTHING, verifier=None, exclusive=True, access=SHARE_BOTH
        )
        await fs.write(file, 0, memoryview(b"content"), False)
        await fs.remove(fs.root(), b"f")
        await fs.write(file, 7, memoryview(b", more"), False)
        assert await fs.read(file, 0, 100) == (b"content, more", True)
        assert await lazy.contents.flusher.flush() == (13, {})
        await fs.close(file)
        assert (node.gone, lazy.tree.nodes.get(node.fileid)) == (True, None)


async def test_rename_sends_the_bytes_first(top, place):
    async with Lazy(top, place) as lazy:
        fs, root = lazy.fs, lazy.fs.root()
        (top / "g").write_bytes(b"before")
        node = await make(fs, b"f", b"content")
        await fs.rename(root, b"f", root, b"g")
        assert (top / "g").read_bytes() == b"content"
        assert await fs.lookup(root, b"g") is node and node.path() == b"g"
        assert await content(fs, node) == b"content"
        await fails(Status.NOENT, fs.lookup(root, b"f"))
        assert set(lazy.contents.report.touched) == {b"f", b"g"}


async def test_rename_onto_another_name_of_the_same_file_leaves_both(top, place):
    async with Lazy(top, place) as lazy:
        fs, root = lazy.fs, lazy.fs.root()
        node = await make(fs, b"f", b"x")
        await fs.link(node, root, b"g")
        await fs.rename(root, b"f", root, b"g")
        assert sorted(os.listdir(top)) == ["f", "g"]
        assert len(node.links) == 2
