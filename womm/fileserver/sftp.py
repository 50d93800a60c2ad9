"""SFTP version 6 as a client, over one channel: requests are sent at once and answered in any order.

What is on the wire: see womm.wire. Here are `RequestChannel`, which numbers requests and brings each reply to
its request, `Session` with the requests, and the `as_` functions, which make a value or an error of a reply.

Rejected: asyncssh's SFTPClient. Its record per file, its tasks per block and its seconds and nanoseconds cost
several times what the link does; this is a table of numbers and three structs.
"""

import asyncio
import logging
import os
from collections import deque
from collections.abc import Callable
from typing import Final, TypeVar

import asyncssh

from womm.wire.attributes import NewAttributes, Stat, read_stat
from womm.wire.extensions import (
    Expect,
    Extended,
    ExtendedRequest,
    Get,
    Got,
    Listed,
    Lsetstat,
    PosixRename,
    Rows,
    pack_request,
)
from womm.wire.fields import U32, U64, BadMessage, Reader, read_string, string
from womm.wire.replies import (
    BODY_AT,
    init,
    message,
    read_names,
    read_number,
    read_status,
    read_version,
)
from womm.wire.rows import Row, read_rows
from womm.wire.sftp import (
    READ_ATTRIBUTES,
    READ_DATA,
    VERSION,
    WRITE_ATTRIBUTES,
    WRITE_DATA,
    Code,
    Disposition,
    Kind,
)

log = logging.getLogger(__name__)

REPLY_LIMIT: Final = 1 << 25
STUCK_S: Final = 60.0
"""Requests, and no answer for so long: the link is dead, whatever its keepalive says."""
_NO_FLAGS: Final = U32.pack(0)
"""Of LSTAT and FSTAT: any attributes."""

R = TypeVar("R", bound=Extended)


class LinkLost(Exception):
    """The link was cut: the requests may or may not have had an effect."""


class EndOfFile(Exception):
    """STATUS SSH_FX_EOF."""


Reply = tuple[int, bytes]
Names = tuple[list[tuple[bytes, Stat]], bool]


class RequestChannel(asyncssh.SSHClientSession[bytes]):
    """The `sftp` channel of one connection. `lost` is called once, when it is of no more use."""

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
        return f"<RequestChannel {'dead' if self.dead else 'up'}, {len(self._requests)} under way>"

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
                length = U32.unpack_from(unread, pos)[0]
                if length > REPLY_LIMIT:
                    raise BadMessage(f"a reply of {length} bytes")
                if size - pos - 4 < length:
                    break
                with memoryview(unread) as view:
                    packet = bytes(view[pos + 4 : pos + 4 + length])
                pos += 4 + length
                self._packet(packet)
        except BadMessage as exc:
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
        if not packet:
            raise BadMessage("a reply of no bytes")
        kind = packet[0]
        if kind == Kind.VERSION:
            version, extensions = read_version(packet)
            self.extensions.update(extensions)
            if not self._version.done():
                self._version.set_result(version)
            return
        waiter = self._requests.pop(read_number(packet), None)
        if waiter is None:
            raise BadMessage("an answer that nobody waits for")
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

    # -- packets ----------------------------------------------------------------------------------
    async def start(self) -> None:
        """Agree on the version. Raises BadMessage, LinkLost."""
        assert self._channel is not None
        self._channel.write(init())
        version = await self._version
        if version != VERSION:
            raise BadMessage(f"version {version}, not {VERSION}")

    def send(self, kind: Kind, *parts: bytes) -> "asyncio.Future[Reply]":
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
        self._unsent.append(message(kind, number, body))
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


