"""Open files of a confined directory: what is done inline and what in threads.

A file is opened for reading or writing after its descriptor has shown that it is a regular file of the right
inode, through /proc/self/fd, which leads to that very inode whatever has become of its name.

Reads that the page cache can answer run inline (RWF_NOWAIT); what waits for the disk is done in threads -
but for small writes that are to be synced, where the disk is quick or nobody else is there to be delayed: on
a busy machine the way to a thread and back takes longer than most disks do, and a client that unpacks an
archive waits for each of its files.
"""

import asyncio
import contextlib
import errno
import os
import time
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from womm.nfs.backends import linux
from womm.nfs.backends.tree import LocalNode, Tree, proc_path
from womm.nfs.constants import SHARE_READ, SHARE_WRITE, FileType
from womm.nfs.filesystem import File, Node
from womm.nfs.status import NFSError, Status

T = TypeVar("T")

VERIFIER: Final = "user.womm.verifier"
"""The attribute that keeps the verifier of an exclusive create until the file is changed or closed. In the
times, where others keep it, it would cost the client a SETATTR for every file that it makes so."""
INLINE_WRITE_BYTES: Final = 1 << 17
"""Larger writes go to a thread, but for those of a client that is alone: copying them takes longer than the
way there and back, and where too much waits for the disk the kernel makes who writes wait too."""
BEGIN_WRITING_BYTES: Final = 8 << 20
"""Of one file, after which the kernel begins to write them: a COMMIT then finds little left to do."""
QUICK_SYNC_S: Final = 0.001
"""A disk that syncs a small write faster than this, of late, does it inline."""
SLOW_S: Final = 0.05
"""One that takes longer than this, to sync or to write, never does: somebody may come meanwhile."""


class LocalFile:
    """An open regular file; its descriptors are closed when it is closed and nothing runs on it."""

    __slots__ = ("closed", "dirty", "node", "read_fd", "users", "write_fd")

    def __init__(self, node: LocalNode, read_fd: int, write_fd: int) -> None:
        self.node = node
        self.read_fd = read_fd
        self.write_fd = write_fd
        self.users = 0
        self.closed = False
        self.dirty = 0
        """Bytes written since the kernel was last told to begin."""

    def __repr__(self) -> str:
        return f"<LocalFile {self.node.ino} {self.read_fd} {self.write_fd} {self.users} users>"


