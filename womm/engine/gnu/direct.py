"""Where GNU parallel's jobs come in without a process of their own: one socket, on which it hands them over.

Direct.pm, loaded into GNU parallel, sends frames `length (4 bytes), kind (1), the rest`:

0  once, at the start: the name of what this GNU parallel lacks, empty if it lacks nothing
1  a job, in fields joined by NUL: number, number of files, nice, seq, command, then the environment as it
   differs from GNU parallel's (`+NAME=VALUE`, `-NAME`). Its open stdout, stderr and, with --pipe, stdin go
   with the frame's first bytes (SCM_RIGHTS, unix(7))
2  a signal (1 byte), and the numbers of the jobs that get it (4 bytes each)

It gets 24 bytes for each job that has ended: its number, its status as waitpid(2) has it, and two times (each
a double): when the job was sent to its worker, and when it had a result here; 0 where they are not known. The
answer leaves when all of the job's output is where it belongs. A job that GNU parallel kills is answered at
once, since its worker may be out of reach.
"""

import asyncio
import logging
import os
import platform
import signal
import socket
import stat
import struct
import sys
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from womm.dispatch.dispatcher import Dispatcher
from womm.dispatch.job import Outcome
from womm.engine.gnu.arrivals import Arrivals
from womm.engine.gnu.file_room import FileRoom
from womm.engine.gnu.outputs import JobFile, Stream, is_gone, outcome_of, unwritable
from womm.link.frames import RunRequest

log = logging.getLogger(__name__)

_LENGTH = struct.Struct("!I")
_ENDED = struct.Struct("!IIdd")
_HELLO, _JOB, _SIGNAL = 0, 1, 2
_FILES = 16
READ_BYTES = 262144
STDIN_BYTES = 65536
SENDMSG = {"x86_64": 46, "aarch64": 211}.get(platform.machine(), 0) if sys.platform == "linux" else 0
"""The number of sendmsg(2), 0 where it is not known."""
MAX_FRAME = 8 << 20
"""A command is at most 128 KiB (Linux, one argument), an environment at most 6 MiB (a quarter of an
8 MiB stack and then some)."""


@dataclass(frozen=True, slots=True)
class DirectOptions:
    """How jobs are taken. live: GNU parallel shows output while the job runs, so none can be taken back."""

    live: bool


def _ignore() -> None:
    pass


