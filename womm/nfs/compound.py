"""COMPOUND: runs its operations one after the other over a dispatch table (RFC 7530 15.2, RFC 8881 16.2).

Strategy: an operation is a function `op_name(context, reader)` that decodes its arguments, does its work and
returns its result as XDR without the status: bytes, a list of them, or an awaitable of either - most
never wait, and then cost no coroutine. It fails by raising; the translation to a status is here and nowhere
else. Which rows are legal depends on the minor version. The reply is joined once.

What must hold over an await: the context holds its nodes and, through `Client.under_way`, its client; an
open's file is held by the backend until what runs on it has returned. Everything else is looked up again.
"""

import logging
import zlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from struct import Struct
from time import perf_counter_ns
from typing import Final

from womm.nfs import rpc
from womm.nfs.constants import LAST_OP, MAX_MINOR, RECALLABLE_STATE_REVOKED, TAG_LIMIT, FileType, Op
from womm.nfs.exports import Served, permitted
from womm.nfs.filehandles import HandleCodec
from womm.nfs.filesystem import WANT_PERMISSION, Attributes, Node
from womm.nfs.metrics import Metrics
from womm.nfs.rpc import Call, Credential
from womm.nfs.state import State
from womm.nfs.state.clients import enter_slot, leave_slot
from womm.nfs.state.records import Client, Principal, Session, Slot, Stateid
from womm.nfs.status import NFSError, Status, status_of
from womm.nfs.xdr import BadXDR, Reader, pack_opaque, pack_u32, pack_u32s

log = logging.getLogger(__name__)

Body = bytes | list[bytes]
Operation = Callable[["CompoundContext", Reader], Body | Awaitable[Body]]

MAX_OPERATIONS_4_0: Final = 256
SMALL_REPLY_BYTES: Final = 2048
"""Kept for a retry even if the client does not ask for it."""
SEQUENCE_ARGS = Struct(">16sIIII")
_SEQUENCE_RESULT = Struct(">II16sIIIII")
_HEAD_BYTES: Final = rpc.REPLY_HEAD_BYTES - 4 + 12 + _SEQUENCE_RESULT.size
"""Of a reply besides its tag and the results after SEQUENCE; without the record mark (RFC 8881 18.36.3)."""
_ROOM_4_0: Final = 1 << 22
_STATUS_BYTES: Final = 8
"""An operation's number and status: the least that its result has."""
_CHANGE_BYTES: Final = 96
"""More than the result of anything that changes something has after its status (CREATE_SESSION: 80)."""
ALONE: Final = {
    Op.EXCHANGE_ID,
    Op.CREATE_SESSION,
    Op.DESTROY_SESSION,
    Op.BIND_CONN_TO_SESSION,
    Op.DESTROY_CLIENTID,
}
"""Legal without SEQUENCE, if nothing else is in the COMPOUND."""


@dataclass(slots=True)
class Row:
    """A row of the dispatch table."""

    op: Op
    run: Operation
    first_minor: int = 0
    last_minor: int = MAX_MINOR
    needs_handle: bool = True
    error_body: bytes = b""
    """What the result carries after a status other than OK."""
    modifies: bool = False
    """A retry of it must not be done again. It is done only if its result fits (RFC 8881 2.10.6.4)."""
    ok: bytes = b""

    def __post_init__(self) -> None:
        self.ok = pack_u32s(self.op, 0)


