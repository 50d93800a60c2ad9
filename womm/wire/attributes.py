"""The attributes of files in SFTP's packets: ATTRS that one side sets, and ATTRS that the other side tells.

The draft has no field for some facts that a file server needs. They are extended pairs, decimal numbers:
inode, device, time of the last change of the inode in nanoseconds, number of links, blocks of 512 bytes. And
`force@womm` in ATTRS to set asks for the owner's right to do what the mode forbids.
"""

import os
import stat
from dataclasses import dataclass
from struct import Struct
from struct import error as StructError
from typing import Final, NamedTuple, Self

from womm.wire.fields import U32, U64, BadMessage, Reader, string
from womm.wire.sftp import FILE_TYPES, SPECIAL_TYPE, UNKNOWN_TYPE

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
_TIMES: Final = (_ACCESS_TIME, _CREATE_TIME, _MODIFY_TIME, _CHANGE_TIME)
"""In the order in which they stand in a packet."""

_FORCE: Final = b"force@womm"
_INO: Final = b"ino@womm"
_DEV: Final = b"dev@womm"
_CTIME: Final = b"ctime@womm"
_NLINK: Final = b"nlink@womm"
_BLOCKS: Final = b"blocks@womm"

_TIME: Final = Struct(">QI")
_SECOND_NS: Final = 1_000_000_000
NO_ATTRIBUTES: Final = U32.pack(0) + bytes((UNKNOWN_TYPE,))


@dataclass(frozen=True, slots=True)
class NewAttributes:
    """Attributes to set; None: as it is. `force`: the owner's right to do what the mode forbids."""

    size: int | None = None
    permissions: int | None = None
    atime_ns: int | None = None
    mtime_ns: int | None = None
    force: bool = False

    def pack(self) -> bytes:
        flags, parts = 0, [bytes((UNKNOWN_TYPE,))]
        if self.size is not None:
            flags |= _SIZE
            parts.append(U64.pack(self.size))
        if self.permissions is not None:
            flags |= _PERMISSIONS
            parts.append(U32.pack(self.permissions))
        for flag, time_ns in ((_ACCESS_TIME, self.atime_ns), (_MODIFY_TIME, self.mtime_ns)):
            if time_ns is not None:
                flags |= flag | _SUBSECOND
                seconds, rest = divmod(time_ns, _SECOND_NS)
                parts.append(_TIME.pack(seconds & 0xFFFFFFFFFFFFFFFF, rest))
        if self.force:
            flags |= _EXTENDED
            parts.append(U32.pack(1) + string(_FORCE) + string(b"1"))
        return U32.pack(flags) + b"".join(parts)

    @classmethod
    def read(cls, reader: Reader) -> Self:
        """Read ATTRS; leave out what cannot be set (owner, times of change and birth, acl)."""
        flags = reader.u32()
        reader.byte()
        size = reader.offset() if flags & _SIZE else None
        if flags & _ALLOCATION:
            reader.u64()
        if flags & _OWNER_GROUP:
            reader.view()
            reader.view()
        permissions = reader.u32() & 0o7777 if flags & _PERMISSIONS else None
        times = {flag: _read_time(reader, flags) for flag in _TIMES if flags & flag}
        pairs = _read_rest(reader, flags)
        force = pairs.get(_FORCE) == b"1"
        return cls(size, permissions, times.get(_ACCESS_TIME), times.get(_MODIFY_TIME), force)


def _read_time(reader: Reader, flags: int) -> int:
    seconds = reader.u64()
    seconds -= (seconds >> 63) << 64
    rest = reader.u32() if flags & _SUBSECOND else 0
    if rest >= _SECOND_NS:
        raise BadMessage("more nanoseconds than a second has")
    return seconds * _SECOND_NS + rest


def _read_rest(reader: Reader, flags: int) -> dict[bytes, bytes]:
    """Read what comes after the times; return the extended pairs."""
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
    if not flags & _EXTENDED:
        return {}
    return {reader.string(): reader.string() for _ in range(reader.u32())}


class Stat(NamedTuple):
    """A file as the user's side has it."""

    mode: int
    """With the bits of its type."""
    size: int
    mtime_ns: int
    ctime_ns: int
    atime_ns: int
    dev: int
    ino: int
    nlink: int
    blocks: int

    @property
    def version(self) -> tuple[int, int, int, int, int]:
        """Equal: the same bytes."""
        return self.size, self.mtime_ns, self.ctime_ns, self.ino, self.dev

    @property
    def base(self) -> tuple[int, int, int, int]:
        """What the user's side compares before it writes: what is in it, whatever its name and mode."""
        return self.size, self.mtime_ns, self.ino, self.dev


# Strategy: a listing has tens of thousands of these, so `pack_stat` and `read_stat` do without Reader.
_STAT_HEAD: Final = Struct(">IBQ")
_STAT_MODE_AND_TIMES: Final = Struct(">IqIqI")
_STAT_FLAGS: Final = (
    _SIZE | _OWNER_GROUP | _PERMISSIONS | _ACCESS_TIME | _MODIFY_TIME | _SUBSECOND | _EXTENDED
)
_PACKED_INO, _PACKED_DEV, _PACKED_CTIME, _PACKED_NLINK, _PACKED_BLOCKS = map(
    string, (_INO, _DEV, _CTIME, _NLINK, _BLOCKS)
)
_FIVE: Final = U32.pack(5)
_LENGTHS: Final = [U32.pack(size) for size in range(24)]
"""Of the decimal numbers in the extended pairs."""
_MODES: Final = {kind: mode for mode, kind in FILE_TYPES.items()}
_owners: dict[tuple[int, int], bytes] = {}
_u32, _u64 = U32.unpack_from, U64.unpack_from


