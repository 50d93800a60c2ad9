"""Clients and sessions: SETCLIENTID to RENEW for 4.0, EXCHANGE_ID to RECLAIM_COMPLETE for 4.1."""

from struct import Struct
from typing import Final

from womm.nfs.attributes import MAX_IO_BYTES
from womm.nfs.compound import Body, CompoundContext
from womm.nfs.constants import (
    EID_CONFIRMED,
    EID_REQUEST_FLAGS,
    EID_SUPP_MOVED_REFER,
    EID_UPD_CONFIRMED,
    EID_USE_NON_PNFS,
    OPAQUE_LIMIT,
)
from womm.nfs.options import OVERHEAD_BYTES
from womm.nfs.state.records import ChannelLimits
from womm.nfs.status import NFSError, Status
from womm.nfs.xdr import FALSE, BadXDR, Reader, pack_opaque, pack_u32, pack_u64

MAX_CACHED_BYTES: Final = 8192
MAX_OPERATIONS: Final = 64
_CHANNEL = Struct(">6I")
_MIN_CHANNEL_BYTES: Final = 400
"""Less holds no COMPOUND that does anything, under a credential as large as RPC allows (400 bytes)."""
_MIN_BACK_BYTES: Final = 128
"""A CB_COMPOUND with CB_SEQUENCE and nothing else, under AUTH_NONE."""


# -- 4.0 ------------------------------------------------------------------------------------------------
def op_setclientid(context: CompoundContext, reader: Reader) -> Body:
    """SETCLIENTID. The callback's address is read and forgotten: the server dials nobody."""
    verifier, owner = reader.fixed(8), reader.text(OPAQUE_LIMIT)
    reader.u32()  # cb_program
    reader.text(OPAQUE_LIMIT)  # r_netid
    reader.text(OPAQUE_LIMIT)  # r_addr
    reader.u32()  # callback_ident
    try:
        client = context.state.clients.setclientid(verifier, owner, context.principal)
    except NFSError as exc:
        if exc.status is Status.CLID_INUSE:
            raise NFSError(exc.status, bytes(8)) from exc  # clientaddr4, which is nobody's business
        raise
    return pack_u64(client.clientid) + client.confirm


def op_setclientid_confirm(context: CompoundContext, reader: Reader) -> Body:
    context.state.clients.setclientid_confirm(reader.u64(), reader.fixed(8), context.principal)
    return b""


def op_renew(context: CompoundContext, reader: Reader) -> Body:
    client = context.state.clients.find(reader.u64())
    if client.minor:
        raise NFSError(Status.STALE_CLIENTID)
    return b""


# -- 4.1 ------------------------------------------------------------------------------------------------
def op_exchange_id(context: CompoundContext, reader: Reader) -> Body:
    """EXCHANGE_ID (RFC 8881 18.35). State protection: none."""
    verifier, owner, flags = reader.fixed(8), reader.text(OPAQUE_LIMIT), reader.u32()
    protection = reader.u32()
    if protection == 1:
        reader.bitmap(), reader.bitmap()
        raise NFSError(Status.INVAL)  # SP4_MACH_CRED needs RPCSEC_GSS
    if protection == 2:
        raise NFSError(Status.ENCR_ALG_UNSUPP)
    if protection:
        raise BadXDR(f"state_protect_how4 has no {protection}")
    for _ in range(reader.count(1)):
        reader.text(OPAQUE_LIMIT), reader.text(OPAQUE_LIMIT), reader.i64(), reader.u32()
    if flags & ~EID_REQUEST_FLAGS[context.minor] or not owner:
        raise NFSError(Status.INVAL)
    state = context.state
    client = state.clients.exchange_id(verifier, owner, context.principal, bool(flags & EID_UPD_CONFIRMED))
    result = EID_USE_NON_PNFS | flags & EID_SUPP_MOVED_REFER
    if client.confirmed:
        result |= EID_CONFIRMED
    instance = state.stable.instance
    return b"".join(
        (
            pack_u64(client.clientid),
            pack_u32((client.sequence + 1) & 0xFFFFFFFF),
            pack_u32(result),
            pack_u32(0),  # SP4_NONE
            pack_u64(0),  # server_owner4: minor id
            pack_opaque(instance),
            pack_opaque(instance),  # scope
            pack_u32(0),  # no nfs_impl_id4
        )
    )


