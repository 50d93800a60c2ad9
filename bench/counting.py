"""Plain HTTP in front of an API server that counts the requests which pass.

TLS is spoken to the API server, with the administrator's certificate; the coordinator that is measured
gets a kubeconfig without credentials.
"""

import asyncio
import base64
import re
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import yaml

from bench.kube import Unable
from tests.serving import serving

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_UPGRADE = re.compile(rb"\r\nupgrade: *websocket", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Request:
    method: str
    target: str

    @property
    def is_watch(self) -> bool:
        return "watch=1" in self.target

    def __str__(self) -> str:
        return f"{self.method} {self.target.partition('?')[0]}"


class CountingProxy:
    """Runs in a thread of its own. `requests` grows at its end."""

    def __init__(self, server: str, context: ssl.SSLContext) -> None:
        parts = urlsplit(server)
        assert parts.hostname is not None
        self._to = (parts.hostname, parts.port or 443)
        self._context = context
        self.requests: list[Request] = []

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(*self._to, ssl=self._context)
        back = asyncio.ensure_future(_pump(far_reader, writer))
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                method, target, _ = head.split(b" ", 2)
                self.requests.append(Request(method.decode(), target.decode()))
                far_writer.write(head)
                if _UPGRADE.search(head):
                    await _pump(reader, far_writer)
                    break
                if found := _LENGTH.search(head):
                    far_writer.write(await reader.readexactly(int(found[1])))
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            back.cancel()
            for end in (writer, far_writer):
                end.transport.abort()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    with suppress(OSError, NotImplementedError):
        writer.close()


@contextmanager
def counted(kubeconfig: Path, folder: Path) -> Iterator[tuple[CountingProxy, Path]]:
    """Give a proxy in front of the kubeconfig's API server, and a kubeconfig that leads to it.

    Raises Unable when it has no client certificate.
    """
    config = yaml.safe_load(kubeconfig.read_text())
    (cluster,) = [named["cluster"] for named in config["clusters"]]
    (user,) = [named["user"] for named in config["users"]]
    context = ssl.create_default_context(cadata=_content(cluster, "certificate-authority").decode())
    key = folder / "client.pem"
    key.touch(0o600)
    key.write_bytes(_content(user, "client-certificate") + b"\n" + _content(user, "client-key"))
    context.load_cert_chain(key)
    proxy = CountingProxy(cluster["server"], context)
    with serving(asyncio.new_event_loop(), proxy._accept) as port:
        for named in config["clusters"]:
            named["cluster"] = {"server": f"http://127.0.0.1:{port}"}
        for named in config["users"]:
            named["user"] = {}
        path = folder / "counted.kubeconfig"
        path.write_text(yaml.safe_dump(config))
        yield proxy, path


def _content(given: dict[str, str], name: str) -> bytes:
    if data := given.get(f"{name}-data"):
        return base64.b64decode(data)
    if path := given.get(name):
        return Path(path).read_bytes()
    raise Unable("requests are counted with a client certificate, which the kubeconfig does not have")
