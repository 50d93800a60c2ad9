"""A file that jobs write to and the user changes meanwhile: the user's version is kept, beside it.

Strategy: the file server says which version of a file a job's writes belong to (`expect@womm`). Each is made
only if the file is of that version, or is as the last change from here has left it. Else the user has
changed it since: it is copied to NAME.womm-TASK first. What is compared, right before the write, is size,
time and inode.
"""

import errno
import logging
import os
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

from womm import words
from womm.share.beside import beside_name
from womm.share.fence import Fence

log = logging.getLogger(__name__)

Version = tuple[int, ...]
"""Size, time of the last change in ns, inode, device; empty: none that a file has."""
TRIES: Final = 5
"""How often a file is copied that changes meanwhile."""
FILES: Final = 100_000
"""Whose versions are known: all that are written at a time, and many more."""
COPIES: Final = 20
"""Of one file: a program here that writes to it all the time must not fill the disk with them."""
NAMED: Final = 10
_CHUNK: Final = 1 << 20
_MODE: Final = 0o777


def version_of(found: os.stat_result) -> Version:
    return found.st_size, found.st_mtime_ns, found.st_ino, found.st_dev


class Versions:
    """What files were like when this side's last change of them was done. Threads may use it.

    `kept` hears of each copy: the path of the file, and that of the copy.
    """

    def __init__(
        self, fence: Fence, task: str = "share", kept: Callable[[bytes, bytes], None] | None = None
    ) -> None:
        self._fence = fence
        self._task = task
        self._kept = kept
        self._lock = threading.Lock()
        self._ours: dict[tuple[int, int], Version] = {}
        self._copies: dict[bytes, int] = {}

    def __repr__(self) -> str:
        return f"<Versions of {len(self._ours)} files, {sum(self._copies.values())} copies>"

    def note(self, found: os.stat_result) -> Version:
        """Note what a change from here has made of a file."""
        version, key = version_of(found), (found.st_ino, found.st_dev)
        with self._lock:
            self._ours.pop(key, None)
            self._ours[key] = version
            if len(self._ours) > FILES:
                del self._ours[next(iter(self._ours))]
        return version

    def is_ours(self, found: os.stat_result) -> bool:
        """Is it as a change from here has left it?"""
        return self._ours.get((found.st_ino, found.st_dev)) == version_of(found)

    def is_foreign(self, fd: int, base: Version) -> bool:
        """Has the user changed an open file, which was of version `base`?"""
        found = os.fstat(fd)
        return version_of(found) != base and not self.is_ours(found)

    def keep(self, path: bytes, fd: int) -> Version:
        """Copy a file that the user has changed; return the version that is safe. Raises OSError."""
        found = os.fstat(fd)
        if not found.st_size or not found.st_nlink:
            return version_of(found)  # nothing that could be lost, or that has a name
        if self._copies.get(path, 0) >= COPIES:
            raise OSError(errno.EIO, f"it was changed here {COPIES} times while jobs wrote to it")
        beside, out = self._beside(path)
        try:
            version = _copy(fd, out)
        except BaseException:
            with suppress(OSError):
                self._fence.unlink(beside)
            raise
        finally:
            os.close(out)
        self._copies[path] = self._copies.get(path, 0) + 1
        log.info("%r has changed: it is kept as %r", path, beside)
        if self._kept is not None:
            self._kept(path, beside)
        return version

    def _beside(self, path: bytes) -> tuple[bytes, int]:
        above, slash, name = path.rpartition(b"/")
        for number in range(1, 1000):
            beside = above + slash + beside_name(name, self._task, number)
            try:
                return beside, self._fence.open_file(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            except FileExistsError:
                continue
            except FileNotFoundError:
                if not above:
                    raise
                above = slash = b""  # the user has moved the folder that it is in
        raise OSError(errno.EEXIST, os.strerror(errno.EEXIST))


def _copy(fd: int, out: int) -> Version:
    """Copy a file with its mode and time. Raises OSError: EIO if it never stays as it is."""
    for _ in range(TRIES):
        before = os.fstat(fd)
        os.ftruncate(out, 0)
        os.ftruncate(out, before.st_size)
        offset = 0
        while offset < before.st_size:
            data = os.pread(fd, _CHUNK, offset)
            if not data:
                break
            if data.count(0) != len(data):  # holes stay holes
                written = 0
                while written < len(data):
                    written += os.pwrite(out, data[written:], offset + written)
            offset += len(data)
        if version_of(os.fstat(fd)) == version_of(before):
            os.fchmod(out, before.st_mode & _MODE)
            os.utime(out, ns=(before.st_atime_ns, before.st_mtime_ns))
            return version_of(before)
    raise OSError(errno.EIO, "it changes all the time")


def both_sides(names: Sequence[str], copies: Sequence[str], count: int) -> str:
    """A line for the user about `count` files; NAMED of them, at most, are named."""
    pairs = list(zip(names, copies, strict=True))[:NAMED]
    shown = ", ".join(f"{words.name(name)} (yours is {words.name(copy)})" for name, copy in pairs)
    more = f" and {count - len(pairs)} more" if count > len(pairs) else ""
    return f"changed here while jobs wrote to it, both are kept: {shown}{more}"