def _owner(ids: tuple[int, int]) -> bytes:
    if len(_owners) > 1000:
        _owners.clear()
    packed = _owners[ids] = string(b"%d" % ids[0]) + string(b"%d" % ids[1])
    return packed


def pack_stat(found: os.stat_result) -> bytes:
    """Pack ATTRS: all that the draft has a field for, and the extended pairs."""
    mode = found.st_mode
    ids = (found.st_uid, found.st_gid)
    atime, mtime = divmod(found.st_atime_ns, _SECOND_NS), divmod(found.st_mtime_ns, _SECOND_NS)
    ino, dev, ctime = b"%d" % found.st_ino, b"%d" % found.st_dev, b"%d" % found.st_ctime_ns
    nlink, blocks = b"%d" % found.st_nlink, b"%d" % found.st_blocks
    return b"".join(
        (
            _STAT_HEAD.pack(_STAT_FLAGS, FILE_TYPES.get(mode & 0o170000, SPECIAL_TYPE), found.st_size),
            _owners.get(ids) or _owner(ids),
            _STAT_MODE_AND_TIMES.pack(mode, *atime, *mtime),
            _FIVE,
            _PACKED_INO,
            _LENGTHS[len(ino)],
            ino,
            _PACKED_DEV,
            _LENGTHS[len(dev)],
            dev,
            _PACKED_CTIME,
            _LENGTHS[len(ctime)],
            ctime,
            _PACKED_NLINK,
            _LENGTHS[len(nlink)],
            nlink,
            _PACKED_BLOCKS,
            _LENGTHS[len(blocks)],
            blocks,
        )
    )


def read_stat(data: bytes, pos: int) -> tuple[Stat, int]:
    """Read ATTRS at `pos`; return them and where they end. Raises BadMessage."""
    size = mode = 0
    try:
        flags = _u32(data, pos)[0]
        kind = data[pos + 4]
        pos += 5
        if flags & _SIZE:
            size = _u64(data, pos)[0]
            pos += 8
        if flags & _ALLOCATION:
            pos += 8
        if flags & _OWNER_GROUP:
            pos += 4 + _u32(data, pos)[0]
            pos += 4 + _u32(data, pos)[0]
        if flags & _PERMISSIONS:
            mode = _u32(data, pos)[0]
            pos += 4
        times, pos = _times_at(data, pos, flags)
        pairs, nlink, pos = _rest_at(data, pos, flags)
        found = Stat(
            (mode & 0o7777) | (stat.S_IFMT(mode) or _MODES.get(kind, 0)),
            size,
            times.get(_MODIFY_TIME, 0),
            int(pairs.get(_CTIME, times.get(_CHANGE_TIME, 0))),
            times.get(_ACCESS_TIME, 0),
            int(pairs.get(_DEV, 0)),
            int(pairs.get(_INO, 0)),
            int(pairs.get(_NLINK, nlink)),
            int(pairs.get(_BLOCKS, 0)),
        )
    except (StructError, IndexError, ValueError) as exc:
        raise BadMessage(f"no attributes: {exc}") from None
    if pos > len(data):
        raise BadMessage("attributes beyond the end")
    return found, pos


def _times_at(data: bytes, pos: int, flags: int) -> tuple[dict[int, int], int]:
    """Return the times, by their flags, in nanoseconds, and where they end."""
    times = {}
    for flag in _TIMES:
        if flags & flag:
            seconds = _u64(data, pos)[0]
            times[flag] = (seconds - (1 << 64) if seconds >> 63 else seconds) * _SECOND_NS
            pos += 8
            if flags & _SUBSECOND:
                times[flag] += _u32(data, pos)[0]
                pos += 4
    return times, pos


def _rest_at(data: bytes, pos: int, flags: int) -> tuple[dict[bytes, bytes], int, int]:
    """Return what comes after the times: the extended pairs, the number of links, and the end."""
    nlink = 1
    if flags & _ACL:
        pos += 4 + _u32(data, pos)[0]
    if flags & _BITS:
        pos += 8
    if flags & _TEXT_HINT:
        pos += 1
    if flags & _MIME:
        pos += 4 + _u32(data, pos)[0]
    if flags & _LINK_COUNT:
        nlink = _u32(data, pos)[0]
        pos += 4
    if flags & _UNTRANSLATED:
        pos += 4 + _u32(data, pos)[0]
    pairs = {}
    if flags & _EXTENDED:
        count = _u32(data, pos)[0]
        pos += 4
        for _ in range(count):
            middle = pos + 4 + _u32(data, pos)[0]
            end = middle + 4 + _u32(data, middle)[0]
            pairs[data[pos + 4 : middle]] = data[middle + 4 : end]
            pos = end
    return pairs, nlink, pos
