"""Where GNU parallel's jobs come in: a Unix socket on which each login shim hands over one job.

The shim sends `length (4 bytes), fields joined by NUL`, then frames `type (1), length (4), payload`:
1 stdin bytes, 2 end of stdin, 3 a signal. It gets frames of the same shape: 1 stdout bytes, 2 stderr
bytes, 3 take a stream back to where it began, 4 exit status and signal. See womm/worker/shim.pl.

A shim whose stdout and stderr are files passes those along (SCM_RIGHTS): output is then written once,
here, instead of going through one more socket and one more process; by the job itself, where its worker
is on this machine and the system shows a process's open files as paths (proc(5)).
"""

import asyncio
import errno
import logging
import os
import socket
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from womm.dispatch.dispatcher import Dispatcher
from womm.dispatch.job import STDERR, STDOUT, Outcome
from womm.engine.gnu.arrivals import Arrivals
from womm.engine.gnu.file_room import FileRoom
from womm.engine.gnu.outputs import HIGH_WATER, LOW_WATER, JobFile, outcome_of, unwritable
from womm.link.frames import RunRequest

log = logging.getLogger(__name__)

_LENGTH = struct.Struct("!I")
_FRAME = struct.Struct("!BI")
_STDIN, _STDIN_END, _SIGNAL = 1, 2, 3
_TAKE_BACK, _EXIT = 3, 4
MAX_REQUEST = 8 << 20
"""A command is at most 128 KiB (Linux, one argument), an environment at most 6 MiB (a quarter of an
8 MiB stack and then some)."""
READ_BYTES = 262144
BATCH, SHOW_AFTER_S = 262144, 0.1
"""GNU parallel shows a job's output at its end, so it is passed on in large pieces, or after a moment
for those who look at the files of --results meanwhile."""

_CLOSE_ON_EXEC = getattr(socket, "MSG_CMSG_CLOEXEC", 0)
"""Files that a shim passes along are for this process alone, and for no program that it starts."""


@dataclass(frozen=True, slots=True)
class ShimOptions:
    """How shims' jobs are taken.

    engine_env: the environment that GNU parallel is started with; a shim's variables beyond it belong to the
    job. live: GNU parallel shows output while the job runs, so none of it can be taken back. bound: the files
    of a job are in the pod of its login, so it can run in no other pod. trial: a command that is no job: GNU
    parallel's starter sends it to see that shims reach this server.
    """

    engine_env: Mapping[bytes, bytes]
    live: bool
    bound: bool = False
    trial: bytes = b""


def _ignore() -> None:
    pass


