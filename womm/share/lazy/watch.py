"""The changes in a folder since the last question, by inotify.

Strategy: the kernel queues an event at the end of each change, before the call that made it returns. A reader
that empties the queue therefore knows every change made before: no timer, no delay, and one system call when
there was none. Every directory has a watch. A directory that is made or moved here gets its watch first and
is then listed, since it may have files already. One that is moved away loses the watches of its subtree. When
the answer is unknown - the queue ran over, there are more directories than watches, the system has no
inotify - it is "all".

Changes that the share itself makes for its pods are left out by bracketing them (`own`): events in the queue
before are someone else's, those for the same names until the end are ours. A change that someone else
makes to the very file during those microseconds is lost; it is a race that has no right outcome anyway.
"""

import ctypes
import errno
import logging
import os
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from struct import Struct
from typing import Final

from womm.share.control import is_control_name
from womm.share.fence import Fence
from womm.share.ignore import RULES, Ignore

log = logging.getLogger(__name__)

MODIFY: Final = 0x2
ATTRIB: Final = 0x4
CLOSE_WRITE: Final = 0x8  # what was written through a mapping shows with nothing else
MOVED_FROM: Final = 0x40
MOVED_TO: Final = 0x80
CREATE: Final = 0x100
DELETE: Final = 0x200
DELETE_SELF: Final = 0x400
Q_OVERFLOW: Final = 0x4000
IGNORED: Final = 0x8000
ISDIR: Final = 0x40000000
_MASK: Final = (
    MODIFY | ATTRIB | CLOSE_WRITE | MOVED_FROM | MOVED_TO | CREATE | DELETE | DELETE_SELF
) | 0x01000000  # only directories

_EVENT: Final = Struct("=iIII")
_READ_BYTES: Final = 65536
_LARGEST_EVENT: Final = _EVENT.size + 256 + 16
MANY: Final = 10_000
"""More changed paths than this are reported as "all"."""
_RULES: Final = os.fsencode(RULES)

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class FolderChanges:
    """Paths relative to the folder, b"" is the folder itself; a directory that came or went means all below
    it too. `all`: nothing is known, any path may have changed."""

    paths: frozenset[bytes]
    all: bool

    def __bool__(self) -> bool:
        return self.all or bool(self.paths)

    def __or__(self, other: "FolderChanges") -> "FolderChanges":
        if self.all or other.all:
            return ALL
        return FolderChanges(self.paths | other.paths, False)


NOTHING: Final = FolderChanges(frozenset(), False)
ALL: Final = FolderChanges(frozenset(), True)


