"""Requests about paths: attributes, renaming, removing, links; and small files in one request."""

import errno
import os
import stat
from contextlib import suppress
from typing import Final

from womm.share.fence import clean
from womm.share.lazy.sftp_server.context import Answer, RequestContext
from womm.wire.attributes import pack_stat
from womm.wire.extensions import (
    Access,
    Get,
    Hardlink,
    Lsetstat,
    Mknod,
    Position,
    PosixRename,
    Put,
    Seek,
    Stats,
)
from womm.wire.fields import Reader
from womm.wire.replies import message, names, pack_name, status
from womm.wire.sftp import MAX_DATA_BYTES, RENAME_REPLACES_BITS, Kind

_MAX_STATS: Final = 4096
"""In one request: an answer is less than a message may have, if the paths are not absurdly long."""


def op_lstat(context: RequestContext, number: int, reader: Reader) -> Answer:
    path = clean(reader.string())
    return context.look(
        number, path, lambda: message(Kind.ATTRS, number, pack_stat(context.export.lstat(path)))
    )


def op_stats(context: RequestContext, number: int, request: Stats) -> None:
    asked = request.paths[:_MAX_STATS]

    def look() -> bytes:
        packed = []
        for path in asked:
            try:
                found = context.export.lstat(clean(path))
            except OSError:
                continue
            packed.append(pack_name(path, pack_stat(found)))
        return names(number, packed, True)

    context.in_thread(number, look, slow=any(context.export.waits(path.strip(b"/")) for path in asked))


def op_setstat(context: RequestContext, number: int, reader: Reader) -> bytes:
    return op_lsetstat(context, number, Lsetstat.read(reader))


def op_lsetstat(context: RequestContext, number: int, request: Lsetstat) -> bytes:
    path = clean(request.path)
    with context.export.changing(path):
        context.export.set(path, request.attributes)
    return status(number)


def op_access(context: RequestContext, number: int, request: Access) -> Answer:
    path = clean(request.path)

    def access() -> bytes:
        if not context.export.access(path, request.mode & 7):
            raise OSError(errno.EACCES, os.strerror(errno.EACCES))
        return status(number)

    return context.look(number, path, access)


def op_remove(context: RequestContext, number: int, reader: Reader) -> bytes:
    path = clean(reader.string())
    with context.export.changing(path):
        context.export.remove(path, False)
    return status(number)


def op_rename(context: RequestContext, number: int, reader: Reader) -> Answer:
    old, new = reader.string(), reader.string()
    replace = bool(reader.u32() & RENAME_REPLACES_BITS) if reader.more else True
    return _rename(context, number, clean(old), clean(new), replace)


def op_posix_rename(context: RequestContext, number: int, request: PosixRename) -> Answer:
    return _rename(context, number, clean(request.old), clean(request.new), True)


def _rename(context: RequestContext, number: int, old: bytes, new: bytes, replace: bool) -> Answer:
    renaming = _Renaming(context, old, new)

    def rename() -> bytes:
        context.export.rename(old, new, replace)
        renaming.done = True
        return status(number)

    with suppress(FileNotFoundError):
        if stat.S_ISDIR(context.export.fence.lstat(old).st_mode):
            # All that is in it is looked at. What comes after it is about the new name.
            context.in_thread(number, rename, change=renaming, alone=True)
            return None
    with renaming:
        return rename()


class _Renaming:
    """Around a rename: afterwards open files are known by their new paths."""

    def __init__(self, context: RequestContext, old: bytes, new: bytes) -> None:
        self.done = False
        self._context, self._old, self._new = context, old, new
        self._change = context.export.changing(old, new)

    def __enter__(self) -> None:
        self._change.__enter__()

    def __exit__(self, *exc: object) -> None:
        self._change.__exit__(None, None, None)
        if not self.done:
            return
        for handle in self._context.handles.values():
            if handle.path == self._old or handle.path.startswith(self._old + b"/"):
                handle.path = self._new + handle.path[len(self._old) :]


def op_readlink(context: RequestContext, number: int, reader: Reader) -> Answer:
    path = clean(reader.string())
    return context.look(
        number, path, lambda: names(number, [pack_name(context.export.readlink(path))], False)
    )


def op_link(context: RequestContext, number: int, reader: Reader) -> bytes:
    new, old, symbolic = clean(reader.string()), reader.string(), reader.byte()
    with context.export.changing(new):
        if symbolic:
            context.export.symlink(old, new)
        else:
            context.export.link(clean(old), new)
    return status(number)


def op_hardlink(context: RequestContext, number: int, request: Hardlink) -> bytes:
    old, new = clean(request.old), clean(request.new)
    with context.export.changing(new):
        context.export.link(old, new)
    return status(number)


def op_mknod(context: RequestContext, number: int, request: Mknod) -> bytes:
    path = clean(request.path)
    with context.export.changing(path):
        context.export.mknod(path, request.mode)
    return status(number)


def op_realpath(context: RequestContext, number: int, reader: Reader) -> bytes:
    return names(number, [pack_name(clean(reader.string()) or b".")], False)


def op_get(context: RequestContext, number: int, request: Get) -> None:
    path, most = clean(request.path), min(request.most, MAX_DATA_BYTES - 65536)

    def get() -> bytes:
        return message(Kind.EXTENDED_REPLY, number, context.export.get(path, request.offset, most))

    context.in_thread(number, get, slow=context.export.waits(path))


def op_put(context: RequestContext, number: int, request: Put) -> None:
    path = clean(request.path)

    def put() -> bytes:
        return message(Kind.EXTENDED_REPLY, number, context.export.put(path, request))

    context.in_thread(number, put, change=context.export.changing(path))


def op_seek(context: RequestContext, number: int, request: Seek) -> None:
    path = clean(request.path)

    def seek() -> bytes:
        found = Position(context.export.seek(path, request.offset, request.data))
        return message(Kind.EXTENDED_REPLY, number, found.pack())

    context.in_thread(number, seek, slow=context.export.waits(path))
