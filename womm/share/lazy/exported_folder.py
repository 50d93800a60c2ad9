"""A folder as it is exported: what the fence can do, less what is hidden, with attributes packed for SFTP.

The methods block. `sftp_server` decides which of them it calls in threads.
"""

import errno
import os
import stat
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Final, Protocol

from womm.share.control import Change
from womm.share.fence import Fence
from womm.share.lazy.daemon_pool import DaemonPool
from womm.share.lazy.guard import Guard
from womm.share.lazy.versions import Versions
from womm.wire import rows
from womm.wire.attributes import NewAttributes, pack_stat
from womm.wire.extensions import (
    PUT_CREATE,
    PUT_EXCLUSIVE,
    PUT_FORCE,
    PUT_SYNC,
    PUT_TRUNCATE,
    Got,
    Listed,
    Put,
)
from womm.wire.replies import pack_name

_TREE_BYTES: Final = 3 << 20
"""Of one answer: less than a message may have."""
MOST_ROWS: Final = 100_000
"""Of one directory in one answer."""
_THREADS: Final = 8
_REST_S: Final = 1.0
"""A file system that answers does so by then."""
FILE_MODE: Final = 0o1777
"""Of files, what can be set: a pod makes none that others on this machine run as its owner."""
_CHANGING: Final = os.O_WRONLY | os.O_RDWR | os.O_TRUNC | os.O_CREAT


class Own(Protocol):
    """Hears of the changes that are made here, so that it does not take them for the user's."""

    def own(self, *paths: bytes) -> AbstractContextManager[object]:
        """Enter before the change, leave after it."""


@dataclass(slots=True)
class Traffic:
    """What went through all sessions of an export."""

    read_bytes: int = 0
    written_bytes: int = 0
    requests: int = 0


