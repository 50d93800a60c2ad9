"""Read delegations (RFC 8881 10.4): a client that has one opens the file again without a request and believes
what it has cached of it.

Strategy: only an export whose files stay as they are gives them (`Export.constant`), so none is ever recalled
and no back channel is needed. When files have changed after all, those that are out are revoked: SEQUENCE
says so to their clients, which ask TEST_STATEID which ones, and free them (RFC 8881 10.2.1). A delegation is
an open of an owner that no client can name: what ends opens ends it, too. It knows which version of the file
it was given for: who holds it never reads bytes of another.
"""

from typing import Final

from womm.nfs.compound import Body, CompoundContext
from womm.nfs.constants import OPAQUE_LIMIT, SHARE_READ
from womm.nfs.filesystem import WANT_LINKS, WANT_SIZE, WANT_TIMES
from womm.nfs.operations.stateids import find, read_stateid
from womm.nfs.state.records import Client, Open, Stateid
from womm.nfs.status import NFSError, Status
from womm.nfs.xdr import FALSE, Reader, pack_u32, pack_u32s

OWNER: Final = bytes(OPAQUE_LIMIT + 1)
_SHARE: Final = 2
"""Half of all opens may be delegations."""
_NONE: Final = pack_u32(0)
_READ: Final = pack_u32(1)
_NO_RIGHTS: Final = bytes(16)
"""An nfsace4 that allows nobody anything: clients ask by ACCESS."""
_NONE_EXT: Final = 3
_NOT_WANTED, _NOT_SUPPORTED = 0, 3
_WANT_NONE: Final = 0x400
_WANT_VERSION: Final = WANT_SIZE | WANT_TIMES | WANT_LINKS


def none(wants: int) -> bytes:
    """open_delegation4: none; to who asked, also why (RFC 8881 18.16.3)."""
    if not wants:
        return _NONE
    return pack_u32s(_NONE_EXT, _NOT_WANTED if _refused(wants) else _NOT_SUPPORTED)


def _refused(wants: int) -> bool:
    return wants & 0xFF00 == _WANT_NONE


async def grant(context: CompoundContext, client: Client, wants: int) -> bytes:
    """Return open_delegation4 for the current file, just opened for reading."""
    opens, fs, key = context.state.opens, context.served.fs, context.key()
    if not (context.minor and context.served.constant) or _refused(wants):
        return none(wants)
    owner = context.state.open_owner(client, OWNER)
    if key in owner.opens or opens.open_count * _SHARE > context.state.limits.opens:
        return none(wants)
    version = await context.served.fs.getattr(context.here, _WANT_VERSION)
    file = await fs.open(context.here, SHARE_READ)
    # No await from here on.
    lost = context.state.clients.by_id.get(client.clientid) is not client or not context.served.constant
    if key in owner.opens or lost:
        await fs.close(file)
        return none(wants)
    held, _ = opens.open(key, owner, file, SHARE_READ, 0)
    held.version = version
    return b"".join((_READ, held.stateid.pack(), FALSE, _NO_RIGHTS))


def held_by(context: CompoundContext) -> Open | None:
    """Return the delegation of the current file that the session's client has, or believes to have."""
    client = context.client
    if client is None or not (client.revoked or OWNER in client.open_owners):
        return None
    owner, key = client.open_owners.get(OWNER), context.key()
    return (owner and owner.opens.get(key)) or client.revoked.get(key)


async def check_version(context: CompoundContext, held: Open) -> None:
    """Raise STALE when the current file is another version than that of its delegation."""
    was, now = held.version, await context.served.fs.getattr(context.here, _WANT_VERSION)
    assert was is not None
    # A new link changes the time of the last change, and no byte.
    touched = now.ctime_ns != was.ctime_ns and now.nlink == was.nlink
    if touched or (now.size, now.mtime_ns) != (was.size, was.mtime_ns):
        raise NFSError(Status.STALE)


def of(context: CompoundContext, stateid: Stateid) -> Open:
    """Return the delegation of the current file that a stateid stands for. Raises NFSError."""
    held = find(context, stateid)
    if not isinstance(held, Open) or held.owner.owner is not OWNER:
        raise NFSError(Status.BAD_STATEID)
    return held


def op_delegreturn(context: CompoundContext, reader: Reader) -> Body:
    held = of(context, read_stateid(context, reader))
    context.state.closing.append(context.state.opens.close(held))
    return b""
