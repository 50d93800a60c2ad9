"""A folder as an eager share sees it: a walk by descriptors that follows no symbolic link.

Both sides walk: the user's folder here, the store in the file server's pod.
"""

import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple, Protocol

from womm.store.pack import Stamp
from womm.store.protocol import DIRECTORY, FILE, LINK

STAGING: Final = b".womm-sync-"
"""The names that a copy in progress makes in a folder begin so; they are never copied."""
DEPTH: Final = 500
"""Of directories in one another: each is a call of Python's in a walk, which has 1,000, and a descriptor."""
_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
READING: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


class IgnoreRules(Protocol):
    """What `.wommignore` says. A directory that is ignored is not looked into."""

    def is_ignored(self, path: bytes, is_dir: bool) -> bool: ...


class Found(NamedTuple):
    """One path of a walk. `stamp` is comparable with the other side's; the rest is of this disk only."""

    stamp: Stamp
    dev: int
    ino: int
    links: int
    blocks: int

    def untouched(self, now: os.stat_result) -> bool:
        """Is this still the file that was found, and has nobody written to it?"""
        stamp = self.stamp
        return (
            now.st_ino == self.ino
            and now.st_size == stamp.size
            and now.st_mtime_ns == stamp.mtime_ns
            and now.st_ctime_ns == stamp.ctime_ns
            and now.st_dev == self.dev
        )


class Walk:
    """What was found, in an order in which a directory comes before what is in it.

    special: FIFOs, sockets, devices. unreadable: path and reason. mounts: directories on another device
    than the one they are in. staging: what earlier copies have left.
    """

    __slots__ = ("entries", "ignored", "mounts", "root", "special", "staging", "unreadable")

    def __init__(self, root: os.stat_result) -> None:
        self.root = root
        self.entries: dict[bytes, Found] = {}
        self.special: list[bytes] = []
        self.unreadable: dict[bytes, str] = {}
        self.mounts: list[bytes] = []
        self.staging: list[bytes] = []
        self.ignored = 0

    def __repr__(self) -> str:
        return f"<Walk {len(self.entries)} entries>"

    @property
    def files(self) -> int:
        return sum(found.stamp.kind != DIRECTORY for found in self.entries.values())

    @property
    def size(self) -> int:
        """Bytes of content; a file with several names counts once, holes do not."""
        seen = set()
        total = 0
        for found in self.entries.values():
            if found.stamp.kind == FILE:
                if found.links > 1:
                    if (found.dev, found.ino) in seen:
                        continue
                    seen.add((found.dev, found.ino))
                total += min(found.stamp.size, found.blocks * 512) if found.blocks else found.stamp.size
        return total


Seen = Callable[["Walk", int, bytes, list[bytes]], None]
"""Hears of each directory that was looked at: what is found so far, its descriptor, valid during the call,
its path, and the paths of the regular files in it. What it raises ends the walk."""


def walk(
    root: int,
    ignore: IgnoreRules | None = None,
    stop: Callable[[], None] = lambda: None,
    *,
    seen: Seen = lambda walk, fd, path, files: None,
    force: bool = False,
) -> Walk:
    """Walk the folder that is open as `root`. `stop` is called now and then, and may raise.

    `force`: directories of ours that cannot be read are made so, which is for a store only.
    """
    walker = _Walker(Walk(os.fstat(root)), ignore, stop, seen, force)
    top = os.open(b".", _DIRECTORY, dir_fd=root)
    try:
        walker.go_on(top, b"", walker.scan(top, b""), walker.walk.root.st_dev)
    finally:
        os.close(top)
    return walker.walk


