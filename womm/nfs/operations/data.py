"""READ, WRITE, COMMIT, and 4.2's SEEK, ALLOCATE, DEALLOCATE, COPY, IO_ADVISE (RFC 7862 15)."""

from struct import Struct

from womm.nfs.compound import Body, CompoundContext
from womm.nfs.constants import FILE_SYNC, MAX_U64, SHARE_READ, SHARE_WRITE, UNSTABLE
from womm.nfs.operations import delegations
from womm.nfs.operations.attrs import drop_set_ids
from womm.nfs.operations.stateids import check_regular, find, io_file, read_stateid
from womm.nfs.state.records import ANONYMOUS, BYPASS, CURRENT, Stateid
from womm.nfs.status import NFSError, Status
from womm.nfs.xdr import FALSE, PADDING, TRUE, BadXDR, Reader, pack_bitmap, pack_u32, pack_u32s, pack_u64

_READ = Struct(">I12sQI")
_WRITE = Struct(">I12sQI")
_COPY_MAX_BYTES = 1 << 26
"""More in one COPY would keep the client waiting; it asks again for the rest."""


async def op_read(context: CompoundContext, reader: Reader) -> Body:
    seqid, other, offset, count = reader.fields(_READ)
    stateid = _current(context, Stateid(seqid, other))
    check_regular(context)
    served = context.served
    room = (context.room - 8) & ~3
    if room < min(count, 1):
        raise NFSError(context.too_big)
    count = min(count, served.describe.max_io, room)
    limit = served.fs.limits.max_size_bytes
    delegation = delegations.held_by(context)
    async with io_file(context, stateid, SHARE_READ) as file:
        if offset >= limit:
            return pack_u32s(1, 0)
        data, eof = await served.fs.read(file, offset, min(count, limit - offset))
    if delegation is not None:
        await delegations.check_version(context, delegation)
    size = len(data)
    return [pack_u32s(eof, size), data, PADDING[size & 3]]


def _current(context: CompoundContext, stateid: Stateid) -> Stateid:
    if context.minor and stateid == CURRENT:
        if context.stateid is None:
            raise NFSError(Status.BAD_STATEID)
        return context.stateid
    return stateid


async def op_write(context: CompoundContext, reader: Reader) -> Body:
    seqid, other, offset, stable = reader.fields(_WRITE)
    stateid = _current(context, Stateid(seqid, other))
    data = reader.opaque(context.served.describe.max_io + 4096)
    if stable > FILE_SYNC:
        raise BadXDR(f"stable_how4 has no {stable}")
    check_regular(context)
    context.writable()
    fs = context.served.fs
    if offset + len(data) > fs.limits.max_size_bytes:
        raise NFSError(Status.FBIG if offset <= MAX_U64 - len(data) else Status.INVAL)
    async with io_file(context, stateid, SHARE_WRITE) as file:
        await drop_set_ids(context)
        written = await fs.write(file, offset, data, stable != UNSTABLE) if len(data) else 0
    return pack_u32s(written, FILE_SYNC if stable else UNSTABLE) + context.state.stable.verifier


async def op_commit(context: CompoundContext, reader: Reader) -> Body:
    """COMMIT: the whole file, whatever range is named; no stateid comes with it."""
    offset, count = reader.u64(), reader.u32()
    check_regular(context)
    context.writable()
    if offset + count > MAX_U64:
        raise NFSError(Status.INVAL)
    file = None
    for held in context.state.opens.of_file(context.key()):
        file = held.file
        if held.access & SHARE_WRITE:
            break
    await context.served.fs.commit(context.here, file)
    return context.state.stable.verifier


async def op_seek(context: CompoundContext, reader: Reader) -> Body:
    stateid = read_stateid(context, reader)
    offset, what = reader.u64(), reader.u32()
    if what > 1:
        raise NFSError(Status.UNION_NOTSUPP)
    check_regular(context)
    async with io_file(context, stateid, SHARE_READ) as file:
        if offset > context.served.fs.limits.max_size_bytes:
            raise NFSError(Status.NXIO)
        found = await context.served.fs.seek(file, offset, what == 0)
    if found is None:
        return TRUE + pack_u64(offset)
    return FALSE + pack_u64(found)


async def op_allocate(context: CompoundContext, reader: Reader) -> Body:
    return await _space(context, reader, allocate=True)


async def op_deallocate(context: CompoundContext, reader: Reader) -> Body:
    return await _space(context, reader, allocate=False)


async def _space(context: CompoundContext, reader: Reader, *, allocate: bool) -> Body:
    stateid = read_stateid(context, reader)
    offset, length = reader.u64(), reader.u64()
    check_regular(context)
    context.writable()
    if length == 0:
        raise NFSError(Status.INVAL)
    if offset + length > context.served.fs.limits.max_size_bytes:
        raise NFSError(Status.FBIG if allocate else Status.INVAL)
    async with io_file(context, stateid, SHARE_WRITE) as file:
        await drop_set_ids(context)
        if allocate:
            await context.served.fs.allocate(file, offset, length)
        else:
            await context.served.fs.deallocate(file, offset, length)
    return b""


async def op_copy(context: CompoundContext, reader: Reader) -> Body:
    """COPY within an export, done before it is answered (RFC 7862 15.2)."""
    source_stateid, target_stateid = read_stateid(context, reader), read_stateid(context, reader)
    offset, target_offset, count = reader.u64(), reader.u64(), reader.u64()
    reader.boolean()  # consecutive: always
    reader.boolean()  # synchronous: always
    if reader.count(64):
        raise NFSError(Status.NOTSUPP)  # from another server
    if context.saved_node is None:
        raise NFSError(Status.NOFILEHANDLE)
    if context.saved_served is not context.served:
        raise NFSError(Status.XDEV)
    check_regular(context)
    context.writable()
    served, node = context.served, context.here
    fs = served.fs
    limit = fs.limits.max_size_bytes
    if offset > limit or target_offset + min(count, _COPY_MAX_BYTES) > limit:
        raise NFSError(Status.INVAL)
    if node.key == context.saved_node.key and (
        (offset < target_offset + count and target_offset < offset + count) or not count
    ):
        raise NFSError(Status.INVAL)
    context.node = context.saved_node
    try:
        check_regular(context)
        async with io_file(context, source_stateid, SHARE_READ) as source:
            context.node = node
            async with io_file(context, target_stateid, SHARE_WRITE) as target:
                await drop_set_ids(context)
                size = await fs.copy(
                    source, offset, target, target_offset, min(count or limit, _COPY_MAX_BYTES)
                )
    finally:
        context.node = node
    # No callback id; then bytes, how stable, the verifier; consecutive and synchronous.
    return b"".join(
        (pack_u32(0), pack_u64(size), pack_u32(UNSTABLE), context.state.stable.verifier, TRUE, TRUE)
    )


async def op_io_advise(context: CompoundContext, reader: Reader) -> Body:
    """IO_ADVISE: heard, and no hint is promised to be followed."""
    stateid = read_stateid(context, reader)
    reader.u64(), reader.u64(), reader.bitmap()
    check_regular(context)
    if stateid not in (ANONYMOUS, BYPASS):
        find(context, stateid)
    return pack_bitmap(0)
