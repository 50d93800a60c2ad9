"""This machine's programs as pods see them: read-only, without what not every user here may read.

Strategy: the fence is around "/", so no symbolic link and no ".." leads anywhere: a path is where its names
say. `Allowed` judges the names; the modes of all directories from the top down, and of the file that is then
opened by descriptor, are judged on each request. A verdict on a directory is believed for LOOK_AGAIN_S. What
is hidden is not there (ENOENT). The first path of each kind is told to the user, if a pod asks for it.
"""

import errno
import os
import stat
import time
from collections.abc import Callable, Iterator
from typing import Final

from womm import words
from womm.here.etc import never
from womm.here.programs import Programs
from womm.secrets import scan
from womm.share.fence import Fence
from womm.share.lazy.exported_folder import ExportedFolder
from womm.share.programs.allowed import Allowed, Place
from womm.share.programs.content import Contents, version_of
from womm.share.programs.mounts import Mounts
from womm.wire.attributes import NewAttributes
from womm.wire.extensions import Got

LOOK_AGAIN_S: Final = 1.0
_KEPT: Final = 100_000
"""Directories with a verdict."""
_TRIES: Final = 5
"""How often a file is read that changes meanwhile."""
_OTHERS_READ: Final = 0o004
_OTHERS_ENTER: Final = 0o005
_SET_ID: Final = 0o6000
_PLACEHOLDER_INODES: Final = 1 << 62
_PRIVATE: Final = "private"
_ETC: Final = b"etc/"