def _read_channel(reader: Reader) -> tuple[int, int, int, int, int]:
    _, request, response, cached, operations, slots = reader.fields(_CHANNEL)
    for _ in range(reader.count(1)):
        reader.u32()  # RDMA
    return request, response, cached, operations, slots


def op_create_session(context: CompoundContext, reader: Reader) -> Body:
    """CREATE_SESSION (RFC 8881 18.36); without a back channel, since nothing is ever called back."""
    clientid, sequence, flags = reader.u64(), reader.u32(), reader.u32()
    request, response, cached, operations, slots = _read_channel(reader)
    back = _read_channel(reader)
    reader.u32()  # cb_program
    for _ in range(reader.count(16)):
        _read_callback_security(reader)
    if flags & ~0x7:
        raise NFSError(Status.INVAL)
    if min(request, response) < _MIN_CHANNEL_BYTES or not slots or not operations:
        raise NFSError(Status.TOOSMALL)
    # The back channel's are checked though nothing is called back: the client is to hear of its mistake.
    back_request, back_response, _, back_operations, back_slots = back
    if min(back_request, back_response) < _MIN_BACK_BYTES or not back_operations or not back_slots:
        raise NFSError(Status.TOOSMALL)
    limits = ChannelLimits(
        min(request, MAX_IO_BYTES + OVERHEAD_BYTES),
        min(response, MAX_IO_BYTES + OVERHEAD_BYTES),
        min(cached, MAX_CACHED_BYTES),
        min(operations, MAX_OPERATIONS),
        min(slots, context.state.limits.slots),
    )
    client, session = context.state.clients.create_session(clientid, sequence, context.principal, limits)
    if session is None:
        assert client.created is not None
        return client.created
    client.created = b"".join(
        (
            session.sessionid,
            pack_u32(sequence),
            pack_u32(0),  # not persistent, no back channel
            _pack_channel(
                limits.max_request_bytes,
                limits.max_response_bytes,
                limits.max_cached_bytes,
                limits.max_operations,
                limits.slots,
            ),
            _pack_channel(*back),
        )
    )
    return client.created


def _pack_channel(request: int, response: int, cached: int, operations: int, slots: int) -> bytes:
    return _CHANNEL.pack(0, request, response, cached, operations, slots) + pack_u32(0)


def _read_callback_security(reader: Reader) -> None:
    flavor = reader.u32()
    if flavor == 0:
        return
    if flavor == 1:
        reader.u32(), reader.text(255), reader.u32(), reader.u32()
        for _ in range(reader.count(16)):
            reader.u32()
    elif flavor == 6:
        reader.u32(), reader.text(OPAQUE_LIMIT), reader.text(OPAQUE_LIMIT)
    else:
        raise BadXDR(f"callback_sec_parms4 has no {flavor}")


def op_destroy_session(context: CompoundContext, reader: Reader) -> Body:
    sessionid = reader.fixed(16)
    session = context.state.clients.sessions.get(sessionid)
    if session is None:
        raise NFSError(Status.BADSESSION)
    if session is context.session and context.index != context.count - 1:
        raise NFSError(Status.NOT_ONLY_OP)
    context.state.clients.destroy_session(session)
    return b""


def op_bind_conn_to_session(context: CompoundContext, reader: Reader) -> Body:
    """BIND_CONN_TO_SESSION (RFC 8881 18.34): for the fore channel only."""
    sessionid, direction = reader.fixed(16), reader.u32()
    reader.boolean()  # RDMA
    session = context.state.clients.sessions.get(sessionid)
    if session is None:
        raise NFSError(Status.BADSESSION)
    if direction == 2:  # the back channel alone
        raise NFSError(Status.INVAL)
    if direction not in (1, 3, 7):
        raise BadXDR(f"channel_dir_from_client4 has no {direction}")
    return b"".join((sessionid, pack_u32(1), FALSE))


def op_destroy_clientid(context: CompoundContext, reader: Reader) -> Body:
    clientid = reader.u64()
    if context.client is not None and context.client.clientid == clientid:
        raise NFSError(Status.CLIENTID_BUSY)
    context.state.clients.destroy_clientid(clientid)
    return b""


def op_reclaim_complete(context: CompoundContext, reader: Reader) -> Body:
    if reader.boolean():  # of one filesystem that has moved here: none has
        if context.node is None:
            raise NFSError(Status.NOFILEHANDLE)
        return b""
    assert context.client is not None
    context.state.reclaim_complete(context.client)
    return b""
