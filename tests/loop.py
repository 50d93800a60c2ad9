"""The event loop of a test, and waiting in it."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from tests.soak import SOAK

DEADLINE_S = 900.0 if SOAK else 450.0
WAIT_S = 150.0
"""For what happens at once, on a machine that is loaded."""
LOOK_S = 0.01
T = TypeVar("T")


def run(main: Coroutine[Any, Any, T], deadline_s: float = DEADLINE_S) -> T:
    """Run a coroutine; what it forgets to end, and what its callbacks raise, fails the test."""
    problems: list[str] = []

    async def watched() -> T:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: problems.append(repr(context)))
        before = asyncio.all_tasks()
        result = await asyncio.wait_for(main, deadline_s)
        await asyncio.sleep(0)
        problems.extend(f"left over: {task!r}" for task in asyncio.all_tasks() - before)
        return result

    result = asyncio.run(watched())
    assert not problems, "\n".join(problems)
    return result


async def until(
    done: Callable[[], object],
    what: str = "it",
    deadline_s: float = WAIT_S,
    *,
    bell: asyncio.Event | None = None,
    seen: Callable[[], object] = str,
) -> None:
    """Wait until `done()`, and look again whenever `bell` is set, or every 10 ms where there is none.

    `seen` adds to the message of the AssertionError what there is instead, when the time is over.
    """
    loop = asyncio.get_running_loop()
    end = loop.time() + deadline_s
    while not done():
        left_s = end - loop.time()
        assert left_s > 0, f"waited {deadline_s:.0f} s for {what}; {seen()}".removesuffix("; ")
        if bell is None:
            await asyncio.sleep(LOOK_S)
            continue
        bell.clear()
        try:
            await asyncio.wait_for(bell.wait(), left_s)
        except TimeoutError:
            pass  # looked at once more, then given up