class ExportedFolder:
    """A folder as it is served: what all its sessions, one after the other, have in common.

    `guard`: what pods may do in it; by itself it knows womm's own names, and hides nothing. `versions`: what
    its files were like when a pod's last change of them was done; by itself it tells nobody of copies.
    """

    def __init__(
        self,
        fence: Fence,
        *,
        guard: Guard | None = None,
        read_only: bool = False,
        own: Own | None = None,
        versions: Versions | None = None,
    ) -> None:
        self.fence = fence
        self.read_only = read_only
        self.traffic = Traffic()
        self.guard = Guard(fence) if guard is None else guard
        self.versions = Versions(fence) if versions is None else versions
        self._own = own
        self.write_s = 0.0
        """How long a write took of late (a moving average)."""
        self.read_s = 0.0
        self.nowait = hasattr(os, "RWF_NOWAIT")
        self.waits: Callable[[bytes], bool] = lambda path: False
        """Is a path where even a look may take long, or for ever? Such requests have threads of their own."""
        self.lists = self.waits
        """May it take as long to look at what is in a directory?"""
        self.pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="share")
        self.slow_pool = DaemonPool(_THREADS, "share-slow")

    def __repr__(self) -> str:
        return f"<ExportedFolder {self.fence!r}{' read-only' if self.read_only else ''} {self.traffic}>"

    def close(self) -> None:
        """Wait for what runs in threads, but not for what may never end, and close the folder. Blocks."""
        self.slow_pool.shutdown()
        self.pool.shutdown(cancel_futures=True)
        if self.slow_pool.rest(_REST_S):  # else a thread would go on with a descriptor of something else
            self.fence.close()

    # -- what is changed ---------------------------------------------------------------------------
    def changing(self, *paths: bytes) -> AbstractContextManager[object]:
        """Around a change of these paths. Raises EROFS."""
        if self.read_only:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        return nullcontext() if self._own is None else self._own.own(*paths)

    # -- what may take long: in threads ------------------------------------------------------------
    def lstat(self, path: bytes) -> os.stat_result:
        found = self.fence.lstat(path)
        self.guard.see(path, stat.S_ISDIR(found.st_mode))
        return found

    def fstat(self, fd: int, path: bytes) -> os.stat_result:
        """What an open file or directory is like. path: where it is."""
        return os.fstat(fd)

    def readlink(self, path: bytes) -> bytes:
        self.guard.see_any(path)
        return self.fence.readlink(path)

    def open_directory(self, path: bytes) -> int:
        """Return a descriptor for `entries`."""
        self.guard.see(path, True)
        return self.fence.open_directory(path)

    def access(self, path: bytes, mode: int) -> bool:
        """As Fence.access. Raises EROFS or EACCES for what pods may not change."""
        self.guard.see_any(path)
        if mode & os.W_OK and self.read_only:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        if mode & os.W_OK:
            self.guard.may_access(path)
        return self.fence.access(path, mode)

    def entries(self, fd: int, path: bytes) -> Iterator[tuple[bytes, os.stat_result]]:
        """The names in an open directory that are to be seen, without . and .., and their attributes."""
        prefix = path + b"/" if path else b""
        for text in os.listdir(fd):
            name = os.fsencode(text)
            try:
                found = os.stat(name, dir_fd=fd, follow_symlinks=False)
            except OSError:
                continue  # removed since
            if not self.guard.hides(prefix + name, stat.S_ISDIR(found.st_mode)):
                yield name, found

    def tree(self, top: bytes, most: int) -> tuple[list[bytes], bool]:
        """List a directory and those in it, breadth first: packed names, and whether that was all.

        Names are relative to `top`. After the last entry of a directory comes its end mark, NAME/. (of `top`
        itself: /.) with its attributes as they were before it was read.
        """
        packed: list[bytes] = []
        room = _TREE_BYTES
        for name, found, _ in _walk(self, top, deep=True):
            entry = pack_name(name, pack_stat(found))
            room -= len(entry)
            if len(packed) >= most or room < 0:
                return packed, False
            packed.append(entry)
        return packed, True

    def rows(self, top: bytes, more: int) -> Listed:
        """As `tree`, compressed and with the targets of links: a directory, and `more` names below it."""
        packed: list[bytes] = []
        room, whole, most = rows.MOST_BYTES, False, MOST_ROWS
        for name, found, target in _walk(self, top, deep=more > 0):
            row = rows.pack_row(name, found, target)
            room -= len(row)
            if len(packed) >= most or room < 0:
                break
            packed.append(row)
            if not whole and name == b"/.":
                whole, most = True, len(packed) + more
        return Listed(rows.compress(packed), whole)

    def find(self, dev: int, ino: int) -> bytes:
        """Return a path of a file by its inode: it was renamed. Raises FileNotFoundError."""
        todo = deque([b""])
        while todo:
            above = todo.popleft()
            try:
                fd = self.fence.open_directory(above)
            except OSError:
                continue
            try:
                for name, found in self.entries(fd, above):
                    path = above + b"/" + name if above else name
                    if (found.st_dev, found.st_ino) == (dev, ino):
                        return path
                    if stat.S_ISDIR(found.st_mode):
                        todo.append(path)
            finally:
                os.close(fd)
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))

    def get(self, path: bytes, offset: int, most: int) -> bytes:
        """Attributes, content and whether that reaches the end, of a regular file."""
        self.guard.see_any(path)
        fd = self.fence.open_file(path, os.O_RDONLY)
        try:
            data = os.pread(fd, most, offset)
            found = os.fstat(fd)
        finally:
            os.close(fd)
        self.traffic.read_bytes += len(data)
        at_end = offset + len(data) >= found.st_size
        return Got.pack(found, data, at_end)

    def put(self, path: bytes, request: Put) -> bytes:
        """Write into a file, and set its attributes; return them."""
        wanted, flags = request.attributes, request.flags
        fd = self.open(path, _put_flags(flags), wanted, force=bool(flags & PUT_FORCE))
        try:
            write_all(fd, request.offset, request.data)
            self.set_open(fd, wanted)
            if flags & PUT_SYNC:
                os.fsync(fd)
            found = os.fstat(fd)
        finally:
            os.close(fd)
        self.traffic.written_bytes += len(request.data)
        return pack_stat(found)

    # -- files and attributes ----------------------------------------------------------------------
    def open(self, path: bytes, flags: int, wanted: NewAttributes, *, force: bool = False) -> int:
        """Open a file as the fence does; one that is made gets the permissions wanted, whatever the umask."""
        if flags & os.O_CREAT and self.guard.refuses(path, Change.MAKE_FILE) and _is_there(self, path):
            # As on a read-only disk.
            if flags & os.O_EXCL:
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
            flags &= ~os.O_CREAT
        admit = self.guard.admit if flags & _CHANGING else None
        if not flags & os.O_CREAT:
            self.guard.see_any(path)
            if admit is not None:
                self.guard.may_write(path)
            return self.fence.open_file(path, flags, force=force, admit=admit)
        self.guard.may_make(path, Change.MAKE_FILE)
        if wanted.permissions is None:
            return self.fence.open_file(path, flags, force=force, admit=admit)
        try:
            fd = self.fence.open_file(path, flags | os.O_EXCL, wanted.permissions)
        except FileExistsError:
            if flags & os.O_EXCL:
                raise
            return self.fence.open_file(path, flags, force=force, admit=admit)
        os.fchmod(fd, wanted.permissions & FILE_MODE)
        return fd

    def set_open(self, fd: int, wanted: NewAttributes) -> None:
        """Set attributes of an open file: the size first, since that sets the times."""
        if wanted.size is not None:
            os.ftruncate(fd, wanted.size)
        if wanted.permissions is not None:
            os.fchmod(fd, wanted.permissions & FILE_MODE)
        if wanted.atime_ns is not None or wanted.mtime_ns is not None:
            os.utime(fd, ns=_times(wanted, os.fstat(fd)))

    def set(self, path: bytes, wanted: NewAttributes) -> None:
        self.guard.see_any(path)
        self.guard.may_write(path)
        admit = self.guard.admit
        ours = self.versions.is_ours(self.fence.lstat(path))
        if wanted.size is not None:
            self.fence.truncate(path, wanted.size, force=wanted.force, admit=admit)
        if wanted.permissions is not None:
            is_dir = stat.S_ISDIR(self.fence.lstat(path).st_mode)
            mode = wanted.permissions if is_dir else wanted.permissions & FILE_MODE
            self.fence.chmod(path, mode, admit=admit)
        if wanted.atime_ns is not None or wanted.mtime_ns is not None:
            found = self.fence.lstat(path)
            admit(found)
            self.fence.utime(path, *_times(wanted, found))
        if ours:
            self.versions.note(self.fence.lstat(path))

    def mkdir(self, path: bytes, wanted: NewAttributes) -> None:
        self.guard.may_make(path, Change.MAKE_DIRECTORY, True)
        self.fence.mkdir(path, 0o777 if wanted.permissions is None else wanted.permissions)
        if wanted.permissions is not None:
            # Whatever the umask; the bit that it got from the directory above stays. Where its group is not
            # the user's, chmod would take that away: so it is called only for what the umask has taken.
            now = stat.S_IMODE(self.fence.lstat(path).st_mode)
            mode = now & stat.S_ISGID | wanted.permissions
            if mode != now:
                self.fence.chmod(path, mode)

    def mknod(self, path: bytes, mode: int) -> None:
        self.guard.may_make(path, Change.PLACE)
        self.fence.mknod(path, mode)
        self.fence.chmod(path, mode & 0o777)

    def seek(self, path: bytes, offset: int, data: bool) -> int:
        """Where data, or a hole, is next. Raises ENXIO as lseek does."""
        self.guard.see_any(path)
        fd = self.fence.open_file(path, os.O_RDONLY)
        try:
            return os.lseek(fd, offset, os.SEEK_DATA if data else os.SEEK_HOLE)
        finally:
            os.close(fd)

    def remove(self, path: bytes, is_dir: bool) -> None:
        self.guard.see_any(path)
        self.guard.may_place(path)
        if is_dir:
            self.fence.rmdir(path)
        else:
            self.fence.unlink(path)

    def rename(self, old: bytes, new: bytes, replace: bool) -> None:
        is_dir = stat.S_ISDIR(self.fence.lstat(old).st_mode)
        self.guard.see(old, is_dir)
        self.guard.may_place(old)
        self.guard.may_make(new, Change.PLACE, is_dir)
        self.guard.may_place(new)
        with self.guard.moving(old, new) if is_dir else nullcontext():
            self.fence.rename(old, new, replace=replace)

    def link(self, old: bytes, new: bytes) -> None:
        self.guard.see_any(old)
        self.guard.may_link(old)
        self.guard.may_make(new, Change.PLACE)
        self.fence.link(old, new)

    def symlink(self, target: bytes, path: bytes) -> None:
        self.guard.may_make(path, Change.PLACE)
        self.fence.symlink(target, path)


