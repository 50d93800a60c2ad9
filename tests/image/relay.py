"""A socket between womm and the tests' docker: an engine that can go away in the middle of things."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


class Relay(threading.Thread):
    """Passes the bytes of every connection on, both ways, until it is cut."""

    def __init__(self, path: Path, host: str) -> None:
        """Listen at `path` for the engine at `host`, as in DOCKER_HOST."""
        super().__init__()
        self.host = f"unix://{path}"
        self._behind = host.removeprefix("unix://")
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._ends: list[socket.socket] = []
        self._copiers: list[threading.Thread] = []
        self._is_cut = False

    def run(self) -> None:
        with suppress(OSError):  # it was closed
            while True:
                near, _ = self._listener.accept()
                if self._is_cut:
                    near.close()
                    continue
                far = socket.socket(socket.AF_UNIX)
                self._ends += [near, far]
                far.connect(self._behind)
                for one, other in ((near, far), (far, near)):
                    thread = threading.Thread(target=_copy, args=(one, other))
                    self._copiers.append(thread)
                    thread.start()

    def cut(self) -> None:
        """End all connections, and every new one at once.

        It goes on listening: when nobody listens, docker's library forgets a socket.
        """
        self._is_cut = True
        for end in self._ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self.cut()
        self._listener.shutdown(socket.SHUT_RDWR)
        self.join()
        self._listener.close()
        for thread in self._copiers:
            thread.join()
        for end in self._ends:
            end.close()


@contextmanager
def relayed(path: Path, host: str) -> Iterator[Relay]:
    relay = Relay(path, host)
    relay.start()
    try:
        yield relay
    finally:
        relay.close()


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
