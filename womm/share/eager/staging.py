"""Puts files into the user's folder: whole, by descriptors, without following a link, losing nothing.

Strategy: a file that comes is written under a number into a private folder within the user's, so on the same
disk. Its owner holds that folder locked; the folder of a killed run has no lock, and goes with the next run.
A finished file takes its name by one rename: RENAME_NOREPLACE where nothing has that name; otherwise
RENAME_EXCHANGE with the file that is there, which is then compared with the expected one, and put back if it
is another. So at no moment is there a half file, no file, or a lost one.
"""

import ctypes
import errno
import fcntl
import os
import shutil
import stat
import sys
from contextlib import suppress
from typing import Final

from womm.store.tree import STAGING, Tree

_NOREPLACE, _EXCHANGE = (1, 2) if sys.platform.startswith("linux") else (4, 2)
_NEW: Final = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_libc = ctypes.CDLL(None, use_errno=True)
_rename2 = getattr(_libc, "renameat2", None) or getattr(_libc, "renameatx_np", None)
_UNSUPPORTED: Final = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP)


def _rename(from_fd: int, old: bytes, to_fd: int, new: bytes, flag: int) -> bool:
    """Rename with a flag. False: the kernel or the filesystem has no such thing. Raises OSError."""
    if _rename2 is None:
        return False
    if _rename2(from_fd, old, to_fd, new, ctypes.c_uint(flag)) == 0:
        return True
    number = ctypes.get_errno()
    if number in _UNSUPPORTED:
        return False
    raise OSError(number, os.strerror(number))


def rename_new(from_fd: int, old: bytes, to_fd: int, new: bytes) -> None:
    """Rename onto a name that is not taken. Raises FileExistsError, OSError."""
    if _rename(from_fd, old, to_fd, new, _NOREPLACE):
        return
    try:
        os.link(old, new, src_dir_fd=from_fd, dst_dir_fd=to_fd, follow_symlinks=False)
    except FileExistsError:
        raise
    except OSError:
        # A filesystem of few talents: there is a moment between looking and renaming.
        try:
            os.stat(new, dir_fd=to_fd, follow_symlinks=False)
        except FileNotFoundError:
            os.rename(old, new, src_dir_fd=from_fd, dst_dir_fd=to_fd)
            return
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST)) from None
    os.unlink(old, dir_fd=from_fd)


def rename_over(from_fd: int, old: bytes, to_fd: int, new: bytes, expected: os.stat_result) -> bool:
    """Rename onto the file `expected`, which goes. False, and nothing has changed: it is another, or has been
    written to."""
    if not _rename(from_fd, old, to_fd, new, _EXCHANGE):
        now = os.stat(new, dir_fd=to_fd, follow_symlinks=False)
        if not _untouched(expected, now):
            return False
        os.rename(old, new, src_dir_fd=from_fd, dst_dir_fd=to_fd)
        return True
    if _untouched(expected, os.stat(old, dir_fd=from_fd, follow_symlinks=False)):
        os.unlink(old, dir_fd=from_fd)
        return True
    _rename(from_fd, old, to_fd, new, _EXCHANGE)
    return False


def _untouched(expected: os.stat_result, now: os.stat_result) -> bool:
    # Not by ctime: the rename itself changes it.
    return (
        now.st_ino == expected.st_ino
        and now.st_size == expected.st_size
        and now.st_mtime_ns == expected.st_mtime_ns
        and stat.S_IFMT(now.st_mode) == stat.S_IFMT(expected.st_mode)
    )


class Staging:
    """The private folder of one task in the folder that is open as `root`. Close it: then it is gone.

    Raises OSError when the folder cannot be written to.
    """

    def __init__(self, root: int, task: str) -> None:
        self._root = root
        self._name = STAGING + os.fsencode(task)
        while True:
            with suppress(FileExistsError):
                os.mkdir(self._name, 0o700, dir_fd=root)
            try:
                fd = os.open(self._name, _DIRECTORY, dir_fd=root)
            except FileNotFoundError:  # taken for a dead one's
                continue
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # It may have been taken for a dead one's before it was locked, too.
                here = os.stat(self._name, dir_fd=root, follow_symlinks=False)
                if here.st_ino == os.fstat(fd).st_ino:
                    break
            except FileNotFoundError:
                pass
            except BaseException:
                os.close(fd)
                raise
            os.close(fd)
        self.fd = fd
        self._empty()

    def __repr__(self) -> str:
        return f"<Staging {self._name!r}>"

    def create(self, name: bytes) -> int:
        """Open a new file for writing and reading."""
        return os.open(name, _NEW, 0o600, dir_fd=self.fd)

    def discard(self, name: bytes) -> None:
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self.fd)

    def beside(self, directory: int, name: bytes) -> bytes:
        """Copy a staged file into a directory of another filesystem, under a name nobody copies."""
        there = self._name + b"-" + name
        source = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self.fd)
        try:
            found = os.fstat(source)
            with suppress(FileNotFoundError):
                os.unlink(there, dir_fd=directory)
            target = os.open(there, _NEW, 0o600, dir_fd=directory)
            try:
                with open(source, "rb", closefd=False) as one, open(target, "wb", closefd=False) as other:
                    shutil.copyfileobj(one, other, 1 << 20)
                os.fchmod(target, found.st_mode & 0o777)
                os.utime(target, ns=(found.st_atime_ns, found.st_mtime_ns))
            except BaseException:
                os.unlink(there, dir_fd=directory)
                raise
            finally:
                os.close(target)
        finally:
            os.close(source)
        return there

    def close(self) -> None:
        self._empty()
        with suppress(OSError):
            os.rmdir(self._name, dir_fd=self._root)
        os.close(self.fd)

    def _empty(self) -> None:
        for name in os.listdir(self.fd):
            self.discard(os.fsencode(name))


def remove_stale(root: int, found: list[bytes]) -> None:
    """Remove what killed copies have left; what belongs to a living one stays. `found`: as a walk tells."""
    tree = Tree(root)
    living = set()
    try:
        for path in found:
            if b"/" not in path and not _remove_folder(root, path):
                living.add(path)
        for path in found:
            if any(path.rpartition(b"/")[2].startswith(name + b"-") for name in living) or path in living:
                continue
            with suppress(OSError):
                fd, name = tree.parent(path)
                if not stat.S_ISDIR(os.stat(name, dir_fd=fd, follow_symlinks=False).st_mode):
                    os.unlink(name, dir_fd=fd)
    finally:
        tree.close()


def _remove_folder(root: int, name: bytes) -> bool:
    """False: its owner lives."""
    try:
        fd = os.open(name, _DIRECTORY, dir_fd=root)
    except OSError:
        return True
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.stat(name, dir_fd=root, follow_symlinks=False).st_ino != os.fstat(fd).st_ino:
            return False  # it was removed before it was locked, and another has its name
        for inner in os.listdir(fd):
            os.unlink(inner, dir_fd=fd)
        os.rmdir(name, dir_fd=root)
    except BlockingIOError:
        return False
    except OSError:
        return True
    finally:
        os.close(fd)
    return True
