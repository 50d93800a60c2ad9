"""Files as the server knows them: `FileNode`."""

import asyncio
import hashlib
import stat as modes
from bisect import bisect_right, insort
from typing import Final

from womm.fileserver import sftp
from womm.fileserver.writelog import WriteLog
from womm.nfs.constants import FileType
from womm.nfs.filesystem import Attributes
from womm.wire.attributes import Stat

KINDS: Final = {
    modes.S_IFREG: FileType.REGULAR,
    modes.S_IFDIR: FileType.DIRECTORY,
    modes.S_IFLNK: FileType.SYMLINK,
    modes.S_IFSOCK: FileType.SOCKET,
    modes.S_IFIFO: FileType.FIFO,
    modes.S_IFBLK: FileType.BLOCK,
    modes.S_IFCHR: FileType.CHARACTER,
}
_FIRST_COOKIE: Final = 3


def kind_of(stat: Stat) -> FileType:
    return KINDS.get(modes.S_IFMT(stat.mode), FileType.SOCKET)


def cookie_of(name: bytes) -> int:
    """A name's place in its directory's listings: the same after every restart, whatever comes and goes."""
    number = int.from_bytes(hashlib.blake2b(name, digest_size=8).digest(), "big") >> 1
    return max(number, _FIRST_COOKIE)


class Handle:
    """An open file of the user's side; good as long as its session."""

    __slots__ = ("raw", "session", "writable")

    def __init__(self, session: sftp.Session, raw: bytes, writable: bool) -> None:
        self.session = session
        self.raw = raw
        self.writable = writable


class FileNode:
    """A file, directory or other object of the user's folder."""

    __slots__ = (
        "base",
        "change",
        "checking",
        "dev",
        "directory",
        "edits",
        "error",
        "fileid",
        "flushing",
        "gone",
        "handle",
        "ino",
        "key",
        "kind",
        "leaving",
        "lock",
        "log",
        "number",
        "opens",
        "places",
        "removed",
        "stat",
        "target",
        "valid",
        "verifier",
        "version",
        "writable",
        "written",
    )

    def __init__(
        self, fileid: int, kind: FileType, dev: int, ino: int, change: int, *, number: int = 0
    ) -> None:
        self.fileid = fileid
        self.number = number or fileid
        """What clients see as its inode's."""
        self.key = fileid.to_bytes(8, "big")
        self.kind = kind
        self.dev = dev
        self.ino = ino
        self.change = change
        self.places: list[tuple[FileNode, bytes]] = []
        """Its names: one, unless it has hard links; none when it is removed."""
        self.stat: Stat | None = None
        """As clients see it: with what they have written."""
        self.version: tuple[int, ...] = ()
        """Of the user's side's content, as it was seen last."""
        self.valid = 0
        """The epoch in which `stat` was looked at."""
        self.gone = False
        self.checking: asyncio.Future[bool] | None = None
        self.directory = Directory() if kind is FileType.DIRECTORY else None
        self.target: bytes | None = None
        # Of regular files:
        self.opens = 0
        self.leaving = 0
        """So many of its names are being removed: who opens it now has it opened on the user's side, too."""
        self.log: WriteLog | None = None
        self.error: OSError | None = None
        """Why the last flush failed."""
        self.flushing = False
        self.handle: Handle | None = None
        self.lock: asyncio.Lock | None = None
        self.verifier: bytes | None = None
        self.writable = False
        """It was open for writing on the user's side, which so has admitted it."""
        self.written = b""
        """Its path when it was written last."""
        self.removed = False
        """By a client: it has no name on the user's side any more, and that is as it should be."""
        self.base: tuple[int, ...] = ()
        """What clients know of its content, and write to; empty: as the last flush has left it."""
        self.edits = 0
        """How often the user has changed what is in it."""

    def __repr__(self) -> str:
        return f"<FileNode {self.fileid} {self.kind.name} {self.path()!r}{' gone' if self.gone else ''}>"

    @property
    def held(self) -> Handle | None:
        """Its open file of the user's side, if there is one that is still good: so it keeps its inode."""
        return None if self.handle is None or self.handle.session.dead else self.handle

    @property
    def links(self) -> int:
        """How many names it has on the user's side, some of which nobody may have looked at."""
        return 1 if self.stat is None else self.stat.nlink

    def path(self) -> bytes:
        """Return a path of it, relative to the top; of a removed one, b"?"."""
        parts: list[bytes] = []
        node = self
        while node.fileid != 1:
            if not node.places:
                return b"?"
            node, name = node.places[0]
            parts.append(name)
        return b"/".join(reversed(parts))

    def name(self) -> bytes:
        """Return what to call it when its writes are told of; of what nobody misses, b""."""
        path = self.path()
        return self.written if self.gone or path == b"?" else path

    def locked(self) -> asyncio.Lock:
        if self.lock is None:
            self.lock = asyncio.Lock()
        return self.lock

    def attributes(self, uid: int, gid: int) -> Attributes:
        stat = self.stat
        assert stat is not None
        used = stat.blocks * 512
        if self.log is not None:
            used += self.log.pieces.size_bytes
        return Attributes(
            self.kind,
            self.number,
            self.change,
            stat.size,
            stat.mode & 0o7777,
            stat.nlink,
            uid,
            gid,
            used,
            0,
            0,
            stat.atime_ns,
            stat.mtime_ns,
            stat.ctime_ns,
        )


class Directory:
    """What is known of a directory's names."""

    __slots__ = (
        "_order",
        "absent",
        "entries",
        "listed",
        "listing",
        "loaded",
        "misses",
        "treed",
        "unsure",
    )

    def __init__(self) -> None:
        self.entries: dict[bytes, FileNode] = {}
        self.listed = 0
        """The epoch in which `entries` were all."""
        self.absent: dict[bytes, int] = {}
        """Names that were not there, and in which epoch: for directories that are not listed."""
        self.unsure: set[bytes] = set()
        """Names that the user's side has said to have changed."""
        self.loaded = False
        """Are the names that the table knows in `entries`?"""
        self.misses = 0
        self.treed = (0, 0)
        """Epoch and entries of the last recursive listing from here."""
        self.listing: asyncio.Future[bool] | None = None
        self._order: list[tuple[int, bytes]] | None = None

    def enter(self, name: bytes, node: FileNode) -> None:
        if name not in self.entries and self._order is not None:
            insort(self._order, (cookie_of(name), name))
        self.entries[name] = node
        self.absent.pop(name, None)

    def leave(self, name: bytes) -> FileNode | None:
        node = self.entries.pop(name, None)
        if node is not None:
            self._order = None if self._order is None or len(self._order) < 64 else self._without(name)
        return node

    def _without(self, name: bytes) -> list[tuple[int, bytes]]:
        assert self._order is not None
        item = cookie_of(name), name
        at = bisect_right(self._order, item) - 1
        if 0 <= at < len(self._order) and self._order[at] == item:
            del self._order[at]
        return self._order

    def after(self, cookie: int, count: int) -> tuple[list[tuple[int, bytes]], bool]:
        """Return up to `count` names after a cookie, and whether they are the last."""
        if self._order is None:
            self._order = sorted((cookie_of(name), name) for name in self.entries)
        first = bisect_right(self._order, (cookie, b"\xff" * 256))
        return self._order[first : first + count], first + count >= len(self._order)
