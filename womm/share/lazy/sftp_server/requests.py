"""The requests of SFTP: one function for each, which returns its answer, or None when that comes later.

Raises OSError, which is answered by a status.
"""

import errno
import os
import resource
import stat
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext, suppress
from struct import Struct
from typing import TYPE_CHECKING, Final

from womm.share.fence import clean
from womm.share.lazy import sftp
from womm.share.lazy.exporter import write_all
from womm.share.lazy.sftp import DATA_HEAD_BYTES, Kind, Reader
from womm.share.lazy.versions import version_of

if TYPE_CHECKING:
    from womm.share.lazy.sftp_server.channel import Handle, SftpChannel

Answer = bytes | bytearray | None

_SLOW_DISK_S: Final = 0.003
"""A disk that took longer than this, of late, is written in threads; and read so, where the system cannot
say whether it has to be waited for (tmpfs)."""
_NAMES_BYTES: Final = 256 << 10
_MAX_STATS: Final = 4096
"""In one request: an answer is less than a message may have, if the paths are not absurdly long."""
_READ_DATA: Final = 1
_WRITE_DATA: Final = 2
_APPEND: Final = 4
_APPEND_DATA: Final = 8 | 16
_DISPOSITIONS: Final = (
    os.O_CREAT | os.O_EXCL,
    os.O_CREAT | os.O_TRUNC,
    0,
    os.O_CREAT,
    os.O_TRUNC,
)
_LIMITS: Final = Struct(">4Q")
_SPACE: Final = Struct(">11Q")
_MOST_HANDLES: Final = 1 << 16


