"""Directories: CREATE, LINK, REMOVE, RENAME, READDIR, READLINK."""

import contextlib
from typing import Final

from womm.nfs.attributes import FILE_TYPES, Plan, Subject, check_readable, decode_settings, plan
from womm.nfs.compound import Body, CompoundContext
from womm.nfs.constants import LINK_LIMIT, Attr, FileType
from womm.nfs.exports import Served
from womm.nfs.filesystem import WANT_KEY, WANT_MODE, WANT_PERMISSION, Entry, Node, Settings, Space
from womm.nfs.operations.attrs import allowed_mode, forget_owner, pack_change
from womm.nfs.operations.handles import read_name
from womm.nfs.status import NFSError, Status, status_of
from womm.nfs.xdr import FALSE, PADDING, TRUE, Reader, pack_bitmap, pack_opaque, pack_u32, pack_u64

_STICKY: Final = 0o1000
_SETGID: Final = 0o2000
_SETID: Final = 0o6000


async def give_owner(context: CompoundContext, directory: Node, node: Node, settings: Settings) -> None:
    """Owners as on disk: what root's server makes belongs to who asked for it.

    In a setgid directory it belongs to the directory's group, as open(2) and mkdir(2) have it.
    """
    if context.served.owner is not None:
        return
    caller, fs = context.credential, context.served.fs
    uid = settings.uid if settings.uid is not None else caller.uid
    gid = settings.gid
    if gid is None:
        above = await fs.getattr(directory, WANT_PERMISSION)
        gid = above.gid if above.mode & _SETGID else caller.gid
    found = await fs.getattr(node, WANT_PERMISSION)
    with contextlib.suppress(OSError, NFSError):  # a server that is not root keeps what it makes
        if (found.uid, found.gid) != (uid, gid):
            await fs.setattr(node, Settings(uid=uid, gid=gid), None)
        if node.kind is FileType.DIRECTORY or settings.mode is None or not settings.mode & _SETID:
            return
        # chown(2) has taken these bits away.
        mode = allowed_mode(context, settings.mode, gid)
        if (await fs.getattr(node, WANT_MODE)).mode != mode:
            await fs.setattr(node, Settings(mode=mode), None)


async def op_create(context: CompoundContext, reader: Reader) -> Body:
    number = reader.u32()
    target, device = b"", (0, 0)
    if number == FileType.SYMLINK:
        target = reader.text(LINK_LIMIT)
    elif number in (FileType.BLOCK, FileType.CHARACTER):
        device = reader.u32(), reader.u32()
    directory = context.directory()
    name = read_name(reader, context.served)
    decoded = decode_settings(reader, context.minor)
    kind = FILE_TYPES.get(number)
    if kind is None or kind is FileType.REGULAR:
        raise NFSError(Status.BADTYPE)
    context.writable()
    settings = forget_owner(context.served, decoded.settings)
    if settings.size is not None:
        raise NFSError(Status.INVAL)
    await context.permit(directory, 3)
    fs = context.served.fs
    if kind is FileType.DIRECTORY:
        node, change = await fs.mkdir(directory, name, settings)
    elif kind is FileType.SYMLINK:
        if not target or b"\0" in target:
            raise NFSError(Status.INVAL)
        node, change = await fs.symlink(directory, name, target, settings)
    else:
        node, change = await fs.mknod(directory, name, kind, device, settings)
    await give_owner(context, directory, node, settings)
    context.go(context.served, node)
    mask = decoded.mask
    if kind is FileType.SYMLINK:
        mask &= ~(1 << Attr.MODE | 1 << Attr.MODE_UMASK)
    return [pack_change(change), pack_bitmap(mask)]


async def _sticky(context: CompoundContext, served: Served, directory: Node, name: bytes) -> None:
    """In a sticky directory only owners remove (owners as on disk only)."""
    uid = context.credential.uid
    if uid == 0 or served.owner is not None:
        return
    above = await served.fs.getattr(directory, WANT_PERMISSION)
    if not above.mode & _STICKY or above.uid == uid:
        return
    found = await served.fs.getattr(await served.fs.lookup(directory, name), WANT_PERMISSION)
    if found.uid != uid:
        raise NFSError(Status.ACCESS)


async def op_remove(context: CompoundContext, reader: Reader) -> Body:
    directory = context.directory()
    name = read_name(reader, context.served)
    context.writable()
    await context.permit(directory, 3)
    await _sticky(context, context.served, directory, name)
    return pack_change(await context.served.fs.remove(directory, name))


def _saved(context: CompoundContext) -> Node:
    if context.saved_node is None:
        raise NFSError(Status.NOFILEHANDLE)
    if context.saved_served is not context.served:
        raise NFSError(Status.XDEV)
    return context.saved_node


