"""System calls of Linux that Python 3.11 has no function for, and loops around others."""

import ctypes
import errno
import os
import time
from collections.abc import Callable
from struct import Struct
from typing import Final, NamedTuple, TypeVar

from womm.nfs.filesystem import NOW, Now

T = TypeVar("T")

AT_SYMLINK_NOFOLLOW: Final = 0x100
AT_EMPTY_PATH: Final = 0x1000
FALLOC_KEEP_SIZE: Final = 1
FALLOC_PUNCH_HOLE: Final = 2
_SYNC_FILE_RANGE_WRITE: Final = 2
_STATX_BASIC_AND_BTIME: Final = 0xFFF
_STATX_BTIME: Final = 0x800

_libc = ctypes.CDLL(None, use_errno=True)
_statx = _libc.statx
_statx.argtypes = [ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_uint, ctypes.c_void_p]
_getdents64 = _libc.getdents64
_getdents64.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t]
_getdents64.restype = ctypes.c_ssize_t
_fallocate = _libc.fallocate
_fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
_sync_file_range = getattr(_libc, "sync_file_range", None)  # musl has none on some machines
if _sync_file_range is not None:
    _sync_file_range.argtypes = [ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint]

_buffer = ctypes.create_string_buffer(256)
_address = ctypes.addressof(_buffer)
# mask, blksize, attributes, nlink, uid, gid, mode, ino, size, blocks, attributes_mask, then four times
# seconds, nanoseconds, padding (access, birth, change, modify), rdev and dev as major and minor.
_STATX = Struct("=IIQIIIHxxQQQQ" + "qIxxxx" * 4 + "IIII")


class Statx(NamedTuple):
    mask: int
    block_size: int
    attributes: int
    nlink: int
    uid: int
    gid: int
    mode: int
    ino: int
    size: int
    blocks: int
    attributes_mask: int
    atime_s: int
    atime_rest: int
    btime_s: int
    btime_rest: int
    ctime_s: int
    ctime_rest: int
    mtime_s: int
    mtime_rest: int
    rdev_major: int
    rdev_minor: int
    dev_major: int
    dev_minor: int

    @property
    def birth_ns(self) -> int:
        """When the file was made; 0 where the filesystem does not know."""
        return self.btime_s * 1_000_000_000 + self.btime_rest if self.mask & _STATX_BTIME else 0


def statx(directory: int, name: bytes) -> Statx:
    """Look at a name in a directory without following it; b"" is the open file `directory` itself.

    In one thread only: the result passes through one buffer.
    """
    if _statx(directory, name, AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH, _STATX_BASIC_AND_BTIME, _address) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return Statx._make(_STATX.unpack_from(_buffer, 0))


def getdents(fd: int, buffer: "ctypes.Array[ctypes.c_char]", most: int) -> int:
    """Read up to `most` bytes of directory entries into the buffer; return how many, 0 at the end."""
    size: int = _getdents64(fd, buffer, min(most, len(buffer)))
    if size < 0:
        number = ctypes.get_errno()
        if number == errno.EINVAL:
            raise OSError(errno.EIO, "an entry larger than the buffer")
        raise OSError(number, os.strerror(number))
    return size


_DIRENT = Struct("=QqHB")


def parse_dirents(data: bytes) -> list[tuple[int, int, bytes]]:
    """Return inode number, cookie of what comes after, and name of each entry but . and .."""
    found = []
    pos = 0
    end = len(data)
    while pos < end:
        ino, after, size, _ = _DIRENT.unpack_from(data, pos)
        name = data[pos + 19 : data.index(b"\0", pos + 19)]
        if name not in (b".", b".."):
            found.append((ino, after, name))
        pos += size
    return found


def fallocate(fd: int, mode: int, offset: int, length: int) -> None:
    """Reserve or free a range of a file."""
    while _fallocate(fd, mode, offset, length) != 0:
        number = ctypes.get_errno()
        if number != errno.EINTR:
            raise OSError(number, os.strerror(number))


def begin_writing(fd: int) -> None:
    """Have the kernel begin to write a file's dirty pages, sync_file_range(2). A sync tells what failed."""
    if _sync_file_range is not None:
        _sync_file_range(fd, 0, 0, _SYNC_FILE_RANGE_WRITE)


def read_all(fd: int, offset: int, count: int) -> tuple[bytes, bool]:
    """Read, and say whether that reached the end."""
    data = os.pread(fd, count, offset)
    return data, offset + len(data) >= os.fstat(fd).st_size


def write_all(fd: int, offset: int, data: memoryview, sync: bool) -> int:
    """Write all of it; with `sync` to the disk."""
    written = 0
    while written < len(data):
        written += os.pwrite(fd, data[written:], offset + written)
    if sync:
        os.fdatasync(fd)
    return written


def copy_all(source: int, offset: int, target: int, target_offset: int, count: int) -> int:
    """Copy up to `count` bytes between files."""
    copied = 0
    while copied < count:
        try:
            size = os.copy_file_range(source, target, count - copied, offset + copied, target_offset + copied)
        except OSError:
            if copied:
                break
            raise
        if size == 0:
            break
        copied += size
    return copied


def permitted(path: str, bits: int, call: Callable[[], T]) -> T:
    """Call what needs `bits` of the file's mode, which is widened meanwhile where its owner lacks them."""
    try:
        return call()
    except PermissionError:
        mode = os.stat(path).st_mode & 0o7777
        if mode | bits == mode:
            raise
        os.chmod(path, mode | bits)  # fails unless the server owns it
        try:
            return call()
        finally:
            os.chmod(path, mode)


def set_times(path: str, fd: int, atime: int | Now | None, mtime: int | Now | None) -> None:
    """Set the times of a file that are not None, in nanoseconds or "now"."""
    if atime is NOW and mtime is NOW:
        os.utime(path)
        return
    now = None
    times = []
    for wanted, kept in ((atime, "st_atime_ns"), (mtime, "st_mtime_ns")):
        if wanted is None:
            times.append(getattr(os.fstat(fd), kept))
        elif isinstance(wanted, Now):
            if now is None:
                now = time.time_ns()
            times.append(now)
        else:
            times.append(wanted)
    os.utime(path, ns=(times[0], times[1]))
