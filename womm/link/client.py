"""The coordinator's end of a link: dials, pumps bytes, reconnects, gives up.

Seam for transports: a `Dial` makes one connection for an asyncio protocol. A local worker has a Unix socket,
a pod an exec stream. Any transport that carries bytes both ways will do, however often it is cut.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Protocol

from womm import words
from womm.background import Background
from womm.link.frames import BadFrame, FrameType, encode, encode_bye
from womm.link.session import Refused, Session

log = logging.getLogger(__name__)

Dial = Callable[[Callable[[], asyncio.BaseProtocol]], Awaitable[object]]
"""Connects a fresh protocol (made by the argument) to the agent; raises OSError when it cannot."""

PING_EVERY_S = 15.0
"""Under the 60 s after which proxies and load balancers begin to cut idle streams."""
SILENT_AFTER_S = 45.0
"""A connection without a byte for this long is dead: three pings have no answer."""
ACK_AFTER_S = 1.0
CONNECT_TIMEOUTS_S = (10.0, 20.0, 40.0)
"""For the first try, the second, and all others: more tries do not help a slow node."""
READ_BYTES = 262144
RETRY_DELAYS_S = (0.02, 0.1, 0.5, 1.0, 2.0, 5.0)


class Offline(OSError):
    """The way to all agents is closed. Nothing is known of this agent: the link goes on waiting."""


class LinkHandler(Protocol):
    """The owner of a link. The link calls it on the event loop; it must not block."""

    def link_up(self, link: "Link") -> None:
        """The agent answers, for the first time or again. Frames kept during the cut are on their way."""

    def link_cut(self, link: "Link", reason: str) -> None:
        """The connection is gone; the link goes on dialling. Nothing is lost yet."""

    def link_lost(self, link: "Link", reason: str) -> None:
        """The link gives up: it cannot reach this agent any more. No further calls follow."""

    def link_frame(self, link: "Link", kind: int, job: int, payload: memoryview | bytes) -> None:
        """One frame from the agent; `payload` is only valid during the call."""


# asyncio.timeout throughout, not wait_for: in Python 3.11 that one may swallow a cancellation.
class Link:
    """One session with one agent, over as many connections as it takes.

    `give_up_after_s` counts from the last cut (or from `start`), without the time in which the way
    was closed for all (see Offline). `before_write` is called before frames leave. Every method is for
    the event loop's thread. After `close` no handler method is called.
    """

    def __init__(
        self,
        name: str,
        dial: Dial,
        session_id: bytes,
        handler: LinkHandler,
        *,
        give_up_after_s: float = 60.0,
        before_write: Callable[[], None] | None = None,
    ) -> None:
        self.name = name
        self._dial = dial
        self._session = Session(session_id)
        self._handler = handler
        self._give_up_after_s = give_up_after_s
        self._before_write = before_write
        self._loop = asyncio.get_running_loop()
        self._connection: _Connection | None = None
        self._flush_due = False
        self._ack_timer: asyncio.TimerHandle | None = None
        self._background = Background()  # a bug in it ends the task: a dead link would hang its jobs
        self._closed = False

    def __repr__(self) -> str:
        return f"<Link {self.name} {self._session!r}>"

    @property
    def closed(self) -> bool:
        return self._closed

    @property
    def up(self) -> bool:
        return self._session.connected

    def start(self) -> None:
        self._background.spawn(self._run(), name=f"link {self.name}")

    def send(self, frame: bytes) -> None:
        """Queue one encoded frame. It reaches the agent as long as the link is not lost."""
        self._session.send(frame)
        self._flush_soon()

    async def bye(self, grace_s: int, timeout_s: float) -> None:
        """Ask the agent to end its jobs and itself, and wait for the connection to close."""
        connection = self._connection
        if connection is None or not self.up:
            return
        self.send(encode_bye(grace_s))
        self._closed = True
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await connection.gone.wait()

    async def drain(self, timeout_s: float) -> None:
        """Take the frames that an agent sent before it ended, until its connection closes."""
        if self._connection is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(timeout_s):
                    await self._connection.gone.wait()

    async def close(self) -> None:
        """Drop the connection and dial no more. The agent does not hear of it."""
        self._closed = True
        if self._ack_timer is not None:
            self._ack_timer.cancel()
        await self._background.close()
        if self._connection is not None:
            self._connection.abort()

    def cut(self) -> None:
        """Cut the present connection, as a network would. For tests and for a suspected half-open one."""
        if self._connection is not None:
            self._connection.abort()

    async def _run(self) -> None:
        attempt, timeouts, lost_at, reason = 0, 0, self._loop.time(), "never connected"
        while not self._closed:
            connection = _Connection(self)
            try:
                self._session.connection_made()
                limit_s = CONNECT_TIMEOUTS_S[min(timeouts, len(CONNECT_TIMEOUTS_S) - 1)]
                async with asyncio.timeout(limit_s):
                    await self._dial(lambda: connection)  # noqa: B023
                self._connection = connection
                if self._before_write is not None:
                    self._before_write()
                connection.write(self._session.data_to_send())
                async with asyncio.timeout(limit_s):
                    await connection.ready.wait()
                if self._session.connected:
                    attempt = timeouts = 0
                    await self._keep_alive(connection)
            except (TimeoutError, OSError) as exc:
                connection.reason = connection.reason or (words.cause(exc) if str(exc) else "no answer")
                timeouts += isinstance(exc, TimeoutError)
                if isinstance(exc, Offline):
                    lost_at = self._loop.time()
            was_up = self._session.connected
            self._session.connection_lost()
            self._connection = None
            connection.abort()
            if self.closed:
                return
            reason = connection.reason or "closed by the other side"
            log.debug("%s: connection gone: %s", self.name, reason)
            if was_up:
                lost_at = self._loop.time()
                self._handler.link_cut(self, reason)
            if connection.refused or self._loop.time() - lost_at >= self._give_up_after_s:
                self._handler.link_lost(self, reason)
                return
            await asyncio.sleep(RETRY_DELAYS_S[min(attempt, len(RETRY_DELAYS_S) - 1)])
            attempt += 1

    async def _keep_alive(self, connection: "_Connection") -> None:
        """Return when the connection is gone; ping it while it is idle."""
        while not connection.gone.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(PING_EVERY_S):
                    await connection.gone.wait()
                return
            silent_s = self._loop.time() - connection.last_heard
            if silent_s > SILENT_AFTER_S:
                connection.reason = f"no byte for {silent_s:.0f} s"
                return
            if silent_s >= PING_EVERY_S - 1:
                self.send(encode(FrameType.PING))

    def _flush_soon(self) -> None:
        """Write once per turn of the event loop, however many frames were sent in it."""
        if not self._flush_due and self._connection is not None:
            self._flush_due = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flush_due = False
        if self._connection is not None:
            data = self._session.data_to_send()
            if data:
                if self._before_write is not None:
                    self._before_write()
                self._connection.write(data)

    def _received(self, connection: "_Connection", data: memoryview) -> None:
        session, handler = self._session, self._handler
        if connection is not self._connection or self._closed:
            return
        connection.last_heard = self._loop.time()
        try:
            frames = session.receive_data(data)
            if not connection.ready.is_set():
                first = next(frames, None)
                if session.connected:
                    connection.ready.set()
                    handler.link_up(self)
                if first is not None:
                    handler.link_frame(self, *first)
            for kind, job, payload in frames:
                handler.link_frame(self, kind, job, payload)
        except (Refused, BadFrame) as exc:
            # Another connection helps neither: the decoder has lost its place.
            connection.refused = True
            connection.reason = str(exc)
            connection.abort()
            return
        if session.owes_ack and self._ack_timer is None:
            self._ack_timer = self._loop.call_later(ACK_AFTER_S, self._acknowledge)
        self._flush_soon()

    def _acknowledge(self) -> None:
        self._ack_timer = None
        if self._session.owes_ack:
            self._session.acknowledge()
            self._flush_soon()


class _Connection(asyncio.BufferedProtocol):
    """One connection of a link, from dialling to its end."""

    # One buffer for all reads of all connections: each read is taken whole before the next. It saves an
    # allocation for each read, and a quarter of a MiB for each worker.
    _buffer = bytearray(READ_BYTES)

    def __init__(self, link: Link) -> None:
        self._link = link
        self._transport: asyncio.Transport | None = None
        self.ready = asyncio.Event()  # the hello is done, or there will be none
        self.gone = asyncio.Event()
        self.reason = ""
        self.refused = False
        self.last_heard = asyncio.get_running_loop().time()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        # The jobs' stdin windows bound this; the session keeps the bytes anyway.
        transport.set_write_buffer_limits(high=1 << 30)

    def get_buffer(self, sizehint: int) -> bytearray:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        self._link._received(self, memoryview(self._buffer)[:nbytes])

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is not None and not self.reason:
            self.reason = words.cause(exc)
        self.gone.set()
        self.ready.set()

    def write(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()