def max_handles() -> int:
    """Return how many handles there may be now: each is a file descriptor, and other parts of the process
    need some."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _MOST_HANDLES if soft == resource.RLIM_INFINITY else min(_MOST_HANDLES, soft // 2)


# -- open files --------------------------------------------------------------------------------
def op_open(channel: "SftpChannel", number: int, reader: Reader) -> bytes:
    path, access, flags = clean(reader.string()), reader.u32(), reader.u32()
    wanted = sftp.read_attrs(reader)
    if flags & 7 >= len(_DISPOSITIONS):
        raise OSError(errno.EINVAL, "no such way to open")
    how = _DISPOSITIONS[flags & 7]
    if access & (_WRITE_DATA | _APPEND):
        how |= os.O_RDWR if access & _READ_DATA else os.O_WRONLY
    if flags & _APPEND_DATA:
        how |= os.O_APPEND
    with channel.export.changing(path) if how else nullcontext():
        fd = channel.export.open(path, how, wanted, force=wanted.force)
    if how & os.O_EXCL:
        channel.export.versions.note(os.fstat(fd))
    name = channel.add(fd, path, bool(how))
    return sftp.message(Kind.HANDLE, number, sftp.pack_string(name))


def op_close(channel: "SftpChannel", number: int, reader: Reader) -> Answer:
    name = bytes(reader.view())
    handle = channel.handles.pop(name, None)
    if handle is None:
        raise OSError(errno.EBADF, "no such handle")

    def close() -> bytes:
        channel.shut(handle)
        return sftp.status(number)

    return channel.after(number, handle, close)


def op_read(channel: "SftpChannel", number: int, reader: Reader) -> Answer:
    handle, offset, count = channel.handle(reader), reader.offset(), reader.u32()
    count = min(count, sftp.MAX_DATA_BYTES)
    if handle.waiting:
        return channel.after(number, handle, lambda: _read(channel, number, handle, offset, count))
    return _read(channel, number, handle, offset, count)


def _read(channel: "SftpChannel", number: int, handle: "Handle", offset: int, count: int) -> Answer:
    export = channel.export
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
                return _data(channel, number, buffer, got, offset + got >= size)

    def read() -> bytes | bytearray:
        began = time.perf_counter()
        buffer = bytearray(DATA_HEAD_BYTES + count)
        with memoryview(buffer) as view:
            got = os.preadv(handle.fd, [view[DATA_HEAD_BYTES:]], offset)
        export.read_s += (time.perf_counter() - began - export.read_s) / 16
        return _data(channel, number, buffer, got, offset + got >= os.fstat(handle.fd).st_size)

    if not export.nowait and export.read_s < _SLOW_DISK_S:
        return read()
    channel.in_thread(number, read, handle)
    return None


def _data(
    channel: "SftpChannel", number: int, buffer: bytearray, size: int, at_end: bool
) -> bytes | bytearray:
    if not size:
        return sftp.status(number, sftp.EOF, "the end of the file")
    channel.export.traffic.read_bytes += size
    sftp.data_head(buffer, number, size, at_end)
    return buffer


def op_write(channel: "SftpChannel", number: int, reader: Reader) -> Answer:
    handle, offset, data = channel.handle(reader), reader.offset(), reader.view()
    if handle.waiting or (handle.running and handle.base is not None):
        return channel.after(number, handle, lambda: _write(channel, number, handle, offset, data))
    return _write(channel, number, handle, offset, data)


def _write(channel: "SftpChannel", number: int, handle: "Handle", offset: int, data: memoryview) -> Answer:
    channel.export.guard.admit_inode(handle.inode)  # it may have become one of womm's by a name of the user's

    def write() -> bytes:
        write_all(handle.fd, offset, data)
        channel.export.traffic.written_bytes += len(data)
        return sftp.status(number)

    return _on_content(channel, number, handle, write)


def _on_content(channel: "SftpChannel", number: int, handle: "Handle", call: Callable[[], bytes]) -> Answer:
    """Change what is in an open file; what the user has made of it since it was expected is kept first."""
    versions = channel.export.versions
    if handle.base is None:
        return _on_disk(channel, number, handle, call)

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
        channel.in_thread(number, change, handle, channel.export.changing(handle.path))
        return None
    return _on_disk(channel, number, handle, change)


def _must_have_a_name(handle: "Handle") -> None:
    """Raise ESTALE for a file that the user has removed: nobody would find what is written to it."""
    if not os.fstat(handle.fd).st_nlink:
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))


def op_expect(channel: "SftpChannel", number: int, reader: Reader) -> Answer:
    """Say which version of a file the next writes are for, and whether it must have a name; ESTALE: none."""
    handle, named, known = channel.handle(reader), reader.u32(), reader.u32()
    version = tuple(reader.u64() for _ in range(4)) if known else ()

    def expect() -> bytes:
        if named:
            _must_have_a_name(handle)
        handle.base, handle.named = version, bool(named)
        return sftp.status(number)

    return channel.after(number, handle, expect)


def _on_disk(channel: "SftpChannel", number: int, handle: "Handle", call: Callable[[], bytes]) -> Answer:
    """Make a change of an open file: in a thread if the disk has been slow of late."""
    export = channel.export

    def timed() -> bytes:
        began = time.perf_counter()
        reply = call()
        export.write_s += (time.perf_counter() - began - export.write_s) / 16
        return reply

    if export.write_s < _SLOW_DISK_S:
        with export.changing(handle.path):
            return timed()
    channel.in_thread(number, timed, handle, export.changing(handle.path))
    return None


def op_fsync(channel: "SftpChannel", number: int, reader: Reader) -> Answer:
    handle = channel.handle(reader)

    def sync() -> bytes:
        os.fsync(handle.fd)
        return sftp.status(number)

    return channel.after(number, handle, lambda: channel.in_thread(number, sync, handle))


def op_fstat(channel: "SftpChannel", number: int, reader: Reader) -> Answer:
    handle = channel.handle(reader)

    def look() -> bytes:
        return sftp.message(Kind.ATTRS, number, sftp.pack_attrs(os.fstat(handle.fd)))

    return channel.after(number, handle, look)


def op_fsetstat(channel: "SftpChannel", number: int, reader: Reader) -> Answer:
    handle, wanted = channel.handle(reader), sftp.read_attrs(reader)
    versions = channel.export.versions

    def set_open() -> bytes:
        # What is open for reading has attributes, too.
        channel.export.guard.may_write(handle.path)
        channel.export.guard.admit(os.fstat(handle.fd))
        if handle.writable:
            # Some disks (NFS, over quota) say only at close(2) that they have not got what was written. After
            # this answer the file server forgets what it has sent: a CLOSE would be too late.
            os.close(os.dup(handle.fd))
        before = os.fstat(handle.fd)
        ours = version_of(before) == handle.base or versions.is_ours(before)
        channel.export.set_open(handle.fd, wanted)
        if ours:  # else the next write is to find what the user has done
            found = versions.note(os.fstat(handle.fd))
            handle.base = None if handle.base is None else found
        return sftp.status(number)

    change = _on_disk if wanted.size is None else _on_content
    return channel.after(number, handle, lambda: change(channel, number, handle, set_open))


# -- directories -------------------------------------------------------------------------------
def op_opendir(channel: "SftpChannel", number: int, reader: Reader) -> bytes:
    path = clean(reader.string())
    channel.export.guard.see(path, True)
    fd = channel.export.fence.open_directory(path)
    return sftp.message(Kind.HANDLE, number, sftp.pack_string(channel.add(fd, path)))


def op_readdir(channel: "SftpChannel", number: int, reader: Reader) -> Answer:
    handle = channel.handle(reader)

    def read() -> bytes:
        if handle.entries is None:
            if not stat.S_ISDIR(os.fstat(handle.fd).st_mode):
                raise OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
            handle.entries = channel.export.entries(handle.fd, handle.path)
        packed, room = [], _NAMES_BYTES
        for name, found in handle.entries:
            packed.append(sftp.pack_name(name, sftp.pack_attrs(found)))
            room -= len(packed[-1])
            if room < 0:
                return sftp.names(number, packed, False)
        if not packed:
            return sftp.status(number, sftp.EOF, "the end of the directory")
        return sftp.names(number, packed, True)

    return channel.after(number, handle, lambda: channel.in_thread(number, read, handle))


def op_tree(channel: "SftpChannel", number: int, reader: Reader) -> None:
    path, most = clean(reader.string()), reader.u32()
    channel.export.guard.see(path, True)
    channel.in_thread(number, lambda: sftp.names(number, *channel.export.tree(path, most)))


def op_mkdir(channel: "SftpChannel", number: int, reader: Reader) -> bytes:
    path, wanted = clean(reader.string()), sftp.read_attrs(reader)
    with channel.export.changing(path):
        channel.export.mkdir(path, wanted)
    return sftp.status(number)


def op_rmdir(channel: "SftpChannel", number: int, reader: Reader) -> bytes:
    path = clean(reader.string())
    with channel.export.changing(path):
        channel.export.remove(path, True)
    return sftp.status(number)


# -- names -------------------------------------------------------------------------------------
def op_lstat(channel: "SftpChannel", number: int, reader: Reader) -> bytes:
    found = channel.export.lstat(clean(reader.string()))
    return sftp.message(Kind.ATTRS, number, sftp.pack_attrs(found))


def op_stats(channel: "SftpChannel", number: int, reader: Reader) -> None:
    """Attributes of many paths at once: of those that are there, in the order they were asked for."""
    paths = [reader.string() for _ in range(min(reader.u32(), _MAX_STATS))]

    def look() -> bytes:
        packed = []
        for path in paths:
            try:
                found = channel.export.lstat(clean(path))
            except OSError:
                continue
            packed.append(sftp.pack_name(path, sftp.pack_attrs(found)))
        return sftp.names(number, packed, True)

    channel.in_thread(number, look)


def op_setstat(channel: "SftpChannel", number: int, reader: Reader) -> bytes:
    path, wanted = clean(reader.string()), sftp.read_attrs(reader)
    with channel.export.changing(path):
        channel.export.set(path, wanted)
    return sftp.status(number)


def op_remove(channel: "SftpChannel", number: int, reader: Reader) -> bytes:
    path = clean(reader.string())
    with channel.export.changing(path):
        channel.export.remove(path, False)
    return sftp.status(number)


def op_rename(channel: "SftpChannel", number: int, reader: Reader) -> Answer:
    old, new = clean(reader.string()), clean(reader.string())
    replace = bool(reader.u32() & 3) if reader.more else True
    renaming = _Renaming(channel, old, new)

    def rename() -> bytes:
        channel.export.rename(old, new, replace)
        renaming.done = True
        return sftp.status(number)

    with suppress(FileNotFoundError):
        if stat.S_ISDIR(channel.export.fence.lstat(old).st_mode):
            # All that is in it is looked at. What comes after it is about the new name.
            channel.in_thread(number, rename, change=renaming, alone=True)
            return None
    with renaming:
        return rename()


class _Renaming:
    """Around a rename: afterwards open files are known by their new paths."""

    def __init__(self, channel: "SftpChannel", old: bytes, new: bytes) -> None:
        self.done = False
        self._channel, self._old, self._new = channel, old, new
        self._change = channel.export.changing(old, new)

    def __enter__(self) -> None:
        self._change.__enter__()

    def __exit__(self, *exc: object) -> None:
        self._change.__exit__(None, None, None)
        if not self.done:
            return
        for handle in self._channel.handles.values():
            if handle.path == self._old or handle.path.startswith(self._old + b"/"):
                handle.path = self._new + handle.path[len(self._old) :]


def op_readlink(channel: "SftpChannel", number: int, reader: Reader) -> bytes:
    path = clean(reader.string())
    channel.export.guard.see_any(path)
    return sftp.names(number, [sftp.pack_name(channel.export.fence.readlink(path))], False)


def op_link(channel: "SftpChannel", number: int, reader: Reader) -> bytes:
    new, old, symbolic = clean(reader.string()), reader.string(), reader.byte()
    with channel.export.changing(new):
        if symbolic:
            channel.export.symlink(old, new)
        else:
            channel.export.link(clean(old), new)
    return sftp.status(number)


def op_hardlink(channel: "SftpChannel", number: int, reader: Reader) -> bytes:
    old, new = clean(reader.string()), clean(reader.string())
    with channel.export.changing(new):
        channel.export.link(old, new)
    return sftp.status(number)


def op_realpath(channel: "SftpChannel", number: int, reader: Reader) -> bytes:
    return sftp.names(number, [sftp.pack_name(clean(reader.string()) or b".")], False)


# -- others ------------------------------------------------------------------------------------
def op_get(channel: "SftpChannel", number: int, reader: Reader) -> Answer:
    path, offset, most = clean(reader.string()), reader.offset(), reader.u32()
    most = min(most, sftp.MAX_DATA_BYTES - 65536)
    channel.in_thread(
        number,
        lambda: sftp.message(Kind.EXTENDED_REPLY, number, channel.export.get(path, offset, most)),
    )
    return None


def op_put(channel: "SftpChannel", number: int, reader: Reader) -> Answer:
    path, flags, offset = clean(reader.string()), reader.u32(), reader.offset()
    data, wanted = reader.string(), sftp.read_attrs(reader)

    def put() -> bytes:
        reply = channel.export.put(path, flags, offset, data, wanted)
        return sftp.message(Kind.EXTENDED_REPLY, number, reply)

    channel.in_thread(number, put, change=channel.export.changing(path))
    return None


def op_mknod(channel: "SftpChannel", number: int, reader: Reader) -> bytes:
    path, mode = clean(reader.string()), reader.u32()
    with channel.export.changing(path):
        channel.export.mknod(path, mode)
    return sftp.status(number)


def op_seek(channel: "SftpChannel", number: int, reader: Reader) -> None:
    path, offset, data = clean(reader.string()), reader.offset(), bool(reader.u32())

    def seek() -> bytes:
        found = channel.export.seek(path, offset, data)
        return sftp.message(Kind.EXTENDED_REPLY, number, found.to_bytes(8, "big"))

    channel.in_thread(number, seek)


def op_find(channel: "SftpChannel", number: int, reader: Reader) -> None:
    dev, ino = reader.u64(), reader.u64()
    channel.in_thread(
        number,
        lambda: sftp.message(Kind.EXTENDED_REPLY, number, sftp.pack_string(channel.export.find(dev, ino))),
    )


def op_access(channel: "SftpChannel", number: int, reader: Reader) -> bytes:
    path, mode = clean(reader.string()), reader.u32()
    channel.export.guard.see_any(path)
    if mode & os.W_OK and channel.export.read_only:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))
    if mode & os.W_OK:
        channel.export.guard.may_access(path)
    if not channel.export.fence.access(path, mode & 7):
        raise OSError(errno.EACCES, os.strerror(errno.EACCES))
    return sftp.status(number)


def op_statvfs(channel: "SftpChannel", number: int, reader: Reader) -> bytes:
    clean(reader.string())
    found = channel.export.fence.statvfs()
    packed = _SPACE.pack(
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
    return sftp.message(Kind.EXTENDED_REPLY, number, packed)


def op_largest(channel: "SftpChannel", number: int, reader: Reader) -> bytes:
    """How large a file may become; 0: that is not known."""
    packed = largest_size(channel.handle(reader).fd).to_bytes(8, "big")
    return sftp.message(Kind.EXTENDED_REPLY, number, packed)


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


def op_limits(channel: "SftpChannel", number: int, reader: Reader) -> bytes:
    packed = _LIMITS.pack(sftp.MAX_MESSAGE_BYTES, sftp.MAX_DATA_BYTES, sftp.MAX_DATA_BYTES, max_handles())
    return sftp.message(Kind.EXTENDED_REPLY, number, packed)


Call = Callable[["SftpChannel", int, Reader], Answer]
CALLS: Final[dict[int, Call]] = {
    Kind.OPEN: op_open,
    Kind.CLOSE: op_close,
    Kind.READ: op_read,
    Kind.WRITE: op_write,
    Kind.LSTAT: op_lstat,
    Kind.FSTAT: op_fstat,
    Kind.SETSTAT: op_setstat,
    Kind.FSETSTAT: op_fsetstat,
    Kind.OPENDIR: op_opendir,
    Kind.READDIR: op_readdir,
    Kind.REMOVE: op_remove,
    Kind.MKDIR: op_mkdir,
    Kind.RMDIR: op_rmdir,
    Kind.REALPATH: op_realpath,
    Kind.STAT: op_lstat,
    Kind.RENAME: op_rename,
    Kind.READLINK: op_readlink,
    Kind.LINK: op_link,
}
EXTENDED: Final[dict[bytes, Call]] = {
    b"posix-rename@openssh.com": op_rename,
    b"statvfs@openssh.com": op_statvfs,
    b"hardlink@openssh.com": op_hardlink,
    b"fsync@openssh.com": op_fsync,
    b"lsetstat@openssh.com": op_setstat,
    b"limits@openssh.com": op_limits,
    b"tree@womm": op_tree,
    b"get@womm": op_get,
    b"put@womm": op_put,
    b"access@womm": op_access,
    b"largest@womm": op_largest,
    b"stats@womm": op_stats,
    b"mknod@womm": op_mknod,
    b"seek@womm": op_seek,
    b"find@womm": op_find,
    b"expect@womm": op_expect,
}
