"""SFTP version 6 on the wire, the server's half: packing replies, reading requests, errors.

Source: draft-ietf-secsh-filexfer-13, as asyncssh's client speaks it. Only version 6 has times in nanoseconds,
and error codes that tell a full disk from a failure. Beside the draft's codes, the message of every error
begins with "errno=N " (N as Linux numbers it), which a client of ours reads.
"""

import errno
import os
import stat
from dataclasses import dataclass
from enum import IntEnum
from struct import Struct
from struct import error as StructError
from typing import Final

VERSION: Final = 6
MAX_MESSAGE_BYTES: Final = (4 << 20) + 1024
"""What asyncssh's client takes and sends."""
MAX_DATA_BYTES: Final = 4 << 20

_U32: Final = Struct(">I")
_U64: Final = Struct(">Q")
_HEAD: Final = Struct(">IBI")
_DATA: Final = Struct(">IBII")
DATA_HEAD_BYTES: Final = _DATA.size


class Kind(IntEnum):
    INIT = 1
    VERSION = 2
    OPEN = 3
    CLOSE = 4
    READ = 5
    WRITE = 6
    LSTAT = 7
    FSTAT = 8
    SETSTAT = 9
    FSETSTAT = 10
    OPENDIR = 11
    READDIR = 12
    REMOVE = 13
    MKDIR = 14
    RMDIR = 15
    REALPATH = 16
    STAT = 17
    RENAME = 18
    READLINK = 19
    LINK = 21
    STATUS = 101
    HANDLE = 102
    DATA = 103
    NAME = 104
    ATTRS = 105
    EXTENDED = 200
    EXTENDED_REPLY = 201


OK: Final = 0
EOF: Final = 1
_FAILURE: Final = 4
BAD_MESSAGE: Final = 5
_CODES: Final = {
    errno.ENOENT: 2,
    errno.EACCES: 3,
    errno.EPERM: 3,
    errno.EOPNOTSUPP: 8,
    errno.EBADF: 9,
    errno.EEXIST: 11,
    errno.EROFS: 12,
    errno.ENOSPC: 14,
    errno.EDQUOT: 15,
    errno.ENOTEMPTY: 18,
    errno.ENOTDIR: 19,
    errno.ENAMETOOLONG: 20,
    errno.EILSEQ: 20,
    errno.ELOOP: 21,
    errno.EINVAL: 23,
    errno.EISDIR: 24,
}
# What other systems number otherwise.
_LINUX: Final = {
    errno.EAGAIN: 11,
    errno.EDEADLK: 35,
    errno.ENAMETOOLONG: 36,
    errno.ENOTEMPTY: 39,
    errno.ELOOP: 40,
    errno.EILSEQ: 84,
    errno.EOPNOTSUPP: 95,
    errno.ENOTSUP: 95,
    errno.ESTALE: 116,
    errno.EDQUOT: 122,
}


class BadMessage(Exception):
    """A request that cannot be read."""


class Reader:
    """The fields of one request, one after the other. Raises BadMessage where there is no such field."""

    __slots__ = ("_at", "_data")

    def __init__(self, data: memoryview, at: int = 0) -> None:
        self._data = data
        self._at = at

    def byte(self) -> int:
        self._at += 1
        try:
            return self._data[self._at - 1]
        except IndexError:
            raise BadMessage("a request ends too early") from None

    def u32(self) -> int:
        try:
            (value,) = _U32.unpack_from(self._data, self._at)
        except StructError:
            raise BadMessage("a request ends too early") from None
        self._at += 4
        return int(value)

    def u64(self) -> int:
        try:
            (value,) = _U64.unpack_from(self._data, self._at)
        except StructError:
            raise BadMessage("a request ends too early") from None
        self._at += 8
        return int(value)

    def offset(self) -> int:
        """A place in a file, or its size. Raises OSError: EINVAL for what no file has."""
        value = self.u64()
        if value >> 63:
            raise OSError(errno.EINVAL, "an offset that no file has")
        return value

    def view(self) -> memoryview:
        """A string, not copied: valid as long as the message is."""
        size = self.u32()
        end = self._at + size
        if end > len(self._data):
            raise BadMessage("a request ends too early")
        found = self._data[self._at : end]
        self._at = end
        return found

    def string(self) -> bytes:
        return bytes(self.view())

    @property
    def more(self) -> bool:
        return self._at < len(self._data)


