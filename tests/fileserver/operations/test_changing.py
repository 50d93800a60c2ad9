"""Changes in directories that other clients are moving."""

import asyncio
import os
from typing import Any

from tests.fileserver.client import again, make, names
from tests.fileserver.lazy import Lazy
from tests.fileserver.tree.test_tree import Overtaken
from womm.nfs.filesystem import NOTHING


async def test_changes_in_a_directory_that_is_being_moved_are_done_in_it(top, place):
    (top / "d").mkdir()
    (top / "d" / "f").write_bytes(b"x")
    async with Lazy(top, place, export=Overtaken) as lazy:
        fs, root, export = lazy.fs, lazy.fs.root(), lazy.user.export
        await names(fs)
        directory = await fs.lookup(root, b"d")
        assert await names(fs, directory) == [b"f"]
        changes: list[asyncio.Future[Any]] = []

        def change():
            export.renamed = lambda: None
            for work in (
                lambda: make(fs, b"made", b"", directory),
                lambda: fs.mkdir(directory, b"dir", NOTHING),
                lambda: fs.rename(directory, b"f", directory, b"g"),
            ):
                changes.append(asyncio.ensure_future(again(work)))

        export.renamed = change
        await fs.rename(root, b"d", root, b"moved")
        await asyncio.gather(*changes)
        assert sorted(os.listdir(top / "moved")) == ["dir", "g", "made"]
        assert os.listdir(top) == ["moved"]


async def test_rename_that_waits_for_bytes_finds_its_directory_where_it_was_moved(top, place):
    (top / "d").mkdir()
    async with Lazy(top, place, export=Overtaken) as lazy:
        fs, root, export = lazy.fs, lazy.fs.root(), lazy.user.export
        await names(fs)
        directory = await fs.lookup(root, b"d")
        assert await names(fs, directory) == []
        moves: list[asyncio.Future[Any]] = []

        def move():
            export.written = lambda: None
            moves.append(asyncio.ensure_future(fs.rename(root, b"d", root, b"moved")))

        await make(fs, b"tmp", b"content", directory)
        export.written = move
        await again(lambda: fs.rename(directory, b"tmp", directory, b"final"))
        await asyncio.gather(*moves)
        assert (top / "moved" / "final").read_bytes() == b"content"
        assert os.listdir(top / "moved") == ["final"]
