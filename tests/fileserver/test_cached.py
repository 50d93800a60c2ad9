"""Changes of names on a lazy share, when the user's side is not as it was or an answer is lost."""

import asyncio
import os
from typing import Any

import pytest

from tests.fileserver.client import again, content, fails, make, names
from tests.fileserver.lazy import Lazy, run
from tests.fileserver.tree.test_tree import Overtaken
from womm.nfs.constants import SHARE_BOTH
from womm.nfs.filesystem import NOTHING
from womm.nfs.status import Status
from womm.share.lazy.exporter import Export


# -- files that the user removes ----------------------------------------------------------------------
@pytest.mark.parametrize("how", ["all", "cut", "untold"])
def test_create_of_a_file_that_the_user_has_removed_makes_it(top, folder, how):
    async def work():
        async with Lazy(top, folder) as lazy:
            fs, root = lazy.fs, lazy.fs.root()
            await make(fs, b"out", b"x")
            assert (await lazy.user.control.ask("flush"))["ok"]
            (top / "out").unlink()
            if how == "all":
                assert (await lazy.user.control.ask("changed", all=True))["ok"]
            elif how == "cut":
                await lazy.cut()
                await lazy.connect()

            def create():
                return fs.create(root, b"out", NOTHING, verifier=None, exclusive=False, access=SHARE_BOTH)

            node, file, _, created = await again(create)
            assert created
            await fs.write(file, 0, memoryview(b"again"), False)
            await fs.close(file)
            assert (await lazy.user.control.ask("flush"))["ok"]
            assert (top / "out").read_bytes() == b"again"
            assert await content(fs, node) == b"again"

    run(work)


class Flickering(Export):
    """A file is removed by the user just when it was in the way of a new one."""

    def open(self, path, flags, wanted, *, force=False):
        try:
            return super().open(path, flags, wanted, force=force)
        except FileExistsError:
            self.fence.unlink(path)
            raise


def test_create_of_a_file_that_comes_and_goes_is_tried_again(top, folder):
    async def work():
        async with Lazy(top, folder, export=Flickering) as lazy:
            fs, root = lazy.fs, lazy.fs.root()
            await fails(Status.NOENT, fs.lookup(root, b"out"))
            (top / "out").touch()

            def create():
                return fs.create(root, b"out", NOTHING, verifier=None, exclusive=False, access=SHARE_BOTH)

            await fails(Status.DELAY, create())
            _, file, _, created = await again(create)
            assert created
            await fs.close(file)

    run(work)


# -- directories that clients move --------------------------------------------------------------------
def test_changes_in_a_directory_that_is_being_moved_are_done_in_it(top, folder):
    async def work():
        (top / "d").mkdir()
        (top / "d" / "f").write_bytes(b"x")
        async with Lazy(top, folder, export=Overtaken) as lazy:
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

    run(work)


def test_rename_that_waits_for_bytes_finds_its_directory_where_it_was_moved(top, folder):
    async def work():
        (top / "d").mkdir()
        async with Lazy(top, folder, export=Overtaken) as lazy:
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

    run(work)


# -- answers that are lost ----------------------------------------------------------------------------
async def lose_rename(lazy, work):
    """Have the link cut under a rename, after it was done; connect again."""
    lazy.user.export.renamed = lazy.user.connection.abort
    await fails(Status.DELAY, work)
    lazy.user.export.renamed = lambda: None
    await lazy.cut()
    await lazy.connect()


def test_rename_of_a_new_file_is_done_although_an_older_one_was_in_doubt(top, folder):
    """Who asked for the older one was killed: nobody has repeated it."""

    async def work():
        async with Lazy(top, folder, export=Overtaken) as lazy:
            fs, root = lazy.fs, lazy.fs.root()
            await make(fs, b"tmp", b"first")
            assert (await lazy.user.control.ask("flush"))["ok"]
            await lose_rename(lazy, fs.rename(root, b"tmp", root, b"final"))
            assert (top / "final").read_bytes() == b"first"
            await make(fs, b"tmp", b"second")
            await fs.rename(root, b"tmp", root, b"final")
            assert (top / "final").read_bytes() == b"second"
            assert not (top / "tmp").exists()
            assert await content(fs, await fs.lookup(root, b"final")) == b"second"

    run(work)


def test_rename_in_doubt_is_found_done_after_another_cut(top, folder):
    async def work():
        async with Lazy(top, folder, export=Overtaken) as lazy:
            fs, root = lazy.fs, lazy.fs.root()
            node = await make(fs, b"tmp", b"first")
            assert (await lazy.user.control.ask("flush"))["ok"]
            await lose_rename(lazy, fs.rename(root, b"tmp", root, b"final"))
            task = asyncio.ensure_future(fs.rename(root, b"tmp", root, b"final"))
            await asyncio.sleep(0)  # it has begun
            await lazy.cut()
            await fails(Status.DELAY, task)
            await lazy.connect()
            await fs.rename(root, b"tmp", root, b"final")
            assert await fs.lookup(root, b"final") is node

    run(work)
