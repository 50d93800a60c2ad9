"""New names on a lazy share, where the user has changed something."""

import asyncio
import os

import pytest

from tests.fileserver.client import again, content, fails, make
from tests.fileserver.lazy import Lazy
from womm.nfs.constants import SHARE_BOTH
from womm.nfs.filesystem import NOTHING, Settings
from womm.nfs.status import Status
from womm.share.lazy.exported_folder import ExportedFolder


@pytest.mark.parametrize("how", ["all", "cut", "untold"])
async def test_create_of_a_file_that_the_user_has_removed_makes_it(top, place, how):
    async with Lazy(top, place) as lazy:
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


class Flickering(ExportedFolder):
    """A file is removed by the user just when it was in the way of a new one."""

    def open(self, path, flags, wanted, *, force=False):
        try:
            return super().open(path, flags, wanted, force=force)
        except FileExistsError:
            self.fence.unlink(path)
            raise


async def test_create_of_a_file_that_comes_and_goes_is_tried_again(top, place):
    async with Lazy(top, place, export=Flickering) as lazy:
        fs, root = lazy.fs, lazy.fs.root()
        await fails(Status.NOENT, fs.lookup(root, b"out"))
        (top / "out").touch()

        def create():
            return fs.create(root, b"out", NOTHING, verifier=None, exclusive=False, access=SHARE_BOTH)

        await fails(Status.DELAY, create())
        _, file, _, created = await again(create)
        assert created
        await fs.close(file)


@pytest.mark.parametrize(
    ("settings", "mtime_ns", "data"),
    [
        (Settings(mtime_ns=5), 5, b""),
        (Settings(atime_ns=7, mtime_ns=-1), -1, b""),
        (Settings(size=3, mode=0o600), None, bytes(3)),
    ],
)
async def test_create_with_times_or_a_size_sets_them_and_ends(top, place, settings, mtime_ns, data):
    async with Lazy(top, place) as lazy, asyncio.timeout(60):
        fs, root = lazy.fs, lazy.fs.root()
        node, file, _, created = await fs.create(
            root, b"f", settings, verifier=None, exclusive=True, access=SHARE_BOTH
        )
        await fs.close(file)
        assert created and await content(fs, node) == data
        if mtime_ns is not None:
            assert os.stat(top / "f").st_mtime_ns == mtime_ns
        await fs.remove(root, b"f")
