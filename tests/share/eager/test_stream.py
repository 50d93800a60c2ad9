"""The eager share over an exec as Kubernetes has it: a real WebSocket, its channels, its last words."""

import asyncio
import json
import os
import sys
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
import pytest
from aiohttp import web

from tests.loop import run
from tests.share.eager.eagers import Rig, contents, snapshot
from womm.cluster.kubernetes.channel import ERROR, STDERR, STDOUT, ExecTransport
from womm.errors import ShareError
from womm.link.client import Dial
from womm.share.eager.connection import store_command
from womm.share.eager.stream import ExecDial

T = TypeVar("T")


async def serve_exec(request: web.Request) -> web.WebSocketResponse:
    """Run a command as a kubelet does: stdin, stdout and stderr as numbered messages, then a status."""
    socket = web.WebSocketResponse(max_msg_size=0)
    await socket.prepare(request)
    words = request.query.getall("command")
    pipe = asyncio.subprocess.PIPE
    try:
        process = await asyncio.create_subprocess_exec(*words, stdin=pipe, stdout=pipe, stderr=pipe)
    except OSError as exc:
        status = {"status": "Failure", "message": f"exec: {words[0]}: {exc.strerror}"}
        await socket.send_bytes(bytes([ERROR]) + json.dumps(status).encode())
        await socket.close()
        return socket
    assert process.stdin is not None and process.stdout is not None and process.stderr is not None
    stdin = process.stdin

    async def feed() -> None:
        async for message in socket:
            try:
                stdin.write(message.data[1:])
                await stdin.drain()
            except OSError:
                break
        stdin.close()

    async def tell(stream: asyncio.StreamReader, channel: int) -> None:
        while data := await stream.read(32768):
            await socket.send_bytes(bytes([channel]) + data)

    feeding = asyncio.ensure_future(feed())
    try:
        await asyncio.gather(tell(process.stdout, STDOUT), tell(process.stderr, STDERR))
    except OSError:
        stdin.close()
    code = await process.wait()
    done = {"status": "Success"} if code == 0 else {"status": "Failure", "message": f"exit code {code}"}
    if not socket.closed:
        await socket.send_bytes(bytes([ERROR]) + json.dumps(done).encode())
        await socket.close()
    feeding.cancel()
    await asyncio.gather(feeding, return_exceptions=True)
    return socket


def in_pod(work: Callable[[ExecDial], Coroutine[Any, Any, T]]) -> T:
    async def main() -> T:
        application = web.Application()
        application.router.add_get("/exec", serve_exec)
        runner = web.AppRunner(application, shutdown_timeout=5)
        await runner.setup()
        try:
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            host, port = runner.addresses[0][:2]
            async with aiohttp.ClientSession() as session:

                def exec_dial(command: Sequence[str]) -> Dial:
                    async def connect(factory: Callable[[], asyncio.BaseProtocol]) -> object:
                        query = [("command", word) for word in command]
                        url = f"ws://{host}:{port}/exec"
                        socket = await session.ws_connect(url, params=query, max_msg_size=0)
                        return ExecTransport(socket, factory())

                    return connect

                return await work(exec_dial)
        finally:
            await runner.cleanup()

    return run(main(), 60)


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


def test_push_and_pull_through_an_exec(rig: Rig) -> None:
    for number in range(50):
        (rig.folder / f"f{number}").write_bytes(os.urandom(number * 1000))
    (rig.folder / "big").write_bytes(os.urandom(20_000_000))
    share = rig.share()
    assert in_pod(share.push).files == 51
    assert snapshot(rig.store) == snapshot(rig.folder)
    (rig.store / "result").write_bytes(os.urandom(20_000_000))
    (rig.store / "f1").write_bytes(b"changed")
    assert set(in_pod(share.pull).brought) == {b"result", b"f1"}
    assert contents(rig.folder) == contents(rig.store)


def test_image_without_python_or_womm_is_named(rig: Rig) -> None:
    (rig.folder / "f").write_text("f")
    share = rig.share(python=("/no/python3",))
    with pytest.raises(ShareError, match=r"cannot be reached: exec: /no/python3: No such file"):
        in_pod(share.push)
    share = rig.share(command=store_command("/no/store", python=(sys.executable,)))
    with pytest.raises(ShareError, match=r"^the store: /no/store: No such file or directory$"):
        in_pod(share.push)
