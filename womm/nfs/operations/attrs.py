"""GETATTR, SETATTR, VERIFY, NVERIFY, and the extended attributes of RFC 8276."""

from dataclasses import replace
from typing import Final

from womm.nfs.attributes import Plan, Subject, check_readable, decode_settings, plan
from womm.nfs.compound import Body, CompoundContext
from womm.nfs.constants import SHARE_WRITE, Attr, FileType
from womm.nfs.exports import Served
from womm.nfs.filesystem import WANT_MODE, WANT_PERMISSION, Attributes, Change, Node, Now, Settings
from womm.nfs.operations.stateids import io_file, read_stateid
from womm.nfs.status import NFSError, Status
from womm.nfs.xdr import FALSE, PADDING, TRUE, Reader, pack_bitmap, pack_opaque, pack_u32, pack_u64

_SETUID: Final = 0o4000
_SETGID: Final = 0o2000
_GROUP_EXECUTE: Final = 0o010
XATTR_NAME_LIMIT: Final = 248
"""255 less "user."."""
XATTR_VALUE_LIMIT: Final = 65536


async def encode_attributes(
    context: CompoundContext, served: Served, node: Node, wanted: Plan, attributes: Attributes | None = None
) -> bytes:
    """Return the fattr4 of a file; `attributes` if they are there already."""
    if attributes is None:
        attributes = await served.fs.getattr(node, wanted.want)
    subject = Subject(attributes, served.describe)
    if wanted.needs_handle:
        subject.handle = context.service.handle_of(served, node.key)
    if wanted.needs_space:
        subject.space = await served.fs.statfs()
    if served.mounted_on and node is served.fs.root():
        subject.mounted_on = served.mounted_on
    return wanted.encode(subject)


async def op_getattr(context: CompoundContext, reader: Reader) -> Body:
    mask = reader.bitmap()
    check_readable(mask)
    return await encode_attributes(context, context.served, context.here, plan(mask, context.minor))


async def op_verify(context: CompoundContext, reader: Reader) -> Body:
    if not await _same(context, reader):
        raise NFSError(Status.NOT_SAME)
    return b""


async def op_nverify(context: CompoundContext, reader: Reader) -> Body:
    if await _same(context, reader):
        raise NFSError(Status.SAME)
    return b""


async def _same(context: CompoundContext, reader: Reader) -> bool:
    """Compare the file's attributes with the given ones, as XDR."""
    mask = reader.bitmap()
    values = reader.text(65536)
    check_readable(mask)
    if mask >> Attr.RDATTR_ERROR & 1:
        raise NFSError(Status.INVAL)
    wanted = plan(mask, context.minor)
    if wanted.mask != mask:
        raise NFSError(Status.ATTRNOTSUPP)
    found = await encode_attributes(context, context.served, context.here, wanted)
    return found[len(wanted.head) + 4 :] == values


def check_rights(context: CompoundContext, attributes: Attributes, settings: Settings) -> None:
    """Raise what chmod, chown and utimes are refused with (POSIX; owners as on disk only)."""
    caller = context.credential
    if caller.uid == 0 or context.served.owner is not None:
        return
    mine = caller.uid == attributes.uid
    times = [time for time in (settings.atime_ns, settings.mtime_ns) if time is not None]
    if (settings.mode is not None or any(not isinstance(time, Now) for time in times)) and not mine:
        raise NFSError(Status.PERM)
    if settings.uid not in (None, attributes.uid):
        raise NFSError(Status.PERM)
    if settings.gid not in (None, attributes.gid) and not (
        mine and (settings.gid == caller.gid or settings.gid in caller.gids)
    ):
        raise NFSError(Status.PERM)


def allowed_mode(context: CompoundContext, mode: int, gid: int) -> int:
    """Return the mode that the caller may give a file of group `gid`: setgid only in its own (chmod(2))."""
    caller = context.credential
    if caller.uid == 0 or context.served.owner is not None or gid == caller.gid or gid in caller.gids:
        return mode
    return mode & ~_SETGID


async def drop_set_ids(context: CompoundContext) -> None:
    """Before a write: a file that somebody else than root writes to is no longer setuid or setgid (write(2)).

    The kernel does it for a server that is not root.
    """
    if context.credential.uid == 0 or context.served.owner is not None:
        return
    mode = (await context.attributes(WANT_MODE)).mode
    kept = mode & ~(_SETUID | (_SETGID if mode & _GROUP_EXECUTE else 0))
    if kept != mode:
        await context.served.fs.setattr(context.here, Settings(mode=kept), None)


