"""OPEN, OPEN_CONFIRM, OPEN_DOWNGRADE, CLOSE (RFC 7530 16.16-19 and 16.2, RFC 8881 18.16-18 and 18.2)."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from womm.nfs.attributes import EXCLUSIVE_SETTABLE, Decoded, decode_settings
from womm.nfs.compound import Body, CompoundContext
from womm.nfs.constants import (
    CLAIM_DELEG_CUR_FH,
    CLAIM_DELEG_PREV_FH,
    CLAIM_DELEGATE_CUR,
    CLAIM_DELEGATE_PREV,
    CLAIM_FH,
    CLAIM_NULL,
    CLAIM_PREVIOUS,
    EXCLUSIVE,
    EXCLUSIVE4_1,
    GUARDED,
    OPAQUE_LIMIT,
    OPEN_CREATE,
    RESULT_CONFIRM,
    RESULT_LOCKTYPE_POSIX,
    SHARE_READ,
    SHARE_WANT_MASK,
    SHARE_WRITE,
    UNCHECKED,
    Attr,
    FileType,
    Op,
)
from womm.nfs.filesystem import NOTHING, WANT_CHANGE, Change, File, Node, Settings
from womm.nfs.operations import delegations
from womm.nfs.operations.attrs import forget_owner, pack_change
from womm.nfs.operations.handles import look_up, read_name
from womm.nfs.operations.names import give_owner
from womm.nfs.operations.stateids import check_regular, find, permit_access, read_stateid, sequenced
from womm.nfs.state.records import Client, Open, OpenOwner, Stateid
from womm.nfs.status import NFSError, Status
from womm.nfs.xdr import BadXDR, Reader, pack_bitmap, pack_u32

_TIMES_SET: Final = 1 << Attr.TIME_ACCESS_SET | 1 << Attr.TIME_MODIFY_SET
TRIES: Final = 4
OPENERS: Final = 16
"""So many callers of one open are known, the latest: for others the mode is checked again."""


@dataclass(slots=True)
class OpenArgs:
    seqid: int
    access: int
    deny: int
    wants: int
    clientid: int
    owner: bytes
    create: int | None
    """A createmode4; None: nothing is created."""
    verifier: bytes | None
    decoded: Decoded
    claim: int
    name: bytes
    delegated: Stateid | None
    """The delegation by which the client has the file open."""


def _read_open(context: CompoundContext, reader: Reader) -> OpenArgs:
    seqid, share, deny = reader.u32(), reader.u32(), reader.u32()
    clientid, owner = reader.u64(), reader.text(OPAQUE_LIMIT)
    create, verifier, decoded = None, None, Decoded(0, NOTHING)
    how = reader.u32()
    if how > OPEN_CREATE:
        raise BadXDR(f"opentype4 has no {how}")
    if how == OPEN_CREATE:
        create = reader.u32()
        if create > (EXCLUSIVE4_1 if context.minor else EXCLUSIVE):
            raise BadXDR(f"createmode4 has no {create}")
        if create in (EXCLUSIVE, EXCLUSIVE4_1):
            verifier = reader.fixed(8)
        if create != EXCLUSIVE:
            decoded = decode_settings(reader, context.minor)
    claim, name, delegated = reader.u32(), b"", None
    if claim == CLAIM_NULL:
        name = read_name(reader, context.served)
    elif claim == CLAIM_PREVIOUS:
        reader.u32()  # the delegation it had: it gets it again when it opens the file again
    elif claim == CLAIM_FH and context.minor:
        pass
    elif claim == CLAIM_DELEG_CUR_FH and context.minor:
        delegated = read_stateid(context, reader)
    elif claim in (CLAIM_DELEGATE_CUR, CLAIM_DELEGATE_PREV) or (
        claim == CLAIM_DELEG_PREV_FH and context.minor
    ):
        raise NFSError(Status.BAD_STATEID if claim == CLAIM_DELEGATE_CUR else Status.NOTSUPP)
    else:
        raise BadXDR(f"open_claim_type4 has no {claim}")
    wants = share & SHARE_WANT_MASK if context.minor else 0
    access = share & ~wants
    if not 1 <= access <= 3 or deny > 3:
        raise NFSError(Status.INVAL)
    return OpenArgs(
        seqid, access, deny, wants, clientid, owner, create, verifier, decoded, claim, name, delegated
    )


async def op_open(context: CompoundContext, reader: Reader) -> Body:
    args = _read_open(context, reader)
    state = context.state
    if context.client is not None:
        owner = state.open_owner(context.client, args.owner)
        return await _open(context, args, context.client, owner)
    client = state.clients.find(args.clientid)
    if client.minor:
        raise NFSError(Status.STALE_CLIENTID)
    owner = state.open_owner(client, args.owner)
    if not owner.confirmed and owner.reply is not None and args.seqid != owner.seqid:
        # Never confirmed: what came before does not count (RFC 7530 16.18.5).
        for held in list(owner.opens.values()):
            state.closing.append(state.opens.close(held))
        owner.reply = None
    retry = owner.reply is not None and args.seqid == owner.seqid
    client.under_way += 1
    try:
        body = await sequenced(owner, Op.OPEN, args.seqid, lambda: _open(context, args, client, owner))
    finally:
        client.under_way -= 1
    if retry:
        context.go(*await context.service.resolve_handle(owner.replay_handle))
    else:
        _forget_closed(context, owner)
        owner.replay_handle = context.service.handle_of(context.served, context.here.key)
    return body


def _forget_closed(context: CompoundContext, owner: OpenOwner) -> None:
    if owner.closed:
        context.state.opens.closed.pop(owner.closed, None)
        owner.closed = b""


async def _open(context: CompoundContext, args: OpenArgs, client: Client, owner: OpenOwner) -> bytes:
    """Open a file; by name, look again when another client has removed or replaced it meanwhile."""
    served, above = context.served, context.node
    if args.delegated is not None:
        delegations.of(context, args.delegated)
    for _ in range(TRIES):
        try:
            return await _open_once(context, args, client, owner)
        except NFSError as exc:
            if exc.status is not Status.STALE or above is None or context.node is above:
                raise
            context.go(served, above)
    raise NFSError(Status.DELAY)


async def _open_once(context: CompoundContext, args: OpenArgs, client: Client, owner: OpenOwner) -> bytes:
    """Find or make the file, open it, note it. A later error does not unmake the file."""
    context.state.check_grace(client, args.claim == CLAIM_PREVIOUS)
    if not context.state.opens.room():
        raise NFSError(Status.RESOURCE if context.minor == 0 else Status.SERVERFAULT)
    change, attrset = Change(0, 0, False), 0
    file: File | None = None
    made = False
    needed = args.access
    if args.claim == CLAIM_NULL:
        directory = context.directory()
        if args.create is not None:
            file, change, made, attrset = await _create(context, directory, args)
        else:
            before = await context.served.fs.getattr(directory, WANT_CHANGE)
            change = Change(before.change, before.change, False)
            context.go(*await look_up(context, args.name))
    fs = context.served.fs
    try:
        if not made:
            _check_kind(context)
            if args.create == UNCHECKED and args.decoded.settings.size == 0:
                needed |= SHARE_WRITE
            if needed & SHARE_WRITE:
                context.writable()
            if args.claim != CLAIM_PREVIOUS:
                await permit_access(context, needed)
        held = owner.opens.get(context.key())
        access = args.access if held is None else args.access | held.access
        if file is not None and access != args.access:
            await fs.close(file)
            file = None
        if file is None and (held is None or held.access != access):
            file = await fs.open(context.here, access)
        # No await from here on: what has been looked at holds.
        held = _note(context, args, owner, file, needed)
        file = None
        if context.principal not in held.openers:
            held.openers = (*held.openers[1 - OPENERS :], context.principal)
    finally:
        if file is not None:
            await fs.close(file)
    if not made and args.create == UNCHECKED and args.decoded.settings.size == 0:
        await fs.setattr(context.here, Settings(size=0), held.file)
        attrset = 1 << Attr.SIZE
    if context.minor:
        context.stateid = held.stateid
    flags = RESULT_LOCKTYPE_POSIX | (0 if owner.confirmed else RESULT_CONFIRM)
    opened = (held.stateid.pack(), pack_change(change), pack_u32(flags), pack_bitmap(attrset))
    reads = args.access == SHARE_READ and not args.deny and args.claim in (CLAIM_NULL, CLAIM_FH)
    delegation = (
        await delegations.grant(context, client, args.wants) if reads else delegations.none(args.wants)
    )
    return b"".join((*opened, delegation))


def _note(context: CompoundContext, args: OpenArgs, owner: OpenOwner, file: File | None, needed: int) -> Open:
    """Enter the open into the state; nobody may deny `needed` (SHARE_*). Raises SHARE_DENIED, EXPIRED."""
    state, client = context.state, owner.client
    if state.clients.by_id.get(client.clientid) is not client:
        raise NFSError(Status.EXPIRED if context.minor == 0 else Status.BADSESSION)
    if state.share_conflict(context.key(), needed, args.deny):
        raise NFSError(Status.SHARE_DENIED if args.claim != CLAIM_PREVIOUS else Status.RECLAIM_CONFLICT)
    held = owner.opens.get(context.key())
    if args.claim == CLAIM_PREVIOUS:
        owner.confirmed = True
    if file is None:
        if held is None or held.access | args.access != held.access:
            raise NFSError(Status.DELAY)  # it was closed meanwhile: once more
        file = held.file
        opened, unneeded = state.opens.open(context.key(), owner, file, args.access, args.deny)
        assert unneeded is file
        return opened
    return state.opened(context.key(), owner, file, args.access, args.deny)


def _check_kind(context: CompoundContext) -> None:
    """Raise what an OPEN of anything but a regular file is answered with."""
    kind = context.here.kind
    if kind is FileType.DIRECTORY:
        raise NFSError(Status.ISDIR)
    if kind is not FileType.REGULAR:
        # 4.0 has no better word for devices and the like, and clients know what to do with this one.
        link = kind is FileType.SYMLINK or context.minor == 0
        raise NFSError(Status.SYMLINK if link else Status.WRONG_TYPE)


async def _create(
    context: CompoundContext, directory: Node, args: OpenArgs
) -> tuple[File, Change, bool, int]:
    """OPEN with OPEN4_CREATE: return file, change of the directory, whether it was made, and attrset."""
    context.writable()
    await context.permit(directory, 1)
    settings = forget_owner(context.served, args.decoded.settings)
    if args.create == EXCLUSIVE4_1 and args.decoded.mask & ~EXCLUSIVE_SETTABLE & ~(1 << Attr.MODE_UMASK):
        raise NFSError(Status.INVAL)
    if context.credential.uid:
        try:
            await context.served.fs.lookup(directory, args.name)
        except (NFSError, OSError):
            await context.permit(directory, 2)
    exclusive = args.create in (GUARDED, EXCLUSIVE, EXCLUSIVE4_1)
    node, file, change, made = await context.served.fs.create(
        directory, args.name, settings, verifier=args.verifier, exclusive=exclusive, access=args.access
    )
    context.go(context.served, node)
    attrset = args.decoded.mask if made or args.verifier is not None else 0
    if args.verifier is not None and context.served.fs.limits.exclusive_times:
        attrset |= _TIMES_SET
    try:
        if made:
            await give_owner(context, directory, node, settings)
    except BaseException:
        await context.served.fs.close(file)
        raise
    return file, change, made or args.verifier is not None, attrset


def _open_of(context: CompoundContext, stateid: Stateid) -> Open:
    held = find(context, stateid)
    if not isinstance(held, Open):
        raise NFSError(Status.BAD_STATEID)
    return held


async def op_open_confirm(context: CompoundContext, reader: Reader) -> Body:
    stateid = read_stateid(context, reader)
    seqid = reader.u32()
    check_regular(context)
    held = context.state.opens.by_other.get(stateid.other)
    if not isinstance(held, Open):
        raise NFSError(context.state.opens.unknown(stateid))
    owner = held.owner

    async def confirm() -> bytes:
        if owner.confirmed:
            raise NFSError(Status.BAD_STATEID)
        found = _open_of(context, stateid)
        owner.confirmed = True
        found.seqid += 1
        return found.stateid.pack()

    context.state.clients.renew(owner.client)
    return await sequenced(owner, Op.OPEN_CONFIRM, seqid, confirm)


async def op_open_downgrade(context: CompoundContext, reader: Reader) -> Body:
    stateid = read_stateid(context, reader)
    seqid, access, deny = reader.u32(), reader.u32(), reader.u32()
    if context.minor:
        access &= ~SHARE_WANT_MASK

    async def downgrade() -> bytes:
        held = _open_of(context, stateid)
        if not held.owner.confirmed:
            raise NFSError(Status.BAD_STATEID)
        if not 1 <= access <= 3 or deny > 3:
            raise NFSError(Status.INVAL)
        context.state.opens.downgrade(held, access, deny)
        if context.minor:
            context.stateid = held.stateid
        return held.stateid.pack()

    return await _of_owner(context, Op.OPEN_DOWNGRADE, stateid, seqid, downgrade)


async def op_close(context: CompoundContext, reader: Reader) -> Body:
    seqid = reader.u32()
    stateid = read_stateid(context, reader)

    async def close() -> bytes:
        held = _open_of(context, stateid)
        owner = held.owner
        if not owner.confirmed and context.minor == 0:
            raise NFSError(Status.BAD_STATEID)
        state = context.state
        state.closing.append(state.opens.close(held))
        if context.minor == 0:
            _forget_closed(context, owner)
            owner.closed = held.other
            state.opens.closed[held.other] = owner
            return Stateid(held.seqid + 1, held.other).pack()
        if not owner.opens:
            owner.client.open_owners.pop(owner.owner, None)
        # RFC 8881 18.2.4: "the special invalid stateid"
        context.stateid = Stateid(0xFFFFFFFF, bytes(12))
        return context.stateid.pack()

    return await _of_owner(context, Op.CLOSE, stateid, seqid, close)


async def _of_owner(
    context: CompoundContext, op: Op, stateid: Stateid, seqid: int, work: Callable[[], Awaitable[bytes]]
) -> bytes:
    """Do `work` as the next request of the open's owner; 4.1 has the slots for that."""
    if context.minor:
        return await work()
    opens = context.state.opens
    held = opens.by_other.get(stateid.other)
    owner = held.owner if isinstance(held, Open) else opens.closed.get(stateid.other)
    if owner is None:
        raise NFSError(opens.unknown(stateid))
    context.state.clients.renew(owner.client)
    return await sequenced(owner, op, seqid, work)
