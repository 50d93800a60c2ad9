"""An exec as a transport, against a real WebSocket server that plays the API server."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from womm.cluster.kubernetes.channel import CLOSE, ERROR, MESSAGE_BYTES, STDERR, STDIN, STDOUT, ExecTransport

Server = Callable[[web.WebSocketResponse], Awaitable[None]]


class Plain(asyncio.Protocol):
    def __init__(self) -> None:
        self.heard = b""
        self.ended: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()

    def data_received(self, data: bytes) -> None:
        self.heard += data

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended.set_result(exc)


class Buffered(asyncio.BufferedProtocol):
    """With a buffer smaller than what comes."""

    def __init__(self) -> None:
        self.heard = b""
        self.ended: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()
        self._buffer = bytearray(7)

    def get_buffer(self, sizehint: int) -> bytearray:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.heard += self._buffer[:nbytes]

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended.set_result(exc)


@asynccontextmanager
async def served(serve: Server) -> AsyncIterator[Any]:
    """Run `serve` at the far end; give the near one."""

    async def handle(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(max_msg_size=0)
        await socket.prepare(request)
        await serve(socket)
        return socket

    application = web.Application()
    application.router.add_get("/", handle)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        async with aiohttp.ClientSession() as session:
            yield await session.ws_connect(f"ws://{host}:{port}/")
    finally:
        await runner.cleanup()


@pytest.mark.parametrize("kind", [Plain, Buffered])
async def test_stdout_is_fed_in_order_and_the_last_words_are_the_reason(kind: Any) -> None:
    async def serve(socket: web.WebSocketResponse) -> None:
        for message in (b"one ", b"", b"two " * 10, b"three"):
            await socket.send_bytes(bytes([STDOUT]) + message)
        await socket.send_bytes(bytes([STDERR]) + b"womm bridge: no ")
        await socket.send_bytes(bytes([STDERR]) + b"agent\n")
        await socket.send_bytes(bytes([CLOSE, STDOUT]))
        status = {"status": "Failure", "message": "exit 1"}
        await socket.send_bytes(bytes([ERROR]) + json.dumps(status).encode())
        await socket.close()

    async with served(serve) as socket:
        protocol = kind()
        ExecTransport(socket, protocol)
        error = await asyncio.wait_for(protocol.ended, 30)
        assert protocol.heard == b"one " + b"two " * 10 + b"three"
        assert str(error) == "womm bridge: no agent"


@pytest.mark.parametrize(
    "status, words",
    [
        (b'{"status": "Success"}', "None"),
        (b'{"status": "Failure", "message": "container not found"}', "container not found"),
        (
            b'{"status": "Failure", "message": "Internal error occurred: error sending request: Post'
            b' \\"https://10.0.0.2:10250/exec/ns/pod?command=perl\\": dial tcp 10.0.0.2:10250: i/o timeout"}',
            "dial tcp 10.0.0.2:10250: i/o timeout",
        ),
        (b"not JSON", "not JSON"),
        (b"[]", "[]"),
        (b"\xff", "\N{REPLACEMENT CHARACTER}"),
        (b"", ""),
    ],
)
async def test_status_of_the_runtime_is_the_reason_where_the_command_said_nothing(
    status: bytes, words: str
) -> None:
    async def serve(socket: web.WebSocketResponse) -> None:
        await socket.send_bytes(bytes([ERROR]) + status)
        await socket.close()

    async with served(serve) as socket:
        protocol = Plain()
        ExecTransport(socket, protocol)
        error = await asyncio.wait_for(protocol.ended, 30)
        assert str(error) in {words, "None"}


async def test_messages_of_strange_shapes_are_passed_over() -> None:
    async def serve(socket: web.WebSocketResponse) -> None:
        for message in (b"", bytes([77]) + b"x", bytes([STDIN]) + b"x", bytes([CLOSE])):
            await socket.send_bytes(message)
        await socket.send_str("text")
        await socket.send_bytes(bytes([STDOUT]) + b"fine")
        await socket.close()

    async with served(serve) as socket:
        protocol = Plain()
        ExecTransport(socket, protocol)
        await asyncio.wait_for(protocol.ended, 30)
        assert protocol.heard == b"fine"


async def test_what_is_written_arrives_in_order_on_stdin_in_messages_of_bounded_size() -> None:
    data = bytes(range(256)) * 2000
    got: list[bytes] = []

    async def serve(socket: web.WebSocketResponse) -> None:
        while sum(len(message) - 1 for message in got) < len(data):
            got.append(await socket.receive_bytes())
        await socket.close()

    async with served(serve) as socket:
        protocol = Plain()
        transport = ExecTransport(socket, protocol)
        for at in range(0, len(data), 100_001):
            transport.write(data[at : at + 100_001])
        await asyncio.wait_for(protocol.ended, 30)
        transport.write(b"too late")
        assert b"".join(message[1:] for message in got) == data
        assert {message[0] for message in got} == {STDIN}
        assert max(map(len, got)) <= MESSAGE_BYTES + 1


@pytest.mark.parametrize("when", ["at once", "later", "twice"])
async def test_abort_is_told_and_closes_the_connection_whenever_it_comes(when: str) -> None:
    """At once: before the reader has had its first turn."""
    gone: list[bool] = []

    async def serve(socket: web.WebSocketResponse) -> None:
        async for _ in socket:
            pass
        gone.append(True)

    async with served(serve) as socket:
        protocol = Plain()
        transport = ExecTransport(socket, protocol)
        if when != "at once":
            await asyncio.sleep(0.05)
        transport.abort()
        if when == "twice":
            transport.abort()
        assert transport.is_closing()
        await asyncio.wait_for(protocol.ended, 30)
        async with asyncio.timeout(30):
            while not gone:
                await asyncio.sleep(0.01)


async def test_write_to_a_connection_that_is_lost_already_is_told() -> None:
    """The writer's first turn comes before the reader's: it must not silence it."""

    async def serve(socket: web.WebSocketResponse) -> None:
        assert socket._req is not None
        assert socket._req.transport is not None
        socket._req.transport.abort()

    async with served(serve) as socket:
        async with asyncio.timeout(30):
            while not socket.closed and not _is_lost(socket):
                await asyncio.sleep(0.01)
        protocol = Plain()
        transport = ExecTransport(socket, protocol)
        transport.write(b"hello")
        await asyncio.wait_for(protocol.ended, 30)
        await asyncio.sleep(0)


async def test_writer_is_paused_while_the_other_side_does_not_read() -> None:
    """And goes on when it does: with a limit set, memory is bounded by it."""
    may_read = asyncio.Event()
    got = 0

    async def serve(socket: web.WebSocketResponse) -> None:
        nonlocal got
        await may_read.wait()
        while got < 40_000_000:
            got += len(await socket.receive_bytes()) - 1
        await socket.close()

    class Paused(Plain):
        paused = False
        pauses = 0

        def pause_writing(self) -> None:
            self.paused = True
            self.pauses += 1

        def resume_writing(self) -> None:
            self.paused = False

    async with served(serve) as socket:
        protocol = Paused()
        transport = ExecTransport(socket, protocol)
        transport.set_write_buffer_limits(high=1_000_000)
        sent = 0
        most = 0
        while sent < 40_000_000:
            if not protocol.paused:
                transport.write(b"x" * 100_000)
                sent += 100_000
            elif sent < 39_000_000:
                may_read.set()
            most = max(most, transport.get_write_buffer_size())
            await asyncio.sleep(0)
        await asyncio.wait_for(protocol.ended, 30)
        assert got == 40_000_000
        assert most <= 1_100_000 and protocol.pauses > 0
        assert transport.get_write_buffer_size() == 0


async def test_nothing_is_fed_to_a_protocol_that_has_paused_reading() -> None:
    """One message may be on its way."""

    async def serve(socket: web.WebSocketResponse) -> None:
        for _ in range(200):
            await socket.send_bytes(bytes([STDOUT]) + b"x" * 1000)
        await socket.close()

    class Pausing(Plain):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            assert isinstance(transport, ExecTransport)
            self.transport = transport

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if len(self.heard) == 5000:
                self.transport.pause_reading()

    async with served(serve) as socket:
        protocol = Pausing()
        transport = ExecTransport(socket, protocol)
        async with asyncio.timeout(30):
            while transport.is_reading():
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)
        assert len(protocol.heard) == 5000 and not protocol.ended.done()
        transport.resume_reading()
        await asyncio.wait_for(protocol.ended, 30)
        assert len(protocol.heard) == 200_000


def _is_lost(socket: aiohttp.ClientWebSocketResponse) -> bool:
    transport = socket.get_extra_info("ssl_object", None)
    connection = socket._response.connection
    return transport is None and (connection is None or connection.transport is None)
