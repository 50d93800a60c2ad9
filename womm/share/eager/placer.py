"""Places what jobs have made in the user's folder: a three-way comparison, path by path.

Strategy: nothing here under that name: it is put there. Here as it was when both sides were last equal:
replaced. Here with the same content: left. Here with another: both are kept, theirs beside ours as
NAME.womm-TASK. Nothing is ever deleted.
The store is hostile: setuid and the like are dropped, links are kept and never followed.
"""

import errno
import os
import stat
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from womm.share.beside import beside_name
from womm.share.eager.manifest import Ancestor, Base
from womm.share.eager.staging import Staging, rename_new, rename_over
from womm.share.eager.syncback import PullResult
from womm.store.pack import CHUNK, Stamp, stamp_of
from womm.store.protocol import FILE, LINK, SMALL
from womm.store.send import digest
from womm.store.tree import STAGING, Tree

MODE: Final = 0o777
"""Of a mode, the bits that come back."""
_READING: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
_REFUSALS: Final = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL)


@dataclass(slots=True)
class Placer:
    """Places fetched files below `root`, which stays the caller's. Raises OSError."""

    root: int
    task: str
    staging: Staging
    ancestor: Ancestor
    brought: list[bytes] = field(default_factory=list)
    conflicts: list[tuple[bytes, bytes]] = field(default_factory=list)
    kept_changing: list[bytes] = field(default_factory=list)
    refused: list[tuple[bytes, str]] = field(default_factory=list)
    size_bytes: int = 0
    _moved: dict[bytes, bytes] = field(default_factory=dict)
    """Directories of theirs whose name is taken here, and what they are called here."""
    _tree: Tree = field(init=False)

    def __post_init__(self) -> None:
        self._tree = Tree(self.root)

    def close(self) -> None:
        self._tree.close()

    @property
    def result(self) -> PullResult:
        """So far."""
        return PullResult(
            tuple(self.brought),
            tuple(self.conflicts),
            self.size_bytes,
            tuple(self.kept_changing),
            tuple(self.refused),
        )

    def directory(self, path: bytes, stamp: Stamp) -> None:
        """Make sure that there is such a directory, under whatever name."""
        try:
            here = self._directory_here(path, stamp.mode & MODE | 0o700)
        except OSError as exc:
            self._refuse(path, exc)
            return
        base = self.ancestor.entries.get(path)
        if base is None or not base.theirs.same(stamp):
            self._note(path, here, stamp)

    def place(self, path: bytes, staged: bytes, stamp: Stamp) -> None:
        """Give a staged file or link its name, or one beside it; nothing of it is staged afterwards."""
        above, _, name = path.rpartition(b"/")
        try:
            where = self._directory_here(above, 0o755) if above else b""
            here = where + b"/" + name if where else name
            is_equal = self._place_here(path, here, staged, stamp)
            self._note(path, here, stamp, is_equal=is_equal)
        except OSError as exc:
            self._refuse(path, exc)
        finally:
            self.staging.discard(staged)

    def _refuse(self, path: bytes, exc: OSError) -> None:
        """Go on with the others, unless it is the same for all of them."""
        if exc.errno not in _REFUSALS:
            raise exc
        self.refused.append((path, exc.strerror or str(exc)))

    def _note(self, path: bytes, here: bytes, stamp: Stamp, *, is_equal: bool = True) -> None:
        """Note what both sides have from now on.

        Not `is_equal`: theirs has come, but what is here is another: it must never be taken for theirs.
        """
        now = self._tree.lstat(here)
        ours = None if now is None else stamp_of(now)
        base = self.ancestor.entries.get(path)
        if now is not None and ours is not None and is_equal:
            self.ancestor.entries[path] = Base(ours, now.st_ino, stamp)
        elif base is not None:
            self.ancestor.entries[path] = base._replace(theirs=stamp)
        elif ours is not None:
            self.ancestor.entries[path] = Base(ours, 0, stamp)  # no file has that inode

    def _place_here(self, path: bytes, here: bytes, staged: bytes, stamp: Stamp) -> bool:
        """Return whether the file here has the same content as theirs then."""
        base = self.ancestor.entries.get(path)
        touched = base is not None and self._only_touched(staged, stamp, base)
        for _ in range(3):
            now = self._tree.lstat(here)
            if touched:
                is_equal = now is not None and self._is_copied(now, here, base)
                if now is not None:
                    self._mode(here, now, base, stamp)
                return is_equal
            if now is None:
                if self._new(path, here, staged):
                    return True
                continue
            if stat.S_ISDIR(now.st_mode):
                break
            if self._equal(now, here, staged, stamp):
                self._mode(here, now, base, stamp)
                return True
            if not self._is_copied(now, here, base):
                break
            if self._over(here, staged, now):
                self.brought.append(path)
                return True
        self._beside(path, here, staged)
        return False

    def _new(self, path: bytes, here: bytes, staged: bytes) -> bool:
        """False: the name has just been taken."""
        fd, name = self._tree.parent(here)
        try:
            self._onto(fd, name, staged)
        except FileExistsError:
            return False
        self.brought.append(path)
        return True

    def _onto(self, fd: int, name: bytes, staged: bytes) -> None:
        try:
            rename_new(self.staging.fd, staged, fd, name)
        except OSError as exc:
            if exc.errno != errno.EXDEV:
                raise
            near = self._near(fd, staged)
            try:
                rename_new(fd, near, fd, name)
            except BaseException:
                os.unlink(near, dir_fd=fd)
                raise

    def _over(self, here: bytes, staged: bytes, now: os.stat_result) -> bool:
        fd, name = self._tree.parent(here)
        try:
            return rename_over(self.staging.fd, staged, fd, name, now)
        except FileNotFoundError:
            return False
        except OSError as exc:
            if exc.errno != errno.EXDEV:
                raise
            near = self._near(fd, staged)
            done = False
            try:
                done = rename_over(fd, near, fd, name, now)
            except FileNotFoundError:
                pass
            finally:
                if not done:
                    os.unlink(near, dir_fd=fd)
            return done

    def _near(self, fd: int, staged: bytes) -> bytes:
        """Copy a staged file to the filesystem of its directory; return its name there."""
        found = os.stat(staged, dir_fd=self.staging.fd, follow_symlinks=False)
        if not stat.S_ISLNK(found.st_mode):
            return self.staging.beside(fd, staged)
        near = STAGING + os.fsencode(self.task) + b"-" + staged
        os.symlink(os.readlink(staged, dir_fd=self.staging.fd), near, dir_fd=fd)
        return near

    def _beside(self, path: bytes, here: bytes, staged: bytes) -> None:
        above, slash, name = here.rpartition(b"/")
        for number in range(1, 1000):
            beside = above + slash + beside_name(name, self.task, number)
            fd, last = self._tree.parent(beside)
            try:
                self._onto(fd, last, staged)
            except FileExistsError:
                now = self._tree.lstat(beside)
                if now is not None and self._equal(now, beside, staged, None):
                    break  # brought by a run that was ended before it could note it
                continue
            break
        self.conflicts.append((path, beside))

    def _directory_here(self, path: bytes, mode: int) -> bytes:
        """Return the name here of a directory of theirs; make it if there is none."""
        here = b""
        theirs = b""
        for name in path.split(b"/"):
            theirs = theirs + b"/" + name if theirs else name
            here = here + b"/" + name if here else name
            if theirs in self._moved:
                here = self._moved[theirs]
                continue
            for number in range(1000):
                now = self._tree.lstat(here)
                if now is not None and stat.S_ISDIR(now.st_mode):
                    break
                if now is None:
                    fd, last = self._tree.parent(here)
                    with suppress(FileExistsError):
                        os.mkdir(last, mode if theirs == path else 0o755, dir_fd=fd)
                    continue
                # The name is a file's here, or a link's that leads who knows where.
                above, slash, _ = here.rpartition(b"/")
                here = above + slash + beside_name(name, self.task, number + 1)
            if here.rpartition(b"/")[2] != name:
                self._moved[theirs] = here
                self.conflicts.append((theirs, here))
        return here

    def _equal(self, now: os.stat_result, here: bytes, staged: bytes, stamp: Stamp | None) -> bool:
        """Has the file here the same content as the staged one?"""
        theirs = os.stat(staged, dir_fd=self.staging.fd, follow_symlinks=False)
        if stat.S_IFMT(now.st_mode) != stat.S_IFMT(theirs.st_mode) or now.st_size != theirs.st_size:
            return False
        fd, name = self._tree.parent(here)
        if stat.S_ISLNK(now.st_mode):
            return os.readlink(name, dir_fd=fd) == os.readlink(staged, dir_fd=self.staging.fd)
        if not stat.S_ISREG(now.st_mode):
            return False
        try:
            one = os.open(staged, _READING, dir_fd=self.staging.fd)
        except PermissionError:
            return False
        try:
            with self._tree.reading(here) as other:
                while True:
                    data = os.read(one, CHUNK)
                    if data != os.read(other, CHUNK):
                        return False
                    if not data:
                        return True
        except PermissionError:
            return False
        finally:
            os.close(one)

    def _only_touched(self, staged: bytes, stamp: Stamp, base: Base) -> bool:
        """Does theirs still have the content that was copied?"""
        if not base.digest or stamp.size != base.theirs.size or stamp.kind != base.theirs.kind:
            return False
        if stamp.kind == LINK:
            return digest(os.readlink(staged, dir_fd=self.staging.fd)) == base.digest
        try:
            fd = os.open(staged, _READING, dir_fd=self.staging.fd)
        except PermissionError:  # of a mode that forbids it
            return False
        try:
            return digest(os.read(fd, SMALL + 1)) == base.digest
        finally:
            os.close(fd)

    def _is_copied(self, now: os.stat_result, here: bytes, base: Base | None) -> bool:
        """Is the file here as it was when both sides were last equal?"""
        return base is not None and (base.is_ours(now) or self._same_content(now, here, base))

    def _same_content(self, now: os.stat_result, here: bytes, base: Base) -> bool:
        """Does a file that was touched here still have the content that was copied?"""
        if not base.digest or now.st_size != base.ours.size or now.st_size > SMALL:
            return False
        if stat.S_ISLNK(now.st_mode):
            fd, name = self._tree.parent(here)
            return digest(os.readlink(name, dir_fd=fd)) == base.digest
        if not stat.S_ISREG(now.st_mode):
            return False
        try:
            with self._tree.reading(here) as file:
                return digest(os.read(file, SMALL + 1)) == base.digest
        except PermissionError:
            return False

    def _mode(self, here: bytes, now: os.stat_result, base: Base | None, stamp: Stamp) -> None:
        """Only the mode has changed there: change it here, unless it was changed here too."""
        mode = stamp.mode & MODE
        if base is None or stamp.kind != FILE or not stat.S_ISREG(now.st_mode):
            return
        if base.theirs.mode == stamp.mode:
            return
        if now.st_mode & MODE == base.ours.mode & MODE != mode:
            with self._tree.reading(here) as file:
                os.fchmod(file, mode)
