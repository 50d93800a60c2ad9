"""The frames of a link, and their codec. The agent speaks the same: womm/worker/agent.pl.

A frame is `type (1 byte), job (4), length (4)`, big endian, then the payload. Frames follow each
other in one stream per direction, which womm.link.session carries over cuts.
"""

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple, TypeAlias

HEADER = struct.Struct("!BII")
MAX_PAYLOAD = 1 << 20
"""No frame is larger: output comes in reads of 64 KiB, a command and its environment in at most
some hundred KiB (Linux limits one argument to 128 KiB)."""
WINDOW = 524288
"""Bytes a job's stream may be ahead of its consumer. Large enough that a round trip of 5 ms still
carries 100 MB/s, small enough that 100 jobs cost 100 MiB at the very most."""
STDIN_CHUNK = 65536


class FrameType(IntEnum):
    """Coordinator to agent below 16, agent to coordinator below 32, both ways from 32."""

    RUN = 1
    STDIN_DATA = 2
    STDIN_END = 3
    SIGNAL = 4
    CREDIT = 5
    RESIZE = 6
    BYE = 7
    READY = 16
    STARTED = 17
    OUT = 18
    ERR = 19
    ENDED = 20
    ACK = 32
    PING = 33
    PONG = 34


class BadFrame(Exception):
    """The peer sent something that no peer of womm sends: this connection is of no use."""


Frame: TypeAlias = tuple[int, int, memoryview | bytes]
"""Type, job number (0: the link itself), payload. The payload is only valid until the next call."""


def encode(kind: int, job: int = 0, payload: bytes = b"") -> bytes:
    return HEADER.pack(kind, job, len(payload)) + payload


class FrameDecoder:
    """Cuts a stream of bytes, in whatever pieces it comes, into frames.

    The decoder passes a job's output on before its frame is complete: OUT and ERR may come as several frames.
    """

    def __init__(self) -> None:
        self._rest = b""
        self._begun = (0, 0)  # type and job of an output frame of which `_left` bytes are to come
        self._left = 0

    def feed(self, data: bytes | memoryview) -> Iterator[Frame]:
        """Yield the frames that `data` completes, and the output that it holds.

        Raises BadFrame on an unknown type or an oversized length; the decoder is then unusable.
        """
        if self._rest:
            data = self._rest + data
        view = memoryview(data)
        at, end = 0, len(data)
        if self._left and end:
            at = min(self._left, end)
            self._left -= at
            yield *self._begun, view[:at]
        while end - at >= 9:
            kind, job, length = HEADER.unpack_from(data, at)
            if length > MAX_PAYLOAD or kind not in _KNOWN:
                raise BadFrame(f"frame of type {kind} and {length} bytes")
            stop = at + 9 + length
            if stop > end:
                if kind not in _OUTPUT or at + 9 == end:
                    break
                self._begun, self._left = (kind, job), stop - end
                stop = end
            yield kind, job, view[at + 9 : stop]
            at = stop
        self._rest = bytes(data[at:])

    def __repr__(self) -> str:
        return f"<FrameDecoder {len(self._rest)} bytes of a frame>"


_KNOWN = frozenset(int(kind) for kind in FrameType)
_OUTPUT = frozenset([int(FrameType.OUT), int(FrameType.ERR)])

_CREDIT = struct.Struct("!BI")
_SIZE = struct.Struct("!HH")
_ENDED = struct.Struct("!BiQQQQQ")
_OFFSET = struct.Struct("!Q")


def encode_credit(job: int, stream: int, size_bytes: int) -> bytes:
    """Allow `size_bytes` more of a stream: 0 stdin, 1 stdout, 2 stderr."""
    return encode(FrameType.CREDIT, job, _CREDIT.pack(stream, size_bytes))


def decode_credit(payload: memoryview | bytes) -> tuple[int, int]:
    return _unpack(_CREDIT, payload)  # type: ignore[return-value]


class User(NamedTuple):
    """The user that a worker's jobs run as."""

    uid: int
    gid: int


def decode_ready(payload: memoryview | bytes) -> User | None:
    """Return the user that an agent runs as, if it says so: READY has NAME=VALUE with NUL between them."""
    facts = dict(fact.partition(b"=")[::2] for fact in bytes(payload).split(b"\0"))
    try:
        return User(int(facts[b"uid"]), int(facts[b"gid"]))
    except (KeyError, ValueError):
        return None


def encode_signal(job: int, signal: int) -> bytes:
    return encode(FrameType.SIGNAL, job, bytes([signal]))


