"""A TCP proxy that is a slow link: its bytes a second, its seconds there and back. A process of its own.

    python -m bench.slowlink HOST PORT
    python -m bench.slowlink /PATH/OF/A/UNIX/SOCKET 0

It prints its port. Each line of stdin is a JSON object, {"mb_per_s": 20, "round_trip_s": 0.05} (0: without
limit, without delay). The answer is the bytes that have passed so far: {"up": N, "down": N}. The limit
holds for each direction, over all connections. It ends at the end of stdin.

Strategy: it takes bytes no faster than the link has room for them, and gives them on half a round trip later.
So bytes that wait for room wait in the sender, as behind a modem with a short queue.
"""

import asyncio
import json
import socket
import sys
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import yaml

from bench.run import Place, Talk, talking

_CHUNK = 65536
_SOCKET_BYTES = 256 << 10
_WAITING_BYTES = 32 << 20
"""On the way at most: 640 MB/s at 50 ms."""
_SLACK_S = 0.002
"""Sleeping is no more exact than that: a later sleep is shorter when one was too long."""


class _Way:
    """A direction of the link."""

    def __init__(self) -> None:
        self.bytes = 0
        self.bytes_per_s = 0.0
        self.delay_s = 0.0
        self._free = 0.0

    async def pass_on(self, count: int) -> None:
        """Return when so many bytes have gone into the link."""
        self.bytes += count
        if not self.bytes_per_s:
            return
        now = asyncio.get_running_loop().time()
        self._free = max(self._free, now - _SLACK_S) + count / self.bytes_per_s
        if self._free > now:
            await asyncio.sleep(self._free - now)


class _Pump:
    """One direction of one connection."""

    def __init__(self, way: _Way, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._way, self._reader, self._writer = way, reader, writer
        self._line: deque[tuple[float, bytes]] = deque()
        self._waiting = 0
        self._changed = asyncio.Event()

    async def run(self) -> None:
        with suppress(OSError):
            await asyncio.gather(self._take(), self._give())

    async def _take(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                data = await self._reader.read(_CHUNK)
            except OSError:
                data = b""
            await self._way.pass_on(len(data))
            self._line.append((loop.time() + self._way.delay_s, data))
            self._waiting += len(data)
            self._changed.set()
            if not data:
                return
            while self._waiting > _WAITING_BYTES:
                await asyncio.sleep(_SLACK_S)

    async def _give(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            while not self._line:
                self._changed.clear()
                await self._changed.wait()
            due, data = self._line.popleft()
            self._waiting -= len(data)
            if due > loop.time():
                await asyncio.sleep(due - loop.time())
            if not data:
                self._writer.write_eof()
                return
            self._writer.write(data)
            await self._writer.drain()


async def serve(host: str, port: int) -> None:
    """Serve until stdin ends."""
    up, down = _Way(), _Way()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if host.startswith("/"):
                far_reader, far_writer = await asyncio.open_unix_connection(host)
            else:
                far_reader, far_writer = await asyncio.open_connection(host, port)
        except OSError:
            writer.transport.abort()
            return
        for end in (writer, *([] if host.startswith("/") else [far_writer])):
            end.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            await asyncio.gather(_Pump(up, reader, far_writer).run(), _Pump(down, far_reader, writer).run())
        finally:
            for end in (writer, far_writer):
                end.transport.abort()

    listener = socket.create_server(("127.0.0.1", 0))
    # Else the kernel's own buffers would hold seconds of a slow link.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SOCKET_BYTES)
    server = await asyncio.start_server(accept, sock=listener)
    print(json.dumps(listener.getsockname()[1]), flush=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        wanted = json.loads(line)
        for way in (up, down):
            way.bytes_per_s = wanted.get("mb_per_s", way.bytes_per_s / 1e6) * 1e6
            way.delay_s = wanted.get("round_trip_s", way.delay_s * 2) / 2
        print(json.dumps({"up": up.bytes, "down": down.bytes}), flush=True)
    server.close()


@dataclass(frozen=True, slots=True)
class SlowLink:
    """The link, and the kubeconfig that leads over it."""

    kubeconfig: Path
    _talk: Talk

    def set(self, *, mb_per_s: float = 0.0, round_trip_s: float = 0.0) -> None:
        self._talk.ask(json.dumps({"mb_per_s": mb_per_s, "round_trip_s": round_trip_s}))

    def passed(self) -> tuple[int, int]:
        """The bytes so far: from the user to the cluster, and back."""
        found = self._talk.ask("{}")
        return found["up"], found["down"]


@contextmanager
def slow_link(where: Place, kubeconfig: Path) -> Iterator[SlowLink]:
    """Put one between this machine and the kubeconfig's API server; at first it is as fast as it can be.

    TLS passes through: the test cluster's certificate is also for 127.0.0.1.
    """
    config = yaml.safe_load(kubeconfig.read_text())
    (cluster,) = [named["cluster"] for named in config["clusters"]]
    host, _, port = cluster["server"].removeprefix("https://").partition(":")
    with talking(where, [sys.executable, "-m", "bench.slowlink", host, port]) as talk:
        cluster["server"] = f"https://127.0.0.1:{talk.hear()}"
        path = where.folder / "slow.kubeconfig"
        path.write_text(yaml.safe_dump(config))
        yield SlowLink(path, talk)


if __name__ == "__main__":
    sys.exit(asyncio.run(serve(sys.argv[1], int(sys.argv[2]))))