class _Walker:
    def __init__(
        self, walk: Walk, ignore: IgnoreRules | None, stop: Callable[[], None], seen: Seen, force: bool
    ) -> None:
        self.walk = walk
        self._ignore = ignore
        self._stop = stop
        self._seen = seen
        self._force = force

    def scan(self, fd: int, below: bytes) -> "_Scan":
        """Enter what is in one directory. Raises OSError."""
        self._stop()
        walk, ignore, entries = self.walk, self._ignore, self.walk.entries
        files: list[bytes] = []
        directories: list[tuple[bytes, bytes]] = []
        with os.scandir(fd) as scan:
            for entry in scan:
                name = os.fsencode(entry.name)
                path = below + name
                try:
                    now = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
                mode = now.st_mode
                if name.startswith(STAGING):
                    walk.staging.append(path)
                elif ignore is not None and ignore.is_ignored(path, stat.S_ISDIR(mode)):
                    walk.ignored += 1
                elif stat.S_ISREG(mode):
                    stamp = Stamp(FILE, mode & 0o7777, now.st_size, now.st_mtime_ns, now.st_ctime_ns)
                    entries[path] = Found(stamp, now.st_dev, now.st_ino, now.st_nlink, now.st_blocks)
                    files.append(path)
                elif stat.S_ISDIR(mode):
                    directories.append((name, path))
                elif stat.S_ISLNK(mode):
                    stamp = Stamp(LINK, 0o777, now.st_size, now.st_mtime_ns, now.st_ctime_ns)
                    entries[path] = Found(stamp, now.st_dev, now.st_ino, 1, 0)
                else:
                    walk.special.append(path)
        return files, directories

    def go_on(self, fd: int, path: bytes, found: "_Scan", dev: int) -> None:
        """Tell of a directory, and walk those in it."""
        walk = self.walk
        files, directories = found
        self._seen(walk, fd, path, files)
        for name, inner_path in directories:
            if inner_path.count(b"/") >= DEPTH:
                walk.unreadable[inner_path] = f"below {DEPTH} directories"
                continue
            try:
                inner = _open_directory(name, fd, self._force)
            except FileNotFoundError:
                continue
            except OSError as exc:
                walk.unreadable[inner_path] = exc.strerror or str(exc)
                continue
            try:
                try:
                    opened = os.fstat(inner)
                    mode, mtime_ns, ctime_ns = opened.st_mode & 0o7777, opened.st_mtime_ns, opened.st_ctime_ns
                    stamp = Stamp(DIRECTORY, mode, 0, mtime_ns, ctime_ns)
                    walk.entries[inner_path] = Found(stamp, opened.st_dev, opened.st_ino, 1, 0)
                    if opened.st_dev != dev:
                        walk.mounts.append(inner_path)
                    inside = self.scan(inner, inner_path + b"/")
                except OSError as exc:
                    walk.unreadable[inner_path] = exc.strerror or str(exc)
                    continue
                self.go_on(inner, inner_path, inside, opened.st_dev)
            finally:
                os.close(inner)


_Scan = tuple[list[bytes], list[tuple[bytes, bytes]]]
"""Paths of regular files; names and paths of directories."""


def _open_directory(name: bytes, fd: int, force: bool) -> int:
    if force:
        found = os.stat(name, dir_fd=fd, follow_symlinks=False)
        if found.st_mode & 0o700 != 0o700 and found.st_uid == os.geteuid() and stat.S_ISDIR(found.st_mode):
            os.chmod(name, stat.S_IMODE(found.st_mode) | 0o700, dir_fd=fd)
    return os.open(name, _DIRECTORY, dir_fd=fd)


class Tree:
    """Opens what is below a folder, name by name, following no link; keeps the last directory open.

    `root` is a descriptor that stays the caller's. `force`: files of ours that must not be read are,
    which is for a store only. In one thread at a time. Every method raises OSError.
    """

    def __init__(self, root: int, *, force: bool = False) -> None:
        self._root = root
        self._force = force
        self._last: tuple[bytes, int] | None = None

    def close(self) -> None:
        if self._last is not None:
            os.close(self._last[1])
            self._last = None

    def directory(self, path: bytes) -> int:
        """A descriptor of a directory, which is this object's: valid until the next call."""
        if not path:
            return self._root
        last = self._last
        if last is not None:
            if last[0] == path:
                return last[1]
            if path.startswith(last[0] + b"/"):
                names, here = path[len(last[0]) + 1 :].split(b"/"), last[1]
                fd = _descend(here, names)
                self.close()
                self._last = (path, fd)
                return fd
        fd = _descend(self._root, path.split(b"/"))
        self.close()
        self._last = (path, fd)
        return fd

    def parent(self, path: bytes) -> tuple[int, bytes]:
        """The directory that holds the last name, as `directory` gives it, and that name."""
        at = path.rfind(b"/")
        return (self.directory(path[:at]), path[at + 1 :]) if at >= 0 else (self._root, path)

    def forget(self) -> None:
        """Look again: directories may have been moved."""
        self.close()

    def lstat(self, path: bytes) -> os.stat_result | None:
        """None where there is nothing, or no directory on the way to it."""
        try:
            fd, name = self.parent(path)
            return os.stat(name, dir_fd=fd, follow_symlinks=False)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as exc:
            if exc.errno == errno.ELOOP:
                return None
            raise

    def open_file(self, path: bytes) -> int:
        """Open for reading what may turn out to be no regular file: look before reading."""
        fd, name = self.parent(path)
        try:
            return os.open(name, READING, dir_fd=fd)
        except PermissionError:
            found = os.stat(name, dir_fd=fd, follow_symlinks=False)
            if not self._force or found.st_uid != os.geteuid() or not stat.S_ISREG(found.st_mode):
                raise
        mode = stat.S_IMODE(found.st_mode)
        os.chmod(name, mode | 0o400, dir_fd=fd)
        try:
            return os.open(name, READING, dir_fd=fd)
        finally:
            os.chmod(name, mode, dir_fd=fd)

    @contextmanager
    def reading(self, path: bytes) -> Iterator[int]:
        fd = self.open_file(path)
        try:
            yield fd
        finally:
            os.close(fd)


def _descend(here: int, names: list[bytes]) -> int:
    """Open a directory below `here`, one name after another."""
    first = here
    try:
        for name in names:
            below = os.open(name, _DIRECTORY, dir_fd=here)
            if here != first:
                os.close(here)
            here = below
    except BaseException:
        if here != first:
            os.close(here)
        raise
    return here