def _walk(export: ExportedFolder, top: bytes, *, deep: bool) -> Iterator[tuple[bytes, os.stat_result, bytes]]:
    """Yield what is in a directory, and its end mark; `deep`: then those in it, breadth first."""
    todo = deque([b""])
    while todo:
        below = todo.popleft()
        path = b"/".join(filter(None, (top, below)))
        prefix = below + b"/" if below else b""
        try:
            fd = export.open_directory(path)
        except OSError:
            if not below:
                raise
            continue
        try:
            before = export.fstat(fd, path)
            path_prefix = path + b"/" if path else b""
            for name, found in export.entries(fd, path):
                yield prefix + name, found, _target(fd, name, found)
                if deep and stat.S_ISDIR(found.st_mode) and not export.lists(path_prefix + name):
                    todo.append(prefix + name)
            yield below + b"/.", before, b""
        finally:
            os.close(fd)


def _is_there(export: ExportedFolder, path: bytes) -> bool:
    try:
        export.lstat(path)
    except OSError:
        return False
    return True


def _target(fd: int, name: bytes, found: os.stat_result) -> bytes:
    """Return where a symbolic link leads; empty: it is none, or it is gone."""
    if not stat.S_ISLNK(found.st_mode):
        return b""
    try:
        return os.readlink(name, dir_fd=fd)
    except OSError:
        return b""


def _put_flags(flags: int) -> int:
    found = os.O_WRONLY
    if flags & (PUT_CREATE | PUT_EXCLUSIVE):
        found |= os.O_CREAT
    if flags & PUT_EXCLUSIVE:
        found |= os.O_EXCL
    if flags & PUT_TRUNCATE:
        found |= os.O_TRUNC
    return found


def _times(wanted: NewAttributes, found: os.stat_result) -> tuple[int, int]:
    atime = found.st_atime_ns if wanted.atime_ns is None else wanted.atime_ns
    mtime = found.st_mtime_ns if wanted.mtime_ns is None else wanted.mtime_ns
    return atime, mtime


def write_all(fd: int, offset: int, data: bytes | memoryview) -> None:
    written = os.pwrite(fd, data, offset)
    if written < len(data):
        rest = memoryview(data)
        while written < len(rest):
            written += os.pwrite(fd, rest[written:], offset + written)
