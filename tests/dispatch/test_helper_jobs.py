"""womm's own small programs in pods."""

import asyncio

from tests.dispatch.jobs import FrameLog
from womm.dispatch.helper_jobs import HelperJobs
from womm.link.frames import HEADER, RunRequest


def number_of(frame):
    return HEADER.unpack_from(frame)[1]


async def begun(helpers, link):
    task = asyncio.ensure_future(helpers.run(link, RunRequest(b"sync")))
    await asyncio.sleep(0)
    (frame,) = link.take()
    return task, number_of(frame)


async def test_run_returns_when_the_program_has_ended():
    helpers, link = HelperJobs(), FrameLog()
    task, number = await begun(helpers, link)
    assert not task.done()
    helpers.ended(number + 1)
    helpers.ended(number)
    await task
    helpers.ended(number)
    assert repr(helpers) == "<HelperJobs 0 under way>"


async def test_run_returns_when_the_pod_is_lost():
    helpers, link = HelperJobs(), FrameLog()
    task, _ = await begun(helpers, link)
    helpers.lost("another")
    await asyncio.sleep(0)
    assert not task.done()
    helpers.lost("pod")
    await task


async def test_run_that_is_cancelled_leaves_nothing():
    helpers, link = HelperJobs(), FrameLog()
    task, number = await begun(helpers, link)
    task.cancel()
    await asyncio.wait({task})
    helpers.ended(number)
    assert repr(helpers) == "<HelperJobs 0 under way>"


async def test_numbers_differ_and_are_far_from_those_of_jobs():
    helpers, link = HelperJobs(), FrameLog()
    tasks, numbers = zip(*[await begun(helpers, link) for _ in range(3)], strict=True)
    assert len(set(numbers)) == 3 and min(numbers) > 1 << 31
    helpers.lost("pod")
    await asyncio.gather(*tasks)
