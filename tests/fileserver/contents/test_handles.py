"""Open files of the user's side."""

import asyncio
import errno
import os

import pytest

from tests.fileserver.client import make
from tests.fileserver.lazy import Lazy
from womm.nfs.constants import SHARE_BOTH, SHARE_READ
from womm.share.lazy.exported_folder import ExportedFolder


class Counted(ExportedFolder):
    """Counts the files that it opens."""

    opened = 0

    def open(self, path, flags, wanted, *, force=False):
        self.opened += 1
        return super().open(path, flags, wanted, force=force)


async def test_many_who_want_a_handle_open_the_file_once(top, place):
    (top / "f").write_bytes(b"x")
    async with Lazy(top, place, export=Counted) as lazy:
        node = await lazy.fs.lookup(lazy.fs.root(), b"f")
        handles = lazy.contents.handles
        found = await asyncio.gather(*(handles.open(node, write=True) for _ in range(5)))
        assert len(set(found)) == 1 and lazy.user.export.opened == 1
        assert await handles.open(node, write=False) is found[0]
        handles.release(node)
        assert node.use.held is None


async def test_handle_for_reading_gives_way_to_one_for_writing(top, place):
    (top / "f").write_bytes(b"x")
    async with Lazy(top, place) as lazy:
        node = await lazy.fs.lookup(lazy.fs.root(), b"f")
        handles = lazy.contents.handles
        first = await handles.open(node, write=False)
        second = await handles.open(node, write=True)
        assert second is not first and second.writable and node.use.held is second
        handles.release(node)


async def test_path_that_leads_to_another_file_gives_no_handle_and_is_doubted(top, place):
    (top / "f").write_bytes(b"x")
    async with Lazy(top, place) as lazy:
        node = await lazy.fs.lookup(lazy.fs.root(), b"f")
        (top / "new").write_bytes(b"other")
        os.rename(top / "new", top / "f")
        with pytest.raises(OSError) as caught:
            await lazy.contents.handles.open(node, write=True)
        assert caught.value.errno == errno.ESTALE
        assert node.checked_epoch == 0 and b"f" in lazy.fs.root().directory.stale_names


async def test_file_that_the_user_has_renamed_is_found_again_by_its_inode(top, place):
    async with Lazy(top, place) as lazy:
        fs, handles = lazy.fs, lazy.contents.handles
        node = await make(fs, b"f", b"content")
        await lazy.contents.flusher.flush()
        file = await fs.open(node, SHARE_BOTH)
        async with node.use.lock():  # nothing is sent meanwhile
            await fs.write(file, 0, memoryview(b"unsent"), False)
            handles.drop(node)
            os.rename(top / "f", top / "g")
            assert await handles.find_again(node)
            assert node.use.held is not None
            handles.drop(node)
            (top / "g").write_bytes(b"something else")
            assert not await handles.find_again(node)
            assert node.use.held is None
        await fs.close(file)


async def test_open_file_outlives_the_removal_of_its_name(top, place):
    (top / "f").write_bytes(b"content")
    async with Lazy(top, place) as lazy:
        fs = lazy.fs
        node = await fs.lookup(fs.root(), b"f")
        file = await fs.open(node, SHARE_READ)
        async with lazy.contents.handles.keeping(node):
            assert node.use.held is not None and node.use.leaving == 1
        assert node.use.held is not None and node.use.leaving == 0
        await fs.close(file)
        assert node.use.held is None
