"""Sockets in the place of an engine's: one leads there until it is cut, one has answers of its own."""

import json
import select
import socket
import socketserver
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any


@dataclass
class Wire:
    """Leads to an engine."""

    host: str
    """As in DOCKER_HOST."""
    _ends: list[socket.socket] = field(default_factory=list)
    is_cut: bool = False

    def cut(self) -> None:
        """Break off what is open, and each new connection at once: the engine has died.

        It goes on listening: where nobody listens, docker's library forgets to close a socket.
        """
        self.is_cut = True
        for end in self._ends:
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:  # it has ended by itself
                pass


class _Server(socketserver.ThreadingUnixStreamServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """Clients end connections as they like."""


@contextmanager
def wire(folder: Path, host: str) -> Iterator[Wire]:
    """Give a socket in a folder that leads to an engine."""
    path = folder / "wire"
    one = Wire(f"unix://{path}")

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            if one.is_cut:
                return
            with socket.socket(socket.AF_UNIX) as there:
                there.connect(host.removeprefix("unix://"))
                one._ends.append(self.request)
                other = {self.request: there, there: self.request}
                while True:
                    for end in select.select(list(other), [], [])[0]:
                        data = end.recv(65536)
                        if not data:
                            return
                        other[end].sendall(data)

    with _serving(path, Handler):
        yield one


@contextmanager
def answering(folder: Path, answers: Mapping[str, Any]) -> Iterator[str]:
    """Give the address of an engine that answers each path, without its version, with a JSON value."""
    path = folder / "answering"

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = answers["/" + self.path.rpartition("/")[2]]
            data = json.dumps(found).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *args: object) -> None: ...

    with _serving(path, Handler):
        yield f"unix://{path}"


@contextmanager
def _serving(path: Path, handler: type[socketserver.BaseRequestHandler]) -> Iterator[None]:
    with _Server(str(path), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()
