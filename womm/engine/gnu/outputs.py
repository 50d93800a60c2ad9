"""Where a job's output goes: an open file of GNU parallel's, or a pipe or terminal, perhaps the user's."""

import asyncio
import errno
import fcntl
import os
import signal
import socket
import stat
from collections.abc import Callable

from womm.dispatch.job import Outcome
from womm.dispatch.outcomes import POISON_STATUS

HIGH_WATER, LOW_WATER = 1 << 20, 1 << 18
"""Bytes that may wait for a reader before its job is held up, and from which on it goes on."""
_SHOWS_FILES = os.path.isdir("/proc/self/fd")
_PIPE_BUF = 4096
"""A pipe that can be written takes so many bytes at once (pipe(7))."""


class JobFile:
    """A regular file in which GNU parallel keeps a job's output: its own, or one of --results.

    The output begins at `start`, where the file's position is; the descriptor belongs to this object. `size`
    is the file's.
    """

    __slots__ = ("_ends_here", "fd", "start")

    def __init__(self, fd: int, start: int, size: int) -> None:
        self.fd = fd
        self.start = start
        self._ends_here = size == start

    def write(self, data: bytes | memoryview) -> None:
        """Raises OSError."""
        self._ends_here = False
        written = os.write(self.fd, data)
        if written < len(data):
            view = memoryview(data)[written:]
            while view:
                view = view[os.write(self.fd, view) :]

    def take_back(self) -> None:
        """Undo all output."""
        os.ftruncate(self.fd, self.start)
        os.lseek(self.fd, self.start, os.SEEK_SET)
        self._ends_here = True

    def path(self) -> bytes | None:
        """Path to append to by which a process of this machine writes the file, if there is one."""
        if not _SHOWS_FILES or not self._ends_here:
            return None
        self._ends_here = False
        return b"/proc/%d/fd/%d" % (os.getpid(), self.fd)

    def read_back(self, size_bytes: int) -> bytes:
        """Return the beginning of the output; nothing if it cannot be read."""
        try:  # not the file as it is open here: GNU parallel may have it open for writing only
            again = os.open(f"/proc/self/fd/{self.fd}", os.O_RDONLY)
        except OSError:
            return b""
        try:
            return os.pread(again, size_bytes, self.start)
        except OSError:
            return b""
        finally:
            os.close(again)

    def close(self) -> None:
        os.close(self.fd)


class Stream:
    """A pipe, terminal or socket that takes a job's output as fast as somebody reads it. Never blocks.

    Others have it open, too, so its own flags stay as they are: a pipe or terminal is opened once more, by
    its path in /proc. on_room: called when `write` had returned False and there is room again. on_error:
    called once when it cannot be written any more. Neither is called within a call of this object.
    """

    def __init__(self, fd: int, on_room: Callable[[], None], on_error: Callable[[OSError], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._socket: socket.socket | None = None
        self._opened = False
        self._fd = self._open(fd)
        self._waiting = bytearray()
        self._full = False
        self._watched = False
        self.error: OSError | None = None
        """Why it cannot be written any more."""
        self._on_room = on_room
        self._on_error = on_error
        self._on_empty: Callable[[], None] | None = None

    def _open(self, fd: int) -> int:
        """Return the descriptor to write to, and take over `fd`."""
        if stat.S_ISSOCK(os.fstat(fd).st_mode):
            self._socket = socket.socket(fileno=fd)
            return fd
        if fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
            self._opened = True  # a stdout that was closed: to write says so, and opened again it would not
            return fd
        try:
            again = os.open(f"/proc/self/fd/{fd}", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_APPEND)
        except OSError:  # another user's terminal, say
            return fd
        os.close(fd)
        self._opened = True
        return again

    def write(self, data: bytes | memoryview) -> bool:
        """Write, now or later. False: nothing more until `on_room` is called."""
        if self.error is not None:
            return True
        if not self._waiting:
            sent = self._send(data)
            if sent == len(data) or self.error is not None:
                return True
            data = memoryview(data)[sent:]
        self._waiting += data
        self._full = self._full or len(self._waiting) > HIGH_WATER
        self._watch()
        return not self._full

    def when_empty(self, then: Callable[[], None]) -> None:
        """Call `then` when all is written or never will be: at once, if that is so now."""
        if self._waiting and self.error is None:
            self._on_empty = then
        else:
            then()

    def close(self) -> None:
        if self._watched:
            self._loop.remove_writer(self._fd)
            self._watched = False
        self._on_empty = None
        if self._socket is not None:
            self._socket.close()
        elif self._fd >= 0:
            os.close(self._fd)
        self._fd = -1

    def _watch(self) -> None:
        if not self._watched:
            self._watched = True
            self._loop.add_writer(self._fd, self._writable)

    def _writable(self) -> None:
        sent = self._send(self._waiting, ready=True)
        del self._waiting[: len(self._waiting) if self.error is not None else sent]
        if not self._waiting:
            self._loop.remove_writer(self._fd)
            self._watched = False
        if self._full and len(self._waiting) <= LOW_WATER:
            self._full = False
            self._on_room()
        if (then := self._on_empty) is not None and not self._watched:
            self._on_empty = None
            then()

    def _send(self, data: bytes | bytearray | memoryview, ready: bool = False) -> int:
        """Return how many bytes were written; note an error."""
        try:
            if self._socket is not None:
                return self._socket.send(data, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
            if self._opened:
                return os.write(self._fd, data)
            # Its flags are somebody else's, and this process must not wait: only as much as it has room for.
            return os.write(self._fd, memoryview(data)[:_PIPE_BUF]) if ready else 0
        except BlockingIOError:
            return 0
        except OSError as exc:
            self.error = exc
            self._loop.call_soon(self._on_error, exc)
            return 0


def is_gone(error: OSError) -> bool:
    """Return whether a stream's reader is gone, which ends a writer (SIGPIPE)."""
    return error.errno == errno.EPIPE


def unwritable(error: OSError) -> str:
    """Return why a job fails whose output cannot be written."""
    return f"its output cannot be written: {error.strerror}"


def outcome_of(error: OSError | None) -> Outcome | None:
    """Return the outcome of a job with this error at its output: as of one that has met it itself."""
    if error is None:
        return None
    if is_gone(error):
        return Outcome(0, signal.SIGPIPE)
    return Outcome(POISON_STATUS, reason=unwritable(error))
