"""The rules of async tests: a loop of their own, nothing left in it; and `until`."""

import asyncio

import pytest

from tests.loop import run, until


async def test_async_test_has_a_loop_of_its_own_and_fixtures(tmp_path):
    assert asyncio.get_running_loop().is_running()
    assert asyncio.all_tasks() and tmp_path.is_dir()


def test_task_that_is_left_over_fails():
    async def leaves():
        keep.append(asyncio.ensure_future(asyncio.Event().wait()))

    keep: list[object] = []
    with pytest.raises(AssertionError, match="left over"):
        run(leaves())


def test_exception_of_a_callback_fails():
    async def calls():
        asyncio.get_running_loop().call_soon(lambda: 1 / 0)
        await asyncio.sleep(0.001)

    with pytest.raises(AssertionError, match="ZeroDivisionError"):
        run(calls())


def test_deadline_ends_a_coroutine():
    with pytest.raises(TimeoutError):
        run(asyncio.Event().wait(), 0.01)


@pytest.mark.parametrize("bell", [False, True])
async def test_until_returns_when_it_is_done(bell):
    looks = iter([False, False, True])
    rings = asyncio.Event()
    asyncio.get_running_loop().call_later(0.01, rings.set)
    asyncio.get_running_loop().call_later(0.02, rings.set)
    await until(lambda: next(looks), "the third look", bell=rings if bell else None)
    assert not list(looks)


@pytest.mark.parametrize("bell", [False, True])
async def test_until_says_what_it_waited_for_and_what_there_is(bell):
    rings = asyncio.Event() if bell else None
    with pytest.raises(AssertionError, match="waited 0 s for the end; there is 1"):
        await until(lambda: False, "the end", 0.02, bell=rings, seen=lambda: "there is 1")
