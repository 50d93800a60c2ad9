"""The SFTP server on one channel of an SSH connection.

Strategy: requests are taken from the channel as they come and answered at once, in order, on the event loop:
what the page cache and the directory cache can answer takes microseconds. What waits for a disk goes to
threads (reads that are not cached, fsync, whole directories and trees, writes when the disk has been slow of
late), and its answer comes when it comes. Answers are written to the channel once per batch of requests:
every write costs two encrypted packets. When the channel or the link is full, no more requests are taken.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Final, Protocol

from womm.share.lazy.exported_folder import ExportedFolder
from womm.share.lazy.sftp_server.context import RequestContext
from womm.share.lazy.sftp_server.requests import answer
from womm.wire.extensions import OFFERED
from womm.wire.fields import BadMessage, Reader
from womm.wire.replies import version
from womm.wire.sftp import MAX_MESSAGE_BYTES, VERSION, Kind

log = logging.getLogger(__name__)

_FLUSH_BYTES: Final = 1 << 17
_MAX_RUNNING: Final = 32
"""Requests in threads at once: each may hold 4 MiB."""
_FULL_BYTES: Final = 32 << 20
"""With so much on its way out the link is full."""
_LOOK_AGAIN_S: Final = 0.02


class Channel(Protocol):
    """What is needed of an asyncssh channel."""

    def write(self, data: bytes | bytearray) -> None: ...
    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...
    def abort(self) -> None: ...


class SftpChannel:
    """Serves an export on a channel. Every method is for the event loop's thread.

    `backlog` tells how many bytes wait for the link.
    """

    def __init__(self, export: ExportedFolder, channel: Channel, backlog: Callable[[], int]) -> None:
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
        self._context = RequestContext(export, self._deliver, self._go_on)

    def __repr__(self) -> str:
        state = "closed" if self._closed else "stopped" if self._stopped else "open"
        return f"<SftpChannel {state} {self._context!r}>"

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
        self._context.close()

    def _run(self) -> None:
        """Take the requests that are here, as long as there is room for their answers."""
        data = memoryview(self._parts[0] if len(self._parts) == 1 else b"".join(self._parts))
        at, end = 0, len(data)
        while not self._closed:
            self._need = 4
            if end - at < 4:
                break
            size = int.from_bytes(data[at : at + 4], "big")
            if not 5 <= size <= MAX_MESSAGE_BYTES:
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
        return self._waits() or self._backlog() > _FULL_BYTES

    def _waits(self) -> bool:
        """Something will call `_go_on` when there is room."""
        return self._paused or self._context.alone or self._context.running >= _MAX_RUNNING

    def _stop(self) -> None:
        if not self._stopped:
            self._stopped = True
            self._channel.pause_reading()
        if self._look_again is None and not self._waits():
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
            if kind != Kind.INIT or wanted < VERSION:
                raise BadMessage(f"version {VERSION} is spoken here, not {wanted}")
            self._begun = True
            self._answer(version(OFFERED))
            return
        number = reader.u32()
        self._context.export.traffic.requests += 1
        reply = answer(self._context, kind, number, reader)
        if reply is not None:
            self._answer(reply)

    def _deliver(self, reply: bytes | bytearray) -> None:
        """An answer that comes later: it goes with others that come at the same time."""
        self._answer(reply)
        if not self._flush_due:
            self._flush_due = True
            self._loop.call_soon(self._flush)
