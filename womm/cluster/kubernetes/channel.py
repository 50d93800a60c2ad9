"""A Kubernetes exec as an asyncio transport: the bytes of a link, one way stdin, the other stdout.

Source: the remotecommand protocol v5.channel.k8s.io (KEP-4006): each binary message begins with the
number of its channel.
"""

import asyncio
import json
import logging
import re
from collections import deque
from contextlib import suppress
from typing import Any, Final

import aiohttp

log = logging.getLogger(__name__)

STDIN, STDOUT, STDERR, ERROR, RESIZE, CLOSE = 0, 1, 2, 3, 4, 255
MESSAGE_BYTES: Final = 65536
_LAST_WORDS_BYTES: Final = 2000
_OF_THE_PROXY: Final = re.compile(r'^(Internal error occurred: )?error sending request: \w+ "[^"]*": ')
"""An API server that cannot reach a kubelet puts this before the reason: a URL of 300 characters."""


class ExecTransport(asyncio.Transport):
    """Feeds a protocol from an exec's stdout; what is written goes to its stdin.

    `connection_lost` gets an OSError with what the container runtime or the command said last. Bytes
    in flight when it is cut are lost, as with any connection: the link's session sends them again.
    """

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, protocol: asyncio.BaseProtocol) -> None:
        super().__init__()
        self._socket = socket
        self._protocol = protocol
        self._closing = False
        self._out: deque[bytes] = deque()
        self._out_bytes = 0
        self._limits: tuple[int, int] | None = None
        self._paused = False
        self._readable = asyncio.Event()
        self._readable.set()
        self._more = asyncio.Event()
        self._stderr = b""
        self._status = ""
        loop = asyncio.get_running_loop()
        protocol.connection_made(self)
        self._writer = loop.create_task(self._write(), name="exec writer")
        self._reader = loop.create_task(self._read(), name="exec reader")

    def __repr__(self) -> str:
        return f"<ExecTransport {'closing' if self._closing else 'open'}>"

    def write(self, data: Any) -> None:
        if not self._closing and data:
            self._out.append(bytes(data))
            self._out_bytes += len(data)
            self._more.set()
            if self._limits is not None and self._out_bytes > self._limits[1] and not self._paused:
                self._paused = True
                self._protocol.pause_writing()

    def set_protocol(self, protocol: asyncio.BaseProtocol, rest: bytes = b"") -> None:
        """Hand the connection over: what comes from now on is for this one, `rest` before it."""
        self._protocol = protocol
        protocol.connection_made(self)
        if rest:
            self._feed(memoryview(rest))

    def is_closing(self) -> bool:
        return self._closing

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Without a call there is no limit: a link's windows bound what is written."""
        if high is not None:
            self._limits = (high // 4 if low is None else low, high)

    def get_write_buffer_size(self) -> int:
        return self._out_bytes

    def pause_reading(self) -> None:
        self._readable.clear()

    def resume_reading(self) -> None:
        self._readable.set()

    def is_reading(self) -> bool:
        return self._readable.is_set() and not self._closing

    def close(self) -> None:
        self.abort()

    def abort(self) -> None:
        if not self._closing:
            self._closing = True
            self._writer.cancel()
            self._end_reading()

    async def _write(self) -> None:
        try:
            while True:
                await self._more.wait()
                self._more.clear()
                while self._out:
                    data = b"".join(self._out)
                    self._out.clear()
                    for at in range(0, len(data), MESSAGE_BYTES):
                        message = data[at : at + MESSAGE_BYTES]
                        await self._socket.send_bytes(b"\0" + message)
                        self._sent(len(message))
        except (aiohttp.ClientError, OSError, RuntimeError) as exc:
            log.debug("exec: cannot write: %r", exc)
            self._end_reading()

    def _sent(self, size: int) -> None:
        self._out_bytes -= size
        if self._paused and self._limits is not None and self._out_bytes <= self._limits[0]:
            self._paused = False
            self._protocol.resume_writing()

    def _end_reading(self) -> None:
        """Not before its first step: a task that is cancelled earlier ends without a word to anybody."""
        asyncio.get_running_loop().call_soon(self._reader.cancel)

    async def _read(self) -> None:
        """The one place where the connection ends."""
        error: Exception | None = None
        try:
            async for message in self._socket:
                if message.type is aiohttp.WSMsgType.BINARY:
                    self._received(message.data)
                elif message.type is aiohttp.WSMsgType.ERROR:
                    error = OSError(f"exec: {self._socket.exception()}")
                    break
                await self._readable.wait()
        except asyncio.CancelledError:
            pass
        except (aiohttp.ClientError, OSError) as exc:
            error = OSError(f"exec: {exc}")
        self._closing = True
        self._writer.cancel()
        words = self._stderr.decode(errors="replace").strip() or self._status
        self._protocol.connection_lost(OSError(words) if words else error)
        # A peer that is away would hold up the closing handshake: the TCP connection goes at once.
        try:
            with suppress(Exception):
                async with asyncio.timeout(1.0):
                    await self._socket.close()
        finally:
            # aiohttp leaves this to the garbage collector when the connection was lost.
            self._socket._response.close()

    def _received(self, data: bytes) -> None:
        channel = data[0] if data else CLOSE
        if channel == STDOUT:
            if len(data) > 1:
                self._feed(memoryview(data)[1:])
        elif channel == STDERR:
            self._stderr = (self._stderr + data[1:])[-_LAST_WORDS_BYTES:]
        elif channel == ERROR:
            self._status = _status_words(data[1:])

    def _feed(self, data: memoryview) -> None:
        protocol = self._protocol
        if isinstance(protocol, asyncio.BufferedProtocol):
            while data:
                buffer = memoryview(protocol.get_buffer(len(data)))
                size = min(len(buffer), len(data))
                buffer[:size] = data[:size]
                protocol.buffer_updated(size)
                data = data[size:]
        else:
            assert isinstance(protocol, asyncio.Protocol)
            protocol.data_received(bytes(data))


def _status_words(data: bytes) -> str:
    """The Status object that ends an exec; empty for success."""
    try:
        status = json.loads(data)
        message = "" if status.get("status") == "Success" else str(status.get("message", ""))
        return _OF_THE_PROXY.sub("", message)
    except (ValueError, AttributeError):
        return data.decode(errors="replace")[:_LAST_WORDS_BYTES]
