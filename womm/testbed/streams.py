"""A program in the container and the connection to it: docker's `exec`, and how its bytes are framed.

Strategy: the docker library reads a started exec from the raw socket, but its HTTP reader may have taken the
program's first bytes already, together with the headers of the answer. So `Connection` begins with those. All
reads and writes are non-blocking and made for select(2): stdin and output go on side by side, since a program
that nobody reads stops reading, too.

Without a terminal, docker puts 8 bytes before each piece of output: which stream, and how long. With one, the
bytes are plain.
"""

import select
import socket
import ssl
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, Final

from womm.errors import ImageError
from womm.image.daemon import NOT_DONE, Daemon

STDOUT: Final = 1
STDERR: Final = 2
_HEADER: Final = struct.Struct(">BxxxL")
_READ_BYTES: Final = 1 << 16
_BLOCKED: Final = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
_FIRST_LOOK_S: Final = 0.005
_LAST_LOOK_S: Final = 0.5
Failed = Callable[[BaseException], ImageError]
"""Says in one line what an exception of the docker library means here."""


class Frames:
    """Takes output apart that docker has framed. It does no I/O."""

    def __init__(self) -> None:
        self._header = b""
        self._stream = 0
        self._left = 0

    @property
    def complete(self) -> bool:
        """Whether the last frame has come in full: output that ends elsewhere was cut."""
        return not self._left and not self._header

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """Yield which stream wrote what, in pieces as they come."""
        view = memoryview(data)
        while view:
            if not self._left:
                lacking = _HEADER.size - len(self._header)
                self._header += view[:lacking]
                view = view[lacking:]
                if len(self._header) < _HEADER.size:
                    return
                self._stream, self._left = _HEADER.unpack(self._header)
                self._header = b""
            piece = bytes(view[: self._left])
            view = view[len(piece) :]
            self._left -= len(piece)
            if piece:
                yield self._stream, piece


class Connection:
    """The raw bytes of a started exec, both ways. No method waits."""

    def __init__(self, raw: Any) -> None:
        """raw: what the docker library's `exec_start(..., socket=True)` returns."""
        self._raw = raw
        self._response = raw._response  # it closes the socket when it is collected
        self._socket: socket.socket = raw if isinstance(raw, socket.socket) else raw._sock
        self._socket.setblocking(False)
        self._head = self._came_with_headers()

    def _came_with_headers(self) -> bytes:
        reader = self._response.raw._fp.fp
        try:
            return bytes(reader.read(len(reader.peek())))
        except _BLOCKED:
            return b""

    def fileno(self) -> int:
        return self._socket.fileno()

    def receive(self) -> bytes | None:
        """Return what has come; empty: the end; None: nothing yet. Raises OSError."""
        if self._head:
            head, self._head = self._head, b""
            return head
        try:
            return self._socket.recv(_READ_BYTES)
        except _BLOCKED:
            return None

    @property
    def has_more(self) -> bool:
        """Whether there is something to receive that select(2) does not see."""
        return bool(self._head) or (isinstance(self._socket, ssl.SSLSocket) and self._socket.pending() > 0)

    def send(self, data: bytes | memoryview) -> int:
        """Return how many bytes were taken. A program that reads no more takes all of them."""
        try:
            return self._socket.send(data)
        except _BLOCKED:
            return 0
        except (BrokenPipeError, ConnectionResetError):
            return len(data)

    def end_input(self) -> None:
        """End the program's input. Over TLS nothing can: Python cannot close one direction."""
        if not isinstance(self._socket, ssl.SSLSocket):
            with suppress(OSError):  # the program has ended
                self._socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self._response.close()
        self._raw.close()
        self._socket.close()


class Process:
    """A program that runs in the container. Leaving its `with` closes the connection; it may still run."""

    def __init__(self, daemon: Daemon, exec_id: str, *, tty: bool, failed: Failed) -> None:
        """Start an exec that has been made. Raises ImageError."""
        self._api, self._id, self._failed = daemon.client.api, exec_id, failed
        self._frames = None if tty else Frames()
        try:
            self._connection = Connection(self._api.exec_start(exec_id, tty=tty, socket=True))
        except NOT_DONE as exc:
            raise failed(exc) from exc

    def __enter__(self) -> "Process":
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def fileno(self) -> int:
        """For select(2)."""
        return self._connection.fileno()

    def read(self) -> list[tuple[int, bytes]] | None:
        """Return what the program has written, by stream; None: its end. With a terminal all is STDOUT's.

        The list is empty when nothing has come: wait with select(2). Raises ImageError.
        """
        found: list[tuple[int, bytes]] = []
        while True:
            try:
                data = self._connection.receive()
            except OSError as exc:
                raise self._failed(exc) from exc
            if data is None:
                return found
            if not data:
                if self._frames is not None and not self._frames.complete:
                    raise self._failed(ConnectionResetError("its output was cut"))
                return found or None
            found += [(STDOUT, data)] if self._frames is None else self._frames.feed(data)
            if not self._connection.has_more:
                return found

    def send(self, data: bytes | memoryview) -> int:
        """Give the program input; return how many bytes were taken. Raises ImageError."""
        try:
            return self._connection.send(data)
        except OSError as exc:
            raise self._failed(exc) from exc

    def end_input(self) -> None:
        """The program's stdin ends here."""
        self._connection.end_input()

    def resize(self, rows: int, columns: int) -> None:
        """Give the program's terminal another size. Raises ImageError."""
        try:
            self._api.exec_resize(self._id, height=rows, width=columns)
        except NOT_DONE as exc:
            raise self._failed(exc) from exc

    def pump(self, data: bytes, take: Callable[[int, bytes], None]) -> None:
        """Give the program `data` as its input and pass its output on, until it ends. Raises ImageError.

        data: empty for a program without an input. take: gets the stream and a piece.
        """
        left, ended = memoryview(data), not data
        while (pieces := self.read()) is not None:
            for stream, piece in pieces:
                take(stream, piece)
            if left:
                left = left[self.send(left[:_READ_BYTES]) :]
            if not left and not ended:
                self.end_input()
                ended = True
            select.select([self], [self] if left else [], [])

    def wait(self) -> int:
        """Return the program's status once it has ended. Raises ImageError.

        The docker API has no call that waits for an exec. The output ends with the program, so the first look
        finds the status, unless the program has closed its output before.
        """
        pause_s = _FIRST_LOOK_S
        while True:
            try:
                found = self._api.exec_inspect(self._id)
            except NOT_DONE as exc:
                raise self._failed(exc) from exc
            if not found.get("Running") and found.get("ExitCode") is not None:
                return int(found["ExitCode"])
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, _LAST_LOOK_S)
