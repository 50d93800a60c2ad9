"""The files that root in the testbed made in the project's folder belong to the user at the end.

Strategy: this process looks at the folder before and after, since it sees owners as the user's machine has
them. It lists what is not the user's; what was not the user's before stays as it is. Root in the container
changes the rest: this process has no right to. A folder that only root may read is given first, and looked
into afterwards.

A program in the container could change any owner in the folder by itself, since it is root there. So this is
no defence against such programs; it only must not go wrong by itself: no link is followed, neither here nor
there, and what is not in the folder is not touched.

Files of other people of this machine are never touched: they may work in a shared folder meanwhile.

A file was there before if its path is known and of the same kind, or its inode with the same time of change
of its content: so it may have been edited by a program that replaces it, or renamed. A hard link to a file
that stays stays.

With a rootless engine root in the container is the user already. Files of other users in the container belong
to numbers that are nobody's outside; given to root inside they are the user's.
"""

import os
import pwd
import shlex
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from womm import words
from womm.errors import ImageError
from womm.testbed.container import Testbed

_TOP: Final = b"."
_ROUNDS: Final = 64
"""Folders within each other that only root may read: one round for each."""
_BATCH_BYTES: Final = 100_000
"""Of paths in one command line, for an image without xargs: one word of Linux may have 131,072."""
_NO_PROGRAM: Final = 127
_PEOPLE: Final = (1000, 65534)
"""The numbers of people's accounts: login.defs(5)."""


@dataclass(frozen=True, slots=True)
class _Entry:
    """What is not the user's."""

    path: bytes
    """In the folder."""
    kind: int
    inode: tuple[int, int]
    mtime_ns: int
    gid: int

    def words(self) -> str:
        """As it is remembered. Without the device: its number changes when the machine starts again."""
        return f"{self.kind:o} {self.inode[1]} {self.mtime_ns} {os.fsdecode(self.path)}"


def root_owned(folder: Path) -> frozenset[str]:
    """Return what in the folder is not this user's, root's above all: for `give_back`."""
    if not os.getuid():
        return frozenset()
    return frozenset(entry.words() for entry in _Look(folder).foreign([_TOP]))


def give_back(testbed: Testbed, folder: Path, before: frozenset[str]) -> int:
    """Give the user what is not his and was not there `before`; return how many files and folders.

    Nothing where the user is root, or the container does not have the folder. Raises ImageError when some
    could not be given; all others have been.
    """
    user = os.getuid()
    if not user or testbed.folder is None:
        return 0
    rootless = testbed.daemon.is_rootless
    uid, gid = (0, 0) if rootless else (user, os.getgid())
    # A folder with its own group gives it to what is made in it: that group stays.
    own_groups = frozenset() if rootless else frozenset(os.getgroups())
    known, look, given, places = _Known(before), _Look(folder), 0, [_TOP]
    for _ in range(_ROUNDS):
        todo = known.without(look.foreign(places))
        kept = [entry.path for entry in todo if entry.gid in own_groups]
        others = [entry.path for entry in todo if entry.gid not in own_groups]
        errors = _change(testbed, folder, f"{uid}:{gid}", others) + _change(testbed, folder, str(uid), kept)
        left = [entry for entry in todo if look.is_foreign(entry.path)]
        given += len(todo) - len(left)
        if left:
            raise _refused(folder, left, errors)
        folders = {entry.path for entry in todo if entry.kind == stat.S_IFDIR}
        places = [place for place in look.closed if place in folders]
        if not places:
            break
    return given


class _Known:
    """What was not the user's before."""

    def __init__(self, before: Iterable[str]) -> None:
        self._paths: set[tuple[str, str]] = set()
        self._contents: set[tuple[str, str]] = set()
        for one in before:
            kind, inode, mtime_ns, path = one.split(" ", 3)
            self._paths.add((kind, path))
            self._contents.add((inode, mtime_ns))

    def without(self, entries: Iterable[_Entry]) -> list[_Entry]:
        """Return the entries that were not there, nor are another name of one that was."""
        new, stays = list[_Entry](), set[tuple[int, int]]()
        for entry in entries:
            kind, inode, mtime_ns, path = entry.words().split(" ", 3)
            if (kind, path) in self._paths or (inode, mtime_ns) in self._contents:
                stays.add(entry.inode)
            else:
                new.append(entry)
        return [entry for entry in new if entry.inode not in stays]


