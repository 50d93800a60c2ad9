"""What jobs have made, brought back into the user's folder: a three-way comparison, path by path.

Strategy: `manifest` has what both sides had in common. What the store has otherwise than then is fetched and
placed by these rules. Nothing here: it is put there. Here as it was: replaced. Here with the same content:
left. Here with another: both are kept, theirs beside ours as NAME.womm-TASK. Nothing is ever deleted, and
no clock decides: a changed time only makes a path worth looking at.
The store is hostile: it is asked for names that were checked, answers are taken in the order of the
questions, and come under numbers into a private folder; setuid and the like are dropped, links are kept
and never followed.
"""

import errno
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from womm.share.beside import beside_name
from womm.share.control import Change, Refusal, Writable
from womm.share.eager.manifest import Ancestor, Base
from womm.share.eager.staging import Staging, rename_new, rename_over
from womm.store.pack import CHUNK, LINK_BYTES, BadPack, Record, Source, Stamp, stamp_of, write_all
from womm.store.protocol import BIG, DIRECTORY, FILE, GONE, LINK, SMALL
from womm.store.receive import receive_pieces
from womm.store.send import TRIES, digest
from womm.store.tree import STAGING, IgnoreRules, Tree

_MODE: Final = 0o777
_READING: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
_REFUSALS: Final = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL)
_MAX_NS: Final = (1 << 62) - 1


@dataclass(frozen=True, slots=True)
class PullResult:
    """brought: paths that are new or changed here. conflicts: paths changed on both sides, and the name
    beside under which theirs is kept. size_bytes: of what was fetched. kept_changing: not fetched, since
    it was written to meanwhile. refused: could not be placed here, and why; it is still in the store.
    own, outside: see `Held`."""

    brought: tuple[bytes, ...] = ()
    conflicts: tuple[tuple[bytes, bytes], ...] = ()
    size_bytes: int = 0
    kept_changing: tuple[bytes, ...] = ()
    refused: tuple[tuple[bytes, str], ...] = ()
    own: tuple[bytes, ...] = ()
    outside: tuple[bytes, ...] = ()

    def __add__(self, other: "PullResult") -> "PullResult":
        return PullResult(
            self.brought + other.brought,
            self.conflicts + other.conflicts,
            self.size_bytes + other.size_bytes,
            self.kept_changing + other.kept_changing,
            self.refused + other.refused,
            self.own + other.own,
            self.outside + other.outside,
        )


def changed(theirs: dict[bytes, Stamp], ancestor: Ancestor) -> list[bytes]:
    """What the store has otherwise than when it was filled, a directory before what is in it.

    By content's size and time, by mode, and by the store's own record of the last change of each file: a
    program may set its file's time back.
    """
    found = []
    entries, since_ns = ancestor.entries, ancestor.store_ns
    for path, stamp in theirs.items():
        base = entries.get(path)
        if base is None or not base.theirs.same(stamp):
            found.append(path)
        elif stamp.kind != DIRECTORY:
            later = stamp.ctime_ns != base.theirs.ctime_ns and stamp.ctime_ns > since_ns > 0
            if later or base.theirs.mode != stamp.mode:
                found.append(path)
    return found


def hidden(paths: list[bytes], theirs: dict[bytes, Stamp], ignore: IgnoreRules | None) -> set[bytes]:
    """Which of them `.wommignore` names, or a directory above."""
    found: set[bytes] = set()
    for path in paths:
        at = path.rfind(b"/")
        if path[at + 1 :].startswith(STAGING) or (at >= 0 and path[:at] in found):
            found.add(path)
        elif ignore is not None:
            parts = path.split(b"/")
            above = (b"/".join(parts[:count]) for count in range(1, len(parts)))
            is_dir = theirs[path].kind == DIRECTORY
            if ignore.is_ignored(path, is_dir) or any(ignore.is_ignored(one, True) for one in above):
                found.add(path)
    return found


class Held(NamedTuple):
    """Paths, sorted by what becomes of them: `back` is brought back; womm's `own` files never are, and
    nothing that is `outside` of share-write."""

    back: list[bytes]
    own: list[bytes]
    outside: list[bytes]