class Watcher:
    """Watches the folder of a fence, less what is ignored.

    Every method is for one thread, but `start` may run in another: until it is done all has changed. It looks
    at every directory, watched or not; `control` hears of each file of womm's, also of those that come.

    `why_all` is empty, or says why every answer is "all". `limit` bounds the watches (None: the system does).
    """

    def __init__(
        self,
        fence: Fence,
        ignore: Ignore | None = None,
        *,
        control: Callable[[bytes], None] = lambda path: None,
        limit: int | None = None,
    ) -> None:
        self._fence = fence
        self._ignore = ignore
        self._control = control
        self._limit = limit
        self._fd = -1
        self._paths: dict[int, bytes] = {}
        self._watches: dict[bytes, int] = {}
        self._changed: set[bytes] = set()
        self._blind: set[bytes] = set()
        """Directories that may not be read, but gone through: always told as changed."""
        self._all = False
        self._own: Counter[bytes] = Counter()
        self._starting = False
        self.why_all = "not started"

    def __repr__(self) -> str:
        return f"<Watcher {self.why_all or len(self._paths)} {len(self._changed)} changed>"

    def start(self) -> None:
        """Watch every directory there is. Takes some 20 microseconds for each."""
        self.close()
        self.why_all = ""
        if not sys.platform.startswith("linux"):
            self.why_all = f"there is no inotify on {sys.platform}"
        else:
            self._fd = _libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
            if self._fd < 0:
                self.why_all = f"no inotify: {os.strerror(ctypes.get_errno())}"
        self._starting = True
        try:
            self._enter(b"", None)
        finally:
            self._starting = False

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        self._paths.clear()
        self._watches.clear()
        self._blind.clear()
        self.why_all = self.why_all or "closed"

    def changes(self) -> FolderChanges:
        """Return what has changed since this was last called."""
        if self.why_all or self._starting:
            return ALL
        self._drain()
        if not self._changed and not self._all and not self._blind:
            return NOTHING
        found = ALL if self._all else FolderChanges(frozenset(self._changed | self._blind), False)
        self._changed.clear()
        self._all = False
        return found

    def absorb(self) -> None:
        """Empty the queue, now and then, so that it does not run over."""
        self._drain()

    def own(self, *paths: bytes) -> "_Bracket":
        """Use `with`: changes of these paths in it are the share's own and are not told."""
        return _Bracket(self, paths)

    def begin_own(self, paths: tuple[bytes, ...]) -> None:
        self._drain()
        self._own.update(paths)

    def end_own(self, paths: tuple[bytes, ...]) -> None:
        self._drain()
        for path in paths:
            if self._own[path] > 1:
                self._own[path] -= 1
            else:
                del self._own[path]

    # -- the queue ---------------------------------------------------------------------------------
    def _drain(self) -> None:
        while not self.why_all and not self._starting:
            try:
                data = os.read(self._fd, _READ_BYTES)
            except BlockingIOError:
                return
            if not self._take(data) or len(data) + _LARGEST_EVENT <= _READ_BYTES:
                return

    def _take(self, data: bytes) -> bool:
        """Note events; False: all is to be looked at again, and what else was queued means nothing."""
        at = 0
        while at < len(data):
            watch, mask, _, size = _EVENT.unpack_from(data, at)
            name = data[at + _EVENT.size : at + _EVENT.size + size].rstrip(b"\0")
            at += _EVENT.size + size
            if mask & Q_OVERFLOW:
                log.debug("inotify's queue ran over")
                self._begin_anew()
                return False
            directory = self._paths.get(watch)
            if directory is None:
                continue  # of a directory that was moved away
            if mask & IGNORED:
                del self._paths[watch]
                if self._watches.get(directory) == watch:
                    del self._watches[directory]
                continue
            if not name:
                self._note(directory, True)
                continue
            path = directory + b"/" + name if directory else name
            if mask & (CREATE | MOVED_TO) and is_control_name(name):
                self._control(path)
            if name == _RULES and self._ignore is not None and self._ignore.look(directory):
                self._begin_anew()
                return False
            if mask & ISDIR and mask & (MOVED_FROM | DELETE):
                self._leave(path)
            self._note(path, bool(mask & ISDIR))
            if mask & ISDIR and (mask & (CREATE | MOVED_TO) or (mask & ATTRIB and path not in self._watches)):
                # What we moved ourselves we know.
                known = bool(mask & MOVED_TO) and path in self._own
                self._enter(path, None if known else self._note)
        return True

    def _note(self, path: bytes, is_dir: bool) -> None:
        if path in self._own or self._all or path in self._changed:
            return
        if self._ignore is not None and self._ignore.is_ignored(path, is_dir):
            return
        self._changed.add(path)
        if len(self._changed) > MANY:
            self._all = True
            self._changed.clear()

    def _begin_anew(self) -> None:
        self._all = True
        self._changed.clear()
        self.start()

    # -- watches -----------------------------------------------------------------------------------
    def _enter(self, top: bytes, note: Callable[[bytes, bool], None] | None) -> None:
        """Watch a directory and all below it; `note` hears what is in them."""
        todo = [top]
        while todo and (self._starting or not self.why_all):
            path = todo.pop()
            if self._ignore is not None and path and self._ignore.is_ignored(path, True):
                continue
            try:
                fd = self._fence.open_directory(path)
            except OSError as exc:
                self._cannot_open(path, exc)
                continue
            self._blind.discard(path)
            try:
                if not self.why_all and not self._watch(fd, path) and not self._starting:
                    return
                with os.scandir(fd) as entries:
                    found = [
                        (os.fsencode(entry.name), entry.is_dir(follow_symlinks=False)) for entry in entries
                    ]
                if self._ignore is not None:
                    self._ignore.look(path, there=(_RULES, False) in found)
                for name, is_dir in found:
                    below = path + b"/" + name if path else name
                    if is_control_name(name):
                        self._control(below)
                    if note is not None:
                        note(below, is_dir)
                    if is_dir:
                        todo.append(below)
            finally:
                os.close(fd)

    def _cannot_open(self, path: bytes, error: OSError) -> None:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            return  # gone again, or no directory any more: its own event says so
        if error.errno != errno.EACCES:
            if self.why_all:
                return
            self._give_up(f"{os.fsdecode(path)!r} cannot be watched: {error.strerror}")
            return
        try:
            if self._fence.access(path, os.X_OK):
                self._blind.add(path)
        except OSError:
            pass

    def _watch(self, fd: int, path: bytes) -> bool:
        if self._limit is not None and len(self._paths) >= self._limit:
            watch, number = -1, errno.ENOSPC
        else:
            watch = _libc.inotify_add_watch(self._fd, b"/proc/self/fd/%d" % fd, _MASK)
            number = ctypes.get_errno()
        if watch < 0:
            if number == errno.ENOSPC:
                self._give_up("more directories than fs.inotify.max_user_watches allows")
            else:
                self._give_up(f"{os.fsdecode(path)!r} cannot be watched: {os.strerror(number)}")
            return False
        before = self._paths.get(watch)
        if before is not None and before != path:
            self._watches.pop(before, None)
        self._paths[watch] = path
        self._watches[path] = watch
        return True

    def _leave(self, top: bytes) -> None:
        """Forget the watches of a directory that is not there any more, and of those below it."""
        self._blind.discard(top)
        if top not in self._watches:
            return
        below = top + b"/"
        self._blind = {path for path in self._blind if not path.startswith(below)}
        for path in [path for path in self._watches if path == top or path.startswith(below)]:
            watch = self._watches.pop(path)
            del self._paths[watch]
            # Fails when it is gone by itself.
            _libc.inotify_rm_watch(self._fd, watch)

    def _give_up(self, why: str) -> None:
        log.debug("no watch: %s", why)
        self.close()
        self.why_all = why
        self._all = True


class _Bracket:
    __slots__ = ("_paths", "_watcher")

    def __init__(self, watcher: Watcher, paths: tuple[bytes, ...]) -> None:
        self._watcher = watcher
        self._paths = paths

    def __enter__(self) -> None:
        self._watcher.begin_own(self._paths)

    def __exit__(self, *exc: object) -> None:
        self._watcher.end_own(self._paths)
