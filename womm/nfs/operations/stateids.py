"""Stateids in arguments: which open they stand for, and 4.0's sequence of an owner's requests."""

from collections.abc import Awaitable, Callable
from struct import Struct
from typing import Final

from womm.nfs.compound import CompoundContext
from womm.nfs.constants import MAX_U32, SHARE_READ, SHARE_WRITE, FileType, Op
from womm.nfs.filesystem import File
from womm.nfs.state.opens import allows
from womm.nfs.state.records import ANONYMOUS, BYPASS, CURRENT, LockOwner, LockState, Open, OpenOwner, Stateid
from womm.nfs.status import NFSError, Status, status_of
from womm.nfs.xdr import BadXDR, Reader

_STATEID = Struct(">I12s")

NOT_COUNTED: Final = {
    Status.STALE_CLIENTID,
    Status.STALE_STATEID,
    Status.BAD_STATEID,
    Status.BAD_SEQID,
    Status.BADXDR,
    Status.RESOURCE,
    Status.NOFILEHANDLE,
    Status.MOVED,
}
"""Errors that leave an owner's seqid as it was (RFC 7530 9.1.7)."""


def read_stateid(context: CompoundContext, reader: Reader) -> Stateid:
    """Read a stateid4; 4.1's "current stateid" becomes the one it stands for."""
    stateid = Stateid(*reader.fields(_STATEID))
    if context.minor and stateid == CURRENT:
        if context.stateid is None:
            raise NFSError(Status.BAD_STATEID)
        return context.stateid
    return stateid


def find(context: CompoundContext, stateid: Stateid) -> Open | LockState:
    """Return what a stateid stands for, which must belong to the current file; renews 4.0's lease."""
    held = context.state.opens.find(stateid, context.client)
    if held.state.key != context.key():
        raise NFSError(Status.BAD_STATEID)
    if context.client is None:
        context.state.clients.renew(held.client)
    return held


async def permit_access(context: CompoundContext, access: int) -> None:
    """Raise ACCESS unless the mode lets the caller open the current file for `access` (SHARE_*)."""
    node = context.here
    if access & SHARE_WRITE:
        await context.permit(node, 2)
    if access & SHARE_READ:
        try:
            await context.permit(node, 4)
        except NFSError:
            await context.permit(node, 1)  # to execute is to read


class _IOFile:
    """`async with`: the file that a stateid allows to be read or written; special ones open it for that."""

    __slots__ = ("_context", "_file", "_served", "_stateid", "_temporary", "_want")

    def __init__(self, context: CompoundContext, stateid: Stateid, want: int) -> None:
        self._context = context
        self._stateid = stateid
        self._want = want
        self._served = context.served
        self._temporary = False

    async def __aenter__(self) -> File:
        context, stateid, want = self._context, self._stateid, self._want
        if stateid not in (ANONYMOUS, BYPASS):
            held = find(context, stateid).open
            if not held.owner.confirmed:
                raise NFSError(Status.BAD_STATEID)
            if not allows(held.access, want):
                raise NFSError(Status.OPENMODE)
            if context.principal not in held.openers and context.served.owner is None:
                # The mode was looked at for another caller (RFC 8881 18.32.3).
                await permit_access(context, want)
                held = find(context, stateid).open
            return held.file
        node = context.here
        check_regular(context)
        if context.state.in_grace():
            raise NFSError(Status.GRACE)
        if context.state.share_conflict(context.key(), want, 0):
            raise NFSError(Status.LOCKED)
        await permit_access(context, want)
        self._file = await self._served.fs.open(node, want)
        self._temporary = True
        return self._file

    async def __aexit__(self, *exc: object) -> None:
        if self._temporary:
            await self._served.fs.close(self._file)


io_file = _IOFile


def check_regular(context: CompoundContext) -> None:
    kind = context.here.kind
    if kind is FileType.REGULAR:
        return
    if kind is FileType.DIRECTORY:
        raise NFSError(Status.ISDIR)
    if kind is FileType.SYMLINK and context.minor:
        raise NFSError(Status.SYMLINK)
    raise NFSError(Status.INVAL if context.minor == 0 else Status.WRONG_TYPE)


async def sequenced(
    owner: OpenOwner | LockOwner, op: Op, seqid: int, work: Callable[[], Awaitable[bytes]]
) -> bytes:
    """Do an owner's next request (RFC 7530 9.1.7); a retry gets the answer of the first.

    Raises BAD_SEQID when it is neither, or the one before is still running.
    """
    if owner.busy:
        raise NFSError(Status.BAD_SEQID)
    if owner.reply is not None:
        if seqid == owner.seqid and op is owner.replied:
            status, body = owner.reply
            if status is not Status.OK:
                raise NFSError(status, body)
            return body
        if seqid != (owner.seqid + 1) & MAX_U32:
            raise NFSError(Status.BAD_SEQID)
    owner.busy = True
    try:
        body = await work()
    except (NFSError, OSError, BadXDR) as exc:
        if isinstance(exc, NFSError):
            status, body = exc.status, exc.body
        else:
            status, body = status_of(exc) if isinstance(exc, OSError) else Status.BADXDR, b""
        if status not in NOT_COUNTED:
            owner.seqid, owner.replied, owner.reply = seqid, op, (status, body)
        raise
    else:
        owner.seqid, owner.replied, owner.reply = seqid, op, (Status.OK, body)
        return body
    finally:
        owner.busy = False
