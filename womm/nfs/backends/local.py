"""A directory of this machine, confined: nothing outside of it is read, written or named.

Strategy: tree.py reaches files name by name without paths and gives descriptors that name inodes only. A
file is opened for reading or writing after its descriptor has shown that it is a regular file of the right
inode, through /proc/self/fd, which leads to that very inode whatever has become of its name.

Metadata calls run inline: they take microseconds. Reads that the page cache can answer do too
(RWF_NOWAIT); what waits for the disk is done in threads - but for small writes that are to be synced, where
the disk is quick or nobody else is there to be delayed: on a busy machine the way to a thread and back
takes longer than most disks do, and a client that unpacks an archive waits for each of its files.
"""

import asyncio
import contextlib
import ctypes
import errno
import os
import resource
import stat
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from struct import Struct
from typing import Final, TypeVar

from womm.nfs.backends import linux
from womm.nfs.backends.tree import TYPES, LocalNode, Tree, change_of, pack_key, proc_path
from womm.nfs.constants import SHARE_READ, SHARE_WRITE, FileType
from womm.nfs.filesystem import (
    WANT_KEY,
    Attributes,
    Change,
    Entry,
    File,
    Limits,
    Listing,
    Node,
    Settings,
    Space,
)
from womm.nfs.status import NFSError, Status, status_of

T = TypeVar("T")

_DIRENTS_BYTES: Final = 65536
_VERIFIER: Final = "user.womm.verifier"
"""The attribute that keeps the verifier of an exclusive create until the file is changed or closed. In the
times, where others keep it, it would cost the client a SETATTR for every file that it makes so."""
_COOKIE_SHIFT: Final = 3
"""Cookies 0 to 2 are the protocol's."""
INLINE_WRITE_BYTES: Final = 1 << 17
"""Larger writes go to a thread, but for those of a client that is alone: copying them takes longer than the
way there and back, and where too much waits for the disk the kernel makes who writes wait too."""
BEGIN_WRITING_BYTES: Final = 8 << 20
"""Of one file, after which the kernel is told to begin: a COMMIT then finds little left to do."""
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


