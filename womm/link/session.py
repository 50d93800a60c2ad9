"""One session with an agent: a stream of frames each way that survives cuts. Sans-I/O.

Strategy: both ends count the bytes they have received and keep the bytes they have sent until the
other acknowledges them. A connection opens with a hello each way, connector first:

    magic (8 bytes)  version (2)  session id (16)  bytes received so far (8)

Then each end goes on at the byte that the other one lacks, even in the middle of a frame. An end skips the
noise before the magic number: shells and container runtimes print into streams; `\\r\\n` in it shows a stream
that is not binary-clean. A peer that answers with an all-zero id refuses: it has another version, or belongs
to another session.

Only this module and womm/worker/agent.pl know the format.
"""

import struct
from collections.abc import Iterator

from womm.link.frames import (
    BadFrame,
    Frame,
    FrameDecoder,
    FrameType,
    decode_ack,
    encode_ack,
)

MAGIC = b"\0WOMM\xf1\r\n"
VERSION = 1
NOISE_LIMIT = 65536
_HELLO = struct.Struct("!8sH16sQ")
HELLO_SIZE = _HELLO.size
_NOBODY = bytes(16)
ACK_EVERY = 262144


class Refused(Exception):
    """The agent answered and does not want this session."""


class Session:
    """One end of a link.

    `connector` is the end that dials (the coordinator). Calls never block; bytes to be written are
    collected by `data_to_send`. Used by one task at a time.
    """

    def __init__(self, session_id: bytes, *, connector: bool = True) -> None:
        if len(session_id) != 16 or session_id == _NOBODY:
            raise ValueError("a session id is 16 bytes, not all zero")
        self._id = session_id
        self._connector = connector
        self._sent = bytearray()  # not yet acknowledged by the peer
        self._sent_base = 0  # stream offset of its first byte
        self._next = 0  # index into _sent of the first byte not yet given to the transport
        self._received = 0
        self._acknowledged = 0
        self._owes_ack = False
        self._decoder = FrameDecoder()
        self._hello: bytearray | None = None  # collects the peer's hello; None: hello done
        self._connected = False
        self._control = bytearray()  # our own hello, ahead of the stream

    @property
    def connected(self) -> bool:
        """True between the two hellos and `connection_lost`."""
        return self._connected

    @property
    def owes_ack(self) -> bool:
        """True when frames came in that are not acknowledged yet."""
        return self._owes_ack

    def __repr__(self) -> str:
        state = "connected" if self._connected else "cut"
        return f"<Session {state}, {self._received} in, {self._sent_base}+{len(self._sent)} out>"

    def connection_made(self) -> None:
        """Begin on a fresh connection: the hello is the first thing to send."""
        self._hello = bytearray()
        self._connected = False
        self._control = bytearray()
        if self._connector:
            self._control += self._own_hello()

    def connection_lost(self) -> None:
        """Forget the connection; everything not acknowledged is sent again on the next one."""
        self._connected = False
        self._hello = None
        self._control = bytearray()

    def send(self, frame: bytes) -> None:
        """Queue one encoded frame; it is kept until acknowledged."""
        self._sent += frame

    def acknowledge(self) -> None:
        """Acknowledge what has arrived. The peer keeps its bytes until then, so do it now and then."""
        self._sent += encode_ack(self._received)
        self._acknowledged = self._received
        self._owes_ack = False

    def data_to_send(self) -> bytes:
        """Return the bytes that the transport must write now."""
        if not self._connected:
            data, self._control = bytes(self._control), bytearray()
            return data
        if self._control:
            data, self._control = bytes(self._control), bytearray()
        else:
            data = b""
        if self._next < len(self._sent):
            data += bytes(memoryview(self._sent)[self._next :])
            self._next = len(self._sent)
        return data

    def receive_data(self, data: bytes | memoryview) -> Iterator[Frame]:
        """Take bytes from the transport; yield the frames they complete, ACKs left out.

        Raises Refused, or BadFrame for bytes that are no frame: drop the connection. The iterator
        must be consumed before the next call.
        """
        if self._hello is not None:
            data = self._receive_hello(data)
            if not data:
                return
        self._received += len(data)
        for frame in self._decoder.feed(data):
            if frame[0] == FrameType.ACK:
                self._acked(decode_ack(frame[2]))
            else:
                self._owes_ack = True
                yield frame
        if self._received - self._acknowledged >= ACK_EVERY:
            self.acknowledge()

    def _own_hello(self, session_id: bytes | None = None) -> bytes:
        return _HELLO.pack(MAGIC, VERSION, session_id or self._id, self._received)

    def _receive_hello(self, data: bytes | memoryview) -> bytes:
        assert self._hello is not None
        self._hello += data
        at = self._hello.find(MAGIC)
        if at < 0 and len(self._hello) > NOISE_LIMIT:
            raise BadFrame(f"no hello in {NOISE_LIMIT} bytes")
        if at < 0 or len(self._hello) < at + HELLO_SIZE:
            return b""
        _, version, session_id, received = _HELLO.unpack_from(self._hello, at)
        rest = bytes(self._hello[at + HELLO_SIZE :])
        behind = received - self._sent_base
        if version != VERSION or session_id != self._id or not 0 <= behind <= len(self._sent):
            if not self._connector:
                self._control += _HELLO.pack(MAGIC, VERSION, _NOBODY, 0)
            raise Refused(f"version {version}, {'other session' if version == VERSION else 'not mine'}")
        if not self._connector:
            self._control += self._own_hello()
        self._hello = None
        self._connected = True
        self._next = behind
        return rest

    def _acked(self, offset: int) -> None:
        done = offset - self._sent_base
        if not 0 <= done <= len(self._sent):
            raise BadFrame(f"acknowledged byte {offset} of {self._sent_base + len(self._sent)}")
        del self._sent[:done]
        self._sent_base += done
        self._next = max(0, self._next - done)