class ShimServer:
    """Takes jobs from shims for a dispatcher.

    say: one line for the user. on_result: called before GNU parallel can print anything of a job.

    Plain sockets on the event loop's selector: asyncio's streams and transports make a task and four
    objects per connection, and a connection here is a job.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        options: ShimOptions,
        arrivals: Arrivals,
        *,
        say: Callable[[str], None],
        on_result: Callable[[], None] = _ignore,
    ) -> None:
        self.dispatcher = dispatcher
        self.options = options
        self.known_fields = {b"e=%b=%b" % item for item in options.engine_env.items()}
        self.on_result = on_result
        self.arrivals = arrivals
        self._pods_of_logins: Mapping[str, str] = {}
        self.tried = False
        self.connections: set[_ShimConnection] = set()
        self._listener: socket.socket | None = None
        self._room = FileRoom(
            stop=self._stop, go_on=self._go_on, has_jobs=lambda: bool(self.connections), say=say
        )

    def start(self, path: Path) -> None:
        """Listen at `path`, which must be shorter than 108 bytes and in a folder of ours alone."""
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.setblocking(False)
        self._listener.bind(str(path))
        self._listener.listen(1024)
        asyncio.get_running_loop().add_reader(self._listener, self._accept)

    def close(self) -> None:
        if self._listener is not None:
            asyncio.get_running_loop().remove_reader(self._listener)
            self._listener.close()
            self._listener = None
            self._room.close()
        for connection in list(self.connections):
            connection.close()

    def set_logins(self, pods_of_logins: Mapping[str, str]) -> None:
        """From now on run the jobs of these logins in these pods; jobs of other logins run anywhere."""
        self._pods_of_logins = pods_of_logins

    def pod_of(self, login: bytes) -> str | None:
        """Return the pod that the jobs of a login run in; None: any."""
        return self._pods_of_logins.get(login.decode()) if login else None

    def _accept(self) -> None:
        while self._listener is not None and not self._room.paused:
            try:
                connection, _ = self._listener.accept()
            except BlockingIOError:
                return
            except OSError as exc:
                if exc.errno not in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                    raise
                self._room.pause()
                return
            connection.setblocking(False)
            self.connections.add(_ShimConnection(self, connection))
            self._room.took(connection.fileno())

    def _stop(self) -> None:
        assert self._listener is not None
        asyncio.get_running_loop().remove_reader(self._listener)

    def _go_on(self) -> None:
        assert self._listener is not None
        asyncio.get_running_loop().add_reader(self._listener, self._accept)

    def hung_up(self, connection: "_ShimConnection") -> None:
        """A shim has ended: there is room for another."""
        self.connections.discard(connection)
        self._room.look()


class _ShimConnection:
    """One shim: one job. The dispatcher's JobSink."""

    def __init__(self, server: ShimServer, connection: socket.socket) -> None:
        self._server = server
        self._dispatcher = server.dispatcher
        self._socket = connection
        self._input = b""
        self._job = 0
        self._start: dict[int, int | None] = {}
        self._passed: list[int] = []  # the job's stdout and stderr, where the shim could pass them
        self._files: dict[int, JobFile] = {}
        self._error: OSError | None = None
        self._output = bytearray()
        self._flush_due = False
        self._timer: asyncio.TimerHandle | None = None
        self._full = False
        self._reading = True
        self._ended = False
        self._loop = asyncio.get_running_loop()
        self._fd = connection.fileno()
        self._loop.add_reader(self._fd, self._readable)

    def close(self) -> None:
        """Hang up; a job that has not ended is cancelled."""
        if self._socket.fileno() < 0:
            return
        self._loop.remove_reader(self._fd)
        self._loop.remove_writer(self._fd)
        self._socket.close()
        self._close_files()
        self._server.hung_up(self)
        if self._job and not self._ended:
            self._ended = True
            self._dispatcher.cancel(self._job)

    def _readable(self) -> None:
        try:
            if self._job:
                data = self._socket.recv(READ_BYTES)
            else:
                data, files, _, _ = socket.recv_fds(self._socket, READ_BYTES, 2, _CLOSE_ON_EXEC)
                self._passed += files
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.close()
            return
        self._input = self._input + data if self._input else data
        try:
            self._take()
        except (ValueError, IndexError) as exc:  # not one of our shims
            log.debug("garbage from a shim: %s", exc)
            self.close()

    def _take(self) -> None:
        """Take a request, then frames, as far as they are there. Raises ValueError, IndexError."""
        if self._ended:  # nobody needs what its shim has sent meanwhile
            self._input = b""
            return
        if not self._job:
            if len(self._input) < 4:
                return
            (length,) = _LENGTH.unpack_from(self._input)
            if length > MAX_REQUEST:
                self.close()
                return
            if len(self._input) < 4 + length:
                return
            request, self._input = self._input[4 : 4 + length], self._input[4 + length :]
            self._submit(request)
        if self._input:
            self._take_frames()

    def _flush(self) -> None:
        """Write what is there: one write per turn of the event loop, a short job's output and end."""
        self._flush_due = False
        self._timer = None
        if self._socket.fileno() < 0:
            return
        try:
            sent = self._socket.send(self._output)
        except BlockingIOError:
            sent = 0
        except OSError:
            self.close()
            return
        del self._output[:sent]
        if self._output:
            self._loop.add_writer(self._fd, self._flush)
        else:
            self._loop.remove_writer(self._fd)
        if self._full and len(self._output) <= LOW_WATER:
            self._full = False
            self._dispatcher.consumed(self._job)

    # ---- the request

    def _submit(self, request: bytes) -> None:
        command, login, stdin, nice, seq = b"", b"", False, 0, None
        env: dict[bytes, bytes] = {}
        known = self._server.known_fields
        for field in request.split(b"\0"):
            if field in known:
                continue
            kind, value = field[:2], field[2:]
            if kind == b"e=":
                name, _, value = value.partition(b"=")
                env[name] = value
            elif kind == b"c=":
                command = value
            elif kind == b"l=":
                login = value
            elif kind == b"i=":
                stdin = True
            elif kind == b"n=":
                nice = int(value)
            elif kind == b"o=":
                self._start[STDOUT] = int(value) if value else None
            elif kind == b"r=":
                self._start[STDERR] = int(value) if value else None
        if command == self._server.options.trial:
            self._server.tried = True
            self.ended(Outcome(0, 0))
            return
        for stream, fd in zip((STDOUT, STDERR), self._passed, strict=False):
            if (start := self._start.get(stream)) is not None:
                self._files[stream] = JobFile(fd, start, os.fstat(fd).st_size)
            else:
                os.close(fd)
        self._passed.clear()
        if (number := env.get(b"PARALLEL_SEQ", b"")).isdigit():
            seq = int(number)
        if login:
            env.clear()  # GNU parallel's wrapper carries what belongs to the job
        self._server.arrivals.came(seq, command)
        run = RunRequest(command, env=env, stdin=stdin, nice=nice)
        pinned, bound = self._server.pod_of(login), self._server.options.bound
        self._job = self._dispatcher.submit(run, self, seq=seq, pinned=pinned, bound=bound)

    def _take_frames(self) -> None:
        view, at, end = memoryview(self._input), 0, len(self._input)
        room = True
        while end - at >= 5:
            kind, length = _FRAME.unpack_from(view, at)
            if end - at - 5 < length:
                break
            payload = view[at + 5 : at + 5 + length]
            at += 5 + length
            if kind == _STDIN:
                room = self._dispatcher.feed(self._job, payload)
            elif kind == _STDIN_END:
                self._dispatcher.feed_end(self._job)
            elif kind == _SIGNAL:
                self._dispatcher.signal(self._job, payload[0])
            else:
                self.close()
                return
        self._input = bytes(view[at:])
        if not room and self._reading:
            self._reading = False
            self._loop.remove_reader(self._fd)

    # ---- JobSink

    def write(self, stream: int, data: bytes | memoryview) -> bool:
        if self._server.options.live:
            self._server.on_result()
        elif stream in self._files:
            try:
                self._files[stream].write(data)
            except OSError as exc:
                self._error = exc
                self._loop.call_soon(self._dispatcher.fail, self._job, unwritable(exc))
            return True
        self._output += _FRAME.pack(stream, len(data))
        self._output += data
        if self._server.options.live or len(self._output) >= BATCH:
            self._flush_soon()
        elif self._timer is None:
            self._timer = self._loop.call_later(SHOW_AFTER_S, self._flush_soon)
        self._full = self._full or len(self._output) > HIGH_WATER
        return not self._full

    def can_take_back(self, stream: int) -> bool:
        return not self._server.options.live and self._start.get(stream) is not None

    def take_back(self, stream: int) -> None:
        if stream in self._files:
            self._files[stream].take_back()
            return
        self._output += _FRAME.pack(_TAKE_BACK, 1) + bytes([stream])
        self._flush_soon()

    def file(self, stream: int) -> bytes | None:
        file = self._files.get(stream)
        return None if file is None or self._server.options.live else file.path()

    def read_back(self, stream: int, size_bytes: int) -> bytes:
        file = self._files.get(stream)
        return b"" if file is None else file.read_back(size_bytes)

    def failure(self) -> Outcome | None:
        return outcome_of(self._error)

    def resume_input(self) -> None:
        if not self._reading and self._socket.fileno() >= 0:
            self._reading = True
            self._loop.add_reader(self._fd, self._readable)

    def ended(self, outcome: Outcome) -> None:
        self._ended = True
        if self._timer is not None:
            self._timer.cancel()
        self._server.on_result()
        self._close_files()
        self._output += _FRAME.pack(_EXIT, 2) + bytes([outcome.exit & 255, outcome.signal])
        self._flush_soon()

    def _close_files(self) -> None:
        for file in self._files.values():
            file.close()
        self._files.clear()
        for fd in self._passed:
            os.close(fd)
        self._passed.clear()

    def _flush_soon(self) -> None:
        if not self._flush_due:
            self._flush_due = True
            self._loop.call_soon(self._flush)
