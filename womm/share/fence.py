"""A folder of this machine, confined: nothing outside of it is read, written or named.

Strategy: a path is bytes relative to the folder. The directory that holds its last name is reached from the
folder's own descriptor by openat2 with RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS, or,
where the kernel has no openat2, name by name with O_NOFOLLOW; the last name is then used relative to that
descriptor by calls that do not follow links. So a symbolic link is an object like any other, whatever is
renamed or swapped meanwhile. Files are opened twice: once as O_PATH, to see that it is a regular file (to
open a FIFO or a device has effects), and then that very inode through /proc/self/fd.
"""

import ctypes
import errno
import os
import stat
import struct
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

_OPENAT2: Final = 437
"""The number on every architecture of Linux but alpha."""
_RESOLVE: Final = 0x02 | 0x04 | 0x08  # NO_MAGICLINKS, NO_SYMLINKS, BENEATH
_RACES: Final = 16
"""So many tries where another process may interfere."""
# macOS has neither: a directory is opened for reading there.
_O_PATH: Final = getattr(os, "O_PATH", os.O_RDONLY)
_DIRECTORY: Final = _O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_LISTING: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE: Final = os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
_ALTERABLE: Final = 0o7777
_EFFECTIVE: Final = os.access in os.supports_effective_ids
Admit = Callable[[os.stat_result], None]
"""Gets the file that is about to change; raises OSError to forbid it."""

_libc = ctypes.CDLL(None, use_errno=True)
_syscall = _libc.syscall
_syscall.argtypes = [ctypes.c_long, ctypes.c_int, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_size_t]
_syscall.restype = ctypes.c_long


def _how(flags: int) -> bytes:
    """A struct open_how: flags, mode, resolve."""
    return struct.pack("=QQQ", flags, 0, _RESOLVE)


_HOW: Final = {flags: _how(flags) for flags in (_DIRECTORY, _LISTING)}


def _openat2(directory: int, path: bytes, flags: int) -> int:
    for _ in range(_RACES):
        fd: int = _syscall(_OPENAT2, directory, path, _HOW[flags], 24)
        if fd >= 0:
            return fd
        number = ctypes.get_errno()
        if number not in (errno.EAGAIN, errno.EINTR):
            break
    raise OSError(number, os.strerror(number))


