"""Requests about open files: open, read, write, what is expected of them, close.

On one handle READ and WRITE may overtake each other, but nothing else; FSYNC, FSTAT, FSETSTAT and CLOSE wait
for what came before, and so does WRITE where a version of the file is expected.
"""

import errno
import os
import resource
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from typing import Final

from womm.share.fence import clean
from womm.share.lazy.exported_folder import write_all
from womm.share.lazy.sftp_server.context import Answer, Handle, RequestContext
from womm.share.lazy.versions import version_of
from womm.wire.attributes import NewAttributes, pack_stat
from womm.wire.extensions import Expect, Fsync, Largest, Position
from womm.wire.fields import Reader, string
from womm.wire.replies import DATA_HEAD_BYTES, data_head, message, status
from womm.wire.sftp import (
    APPEND_BITS,
    APPEND_DATA,
    DISPOSITION_BITS,
    MAX_DATA_BYTES,
    READ_DATA,
    WRITE_DATA,
    Code,
    Kind,
)

_SLOW_DISK_S: Final = 0.003
"""A disk that took longer than this, of late, is written in threads; and read so, where the system cannot
say whether it has to be waited for (tmpfs)."""
_DISPOSITIONS: Final = (
    os.O_CREAT | os.O_EXCL,
    os.O_CREAT | os.O_TRUNC,
    0,
    os.O_CREAT,
    os.O_TRUNC,
)
"""By the numbers of Disposition."""


def op_open(context: RequestContext, number: int, reader: Reader) -> bytes:
    path, access, flags = clean(reader.string()), reader.u32(), reader.u32()
    wanted = NewAttributes.read(reader)
    if flags & DISPOSITION_BITS >= len(_DISPOSITIONS):
        raise OSError(errno.EINVAL, "no such way to open")
    how = _DISPOSITIONS[flags & DISPOSITION_BITS]
    if access & (WRITE_DATA | APPEND_DATA):
        how |= os.O_RDWR if access & READ_DATA else os.O_WRONLY
    if flags & APPEND_BITS:
        how |= os.O_APPEND
    with context.export.changing(path) if how else nullcontext():
        fd = context.export.open(path, how, wanted, force=wanted.force)
    if how & os.O_EXCL:
        context.export.versions.note(os.fstat(fd))
    name = context.add(fd, path, bool(how))
    return message(Kind.HANDLE, number, string(name))


def op_close(context: RequestContext, number: int, reader: Reader) -> Answer:
    name = bytes(reader.view())
    handle = context.handles.pop(name, None)
    if handle is None:
        raise OSError(errno.EBADF, "no such handle")

    def close() -> bytes:
        context.shut(handle)
        return status(number)

    return context.after(number, handle, close)


def op_read(context: RequestContext, number: int, reader: Reader) -> Answer:
    handle, offset, count = context.handle(reader.string()), reader.offset(), reader.u32()
    count = min(count, MAX_DATA_BYTES)
    if handle.waiting:
        return context.after(number, handle, lambda: _read(context, number, handle, offset, count))
    return _read(context, number, handle, offset, count)


def _read(context: RequestContext, number: int, handle: Handle, offset: int, count: int) -> Answer:
    export = context.export
    if export.nowait:
        buffer = bytearray(DATA_HEAD_BYTES + count)
        try:
            with memoryview(buffer) as view:
                got = os.preadv(handle.fd, [view[DATA_HEAD_BYTES:]], offset, os.RWF_NOWAIT)
        except BlockingIOError:
            got = -1
        except OSError as exc:
            if exc.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
                raise
            export.nowait = False
            got = -1
        if got >= 0:
            size = os.fstat(handle.fd).st_size
            if got == count or offset + got >= size:
                return _data(context, number, buffer, got, offset + got >= size)

    def read() -> bytes | bytearray:
        began = time.perf_counter()
        buffer = bytearray(DATA_HEAD_BYTES + count)
        with memoryview(buffer) as view:
            got = os.preadv(handle.fd, [view[DATA_HEAD_BYTES:]], offset)
        export.read_s += (time.perf_counter() - began - export.read_s) / 16
        return _data(context, number, buffer, got, offset + got >= os.fstat(handle.fd).st_size)

    if not export.nowait and export.read_s < _SLOW_DISK_S:
        return read()
    context.in_thread(number, read, handle)
    return None


def _data(
    context: RequestContext, number: int, buffer: bytearray, size: int, at_end: bool
) -> bytes | bytearray:
    if not size:
        return status(number, Code.EOF, "the end of the file")
    context.export.traffic.read_bytes += size
    data_head(buffer, number, size, at_end)
    return buffer


def op_write(context: RequestContext, number: int, reader: Reader) -> Answer:
    handle, offset, data = context.handle(reader.string()), reader.offset(), reader.view()
    if handle.waiting or (handle.running and handle.base is not None):
        return context.after(number, handle, lambda: _write(context, number, handle, offset, data))
    return _write(context, number, handle, offset, data)


