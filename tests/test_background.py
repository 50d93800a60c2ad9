"""Background tasks: kept, reported once when they fail, ended together. Waiting for the first of several."""

import asyncio
import gc

import pytest

from womm.background import Background


async def fails(bell=None):
    await (bell.wait() if bell is not None else asyncio.sleep(0))
    raise ValueError("broken")


async def test_spawned_task_is_kept_until_it_ends():
    background, begin, ended = Background(), asyncio.Event(), []

    async def work():
        await begin.wait()
        ended.append(1)

    background.spawn(work())
    await asyncio.sleep(0)
    gc.collect()
    assert len(background) == 1
    begin.set()
    await asyncio.sleep(0.01)
    assert (ended, len(background)) == ([1], 0)


async def test_task_has_its_name_and_its_result():
    background = Background()

    async def work():
        return 7

    task = background.spawn(work(), name="seven")
    assert (task.get_name(), await task) == ("seven", 7)


async def test_failure_is_reported_once():
    reports, unseen = [], []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: unseen.append(context))
    background = Background(lambda task, error: reports.append((task.get_name(), str(error))))
    background.spawn(fails(), name="one")
    await asyncio.sleep(0.01)
    await background.close()
    gc.collect()
    assert (reports, unseen) == ([("one", "broken")], [])


async def test_failure_that_is_awaited_is_reported_and_raised():
    reports = []
    task = Background(lambda task, error: reports.append(error)).spawn(fails())
    with pytest.raises(ValueError, match="broken"):
        await task
    assert len(reports) == 1


async def test_failure_goes_to_the_loops_exception_handler_where_nobody_else_hears_of_it():
    contexts = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: contexts.append(context))
    Background().spawn(fails(), name="the share's watch")
    await asyncio.sleep(0.01)
    (context,) = contexts
    assert context["message"] == "the share's watch has failed"
    assert isinstance(context["exception"], ValueError)


async def test_cancel_ends_all_and_reports_nothing():
    reports = []
    background = Background(lambda task, error: reports.append(error))
    tasks = [background.spawn(asyncio.sleep(60)) for _ in range(3)]
    await asyncio.sleep(0)
    background.cancel()
    assert len(background) == 3
    await asyncio.wait(tasks)
    assert (len(background), reports) == (0, [])


async def test_close_waits_for_what_a_task_does_at_its_end():
    background, ended = Background(), []

    async def work():
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.01)
            ended.append(1)

    background.spawn(work())
    await asyncio.sleep(0)
    await background.close()
    assert (ended, len(background)) == ([1], 0)


async def test_close_ends_what_a_task_spawns_at_its_end():
    background = Background()

    async def work():
        try:
            await asyncio.sleep(60)
        finally:
            background.spawn(asyncio.sleep(60))

    background.spawn(work())
    await asyncio.sleep(0)
    await background.close()
    assert len(background) == 0


async def test_close_reports_what_fails_at_its_end():
    reports = []
    background = Background(lambda task, error: reports.append(str(error)))

    async def work():
        try:
            await asyncio.sleep(60)
        finally:
            raise ValueError("at the end")

    background.spawn(work())
    await asyncio.sleep(0)
    await background.close()
    assert reports == ["at the end"]


def test_close_of_no_tasks_is_nothing():
    asyncio.run(Background().close())


def run(test):
    """Run a coroutine function; return the failures that the event loop reports because nobody saw them."""
    unseen: list[dict[str, object]] = []

    async def main():
        asyncio.get_running_loop().set_exception_handler(lambda _, context: unseen.append(context))
        await test()
        gc.collect()
        await asyncio.sleep(0)

    asyncio.run(main())
    return unseen
