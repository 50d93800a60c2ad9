"""Calls that come together are one call."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Rounds(Generic[T]):
    """A call that comes while a round runs waits for the next round, which all such calls share.

    A round goes on when a caller is cancelled.
    """

    def __init__(self, call: Callable[[], Awaitable[T]]) -> None:
        self._call = call
        self._now: asyncio.Task[T] | None = None
        self._next: asyncio.Task[T] | None = None

    def __repr__(self) -> str:
        return f"<Rounds {'busy' if self.busy else 'idle'}>"

    @property
    def busy(self) -> bool:
        return self._next is not None or (self._now is not None and not self._now.done())

    def begin(self) -> "asyncio.Task[T]":
        if self._next is None:
            self._next = asyncio.get_running_loop().create_task(self._run(self._now), name="share's round")
            self._next.add_done_callback(_retrieve)
        return self._next

    async def join(self) -> T:
        return await asyncio.shield(self.begin())

    async def settle(self) -> None:
        """Wait until none runs."""
        while (task := self._next or self._now) is not None and not task.done():
            await asyncio.wait([task])

    async def _run(self, before: asyncio.Task[T] | None) -> T:
        if before is not None and not before.done():
            await asyncio.wait([before])
        self._now, self._next = self._next, None
        return await self._call()


def _retrieve(task: asyncio.Task[Any]) -> None:
    """Perhaps nobody waits any more."""
    if not task.cancelled():
        task.exception()
