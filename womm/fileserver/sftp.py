"""SFTP version 6 as a client, over one channel: requests are sent at once and answered in any order.

Rejected: asyncssh's SFTPClient. Its record per file, its tasks per block and its seconds and nanoseconds cost
several times what the link does; this is a table of numbers and three structs (draft-ietf-secsh-filexfer-13).
"""

import asyncio
import errno
import logging
import os
import re
import stat
from collections import deque
from collections.abc import Callable
from struct import Struct, error
from typing import Final, NamedTuple

import asyncssh

log = logging.getLogger(__name__)

VERSION: Final = 6
WINDOW_BYTES: Final = 1 << 24
"""What may be on the way to us: 20 MB/s need 1 MB at 50 ms; a fast link must not wait for its window."""
PACKET_BYTES: Final = 1 << 17
"""asyncssh's 32 KiB cost several times the CPU; larger ones than this cost page faults."""
REPLY_LIMIT: Final = 1 << 25
STUCK_S: Final = 60.0
"""Requests, and no answer for so long: the link is dead, whatever its keepalive says."""

INIT, VERSION_REPLY, OPEN, CLOSE, READ, WRITE, LSTAT, FSTAT = 1, 2, 3, 4, 5, 6, 7, 8
FSETSTAT, OPENDIR, READDIR, REMOVE, MKDIR, RMDIR = 10, 11, 12, 13, 14, 15
READLINK, LINK, EXTENDED = 19, 21, 200
STATUS, HANDLE, DATA, NAME, ATTRS, EXTENDED_REPLY = 101, 102, 103, 104, 105, 201
CREATE_NEW, OPEN_EXISTING = 0, 2
_READ_ACCESS: Final = 0x1 | 0x80
_WRITE_ACCESS: Final = 0x2 | 0x100

_U32 = Struct(">I")
_U64 = Struct(">Q")
_HEAD = Struct(">IBI")
_TIME = Struct(">QI")
_A_SIZE, _A_MODE, _A_ATIME, _A_CREATED, _A_MTIME, _A_ACL = 0x1, 0x4, 0x8, 0x10, 0x20, 0x40
_A_OWNER, _A_SUBSECOND, _A_BITS, _A_ALLOCATION, _A_TEXT, _A_MIME = 0x80, 0x100, 0x200, 0x400, 0x800, 0x1000
_A_LINKS, _A_UNTRANSLATED, _A_CTIME, _A_EXTENDED = 0x2000, 0x4000, 0x8000, 0x80000000
_TYPES: Final = {
    1: stat.S_IFREG,
    2: stat.S_IFDIR,
    3: stat.S_IFLNK,
    6: stat.S_IFSOCK,
    7: stat.S_IFCHR,
    8: stat.S_IFBLK,
    9: stat.S_IFIFO,
}
_ERRNOS: Final = {
    2: errno.ENOENT,
    3: errno.EACCES,
    8: errno.EOPNOTSUPP,
    9: errno.ESTALE,
    10: errno.ENOENT,
    11: errno.EEXIST,
    12: errno.EROFS,
    14: errno.ENOSPC,
    15: errno.EDQUOT,
    18: errno.ENOTEMPTY,
    19: errno.ENOTDIR,
    20: errno.ENAMETOOLONG,
    21: errno.ELOOP,
    22: errno.EPERM,
    23: errno.EINVAL,
    24: errno.EISDIR,
}
_EOF: Final = 1
_SAID = re.compile(rb"errno=(\d+) ")


class LinkLost(Exception):
    """The link was cut: what was asked for may or may not have happened."""


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


class EndOfFile(Exception):
    """STATUS SSH_FX_EOF."""


class BadReply(Exception):
    """The user's side sent what is no SFTP."""


def string(data: bytes | memoryview) -> bytes:
    return _U32.pack(len(data)) + data


def attributes(
    mode: int | None = None,
    size: int | None = None,
    atime_ns: int | None = None,
    mtime_ns: int | None = None,
    *,
    force: bool = False,
) -> bytes:
    """Pack ATTRS to set. `force`: the owner's right to do what the mode forbids (force@womm)."""
    flags, parts = 0, [b"\x05"]  # the type: unknown
    if size is not None:
        flags |= _A_SIZE
        parts.append(_U64.pack(size))
    if mode is not None:
        flags |= _A_MODE
        parts.append(_U32.pack(mode))
    for bit, time_ns in ((_A_ATIME, atime_ns), (_A_MTIME, mtime_ns)):
        if time_ns is not None:
            flags |= bit | _A_SUBSECOND
            seconds, rest = divmod(time_ns, 1_000_000_000)
            parts.append(_TIME.pack(seconds & 0xFFFFFFFFFFFFFFFF, rest))
    if force:
        flags |= _A_EXTENDED
        parts.append(_U32.pack(1) + string(b"force@womm") + string(b"1"))
    return _U32.pack(flags) + b"".join(parts)