class _Look:
    """Looks through the folder with this user's eyes. No link is followed."""

    def __init__(self, folder: Path) -> None:
        self._top = os.fsencode(folder)
        self._user = os.getuid()
        self.closed: list[bytes] = []
        """Folders that could not be read in the last look."""

    def foreign(self, places: Iterable[bytes]) -> list[_Entry]:
        """Return what is not this user's among `places` and below them."""
        self.closed = []
        todo = list(places)
        found = [entry for entry in map(self._entry, todo) if entry is not None]
        while todo:
            place = todo.pop()
            try:
                path = os.path.join(self._top, place)
                descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            except OSError:  # not for this user to read; or gone, or replaced by a link
                self.closed.append(place)
                continue
            try:
                for name, status in _listed(descriptor):
                    path = os.path.join(place, name) if place != _TOP else name
                    if self._is_foreign_uid(status.st_uid):
                        found.append(_entry(path, status))
                    if stat.S_ISDIR(status.st_mode):
                        todo.append(path)
            finally:
                os.close(descriptor)
        return found

    def is_foreign(self, path: bytes) -> bool:
        return self._entry(path) is not None

    def _entry(self, path: bytes) -> _Entry | None:
        try:
            status = os.lstat(os.path.join(self._top, path))
        except OSError:
            return None
        return _entry(path, status) if self._is_foreign_uid(status.st_uid) else None

    def _is_foreign_uid(self, uid: int) -> bool:
        return uid != self._user and not _is_person(uid)


@cache
def _is_person(uid: int) -> bool:
    """Return whether somebody of this machine has this number: then a file that came meanwhile is theirs."""
    if not _PEOPLE[0] <= uid < _PEOPLE[1]:
        return False
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True


def _listed(descriptor: int) -> Iterator[tuple[bytes, os.stat_result]]:
    with os.scandir(descriptor) as listed:
        for one in listed:
            try:
                yield os.fsencode(one.name), one.stat(follow_symlinks=False)
            except OSError:  # gone meanwhile
                continue


def _entry(path: bytes, status: os.stat_result) -> _Entry:
    inode = (status.st_dev, status.st_ino)
    return _Entry(path, stat.S_IFMT(status.st_mode), inode, status.st_mtime_ns, status.st_gid)


def _change(testbed: Testbed, folder: Path, owner: str, paths: list[bytes]) -> bytes:
    """Change owners in the container; return what chown says on stderr. Raises ImageError."""
    if not paths:
        return b""
    command = ["chown", "-h", owner, "--"]
    joined = b"".join(b"./" + path + b"\0" for path in paths)
    done = testbed.run(["xargs", "-0", *command], stdin=joined, cwd=str(folder))
    if done.status not in {126, _NO_PROGRAM}:
        return done.err
    # Without xargs: some at a time, as words, which must be UTF-8.
    errors = b""
    for batch in _batches(paths):
        errors += testbed.run([*command, *batch], cwd=str(folder)).err
    return errors


def _batches(paths: Iterable[bytes]) -> Iterator[list[str]]:
    batch, size = list[str](), 0
    for path in paths:
        if size + len(path) > _BATCH_BYTES:
            yield batch
            batch, size = [], 0
        batch.append(f"./{os.fsdecode(path)}")
        size += len(path) + 3
    if batch:
        yield batch


def _refused(folder: Path, left: list[_Entry], errors: bytes) -> ImageError:
    why = words.name(errors.decode(errors="replace").strip().partition("\n")[0])
    first = folder / os.fsdecode(left[0].path)
    count = words.counted(len(left), "file")
    message = f"{count} of the testbed's root cannot be given to you, such as {words.name(str(first))}"
    command = f"sudo chown -h {os.getuid()}:{os.getgid()} {shlex.quote(str(first))}"
    return ImageError(f"{message}: {why}" if why else message, words.printable(command))
