"""Operations on the current file handle: PUTFH to RESTOREFH, LOOKUP, SECINFO."""

from collections.abc import Awaitable
from typing import Final

from womm.nfs.compound import Body, CompoundContext
from womm.nfs.constants import FHSIZE, NAME_LIMIT, FileType
from womm.nfs.exports import PseudoNode, Served
from womm.nfs.filesystem import Node
from womm.nfs.status import NFSError, Status
from womm.nfs.xdr import Reader, pack_opaque, pack_u32, pack_u32s

FLAVORS: Final = pack_u32(1) + pack_u32(1)
"""SECINFO's answer: AUTH_SYS."""


def read_name(reader: Reader, served: Served) -> bytes:
    """Read a component4 (RFC 7530 12.7): any bytes but / and NUL; "." and ".." name nothing here."""
    name = reader.text(NAME_LIMIT)
    if not name:
        raise NFSError(Status.INVAL)
    if len(name) > served.fs.limits.max_name_bytes:
        raise NFSError(Status.NAMETOOLONG)
    if name in (b".", b".."):
        raise NFSError(Status.BADNAME)
    if b"/" in name or b"\0" in name:
        raise NFSError(Status.BADCHAR)
    return name


def op_putfh(context: CompoundContext, reader: Reader) -> Body | Awaitable[Body]:
    handle = reader.text(FHSIZE)
    found = context.service.find_handle(handle)
    if found is None:
        return _putfh(context, handle)
    context.served, context.node = found
    context.stateid = None
    return b""


async def _putfh(context: CompoundContext, handle: bytes) -> Body:
    context.go(*await context.service.resolve_handle(handle))
    return b""


def op_putrootfh(context: CompoundContext, reader: Reader) -> Body:
    context.go(*context.service.root)
    return b""


def op_getfh(context: CompoundContext, reader: Reader) -> Body:
    return pack_opaque(context.service.handle_of(context.served, context.here.key))


def op_savefh(context: CompoundContext, reader: Reader) -> Body:
    context.saved_served, context.saved_node = context.served, context.node
    context.saved_stateid = context.stateid
    return b""


def op_restorefh(context: CompoundContext, reader: Reader) -> Body:
    if context.saved_node is None:
        raise NFSError(Status.RESTOREFH if context.minor == 0 else Status.NOFILEHANDLE)
    context.served, context.node = context.saved_served, context.saved_node
    context.stateid = context.saved_stateid
    return b""


async def look_up(context: CompoundContext, name: bytes) -> tuple[Served, Node]:
    """Find a name in the current directory, also where an export begins."""
    directory = context.directory()
    await context.permit(directory, 1)
    node = await context.served.fs.lookup(directory, name)
    if isinstance(node, PseudoNode) and node.served is not None:
        return node.served, node.served.fs.root()
    return context.served, node


async def op_lookup(context: CompoundContext, reader: Reader) -> Body:
    context.go(*await look_up(context, read_name(reader, context.served)))
    return b""


async def op_lookupp(context: CompoundContext, reader: Reader) -> Body:
    directory = context.directory()
    await context.permit(directory, 1)
    service = context.service
    if directory.key == context.served.fs.root().key and context.served is not service.pseudo:
        if context.served is service.root[0]:
            raise NFSError(Status.NOENT)
        # Out of an export into the tree of names above it: as far as its root, which tells nothing.
        context.go(*service.root)
        return b""
    context.go(context.served, await context.served.fs.parent(directory))
    return b""


async def op_secinfo(context: CompoundContext, reader: Reader) -> Body:
    name = read_name(reader, context.served)
    await look_up(context, name)
    if context.minor:
        # It consumes the current file handle (RFC 8881 2.6.3.1.1.8).
        context.node = None
    return FLAVORS


async def op_secinfo_no_name(context: CompoundContext, reader: Reader) -> Body:
    style = reader.u32()
    if style > 1:
        raise NFSError(Status.BADXDR)
    if style == 1:  # the parent's
        await op_lookupp(context, reader)
    context.node = None
    return FLAVORS


def op_access(context: CompoundContext, reader: Reader) -> Awaitable[Body]:
    return _access(context, reader.u32())


async def _access(context: CompoundContext, wanted: int) -> Body:
    """ACCESS (RFC 7530 16.1, with RFC 8276's bits): what the mode says; the backend may still refuse."""
    attributes = await context.attributes()
    served = context.served
    mode_bits = _rwx(context, attributes.mode, attributes.uid, attributes.gid)
    directory = attributes.kind is FileType.DIRECTORY
    supported = 0x1F if directory else 0x2D
    if served.fs.limits.xattrs and context.minor == 2:
        supported |= 0x1C0
    allowed = 0
    if mode_bits & 4:
        allowed |= 0x01 | 0x40 | 0x100
    if mode_bits & 2 and not served.read_only:
        allowed |= 0x04 | 0x08 | 0x80
        if directory and mode_bits & 1:
            allowed |= 0x10
    if mode_bits & 1:
        allowed |= 0x02 if directory else 0x20
    return pack_u32s(supported & wanted, allowed & supported & wanted)


def _rwx(context: CompoundContext, mode: int, uid: int, gid: int) -> int:
    caller = context.credential
    if caller.uid == 0:
        directory = context.here.kind is FileType.DIRECTORY
        return 7 if directory or mode & 0o111 else 6
    if context.served.owner is not None or caller.uid == uid:
        return mode >> 6 & 7
    if caller.gid == gid or gid in caller.gids:
        return mode >> 3 & 7
    return mode & 7