def _skip(data: bytes, pos: int) -> int:
    """Return where a string ends."""
    end: int = pos + 4 + _U32.unpack_from(data, pos)[0]
    return end


def _read_times(data: bytes, pos: int, flags: int) -> tuple[dict[int, int], int]:
    """Unpack the times, by their bits, in nanoseconds."""
    times = {}
    for bit in (_A_ATIME, _A_CREATED, _A_MTIME, _A_CTIME):
        if flags & bit:
            seconds = _U64.unpack_from(data, pos)[0]
            times[bit] = (seconds - (1 << 64) if seconds >> 63 else seconds) * 1_000_000_000
            pos += 8
            if flags & _A_SUBSECOND:
                times[bit] += _U32.unpack_from(data, pos)[0]
                pos += 4
    return times, pos


def _read_extended(data: bytes, pos: int, flags: int) -> tuple[dict[bytes, bytes], int, int]:
    """Unpack what comes after the times: the extended pairs, the number of links, the end."""
    nlink = 1
    if flags & _A_ACL:
        pos = _skip(data, pos)
    if flags & _A_BITS:
        pos += 8
    if flags & _A_TEXT:
        pos += 1
    if flags & _A_MIME:
        pos = _skip(data, pos)
    if flags & _A_LINKS:
        nlink = _U32.unpack_from(data, pos)[0]
        pos += 4
    if flags & _A_UNTRANSLATED:
        pos = _skip(data, pos)
    pairs = {}
    if flags & _A_EXTENDED:
        count = _U32.unpack_from(data, pos)[0]
        pos += 4
        for _ in range(count):
            middle = _skip(data, pos)
            end = _skip(data, middle)
            pairs[data[pos + 4 : middle]] = data[middle + 4 : end]
            pos = end
    return pairs, nlink, pos


def read_attributes(data: bytes, pos: int) -> tuple[Stat, int]:
    """Unpack ATTRS at `pos`; return them and where they end."""
    flags = _U32.unpack_from(data, pos)[0]
    kind = data[pos + 4]
    pos += 5
    size = mode = 0
    if flags & _A_SIZE:
        size = _U64.unpack_from(data, pos)[0]
        pos += 8
    if flags & _A_ALLOCATION:
        pos += 8
    if flags & _A_OWNER:
        pos = _skip(data, _skip(data, pos))
    if flags & _A_MODE:
        mode = _U32.unpack_from(data, pos)[0]
        pos += 4
    times, pos = _read_times(data, pos, flags)
    pairs, nlink, pos = _read_extended(data, pos, flags)
    found = Stat(
        (mode & 0o7777) | (stat.S_IFMT(mode) or _TYPES.get(kind, 0)),
        size,
        times.get(_A_MTIME, 0),
        int(pairs.get(b"ctime@womm", times.get(_A_CTIME, 0))),
        times.get(_A_ATIME, 0),
        int(pairs.get(b"dev@womm", 0)),
        int(pairs.get(b"ino@womm", 0)),
        int(pairs.get(b"nlink@womm", nlink)),
        int(pairs.get(b"blocks@womm", 0)),
    )
    return found, pos


Reply = tuple[int, bytes]
Names = tuple[list[tuple[bytes, Stat]], bool]


