"""Packets of SFTP, and the answers to its requests: packed by the user's side, read by the file server.

A packet here begins with its kind: it has no length before it. A request, and the answer to it, have the same
number after that. The functions that read raise BadMessage.
"""

import errno
from collections.abc import Iterable
from struct import Struct
from struct import error as StructError
from typing import Final, NamedTuple

from womm.wire.attributes import NO_ATTRIBUTES, Stat, read_stat
from womm.wire.fields import U32, BadMessage, read_string, string
from womm.wire.sftp import VERSION, Code, Kind, code_of, errno_of, error_words

_HEAD: Final = Struct(">IBI")
_DATA: Final = Struct(">IBII")
DATA_HEAD_BYTES: Final = _DATA.size
BODY_AT: Final = 5
"""Where a packet's own fields begin."""


def message(kind: Kind, request: int, body: bytes) -> bytes:
    """Pack a request or an answer, with its length."""
    return _HEAD.pack(len(body) + 5, kind, request) + body


def init() -> bytes:
    """Pack a client's first words."""
    return U32.pack(5) + bytes((Kind.INIT,)) + U32.pack(VERSION)


def read_number(packet: bytes) -> int:
    """Return the number of the request that this packet is, or answers."""
    return _u32(packet, 1)


# -- what the user's side answers --------------------------------------------------------------
def version(extensions: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Pack a server's first words: the extensions by their names, each with its version."""
    body = U32.pack(VERSION)
    for name, value in extensions:
        body += string(name) + string(value)
    return U32.pack(len(body) + 1) + bytes((Kind.VERSION,)) + body


def pack_name(name: bytes, attributes: bytes = NO_ATTRIBUTES) -> bytes:
    return U32.pack(len(name)) + name + attributes


def names(request: int, packed: list[bytes], at_end: bool) -> bytes:
    body = U32.pack(len(packed)) + b"".join(packed)
    return message(Kind.NAME, request, body + b"\1" if at_end else body)


def data_head(buffer: bytearray, request: int, size: int, at_end: bool) -> None:
    """Write the head of a DATA packet before the `size` bytes at DATA_HEAD_BYTES; cut what is after them."""
    del buffer[DATA_HEAD_BYTES + size :]
    if at_end:
        buffer += b"\1"
    _DATA.pack_into(buffer, 0, len(buffer) - 4, Kind.DATA, request, size)


def status(request: int, code: Code = Code.OK, words: str = "") -> bytes:
    text = words.encode(errors="surrogateescape")
    return message(Kind.STATUS, request, U32.pack(code) + string(text) + string(b""))


def failure(request: int, error: OSError) -> bytes:
    """Pack a STATUS that tells an error of the operating system."""
    number = error.errno or errno.EIO
    words = (error.strerror or str(error)).encode(errors="replace").decode()
    return status(request, code_of(number), error_words(number, words))


# -- what the file server reads ----------------------------------------------------------------
class Status(NamedTuple):
    code: int
    errno: int
    """As Linux numbers it; of no meaning for OK and EOF."""


def read_version(packet: bytes) -> tuple[int, dict[bytes, bytes]]:
    """Return a server's version, and its extensions."""
    number, pos = _u32(packet, 1), 5
    extensions = {}
    while pos < len(packet):
        name, pos = read_string(packet, pos)
        extensions[name], pos = read_string(packet, pos)
    return number, extensions


def read_status(packet: bytes) -> Status:
    code = _u32(packet, BODY_AT)
    words = read_string(packet, BODY_AT + 4)[0] if len(packet) > BODY_AT + 8 else b""
    return Status(code, errno_of(code, words))


def read_names(packet: bytes) -> tuple[list[tuple[bytes, Stat]], bool]:
    """Return names with their attributes, and whether these are the last."""
    count, pos = _u32(packet, BODY_AT), BODY_AT + 4
    found = []
    for _ in range(count):
        name, pos = read_string(packet, pos)
        attributes, pos = read_stat(packet, pos)
        found.append((name, attributes))
    return found, pos < len(packet) and packet[pos] != 0


def _u32(packet: bytes, pos: int) -> int:
    try:
        return int(U32.unpack_from(packet, pos)[0])
    except StructError:
        raise BadMessage("a packet ends too early") from None
