"""A registry of the tests' own on a free port, and a proxy before it: slow, cutting, refusing, counting."""

import base64
import http.client
import json
import os
import re
import shutil
import socketserver
import subprocess
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

START_S = 30.0
STOP_S = 10.0
USER, PASSWORD = "me", "right"
# bcrypt, the only one that docker-registry takes, with its smallest number of rounds.
_HTPASSWD = f"{USER}:$2b$04$79k4UWA3/udca7NcwHn1WOgc6GbcSeraqbTZxpt2FrdTKGLb1uumi\n"
_LISTENING = re.compile(r"listening on 127\.0\.0\.1:(\d+)")
_CHUNK = 65536


@dataclass(frozen=True, slots=True)
class Registry:
    host: str
    """As names of images begin."""

    def digest(self, repository: str, reference: str, *, login: bool = False) -> str:
        """Return the digest of an image, as the registry itself tells it."""
        request = urllib.request.Request(
            f"http://{self.host}/v2/{repository}/manifests/{reference}", method="HEAD"
        )
        kinds = ("docker.distribution.manifest.v2", "oci.image.manifest.v1", "oci.image.index.v1")
        request.add_header("Accept", ", ".join(f"application/vnd.{kind}+json" for kind in kinds))
        if login:
            request.add_header("Authorization", "Basic " + auth())
        with urllib.request.urlopen(request) as answer:
            return str(answer.headers["Docker-Content-Digest"])


def auth(password: str = PASSWORD) -> str:
    """Return the login as docker's configuration has it."""
    return base64.b64encode(f"{USER}:{password}".encode()).decode()


@contextmanager
def running(*, login: bool = False) -> Iterator[Registry]:
    """Start a registry, and remove it afterwards; login: it wants USER and PASSWORD."""
    if shutil.which("docker-registry") is None:
        pytest.skip("docker-registry is not here: scripts/install gets it on Debian")
    with tempfile.TemporaryDirectory(prefix="womm-r-", dir="/tmp") as name:
        folder = Path(name)
        (folder / "htpasswd").write_text(_HTPASSWD)
        config = {
            "version": 0.1,
            "log": {"level": "info", "accesslog": {"disabled": True}},
            "http": {"addr": "127.0.0.1:0"},
            "storage": {"filesystem": {"rootdirectory": f"{folder}/data"}, "delete": {"enabled": True}},
        }
        if login:
            config["auth"] = {"htpasswd": {"realm": "tests", "path": f"{folder}/htpasswd"}}
        (folder / "config").write_text(json.dumps(config))
        environ = {key: value for key, value in os.environ.items() if not key.startswith("OTEL_")}
        with open(folder / "log", "wb") as log:
            process = subprocess.Popen(
                ["docker-registry", "serve", folder / "config"], stdout=log, stderr=log, env=environ
            )
        try:
            yield Registry(f"127.0.0.1:{_port(process, folder / 'log')}")
        finally:
            process.terminate()
            process.wait(STOP_S)


def _port(process: "subprocess.Popen[bytes]", log: Path) -> int:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and process.poll() is None:
        if found := _LISTENING.search(log.read_text()):
            return int(found[1])
        time.sleep(0.02)
    raise RuntimeError("docker-registry does not start:\n" + log.read_text()[-2000:])