class ProgramsFolder(ExportedFolder):
    """See ExportedFolder. `say` tells the user a line, from any thread. Files are read by GET alone.

    fence: around "/". Raises ShareError for a root that can be none.
    """

    def __init__(self, fence: Fence, programs: Programs, mounts: Mounts, say: Callable[[str], None]) -> None:
        self._allowed = Allowed.of(programs)
        super().__init__(fence, read_only=True)
        self._mounts = mounts
        self._say = say
        self._contents = Contents(programs)
        self._entered: dict[bytes, float] = {}
        """Directories that every user may enter, and until when that is believed."""
        self._told: set[str] = set()
        self.waits = mounts.waits
        self.lists = self._lists

    def _lists(self, path: bytes) -> bool:
        leads = self._allowed.ways.get(path)
        if leads is None:
            return self._mounts.lists(path)
        return any(self.waits(path + b"/" + name if path else name) for name in leads)

    def shows(self, path: bytes) -> bool:
        """Is there something to be seen at this path? Blocks."""
        try:
            self.lstat(path)
        except OSError:
            return False
        return True

    # -- looking -----------------------------------------------------------------------------------
    def lstat(self, path: bytes) -> os.stat_result:
        place = self._allowed.place(path)
        if place is Place.INSIDE:
            self._enter(self._allowed.judged(path))
            found = self.fence.lstat(path)
            self._must_be_shown(path, found)
            return _without_set_id(found)
        if place is Place.PLACEHOLDER:
            return self._placeholder(path)
        if place is None:
            raise _not_there()
        found = self.fence.lstat(path)
        if place is Place.WAY and stat.S_ISDIR(found.st_mode):
            return _of_the_way(found)
        if place is Place.LINK and stat.S_ISLNK(found.st_mode):
            return found
        raise _not_there()

    def fstat(self, fd: int, path: bytes) -> os.stat_result:
        found = os.fstat(fd)
        if self._allowed.place(path) is Place.WAY:
            return _of_the_way(found)
        return _changed(found, mode=found.st_mode & ~_SET_ID | 0o555)

    def readlink(self, path: bytes) -> bytes:
        if not stat.S_ISLNK(self.lstat(path).st_mode):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        return self.fence.readlink(path)

    def access(self, path: bytes, mode: int) -> bool:
        found = self.lstat(path)
        if mode & os.W_OK:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        return not mode & os.X_OK or not stat.S_ISREG(found.st_mode) or bool(found.st_mode & 0o111)

    # -- directories -------------------------------------------------------------------------------
    def open_directory(self, path: bytes) -> int:
        place = self._allowed.place(path)
        if place is Place.WAY:
            return self.fence.open_way(path)
        if place is not Place.INSIDE:
            raise _not_there() if place is None else OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        self.lstat(path)
        fd = self.fence.open_directory(path)
        try:
            self._must_be_shown(path, os.fstat(fd))
        except BaseException:
            os.close(fd)
            raise
        return fd

    def entries(self, fd: int, path: bytes) -> Iterator[tuple[bytes, os.stat_result]]:
        prefix = path + b"/" if path else b""
        if (leads := self._allowed.ways.get(path)) is not None:
            for name in leads:
                try:
                    yield name, self.lstat(prefix + name)
                except OSError:
                    continue
            return
        for text in os.listdir(fd):
            name = os.fsencode(text)
            try:
                found = os.stat(name, dir_fd=fd, follow_symlinks=False)
            except OSError:
                continue  # removed since
            if not self._why_hidden(prefix + name, found):
                yield name, _without_set_id(found)

    def find(self, dev: int, ino: int) -> bytes:
        """Nobody looks for a file in all of this machine."""
        raise _not_there()

    # -- files -------------------------------------------------------------------------------------
    def get(self, path: bytes, offset: int, most: int) -> bytes:
        if self._allowed.place(path) is Place.PLACEHOLDER:
            return Got.pack(self._placeholder(path), b"", True)
        fd = self._open(path)
        try:
            found, data = self._read(path, fd, offset, most)
        finally:
            os.close(fd)
        self.traffic.read_bytes += len(data)
        return Got.pack(_without_set_id(found), data, offset + len(data) >= found.st_size)

    def open(self, path: bytes, flags: int, wanted: NewAttributes, *, force: bool = False) -> int:
        raise OSError(errno.EACCES, "programs are read by GET")

    def seek(self, path: bytes, offset: int, data: bool) -> int:
        fd = self._open(path)
        try:
            return os.lseek(fd, offset, os.SEEK_DATA if data else os.SEEK_HOLE)
        finally:
            os.close(fd)

    def _open(self, path: bytes) -> int:
        """Open a file that every user may read."""
        if self._allowed.place(path) is not Place.INSIDE:
            raise _not_there()
        self.lstat(path)
        return self.fence.open_file(path, os.O_RDONLY, admit=lambda found: self._must_be_shown(path, found))

    def _read(self, path: bytes, fd: int, offset: int, most: int) -> tuple[os.stat_result, bytes]:
        """Read a range of an open file as it was when it was found to hold no secret."""
        for _ in range(_TRIES):
            found = os.fstat(fd)
            if rule := self._contents.judge(path, fd, found):
                self._tell_secret(path, rule)
                raise _not_there()
            data = os.pread(fd, most, offset)
            if version_of(os.fstat(fd)) == version_of(found):
                return found, data
        raise OSError(errno.EBUSY, "it changes all the time")

    # -- what is hidden ----------------------------------------------------------------------------
    def _enter(self, directories: list[bytes]) -> None:
        """Raise ENOENT unless every user may enter all of these directories."""
        now_s = time.monotonic()
        for path in directories:
            if self._entered.get(path, 0.0) > now_s:
                continue
            found = self.fence.lstat(path)
            if not stat.S_ISDIR(found.st_mode):
                raise _not_there()
            self._must_be_shown(path, found)
            if len(self._entered) >= _KEPT:
                self._entered.clear()
            self._entered[path] = now_s + LOOK_AGAIN_S

    def _must_be_shown(self, path: bytes, found: os.stat_result) -> None:
        why = self._why_hidden(path, found)
        if why == _PRIVATE:
            self._tell(
                why,
                f"pods do not see {words.name(b'/' + path)}: not every user of this machine may read it"
                " (chmod o+rX shows it)",
            )
        if why:
            raise _not_there()

    def _why_hidden(self, path: bytes, found: os.stat_result) -> str:
        """Return why pods do not see what is at a path; empty: they see it."""
        mode = found.st_mode
        if path.startswith(_ETC) and never(os.fsdecode(path[len(_ETC) :])):
            return "of no program"
        if self._mounts.hides(found.st_dev):
            return "no disk"
        if stat.S_ISLNK(mode):
            return ""
        if stat.S_ISDIR(mode):
            return "" if mode & _OTHERS_ENTER == _OTHERS_ENTER else _PRIVATE
        if not stat.S_ISREG(mode):
            return "no file"
        if not mode & _OTHERS_READ:
            return _PRIVATE
        rule = scan.by_name_alone("/" + os.fsdecode(path)) or self._contents.known(found)
        if rule:
            self._tell_secret(path, rule)
        return rule

    def _tell_secret(self, path: bytes, rule: str) -> None:
        self._tell(
            f"secret {rule}", f"pods do not see {words.name(b'/' + path)}: it looks like a secret ({rule})"
        )

    def _tell(self, kind: str, line: str) -> None:
        if kind not in self._told:
            self._told.add(kind)
            self._say(line)

    def _placeholder(self, path: bytes) -> os.stat_result:
        """An empty file, whatever is there on this machine."""
        above = self.fence.lstat(path.rpartition(b"/")[0])
        number = _PLACEHOLDER_INODES + sorted(self._allowed.placeholders).index(path)
        return _changed(above, mode=stat.S_IFREG | 0o644, ino=number, nlink=1, size=0)


def _not_there() -> OSError:
    return OSError(errno.ENOENT, os.strerror(errno.ENOENT))


def _without_set_id(found: os.stat_result) -> os.stat_result:
    return _changed(found, mode=found.st_mode & ~_SET_ID) if found.st_mode & _SET_ID else found


def _of_the_way(found: os.stat_result) -> os.stat_result:
    """A directory on the way: whose it is, and when it was used, are no business of pods."""
    numbers = (stat.S_IFDIR | 0o755, found.st_ino, found.st_dev, 2, 0, 0, 0, 0, 0, 0)
    return os.stat_result(
        numbers, dict.fromkeys(("st_atime_ns", "st_mtime_ns", "st_ctime_ns", "st_blocks"), 0)
    )


def _changed(
    found: os.stat_result, *, mode: int, ino: int = 0, nlink: int = 0, size: int = -1
) -> os.stat_result:
    """Return attributes with others in the place of some."""
    seconds = (int(found.st_atime), int(found.st_mtime), int(found.st_ctime))
    numbers = (
        mode,
        ino or found.st_ino,
        found.st_dev,
        nlink or found.st_nlink,
        found.st_uid,
        found.st_gid,
        found.st_size if size < 0 else size,
        *seconds,
    )
    more = ("st_atime_ns", "st_mtime_ns", "st_ctime_ns", "st_blocks")
    return os.stat_result(numbers, {name: getattr(found, name) for name in more})