_SIZE: Final = 0x1
_PERMISSIONS: Final = 0x4
_ACCESS_TIME: Final = 0x8
_CREATE_TIME: Final = 0x10
_MODIFY_TIME: Final = 0x20
_ACL: Final = 0x40
_OWNER_GROUP: Final = 0x80
_SUBSECOND: Final = 0x100
_BITS: Final = 0x200
_ALLOCATION: Final = 0x400
_TEXT_HINT: Final = 0x800
_MIME: Final = 0x1000
_LINK_COUNT: Final = 0x2000
_UNTRANSLATED: Final = 0x4000
_CHANGE_TIME: Final = 0x8000
_EXTENDED: Final = 0x80000000


@dataclass(frozen=True, slots=True)
class Wanted:
    """Attributes to set; None: as it is. `force`: see fence.open_file."""

    size: int | None = None
    permissions: int | None = None
    atime_ns: int | None = None
    mtime_ns: int | None = None
    force: bool = False


def read_attrs(reader: Reader) -> Wanted:
    """Read ATTRS; what cannot be set (owner, times of change and birth, acl) is left out."""
    flags = reader.u32()
    reader.byte()
    size = reader.offset() if flags & _SIZE else None
    if flags & _ALLOCATION:
        reader.u64()
    if flags & _OWNER_GROUP:
        reader.view()
        reader.view()
    permissions = reader.u32() & 0o7777 if flags & _PERMISSIONS else None
    times: dict[int, int] = {}
    for flag in (_ACCESS_TIME, _CREATE_TIME, _MODIFY_TIME, _CHANGE_TIME):
        if flags & flag:
            seconds = reader.u64()
            seconds -= (seconds >> 63) << 64
            rest = reader.u32() if flags & _SUBSECOND else 0
            if rest >= 1_000_000_000:
                raise BadMessage("more nanoseconds than a second has")
            times[flag] = seconds * 1_000_000_000 + rest
    if flags & _ACL:
        reader.view()
    if flags & _BITS:
        reader.u64()
    if flags & _TEXT_HINT:
        reader.byte()
    if flags & _MIME:
        reader.view()
    if flags & _LINK_COUNT:
        reader.u32()
    if flags & _UNTRANSLATED:
        reader.view()
    force = False
    if flags & _EXTENDED:
        for _ in range(reader.u32()):
            name, value = reader.string(), reader.string()
            force |= name == b"force@womm" and value == b"1"
    return Wanted(size, permissions, times.get(_ACCESS_TIME), times.get(_MODIFY_TIME), force)


_TYPES: Final = {
    stat.S_IFREG: 1,
    stat.S_IFDIR: 2,
    stat.S_IFLNK: 3,
    stat.S_IFSOCK: 6,
    stat.S_IFCHR: 7,
    stat.S_IFBLK: 8,
    stat.S_IFIFO: 9,
}
_ATTRS_1: Final = Struct(">IBQ")
_ATTRS_2: Final = Struct(">IqIqI")
_ATTRS_FLAGS: Final = (
    _SIZE | _OWNER_GROUP | _PERMISSIONS | _ACCESS_TIME | _MODIFY_TIME | _SUBSECOND | _EXTENDED
)
_owners: dict[tuple[int, int], bytes] = {}


def _owner(ids: tuple[int, int]) -> bytes:
    uid, gid = b"%d" % ids[0], b"%d" % ids[1]
    if len(_owners) > 1000:
        _owners.clear()
    packed = _owners[ids] = b"%b%b%b%b" % (_U32.pack(len(uid)), uid, _U32.pack(len(gid)), gid)
    return packed


