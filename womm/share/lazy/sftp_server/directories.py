"""Requests about directories: what is in them, trees of them, and the disk that they are on."""

import errno
import os
import stat
from typing import Final

from womm.share.fence import clean
from womm.share.lazy.sftp_server.context import Answer, RequestContext
from womm.wire.attributes import NewAttributes, pack_stat
from womm.wire.extensions import DiskSpace, Find, FoundPath, Rows, Statvfs, Tree
from womm.wire.fields import Reader, string
from womm.wire.replies import message, names, pack_name, status
from womm.wire.sftp import Code, Kind

_NAMES_BYTES: Final = 256 << 10
_NOT_OPEN: Final = -1


def op_opendir(context: RequestContext, number: int, reader: Reader) -> bytes:
    path = clean(reader.string())
    # Where that may take long, the first READDIR opens it, in its thread.
    fd = _NOT_OPEN if context.export.waits(path) else context.export.open_directory(path)
    return message(Kind.HANDLE, number, string(context.add(fd, path)))


def op_readdir(context: RequestContext, number: int, reader: Reader) -> Answer:
    handle = context.handle(reader.string())

    def read() -> bytes:
        if handle.entries is None:
            if handle.fd == _NOT_OPEN:
                handle.fd = context.export.open_directory(handle.path)
            if not stat.S_ISDIR(os.fstat(handle.fd).st_mode):
                raise OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
            handle.entries = context.export.entries(handle.fd, handle.path)
        packed, room = [], _NAMES_BYTES
        for name, found in handle.entries:
            packed.append(pack_name(name, pack_stat(found)))
            room -= len(packed[-1])
            if room < 0:
                return names(number, packed, False)
        if not packed:
            return status(number, Code.EOF, "the end of the directory")
        return names(number, packed, True)

    slow = context.export.lists(handle.path)
    return context.after(number, handle, lambda: context.in_thread(number, read, handle, slow=slow))


def op_tree(context: RequestContext, number: int, request: Tree) -> None:
    path = clean(request.path)
    slow = context.export.lists(path)
    context.in_thread(number, lambda: names(number, *context.export.tree(path, request.most)), slow=slow)


def op_rows(context: RequestContext, number: int, request: Rows) -> None:
    path = clean(request.path)

    def look() -> bytes:
        found = context.export.rows(path, request.more)
        return message(Kind.EXTENDED_REPLY, number, found.pack())

    context.in_thread(number, look, slow=context.export.lists(path))


def op_find(context: RequestContext, number: int, request: Find) -> None:
    def find() -> bytes:
        found = FoundPath(context.export.find(request.dev, request.ino))
        return message(Kind.EXTENDED_REPLY, number, found.pack())

    context.in_thread(number, find)


def op_mkdir(context: RequestContext, number: int, reader: Reader) -> bytes:
    path, wanted = clean(reader.string()), NewAttributes.read(reader)
    with context.export.changing(path):
        context.export.mkdir(path, wanted)
    return status(number)


def op_rmdir(context: RequestContext, number: int, reader: Reader) -> bytes:
    path = clean(reader.string())
    with context.export.changing(path):
        context.export.remove(path, True)
    return status(number)


def op_statvfs(context: RequestContext, number: int, request: Statvfs) -> bytes:
    clean(request.path)
    found = context.export.fence.statvfs()
    space = DiskSpace(
        found.f_bsize,
        found.f_frsize,
        found.f_blocks,
        found.f_bfree,
        found.f_bavail,
        found.f_files,
        found.f_ffree,
        found.f_favail,
        0,
        found.f_flag,
        found.f_namemax,
    )
    return message(Kind.EXTENDED_REPLY, number, space.pack())
