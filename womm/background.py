"""Background tasks of asyncio.

A background task is one that nobody awaits. The event loop holds only a weak reference to it, and reports its
failure when it is collected as garbage, which may be never. `Background` keeps its tasks, reports a failure
once, as soon as it happens, and ends them together.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")
Failed = Callable[[asyncio.Task[Any], BaseException], None]
"""Hears of a task that has failed, and of its error. Called on the event loop."""


def call_exception_handler(task: asyncio.Task[Any], error: BaseException) -> None:
    """Report a failed task to its event loop: it is a bug."""
    context = {"message": f"{task.get_name()} has failed", "exception": error, "task": task}
    task.get_loop().call_exception_handler(context)


class Background:
    """The background tasks of one owner. For one event loop's thread.

    `failed` hears of each task that raises, once; a task that is cancelled has not failed.
    """

    def __init__(self, failed: Failed = call_exception_handler) -> None:
        self._failed = failed
        self._tasks: set[asyncio.Task[Any]] = set()

    def __repr__(self) -> str:
        return f"<Background {len(self._tasks)} tasks>"

    def __len__(self) -> int:
        """Tasks that have not ended."""
        return len(self._tasks)

    def spawn(self, work: Coroutine[Any, Any, T], name: str | None = None) -> asyncio.Task[T]:
        """Start a task. The caller may await it; nobody has to."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def cancel(self) -> None:
        """Cancel all tasks, and do not wait for their ends."""
        for task in list(self._tasks):
            task.cancel()

    async def close(self) -> None:
        """Cancel all tasks and wait until they have ended. Not for one of the tasks itself to call."""
        while self._tasks:
            self.cancel()
            await asyncio.wait(self._tasks)

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failed(task, error)
