"""The SFTP server on one channel of an SSH connection.

Strategy: requests are taken from the channel as they come and answered at once, in order, on the event loop:
what the page cache and the directory cache can answer takes microseconds. What waits for a disk goes to
threads (reads that are not cached, fsync, whole directories and trees, writes when the disk has been slow of
late), and its answer comes when it comes. Answers are written to the channel once per batch of requests:
every write costs two encrypted packets. When the channel or the link is full, no more requests are taken.

On one handle READ and WRITE may overtake each other, but nothing else; FSYNC, FSTAT, FSETSTAT, READDIR and
CLOSE wait for what came before, and so does WRITE where a version of the file is expected.
"""

import asyncio
import errno
import logging
import os
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Final, Protocol

from womm.share.lazy import sftp
from womm.share.lazy.exporter import Export
from womm.share.lazy.sftp import BadMessage, Kind, Reader
from womm.share.lazy.sftp_server.requests import CALLS, EXTENDED, Answer, max_handles
from womm.share.lazy.versions import Version

log = logging.getLogger(__name__)

_FLUSH_BYTES: Final = 1 << 17
_MAX_RUNNING: Final = 32
"""Requests in threads at once: each may hold 4 MiB."""
_FULL_BYTES: Final = 32 << 20
"""With so much on its way out the link is full."""
_LOOK_AGAIN_S: Final = 0.02
_EXTENSIONS: Final = (
    b"newline=\n",
    b"posix-rename@openssh.com=1",
    b"statvfs@openssh.com=2",
    b"hardlink@openssh.com=1",
    b"fsync@openssh.com=1",
    b"lsetstat@openssh.com=1",
    b"limits@openssh.com=1",
    b"tree@womm=1",
    b"get@womm=1",
    b"put@womm=1",
    b"access@womm=1",
    b"stats@womm=1",
    b"mknod@womm=1",
    b"seek@womm=1",
    b"find@womm=1",
    b"largest@womm=1",
    b"expect@womm=1",
)


class Channel(Protocol):
    """What is needed of an asyncssh channel."""

    def write(self, data: bytes | bytearray) -> None: ...
    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...
    def abort(self) -> None: ...


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
    left: bytes = b""
    """The entry that did not fit into the last answer."""
    base: Version | None = None
    """What the file is like that the writes are for; None: nobody has said so."""
    named: bool = False
    """Writes are only made while the file has a name."""


