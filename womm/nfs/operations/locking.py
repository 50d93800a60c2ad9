"""LOCK, LOCKT, LOCKU, RELEASE_LOCKOWNER (RFC 7530), TEST_STATEID, FREE_STATEID (RFC 8881 18.38, 18.48)."""

from dataclasses import dataclass
from functools import partial
from struct import Struct

from womm.nfs.compound import Body, CompoundContext
from womm.nfs.constants import (
    MAX_U32,
    MAX_U64,
    OPAQUE_LIMIT,
    READ_LT,
    READW_LT,
    SHARE_READ,
    SHARE_WRITE,
    WRITE_LT,
    WRITEW_LT,
    Op,
)
from womm.nfs.operations.stateids import check_regular, find, read_stateid, sequenced
from womm.nfs.state.locks import END, Range
from womm.nfs.state.records import LockOwner, LockState, Open, Stateid
from womm.nfs.status import NFSError, Status
from womm.nfs.xdr import BadXDR, Reader, pack_opaque, pack_u32, pack_u64

_STATEID = Struct(">I12s")


def _range(offset: int, length: int) -> tuple[int, int]:
    """Return start and end; a length of all ones means to the end of the file, whatever that will be."""
    if length == 0 or (length != MAX_U64 and offset + length > MAX_U64):
        raise NFSError(Status.INVAL)
    return offset, END if length == MAX_U64 else offset + length


def _is_write(kind: int) -> bool:
    if kind not in (READ_LT, WRITE_LT, READW_LT, WRITEW_LT):
        raise BadXDR(f"nfs_lock_type4 has no {kind}")
    return kind in (WRITE_LT, WRITEW_LT)


def _denied(held: Range[LockOwner]) -> NFSError:
    """LOCK4denied: who has what."""
    length = MAX_U64 if held.end == END else held.end - held.start
    body = pack_u64(held.start) + pack_u64(length) + pack_u32(WRITE_LT if held.write else READ_LT)
    return NFSError(
        Status.DENIED, body + pack_u64(held.owner.client.clientid) + pack_opaque(held.owner.owner)
    )


@dataclass(frozen=True, slots=True)
class _Wanted:
    """The range that a LOCK asks for."""

    start: int
    end: int
    write: bool
    reclaim: bool


@dataclass(frozen=True, slots=True)
class _NewOwner:
    """open_to_lock_owner4: the open under which a lock owner locks for the first time."""

    open_seqid: int
    open_stateid: Stateid
    seqid: int
    clientid: int
    name: bytes


async def op_lock(context: CompoundContext, reader: Reader) -> Body:
    write, reclaim = _is_write(reader.u32()), reader.boolean()
    offset, length = reader.u64(), reader.u64()
    new: _NewOwner | None = None
    if reader.boolean():
        open_seqid, open_stateid = reader.u32(), read_stateid(context, reader)
        new = _NewOwner(open_seqid, open_stateid, reader.u32(), reader.u64(), reader.text(OPAQUE_LIMIT))
    else:
        stateid, seqid = read_stateid(context, reader), reader.u32()
    check_regular(context)
    wanted = _Wanted(*_range(offset, length), write, reclaim)
    opens = context.state.opens
    if new is not None:
        as_new = partial(_lock_as_new_owner, context, wanted, new)
        if context.minor:
            return await as_new()
        opened = opens.by_other.get(new.open_stateid.other)
        if not isinstance(opened, Open):
            raise NFSError(opens.unknown(new.open_stateid))
        context.state.clients.renew(opened.client)
        return await sequenced(opened.owner, Op.LOCK, new.open_seqid, as_new)
    as_known = partial(_lock_as_known_owner, context, wanted, stateid)
    if context.minor:
        return await as_known()
    known = opens.by_other.get(stateid.other)
    if not isinstance(known, LockState):
        raise NFSError(opens.unknown(stateid))
    context.state.clients.renew(known.client)
    return await sequenced(known.owner, Op.LOCK, seqid, as_known)


async def _lock_as_new_owner(context: CompoundContext, wanted: _Wanted, new: _NewOwner) -> bytes:
    opens = context.state.opens
    held = find(context, new.open_stateid)
    if not isinstance(held, Open) or not held.owner.confirmed:
        raise NFSError(Status.BAD_STATEID)
    if context.minor == 0 and new.clientid != held.client.clientid:
        raise NFSError(Status.STALE_CLIENTID)
    owner = context.state.lock_owner(held.client, new.name)
    fresh = context.key() not in owner.locks
    if context.minor == 0 and not fresh and new.seqid != (owner.seqid + 1) & MAX_U32:
        raise NFSError(Status.BAD_SEQID)  # it is not new: its sequence goes on
    state = opens.lock_state(owner, held)
    try:
        result = _lock(context, wanted, state)
    except NFSError:
        if fresh:
            opens.free_lock(state)
        raise
    owner.seqid, owner.replied, owner.reply = new.seqid, Op.LOCK, (Status.OK, result)
    return result


