"""Waiting for one of several things: a failure reaches the caller that asked for the work, and no other."""

import asyncio
import gc

import pytest

from womm.errors import ClusterError
from womm.waiting import first_of, unless


def run(test):
    """Run a coroutine function; return what the event loop was told of as failed and unseen."""
    unseen: list[dict[str, object]] = []

    async def main():
        asyncio.get_running_loop().set_exception_handler(lambda _, context: unseen.append(context))
        await test()
        gc.collect()
        await asyncio.sleep(0)

    asyncio.run(main())
    return unseen


async def fails(after: asyncio.Event | None = None) -> None:
    if after is not None:
        await after.wait()
    raise ClusterError("the cluster is away")


def test_first_of_keeps_what_it_is_told_to_and_its_failure_is_the_callers():
    async def test():
        kept = asyncio.ensure_future(fails())
        assert await first_of(None, asyncio.Event().wait(), keep=kept)
        with pytest.raises(ClusterError):
            kept.result()

    assert run(test) == []


def test_first_of_leaves_the_kept_one_running():
    async def test():
        bell = asyncio.Event()
        kept = asyncio.ensure_future(fails(bell))
        assert not await first_of(0.01, asyncio.Event().wait(), keep=kept)
        assert not kept.done()
        bell.set()
        with pytest.raises(ClusterError):
            await kept

    assert run(test) == []


def test_first_of_cancelled_cancels_what_it_waits_for():
    async def test():
        ended = asyncio.Event()

        async def work():
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()

        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await first_of(None, work())
        async with asyncio.timeout(10):
            await ended.wait()

    assert run(test) == []


def test_first_of_cancels_the_others_and_waits_for_their_ends():
    async def test():
        ended = []

        async def other():
            try:
                await asyncio.sleep(60)
            finally:
                await asyncio.sleep(0.01)
                ended.append(1)

        assert await first_of(None, asyncio.sleep(0.01), other())
        assert ended == [1]

    assert run(test) == []


def test_first_of_drops_what_an_awaitable_raises():
    async def test():
        assert await first_of(None, fails())

    assert run(test) == []


def test_unless_raises_what_the_work_raises():
    async def test():
        with pytest.raises(ClusterError):
            await unless(asyncio.Event().wait(), fails())

    assert run(test) == []


def test_unless_gives_the_work_up_when_told_to_stop():
    async def test():
        stop = asyncio.Event()
        stop.set()
        assert not await unless(stop.wait(), fails(asyncio.Event()))

    assert run(test) == []


def test_unless_says_that_the_work_is_done():
    async def test():
        assert await unless(asyncio.Event().wait(), asyncio.sleep(0))

    assert run(test) == []
