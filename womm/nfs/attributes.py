"""fattr4: bitmaps and attribute values (RFC 7530 5, RFC 8881 5, RFC 7862 12.2, RFC 8276 8.2).

Strategy: for each bitmap that a client asks for - there are a handful - a plan is made once: which WANT_* the
backend is asked for, and segments of the value: runs of numbers, packed by one struct from one
attrgetter, and the few that vary in length. So a GETATTR costs a few calls and only what is asked for is
fetched.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from operator import attrgetter
from struct import Struct
from typing import Any, Final

from womm.nfs.constants import Attr, FileType
from womm.nfs.filesystem import (
    NOW,
    WANT_CHANGE,
    WANT_DEVICE,
    WANT_LINKS,
    WANT_MODE,
    WANT_OWNER,
    WANT_SIZE,
    WANT_SPACE,
    WANT_TIMES,
    WANT_TYPE,
    Attributes,
    Limits,
    Now,
    Settings,
    Space,
)
from womm.nfs.status import NFSError, Status
from womm.nfs.xdr import BadXDR, Reader, pack_bitmap, pack_opaque, pack_u32


def mask_of(attributes: Sequence[Attr]) -> int:
    return sum(1 << attribute for attribute in attributes)


_COMMON: Final = mask_of([attribute for attribute in Attr if attribute < Attr.SUPPATTR_EXCLCREAT])
SUPPORTED: Final = {
    0: _COMMON,
    1: _COMMON | 1 << Attr.SUPPATTR_EXCLCREAT,
    2: _COMMON
    | mask_of([Attr.SUPPATTR_EXCLCREAT, Attr.CHANGE_ATTR_TYPE, Attr.MODE_UMASK, Attr.XATTR_SUPPORT]),
}
"""By minor version."""
WRITE_ONLY: Final = mask_of([Attr.TIME_ACCESS_SET, Attr.TIME_MODIFY_SET, Attr.MODE_UMASK])
SETTABLE: Final = WRITE_ONLY | mask_of([Attr.SIZE, Attr.MODE, Attr.OWNER, Attr.OWNER_GROUP])
EXCLUSIVE_SETTABLE: Final = mask_of([Attr.SIZE, Attr.MODE, Attr.OWNER, Attr.OWNER_GROUP])
"""With EXCLUSIVE4_1: the times hold the verifier."""
MODE_BIT: Final = 1 << Attr.MODE
MAX_IO_BYTES: Final = 1 << 20

ID_LIMIT: Final = 1024


class Describe:
    """What attributes need besides the file's own: the export's, and the server's.

    `owner` and `group` turn a uid and a gid into XDR.
    """

    __slots__ = ("fsid", "group", "lease_s", "limits", "max_io", "owner")

    def __init__(
        self,
        fsid: tuple[int, int],
        lease_s: int,
        limits: Limits,
        owner: Callable[[int], bytes],
        group: Callable[[int], bytes],
        *,
        max_io: int = MAX_IO_BYTES,
    ) -> None:
        self.fsid = fsid
        self.lease_s = lease_s
        self.limits = limits
        self.owner = owner
        self.group = group
        self.max_io = max_io


@dataclass(slots=True)
class Subject:
    """One file whose attributes are written; what a plan does not need is left as it is."""

    attributes: Attributes
    describe: Describe
    handle: bytes = b""
    space: Space | None = None
    error: Status = Status.OK
    """rdattr_error"""
    mounted_on: int = 0


_u32 = Struct(">I").pack
_u64 = Struct(">Q").pack


def _ratio(total: Callable[[Space], int]) -> Callable[[Subject], bytes]:
    return lambda subject: _u64(total(subject.space) if subject.space is not None else 0)


def _flag(get: Callable[[Limits], bool]) -> Callable[[Subject], bytes]:
    return lambda subject: _u32(get(subject.describe.limits))


@lru_cache(maxsize=4096)
def pack_id(number: int) -> bytes:
    """An owner as RFC 7530 5.9 has it for AUTH_SYS: the decimal number, without a domain."""
    return pack_opaque(b"%d" % number)


_NUMBERS: Final[dict[Attr, tuple[str, tuple[str, ...]]]] = {
    # attribute: struct format, fields of Attributes
    Attr.TYPE: ("I", ("kind",)),
    Attr.CHANGE: ("Q", ("change",)),
    Attr.SIZE: ("Q", ("size",)),
    Attr.FILEID: ("Q", ("fileid",)),
    Attr.MODE: ("I", ("mode",)),
    Attr.NUMLINKS: ("I", ("nlink",)),
    Attr.RAWDEV: ("II", ("major", "minor")),
    Attr.SPACE_USED: ("Q", ("used",)),
}
_TIMES: Final = {
    Attr.TIME_ACCESS: "atime_ns",
    Attr.TIME_METADATA: "ctime_ns",
    Attr.TIME_MODIFY: "mtime_ns",
}
_time = Struct(">qI").pack
_fsid = Struct(">QQ").pack


def _time_of(name: str) -> Callable[[Subject], bytes]:
    get = attrgetter(name)
    return lambda subject: _time(*divmod(get(subject.attributes), 1_000_000_000))


_OTHERS: Final[dict[Attr, Callable[[Subject], bytes]]] = {
    Attr.FH_EXPIRE_TYPE: lambda subject: _u32(0),  # FH4_PERSISTENT
    Attr.LINK_SUPPORT: _flag(lambda limits: limits.hard_links),
    Attr.SYMLINK_SUPPORT: _flag(lambda limits: limits.symlinks),
    Attr.NAMED_ATTR: lambda subject: _u32(0),
    Attr.FSID: lambda subject: _fsid(*subject.describe.fsid),
    Attr.UNIQUE_HANDLES: lambda subject: _u32(1),
    Attr.LEASE_TIME: lambda subject: _u32(subject.describe.lease_s),
    Attr.RDATTR_ERROR: lambda subject: _u32(subject.error),
    Attr.ACLSUPPORT: lambda subject: _u32(0),
    Attr.CANSETTIME: lambda subject: _u32(1),
    Attr.CASE_INSENSITIVE: _flag(lambda limits: limits.case_insensitive),
    Attr.CASE_PRESERVING: lambda subject: _u32(1),
    Attr.CHOWN_RESTRICTED: lambda subject: _u32(1),
    Attr.FILEHANDLE: lambda subject: pack_opaque(subject.handle),
    Attr.FILES_AVAIL: _ratio(lambda space: space.available_files),
    Attr.FILES_FREE: _ratio(lambda space: space.free_files),
    Attr.FILES_TOTAL: _ratio(lambda space: space.total_files),
    Attr.HOMOGENEOUS: lambda subject: _u32(1),
    Attr.MAXFILESIZE: lambda subject: _u64(subject.describe.limits.max_size_bytes),
    Attr.MAXLINK: lambda subject: _u32(subject.describe.limits.max_links),
    Attr.MAXNAME: lambda subject: _u32(subject.describe.limits.max_name_bytes),
    Attr.MAXREAD: lambda subject: _u64(subject.describe.max_io),
    Attr.MAXWRITE: lambda subject: _u64(subject.describe.max_io),
    Attr.NO_TRUNC: lambda subject: _u32(1),
    Attr.OWNER: lambda subject: subject.describe.owner(subject.attributes.uid),
    Attr.OWNER_GROUP: lambda subject: subject.describe.group(subject.attributes.gid),
    Attr.SPACE_AVAIL: _ratio(lambda space: space.available_bytes),
    Attr.SPACE_FREE: _ratio(lambda space: space.free_bytes),
    Attr.SPACE_TOTAL: _ratio(lambda space: space.total_bytes),
    Attr.TIME_DELTA: lambda subject: _time(*divmod(subject.describe.limits.time_delta_ns, 1_000_000_000)),
    Attr.MOUNTED_ON_FILEID: lambda subject: _u64(subject.mounted_on or subject.attributes.fileid),
    Attr.SUPPATTR_EXCLCREAT: lambda subject: pack_bitmap(EXCLUSIVE_SETTABLE),
    Attr.CHANGE_ATTR_TYPE: lambda subject: _u32(0),  # NFS4_CHANGE_TYPE_IS_MONOTONIC_INCR
    Attr.XATTR_SUPPORT: _flag(lambda limits: limits.xattrs),
    **{attribute: _time_of(name) for attribute, name in _TIMES.items()},
}

_WANTS: Final = {
    Attr.TYPE: WANT_TYPE,
    Attr.CHANGE: WANT_CHANGE,
    Attr.SIZE: WANT_SIZE,
    Attr.MODE: WANT_MODE,
    Attr.NUMLINKS: WANT_LINKS,
    Attr.OWNER: WANT_OWNER,
    Attr.OWNER_GROUP: WANT_OWNER,
    Attr.RAWDEV: WANT_DEVICE,
    Attr.SPACE_USED: WANT_SPACE,
    Attr.TIME_ACCESS: WANT_TIMES,
    Attr.TIME_METADATA: WANT_TIMES,
    Attr.TIME_MODIFY: WANT_TIMES,
}
_OF_SPACE: Final = mask_of(
    [
        Attr.FILES_AVAIL,
        Attr.FILES_FREE,
        Attr.FILES_TOTAL,
        Attr.SPACE_AVAIL,
        Attr.SPACE_FREE,
        Attr.SPACE_TOTAL,
    ]
)


class Plan:
    """How the attributes of one bitmap are written."""

    __slots__ = ("_segments", "error_plan", "head", "mask", "needs_handle", "needs_space", "want")

    def __init__(self, mask: int, minor: int) -> None:
        mask &= SUPPORTED[minor]
        self.mask = mask
        self.head = pack_bitmap(mask)
        self.needs_space = bool(mask & _OF_SPACE)
        self.needs_handle = bool(mask >> Attr.FILEHANDLE & 1)
        self.want = 0
        self._segments: list[Callable[[Subject], bytes]] = []
        run: list[Attr] = []
        for attribute in Attr:
            if not mask >> attribute & 1:
                continue
            self.want |= _WANTS.get(attribute, 0)
            if attribute in _NUMBERS:
                run.append(attribute)
                continue
            self._end_run(run)
            if attribute == Attr.SUPPORTED_ATTRS:
                supported = pack_bitmap(SUPPORTED[minor])
                self._segments.append(lambda subject, supported=supported: supported)  # type: ignore[misc]
            else:
                self._segments.append(_OTHERS[attribute])
        self._end_run(run)

    def _end_run(self, run: list[Attr]) -> None:
        if not run:
            return
        pack = Struct(">" + "".join(_NUMBERS[attribute][0] for attribute in run)).pack
        names = [name for attribute in run for name in _NUMBERS[attribute][1]]
        get: Any = attrgetter(*names)
        if len(names) == 1:
            self._segments.append(lambda subject: pack(get(subject.attributes)))
        else:
            self._segments.append(lambda subject: pack(*get(subject.attributes)))
        run.clear()

    def encode(self, subject: Subject) -> bytes:
        """Return fattr4: the bitmap and the values."""
        values = b"".join([segment(subject) for segment in self._segments])
        return self.head + pack_u32(len(values)) + values


@lru_cache(maxsize=512)
def plan(mask: int, minor: int) -> Plan:
    """Return the plan of a bitmap; what is not supported is left out of it (RFC 7530 16.7.4)."""
    return Plan(mask, minor)


def check_readable(mask: int) -> None:
    """GETATTR, READDIR, VERIFY: attributes that can only be set are an error (RFC 7530 16.7.4)."""
    if mask & WRITE_ONLY:
        raise NFSError(Status.INVAL)


@dataclass(frozen=True, slots=True)
class Decoded:
    """A fattr4 that a client wants to be set."""

    mask: int
    settings: Settings
    umask: int | None = None


def decode_settings(reader: Reader, minor: int) -> Decoded:
    """Read a fattr4. Raises NFSError: ATTRNOTSUPP, INVAL, BADOWNER, BADXDR."""
    mask = reader.bitmap()
    values = Reader(reader.text(65536))
    if mask & ~SUPPORTED[minor]:
        raise NFSError(Status.ATTRNOTSUPP)
    if mask & ~SETTABLE:
        raise NFSError(Status.INVAL)
    size = mode = uid = gid = umask = None
    atime: int | Now | None = None
    mtime: int | Now | None = None
    if mask >> Attr.SIZE & 1:
        size = values.u64()
    if mask >> Attr.MODE & 1:
        mode = _mode(values.u32())
    if mask >> Attr.OWNER & 1:
        uid = _identity(values.text(ID_LIMIT))
    if mask >> Attr.OWNER_GROUP & 1:
        gid = _identity(values.text(ID_LIMIT))
    if mask >> Attr.TIME_ACCESS_SET & 1:
        atime = _time_to_set(values)
    if mask >> Attr.TIME_MODIFY_SET & 1:
        mtime = _time_to_set(values)
    if mask >> Attr.MODE_UMASK & 1:
        if mode is not None:
            raise NFSError(Status.INVAL)
        wanted, umask = _mode(values.u32()), values.u32() & 0o777
        mode = wanted & ~umask
    if values.left:
        raise BadXDR("more attribute values than the bitmap names")
    return Decoded(mask, Settings(mode, uid, gid, size, atime, mtime), umask)


def _mode(mode: int) -> int:
    if mode & ~0o7777:
        raise NFSError(Status.INVAL)
    return mode


def _identity(name: bytes) -> int:
    """Read a numeric owner; names would need a directory of users, which no client asks of AUTH_SYS."""
    if not name:
        raise NFSError(Status.INVAL)
    if not name.isdigit() or len(name) > 10 or (len(name) > 1 and name[:1] == b"0"):
        raise NFSError(Status.BADOWNER)
    number = int(name)
    if number >= 0xFFFFFFFF:  # -1 means "leave it" to chown
        raise NFSError(Status.BADOWNER)
    return number


def _time_to_set(values: Reader) -> int | Now:
    how = values.u32()
    if how == 0:
        return NOW
    if how != 1:
        raise BadXDR(f"settime4 has no {how}")
    seconds, rest = values.i64(), values.u32()
    if rest >= 1_000_000_000:
        raise NFSError(Status.INVAL)
    return seconds * 1_000_000_000 + rest


FILE_TYPES: Final = {kind.value: kind for kind in FileType}