def forget_owner(served: Served, settings: Settings) -> Settings:
    """Leave out the owner where everything has one owner: chown is accepted and forgotten."""
    if served.owner is None or (settings.uid is None and settings.gid is None):
        return settings
    return Settings(settings.mode, None, None, settings.size, settings.atime_ns, settings.mtime_ns)


async def op_setattr(context: CompoundContext, reader: Reader) -> Body:
    stateid = read_stateid(context, reader)
    decoded = decode_settings(reader, context.minor)
    node, served = context.here, context.served
    context.writable()
    if decoded.umask is not None:
        raise NFSError(Status.INVAL)  # RFC 8275 6: only for what is created
    settings = forget_owner(served, decoded.settings)
    if context.credential.uid != 0 and served.owner is None:
        attributes = await served.fs.getattr(node, WANT_PERMISSION)
        check_rights(context, attributes, settings)
        if settings.mode is not None:
            gid = attributes.gid if settings.gid is None else settings.gid
            settings = replace(settings, mode=allowed_mode(context, settings.mode, gid))
        if isinstance(settings.mtime_ns, Now) and context.credential.uid != attributes.uid:
            await context.permit(node, 2)
    if settings.size is None:
        await served.fs.setattr(node, settings, None)
    else:
        if node.kind is not FileType.REGULAR:
            raise NFSError(Status.ISDIR if node.kind is FileType.DIRECTORY else Status.INVAL)
        if settings.size > served.fs.limits.max_size_bytes:
            raise NFSError(Status.FBIG)
        async with io_file(context, stateid, SHARE_WRITE) as file:
            await drop_set_ids(context)
            await served.fs.setattr(node, settings, file)
    return pack_bitmap(decoded.mask)


def pack_change(change: Change) -> bytes:
    """Return change_info4."""
    return (TRUE if change.atomic else FALSE) + pack_u64(change.before) + pack_u64(change.after)


# -- extended attributes ------------------------------------------------------------------------------
def _xattr_name(context: CompoundContext, reader: Reader) -> bytes:
    name = reader.text(1024)
    if not context.served.fs.limits.xattrs:
        raise NFSError(Status.NOTSUPP)
    if not name or b"\0" in name:
        raise NFSError(Status.INVAL)
    if len(name) > XATTR_NAME_LIMIT:
        raise NFSError(Status.NAMETOOLONG)
    if context.here.kind not in (FileType.REGULAR, FileType.DIRECTORY):
        raise NFSError(Status.PERM)  # xattr(7): "user." is for these only
    return name


async def op_getxattr(context: CompoundContext, reader: Reader) -> Body:
    name = _xattr_name(context, reader)
    await context.permit(context.here, 4)
    return pack_opaque(await context.served.fs.getxattr(context.here, name))


async def op_setxattr(context: CompoundContext, reader: Reader) -> Body:
    how = reader.u32()
    if how > 2:
        raise NFSError(Status.BADXDR)
    name = _xattr_name(context, reader)
    value = reader.text(1 << 20)
    context.writable()
    if len(value) > XATTR_VALUE_LIMIT:
        raise NFSError(Status.XATTR2BIG)
    await context.permit(context.here, 2)
    return pack_change(await context.served.fs.setxattr(context.here, name, value, how))


async def op_listxattrs(context: CompoundContext, reader: Reader) -> Body:
    cookie, limit = reader.u64(), reader.u32()
    if not context.served.fs.limits.xattrs:
        raise NFSError(Status.NOTSUPP)
    await context.permit(context.here, 4)
    names = sorted(await context.served.fs.listxattr(context.here))
    if cookie > len(names):
        raise NFSError(Status.BAD_COOKIE)
    packed: list[bytes] = []
    size = 16  # the cookie, the number of names, eof
    for name in names[cookie:]:
        item = pack_u32(len(name)) + name + PADDING[len(name) & 3]
        if size + len(item) > limit:
            break
        size += len(item)
        packed.append(item)
    after = cookie + len(packed)
    if not packed and cookie < len(names):
        raise NFSError(Status.TOOSMALL)
    return [pack_u64(after), pack_u32(len(packed)), *packed, TRUE if after == len(names) else FALSE]


async def op_removexattr(context: CompoundContext, reader: Reader) -> Body:
    name = _xattr_name(context, reader)
    context.writable()
    await context.permit(context.here, 2)
    return pack_change(await context.served.fs.removexattr(context.here, name))
