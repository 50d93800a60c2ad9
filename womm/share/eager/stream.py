"""A stream into the pod for code that runs in a thread, and a store on this machine.

Reading and writing 50,000 files is blocking work: it is done in a thread, while the event loop carries
the bytes. Neither side runs ahead of the other by more than a few MiB.
"""

import asyncio
import signal
import socket
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Final, TypeVar

from womm.link.client import Dial

ExecDial = Callable[[Sequence[str]], Dial]
"""Returns the dial that runs a command beside the store and connects to its stdin and stdout."""

T = TypeVar("T")

WINDOW_BYTES: Final = 4 << 20
"""A gigabit with a round trip of 30 ms has as much on its way."""


class Cut(OSError):
    """The stream ended before the conversation did: another one may go on."""


class Stopped(Exception):
    """Raised in a thread whose work was cancelled."""


class PodStream(asyncio.Protocol):
    """One connection: `send` and `receive` are for one thread, the rest for the event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._changed = threading.Condition()
        self._heard: deque[bytes] = deque()
        self._heard_bytes = 0
        self._queued = 0
        self._paused = False
        self._reading = True
        self._ended = False
        self.stopped = False
        self.reason = ""

    def __repr__(self) -> str:
        return f"<PodStream {'ended' if self._ended else 'open'} {self.reason}>"

    # -- the event loop's
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.set_write_buffer_limits(high=WINDOW_BYTES)

    def data_received(self, data: bytes) -> None:
        with self._changed:
            self._heard.append(data)
            self._heard_bytes += len(data)
            if self._heard_bytes > WINDOW_BYTES and self._reading:
                self._reading = False
                self._pause_reading()
            self._changed.notify_all()

    def connection_lost(self, exc: Exception | None) -> None:
        with self._changed:
            if exc is not None:
                self.reason = self.reason or str(exc)
            self._ended = True
            self._changed.notify_all()

    def pause_writing(self) -> None:
        with self._changed:
            self._paused = True

    def resume_writing(self) -> None:
        with self._changed:
            self._paused = False
            self._changed.notify_all()

    def abort(self) -> None:
        """End it: a thread that sends or receives gets Stopped."""
        with self._changed:
            self.stopped = True
            self._changed.notify_all()
        if self._transport is not None:
            self._transport.abort()

    def _pause_reading(self) -> None:
        # A transport that cannot pause keeps what comes in memory.
        if self._transport is not None and not self._ended:
            with suppress(NotImplementedError):
                self._transport.pause_reading()

    def _resume_reading(self) -> None:
        if self._transport is not None and not self._ended:
            with suppress(NotImplementedError):
                self._transport.resume_reading()

    def _write(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)
        with self._changed:
            self._queued -= len(data)
            self._changed.notify_all()

    # -- the thread's
    def send(self, data: bytes) -> None:
        """Raises Cut when the other side is gone; its last words can still be received."""
        with self._changed:
            while (self._paused or self._queued > WINDOW_BYTES) and not self._ended:
                self._check()
                self._changed.wait()
            self._check()
            if self._ended:
                raise Cut(self.reason or "the connection to the store was cut")
            self._queued += len(data)
        self._loop.call_soon_threadsafe(self._write, data)

    def receive(self, count: int) -> bytes:
        """Return some bytes, at least one; b"" at the end."""
        with self._changed:
            while not self._heard and not self._ended:
                self._check()
                self._changed.wait()
            self._check()
            if not self._heard:
                return b""
            data = self._heard.popleft() if len(self._heard) == 1 else b"".join(self._heard)
            self._heard.clear()
            self._heard_bytes = 0
            if not self._reading:
                self._reading = True
                self._loop.call_soon_threadsafe(self._resume_reading)
            return data

    @property
    def heard(self) -> bool:
        """Would `receive` return at once?"""
        return bool(self._heard) or self._ended

    def check(self) -> None:
        """Raise Stopped if the work was cancelled."""
        if self.stopped:
            raise Stopped

    _check = check


async def in_thread(work: Callable[[], T], stop: Callable[[], None]) -> T:
    """Run blocking work. When this is cancelled, `stop` is called and the work's end is waited for."""
    with ThreadPoolExecutor(1, "womm-share") as pool:
        future = asyncio.get_running_loop().run_in_executor(pool, work)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            stop()
            with suppress(Exception):
                await asyncio.wait([future])
            if not future.cancelled():
                future.exception()
            raise


async def converse(dial: Dial, work: Callable[[PodStream], T], timeout_s: float | None = None) -> T:
    """Connect and run `work` in a thread. Raises OSError when there is no connection, TimeoutError when the
    work takes longer."""
    stream = PodStream(asyncio.get_running_loop())
    try:
        await dial(lambda: stream)
        async with asyncio.timeout(timeout_s):
            return await in_thread(lambda: work(stream), stream.abort)
    finally:
        stream.abort()


class LocalStore:
    """Runs a store's commands on this machine: for tests and benchmarks, and where the store is here.

    An asynchronous context; at its end no process of it is left.
    """

    def __init__(self) -> None:
        self._processes: set[subprocess.Popen[bytes]] = set()

    async def __aenter__(self) -> "LocalStore":
        return self

    async def __aexit__(self, *exc: object) -> None:
        for process in self._processes:
            with suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
        for process in self._processes:
            await asyncio.to_thread(process.wait)

    def exec_dial(self, command: Sequence[str]) -> Dial:
        async def connect(factory: Callable[[], asyncio.BaseProtocol]) -> object:
            for process in [one for one in self._processes if one.poll() is not None]:
                self._processes.discard(process)
            ours, theirs = socket.socketpair()
            try:
                for end in (ours, theirs):
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
                with theirs:
                    self._processes.add(
                        subprocess.Popen(
                            list(command),
                            stdin=theirs.fileno(),
                            stdout=theirs.fileno(),
                            start_new_session=True,
                        )
                    )
                transport, _ = await asyncio.get_running_loop().create_connection(factory, sock=ours)
            except BaseException:
                ours.close()
                raise
            return transport

        return connect
