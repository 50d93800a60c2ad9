"""Which pod a task's file server is in, what is said of it, and the way to its socket."""

import asyncio
import io
from typing import Any

import pytest

from womm.cluster.kubernetes.channel import ExecTransport
from womm.cluster.kubernetes.file_server import GREETING, FileServerPods, greeted
from womm.cluster.kubernetes.manifests import Object
from womm.errors import ShareError

# ---- which pod it is in


def pod(name: str, **status: Any) -> Object:
    running = {"name": "fileserver", "restartCount": 0, "state": {"running": {}}}
    made = {"phase": "Running", "containerStatuses": [running], **status}
    return {"metadata": {"name": name}, "spec": {"nodeName": "n"}, "status": made}


READY = {"conditions": [{"type": "Ready", "status": "True"}]}


async def test_file_server_is_ready_when_its_pod_says_so() -> None:
    server = FileServerPods()
    assert server.reasons() == {"starting": ""}
    waiting = {"name": "fileserver", "state": {"waiting": {"reason": "ErrImagePull", "message": "no"}}}
    server.apply(pod("a", phase="Pending", containerStatuses=[waiting]))
    assert server.reasons() == {"ImagePullBackOff": "no"}
    server.apply(pod("a"))
    assert (server.pod, server.is_ready) == ("a", False)
    ready = asyncio.ensure_future(server.until_ready())
    await asyncio.sleep(0)
    assert not ready.done()
    server.apply(pod("a", **READY))
    await ready
    assert server.reasons() == {}


async def test_file_server_that_is_replaced_is_the_new_pod() -> None:
    server = FileServerPods()
    server.apply(pod("a", **READY))
    server.apply(leaving("a"))
    assert not server.is_ready
    server.remove("a")
    found = asyncio.ensure_future(server.live_pod())
    await asyncio.sleep(0)
    assert not found.done()
    server.replace([pod("b")])
    assert await found == "b"


def leaving(name: str) -> dict[str, Any]:
    found = pod(name, **READY)
    found["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    return found


async def test_file_server_that_moves_is_told_and_its_disk_asked_for_once_it_is_alone() -> None:
    server = FileServerPods()
    moves: list[tuple[str | None, bool]] = []
    server.when_it_moves(lambda goes: moves.append((server.staying, goes)))
    server.apply(pod("a", **READY))
    assert moves == []  # the first one
    server.apply(leaving("a"))
    assert moves == [(None, True)]
    alone = asyncio.ensure_future(server.live_pod(alone=True))
    await asyncio.sleep(0)
    assert not alone.done()
    assert await server.oldest_pod() == "a"
    server.apply(pod("b", **READY))
    assert moves == [(None, True), ("b", False)]
    assert (await server.live_pod(), await server.oldest_pod()) == ("b", "a")
    await asyncio.sleep(0)
    assert not alone.done()  # clients are still with the other one
    server.remove("a")
    assert await alone == "b"
    again = {"name": "fileserver", "restartCount": 1, "state": {"running": {}}}
    server.apply(pod("b", **READY, containerStatuses=[again]))
    assert len(moves) == 2  # its disk is still there
    server.replace([pod("c")])
    assert moves[2:] == [("c", False)]


async def test_file_server_that_was_removed_is_not_waited_for() -> None:
    server = FileServerPods()
    server.apply(pod("a", **READY))
    server.deployment_gone("removed by somebody")
    assert await server.live_pod() == "a"
    server.remove("a")
    with pytest.raises(ShareError, match="the file server is removed by somebody"):
        await server.live_pod()


# ---- the way to its socket


class Socket:
    """What an exec brings, as a websocket: stdout in pieces, then nothing until it is closed."""

    def __init__(self, *pieces: bytes, ends: bool = False) -> None:
        self._pieces = list(pieces)
        self._ends = ends
        self._response = io.BytesIO()  # something to close

    def __aiter__(self) -> "Socket":
        return self

    async def __anext__(self) -> Any:
        import aiohttp

        if self._pieces:
            return aiohttp.WSMessage(aiohttp.WSMsgType.BINARY, b"\x01" + self._pieces.pop(0), None)
        if self._ends:
            raise StopAsyncIteration
        await asyncio.Event().wait()

    async def close(self) -> None:
        pass


class Heard(asyncio.Protocol):
    def __init__(self) -> None:
        self.data = b""

    def data_received(self, data: bytes) -> None:
        self.data += data


@pytest.mark.parametrize(
    "pieces", [[GREETING + b"SSH"], [GREETING, b"SSH"], [GREETING[:3], GREETING[3:] + b"S", b"SH"]]
)
async def test_dial_hands_over_what_follows_the_greeting(pieces: list[bytes]) -> None:
    async def bridge(factory: Any) -> object:
        socket: Any = Socket(*pieces)
        return ExecTransport(socket, factory())

    transport = await greeted(bridge, Heard)
    protocol = transport._protocol
    assert isinstance(protocol, Heard)
    while protocol.data != b"SSH":
        await asyncio.sleep(0.001)
    transport.abort()
    await asyncio.sleep(0.01)


async def test_dial_of_a_bridge_that_finds_no_socket_fails_as_a_connection_does() -> None:
    for pieces in ([], [b"hello"]):

        async def bridge(factory: Any, pieces: list[bytes] = pieces) -> object:
            socket: Any = Socket(*pieces, ends=True)
            return ExecTransport(socket, factory())

        with pytest.raises(OSError, match="bridge"):
            await greeted(bridge, Heard)
    await asyncio.sleep(0.01)