def _write(context: RequestContext, number: int, handle: Handle, offset: int, data: memoryview) -> Answer:
    context.export.guard.admit_inode(handle.inode)  # it may have become one of womm's by a name of the user's

    def write() -> bytes:
        write_all(handle.fd, offset, data)
        context.export.traffic.written_bytes += len(data)
        return status(number)

    return _on_content(context, number, handle, write)


def _on_content(context: RequestContext, number: int, handle: Handle, call: Callable[[], bytes]) -> Answer:
    """Change what is in an open file; what the user has made of it since it was expected is kept first."""
    versions = context.export.versions
    if handle.base is None:
        return _on_disk(context, number, handle, call)

    def change() -> bytes:
        if handle.named:
            _must_have_a_name(handle)
        if handle.base is not None and versions.is_foreign(handle.fd, handle.base):
            handle.base = versions.keep(handle.path, handle.fd)
        try:
            return call()
        finally:  # a disk that is full has taken a part
            handle.base = versions.note(os.fstat(handle.fd))

    if versions.is_foreign(handle.fd, handle.base):  # to copy it takes long
        context.in_thread(number, change, handle, context.export.changing(handle.path))
        return None
    return _on_disk(context, number, handle, change)


def _must_have_a_name(handle: Handle) -> None:
    """Raise ESTALE for a file that the user has removed: nobody would find what is written to it."""
    if not os.fstat(handle.fd).st_nlink:
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))


def op_expect(context: RequestContext, number: int, request: Expect) -> Answer:
    handle = context.handle(request.handle)

    def expect() -> bytes:
        if request.named:
            _must_have_a_name(handle)
        handle.base, handle.named = request.version, request.named
        return status(number)

    return context.after(number, handle, expect)


def _on_disk(context: RequestContext, number: int, handle: Handle, call: Callable[[], bytes]) -> Answer:
    """Make a change of an open file: in a thread if the disk has been slow of late."""
    export = context.export

    def timed() -> bytes:
        began = time.perf_counter()
        reply = call()
        export.write_s += (time.perf_counter() - began - export.write_s) / 16
        return reply

    if export.write_s < _SLOW_DISK_S:
        with export.changing(handle.path):
            return timed()
    context.in_thread(number, timed, handle, export.changing(handle.path))
    return None


def op_fsync(context: RequestContext, number: int, request: Fsync) -> Answer:
    handle = context.handle(request.handle)

    def sync() -> bytes:
        os.fsync(handle.fd)
        return status(number)

    return context.after(number, handle, lambda: context.in_thread(number, sync, handle))


def op_fstat(context: RequestContext, number: int, reader: Reader) -> Answer:
    handle = context.handle(reader.string())

    def look() -> bytes:
        return message(Kind.ATTRS, number, pack_stat(context.export.fstat(handle.fd, handle.path)))

    return context.after(number, handle, look)


def op_fsetstat(context: RequestContext, number: int, reader: Reader) -> Answer:
    handle, wanted = context.handle(reader.string()), NewAttributes.read(reader)
    versions = context.export.versions

    def set_open() -> bytes:
        # What is open for reading has attributes, too.
        context.export.guard.may_write(handle.path)
        context.export.guard.admit(os.fstat(handle.fd))
        if handle.writable:
            # Some disks (NFS, over quota) say only at close(2) that they have not got what was written. After
            # this answer the file server forgets what it has sent: a CLOSE would be too late.
            os.close(os.dup(handle.fd))
        before = os.fstat(handle.fd)
        ours = version_of(before) == handle.base or versions.is_ours(before)
        context.export.set_open(handle.fd, wanted)
        if ours:  # else the next write is to find what the user has done
            found = versions.note(os.fstat(handle.fd))
            handle.base = None if handle.base is None else found
        return status(number)

    change = _on_disk if wanted.size is None else _on_content
    return context.after(number, handle, lambda: change(context, number, handle, set_open))


def op_largest(context: RequestContext, number: int, request: Largest) -> bytes:
    found = Position(largest_size(context.handle(request.handle).fd))
    return message(Kind.EXTENDED_REPLY, number, found.pack())


def largest_size(fd: int) -> int:
    """Return how large an open file may become, by its disk and by RLIMIT_FSIZE; 0: that is not known.

    Linux lets nobody seek beyond that. So it is tried, which changes nothing of the file.
    """
    if not sys.platform.startswith("linux"):
        return 0
    soft = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    least, most = 0, (1 << 63) - 1 if soft == resource.RLIM_INFINITY else soft
    while least < most:
        size = (least + most + 1) // 2
        try:
            os.lseek(fd, size, os.SEEK_SET)
        except OSError:
            most = size - 1
        else:
            least = size
    return least
