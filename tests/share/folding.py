"""A file system that tells no case apart, as macOS's and some of Linux's: a folder, by FUSE's protocol.

As much of it as opening and reading by name needs, and none of it kept: every name is looked up each time.
"""

import ctypes
import errno
import os
import stat
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LOOKUP, FORGET, GETATTR, OPEN, READ, STATFS, RELEASE, FLUSH = 1, 2, 3, 14, 15, 17, 18, 25
INIT, OPENDIR, READDIR, RELEASEDIR, INTERRUPT, BATCH_FORGET = 26, 27, 28, 29, 36, 42
_HEAD = struct.Struct("=IIQQIIII")
_ATTR = struct.Struct("=6Q10I")
_DIRENT = struct.Struct("=QQII")
LIBC = ctypes.CDLL(None, use_errno=True)


def possible() -> bool:
    return os.getuid() == 0 and os.access("/dev/fuse", os.R_OK | os.W_OK)


@contextmanager
def mounted(top: Path, at: Path) -> Iterator[None]:
    """Show `top` at `at`, without regard to case, meanwhile."""
    fd = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    options = f"fd={fd},rootmode=40000,user_id=0,group_id=0".encode()
    if LIBC.mount(b"folding", os.fsencode(at), b"fuse", 0, options):
        number = ctypes.get_errno()
        os.close(fd)
        raise OSError(number, os.strerror(number))
    thread = threading.Thread(target=_Folding(fd, top).serve)
    thread.start()
    try:
        yield
    finally:
        LIBC.umount2(os.fsencode(at), 2)
        thread.join(30)
        os.close(fd)


class _Folding:
    def __init__(self, fd: int, top: Path) -> None:
        self._fd = fd
        self._paths = {1: top}
        self._numbers = {top: 1}

    def serve(self) -> None:
        while True:
            try:
                request = os.read(self._fd, 1 << 18)
            except OSError as exc:
                if exc.errno in (errno.EINTR, errno.ENOENT):
                    continue
                return  # unmounted
            _, kind, unique, node, *_ = _HEAD.unpack_from(request)
            if kind in (FORGET, BATCH_FORGET, INTERRUPT):
                continue
            try:
                body = self._answer(kind, self._paths[node] if node else Path(), request[_HEAD.size :])
                number = 0
            except OSError as exc:
                body, number = b"", exc.errno or errno.EIO
            os.write(self._fd, struct.pack("=IiQ", 16 + len(body), -number, unique) + body)

    def _answer(self, kind: int, path: Path, body: bytes) -> bytes:
        if kind == INIT:
            return struct.pack("=6I", 7, 31, 0, 0, 0, 4096) + bytes(40)
        if kind == LOOKUP:
            name = body.rstrip(b"\0").decode("utf-8", "surrogateescape").casefold()
            for found in path.iterdir():
                if found.name.casefold() == name:
                    return struct.pack("=4Q2I", self._number(found), 0, 0, 0, 0, 0) + self._attributes(found)
            raise FileNotFoundError(errno.ENOENT, name)
        if kind == GETATTR:
            return struct.pack("=QII", 0, 0, 0) + self._attributes(path)
        if kind in (OPEN, OPENDIR):
            return struct.pack("=QII", 0, 0, 0)
        if kind == READ:
            _, offset, size = struct.unpack_from("=QQI", body)
            return path.read_bytes()[offset : offset + size]
        if kind == READDIR:
            _, offset, size = struct.unpack_from("=QQI", body)
            return self._entries(path, offset, size)
        if kind in (RELEASE, RELEASEDIR, FLUSH):
            return b""
        raise OSError(errno.ENOSYS, "not needed")

    def _number(self, path: Path) -> int:
        number = self._numbers.setdefault(path, len(self._numbers) + 1)
        self._paths[number] = path
        return number

    def _attributes(self, path: Path) -> bytes:
        now = path.lstat()
        times = [int(now.st_atime), int(now.st_mtime), int(now.st_ctime)]
        return _ATTR.pack(
            *(self._number(path), now.st_size, now.st_blocks, *times),
            *(0, 0, 0, now.st_mode, now.st_nlink, 0, 0, 0, 4096, 0),
        )

    def _entries(self, path: Path, offset: int, size: int) -> bytes:
        packed = b""
        for at, found in enumerate(sorted(path.iterdir())[offset:], offset + 1):
            name = os.fsencode(found.name)
            kind = stat.S_IFMT(found.lstat().st_mode) >> 12
            entry = _DIRENT.pack(self._number(found), at, len(name), kind) + name
            entry += bytes(-len(entry) % 8)
            if len(packed) + len(entry) > size:
                break
            packed += entry
        return packed