def held(paths: list[bytes], theirs: dict[bytes, Stamp], writable: Writable) -> Held:
    """Sort what jobs have made or changed."""
    found = Held([], [], [])
    for path in paths:
        is_dir = theirs[path].kind == DIRECTORY
        why = writable.why_not(path, Change.MAKE_DIRECTORY if is_dir else Change.MAKE_FILE)
        kept = {None: found.back, Refusal.CONTROL: found.own, Refusal.OUTSIDE: found.outside}[why]
        kept.append(path)
    return found


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
            here = self._directory_here(path, stamp.mode & _MODE | 0o700)
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
            if where == above:
                self._place_here(path, here, staged, stamp)
            else:
                self._new(path, here, staged)
            self._note(path, here, stamp)
        except OSError as exc:
            self._refuse(path, exc)
        finally:
            self.staging.discard(staged)

    def _refuse(self, path: bytes, exc: OSError) -> None:
        """Go on with the others, unless it is the same for all of them."""
        if exc.errno not in _REFUSALS:
            raise exc
        self.refused.append((path, exc.strerror or str(exc)))

    def _note(self, path: bytes, here: bytes, stamp: Stamp) -> None:
        """From now on both sides have this in common, whether it is equal or not."""
        now = self._tree.lstat(here)
        ours = None if now is None else stamp_of(now)
        if now is not None and ours is not None:
            self.ancestor.entries[path] = Base(ours, now.st_ino, stamp)
        elif path in self.ancestor.entries:
            self.ancestor.entries[path] = self.ancestor.entries[path]._replace(theirs=stamp)

    def _place_here(self, path: bytes, here: bytes, staged: bytes, stamp: Stamp) -> None:
        base = self.ancestor.entries.get(path)
        touched = base is not None and self._only_touched(staged, stamp, base)
        for _ in range(3):
            now = self._tree.lstat(here)
            if touched:
                if now is not None:
                    self._mode(here, now, base, stamp)
                return
            if now is None:
                if self._new(path, here, staged):
                    return
                continue
            if stat.S_ISDIR(now.st_mode):
                break
            if self._equal(now, here, staged, stamp):
                self._mode(here, now, base, stamp)
                return
            if base is None or not (base.is_ours(now) or self._same_content(now, here, base)):
                break
            if self._over(here, staged, now):
                self.brought.append(path)
                return
        self._beside(path, here, staged)

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
        """The staged one, on the filesystem of the directory it goes to."""
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
        """What a directory of theirs is called here; it is made if there is none."""
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
        """Whether what is here has the same content as what is staged."""
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
        """Whether theirs still has the content that was copied."""
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

    def _same_content(self, now: os.stat_result, here: bytes, base: Base) -> bool:
        """Whether a file that was touched here still has the content that was copied."""
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
        """Only the mode has changed there: and here, unless it was changed here too."""
        mode = stamp.mode & _MODE
        if base is None or stamp.kind != FILE or base.theirs.mode == stamp.mode:
            return
        if now.st_mode & _MODE == base.ours.mode & _MODE != mode:
            with self._tree.reading(here) as file:
                os.fchmod(file, mode)


def receive(
    source: Source,
    asked: list[bytes],
    theirs: dict[bytes, Stamp],
    placer: Placer,
    progress: Callable[[int, int], None],
) -> None:
    """Take the answers to a GET of `asked` and place each. Raises BadPack, EOFError, OSError."""
    for number, path in enumerate(asked):
        staged = b"%d" % number
        stamp: Stamp | None = None
        for _ in range(TRIES + 1):
            record = source.record()
            if record.path != path:
                raise BadPack(f"asked for {path!r}, got {record.path[:200]!r}")
            if record.kind == GONE:
                break
            stamp = _receive_one(source, record, placer.staging, staged)
            if stamp is not None:
                break
        else:
            raise BadPack("torn again and again")
        if stamp is None:
            placer.kept_changing.append(path)
            continue
        placer.size_bytes += stamp.size
        listed = theirs[path]
        exact = stamp.kind == listed.kind and stamp.same(listed)
        placer.place(path, staged, stamp._replace(ctime_ns=listed.ctime_ns if exact else 0))
        progress(number + 1, placer.size_bytes)


def _receive_one(source: Source, record: Record, staging: Staging, staged: bytes) -> Stamp | None:
    """Stage one file or link. None: it was torn, another try follows."""
    numbers = record.numbers
    if record.kind == LINK and len(numbers) == 2:
        mtime_ns, size = numbers
        if not 0 < size <= LINK_BYTES:
            raise BadPack("a link's target without a length")
        target = source.exactly(size)
        if b"\0" in target:
            raise BadPack("a link's target with a NUL")
        os.symlink(target, staged, dir_fd=staging.fd)
        mtime_ns = _time(mtime_ns)
        os.utime(staged, ns=(mtime_ns, mtime_ns), dir_fd=staging.fd, follow_symlinks=False)
        return Stamp(LINK, 0o777, size, mtime_ns)
    if record.kind not in (FILE, BIG) or len(numbers) != 3:
        raise BadPack(f"no file: {record.kind!r}")
    mode, mtime_ns, size = numbers
    mtime_ns = _time(mtime_ns)
    if size < 0 or (record.kind == FILE and size > CHUNK):
        raise BadPack("a file of that size is not sent so")
    fd = staging.create(staged)
    whole = True
    try:
        if record.kind == FILE:
            write_all(fd, source.exactly(size))
        else:
            whole = receive_pieces(source, fd, size)
        os.fchmod(fd, mode & _MODE)
        os.utime(fd, ns=(mtime_ns, mtime_ns))
    finally:
        os.close(fd)
    if not whole:
        staging.discard(staged)
        return None
    return Stamp(FILE, mode & 0o7777, size, mtime_ns)


def _time(mtime_ns: int) -> int:
    return max(-_MAX_NS, min(mtime_ns, _MAX_NS))