async def _lock_as_known_owner(context: CompoundContext, wanted: _Wanted, stateid: Stateid) -> bytes:
    held = find(context, stateid)
    if not isinstance(held, LockState):
        raise NFSError(Status.BAD_STATEID)
    return _lock(context, wanted, held)


def _lock(context: CompoundContext, wanted: _Wanted, state: LockState) -> bytes:
    """Take the range; return the new stateid."""
    context.state.check_grace(state.client, wanted.reclaim)
    if not state.open.access & (SHARE_WRITE if wanted.write else SHARE_READ):
        raise NFSError(Status.OPENMODE)
    held = context.state.lock_conflict(context.key(), state.owner, wanted.start, wanted.end, wanted.write)
    if held is not None:
        raise _denied(held)
    context.state.opens.lock(state, wanted.start, wanted.end, wanted.write)
    if context.minor:
        context.stateid = state.stateid
    return state.stateid.pack()


def op_lockt(context: CompoundContext, reader: Reader) -> Body:
    write = _is_write(reader.u32())
    offset, length = reader.u64(), reader.u64()
    clientid, name = reader.u64(), reader.text(OPAQUE_LIMIT)
    check_regular(context)
    start, end = _range(offset, length)
    client = context.client or context.state.clients.find(clientid)
    if context.state.in_grace():
        raise NFSError(Status.GRACE)
    owner = client.lock_owners.get(name)
    held = context.state.lock_conflict(context.key(), owner, start, end, write)
    if held is not None:
        raise _denied(held)
    return b""


async def op_locku(context: CompoundContext, reader: Reader) -> Body:
    _is_write(reader.u32())
    seqid, stateid = reader.u32(), read_stateid(context, reader)
    start, end = _range(reader.u64(), reader.u64())
    opens = context.state.opens

    async def unlock() -> bytes:
        held = find(context, stateid)
        if not isinstance(held, LockState):
            raise NFSError(Status.BAD_STATEID)
        opens.unlock(held, start, end)
        if context.minor:
            context.stateid = held.stateid
        return held.stateid.pack()

    if context.minor:
        return await unlock()
    known = opens.by_other.get(stateid.other)
    if not isinstance(known, LockState):
        raise NFSError(opens.unknown(stateid))
    context.state.clients.renew(known.client)
    return await sequenced(known.owner, Op.LOCKU, seqid, unlock)


def op_release_lockowner(context: CompoundContext, reader: Reader) -> Body:
    """RELEASE_LOCKOWNER (RFC 7530 16.37): its stateids go unless it holds a lock."""
    client = context.state.clients.find(reader.u64())
    owner = client.lock_owners.get(reader.text(OPAQUE_LIMIT))
    if owner is None:
        return b""
    if any(state.state.ranges.of(owner) for state in owner.locks.values()):
        raise NFSError(Status.LOCKS_HELD)
    for state in list(owner.locks.values()):
        context.state.opens.free_lock(state)
    client.lock_owners.pop(owner.owner, None)
    return b""


def op_test_stateid(context: CompoundContext, reader: Reader) -> Body:
    stateids = [Stateid(*reader.fields(_STATEID)) for _ in range(reader.count(1024, 16))]
    results = [pack_u32(len(stateids))]
    for stateid in stateids:
        try:
            context.state.opens.find(stateid, context.client)
        except NFSError as exc:
            results.append(pack_u32(exc.status))
        else:
            results.append(pack_u32(Status.OK))
    return results


def op_free_stateid(context: CompoundContext, reader: Reader) -> Body:
    """FREE_STATEID (RFC 8881 18.38): only of locks that hold no range any more, and of what was revoked."""
    stateid = read_stateid(context, reader)
    if context.state.opens.free_revoked(stateid, context.client):
        return b""
    held = context.state.opens.find(stateid, context.client)
    if not isinstance(held, LockState) or held.state.ranges.of(held.owner):
        raise NFSError(Status.LOCKS_HELD)
    context.state.opens.free_lock(held)
    return b""