def _pair(name: bytes) -> bytes:
    return _U32.pack(len(name)) + name


_INO, _DEV, _CTIME, _NLINK, _BLOCKS = map(
    _pair, (b"ino@womm", b"dev@womm", b"ctime@womm", b"nlink@womm", b"blocks@womm")
)
_FIVE: Final = _U32.pack(5)
_LENGTHS: Final = [_U32.pack(size) for size in range(24)]
"""Of the decimal numbers in the extended pairs."""


def pack_attrs(found: os.stat_result) -> bytes:
    """Pack ATTRS: all that the draft has a field for, and the extended pairs of inode, device, change time
    in nanoseconds, number of links, and blocks of 512 bytes, as decimal numbers."""
    mode = found.st_mode
    ids = (found.st_uid, found.st_gid)
    atime, mtime = divmod(found.st_atime_ns, 1_000_000_000), divmod(found.st_mtime_ns, 1_000_000_000)
    ino, dev, ctime = b"%d" % found.st_ino, b"%d" % found.st_dev, b"%d" % found.st_ctime_ns
    nlink, blocks = b"%d" % found.st_nlink, b"%d" % found.st_blocks
    return b"".join(
        (
            _ATTRS_1.pack(_ATTRS_FLAGS, _TYPES.get(mode & 0o170000, 4), found.st_size),
            _owners.get(ids) or _owner(ids),
            _ATTRS_2.pack(mode, *atime, *mtime),
            _FIVE,
            _INO,
            _LENGTHS[len(ino)],
            ino,
            _DEV,
            _LENGTHS[len(dev)],
            dev,
            _CTIME,
            _LENGTHS[len(ctime)],
            ctime,
            _NLINK,
            _LENGTHS[len(nlink)],
            nlink,
            _BLOCKS,
            _LENGTHS[len(blocks)],
            blocks,
        )
    )


_NO_ATTRS: Final = b"\0\0\0\0\5"


def pack_string(data: bytes) -> bytes:
    return _U32.pack(len(data)) + data


def pack_name(name: bytes, attrs: bytes = _NO_ATTRS) -> bytes:
    return _U32.pack(len(name)) + name + attrs


def message(kind: Kind, request: int, body: bytes) -> bytes:
    return _HEAD.pack(len(body) + 5, kind, request) + body


def names(request: int, packed: list[bytes], at_end: bool) -> bytes:
    body = _U32.pack(len(packed)) + b"".join(packed)
    return message(Kind.NAME, request, body + b"\1" if at_end else body)


def data_head(buffer: bytearray, request: int, size: int, at_end: bool) -> None:
    """Write the head of a DATA message before the `size` bytes at DATA_HEAD_BYTES; cut what is after them."""
    del buffer[DATA_HEAD_BYTES + size :]
    if at_end:
        buffer += b"\1"
    _DATA.pack_into(buffer, 0, len(buffer) - 4, Kind.DATA, request, size)


def version(extensions: tuple[bytes, ...]) -> bytes:
    body = _U32.pack(VERSION)
    for extension in extensions:
        name, _, value = extension.partition(b"=")
        body += pack_string(name) + pack_string(value)
    return _U32.pack(len(body) + 1) + bytes((Kind.VERSION,)) + body


def status(request: int, code: int = OK, words: str = "") -> bytes:
    text = words.encode(errors="surrogateescape")
    return message(Kind.STATUS, request, _U32.pack(code) + pack_string(text) + pack_string(b""))


def failure(request: int, error: OSError) -> bytes:
    """A STATUS that tells an error of the operating system."""
    number = error.errno or errno.EIO
    words = (error.strerror or str(error)).encode(errors="replace").decode()
    return status(request, _CODES.get(number, _FAILURE), f"errno={_LINUX.get(number, number)} {words}")