class SftpChannel:
    """Serves an export on a channel. Every method is for the event loop's thread.

    `backlog` tells how many bytes wait for the link.
    """

    def __init__(self, export: Export, channel: Channel, backlog: Callable[[], int]) -> None:
        self.export = export
        self._channel = channel
        self._backlog = backlog
        self._loop = asyncio.get_running_loop()
        self._parts: list[bytes | memoryview] = []
        self._have = 0
        self._need = 4
        self._out: list[bytes | bytearray] = []
        self._out_bytes = 0
        self._flush_due = False
        self._begun = False
        self._closed = False
        self._paused = False
        self._stopped = False
        self._look_again: asyncio.TimerHandle | None = None
        self._running = 0
        self._alone = False
        self.handles: dict[bytes, Handle] = {}
        self._next_handle = 0

    def __repr__(self) -> str:
        state = "closed" if self._closed else "stopped" if self._stopped else "open"
        return f"<SftpChannel {state} {len(self.handles)} handles, {self._running} in threads>"

    # -- bytes in and out --------------------------------------------------------------------------
    def received(self, data: bytes) -> None:
        if not self._closed:
            self._parts.append(data)
            self._have += len(data)
            if self._have >= self._need and not self._stopped:
                self._run()

    def pause(self) -> None:
        """The other side takes no more for now."""
        self._paused = True

    def resume(self) -> None:
        self._paused = False
        self._go_on()

    def closed(self) -> None:
        """The channel is gone."""
        self._closed = True
        self._parts.clear()
        self._out.clear()
        if self._look_again is not None:
            self._look_again.cancel()
        for handle in self.handles.values():
            if not handle.running:
                self._drop(handle)
        self.handles.clear()

    def _run(self) -> None:
        """Take the requests that are here, as long as there is room for their answers."""
        data = memoryview(self._parts[0] if len(self._parts) == 1 else b"".join(self._parts))
        at, end = 0, len(data)
        while not self._closed:
            self._need = 4
            if end - at < 4:
                break
            size = int.from_bytes(data[at : at + 4], "big")
            if not 5 <= size <= sftp.MAX_MESSAGE_BYTES:
                self._refuse(f"a message of {size} bytes")
                return
            if end - at < 4 + size:
                self._need = 4 + size
                break
            if self._is_full():
                self._stop()
                break
            try:
                self._take(data[at + 4 : at + 4 + size])
            except BadMessage as exc:
                self._refuse(str(exc))
                return
            at += 4 + size
        self._parts = [data[at:]] if at < end else []
        self._have = end - at
        self._flush()

    def _is_full(self) -> bool:
        return self._paused or self._alone or self._running >= _MAX_RUNNING or self._backlog() > _FULL_BYTES

    def _stop(self) -> None:
        if not self._stopped:
            self._stopped = True
            self._channel.pause_reading()
        waits = self._paused or self._alone or self._running >= _MAX_RUNNING
        if self._look_again is None and not waits:
            self._look_again = self._loop.call_later(_LOOK_AGAIN_S, self._look)

    def _look(self) -> None:
        self._look_again = None
        self._go_on()

    def _go_on(self) -> None:
        if not self._stopped or self._closed:
            return
        if self._is_full():
            self._stop()
            return
        self._stopped = False
        if self._have >= self._need:
            self._run()
        if not self._stopped and not self._closed:
            self._channel.resume_reading()

    def _refuse(self, reason: str) -> None:
        log.warning("the file server's SFTP makes no sense: %s", reason)
        self._channel.abort()
        self.closed()

    def _answer(self, reply: bytes | bytearray) -> None:
        self._out.append(reply)
        self._out_bytes += len(reply)
        if self._out_bytes >= _FLUSH_BYTES:
            self._flush()

    def _flush(self) -> None:
        self._flush_due = False
        if self._out and not self._closed:
            data = self._out[0] if len(self._out) == 1 else b"".join(self._out)
            self._out.clear()
            self._out_bytes = 0
            try:
                self._channel.write(data)
            except OSError as exc:
                log.debug("an answer was not sent: %s", exc)

    # -- requests ----------------------------------------------------------------------------------
    def _take(self, request: memoryview) -> None:
        reader = Reader(request)
        kind = reader.byte()
        if not self._begun:
            wanted = reader.u32()
            if kind != Kind.INIT or wanted < sftp.VERSION:
                raise BadMessage(f"version {sftp.VERSION} is spoken here, not {wanted}")
            self._begun = True
            self._answer(sftp.version(_EXTENSIONS))
            return
        number = reader.u32()
        self.export.traffic.requests += 1
        try:
            call = EXTENDED.get(reader.string()) if kind == Kind.EXTENDED else CALLS.get(kind)
            if call is None:
                raise OSError(errno.EOPNOTSUPP, "no such request")
            reply = call(self, number, reader)
        except OSError as exc:
            reply = sftp.failure(number, exc)
        except BadMessage as exc:
            reply = sftp.status(number, sftp.BAD_MESSAGE, f"errno={errno.EINVAL} {exc}")
        if reply is not None:
            self._answer(reply)

    def in_thread(
        self,
        number: int,
        call: Callable[[], bytes | bytearray],
        handle: Handle | None = None,
        change: AbstractContextManager[object] | None = None,
        alone: bool = False,
    ) -> None:
        """Have a thread make the answer; `change` is left when it is made. `alone`: no request is taken until
        then, those in threads go on."""
        if change is not None:
            change.__enter__()
        self._running += 1
        self._alone = self._alone or alone
        if handle is not None:
            handle.running += 1

        def done(future: asyncio.Future[bytes | bytearray]) -> None:
            if change is not None:
                change.__exit__(None, None, None)
            self._running -= 1
            if alone:
                self._alone = False
            if not future.cancelled():
                error = future.exception()
                if error is None:
                    reply = future.result()
                elif isinstance(error, OSError):
                    reply = sftp.failure(number, error)
                else:
                    reply = sftp.failure(number, OSError(errno.EIO, "a bug"))
                    self._loop.call_exception_handler({"message": "SFTP request failed", "exception": error})
                if not self._closed:
                    self._answer(reply)
                    if not self._flush_due:
                        self._flush_due = True
                        self._loop.call_soon(self._flush)
            if handle is not None:
                self._leave(handle)
            self._go_on()

        self._loop.run_in_executor(self.export.pool, call).add_done_callback(done)

    def _leave(self, handle: Handle) -> None:
        handle.running -= 1
        if self._closed:
            handle.waiting.clear()
        while handle.waiting and not handle.running:
            handle.waiting.popleft()()
        if self._closed and not handle.running:
            self._drop(handle)

    def _drop(self, handle: Handle) -> None:
        """Close it when nobody can be told: what was not acknowledged is sent again."""
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

    def after(self, number: int, handle: Handle, call: Callable[[], Answer]) -> Answer:
        """Run a call when nothing of the handle runs in a thread; return its answer if that is now."""
        if not handle.running and not handle.waiting:
            return call()

        def later() -> None:
            try:
                reply = call()
            except OSError as exc:
                reply = sftp.failure(number, exc)
            if reply is not None and not self._closed:
                self._answer(reply)
                self._flush()

        handle.waiting.append(later)
        return None

    def add(self, fd: int, path: bytes, writable: bool = False) -> bytes:
        if len(self.handles) >= max_handles():
            os.close(fd)
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        self._next_handle += 1
        name = self._next_handle.to_bytes(8, "big")
        found = os.fstat(fd) if writable else None
        inode = (found.st_dev, found.st_ino) if found is not None else (0, 0)
        self.handles[name] = Handle(fd, path, writable, inode)
        return name

    def handle(self, reader: Reader) -> Handle:
        handle = self.handles.get(bytes(reader.view()))
        if handle is None:
            raise OSError(errno.EBADF, "no such handle")
        return handle
