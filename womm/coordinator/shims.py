"""Where GNU parallel's jobs come in: a Unix socket on which each login shim hands over one job.

The shim sends `length (4 bytes), fields joined by NUL`, then frames `type (1), length (4), payload`:
1 stdin bytes, 2 end of stdin, 3 a signal. It gets frames of the same shape: 1 stdout bytes, 2 stderr
bytes, 3 take a stream back to where it began, 4 exit status and signal. See womm/worker/shim.pl.
"""

import asyncio
import logging
import struct
from collections.abc import Callable, Mapping
from pathlib import Path

from womm.coordinator.dispatch import Dispatcher
from womm.coordinator.job import STDERR, STDOUT, Outcome
from womm.link.frames import RunRequest

log = logging.getLogger(__name__)

_LENGTH = struct.Struct("!I")
_FRAME = struct.Struct("!BI")
_STDIN, _STDIN_END, _SIGNAL = 1, 2, 3
_TAKE_BACK, _EXIT = 3, 4
MAX_REQUEST = 8 << 20
"""A command is at most 128 KiB (Linux, one argument), an environment at most 6 MiB (a quarter of an
8 MiB stack and then some)."""
_SEQ = b"e=PARALLEL_SEQ="


class ShimServer:
    """Takes jobs from shims for a dispatcher.

    `engine_env` is the environment GNU parallel was started with: what a shim has beyond it belongs
    to the job. `live` says that GNU parallel shows output while the job runs, so that none of it can
    be taken back. `on_result` is called before GNU parallel
    can print anything of a job.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        *,
        engine_env: Mapping[bytes, bytes],
        live: bool,
        on_result: Callable[[], None] = lambda: None,
    ) -> None:
        self.dispatcher = dispatcher
        self.known_fields = {b"e=%b=%b" % item for item in engine_env.items()}
        self.live = live
        self.on_result = on_result
        self.pods_of_logins: Mapping[str, str] = {}
        """The pod of each login that a job must run in; jobs of other logins run anywhere."""
        self._server: asyncio.AbstractServer | None = None
        self.connections: set[_ShimConnection] = set()

    async def start(self, path: Path) -> None:
        """Listen at `path`, which must be shorter than 108 bytes and in a folder of ours alone."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_unix_server(lambda: _ShimConnection(self), str(path), backlog=1024)

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        for connection in list(self.connections):
            connection.abort()


class _ShimConnection(asyncio.Protocol):
    """One shim: one job. The dispatcher's JobSink."""

    def __init__(self, server: ShimServer) -> None:
        self._server = server
        self._dispatcher = server.dispatcher
        self._transport: asyncio.Transport | None = None
        self._input = b""
        self._job = 0
        self._start: dict[int, bool] = {}
        self._output: list[bytes] = []
        self._flush_due = False
        self._full = False
        self._ended = False
        self._loop = asyncio.get_running_loop()

    # ---- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.set_write_buffer_limits(high=1 << 20)
        self._server.connections.add(self)

    def data_received(self, data: bytes) -> None:
        self._input = self._input + data if self._input else data
        if not self._job:
            if len(self._input) < 4:
                return
            (length,) = _LENGTH.unpack_from(self._input)
            if length > MAX_REQUEST:
                self.abort()
                return
            if len(self._input) < 4 + length:
                return
            request, self._input = self._input[4 : 4 + length], self._input[4 + length :]
            self._submit(request)
        if self._input:
            self._take_frames()

    def pause_writing(self) -> None:
        self._full = True

    def resume_writing(self) -> None:
        self._full = False
        self._dispatcher.consumed(self._job)

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.connections.discard(self)
        if self._job and not self._ended:
            self._ended = True
            self._dispatcher.cancel(self._job)

    # ---- the request

    def _submit(self, request: bytes) -> None:
        command, login, stdin, nice, seq = b"", b"", False, 0, None
        env: dict[bytes, bytes] = {}
        known = self._server.known_fields
        for field in request.split(b"\0"):
            if field in known:
                continue
            kind, value = field[:2], field[2:]
            if kind == b"e=":
                name, _, value = value.partition(b"=")
                env[name] = value
            elif kind == b"c=":
                command = value
            elif kind == b"l=":
                login = value
            elif kind == b"i=":
                stdin = True
            elif kind == b"n=":
                nice = int(value)
            elif kind == b"o=":
                self._start[STDOUT] = value != b""
            elif kind == b"r=":
                self._start[STDERR] = value != b""
        if (number := env.get(b"PARALLEL_SEQ", b"")).isdigit():
            seq = int(number)
        if login:
            env.clear()  # GNU parallel's wrapper carries what belongs to the job
        run = RunRequest(command, env=env, stdin=stdin, nice=nice)
        pinned = self._server.pods_of_logins.get(login.decode()) if login else None
        self._job = self._dispatcher.submit(run, self, seq=seq, pinned=pinned)

    def _take_frames(self) -> None:
        view, at, end = memoryview(self._input), 0, len(self._input)
        room = True
        while end - at >= 5:
            kind, length = _FRAME.unpack_from(view, at)
            if end - at - 5 < length:
                break
            payload = view[at + 5 : at + 5 + length]
            at += 5 + length
            if kind == _STDIN:
                room = self._dispatcher.feed(self._job, payload)
            elif kind == _STDIN_END:
                self._dispatcher.feed_end(self._job)
            elif kind == _SIGNAL:
                self._dispatcher.signal(self._job, payload[0])
            else:
                self.abort()
                return
        self._input = bytes(view[at:])
        if not room and self._transport is not None:
            self._transport.pause_reading()

    # ---- JobSink

    def write(self, stream: int, data: bytes | memoryview) -> bool:
        if self._server.live:
            self._server.on_result()
        self._output.append(_FRAME.pack(stream, len(data)) + data)
        self._flush_soon()
        return not self._full

    def can_take_back(self, stream: int) -> bool:
        return not self._server.live and self._start.get(stream, False)

    def take_back(self, stream: int) -> None:
        self._output.append(_FRAME.pack(_TAKE_BACK, 1) + bytes([stream]))
        self._flush_soon()

    def resume_input(self) -> None:
        if self._transport is not None:
            self._transport.resume_reading()

    def ended(self, outcome: Outcome) -> None:
        self._ended = True
        self._server.on_result()
        self._output.append(_FRAME.pack(_EXIT, 2) + bytes([outcome.exit & 255, outcome.signal]))
        self._flush_soon()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def _flush_soon(self) -> None:
        """One write per turn of the event loop: a short job's output and end go together."""
        if not self._flush_due:
            self._flush_due = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flush_due = False
        if self._transport is None or self._transport.is_closing():
            self._output.clear()
            return
        self._transport.write(b"".join(self._output))
        self._output.clear()
        if self._ended and not self._full:
            self._transport.write_eof()