class Service:
    """What all connections share: exports, state, handles, the dispatch table."""

    def __init__(
        self,
        *,
        state: State,
        exports: Mapping[bytes, Served],
        root: tuple[Served, Node],
        pseudo: Served,
        table: Mapping[Op, Row],
        metrics: Metrics,
        kept_handles: int,
    ) -> None:
        self.state = state
        self.handles = HandleCodec(state.stable.secret)
        self.exports = exports
        self.root = root
        self.pseudo = pseudo
        self.metrics = metrics
        self._generation = kept_handles // 2
        self._found: dict[bytes, tuple[Served, Node]] = {}
        self._earlier: dict[bytes, tuple[Served, Node]] = {}
        """What handles stand for: of those used of late, and of those used before and not again since. Two
        generations forget the others, of removed files too, without an order to keep in every call."""
        self._tables = [
            {op.value: row for op, row in table.items() if row.first_minor <= minor <= row.last_minor}
            for minor in range(MAX_MINOR + 1)
        ]
        self.inline = all(served.fs.inline for served in exports.values())

    # -- file handles -----------------------------------------------------------------------------
    def handle_of(self, served: Served, key: bytes) -> bytes:
        return self.handles.encode(served.id, key)

    def find_handle(self, handle: bytes) -> tuple[Served, Node] | None:
        """Return what a handle stands for if that needs no waiting."""
        found = self._found.get(handle)
        if found is None:
            found = self._earlier.get(handle)
            if found is None:
                return None
            self._remember(handle, found)
        served, node = found
        if served.fs.find(node.key) is node:
            return found
        del self._found[handle]
        self._earlier.pop(handle, None)
        return None

    def _remember(self, handle: bytes, found: tuple[Served, Node]) -> None:
        if len(self._found) >= self._generation:
            self._earlier, self._found = self._found, {}
        self._found[handle] = found

    async def resolve_handle(self, handle: bytes) -> tuple[Served, Node]:
        export, key = self.handles.decode(handle)
        served = self.exports.get(export)
        if served is None:
            raise NFSError(Status.STALE)
        node = served.fs.find(key)
        if node is None:
            node = await served.fs.resolve(key)
        self._remember(handle, (served, node))
        return served, node

    # -- COMPOUND ---------------------------------------------------------------------------------
    async def compound(self, call: Call, size_bytes: int) -> rpc.Reply:
        """Run a COMPOUND; return the whole reply. Raises BadXDR when its head cannot be read."""
        reader = call.args
        tag = reader.text(TAG_LIMIT)
        minor, count = reader.u32(), reader.u32()
        if minor > MAX_MINOR:
            return _reply(call.xid, Status.MINOR_VERS_MISMATCH, tag, 0, [])
        if count * 4 > reader.left:
            raise BadXDR(f"{count} operations in {reader.left} bytes")
        context = CompoundContext(self, minor, call.credential, call.flavor)
        context.count = count
        if minor:
            return await self._with_session(
                context, call.xid, tag, count=count, reader=reader, size_bytes=size_bytes
            )
        if count > MAX_OPERATIONS_4_0:
            status, results = Status.RESOURCE, [pack_u32s(reader.u32(), Status.RESOURCE)]
            return _reply(call.xid, status, tag, 1, results)
        status, results, done = await self._run(context, reader, count, 0, [])
        call.modifies = context.modifies
        if self.state.closing:
            await self.close_files()
        return _reply(call.xid, status, tag, done, results)

    async def _with_session(
        self, context: "CompoundContext", xid: int, tag: bytes, *, count: int, reader: Reader, size_bytes: int
    ) -> rpc.Reply:
        if count == 0:
            return _reply(xid, Status.OK, tag, 0, [])
        first = reader.u32()
        if first != Op.SEQUENCE:
            status = Status.OK
            if first in ALONE:
                if count > 1:
                    status = Status.NOT_ONLY_OP
            elif first <= LAST_OP[context.minor] and first >= Op.ACCESS:
                status = Status.OP_NOT_IN_SESSION
            if status is not Status.OK:
                return _reply(xid, status, tag, 1, [pack_u32s(first, status)])
            reader.pos -= 4
            status, results, done = await self._run(context, reader, count, 0, [])
            if self.state.closing:
                await self.close_files()
            return _reply(xid, status, tag, done, results)
        began = perf_counter_ns()
        try:
            entered = self._sequence(context, reader, count, size_bytes, len(tag))
        except NFSError as exc:
            self.metrics.note(Op.SEQUENCE, perf_counter_ns() - began, failed=True)
            return _reply(xid, exc.status, tag, 1, [pack_u32s(Op.SEQUENCE, exc.status)])
        if isinstance(entered, bytes):
            return rpc.reply(xid, [entered])
        slot, result = entered
        client = context.client
        assert client is not None
        self.metrics.note(Op.SEQUENCE, perf_counter_ns() - began, failed=False)
        kept: bytes | None = None
        client.under_way += 1
        try:
            status, results, done = await self._run(context, reader, count, 1, [result])
            reply = _reply(xid, status, tag, done, results)
            if isinstance(reply, bytes) and (context.cache_this or len(reply) <= SMALL_REPLY_BYTES):
                kept = reply[rpc.REPLY_HEAD_BYTES :]
        finally:
            client.under_way -= 1
            self.state.clients.renew(client)
            leave_slot(slot, kept)
        if self.state.closing:
            await self.close_files()
        return reply

    def _sequence(
        self, context: "CompoundContext", reader: Reader, count: int, size_bytes: int, tag_bytes: int
    ) -> bytes | tuple[Slot, bytes]:
        """SEQUENCE (RFC 8881 18.46), always the first operation. bytes: a retry's answer.

        After an error the slot is as it was.
        """
        start = reader.pos
        sessionid, seqid, slotid, highest, cache_this = reader.fields(SEQUENCE_ARGS)
        session = self.state.clients.sessions.get(sessionid)
        if session is None:
            raise NFSError(Status.BADSESSION)
        limits = session.limits
        if slotid >= limits.slots:
            raise NFSError(Status.BADSLOT)
        if highest >= limits.slots and highest != 0xFFFFFFFF:
            raise NFSError(Status.BAD_HIGH_SLOT)
        if size_bytes > limits.max_request_bytes:
            raise NFSError(Status.REQ_TOO_BIG)
        if count > limits.max_operations:
            raise NFSError(Status.TOO_MANY_OPS)
        context.session, context.cache_this = session, cache_this != 0
        # All of the reply counts, with what is there already (RFC 8881 18.36.3).
        most = (
            min(limits.max_cached_bytes, limits.max_response_bytes)
            if cache_this
            else limits.max_response_bytes
        )
        context.room = most - _HEAD_BYTES - tag_bytes - (-tag_bytes & 3)
        if context.room < (_STATUS_BYTES if count > 1 else 0):
            raise NFSError(context.too_big)
        # The length and the first bytes tell requests apart well enough, at no cost for a large WRITE.
        digest = zlib.crc32(memoryview(reader.data)[start + 32 : start + 288], size_bytes)
        entered = enter_slot(session, slotid, seqid, digest)
        if isinstance(entered, bytes):
            return entered
        client = session.client
        self.state.clients.renew(client)
        context.client = client
        top = limits.slots - 1
        flags = RECALLABLE_STATE_REVOKED if client.revoked else 0
        return entered, _SEQUENCE_RESULT.pack(Op.SEQUENCE, 0, sessionid, seqid, slotid, top, top, flags)

    async def _run(
        self, context: "CompoundContext", reader: Reader, count: int, done: int, results: list[bytes]
    ) -> tuple[Status, list[bytes], int]:
        """Run the operations that are left, up to the first that fails."""
        table = self._tables[context.minor]
        minor = context.minor
        note = self.metrics.note
        while done < count:
            began = perf_counter_ns()
            status = Status.OK
            extra = b""
            context.index = done
            number = reader.u32() if reader.left >= 4 else 0
            done += 1
            row = table.get(number)
            if row is None:
                if Op.ACCESS <= number <= LAST_OP[minor]:
                    status = Status.SEQUENCE_POS if number == Op.SEQUENCE else Status.NOTSUPP
                else:
                    number, status = Op.ILLEGAL, Status.OP_ILLEGAL
                results.append(pack_u32s(number, status))
                return status, results, done
            context.modifies |= row.modifies
            # What comes after it needs a status at least.
            room = context.room = context.room - (2 * _STATUS_BYTES if done < count else _STATUS_BYTES)
            try:
                if row.needs_handle and context.node is None:
                    raise NFSError(Status.NOFILEHANDLE)
                if row.modifies and room < _CHANGE_BYTES:
                    raise NFSError(context.too_big)
                body = row.run(context, reader)
                if type(body) is not bytes and type(body) is not list:
                    body = await body  # type: ignore[misc]
                room -= sum(map(len, body)) if type(body) is list else len(body)
                if room < 0:
                    # It has only read: what changes something has room.
                    raise NFSError(context.too_big)
                context.room = room + _STATUS_BYTES
                results.append(row.ok)
                if type(body) is list:
                    results += body
                elif body:
                    results.append(body)  # type: ignore[arg-type]
            except Exception as exc:
                status, extra = _failure(row.op, exc)
                if len(extra) > room:
                    status, extra = context.too_big, b""
            note(row.op, perf_counter_ns() - began, failed=status is not Status.OK)
            if status is not Status.OK:
                results.append(pack_u32s(number, status))
                results.append(extra or row.error_body)
                return status, results, done
        return Status.OK, results, done

    async def close_files(self) -> None:
        """Close the files whose opens have ended."""
        for export, file in self.state.take_closing():
            await self.exports[export].fs.close(file)


