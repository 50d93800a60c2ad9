"""Waiting for one of several things: `first_of` them, or some work `unless` something else comes first."""

import asyncio
from collections.abc import Awaitable
from typing import Any


async def first_of(
    timeout_s: float | None, *work: Awaitable[object], keep: "asyncio.Future[Any] | None" = None
) -> bool:
    """Wait for the first of several awaitables; cancel the others and wait for their ends. False: timed out.

    What the awaitables return or raise is dropped. `keep` is one more, which is left as it is: it goes on,
    and the caller sees what it raises.
    """
    tasks = {asyncio.ensure_future(item) for item in work}
    kept = {keep} if keep is not None else set()
    try:
        done, _ = await asyncio.wait(tasks | kept, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return bool(done)


async def unless(stop: Awaitable[object], work: Awaitable[None]) -> bool:
    """Do some work; cancel it, half done, when `stop` comes first. True: it is done. Raises as the work."""
    task = asyncio.ensure_future(work)
    await first_of(None, stop, keep=task)
    if not task.done():
        task.cancel()
        await asyncio.wait({task})
    if task.cancelled():
        return False
    task.result()
    return True
