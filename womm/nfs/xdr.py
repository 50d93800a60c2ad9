"""XDR (RFC 4506): a bounded reader over a buffer, and packers for what is written.

Strategy: a reader never copies a payload (`opaque` gives a memoryview of the record) and never
trusts a length: whatever does not fit in the record or its limit is BadXDR. Results are written as
byte strings that are appended to a list and joined once per reply.
"""

from collections.abc import Callable
from struct import Struct, error
from typing import Any, Final

PADDING: Final = (b"", b"\0\0\0", b"\0\0", b"\0")
"""By length % 4."""

_u32 = Struct(">I")
_u64 = Struct(">Q")
_i64 = Struct(">q")
pack_u32: Callable[[int], bytes] = _u32.pack
pack_u64: Callable[[int], bytes] = _u64.pack
pack_u32s: Callable[[int, int], bytes] = Struct(">II").pack
_unpack_u32 = _u32.unpack_from
_unpack_u64 = _u64.unpack_from
_unpack_i64 = _i64.unpack_from

_BITMAP_WORDS: Final = 8
UNKNOWN_BIT: Final = 32 * _BITMAP_WORDS
"""Stands for all attributes from this number on."""

TRUE: Final = b"\0\0\0\1"
FALSE: Final = b"\0\0\0\0"


class BadXDR(Exception):
    """The peer's bytes are not what the protocol says."""


class Reader:
    """A position in a record; every method raises BadXDR when the record does not hold the value."""

    __slots__ = ("data", "end", "pos")

    def __init__(self, data: bytes | bytearray | memoryview, pos: int = 0) -> None:
        self.data = data
        self.pos = pos
        self.end = len(data)

    def __repr__(self) -> str:
        return f"<Reader at {self.pos} of {self.end}>"

    @property
    def left(self) -> int:
        return self.end - self.pos

    def u32(self) -> int:
        pos = self.pos
        try:
            value: int = _unpack_u32(self.data, pos)[0]
        except error:
            raise BadXDR("the record ends in a number") from None
        self.pos = pos + 4
        return value

    def u64(self) -> int:
        pos = self.pos
        try:
            value: int = _unpack_u64(self.data, pos)[0]
        except error:
            raise BadXDR("the record ends in a number") from None
        self.pos = pos + 8
        return value

    def i64(self) -> int:
        pos = self.pos
        try:
            value: int = _unpack_i64(self.data, pos)[0]
        except error:
            raise BadXDR("the record ends in a number") from None
        self.pos = pos + 8
        return value

    def boolean(self) -> bool:
        value = self.u32()
        if value > 1:
            raise BadXDR(f"{value} is no boolean")
        return value == 1

    def fields(self, struct: Struct) -> tuple[Any, ...]:
        """Read the fields of a precompiled struct, whose size is a multiple of 4."""
        pos = self.pos
        try:
            found = struct.unpack_from(self.data, pos)
        except error:
            raise BadXDR("the record ends too soon") from None
        self.pos = pos + struct.size
        return found

    def fixed(self, size: int) -> bytes:
        """Read opaque[size]; size % 4 is 0."""
        pos = self.pos
        if size > self.end - pos:
            raise BadXDR("the record ends in an opaque")
        self.pos = pos + size
        return bytes(self.data[pos : pos + size])

    def opaque(self, limit: int) -> memoryview:
        """Read opaque<limit> without a copy: valid as long as the record."""
        size = self.u32()
        pos = self.pos
        after = pos + size + (-size & 3)
        if size > limit or after > self.end:
            raise BadXDR(f"an opaque of {size} bytes, with a limit of {limit} and {self.end - pos} left")
        self.pos = after
        return memoryview(self.data)[pos : pos + size]

    def text(self, limit: int) -> bytes:
        """Read opaque<limit> or a string as bytes."""
        size = self.u32()
        pos = self.pos
        after = pos + size + (-size & 3)
        if size > limit or after > self.end:
            raise BadXDR(f"an opaque of {size} bytes, with a limit of {limit} and {self.end - pos} left")
        self.pos = after
        return bytes(self.data[pos : pos + size])

    def count(self, limit: int, least_size: int = 4) -> int:
        """Read the length of an array whose elements have `least_size` bytes or more."""
        found = self.u32()
        if found > limit or found * least_size > self.end - self.pos:
            raise BadXDR(f"an array of {found}, with a limit of {limit} and {self.end - self.pos} bytes left")
        return found

    def bitmap(self) -> int:
        """Read bitmap4 as one number: attribute n is bit n.

        A bitmap may have any number of words (RFC 7530 2.1). No minor version has an attribute that is not in
        the first eight: if any of the others is set, bit UNKNOWN_BIT is, and the work stays small.
        """
        words = self.u32()
        if words == 2:  # what nearly every request has
            value = self.u64()
            return value >> 32 | (value & 0xFFFFFFFF) << 32
        if words * 4 > self.end - self.pos:
            raise BadXDR("the record ends in a bitmap")
        mask = 0
        for index in range(min(words, _BITMAP_WORDS)):
            mask |= self.u32() << (32 * index)
        if words > _BITMAP_WORDS:
            rest = self.fixed(4 * (words - _BITMAP_WORDS))
            if rest.count(0) != len(rest):
                mask |= 1 << UNKNOWN_BIT
        return mask


def pack_opaque(data: bytes) -> bytes:
    """Return opaque<>: length, bytes, padding."""
    size = len(data)
    return pack_u32(size) + data + PADDING[size & 3]


def pack_bitmap(mask: int) -> bytes:
    """Return bitmap4 without trailing words of zero."""
    words = []
    while mask:
        words.append(mask & 0xFFFFFFFF)
        mask >>= 32
    return Struct(f">{len(words) + 1}I").pack(len(words), *words)


def pack_time(ns: int) -> bytes:
    """Return nfstime4 of nanoseconds since 1970."""
    seconds, rest = divmod(ns, 1_000_000_000)
    return _time(seconds, rest)


_time: Callable[[int, int], bytes] = Struct(">qI").pack
