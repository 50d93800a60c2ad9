"""A TCP proxy between womm and the API server that cuts, freezes and half-closes connections.

TLS passes through: the API server's certificate is also for 127.0.0.1, where this listens.
"""

import asyncio
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import yaml

from tests.serving import serving


class Proxy:
    """Runs in a thread of its own; its methods are for other threads."""

    def __init__(self, host: str, port: int, chance: random.Random) -> None:
        self.port = 0
        self.connections = 0
        self.cuts = 0
        self._to = (host, port)
        self._chance = chance
        self._loop = asyncio.new_event_loop()
        self._open = asyncio.Event()
        self._open.set()
        self._pairs: list[tuple[asyncio.StreamWriter, asyncio.StreamWriter]] = []

    def cut(self, share: float = 1.0) -> None:
        """Reset connections on both sides; bytes on their way are lost."""
        self._call(lambda: self._end(share, (0, 1)))

    def cut_half(self, share: float = 1.0) -> None:
        """Reset one side of connections: the other one believes that they stand."""
        self._call(lambda: self._end(share, (self._chance.randrange(2),)))

    def freeze(self) -> None:
        """Let no byte pass; connections stay, and new ones are taken."""
        self._call(self._open.clear)

    def thaw(self) -> None:
        self._call(self._open.set)

    def _call(self, function: Callable[[], object]) -> None:
        done = threading.Event()

        def call() -> None:
            function()
            done.set()

        self._loop.call_soon_threadsafe(call)
        assert done.wait(10)

    def _end(self, share: float, sides: tuple[int, ...]) -> None:
        for pair in list(self._pairs):
            if self._chance.random() < share:
                self.cuts += 1
                for side in sides:
                    pair[side].transport.abort()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            far_reader, far_writer = await asyncio.open_connection(*self._to)
        except OSError:
            writer.transport.abort()
            return
        pair = (writer, far_writer)
        self._pairs.append(pair)
        try:
            await asyncio.gather(self._pump(reader, far_writer), self._pump(far_reader, writer))
        finally:
            self._pairs.remove(pair)
            for end in pair:
                end.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                await self._open.wait()
                writer.write(data)
                await writer.drain()
        if not writer.is_closing():
            with suppress(OSError):
                writer.write_eof()


@contextmanager
def proxied(kubeconfig: Path, folder: Path, seed: int = 1) -> Iterator[tuple[Proxy, Path]]:
    """Give a proxy in front of the kubeconfig's API server, and a kubeconfig that leads to it."""
    config = yaml.safe_load(kubeconfig.read_text())
    (cluster,) = [named["cluster"] for named in config["clusters"]]
    host, _, port = cluster["server"].removeprefix("https://").partition(":")
    proxy = Proxy(host, int(port), random.Random(seed))
    with serving(proxy._loop, proxy._accept) as proxy.port:
        cluster["server"] = f"https://127.0.0.1:{proxy.port}"
        path = folder / "proxied.kubeconfig"
        path.write_text(yaml.safe_dump(config))
        yield proxy, path
