"""Where a request runs: the export, the open handles of its channel, and threads."""

import asyncio
import errno
import logging
import os
import resource
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Final

from womm.share.lazy.exported_folder import ExportedFolder
from womm.share.lazy.versions import Version
from womm.wire.replies import failure

log = logging.getLogger(__name__)

Answer = bytes | bytearray | None
"""A packet; None: it comes later."""
_MOST_HANDLES: Final = 1 << 16
_MOST_SLOW: Final = 1024
"""Requests that wait for file systems which do not answer. One more is answered with an error."""


def max_handles() -> int:
    """Return how many handles there may be now: each is a file descriptor, and other parts of the process
    need some."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _MOST_HANDLES if soft == resource.RLIM_INFINITY else min(_MOST_HANDLES, soft // 2)


@dataclass(slots=True)
class Handle:
    """An open file, or a directory that is listed."""

    fd: int
    path: bytes
    writable: bool
    inode: tuple[int, int] = (0, 0)
    """Device and number, where it is writable."""
    running: int = 0
    """Requests of it in threads."""
    waiting: deque[Callable[[], None]] = field(default_factory=deque)
    """What comes after them."""
    entries: Iterator[tuple[bytes, os.stat_result]] | None = None
    base: Version | None = None
    """What the file is like that the writes are for; None: nobody has said so."""
    named: bool = False
    """Writes are only made while the file has a name."""


class RequestContext:
    """What the requests of one channel have in common. Every method is for the event loop's thread.

    `deliver` takes an answer that comes later; `left` is called each time that a thread has done its work.
    """

    def __init__(
        self, export: ExportedFolder, deliver: Callable[[bytes | bytearray], None], left: Callable[[], None]
    ) -> None:
        self.export = export
        self._deliver = deliver
        self._left = left
        self._loop = asyncio.get_running_loop()
        self._closed = False
        self.handles: dict[bytes, Handle] = {}
        self._next_handle = 0
        self.running = 0
        """Requests in threads."""
        self.slow = 0
        """Those of them that may take for ever are counted here alone."""
        self.alone = False
        """One of them lets no other request begin."""

    def __repr__(self) -> str:
        return f"<RequestContext {len(self.handles)} handles, {self.running} in threads>"

    def close(self) -> None:
        """The channel is gone: close what is open, as soon as no thread uses it."""
        self._closed = True
        for handle in self.handles.values():
            if not handle.running:
                self._drop(handle)
        self.handles.clear()

    # -- requests that take long -------------------------------------------------------------------
    def in_thread(
        self,
        number: int,
        call: Callable[[], bytes | bytearray],
        handle: Handle | None = None,
        change: AbstractContextManager[object] | None = None,
        *,
        alone: bool = False,
        slow: bool = False,
    ) -> None:
        """Have a thread make the answer; `change` is left when it is made. `alone`: no request is taken until
        then, those in threads go on. `slow`: it may take for ever, and keeps no other request."""
        if slow and self.slow >= _MOST_SLOW:
            raise OSError(errno.EIO, "the file system does not answer")
        if change is not None:
            change.__enter__()
        self._count(1, slow)
        self.alone = self.alone or alone
        if handle is not None:
            handle.running += 1

        def done(future: asyncio.Future[bytes | bytearray]) -> None:
            if change is not None:
                change.__exit__(None, None, None)
            self._count(-1, slow)
            if alone:
                self.alone = False
            if not future.cancelled():
                reply = self._reply(number, future)
                if not self._closed:
                    self._deliver(reply)
            if handle is not None:
                self._leave(handle)
            self._left()

        pool = self.export.slow_pool if slow else self.export.pool
        self._loop.run_in_executor(pool, call).add_done_callback(done)

    def _count(self, more: int, slow: bool) -> None:
        if slow:
            self.slow += more
        else:
            self.running += more

    def look(self, number: int, path: bytes, call: Callable[[], bytes]) -> Answer:
        """Answer what only looks at a path: at once, or by a thread where that may take long."""
        if not self.export.waits(path):
            return call()
        self.in_thread(number, call, slow=True)
        return None

    def _reply(self, number: int, future: "asyncio.Future[bytes | bytearray]") -> bytes | bytearray:
        error = future.exception()
        if error is None:
            return future.result()
        if isinstance(error, OSError):
            return failure(number, error)
        self._loop.call_exception_handler({"message": "SFTP request failed", "exception": error})
        return failure(number, OSError(errno.EIO, "a bug"))

    def after(self, number: int, handle: Handle, call: Callable[[], Answer]) -> Answer:
        """Run a call when nothing of the handle runs in a thread; return its answer if that is now."""
        if not handle.running and not handle.waiting:
            return call()

        def later() -> None:
            try:
                reply = call()
            except OSError as exc:
                reply = failure(number, exc)
            if reply is not None and not self._closed:
                self._deliver(reply)

        handle.waiting.append(later)
        return None

    def _leave(self, handle: Handle) -> None:
        handle.running -= 1
        if self._closed:
            handle.waiting.clear()
        while handle.waiting and not handle.running:
            handle.waiting.popleft()()
        if self._closed and not handle.running:
            self._drop(handle)

    # -- handles -----------------------------------------------------------------------------------
    def add(self, fd: int, path: bytes, writable: bool = False) -> bytes:
        """Return the name of a new handle. Raises OSError: EMFILE; `fd` is closed then."""
        if len(self.handles) >= max_handles():
            if fd >= 0:
                os.close(fd)
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        self._next_handle += 1
        name = self._next_handle.to_bytes(8, "big")
        found = os.fstat(fd) if writable else None
        inode = (found.st_dev, found.st_ino) if found is not None else (0, 0)
        self.handles[name] = Handle(fd, path, writable, inode)
        return name

    def handle(self, name: bytes) -> Handle:
        """Raises OSError: EBADF."""
        handle = self.handles.get(name)
        if handle is None:
            raise OSError(errno.EBADF, "no such handle")
        return handle

    def _drop(self, handle: Handle) -> None:
        """Close it when there is nobody to answer: the file server sends unacknowledged writes again."""
        try:
            self.shut(handle)
        except OSError as exc:
            log.warning("%r: %s", handle.path, exc)

    def shut(self, handle: Handle) -> None:
        """Close it. Raises OSError; it is closed then, too."""
        fd, handle.fd = handle.fd, -1
        if fd >= 0:
            with self.export.changing(handle.path) if handle.writable else nullcontext():
                os.close(fd)
