"""OPEN of a file that is there."""

import os

import pytest

from tests.fileserver.client import fails
from tests.fileserver.lazy import Lazy
from womm.nfs.constants import SHARE_READ, SHARE_WRITE
from womm.nfs.status import Status


async def test_open_to_read_needs_no_handle_and_open_to_write_needs_one(top, place):
    (top / "f").touch()
    async with Lazy(top, place) as lazy:
        fs = lazy.fs
        node = await fs.lookup(fs.root(), b"f")
        reads = await fs.open(node, SHARE_READ)
        assert (node.use.opens, node.use.held) == (1, None)
        writes = await fs.open(node, SHARE_WRITE)
        assert node.use.opens == 2 and node.use.held is not None and node.use.write_admitted
        for file in (reads, writes):
            await fs.close(file)
            await fs.close(file)  # once more has no effect
        assert (node.use.opens, node.use.held) == (0, None)


async def test_file_that_was_open_before_the_cut_is_opened_to_write_without_a_link(top, place):
    for name in ("f", "never"):
        (top / name).touch()
    async with Lazy(top, place) as lazy:
        fs = lazy.fs
        node, never = [await fs.lookup(fs.root(), name) for name in (b"f", b"never")]
        await fs.close(await fs.open(node, SHARE_WRITE))
        await lazy.cut()
        await fs.close(await fs.open(node, SHARE_WRITE))
        await fails(Status.DELAY, fs.open(never, SHARE_WRITE))
        assert never.use.opens == 0


@pytest.mark.parametrize("access", [SHARE_READ, SHARE_WRITE])
async def test_what_is_no_regular_file_is_not_opened(top, place, access):
    (top / "d").mkdir()
    async with Lazy(top, place) as lazy:
        node = await lazy.fs.lookup(lazy.fs.root(), b"d")
        await fails(Status.INVAL, lazy.fs.open(node, access))


async def test_name_that_leads_to_another_file_by_now_is_stale(top, place):
    (top / "f").touch()
    async with Lazy(top, place) as lazy:
        node = await lazy.fs.lookup(lazy.fs.root(), b"f")
        (top / "new").touch()
        os.rename(top / "new", top / "f")
        await fails(Status.STALE, lazy.fs.open(node, SHARE_WRITE))
        assert node.use.opens == 0
