"""Questions to the user's side. Requests that need the same answer at the same time share one question."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Hashable
from typing import Any, TypeVar

from womm.background import Background
from womm.fileserver import sftp
from womm.nfs.status import NFSError, Status

log = logging.getLogger(__name__)
T = TypeVar("T")


async def ask(waiter: Awaitable[sftp.Reply]) -> sftp.Reply:
    """Await a reply; a link that is cut meanwhile is NFSError(DELAY)."""
    try:
        return await waiter
    except sftp.LinkLost:
        raise NFSError(Status.DELAY) from None


def _failed(task: "asyncio.Task[Any]", error: BaseException) -> None:
    if not isinstance(error, (OSError, NFSError)):
        log.error("a question to the user's side failed", exc_info=error)


class Questions:
    """The questions that are under way. A question goes on when the requests that need it are gone."""

    def __init__(self) -> None:
        self._background = Background(_failed)
        self._under_way: dict[Hashable, asyncio.Task[Any]] = {}

    def __repr__(self) -> str:
        return f"<Questions, {len(self._background)} under way>"

    async def stop(self) -> None:
        await self._background.close()

    def spawn(self, work: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
        """Ask a question without waiting for its answer."""
        return self._background.spawn(work)

    def under_way(self, key: Hashable) -> "asyncio.Task[Any] | None":
        """Return the task that asks a question now."""
        task = self._under_way.get(key)
        return None if task is None or task.done() else task

    async def once(self, key: Hashable, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Ask the question `key` by `work`, unless it is under way; return its answer. Raises as `work`."""
        task = self.under_way(key)
        if task is None:
            task = self.spawn(work())
            self._under_way[key] = task
            task.add_done_callback(lambda done: self._ended(key, done))
        answer: T = await asyncio.shield(task)
        return answer

    def adopt(self, key: Hashable, task: "asyncio.Task[Any]") -> None:
        """Have a task that runs be the question `key`, unless that is under way."""
        if self.under_way(key) is None and not task.done():
            self._under_way[key] = task
            task.add_done_callback(lambda done: self._ended(key, done))

    def _ended(self, key: Hashable, task: "asyncio.Task[Any]") -> None:
        if self._under_way.get(key) is task:
            del self._under_way[key]
