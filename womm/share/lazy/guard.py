"""What pods may do in an exported folder: what they see of it, what they may change, and what the user is
told when they try something else.

Strategy: the last name of each path is judged as a name (`control`), the way to it is the fence's. So no
race of requests leads to a forbidden name. Names are not files: what would be changed is compared with
womm's own files that are known by inode, and a directory keeps its place when something in it would leave
its rules: a file of womm's, or what is hidden under this name and would be seen under the next.
"""

import errno
import logging
import os
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

from womm import words
from womm.share.control import NAMES, Change, Refusal, Writable, is_control_name
from womm.share.fence import Fence
from womm.share.ignore import RULES, Ignore

log = logging.getLogger(__name__)

Inode = tuple[int, int]
"""Device and number."""
_HIDDEN: Final = "hidden"
_HOLDS: Final = "holds"


class Guard:
    """Of one export. May be used in several threads; what raises OSError, raises it before anything is done.

    `say` tells the user a line: one for each kind of refusal, with the first path.
    """

    def __init__(
        self,
        fence: Fence,
        ignore: Ignore | None = None,
        writable: Writable | None = None,
        say: Callable[[str], None] = log.warning,
    ) -> None:
        self._fence = fence
        self._ignore = ignore
        self._writable = Writable() if writable is None else writable
        self._say = say
        self._told: set[Refusal | str] = set()
        self._known: dict[Inode, bytes] = {}
        self._moving = threading.Lock()
        self._note_above()

    def __repr__(self) -> str:
        return f"<Guard {self._writable.paths} {len(self._known)} files of womm's>"

    # -- what is hidden ----------------------------------------------------------------------------
    def hides(self, path: bytes, is_dir: bool) -> bool:
        return self._ignore is not None and bool(path) and self._ignore.is_ignored(path, is_dir)

    def see(self, path: bytes, is_dir: bool = False) -> None:
        """Raise ENOENT for what is hidden."""
        if self.hides(path, is_dir):
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))

    def see_any(self, path: bytes) -> None:
        """As `see`, for a path that may be a directory."""
        if self._ignore is not None and path:
            self.see(path, stat.S_ISDIR(self._fence.lstat(path).st_mode))

    # -- what may be changed -----------------------------------------------------------------------
    def may(self, path: bytes, change: Change) -> None:
        """Raise EACCES for what is womm's own, EROFS for what is not below a path of `share-write`."""
        why = self._writable.why_not(path, change)
        if why is Refusal.CONTROL:
            self._refuse_control(path)
        elif why is Refusal.OUTSIDE:
            only = ", ".join(map(words.name, self._writable.paths))
            self._tell(
                why, f"jobs cannot change {words.name(path) or 'the folder itself'}: share-write is {only}"
            )
            raise OSError(errno.EROFS, "not below a path of share-write")

    def refuses(self, path: bytes, change: Change) -> bool:
        """As `may`, for who only asks."""
        return self._writable.why_not(path, change) is not None

    def may_access(self, path: bytes) -> None:
        """As `may_write`, for who only asks."""
        why = self._writable.why_not(path, Change.WRITE)
        if why is None and self._known:
            found = self._fence.lstat(path)
            why = Refusal.CONTROL if self._owner((found.st_dev, found.st_ino)) is not None else None
        if why is not None:
            number = errno.EACCES if why is Refusal.CONTROL else errno.EROFS
            raise OSError(number, os.strerror(number))

    def may_make(self, path: bytes, change: Change, is_dir: bool = False) -> None:
        """As `may`; EACCES also for what would be hidden once it is made."""
        self.may(path, change)
        if self.hides(path, is_dir):
            self._tell(_HIDDEN, f"jobs cannot make {words.name(path)} in the shared folder: {RULES} hides it")
            raise OSError(errno.EACCES, f"hidden by {RULES}")

    def may_write(self, path: bytes) -> None:
        """Raise for a file whose content or attributes pods may not change. See `admit`, too."""
        self.may(path, Change.WRITE)

    def may_place(self, path: bytes) -> None:
        """Raise for a name that pods may not remove or give to another file."""
        self.may(path, Change.PLACE)
        if self._known:
            with suppress(FileNotFoundError):
                self.admit(self._fence.lstat(path))

    def may_link(self, path: bytes) -> None:
        """Raise for a file that may get no other name."""
        self.may_write(path)
        self.admit(self._fence.lstat(path))

    def admit(self, found: os.stat_result) -> None:
        """Raise EACCES for a file of womm's, whatever name has led to it."""
        self.admit_inode((found.st_dev, found.st_ino))

    def admit_inode(self, inode: Inode) -> None:
        """As `admit`."""
        path = self._owner(inode)
        if path is not None:
            self._refuse_control(path)

    def _owner(self, inode: Inode) -> bytes | None:
        """The path of womm's that is this file."""
        path = self._known.get(inode)
        if path is not None and inode not in self._inodes(path):
            self._known.pop(inode, None)  # the number is another file's by now
            return None
        return path

    def _refuse_control(self, path: bytes) -> None:
        self._tell(
            Refusal.CONTROL, f"jobs cannot change {words.name(path)} in the shared folder: it is womm's own"
        )
        raise OSError(errno.EACCES, "womm's own")

    def _tell(self, kind: Refusal | str, line: str) -> None:
        if kind not in self._told:
            self._told.add(kind)
            self._say(line)

    # -- directories that are renamed --------------------------------------------------------------
    @contextmanager
    def moving(self, old: bytes, new: bytes) -> Iterator[None]:
        """Enter before a directory is renamed, leave after it. Raises EACCES. Looks at all that is in it."""
        with self._moving:  # else another one could be moved into it meanwhile
            self._must_be_movable(old, new, b"")
            yield

    def _must_be_movable(self, old: bytes, new: bytes, below: bytes) -> None:
        todo = [below]
        while todo:
            below = todo.pop()
            try:
                fd = self._fence.open_directory(b"/".join(filter(None, (old, below))))
            except FileNotFoundError:
                continue
            try:
                with os.scandir(fd) as entries:
                    for entry in entries:
                        inner = b"/".join(filter(None, (below, os.fsencode(entry.name))))
                        is_dir = entry.is_dir(follow_symlinks=False)
                        self._may_come_along(old, new, inner, is_dir)
                        if is_dir:
                            todo.append(inner)
            finally:
                os.close(fd)

    def _may_come_along(self, old: bytes, new: bytes, inner: bytes, is_dir: bool) -> None:
        path = old + b"/" + inner
        if is_control_name(inner.rpartition(b"/")[2]):
            self._tell(
                _HOLDS,
                f"jobs cannot rename {words.name(old)} in the shared folder:"
                f" {words.name(path)} is womm's own",
            )
            raise OSError(errno.EACCES, "a file of womm's is in it")
        if self.hides(path, is_dir) and not self.hides(new + b"/" + inner, is_dir):
            self._tell(
                _HIDDEN,
                f"jobs cannot rename {words.name(old)} in the shared folder: {RULES} hides what is in it",
            )
            raise OSError(errno.EACCES, f"{RULES} hides what is in it")

    # -- womm's own files --------------------------------------------------------------------------
    def note(self, path: bytes) -> None:
        """Remember a file of womm's by inode: it may have other names."""
        for inode in self._inodes(path):
            self._known[inode] = path

    def _note_above(self) -> None:
        """Those that count for the folder, but are not in it."""
        above = os.path.dirname(self._fence.folder)
        while True:
            for name in NAMES:
                self.note(os.path.join(above, name))
            if above == os.path.dirname(above):
                return
            above = os.path.dirname(above)

    def _inodes(self, path: bytes) -> list[Inode]:
        """Of a file, and of what it leads to if it is a link; none: it is no file."""
        found = []
        with suppress(OSError):
            now = os.lstat(path) if path.startswith(b"/") else self._fence.lstat(path)
            found.append(now)
            if stat.S_ISLNK(now.st_mode):
                found.append(os.stat(os.path.join(self._fence.folder, path)))
        return [(one.st_dev, one.st_ino) for one in found if not stat.S_ISDIR(one.st_mode)]