async def op_rename(context: CompoundContext, reader: Reader) -> Body:
    old = read_name(reader, context.served)
    new = read_name(reader, context.served)
    source, target = _saved(context), context.directory()
    if source.kind is not FileType.DIRECTORY:
        raise NFSError(Status.NOTDIR)
    context.writable()
    await context.permit(source, 3)
    await context.permit(target, 3)
    await _sticky(context, context.served, source, old)
    if context.credential.uid and context.served.owner is None:
        try:
            await _sticky(context, context.served, target, new)
        except (OSError, NFSError) as exc:
            if (exc.status if isinstance(exc, NFSError) else status_of(exc)) is not Status.NOENT:
                raise
    before, after = await context.served.fs.rename(source, old, target, new)
    return [pack_change(before), pack_change(after)]


async def op_link(context: CompoundContext, reader: Reader) -> Body:
    name = read_name(reader, context.served)
    node, directory = _saved(context), context.directory()
    if node.kind is FileType.DIRECTORY:
        raise NFSError(Status.ISDIR)
    context.writable()
    if not context.served.fs.limits.hard_links:
        raise NFSError(Status.NOTSUPP)
    await context.permit(directory, 3)
    return pack_change(await context.served.fs.link(node, directory, name))


async def op_readlink(context: CompoundContext, reader: Reader) -> Body:
    node = context.here
    if node.kind is not FileType.SYMLINK:
        raise NFSError(
            Status.INVAL if context.minor == 0 or node.kind is FileType.DIRECTORY else Status.WRONG_TYPE
        )
    return pack_opaque(await context.served.fs.readlink(node))


async def op_readdir(context: CompoundContext, reader: Reader) -> Body:
    """READDIR (RFC 7530 16.24). Cookies never become invalid, so the verifier is always 0."""
    cookie = reader.u64()
    verifier = reader.fixed(8)
    reader.u32()  # dircount: a hint
    limit = reader.u32()
    mask = reader.bitmap()
    check_readable(mask)
    directory = context.directory()
    if cookie in (1, 2):
        raise NFSError(Status.BAD_COOKIE)
    if verifier != bytes(8) and cookie:
        raise NFSError(Status.NOT_SAME)
    await context.permit(directory, 4)
    wanted = plan(mask, context.minor)
    fs = context.served.fs
    room = context.room
    size = 16  # the verifier, the end of the list, eof
    if min(limit, room) < size:
        raise NFSError(Status.TOOSMALL if limit < size else context.too_big)
    limit, asked = min(limit, room), limit
    results = [bytes(8)]
    want = wanted.want | (WANT_KEY if wanted.needs_handle else 0)
    entries = _Entries(context, wanted, mask, await fs.statfs() if wanted.needs_space else None)
    eof = full = False
    while not (eof or full):
        # An entry of Linux's has some 200 bytes; entries without room are read again with the next call.
        listing = await fs.readdir(directory, cookie, want, max(8, min(1024, (limit - size) // 200)))
        eof = listing.eof
        for entry in listing.entries:
            item = entries.pack(entry)
            size += len(item)
            if size > limit:
                eof, full = False, True
                break
            results.append(item)
            cookie = entry.cookie
        if not listing.entries:
            break
    if full and len(results) == 1:
        # Not one entry fits into what the client has room for (RFC 8881 18.23.3), or the session's replies.
        raise NFSError(Status.TOOSMALL if asked <= room else context.too_big)
    results.append(FALSE)
    results.append(TRUE if eof else FALSE)
    return results


class _Entries:
    """Packs the entries of one READDIR (entry4)."""

    def __init__(self, context: CompoundContext, wanted: Plan, mask: int, space: Space | None) -> None:
        self._served = context.served
        self._handle_of = context.service.handle_of
        self._wanted = wanted
        self._error_ok = bool(mask >> Attr.RDATTR_ERROR & 1)
        self._space = space
        self._subject: Subject | None = None

    def pack(self, entry: Entry) -> bytes:
        """Raises the status of an entry without attributes unless the client takes it as an attribute."""
        attributes, wanted = entry.attributes, self._wanted
        if not isinstance(attributes, tuple):
            if not self._error_ok:
                raise NFSError(attributes)
            packed = _error_plan(attributes)
        else:
            handle = self._handle_of(self._served, entry.key) if wanted.needs_handle else b""
            subject = self._subject
            if subject is None:
                subject = self._subject = Subject(attributes, self._served.describe, handle, self._space)
            else:
                subject.attributes, subject.handle = attributes, handle
            packed = wanted.encode(subject)
        name = entry.name
        return b"".join(
            (TRUE, pack_u64(entry.cookie), pack_u32(len(name)), name, PADDING[len(name) & 3], packed)
        )


def _error_plan(error: Status) -> bytes:
    """fattr4 of an entry that cannot be looked at: rdattr_error alone."""
    return pack_bitmap(1 << Attr.RDATTR_ERROR) + pack_u32(4) + pack_u32(error)