class CompoundContext:
    """What the operations of one COMPOUND share: the current and the saved file handle, who asks."""

    __slots__ = (
        "cache_this",
        "client",
        "count",
        "credential",
        "flavor",
        "index",
        "minor",
        "modifies",
        "node",
        "room",
        "saved_node",
        "saved_served",
        "saved_stateid",
        "served",
        "service",
        "session",
        "stateid",
    )

    def __init__(self, service: Service, minor: int, credential: Credential, flavor: int) -> None:
        self.service = service
        self.minor = minor
        self.credential = credential
        self.flavor = flavor
        self.served: Served = service.pseudo
        self.node: Node | None = None
        self.saved_served: Served = service.pseudo
        self.saved_node: Node | None = None
        self.stateid: Stateid | None = None
        """The current stateid of 4.1 (RFC 8881 16.2.3.1.2)."""
        self.saved_stateid: Stateid | None = None
        self.session: Session | None = None
        self.client: Client | None = None
        """Of the session; None in 4.0."""
        self.cache_this = self.modifies = False
        self.index = self.count = 0
        self.room = _ROOM_4_0
        """How many bytes the result of the operation that runs may have, after its status."""

    @property
    def principal(self) -> Principal:
        return (self.flavor, self.credential.uid)

    @property
    def state(self) -> State:
        return self.service.state

    @property
    def here(self) -> Node:
        """The current file handle's node."""
        if self.node is None:
            raise NFSError(Status.NOFILEHANDLE)
        return self.node

    @property
    def too_big(self) -> Status:
        """Return what a result that has no room in the reply is answered with."""
        if self.minor == 0:
            return Status.RESOURCE
        return Status.REP_TOO_BIG_TO_CACHE if self.cache_this else Status.REP_TOO_BIG

    def go(self, served: Served, node: Node) -> None:
        """Set the current file handle."""
        self.served, self.node, self.stateid = served, node, None

    def key(self) -> tuple[bytes, bytes]:
        """Return what names the current file in the state."""
        return self.served.id, self.here.key

    def directory(self) -> Node:
        """Return the current file handle, which must be a directory's."""
        node = self.here
        if node.kind is not FileType.DIRECTORY:
            raise NFSError(Status.SYMLINK if node.kind is FileType.SYMLINK else Status.NOTDIR)
        return node

    def writable(self) -> None:
        if self.served.read_only:
            raise NFSError(Status.ROFS)

    async def attributes(self, want: int = WANT_PERMISSION) -> Attributes:
        return await self.served.fs.getattr(self.here, want)

    async def permit(self, node: Node, want: int, served: Served | None = None) -> None:
        """Raise ACCESS unless the mode of `node` gives the caller `want` (4 read, 2 write, 1 execute)."""
        if self.credential.uid == 0 and (not want & 1 or node.kind is FileType.DIRECTORY):
            return
        served = served or self.served
        attributes = await served.fs.getattr(node, WANT_PERMISSION)
        if not permitted(served.caller(self.credential, attributes), attributes, want):
            raise NFSError(Status.ACCESS)


def _failure(op: Op, error: Exception) -> tuple[Status, bytes]:
    """Return the status of what an operation has raised, and what its result carries besides."""
    if isinstance(error, NFSError):
        return error.status, error.body
    if isinstance(error, OSError):
        status = status_of(error)
        if status is Status.IO:
            log.warning("%s: %s", op.name, error)
        return status, b""
    if isinstance(error, BadXDR):
        log.debug("%s: %s", op.name, error)
        return Status.BADXDR, b""
    # A bug: this request fails, the server goes on.
    log.error("%s failed", op.name, exc_info=error)
    return Status.SERVERFAULT, b""


def _reply(xid: int, status: int, tag: bytes, count: int, results: list[bytes]) -> rpc.Reply:
    return rpc.reply_in_pieces(xid, [pack_u32(status), pack_opaque(tag), pack_u32(count), *results])
