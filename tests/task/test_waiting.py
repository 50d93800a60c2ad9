"""Waiting for one thing or another: what fails is heard of once, by who asked for it."""

import asyncio
import gc

import pytest

from womm.errors import ClusterError
from womm.task.parallel import unless


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


def test_unless_raises_what_the_work_raises():
    async def test():
        with pytest.raises(ClusterError):
            await unless(asyncio.Event().wait(), fails())

    assert run(test) == []


def test_unless_gives_the_work_up_when_told_to_stop():
    async def test():
        stop = asyncio.Event()
        stop.set()
        await unless(stop.wait(), fails(asyncio.Event()))

    assert run(test) == []