def encode_resize(job: int, rows: int, columns: int) -> bytes:
    return encode(FrameType.RESIZE, job, _SIZE.pack(rows, columns))


def encode_bye(grace_s: int) -> bytes:
    """End every job (SIGTERM, after the grace SIGKILL), then the agent."""
    return encode(FrameType.BYE, 0, struct.pack("!I", grace_s))


def encode_ack(received: int) -> bytes:
    return encode(FrameType.ACK, 0, _OFFSET.pack(received))


def decode_ack(payload: memoryview | bytes) -> int:
    (offset,) = _unpack(_OFFSET, payload)
    return offset


@dataclass(frozen=True, slots=True)
class RunRequest:
    """One job for an agent.

    `command` is a line for the agent's shell, or None to run `argv` (or, when that is empty, the
    shell itself). `env` is set on top of the agent's own environment, `unset` taken from it.
    `terminal` is (rows, columns) of a pseudo-terminal, None for pipes. Before it starts, the job looks at
    `fresh` paths, and at all below `fresh_tree`, past the kernel's cache: statx(2), AT_STATX_FORCE_SYNC.
    `stdout` and `stderr` are files to append to instead of sending OUT and ERR; if the agent cannot open such
    a file, it sends the output.
    """

    command: bytes | None
    argv: Sequence[bytes] = ()
    env: Mapping[bytes, bytes] | None = None
    unset: Sequence[bytes] = ()
    folder: bytes | None = None
    stdin: bool = False
    nice: int = 0
    terminal: tuple[int, int] | None = None
    fresh: Sequence[bytes] = ()
    fresh_tree: bytes | None = None
    stdout: bytes | None = None
    stderr: bytes | None = None


def encode_run(job: int, request: RunRequest) -> bytes:
    """Fields joined by NUL, which neither a command nor an environment can contain."""
    fields = []
    if request.command is not None:
        fields.append(b"c=" + request.command)
    fields += [b"a=" + word for word in request.argv]
    if request.env:
        fields += [b"e=%b=%b" % item for item in request.env.items()]
    fields += [b"u=" + name for name in request.unset]
    if request.folder is not None:
        fields.append(b"d=" + request.folder)
    if request.stdin:
        fields.append(b"i=1")
    if request.nice:
        fields.append(b"n=%d" % request.nice)
    if request.terminal is not None:
        fields.append(b"t=%d,%d" % request.terminal)
    fields += [b"s=" + path for path in request.fresh]
    if request.fresh_tree is not None:
        fields.append(b"S=" + request.fresh_tree)
    if request.stdout is not None:
        fields.append(b"1=" + request.stdout)
    if request.stderr is not None:
        fields.append(b"2=" + request.stderr)
    return encode(FrameType.RUN, job, b"\0".join(fields))


class EndKind(IntEnum):
    EXITED = 0
    SIGNALED = 1
    NOT_STARTED = 2
    OOM_KILLED = 3
    """The kernel killed the job, or a child of its shell, for want of memory; `value` is the shell's."""


@dataclass(frozen=True, slots=True)
class EndRecord:
    """How a job ended. Without this record its end is unknown: an exec that is cut reports success.

    `value` is the exit status or the signal. Times are microseconds, `maxrss_kib` KiB, as wait4(2)
    reports them; 0 where the agent's system has no wait4. `text` says why a job did not start.
    """

    kind: EndKind
    value: int
    out_bytes: int
    err_bytes: int
    utime_us: int
    stime_us: int
    maxrss_kib: int
    text: str = ""


def encode_ended(job: int, record: EndRecord) -> bytes:
    packed = _ENDED.pack(
        record.kind,
        record.value,
        record.out_bytes,
        record.err_bytes,
        record.utime_us,
        record.stime_us,
        record.maxrss_kib,
    )
    return encode(FrameType.ENDED, job, packed + record.text.encode())


def decode_ended(payload: memoryview | bytes) -> EndRecord:
    kind, value, out, err, utime, stime, maxrss = _unpack(_ENDED, payload[: _ENDED.size])
    text = bytes(payload[_ENDED.size :]).decode(errors="replace")
    try:
        return EndRecord(EndKind(kind), value, out, err, utime, stime, maxrss, text)
    except ValueError as exc:
        raise BadFrame(f"end record of kind {kind}") from exc


def _unpack(layout: struct.Struct, payload: memoryview | bytes) -> tuple[int, ...]:
    try:
        return layout.unpack(payload)
    except struct.error as exc:
        raise BadFrame(str(exc)) from exc