class Session:
    """The requests, on the channel of one connection. Each is sent at once; its future has the reply."""

    def __init__(self, channel: RequestChannel) -> None:
        self._channel = channel

    def __repr__(self) -> str:
        return f"<Session {self._channel!r}>"

    @property
    def dead(self) -> bool:
        """Every request fails with LinkLost."""
        return self._channel.dead

    @property
    def extensions(self) -> dict[bytes, bytes]:
        """What the user's side offers, with the versions."""
        return self._channel.extensions

    @property
    def sent_requests(self) -> int:
        return self._channel.sent_requests

    def send(self, kind: Kind, *parts: bytes) -> "asyncio.Future[Reply]":
        return self._channel.send(kind, *parts)

    def extended(self, request: ExtendedRequest) -> "asyncio.Future[Reply]":
        return self.send(Kind.EXTENDED, pack_request(request))

    def lstat(self, path: bytes) -> "asyncio.Future[Reply]":
        return self.send(Kind.LSTAT, string(path), _NO_FLAGS)

    def fstat(self, handle: bytes) -> "asyncio.Future[Reply]":
        return self.send(Kind.FSTAT, string(handle), _NO_FLAGS)

    def fsetstat(self, handle: bytes, attributes: NewAttributes) -> "asyncio.Future[Reply]":
        return self.send(Kind.FSETSTAT, string(handle), attributes.pack())

    def open(
        self, path: bytes, how: Disposition, *, write: bool, mode: int | None = None, force: bool = False
    ) -> "asyncio.Future[Reply]":
        access = READ_DATA | READ_ATTRIBUTES | (WRITE_DATA | WRITE_ATTRIBUTES if write else 0)
        attributes = NewAttributes(permissions=mode, force=force)
        return self.send(Kind.OPEN, string(path), U32.pack(access), U32.pack(how), attributes.pack())

    def close(self, handle: bytes) -> "asyncio.Future[Reply]":
        return self.send(Kind.CLOSE, string(handle))

    def read(self, handle: bytes, offset: int, count: int) -> "asyncio.Future[Reply]":
        return self.send(Kind.READ, string(handle), U64.pack(offset), U32.pack(count))

    def write(self, handle: bytes, offset: int, data: bytes) -> "asyncio.Future[Reply]":
        return self.send(Kind.WRITE, string(handle), U64.pack(offset), U32.pack(len(data)), data)

    def expect(self, handle: bytes, base: tuple[int, ...], *, named: bool) -> "asyncio.Future[Reply]":
        return self.extended(Expect(handle, named, base))

    def get(self, path: bytes, offset: int, count: int) -> "asyncio.Future[Reply]":
        return self.extended(Get(path, offset, count))

    def rename(self, old: bytes, new: bytes) -> "asyncio.Future[Reply]":
        return self.extended(PosixRename(old, new))

    def lsetstat(self, path: bytes, attributes: NewAttributes) -> "asyncio.Future[Reply]":
        return self.extended(Lsetstat(path, attributes))

    def readlink(self, path: bytes) -> "asyncio.Future[Reply]":
        return self.send(Kind.READLINK, string(path))

    def link(self, new: bytes, old: bytes) -> "asyncio.Future[Reply]":
        return self.send(Kind.LINK, string(new), string(old), b"\0")

    def remove(self, path: bytes) -> "asyncio.Future[Reply]":
        return self.send(Kind.REMOVE, string(path))

    def rmdir(self, path: bytes) -> "asyncio.Future[Reply]":
        return self.send(Kind.RMDIR, string(path))

    async def rows(self, path: bytes, more: int) -> tuple[list[Row], bool]:
        """Return a directory and so many names below it, and whether the directory itself is whole."""
        found = as_extended(await self.extended(Rows(path, more)), Listed)
        return read_rows(found.rows), found.whole

    async def listing(self, path: bytes) -> list[tuple[bytes, Stat]]:
        """Return a whole directory, without "." and ".."."""
        handle = as_handle(await self.send(Kind.OPENDIR, string(path)))
        found: list[tuple[bytes, Stat]] = []
        try:
            while True:
                # Two at a time: the second is mostly the end, and the way there and back is saved.
                both = [self.send(Kind.READDIR, string(handle)) for _ in range(2)]
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


def _check(reply: Reply, wanted: Kind) -> bytes:
    """Return the packet. Raises what a STATUS says: OSError, EndOfFile; and BadMessage."""
    kind, packet = reply
    if kind == wanted and kind != Kind.STATUS:
        return packet
    if kind != Kind.STATUS:
        raise BadMessage(f"an answer of type {kind}, not {wanted}")
    status = read_status(packet)
    if status.code == Code.OK:
        if wanted == Kind.STATUS:
            return packet
        raise BadMessage("OK without a result")
    if status.code == Code.EOF:
        raise EndOfFile
    raise OSError(status.errno, os.strerror(status.errno))


def as_done(reply: Reply) -> None:
    _check(reply, Kind.STATUS)


def as_handle(reply: Reply) -> bytes:
    return read_string(_check(reply, Kind.HANDLE), BODY_AT)[0]


def as_stat(reply: Reply) -> Stat:
    return read_stat(_check(reply, Kind.ATTRS), BODY_AT)[0]


def as_data(reply: Reply) -> bytes:
    try:
        return read_string(_check(reply, Kind.DATA), BODY_AT)[0]
    except EndOfFile:
        return b""


def as_names(reply: Reply) -> Names:
    return read_names(_check(reply, Kind.NAME))


def as_got(reply: Reply) -> Got:
    return Got.read(_check(reply, Kind.EXTENDED_REPLY), BODY_AT)


def as_extended(reply: Reply, answer: type[R]) -> R:
    """Return what answers an extended request; `answer` is its class."""
    return answer.read(Reader(memoryview(_check(reply, Kind.EXTENDED_REPLY)), BODY_AT))
