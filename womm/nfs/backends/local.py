"""A directory of this machine, confined: nothing outside of it is read, written or named.

Strategy: tree.py reaches files name by name without paths and gives descriptors that name inodes only;
listings.py lists directories; openfiles.py opens, reads and writes files. Metadata calls run inline: they
take microseconds.
"""

import contextlib
import errno
import os
import resource
import stat
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from struct import Struct

from womm.nfs.backends import linux
from womm.nfs.backends.listings import Listings
from womm.nfs.backends.openfiles import VERIFIER, LocalFile, OpenFiles
from womm.nfs.backends.tree import LocalNode, Tree, change_of, proc_path
from womm.nfs.constants import SHARE_WRITE, FileType
from womm.nfs.filesystem import (
    Attributes,
    Change,
    File,
    Limits,
    Listing,
    Node,
    Settings,
    Space,
)
from womm.nfs.status import NFSError, Status


class LocalFilesystem(OpenFiles):
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
        super().__init__(Tree(os.fspath(top), index, max_fds))
        self._listings = Listings(self._tree)
        self.limits = Limits()

    def __repr__(self) -> str:
        return f"<LocalFilesystem {self._tree!r} {self._open_files} open>"

    # -- start and stop ---------------------------------------------------------------------------
    async def start(self) -> None:
        self._tree.start()
        fd = self._tree.root.fd
        names = os.pathconf(proc_path(fd), "PC_NAME_MAX")
        xattrs = _has_xattrs(fd)
        self.limits = Limits(max_name_bytes=max(names, 14), xattrs=xattrs, exclusive_times=not xattrs)

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
        fd = node.fd  # type: ignore[attr-defined]
        if fd < 0:
            fd = self._tree.fd(node)
        assert isinstance(node, LocalNode)
        return _attributes(node, os.fstat(fd))

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
        _set(node, fd, settings)
        node.touched = True

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
        assert isinstance(directory, LocalNode)
        return self._listings.read(directory, cookie, want, count)

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
                os.setxattr(fd, VERIFIER, verifier)
                node.verifier = verifier
            if settings.mode is not None:
                os.fchmod(fd, settings.mode)  # whatever the umask
            if settings.size:
                os.ftruncate(fd, settings.size)
            _set(
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
                node.verifier = os.getxattr(proc_path(fd), VERIFIER)
        return node.verifier == verifier

    def _made(
        self, directory: LocalNode, name: bytes, settings: Settings, before: int
    ) -> tuple[LocalNode, Change]:
        """What was just made: its node, its attributes set, the change of its directory."""
        node = self._tree.enter(directory, name)
        _set(node, node.fd, settings)
        return node, Change(before, self._tree.changed(directory, True), True)

    async def mkdir(self, directory: Node, name: bytes, settings: Settings) -> tuple[LocalNode, Change]:
        assert isinstance(directory, LocalNode)
        above, before = self._tree.fd(directory), self._tree.changed(directory)
        os.mkdir(name, 0o755 if settings.mode is None else settings.mode & 0o777, dir_fd=above)
        if settings.mode is not None:
            # The bit that it got from the directory above stays. chmod takes it away where the group is not
            # the server's: so it is called only for what the umask has taken.
            now = os.fstat(self._tree.enter(directory, name).fd).st_mode & 0o7777
            mode = settings.mode | now & stat.S_ISGID
            settings = replace(settings, mode=None if mode == now else mode)
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
        if device[0] >> 12 or device[1] >> 20:
            raise NFSError(Status.INVAL)  # Linux has no such device: it would make another one
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
        return [name[5:] for name in names if name.startswith(b"user.") and name != VERIFIER.encode()]

    async def removexattr(self, node: Node, name: bytes) -> Change:
        assert isinstance(node, LocalNode)
        path, before = proc_path(self._tree.fd(node)), self._tree.changed(node)
        os.removexattr(path, b"user." + name)
        return Change(before, self._tree.changed(node, True), True)


def _verifier_times(verifier: bytes) -> tuple[int, int]:
    """An exclusive create's verifier as two times, in seconds: 31 bits of each half."""
    first, second = Struct(">II").unpack(verifier)
    return (first & 0x7FFFFFFF) * 1_000_000_000, (second & 0x7FFFFFFF) * 1_000_000_000


def _attributes(node: LocalNode, found: os.stat_result) -> Attributes:
    ctime_ns = found.st_ctime_ns
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


def _has_xattrs(fd: int) -> bool:
    try:
        os.getxattr(proc_path(fd), "user.womm.none")
    except OSError as exc:
        return exc.errno == errno.ENODATA
    return True