class OpenFiles:
    """Opens, reads and writes the regular files of a tree: a half of LocalFilesystem."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._nowait = hasattr(os, "RWF_NOWAIT")
        self._open_files = 0
        self._threads = 0
        """Calls that are under way in threads."""
        self.alone: Callable[[], bool] = lambda: False
        self._begun: set[asyncio.Task[None]] = set()
        self._sync_s = 0.0
        self._write_s = 0.0
        """How long syncing a small write took of late (a moving average), and writing a large one."""

    def _open(self, node: LocalNode, access: int) -> LocalFile:
        if node.kind is not FileType.REGULAR:
            raise NFSError(Status.INVAL)
        path = proc_path(self._tree.fd(node))
        read_fd = write_fd = -1
        if access & SHARE_WRITE:
            try:
                # A write of a part of a page reads the page first.
                read_fd = write_fd = self._open_path(path, os.O_RDWR)
            except PermissionError:
                write_fd = self._open_path(path, os.O_WRONLY)
        else:
            read_fd = self._open_path(path, os.O_RDONLY)
        file = LocalFile(node, read_fd, write_fd)
        self._pin(file)
        return file

    @staticmethod
    def _open_path(path: str, flags: int) -> int:
        flags |= os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
        bits = (0o200 if flags & os.O_ACCMODE else 0) | (0o400 if flags & os.O_ACCMODE != os.O_WRONLY else 0)
        return linux.permitted(path, bits, lambda: os.open(path, flags))

    def _pin(self, file: LocalFile) -> None:
        file.node.pins += 1
        self._tree.use(file.node)
        self._open_files += 1

    async def open(self, node: Node, access: int) -> LocalFile:
        assert isinstance(node, LocalNode)
        return self._open(node, access)

    async def close(self, file: File) -> None:
        assert isinstance(file, LocalFile)
        self._close(file)

    def _close(self, file: LocalFile) -> None:
        file.closed = True
        if file.users:
            return
        if file.read_fd >= 0:
            os.close(file.read_fd)
        if file.write_fd >= 0 and file.write_fd != file.read_fd:
            os.close(file.write_fd)
        file.read_fd = file.write_fd = -1
        node = file.node
        if node.verifier:
            self._forget_verifier(node)
        node.pins -= 1
        self._open_files -= 1
        if node.pins:
            return
        if node.gone:
            self._tree.drop(node)
        elif node.fd >= 0:
            self._tree.use(node)

    async def _in_thread(self, file: LocalFile, call: Callable[[], T], *others: LocalFile) -> T:
        """Run what may wait for the disk in a thread; its files stay open until the thread is done."""
        files = (file, *others)
        running = asyncio.get_running_loop().run_in_executor(None, call)
        for used in files:
            used.users += 1
        self._threads += 1
        running.add_done_callback(lambda _: self._thread_done(files))
        return await asyncio.shield(running)

    def _thread_done(self, files: Sequence[LocalFile]) -> None:
        self._threads -= 1
        for file in files:
            file.users -= 1
            if file.closed and not file.users:
                self._close(file)

    async def read(self, file: File, offset: int, count: int) -> tuple[bytes, bool]:
        assert isinstance(file, LocalFile)
        fd = file.read_fd
        if fd < 0:
            raise NFSError(Status.ACCESS)
        if self._nowait:
            data = bytearray(count)
            try:
                got = os.preadv(fd, [data], offset, os.RWF_NOWAIT)
            except BlockingIOError:
                got = -1
            except OSError as exc:
                if exc.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
                    raise
                self._nowait = False
                got = -1
            if got >= 0:
                size = os.fstat(fd).st_size
                if got == count or offset + got >= size:
                    del data[got:]
                    return data, offset + got >= size  # type: ignore[return-value]
        return await self._in_thread(file, lambda: linux.read_all(fd, offset, count))

    async def write(self, file: File, offset: int, data: memoryview, sync: bool) -> int:
        assert isinstance(file, LocalFile)
        fd = file.write_fd
        if fd < 0:
            raise NFSError(Status.OPENMODE)
        file.node.touched = True
        if file.node.verifier:
            self._forget_verifier(file.node)
        if len(data) <= INLINE_WRITE_BYTES:
            if not sync:
                return os.pwrite(fd, data, offset)
            if self._waits_inline():
                return self._write_through(fd, offset, data)
            return await self._in_thread(file, lambda: self._write_through(fd, offset, data))
        if not sync:
            file.dirty += len(data)
            if file.dirty >= BEGIN_WRITING_BYTES:
                file.dirty = 0
                self._begin_writing(file)
        if not sync and self._write_s < SLOW_S and self.alone():
            return self._write_large(fd, offset, data, False)
        return await self._in_thread(file, lambda: self._write_large(fd, offset, data, sync))

    def _begin_writing(self, file: LocalFile) -> None:
        fd = file.write_fd
        task = asyncio.get_running_loop().create_task(self._in_thread(file, lambda: linux.begin_writing(fd)))
        self._begun.add(task)
        task.add_done_callback(self._begun.discard)

    def _waits_inline(self) -> bool:
        """Shall a small write be synced here and now? Several are better synced together, in threads."""
        if self._sync_s < QUICK_SYNC_S:
            return True
        return self._sync_s < SLOW_S and not self._threads and self.alone()

    def _write_through(self, fd: int, offset: int, data: memoryview) -> int:
        began = time.perf_counter()
        written = linux.write_all(fd, offset, data, True)
        self._sync_s += (time.perf_counter() - began - self._sync_s) / 8
        return written

    def _write_large(self, fd: int, offset: int, data: memoryview, sync: bool) -> int:
        began = time.perf_counter()
        written = linux.write_all(fd, offset, data, sync)
        if not sync:
            self._write_s += (time.perf_counter() - began - self._write_s) / 8
        return written

    async def commit(self, node: Node, file: File | None) -> None:
        assert isinstance(node, LocalNode)
        opened = None
        if not isinstance(file, LocalFile):
            file = opened = self._open(node, SHARE_READ)
        fd = file.write_fd if file.write_fd >= 0 else file.read_fd
        try:
            await self._in_thread(file, lambda: os.fdatasync(fd))
        finally:
            if opened is not None:
                self._close(opened)

    async def seek(self, file: File, offset: int, data: bool) -> int | None:
        assert isinstance(file, LocalFile)
        fd = file.read_fd if file.read_fd >= 0 else file.write_fd
        if offset >= os.fstat(fd).st_size:
            raise NFSError(Status.NXIO)
        try:
            return os.lseek(fd, offset, os.SEEK_DATA if data else os.SEEK_HOLE)
        except OSError as exc:
            if data and exc.errno == errno.ENXIO:
                return None
            raise

    async def allocate(self, file: File, offset: int, length: int) -> None:
        assert isinstance(file, LocalFile)
        fd = file.write_fd
        file.node.touched = True
        await self._in_thread(file, lambda: linux.fallocate(fd, 0, offset, length))

    async def deallocate(self, file: File, offset: int, length: int) -> None:
        assert isinstance(file, LocalFile)
        fd = file.write_fd
        file.node.touched = True
        mode = linux.FALLOC_PUNCH_HOLE | linux.FALLOC_KEEP_SIZE
        await self._in_thread(file, lambda: linux.fallocate(fd, mode, offset, length))

    async def copy(self, source: File, offset: int, target: File, target_offset: int, count: int) -> int:
        assert isinstance(source, LocalFile) and isinstance(target, LocalFile)
        target.node.touched = True
        from_fd, to_fd = source.read_fd, target.write_fd
        return await self._in_thread(
            target, lambda: linux.copy_all(from_fd, offset, to_fd, target_offset, count), source
        )

    def _forget_verifier(self, node: LocalNode) -> None:
        """Its client has had the answer of the exclusive create: there will be no retry."""
        node.verifier = b""
        path = proc_path(self._tree.fd(node))
        with contextlib.suppress(OSError):
            linux.permitted(path, 0o200, lambda: os.removexattr(path, VERIFIER))
        node.touched = True