class LocalFilesystem:
    """Serves the directory `top`.

    `index` keeps the table of inode numbers and names over restarts (locations.py). `max_fds` bounds the
    descriptors of nodes (None: half of what the process may have, and 4096 at most); each open file takes
    up to two more. Needs Linux and /proc.
    """

    inline = True

    def __init__(
        self, top: str | os.PathLike[str], *, index: Path | None = None, max_fds: int | None = None
    ) -> None:
        if not sys.platform.startswith("linux"):
            raise NotImplementedError("the local backend needs Linux")
        if max_fds is None:
            max_fds = min(4096, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2)
        self._tree = Tree(os.fspath(top), index, max_fds)
        self._dirents = ctypes.create_string_buffer(_DIRENTS_BYTES)
        self._nowait = hasattr(os, "RWF_NOWAIT")
        self._open_files = 0
        self._threads = 0
        """Calls that are under way in threads."""
        self.alone: Callable[[], bool] = lambda: False
        self._begun: set[asyncio.Task[None]] = set()
        self._sync_s = 0.0
        self._write_s = 0.0
        """How long syncing a small write took of late (a moving average), and writing a large one."""
        self.limits = Limits()

    def __repr__(self) -> str:
        return f"<LocalFilesystem {self._tree!r} {self._open_files} open>"

    # -- start and stop ---------------------------------------------------------------------------
    async def start(self) -> None:
        self._tree.start()
        fd = self._tree.root.fd
        names = os.pathconf(proc_path(fd), "PC_NAME_MAX")
        xattrs = self._has_xattrs(fd)
        self.limits = Limits(max_name_bytes=max(names, 14), xattrs=xattrs, exclusive_times=not xattrs)

    @staticmethod
    def _has_xattrs(fd: int) -> bool:
        try:
            os.getxattr(proc_path(fd), "user.womm.none")
        except OSError as exc:
            return exc.errno == errno.ENODATA
        return True

    async def stop(self) -> None:
        await self._tree.stop()

    def root(self) -> LocalNode:
        return self._tree.root

    def find(self, key: bytes) -> LocalNode | None:
        return self._tree.find(key)

    async def resolve(self, key: bytes) -> LocalNode:
        return await self._tree.resolve(key)

    # -- attributes -------------------------------------------------------------------------------
    async def getattr(self, node: Node, want: int) -> Attributes:
        return self._attributes(node)

    def _attributes(self, node: Node) -> Attributes:
        fd = node.fd  # type: ignore[attr-defined]
        if fd < 0:
            fd = self._tree.fd(node)
        found = os.fstat(fd)
        ctime_ns = found.st_ctime_ns
        assert isinstance(node, LocalNode)
        return Attributes(
            node.kind,
            node.ino,
            change_of(node, ctime_ns),
            found.st_size,
            found.st_mode & 0o7777,
            found.st_nlink,
            found.st_uid,
            found.st_gid,
            found.st_blocks << 9,
            found.st_rdev >> 8 & 0xFFF,
            found.st_rdev & 0xFF | found.st_rdev >> 12 & 0xFFF00,
            found.st_atime_ns,
            found.st_mtime_ns,
            ctime_ns,
        )

    async def setattr(self, node: Node, settings: Settings, file: File | None) -> None:
        fd = self._tree.fd(node)
        assert isinstance(node, LocalNode)
        if node.verifier:
            self._forget_verifier(node)
        if settings.size is not None:
            if isinstance(file, LocalFile) and file.write_fd >= 0:
                os.ftruncate(file.write_fd, settings.size)
            else:
                opened = self._open(node, SHARE_WRITE)
                try:
                    os.ftruncate(opened.write_fd, settings.size)
                finally:
                    self._close(opened)
        self._set(node, fd, settings)
        node.touched = True

    @staticmethod
    def _set(node: LocalNode, fd: int, settings: Settings) -> None:
        """Set mode, owner and times; a link's own, not its target's."""
        path = proc_path(fd)
        if settings.uid is not None or settings.gid is not None:
            uid = -1 if settings.uid is None else settings.uid
            gid = -1 if settings.gid is None else settings.gid
            os.chown(path, uid, gid)
        if settings.mode is not None and node.kind is not FileType.SYMLINK:
            os.chmod(path, settings.mode)
        if settings.atime_ns is not None or settings.mtime_ns is not None:
            linux.set_times(path, fd, settings.atime_ns, settings.mtime_ns)

    # -- names ------------------------------------------------------------------------------------
    async def lookup(self, directory: Node, name: bytes) -> LocalNode:
        assert isinstance(directory, LocalNode)
        return self._tree.enter(directory, name)

    async def parent(self, directory: Node) -> LocalNode:
        assert isinstance(directory, LocalNode)
        if directory is self._tree.root:
            raise NFSError(Status.NOENT)
        self._tree.fd(directory)
        if directory.directory is None:
            raise NFSError(Status.STALE)
        return directory.directory

    async def readdir(self, directory: Node, cookie: int, want: int, count: int) -> Listing:
        path = proc_path(self._tree.fd(directory))
        assert isinstance(directory, LocalNode)
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            if cookie:
                os.lseek(fd, cookie - _COOKIE_SHIFT, os.SEEK_SET)
            entries: list[Entry] = []
            while len(entries) < count:
                # What is read and not used is read again with the next call.
                size = linux.getdents(fd, self._dirents, max(1024, (count - len(entries)) * 40))
                if size == 0:
                    return Listing(entries, True)
                for _, after, name in linux.parse_dirents(self._dirents.raw[:size]):
                    if len(entries) >= count:
                        break
                    entry = self._entry(directory, fd, after + _COOKIE_SHIFT, name, want)
                    if entry is not None:
                        entries.append(entry)
            return Listing(entries, False)
        finally:
            os.close(fd)

    def _entry(self, directory: LocalNode, fd: int, cookie: int, name: bytes, want: int) -> Entry | None:
        try:
            found = linux.statx(fd, name)
        except FileNotFoundError:
            return None  # removed since
        except OSError as exc:
            return Entry(cookie, name, b"", status_of(exc))
        kind = TYPES[found.mode & 0o170000]
        if kind is FileType.DIRECTORY and (found.dev_major, found.dev_minor) != self._tree.dev:
            return Entry(cookie, name, b"", Status.ACCESS)
        ino = self._tree.fileid(found)
        ctime_ns = found.ctime_s * 1_000_000_000 + found.ctime_rest
        node = self._tree.nodes.get(ino)
        if node is not None and node.birth_ns == found.birth_ns:
            key, change = node.key, change_of(node, ctime_ns)
        else:
            key, change = pack_key(ino, found.birth_ns), ctime_ns
            if want & WANT_KEY:
                self._tree.places.note(ino, directory.ino, name)
        return Entry(
            cookie,
            name,
            key,
            Attributes(
                kind,
                ino,
                change,
                found.size,
                found.mode & 0o7777,
                found.nlink,
                found.uid,
                found.gid,
                found.blocks << 9,
                found.rdev_major,
                found.rdev_minor,
                found.atime_s * 1_000_000_000 + found.atime_rest,
                found.mtime_s * 1_000_000_000 + found.mtime_rest,
                ctime_ns,
            ),
        )

    async def readlink(self, node: Node) -> bytes:
        fd = self._tree.fd(node)
        return os.readlink(b"", dir_fd=fd)

    async def create(
        self,
        directory: Node,
        name: bytes,
        settings: Settings,
        *,
        verifier: bytes | None,
        exclusive: bool,
        access: int,
    ) -> tuple[LocalNode, LocalFile, Change, bool]:
        assert isinstance(directory, LocalNode)
        above = self._tree.fd(directory)
        before = self._tree.changed(directory)
        mode = 0o644 if settings.mode is None else settings.mode & 0o777
        first_mode = mode | 0o200 if verifier is not None else mode  # an attribute needs the right to write
        try:
            fd = os.open(
                name,
                os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC,
                first_mode,
                dir_fd=above,
            )
        except FileExistsError:
            node = self._tree.enter(directory, name)
            if exclusive and not (verifier is not None and self._made_with(node, verifier)):
                raise
            if node.kind is not FileType.REGULAR:
                raise NFSError(Status.ISDIR if node.kind is FileType.DIRECTORY else Status.SYMLINK) from None
            return node, self._open(node, access), Change(before, before, True), False
        try:
            node = self._tree.enter(directory, name)
            if verifier is not None and not self.limits.exclusive_times:
                os.setxattr(fd, _VERIFIER, verifier)
                node.verifier = verifier
            if settings.mode is not None:
                os.fchmod(fd, settings.mode)  # whatever the umask
            if settings.size:
                os.ftruncate(fd, settings.size)
            self._set(
                node,
                node.fd,
                Settings(None, settings.uid, settings.gid, None, settings.atime_ns, settings.mtime_ns),
            )
            if verifier is not None and self.limits.exclusive_times:
                os.utime(fd, ns=_verifier_times(verifier))
        except BaseException:
            os.close(fd)
            raise
        file = LocalFile(node, fd, fd)
        self._pin(file)
        return node, file, Change(before, self._tree.changed(directory, True), True), True

    def _made_with(self, node: LocalNode, verifier: bytes) -> bool:
        fd = self._tree.fd(node)
        found = os.fstat(fd)
        if found.st_size:
            return False
        if self.limits.exclusive_times:
            return (found.st_atime_ns, found.st_mtime_ns) == _verifier_times(verifier)
        if not node.verifier:
            with contextlib.suppress(OSError):
                node.verifier = os.getxattr(proc_path(fd), _VERIFIER)
        return node.verifier == verifier

    def _forget_verifier(self, node: LocalNode) -> None:
        """Its client has had the answer of the exclusive create: there will be no retry."""
        node.verifier = b""
        path = proc_path(self._tree.fd(node))
        with contextlib.suppress(OSError):
            linux.permitted(path, 0o200, lambda: os.removexattr(path, _VERIFIER))
        node.touched = True

    def _made(
        self, directory: LocalNode, name: bytes, settings: Settings, before: int
    ) -> tuple[LocalNode, Change]:
        """What was just made: its node, its attributes set, the change of its directory."""
        node = self._tree.enter(directory, name)
        self._set(node, node.fd, settings)
        return node, Change(before, self._tree.changed(directory, True), True)

    async def mkdir(self, directory: Node, name: bytes, settings: Settings) -> tuple[LocalNode, Change]:
        assert isinstance(directory, LocalNode)
        above, before = self._tree.fd(directory), self._tree.changed(directory)
        os.mkdir(name, 0o755 if settings.mode is None else settings.mode & 0o777, dir_fd=above)
        if settings.mode is not None and os.fstat(above).st_mode & stat.S_ISGID:
            # chmod would take away the bit that it got from the directory above.
            settings = Settings(
                settings.mode | stat.S_ISGID,
                settings.uid,
                settings.gid,
                None,
                settings.atime_ns,
                settings.mtime_ns,
            )
        return self._made(directory, name, settings, before)

    async def symlink(
        self, directory: Node, name: bytes, target: bytes, settings: Settings
    ) -> tuple[LocalNode, Change]:
        assert isinstance(directory, LocalNode)
        above, before = self._tree.fd(directory), self._tree.changed(directory)
        os.symlink(target, name, dir_fd=above)
        return self._made(directory, name, settings, before)

    async def mknod(
        self, directory: Node, name: bytes, kind: FileType, device: tuple[int, int], settings: Settings
    ) -> tuple[LocalNode, Change]:
        assert isinstance(directory, LocalNode)
        above, before = self._tree.fd(directory), self._tree.changed(directory)
        mode = 0o644 if settings.mode is None else settings.mode & 0o777
        kinds = {
            FileType.FIFO: stat.S_IFIFO,
            FileType.SOCKET: stat.S_IFSOCK,
            FileType.BLOCK: stat.S_IFBLK,
            FileType.CHARACTER: stat.S_IFCHR,
        }
        os.mknod(name, mode | kinds[kind], os.makedev(*device), dir_fd=above)
        return self._made(directory, name, settings, before)

    async def link(self, node: Node, directory: Node, name: bytes) -> Change:
        assert isinstance(directory, LocalNode) and isinstance(node, LocalNode)
        fd, above, before = self._tree.fd(node), self._tree.fd(directory), self._tree.changed(directory)
        if os.fstat(fd).st_nlink == 0:
            raise NFSError(Status.STALE)
        # Follows the link of /proc to the inode itself, not a link that the inode may be.
        os.link(proc_path(fd), name, dst_dir_fd=above, follow_symlinks=True)
        node.touched = True
        return Change(before, self._tree.changed(directory, True), True)

    async def remove(self, directory: Node, name: bytes) -> Change:
        assert isinstance(directory, LocalNode)
        above, before = self._tree.fd(directory), self._tree.changed(directory)
        node = self._tree.enter(directory, name)
        if node.kind is FileType.DIRECTORY:
            os.rmdir(name, dir_fd=above)
        else:
            os.unlink(name, dir_fd=above)
        self._tree.unlinked(node)
        return Change(before, self._tree.changed(directory, True), True)

    async def rename(self, source: Node, old: bytes, target: Node, new: bytes) -> tuple[Change, Change]:
        assert isinstance(source, LocalNode) and isinstance(target, LocalNode)
        source_fd, target_fd = self._tree.fd(source), self._tree.fd(target)
        before, target_before = self._tree.changed(source), self._tree.changed(target)
        node = self._tree.enter(source, old)
        replaced = None
        with contextlib.suppress(FileNotFoundError):
            replaced = self._tree.enter(target, new)
        if replaced is node:
            # Two names of one file: POSIX and RFC 7530 16.29.4 leave both.
            return Change(before, before, True), Change(target_before, target_before, True)
        if replaced is not None and (replaced.kind is FileType.DIRECTORY) != (
            node.kind is FileType.DIRECTORY
        ):
            raise NFSError(Status.EXIST)
        try:
            os.rename(old, new, src_dir_fd=source_fd, dst_dir_fd=target_fd)
        except OSError as exc:
            if exc.errno == errno.ENOTEMPTY:
                raise NFSError(Status.EXIST) from exc
            raise
        if replaced is not None:
            self._tree.unlinked(replaced)
        node.directory, node.name = target, new
        node.touched = True
        self._tree.places.note(node.ino, target.ino, new)
        changed = Change(before, self._tree.changed(source, True), True)
        if source is target:
            return changed, changed
        return changed, Change(target_before, self._tree.changed(target, True), True)

    # -- open files -------------------------------------------------------------------------------
    def _open(self, node: LocalNode, access: int) -> LocalFile:
        if node.kind is not FileType.REGULAR:
            raise NFSError(Status.INVAL)
        path = proc_path(self._tree.fd(node))
        read_fd = write_fd = -1
        if access & SHARE_WRITE:
            try:
                # Who writes parts of pages reads them first.
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
        if node.gone and not node.pins:
            self._tree.drop(node)

    async def _in_thread(self, file: LocalFile, call: Callable[[], T]) -> T:
        """Run what may wait for the disk in a thread; the file stays open meanwhile."""
        file.users += 1
        self._threads += 1
        try:
            return await asyncio.shield(asyncio.get_running_loop().run_in_executor(None, call))
        finally:
            self._threads -= 1
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
        source.users += 1
        try:
            return await self._in_thread(
                target, lambda: linux.copy_all(from_fd, offset, to_fd, target_offset, count)
            )
        finally:
            source.users -= 1
            if source.closed and not source.users:
                self._close(source)

    async def statfs(self) -> Space:
        found = os.statvfs(proc_path(self._tree.root.fd))
        size = found.f_frsize
        return Space(
            found.f_blocks * size,
            found.f_bfree * size,
            found.f_bavail * size,
            found.f_files,
            found.f_ffree,
            found.f_favail,
        )

    # -- extended attributes ----------------------------------------------------------------------
    async def getxattr(self, node: Node, name: bytes) -> bytes:
        return os.getxattr(proc_path(self._tree.fd(node)), b"user." + name)

    async def setxattr(self, node: Node, name: bytes, value: bytes, how: int) -> Change:
        assert isinstance(node, LocalNode)
        path, before = proc_path(self._tree.fd(node)), self._tree.changed(node)
        os.setxattr(path, b"user." + name, value, (0, os.XATTR_CREATE, os.XATTR_REPLACE)[how])
        return Change(before, self._tree.changed(node, True), True)

    async def listxattr(self, node: Node) -> Sequence[bytes]:
        names = [os.fsencode(name) for name in os.listxattr(proc_path(self._tree.fd(node)))]
        return [name[5:] for name in names if name.startswith(b"user.") and name != _VERIFIER.encode()]

    async def removexattr(self, node: Node, name: bytes) -> Change:
        assert isinstance(node, LocalNode)
        path, before = proc_path(self._tree.fd(node)), self._tree.changed(node)
        os.removexattr(path, b"user." + name)
        return Change(before, self._tree.changed(node, True), True)


def _verifier_times(verifier: bytes) -> tuple[int, int]:
    """An exclusive create's verifier as two times, in seconds: 31 bits of each half."""
    first, second = Struct(">II").unpack(verifier)
    return (first & 0x7FFFFFFF) * 1_000_000_000, (second & 0x7FFFFFFF) * 1_000_000_000
