"""Threads that nobody waits for: `DaemonPool`, for calls that a file system may keep for ever."""

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any, TypeVar

T = TypeVar("T")
Work = tuple[Future[Any], Callable[[], Any]]


class DaemonPool(Executor):
    """As ThreadPoolExecutor, but neither `shutdown` nor the end of the interpreter waits for a thread."""

    def __init__(self, threads: int, name: str) -> None:
        self._most = threads
        self._name = name
        self._lock = threading.Condition()
        self._queue: queue.SimpleQueue[Work | None] = queue.SimpleQueue()
        self._threads = 0
        self._open = 0
        self._ended = False

    def __repr__(self) -> str:
        return f"<DaemonPool {self._threads} threads, {self._open} calls>"

    def rest(self, within_s: float) -> bool:
        """Wait until no call is in a thread; return whether that came. Blocks."""
        with self._lock:
            return self._lock.wait_for(lambda: not self._open, within_s)

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        future: Future[T] = Future()
        with self._lock:
            if self._ended:
                raise RuntimeError("the pool has ended")
            self._open += 1
            self._queue.put((future, lambda: fn(*args, **kwargs)))
            if self._threads < min(self._open, self._most):
                self._threads += 1
                name = f"{self._name}-{self._threads}"
                threading.Thread(target=self._run, name=name, daemon=True).start()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Begin no call any more. What is in a thread goes on, and its result is dropped."""
        with self._lock:
            self._ended = True
            for _ in range(self._threads):
                self._queue.put(None)

    def _run(self) -> None:
        while (work := self._queue.get()) is not None:
            future, call = work
            result: Any = None
            error: BaseException | None = None
            if self._is_over() or not future.set_running_or_notify_cancel():
                self._close_one()
                continue
            try:
                result = call()
            except BaseException as exc:
                error = exc
            self._close_one()
            if self._is_over():
                continue  # the event loop that waited may be gone
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(result)

    def _is_over(self) -> bool:
        return self._ended

    def _close_one(self) -> None:
        with self._lock:
            self._open -= 1
            self._lock.notify_all()