class DirectServer:
    """Takes jobs from one GNU parallel for a dispatcher.

    say: one line for the user. on_result: called before GNU parallel can print anything of a job.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        options: DirectOptions,
        arrivals: Arrivals,
        *,
        say: Callable[[str], None],
        on_result: Callable[[], None] = _ignore,
    ) -> None:
        self.dispatcher = dispatcher
        self.options = options
        self.arrivals = arrivals
        self.on_result = on_result
        self.say = say
        self.greeted = False
        """GNU parallel has everything that Direct.pm replaces, and goes on."""
        self.lacks = ""
        """What it lacks."""
        self.jobs: dict[int, _DirectJob] = {}
        self._socket: socket.socket | None = None
        self._input = bytearray()
        self._files: deque[int] = deque()
        self._output = bytearray()
        self._flush_due = self._watched = False
        self.loop = asyncio.get_running_loop()
        self._room = FileRoom(
            stop=self._stop, go_on=self._go_on, has_jobs=lambda: bool(self.jobs), say=self.say
        )

    def __repr__(self) -> str:
        return f"<DirectServer {len(self.jobs)} jobs>"

    def open(self) -> socket.socket:
        """Return the other end, for GNU parallel. The caller closes it when GNU parallel has it."""
        self._socket, theirs = socket.socketpair()
        self._socket.setblocking(False)
        self.loop.add_reader(self._socket, self._readable)
        return theirs

    def close(self) -> None:
        """Hang up; jobs that have not ended are cancelled."""
        if self._socket is None:
            return
        self.loop.remove_reader(self._socket)
        self.loop.remove_writer(self._socket)
        self._socket.close()
        self._socket = None
        self._room.close()
        for fd in self._files:
            os.close(fd)
        self._files.clear()
        for job in list(self.jobs.values()):
            job.drop()
        self.jobs.clear()

    def catch_up(self) -> None:
        """Take what GNU parallel has sent, now that it has ended."""
        self._readable()

    # ---- from GNU parallel

    def _readable(self) -> None:
        for _ in range(_FILES):  # a message with files is one read
            if self._socket is None or self._room.paused:
                return
            try:
                data, files, flags, _ = socket.recv_fds(self._socket, READ_BYTES, _FILES, _CLOSE_ON_EXEC)
            except BlockingIOError:
                return
            except OSError:
                data, files, flags = b"", [], 0
            self._files.extend(files)
            if flags & _FILES_LOST or not data:
                if data:
                    self.say("GNU parallel's files cannot be taken: no more files may be open (ulimit -n)")
                self.close()
                return
            self._input += data
            try:
                self._take_frames()
            except (ValueError, IndexError, OSError, struct.error) as exc:  # not Direct.pm
                log.debug("garbage from GNU parallel: %r", exc)
                self.close()
                return
            if files:
                self._room.took(max(files))

    def _stop(self) -> None:
        assert self._socket is not None
        self.loop.remove_reader(self._socket)

    def _go_on(self) -> None:
        assert self._socket is not None
        self.loop.add_reader(self._socket, self._readable)

    def _take_frames(self) -> None:
        at, end = 0, len(self._input)
        while end - at >= 4:
            (length,) = _LENGTH.unpack_from(self._input, at)
            if not 0 < length <= MAX_FRAME:
                raise ValueError(f"a frame of {length} bytes")
            stop = at + 4 + length
            if stop > end:
                break
            body = bytes(self._input[at + 4 : stop])
            at = stop
            if body[0] == _JOB:
                self._submit(body[1:].split(b"\0"))
            elif body[0] == _SIGNAL:
                for (number,) in struct.iter_unpack("!I", body[2:]):
                    if (job := self.jobs.get(number)) is not None:
                        job.signal(body[1])
            elif body[0] == _HELLO:
                self.lacks = body[1:].decode(errors="replace")
                self.greeted = not self.lacks
            else:
                raise ValueError(f"a frame of kind {body[0]}")
        del self._input[:at]

    def _submit(self, fields: list[bytes]) -> None:
        number, count, nice = map(int, fields[:3])
        seq, command = fields[3:5]
        env: dict[bytes, bytes] = {}
        unset = []
        for field in fields[5:]:
            name, _, value = field[1:].partition(b"=")
            if field[:1] == b"+":
                env[name] = value
            else:
                unset.append(name)
        outputs = self._files.popleft(), self._files.popleft()
        stdin = self._files.popleft() if count > 2 else -1
        job = self.jobs[number] = _DirectJob(self, number, outputs, stdin)
        known_seq = int(seq) if seq.isdigit() else None
        self.arrivals.came(known_seq, command)
        run = RunRequest(command, env=env, unset=unset, stdin=stdin >= 0, nice=nice)
        job.job = self.dispatcher.submit(run, job, seq=known_seq)
        job.begin()

    # ---- to GNU parallel

    def answer(self, number: int, status: int, times: tuple[float, float]) -> None:
        """Tell GNU parallel that a job has ended. times: of its start and its end."""
        self.on_result()
        self.jobs.pop(number, None)
        self._output += _ENDED.pack(number, status, *times)
        if not self._flush_due:
            self._flush_due = True
            self.loop.call_soon(self._flush)
        self._room.look()

    def _flush(self) -> None:
        """Write what is there: one write per turn of the event loop."""
        self._flush_due = False
        if self._socket is None:
            return
        try:
            sent = self._socket.send(self._output)
        except BlockingIOError:
            sent = 0
        except OSError:
            self.close()
            return
        del self._output[:sent]
        if bool(self._output) != self._watched:
            self._watched = not self._watched
            if self._watched:
                self.loop.add_writer(self._socket, self._flush)
            else:
                self.loop.remove_writer(self._socket)


_CLOSE_ON_EXEC = getattr(socket, "MSG_CMSG_CLOEXEC", 0)
_FILES_LOST = getattr(socket, "MSG_CTRUNC", 0)


class _DirectJob:
    """One job. The dispatcher's JobSink."""

    __slots__ = (
        "_ended",
        "_error",
        "_number",
        "_outputs",
        "_reading",
        "_server",
        "_status",
        "_stdin",
        "_times",
        "job",
    )

    def __init__(self, server: DirectServer, number: int, outputs: tuple[int, int], stdin: int) -> None:
        self.job = 0
        self._server = server
        self._number = number
        self._stdin = stdin
        self._reading = False
        self._ended = False
        self._error: OSError | None = None
        self._status = 0
        self._times = (0.0, 0.0)
        self._outputs: tuple[JobFile | Stream, ...] = self._open(*outputs)

    def _open(self, out: int, err: int) -> tuple[JobFile | Stream, ...]:
        out_status, err_status = os.fstat(out), os.fstat(err)
        opened = [
            JobFile(fd, os.lseek(fd, 0, os.SEEK_CUR), status.st_size)
            if stat.S_ISREG(status.st_mode)
            else None
            for fd, status in ((out, out_status), (err, err_status))
        ]
        if opened[0] is None and os.path.samestat(out_status, err_status):
            os.close(err)  # one stream, so that the order stays
            both = Stream(out, self._room, self._broken)
            return both, both
        return tuple(
            one or Stream(fd, self._room, self._broken) for one, fd in zip(opened, (out, err), strict=True)
        )

    def begin(self) -> None:
        """Read its stdin, from now on."""
        if self._stdin >= 0:
            os.set_blocking(self._stdin, False)
            self.resume_input()

    def signal(self, number: int) -> None:
        if self._ended:
            return
        if number == signal.SIGKILL:
            self._give_up(signal.SIGKILL)
        else:
            # A job leads a session, in which the kernel ignores the stop signals of terminals.
            number = signal.SIGSTOP if number in _STOPS else number
            self._server.dispatcher.signal(self.job, number)

    def drop(self) -> None:
        """GNU parallel is gone."""
        self._close()
        if not self._ended:
            self._ended = True
            self._server.dispatcher.cancel(self.job)

    def _give_up(self, number: int) -> None:
        """Answer GNU parallel now; the process ends when its worker hears of it."""
        if self._ended:
            return
        self._ended = True
        self._server.dispatcher.cancel(self.job)
        self._status = number
        self._answer()

    # ---- JobSink

    def write(self, stream: int, data: bytes | memoryview) -> bool:
        if (output := self._output(stream)) is None:
            return True
        if self._server.options.live:
            self._server.on_result()
        if isinstance(output, Stream):
            return output.write(data)
        try:
            output.write(data)
        except OSError as exc:
            self._error = exc
            self._fail(exc)
        return True

    def can_take_back(self, stream: int) -> bool:
        return not self._server.options.live and isinstance(self._output(stream), JobFile)

    def take_back(self, stream: int) -> None:
        output = self._output(stream)
        assert isinstance(output, JobFile)
        output.take_back()

    def file(self, stream: int) -> bytes | None:
        output = self._output(stream)
        return output.path() if isinstance(output, JobFile) and not self._server.options.live else None

    def read_back(self, stream: int, size_bytes: int) -> bytes:
        output = self._output(stream)
        return output.read_back(size_bytes) if isinstance(output, JobFile) else b""

    def failure(self) -> Outcome | None:
        streams = (output.error for output in self._outputs if isinstance(output, Stream))
        return outcome_of(next(filter(None, (self._error, *streams)), None))

    def resume_input(self) -> None:
        if self._stdin >= 0 and not self._reading:
            self._reading = True
            self._server.loop.add_reader(self._stdin, self._read_stdin)

    def ended(self, outcome: Outcome) -> None:
        if self._ended:
            return
        self._ended = True
        self._status = outcome.signal or (outcome.exit & 255) << 8
        if outcome.started:
            self._times = (outcome.started, max(time.time(), outcome.started + _SHORTEST_S))
        left = [output for output in self._outputs if isinstance(output, Stream)]

        def next_one() -> None:
            if left:
                left.pop().when_empty(next_one)
                return
            late = self.failure()
            if late is not None and not self._status:
                # The journal has the job's own end: it had ended when its last bytes met this.
                self._status = late.signal or late.exit << 8
                if late.reason:
                    self._server.say(f"a job failed: {late.reason}")
            self._answer()

        next_one()

    # ---- within

    def _output(self, stream: int) -> JobFile | Stream | None:
        """Return where output goes; None when GNU parallel has its answer."""
        return self._outputs[stream - 1] if self._outputs else None

    def _read_stdin(self) -> None:
        try:
            data = os.read(self._stdin, STDIN_BYTES)
        except BlockingIOError:
            return
        if not data:
            self._close_stdin()
            self._server.dispatcher.feed_end(self.job)
        elif not self._server.dispatcher.feed(self.job, data) and self._reading:
            self._reading = False
            self._server.loop.remove_reader(self._stdin)

    def _room(self) -> None:
        self._server.dispatcher.consumed(self.job)

    def _broken(self, error: OSError) -> None:
        """An output cannot be written: as a job of plain GNU parallel, it ends by SIGPIPE if nobody reads."""
        if is_gone(error):
            self._give_up(signal.SIGPIPE)
        else:
            self._fail(error)

    def _fail(self, error: OSError) -> None:
        self._server.loop.call_soon(self._server.dispatcher.fail, self.job, unwritable(error))

    def _answer(self) -> None:
        self._close()
        self._server.answer(self._number, self._status, self._times)

    def _close(self) -> None:
        self._close_stdin()
        for output in self._outputs:
            output.close()
        self._outputs = ()

    def _close_stdin(self) -> None:
        if self._stdin >= 0:
            if self._reading:
                self._server.loop.remove_reader(self._stdin)
                self._reading = False
            os.close(self._stdin)
            self._stdin = -1


_SHORTEST_S = 0.001
"""GNU parallel rounds the start to so much: a job must not end before it."""
_STOPS = frozenset((signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU))