def _has_openat2(root: int) -> bool:
    """Does the kernel have it and let us? Seccomp filters of old container engines do not."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        os.close(_openat2(root, b".", _DIRECTORY))
    except OSError:
        return False
    return True


def clean(path: bytes) -> bytes:
    """Return a path without leading, trailing and double slashes, and without single dots.

    b"" is the folder itself. Raises OSError: EACCES for "..", EINVAL for a NUL.
    """
    if b"\0" in path:
        raise OSError(errno.EINVAL, "a NUL in the name")
    if not path.startswith(b".") and b"/." not in path and b"//" not in path:
        return path.strip(b"/")
    parts = [part for part in path.split(b"/") if part not in (b"", b".")]
    if b".." in parts:
        raise OSError(errno.EACCES, "a path with ..")
    return b"/".join(parts)


class Fence:
    """The folder `folder`. Every `path` is relative to it, as `clean` returns it; b"" is the folder itself.

    All methods raise OSError as the calls do; ELOOP where a directory on the way is a symbolic link. They may
    be called in any thread. `openat2` False: as on a kernel without it.
    """

    def __init__(self, folder: str | os.PathLike[str], *, openat2: bool = True) -> None:
        self.folder = os.path.abspath(os.fsencode(folder))
        self._root = os.open(folder, _O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self._openat2 = openat2 and _has_openat2(self._root)
        self._proc = os.path.exists(f"/proc/self/fd/{self._root}")
        self.closed = False

    def __repr__(self) -> str:
        way = "openat2" if self._openat2 else "name by name"
        return f"<Fence {'closed' if self.closed else self._root} {way}>"

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            os.close(self._root)

    # -- the way to a name -------------------------------------------------------------------------
    def _open_directory(self, path: bytes, flags: int) -> int:
        if self.closed:
            raise OSError(errno.EIO, "the share is closed")
        if self._openat2:
            return _openat2(self._root, path or b".", flags)
        if not path:
            return os.open(b".", flags, dir_fd=self._root)
        names = path.split(b"/")
        here = self._root
        try:
            for name in names[:-1]:
                below = os.open(name, _DIRECTORY, dir_fd=here)
                if here != self._root:
                    os.close(here)
                here = below
            return os.open(names[-1], flags, dir_fd=here)
        finally:
            if here != self._root:
                os.close(here)

    @contextmanager
    def _parent(self, path: bytes) -> Iterator[tuple[int, bytes]]:
        """The directory that holds the last name, and that name; b"." for the folder itself."""
        directory, _, name = path.rpartition(b"/")
        if not directory:
            if self.closed:
                raise OSError(errno.EIO, "the share is closed")
            yield self._root, name or b"."
            return
        fd = self._open_directory(directory, _DIRECTORY)
        try:
            yield fd, name
        finally:
            os.close(fd)

    # -- looking -----------------------------------------------------------------------------------
    def lstat(self, path: bytes) -> os.stat_result:
        directory, _, name = path.rpartition(b"/")
        if not directory:
            if self.closed:
                raise OSError(errno.EIO, "the share is closed")
            return os.stat(name or b".", dir_fd=self._root, follow_symlinks=False)
        fd = self._open_directory(directory, _DIRECTORY)
        try:
            return os.stat(name, dir_fd=fd, follow_symlinks=False)
        finally:
            os.close(fd)

    def readlink(self, path: bytes) -> bytes:
        with self._parent(path) as (fd, name):
            return os.readlink(name, dir_fd=fd)

    def open_directory(self, path: bytes) -> int:
        """Return a descriptor of a directory, for os.scandir and for calls relative to it."""
        return self._open_directory(path, _LISTING)

    def open_way(self, path: bytes) -> int:
        """Return a descriptor of a directory for calls relative to it; the directory need not be readable."""
        return self._open_directory(path, _DIRECTORY)

    def access(self, path: bytes, mode: int) -> bool:
        """May this process read (4), write (2), execute (1) it? Links are not followed: True."""
        with self._parent(path) as (fd, name):
            if stat.S_ISLNK(os.stat(name, dir_fd=fd, follow_symlinks=False).st_mode):
                return True
            return os.access(name, mode, dir_fd=fd, effective_ids=_EFFECTIVE)

    def statvfs(self) -> os.statvfs_result:
        """Return the figures of the filesystem that holds the folder."""
        return os.statvfs(self._root)

    # -- files -------------------------------------------------------------------------------------
    def open_file(
        self, path: bytes, flags: int, mode: int = 0o666, *, force: bool = False, admit: Admit | None = None
    ) -> int:
        """Open a regular file. `flags`: O_RDONLY.., O_CREAT, O_EXCL, O_TRUNC, O_APPEND.

        `force`: the owner's permissions are lifted for the call where they forbid it, since who owns a file
        may change them anyway. `admit` hears of a file that was there, before anything is done to it.
        Raises EISDIR, ELOOP (a symbolic link), EINVAL (what else is no file).
        """
        with self._parent(path) as (fd, name):
            for _ in range(_RACES):
                if flags & os.O_CREAT:
                    try:
                        return os.open(
                            name, flags | os.O_EXCL | os.O_NOFOLLOW | _FILE, mode & 0o777, dir_fd=fd
                        )
                    except FileExistsError:
                        if flags & os.O_EXCL:
                            raise
                try:
                    return self._open_existing(fd, name, flags & ~(os.O_CREAT | os.O_EXCL), force, admit)
                except FileNotFoundError:
                    if not flags & os.O_CREAT:
                        raise
            raise OSError(errno.EBUSY, "the file comes and goes")

    def _open_existing(
        self, directory: int, name: bytes, flags: int, force: bool, admit: Admit | None
    ) -> int:
        if not self._proc:
            fd = os.open(name, flags & ~os.O_TRUNC | os.O_NOFOLLOW | _FILE, dir_fd=directory)
            try:
                found = os.fstat(fd)
                _must_be_regular(found)
                if admit is not None:
                    admit(found)
                if flags & os.O_TRUNC:
                    os.ftruncate(fd, 0)
            except BaseException:
                os.close(fd)
                raise
            return fd
        handle = os.open(name, _O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
        try:
            found = os.fstat(handle)
            _must_be_regular(found)
            if admit is not None:
                admit(found)
            inode = f"/proc/self/fd/{handle}"
            try:
                return os.open(inode, flags | _FILE)
            except PermissionError:
                if not force or found.st_uid != os.geteuid():
                    raise
            mode = stat.S_IMODE(found.st_mode)
            os.chmod(inode, mode | 0o600)
            try:
                return os.open(inode, flags | _FILE)
            finally:
                os.chmod(inode, mode)
        finally:
            os.close(handle)

    # -- names -------------------------------------------------------------------------------------
    def mkdir(self, path: bytes, mode: int = 0o777) -> None:
        with self._parent(path) as (fd, name):
            os.mkdir(name, mode & 0o777, dir_fd=fd)

    def mknod(self, path: bytes, mode: int) -> None:
        """Make a FIFO or a socket; EINVAL for anything else."""
        if stat.S_IFMT(mode) not in (stat.S_IFIFO, stat.S_IFSOCK):
            raise OSError(errno.EINVAL, "neither a FIFO nor a socket")
        with self._parent(path) as (fd, name):
            os.mknod(name, stat.S_IFMT(mode) | mode & 0o777, dir_fd=fd)

    def rmdir(self, path: bytes) -> None:
        if not path:
            raise OSError(errno.EBUSY, "the folder itself")
        with self._parent(path) as (fd, name):
            os.rmdir(name, dir_fd=fd)

    def unlink(self, path: bytes) -> None:
        with self._parent(path) as (fd, name):
            if name == b".":
                raise OSError(errno.EISDIR, os.strerror(errno.EISDIR))
            os.unlink(name, dir_fd=fd)

    def rename(self, old: bytes, new: bytes, *, replace: bool = True) -> None:
        if not old or not new:
            raise OSError(errno.EBUSY, "the folder itself")
        with self._parent(old) as (old_fd, old_name), self._parent(new) as (new_fd, new_name):
            if not replace:
                with suppress(FileNotFoundError):
                    os.stat(new_name, dir_fd=new_fd, follow_symlinks=False)
                    raise OSError(errno.EEXIST, os.strerror(errno.EEXIST))
            os.rename(old_name, new_name, src_dir_fd=old_fd, dst_dir_fd=new_fd)

    def link(self, old: bytes, new: bytes) -> None:
        """Make `new` another name of `old`, also where `old` is a symbolic link."""
        with self._parent(old) as (old_fd, old_name), self._parent(new) as (new_fd, new_name):
            os.link(old_name, new_name, src_dir_fd=old_fd, dst_dir_fd=new_fd, follow_symlinks=False)

    def symlink(self, target: bytes, path: bytes) -> None:
        """Make a symbolic link. Any target will do: nothing here follows it."""
        if b"\0" in target:
            raise OSError(errno.EINVAL, "a NUL in the target")
        with self._parent(path) as (fd, name):
            os.symlink(target, name, dir_fd=fd)

    # -- attributes --------------------------------------------------------------------------------
    def chmod(self, path: bytes, mode: int, *, admit: Admit | None = None) -> None:
        """Set the permissions; those of a symbolic link stay as they are."""
        mode &= _ALTERABLE
        with self._parent(path) as (fd, name):
            if not self._proc:
                found = os.stat(name, dir_fd=fd, follow_symlinks=False)
                if admit is not None:
                    admit(found)
                if not stat.S_ISLNK(found.st_mode):
                    os.chmod(name, mode, dir_fd=fd, follow_symlinks=False)
                return
            handle = os.open(name, _O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd)
            try:
                if admit is not None:
                    admit(os.fstat(handle))
                if not stat.S_ISLNK(os.fstat(handle).st_mode):
                    os.chmod(f"/proc/self/fd/{handle}", mode)
            finally:
                os.close(handle)

    def utime(self, path: bytes, atime_ns: int, mtime_ns: int) -> None:
        with self._parent(path) as (fd, name):
            os.utime(name, ns=(atime_ns, mtime_ns), dir_fd=fd, follow_symlinks=False)

    def truncate(self, path: bytes, size: int, *, force: bool = False, admit: Admit | None = None) -> None:
        fd = self.open_file(path, os.O_WRONLY, force=force, admit=admit)
        try:
            os.ftruncate(fd, size)
        finally:
            os.close(fd)


def _must_be_regular(found: os.stat_result) -> None:
    kind = stat.S_IFMT(found.st_mode)
    if kind != stat.S_IFREG:
        number = {stat.S_IFDIR: errno.EISDIR, stat.S_IFLNK: errno.ELOOP}.get(kind, errno.EINVAL)
        raise OSError(number, os.strerror(number))
