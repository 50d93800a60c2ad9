"""The requests that SFTP's draft does not have: each with its name, its fields, and what answers it.

Strategy: a class says its fields in FIELDS, one letter each, in the order of its attributes; one codec packs
and reads them all. A new extension is a class here, a line in EXTENSIONS, and its function in
womm/share/lazy/sftp/requests.py. Bytes after the last field are of no matter.

OpenSSH's names: PROTOCOL of OpenSSH, section 4. Those of womm save round trips, or say what SFTP cannot.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Final, NamedTuple, Self

from womm.wire.attributes import NewAttributes, Stat, pack_stat, read_stat
from womm.wire.fields import U32, U64, BadMessage, Reader, read_string, string

VERSION_FIELDS: Final = 4
"""Numbers in a version of a file: its size, time of the last change in ns, inode, device."""


def _pack_version(version: tuple[int, ...]) -> bytes:
    # A time before 1970 is negative.
    numbers = (U64.pack(number & 0xFFFFFFFFFFFFFFFF) for number in version)
    return U32.pack(bool(version)) + b"".join(numbers)


def _read_version(reader: Reader) -> tuple[int, ...]:
    return tuple(reader.u64() for _ in range(VERSION_FIELDS)) if reader.u32() else ()


def _pack_strings(strings: tuple[bytes, ...]) -> bytes:
    return U32.pack(len(strings)) + b"".join(map(string, strings))


def _read_strings(reader: Reader) -> tuple[bytes, ...]:
    return tuple(reader.string() for _ in range(reader.u32()))


_PACK: Final[dict[str, Callable[[Any], bytes]]] = {
    "s": string,
    "S": _pack_strings,
    "i": U32.pack,
    "b": U32.pack,
    "q": U64.pack,
    "o": U64.pack,
    "v": _pack_version,
    "a": NewAttributes.pack,
}
_READ: Final[dict[str, Callable[[Reader], object]]] = {
    "s": Reader.string,
    "S": _read_strings,
    "i": Reader.u32,
    "b": lambda reader: bool(reader.u32()),
    "q": Reader.u64,
    "o": Reader.offset,
    "v": _read_version,
    "a": NewAttributes.read,
}
"""s: a string. S: how many strings, and they. i: 32 bits. b: 32 bits, 0 is False. q: 64 bits. o: 64 bits that
are a place in a file. v: a version of a file, or that there is none. a: ATTRS to set."""


class Extended:
    """A request, or the answer to one."""

    __slots__ = ()
    FIELDS: ClassVar[str]
    __match_args__: ClassVar[tuple[str, ...]] = ()

    def pack(self) -> bytes:
        """Pack the fields, without a name."""
        pairs = zip(self.FIELDS, self.__match_args__, strict=True)
        return b"".join([_PACK[letter](getattr(self, name)) for letter, name in pairs])

    @classmethod
    def read(cls, reader: Reader) -> Self:
        """Read the fields. Raises BadMessage."""
        return cls(*[_READ[letter](reader) for letter in cls.FIELDS])


class ExtendedRequest(Extended):
    __slots__ = ()
    NAME: ClassVar[bytes]
    VERSION: ClassVar[bytes] = b"1"


# -- what is answered --------------------------------------------------------------------------
class Got(NamedTuple):
    """A file after the read, the bytes, and whether they reach the end."""

    stat: Stat
    data: bytes
    at_end: bool

    @staticmethod
    def pack(found: os.stat_result, data: bytes, at_end: bool) -> bytes:
        return b"".join((pack_stat(found), string(data), b"\1" if at_end else b"\0"))

    @classmethod
    def read(cls, packet: bytes, pos: int) -> Self:
        """Raises BadMessage."""
        stat, pos = read_stat(packet, pos)
        data, pos = read_string(packet, pos)
        if pos >= len(packet):
            raise BadMessage("a message ends too early")
        return cls(stat, data, packet[pos] != 0)


@dataclass(frozen=True, slots=True)
class DiskSpace(Extended):
    """As statvfs(3) has it."""

    FIELDS: ClassVar = "qqqqqqqqqqq"
    block_bytes: int
    fragment_bytes: int
    """The unit of `blocks`, `free` and `available`."""
    blocks: int
    free: int
    available: int
    files: int
    free_files: int
    available_files: int
    filesystem: int
    flags: int
    name_bytes: int


@dataclass(frozen=True, slots=True)
class SizeLimits(Extended):
    """The largest packet, READ and WRITE, and how many handles there may be."""

    FIELDS: ClassVar = "qqqq"
    packet_bytes: int
    read_bytes: int
    write_bytes: int
    handles: int


@dataclass(frozen=True, slots=True)
class Position(Extended):
    """A place in a file, or a size."""

    FIELDS: ClassVar = "q"
    offset: int


@dataclass(frozen=True, slots=True)
class Listed(Extended):
    """Names, as womm.wire.rows reads them, and whether all of the directory itself are there."""

    FIELDS: ClassVar = "sb"
    rows: bytes
    whole: bool


@dataclass(frozen=True, slots=True)
class FoundPath(Extended):
    FIELDS: ClassVar = "s"
    path: bytes


# -- OpenSSH's ---------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class PosixRename(ExtendedRequest):
    """rename(2): replaces what is there. Answer: STATUS."""

    NAME: ClassVar = b"posix-rename@openssh.com"
    FIELDS: ClassVar = "ss"
    old: bytes
    new: bytes


@dataclass(frozen=True, slots=True)
class Statvfs(ExtendedRequest):
    """Answer: DiskSpace."""

    NAME: ClassVar = b"statvfs@openssh.com"
    VERSION: ClassVar = b"2"
    FIELDS: ClassVar = "s"
    path: bytes


@dataclass(frozen=True, slots=True)
class Hardlink(ExtendedRequest):
    """Answer: STATUS."""

    NAME: ClassVar = b"hardlink@openssh.com"
    FIELDS: ClassVar = "ss"
    old: bytes
    new: bytes


@dataclass(frozen=True, slots=True)
class Fsync(ExtendedRequest):
    """Answer: STATUS."""

    NAME: ClassVar = b"fsync@openssh.com"
    FIELDS: ClassVar = "s"
    handle: bytes


@dataclass(frozen=True, slots=True)
class Lsetstat(ExtendedRequest):
    """SETSTAT that does not follow a symbolic link. Answer: STATUS."""

    NAME: ClassVar = b"lsetstat@openssh.com"
    FIELDS: ClassVar = "sa"
    path: bytes
    attributes: NewAttributes


@dataclass(frozen=True, slots=True)
class Limits(ExtendedRequest):
    """Answer: SizeLimits."""

    NAME: ClassVar = b"limits@openssh.com"
    FIELDS: ClassVar = ""


# -- womm's ------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Tree(ExtendedRequest):
    """List a directory and those below it, breadth first, up to `most` entries. Answer: NAME.

    Names are relative to `path`. After the last entry of a directory comes its end mark, NAME/. (for `path`
    itself: /.) with the directory's attributes from before it was read.
    """

    NAME: ClassVar = b"tree@womm"
    FIELDS: ClassVar = "si"
    path: bytes
    most: int


@dataclass(frozen=True, slots=True)
class Rows(ExtendedRequest):
    """As Tree, in few bytes and with targets of symbolic links: a directory, and up to `more` names below it.

    Answer: Listed.
    """

    NAME: ClassVar = b"rows@womm"
    FIELDS: ClassVar = "si"
    path: bytes
    more: int


@dataclass(frozen=True, slots=True)
class Get(ExtendedRequest):
    """Open a regular file, read `most` bytes from `offset`, and close it. Answer: Got."""

    NAME: ClassVar = b"get@womm"
    FIELDS: ClassVar = "soi"
    path: bytes
    offset: int
    most: int


@dataclass(frozen=True, slots=True)
class Put(ExtendedRequest):
    """Open a file, write, set its attributes, and close it. `flags`: see PUT_*. Answer: ATTRS as in Stat."""

    NAME: ClassVar = b"put@womm"
    FIELDS: ClassVar = "siosa"
    path: bytes
    flags: int
    offset: int
    data: bytes
    attributes: NewAttributes


PUT_CREATE: Final = 1
PUT_EXCLUSIVE: Final = 2
PUT_TRUNCATE: Final = 4
PUT_SYNC: Final = 8
PUT_FORCE: Final = 16
"""As `force` of NewAttributes."""


@dataclass(frozen=True, slots=True)
class Access(ExtendedRequest):
    """access(2), by the rights of the user. Answer: STATUS."""

    NAME: ClassVar = b"access@womm"
    FIELDS: ClassVar = "si"
    path: bytes
    mode: int


@dataclass(frozen=True, slots=True)
class Stats(ExtendedRequest):
    """LSTAT of many paths. Answer: NAME with those that are there, in the order of the request."""

    NAME: ClassVar = b"stats@womm"
    FIELDS: ClassVar = "S"
    paths: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Mknod(ExtendedRequest):
    """Make a named pipe or a socket. Answer: STATUS."""

    NAME: ClassVar = b"mknod@womm"
    FIELDS: ClassVar = "si"
    path: bytes
    mode: int


@dataclass(frozen=True, slots=True)
class Seek(ExtendedRequest):
    """Where data is next (else: a hole), as lseek(2) says it. Answer: Position."""

    NAME: ClassVar = b"seek@womm"
    FIELDS: ClassVar = "sob"
    path: bytes
    offset: int
    data: bool


@dataclass(frozen=True, slots=True)
class Find(ExtendedRequest):
    """Where a file is now that was renamed. Answer: FoundPath."""

    NAME: ClassVar = b"find@womm"
    FIELDS: ClassVar = "qq"
    dev: int
    ino: int


@dataclass(frozen=True, slots=True)
class Largest(ExtendedRequest):
    """How large an open file may become; 0: that is not known. Answer: Position."""

    NAME: ClassVar = b"largest@womm"
    FIELDS: ClassVar = "s"
    handle: bytes


@dataclass(frozen=True, slots=True)
class Expect(ExtendedRequest):
    """Say which version of a file the next writes are for; empty: none that a file has. Answer: STATUS.

    `named`: the writes are only made while the file has a name; ESTALE: it has none.
    """

    NAME: ClassVar = b"expect@womm"
    FIELDS: ClassVar = "sbv"
    handle: bytes
    named: bool
    version: tuple[int, ...]


EXTENSIONS: Final[tuple[type[ExtendedRequest], ...]] = (
    PosixRename,
    Statvfs,
    Hardlink,
    Fsync,
    Lsetstat,
    Limits,
    Tree,
    Rows,
    Get,
    Put,
    Access,
    Stats,
    Mknod,
    Seek,
    Find,
    Largest,
    Expect,
)
OFFERED: Final = ((b"newline", b"\n"), *((kind.NAME, kind.VERSION) for kind in EXTENSIONS))
"""What a server names in its first words, with its versions."""


def pack_request(request: ExtendedRequest) -> bytes:
    """Pack the body of an EXTENDED packet."""
    return string(request.NAME) + request.pack()
