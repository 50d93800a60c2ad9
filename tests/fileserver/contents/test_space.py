"""The room on the user's disk."""

import errno

import pytest

from tests.fileserver.client import fails
from tests.fileserver.lazy import Lazy
from womm.nfs.status import Status


async def test_more_than_the_users_disk_has_does_not_fit(top, place):
    async with Lazy(top, place) as lazy:
        disk = lazy.contents.disk
        left = (await disk.space(now=True)).available_bytes
        await disk.check_room(left // 2)
        with pytest.raises(OSError) as caught:
            await disk.check_room(1 << 62)
        assert caught.value.errno == errno.ENOSPC


async def test_what_was_sent_since_the_last_answer_counts_as_taken(top, place):
    async with Lazy(top, place) as lazy:
        disk = lazy.contents.disk
        left = (await disk.space(now=True)).available_bytes
        disk.sent(left)
        await disk.check_room(left // 2)  # a new answer knows better


async def test_without_an_answer_nobody_knows(top, place):
    async with Lazy(top, place, connects=False) as lazy:
        await fails(Status.DELAY, lazy.contents.disk.space())