class Session(asyncssh.SSHClientSession[bytes]):
    """One `sftp` channel. `lost` is called once, when it is of no more use."""

    def __init__(self, lost: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._lost = lost
        self._channel: asyncssh.SSHClientChannel[bytes] | None = None
        self._unread = bytearray()
        self._unsent: list[bytes] = []
        self._requests: dict[int, asyncio.Future[Reply]] = {}
        self._order: deque[tuple[int, float]] = deque()
        self._heard_s = 0.0
        self._next = 0
        self._version: asyncio.Future[int] = self._loop.create_future()
        self.extensions: dict[bytes, bytes] = {}
        self.dead = False
        self.received_bytes = 0
        self.sent_requests = 0

    def __repr__(self) -> str:
        return f"<Session {'dead' if self.dead else 'up'}, {len(self._requests)} under way>"

    # -- what asyncssh calls ----------------------------------------------------------------------
    def connection_made(self, chan: "asyncssh.SSHClientChannel[bytes]") -> None:
        self._channel = chan

    def data_received(self, data: bytes, datatype: int | None) -> None:
        self.received_bytes += len(data)
        self._heard_s = self._loop.time()
        unread = self._unread
        unread += data
        pos, size = 0, len(unread)
        try:
            while size - pos >= 4:
                length = _U32.unpack_from(unread, pos)[0]
                if length > REPLY_LIMIT:
                    raise BadReply(f"a reply of {length} bytes")
                if size - pos - 4 < length:
                    break
                with memoryview(unread) as view:
                    packet = bytes(view[pos + 4 : pos + 4 + length])
                pos += 4 + length
                self._packet(packet)
        except (BadReply, error, IndexError, ValueError) as exc:
            log.warning("the user's side sent what is no SFTP: %s", exc)
            self.abort()
            return
        if pos:
            del unread[:pos]

    def connection_lost(self, exc: Exception | None) -> None:
        self._end()

    def eof_received(self) -> bool:
        return False

    def _packet(self, packet: bytes) -> None:
        kind = packet[0]
        if kind == VERSION_REPLY:
            pos = 5
            while pos < len(packet):
                name, pos = read_string(packet, pos)
                self.extensions[name], pos = read_string(packet, pos)
            if not self._version.done():
                self._version.set_result(_U32.unpack_from(packet, 1)[0])
            return
        waiter = self._requests.pop(_U32.unpack_from(packet, 1)[0], None)
        if waiter is None:
            raise BadReply("an answer that nobody waits for")
        if not waiter.done():
            waiter.set_result((kind, packet))

    def _end(self) -> None:
        if self.dead:
            return
        self.dead = True
        waiting: list[asyncio.Future[Reply] | asyncio.Future[int]] = [*self._requests.values(), self._version]
        for waiter in waiting:
            if not waiter.done():
                waiter.set_exception(LinkLost())
                waiter.exception()  # nobody may wait for it
        self._requests.clear()
        self._lost()

    def abort(self) -> None:
        """Give it up; what waits fails with LinkLost."""
        if self._channel is not None:
            self._channel.abort()
        self._end()

    def check(self) -> None:
        """Give it up if requests wait and nothing has come for STUCK_S; called now and then.

        A slow link takes its time for what was sent before.
        """
        now = self._loop.time()
        while self._order and self._order[0][0] not in self._requests:
            self._order.popleft()
        if self._order and now - max(self._order[0][1], self._heard_s) > STUCK_S:
            log.warning("no answer from the user's side for %g s", STUCK_S)
            self.abort()

    # -- requests ---------------------------------------------------------------------------------
    async def start(self) -> None:
        """Agree on the version. Raises BadReply, LinkLost."""
        assert self._channel is not None
        self._channel.write(_U32.pack(5) + bytes([INIT]) + _U32.pack(VERSION))
        version = await self._version
        if version != VERSION:
            raise BadReply(f"version {version}, not {VERSION}")

    def send(self, kind: int, *parts: bytes) -> "asyncio.Future[Reply]":
        """Send a request now; the future has its reply. Fails with LinkLost."""
        waiter: asyncio.Future[Reply] = self._loop.create_future()
        if self.dead or self._channel is None:
            waiter.set_exception(LinkLost())
            waiter.exception()
            return waiter
        number = self._next
        self._next = (number + 1) & 0xFFFFFFFF
        self._requests[number] = waiter
        self._order.append((number, self._loop.time()))
        if len(self._order) > 4 * len(self._requests) + 64:
            self._order = deque(item for item in self._order if item[0] in self._requests)
        self.sent_requests += 1
        body = b"".join(parts)
        if not self._unsent:
            self._loop.call_soon(self._send)
        self._unsent.append(_HEAD.pack(len(body) + 5, kind, number) + body)
        return waiter

    def _send(self) -> None:
        """Send what has come together: each write to a channel costs two encrypted packets."""
        unsent, self._unsent = self._unsent, []
        if self.dead or self._channel is None:
            return
        try:
            self._channel.write(b"".join(unsent))
        except (OSError, asyncssh.Error):
            self.abort()

    def extended(self, name: bytes, *parts: bytes) -> "asyncio.Future[Reply]":
        return self.send(EXTENDED, string(name), *parts)

    def lstat(self, path: bytes) -> "asyncio.Future[Reply]":
        return self.send(LSTAT, string(path), b"\0\0\0\0")

    def fstat(self, handle: bytes) -> "asyncio.Future[Reply]":
        return self.send(FSTAT, string(handle), b"\0\0\0\0")

    def open(
        self, path: bytes, how: int, *, write: bool, mode: int | None = None, force: bool = False
    ) -> "asyncio.Future[Reply]":
        access = _READ_ACCESS | (_WRITE_ACCESS if write else 0)
        return self.send(
            OPEN, string(path), _U32.pack(access), _U32.pack(how), attributes(mode=mode, force=force)
        )

    def close(self, handle: bytes) -> "asyncio.Future[Reply]":
        return self.send(CLOSE, string(handle))

    def read(self, handle: bytes, offset: int, count: int) -> "asyncio.Future[Reply]":
        return self.send(READ, string(handle), _U64.pack(offset), _U32.pack(count))

    def write(self, handle: bytes, offset: int, data: bytes) -> "asyncio.Future[Reply]":
        return self.send(WRITE, string(handle), _U64.pack(offset), _U32.pack(len(data)), data)

    def expect(self, handle: bytes, base: tuple[int, ...], *, named: bool) -> "asyncio.Future[Reply]":
        """Say what the next writes are for; an empty `base` is no version that a file has."""
        packed = b"".join(_U64.pack(number & 0xFFFFFFFFFFFFFFFF) for number in base)
        facts = _U32.pack(named) + _U32.pack(bool(base))
        return self.extended(b"expect@womm", string(handle), facts, packed)

    def get(self, path: bytes, offset: int, count: int) -> "asyncio.Future[Reply]":
        return self.extended(b"get@womm", string(path), _U64.pack(offset), _U32.pack(count))

    def rename(self, old: bytes, new: bytes) -> "asyncio.Future[Reply]":
        return self.extended(b"posix-rename@openssh.com", string(old), string(new))

    def lsetstat(self, path: bytes, packed: bytes) -> "asyncio.Future[Reply]":
        return self.extended(b"lsetstat@openssh.com", string(path), packed)

    async def listing(self, path: bytes) -> list[tuple[bytes, Stat]]:
        """Return a whole directory, without "." and ".."."""
        handle = as_handle(await self.send(OPENDIR, string(path)))
        found: list[tuple[bytes, Stat]] = []
        try:
            while True:
                # Two at a time: the second is mostly the end, and the way there and back is saved.
                both = [self.send(READDIR, string(handle)) for _ in range(2)]
                end = False
                for waiter in both:
                    try:
                        names, last = as_names(await waiter)
                        found += names
                        end = end or last
                    except EndOfFile:
                        end = True
                if end:
                    break
        finally:
            self.close(handle).add_done_callback(ignore)
        return [(name, found_stat) for name, found_stat in found if name not in (b".", b"..")]


def ignore(waiter: "asyncio.Future[Reply]") -> None:
    """Take note of a reply that nobody needs."""
    if not waiter.cancelled():
        waiter.exception()


def read_string(data: bytes, pos: int) -> tuple[bytes, int]:
    end = pos + 4 + _U32.unpack_from(data, pos)[0]
    if end > len(data):
        raise BadReply("a string beyond the end")
    return data[pos + 4 : end], end


def _check(reply: Reply, wanted: int) -> bytes:
    """Raise what a STATUS says: OSError, EndOfFile; return the packet."""
    kind, packet = reply
    if kind == wanted and kind != STATUS:
        return packet
    if kind != STATUS:
        raise BadReply(f"an answer of type {kind}, not {wanted}")
    code = _U32.unpack_from(packet, 5)[0]
    if code == 0:
        if wanted == STATUS:
            return packet
        raise BadReply("OK without a result")
    if code == _EOF:
        raise EndOfFile
    words = read_string(packet, 9)[0] if len(packet) > 13 else b""
    said = _SAID.match(words)
    number = int(said[1]) if said else _ERRNOS.get(code, errno.EIO)
    raise OSError(number, os.strerror(number))


def as_done(reply: Reply) -> None:
    _check(reply, STATUS)


def as_handle(reply: Reply) -> bytes:
    return read_string(_check(reply, HANDLE), 5)[0]


def as_stat(reply: Reply) -> Stat:
    return read_attributes(_check(reply, ATTRS), 5)[0]


def as_data(reply: Reply) -> bytes:
    try:
        return read_string(_check(reply, DATA), 5)[0]
    except EndOfFile:
        return b""


def as_names(reply: Reply) -> Names:
    packet = _check(reply, NAME)
    count = _U32.unpack_from(packet, 5)[0]
    pos = 9
    names = []
    for _ in range(count):
        name, pos = read_string(packet, pos)
        found, pos = read_attributes(packet, pos)
        names.append((name, found))
    return names, pos < len(packet) and packet[pos] != 0


def as_got(reply: Reply) -> tuple[Stat, bytes, bool]:
    """The reply of get@womm: the file after the read, the bytes, and whether they reach the end."""
    packet = _check(reply, EXTENDED_REPLY)
    found, pos = read_attributes(packet, 5)
    data, pos = read_string(packet, pos)
    return found, data, pos < len(packet) and packet[pos] != 0


def as_string(reply: Reply) -> bytes:
    return read_string(_check(reply, EXTENDED_REPLY), 5)[0]


def as_u64s(reply: Reply, count: int) -> tuple[int, ...]:
    packet = _check(reply, EXTENDED_REPLY)
    numbers: tuple[int, ...] = Struct(f">{count}Q").unpack_from(packet, 5)
    return numbers
