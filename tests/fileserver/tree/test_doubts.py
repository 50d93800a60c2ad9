"""Changes of names whose answer is lost."""

import asyncio

from tests.fileserver.client import content, fails, make
from tests.fileserver.lazy import Lazy
from tests.fileserver.tree.test_tree import Overtaken
from womm.nfs.status import Status


async def lose_rename(lazy, work):
    """Have the link cut under a rename, after it was done; connect again."""
    lazy.user.export.renamed = lazy.user.connection.abort
    await fails(Status.DELAY, work)
    lazy.user.export.renamed = lambda: None
    await lazy.cut()
    await lazy.connect()


async def test_rename_of_a_new_file_is_done_although_an_older_one_was_in_doubt(top, place):
    """Who asked for the older one was killed: nobody has repeated it."""

    async with Lazy(top, place, export=Overtaken) as lazy:
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


async def test_rename_in_doubt_is_found_done_after_another_cut(top, place):
    async with Lazy(top, place, export=Overtaken) as lazy:
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