@dataclass
class Proxy:
    """What stands before a registry; its fields say what it does to the next requests."""

    registry: Registry
    host: str = ""
    """As names of images begin."""
    answers: dict[str, tuple[int, str, str]] = field(default_factory=dict)
    """HTTP method: status and body of the answer, and what the path of a request must hold."""
    bytes_s: float = 0.0
    """How fast blobs are sent; 0: as fast as they come."""
    cut_after: int = 0
    """Break the connection off after so many bytes of blobs, once; 0: never."""
    _hold_after: int = 0
    _going: threading.Event = field(default_factory=threading.Event)
    uploaded: int = 0
    """Bytes of blobs that have been sent."""
    requests: list[tuple[str, str]] = field(default_factory=list)
    moved: threading.Condition = field(default_factory=threading.Condition)
    """Notified when bytes have come."""

    def count(self, size: int) -> None:
        """Note bytes of a blob; wait as the fields say. Raises ConnectionError when it cuts here."""
        with self.moved:
            self.uploaded += size
            self.moved.notify_all()
        if self.bytes_s:
            time.sleep(size / self.bytes_s)
        if self.cut_after and self.uploaded >= self.cut_after:
            self.cut_after = 0
            raise ConnectionAbortedError
        if self._hold_after and self.uploaded >= self._hold_after:
            self._going.wait(START_S)

    def refuse(self, method: str, status: int, body: str = "", path: str = "") -> None:
        """Answer the requests whose path holds `path`, instead of passing them on."""
        self.answers[method] = (status, body, path)

    def hold_after(self, size: int) -> None:
        """Hold blobs back after so many bytes, until go_on."""
        self._hold_after = size

    def go_on(self) -> None:
        self._hold_after = 0
        self._going.set()

    def wait_for(self, size: int) -> None:
        """Wait until so many bytes have come."""
        with self.moved:
            assert self.moved.wait_for(lambda: self.uploaded >= size, START_S), self.uploaded

    def pushed(self) -> list[str]:
        """Return the paths of the manifests that were pushed."""
        return [path for method, path in self.requests if method == "PUT" and "/manifests/" in path]


class _Server(socketserver.ThreadingMixIn, HTTPServer):
    proxy: Proxy

    def handle_error(self, request: object, client_address: object) -> None:
        """The engine ends connections as it likes."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, *args: object) -> None: ...

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer what is no HTTP: engines try TLS first, and know by the first word that there is none."""
        self.close_connection = True
        self.wfile.write(f"HTTP/1.1 {int(code)} no\r\nConnection: close\r\n\r\n".encode())

    def _pass(self) -> None:
        proxy = self.server.proxy
        proxy.requests.append((self.command, self.path))
        status, body, path = proxy.answers.get(self.command, (0, "", ""))
        if status and path in self.path:
            self._refuse(status, body.encode())
            return
        behind = http.client.HTTPConnection(proxy.registry.host, timeout=START_S)
        try:
            is_blob = self.command in {"PATCH", "PUT"} and "/blobs/" in self.path
            dropped = {"transfer-encoding", "content-length", "connection"}
            names = {name.lower() for name in self.headers} - dropped
            headers = {name: ", ".join(self.headers.get_all(name, ())) for name in names}
            chunked = self.headers.get("Transfer-Encoding") == "chunked"
            if not chunked:
                headers["Content-Length"] = self.headers.get("Content-Length", "0")
            try:
                behind.request(self.command, self.path, self._body(is_blob), headers, encode_chunked=chunked)
                answer = behind.getresponse()
                data = answer.read()
            except ConnectionError:
                self.close_connection = True
                return
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in {"content-length", "transfer-encoding", "date", "connection"}:
                    self.send_header(name, value)
            length = answer.getheader("Content-Length") if self.command == "HEAD" else str(len(data))
            self.send_header("Content-Length", length or "0")
            self.end_headers()
            self.wfile.write(data)
        finally:
            behind.close()

    def _refuse(self, status: int, body: bytes) -> None:
        self.close_connection = True  # the body of the request has not been read
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _pass

    def _body(self, is_blob: bool) -> Iterator[bytes]:
        for data in self._chunks():
            if is_blob:
                self.server.proxy.count(len(data))
            yield data

    def _chunks(self) -> Iterator[bytes]:
        if self.headers.get("Transfer-Encoding") == "chunked":
            while size := int(self.rfile.readline().split(b";")[0] or b"0", 16):
                yield self._exactly(size)
                self.rfile.readline()
            self.rfile.readline()
            return
        left = int(self.headers.get("Content-Length", "0"))
        while left:
            data = self._exactly(min(left, _CHUNK))
            left -= len(data)
            yield data

    def _exactly(self, size: int) -> bytes:
        data = self.rfile.read(size)
        if len(data) < size:
            raise ConnectionAbortedError
        return data


@contextmanager
def proxied(registry: Registry) -> Iterator[Proxy]:
    """Put a proxy before a registry."""
    with _Server(("127.0.0.1", 0), _Handler) as server:
        proxy = server.proxy = Proxy(registry, f"127.0.0.1:{server.server_address[1]}")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield proxy
        finally:
            proxy.go_on()
            server.shutdown()
            thread.join()
