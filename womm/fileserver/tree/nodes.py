"""Files as the server knows them: `FileNode`."""

import hashlib
import stat as modes
from bisect import bisect_right, insort
from collections.abc import Callable
from typing import Final

from womm.fileserver.tree.use import FileUse
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


class FileNode:
    """A file, directory or other object of the user's folder. Only its own methods change it.

    `next_change` returns a number for `change`, greater than all before.
    """

    __slots__ = (
        "_next_change",
        "base",
        "change",
        "checked_epoch",
        "dev",
        "directory",
        "fileid",
        "gone",
        "ino",
        "inode",
        "key",
        "kind",
        "links",
        "removed",
        "reported_path",
        "stat",
        "target",
        "use",
        "user_edits",
        "version",
    )

    def __init__(
        self,
        fileid: int,
        kind: FileType,
        dev: int,
        ino: int,
        next_change: Callable[[], int],
        *,
        inode: int = 0,
    ) -> None:
        self.fileid = fileid
        self.inode = inode or fileid
        """The inode's number that clients see."""
        self.key = fileid.to_bytes(8, "big")
        self.kind = kind
        self.dev = dev
        self.ino = ino
        self._next_change = next_change
        self.change = next_change()
        self.links: list[tuple[FileNode, bytes]] = []
        """Its names: one, unless it has hard links; none when it is gone."""
        self.stat: Stat | None = None
        """As clients see it: with what they have written."""
        self.version: tuple[int, ...] = ()
        """The version of the user's side's content that was seen last; empty: unknown."""
        self.checked_epoch = 0
        """The epoch in which `stat` was seen and not doubted since."""
        self.gone = False
        """It has lost its last name."""
        self.directory = Directory() if kind is FileType.DIRECTORY else None
        self.target: bytes | None = None
        """Where a symbolic link leads; None: not read yet."""
        # Of regular files:
        self.use = FileUse()
        self.reported_path = b""
        """The path by which its writes are reported to the user's side; empty: nobody misses them."""
        self.removed = False
        """A client has removed its last name: that the user's side has none any more is no loss."""
        self.base: tuple[int, ...] = ()
        """The content that clients know and write to; empty: as the last flush has left it."""
        self.user_edits = 0
        """How often the user has changed its content."""

    def __repr__(self) -> str:
        return f"<FileNode {self.fileid} {self.kind.name} {self.path()!r}{' gone' if self.gone else ''}>"

    @property
    def link_count(self) -> int:
        """How many names it has on the user's side; the server may not have seen all of them."""
        return 1 if self.stat is None else self.stat.nlink

    def path(self) -> bytes:
        """Return a path of it, relative to the top; of one that is gone, b"?"."""
        parts: list[bytes] = []
        node = self
        while node.fileid != 1:
            if not node.links:
                return b"?"
            node, name = node.links[0]
            parts.append(name)
        return b"/".join(reversed(parts))

    def report_name(self) -> bytes:
        """Return the path by which to report its writes; b"" if nobody misses them."""
        path = self.path()
        return self.reported_path if self.gone or path == b"?" else path

    # -- what the user's side says ----------------------------------------------------------------
    def seen(self, stat: Stat, *, own: bool = False, epoch: int = 0) -> bool:
        """The user's side shows it so. Return whether its cached blocks are out of date.

        `own`: a client has made what is new in it. `epoch`: 0 if it may have changed since.
        """
        stale = False
        version = stat.version
        if self.stat is None:
            self.stat, self.version = stat, version
            if self.use.log is not None:
                self.stat = self.use.log.over(stat)
            else:
                self.base = stat.base
        elif self.use.written:
            stale = self._seen_below_writes(stat, own=own)
        elif version != self.version:
            stale = self._seen_changed(stat, own=own)
        elif stat.mode != self.stat.mode or stat.nlink != self.stat.nlink:
            self.stat = stat
        else:
            self.stat = self.stat._replace(atime_ns=stat.atime_ns, blocks=stat.blocks)
        if epoch:
            self.checked_epoch = epoch
        return stale

    def _same_bytes(self, version: tuple[int, ...]) -> bool:
        """Does a version differ from the known one at most in the time of its last change (ctime)?"""
        return version[:2] == self.version[:2] and version[3:] == self.version[3:]

    def _seen_below_writes(self, stat: Stat, *, own: bool) -> bool:
        """Size and times stay as clients have written them until the flush; the rest is the user's."""
        assert self.stat is not None
        stale = False
        if own and self._same_bytes(stat.version):
            self.version = stat.version
        elif not own and not self.use.flushing:
            stale = stat.version != self.version
        self.stat = self.stat._replace(mode=stat.mode, nlink=stat.nlink, blocks=stat.blocks)
        return stale

    def _seen_changed(self, stat: Stat, *, own: bool) -> bool:
        same = own and self._same_bytes(stat.version)
        if not own and self.base != stat.base and stat.version[:2] != self.version[:2]:
            self.user_edits += 1
        self.base = stat.base if not own or (self.base and self.base[0] == stat.size) else ()
        self.stat, self.version = stat, stat.version
        if not own:
            self.changed()
            if self.directory is not None:
                self.directory.doubted()
        self.target = None
        return not same and self.kind is FileType.REGULAR

    def doubted(self) -> None:
        """It may be different on the user's side by now: look before the next answer."""
        self.checked_epoch = 0

    def changed(self) -> None:
        """Have clients see that it has changed."""
        self.change = self._next_change()

    def user_changed(self) -> None:
        """The user's side says that it has changed, but not how."""
        self.doubted()
        self.changed()

    def content_unknown(self) -> None:
        """What it contains on the user's side is not known any more."""
        self.version = ()

    def leads_to(self, target: bytes) -> None:
        """The user's side says where this symbolic link leads."""
        self.target = target

    # -- its names --------------------------------------------------------------------------------
    def linked(self, above: "FileNode", name: bytes) -> None:
        """It has this name."""
        self.links.append((above, name))

    def unlinked(self, above: "FileNode", name: bytes) -> None:
        """It does not have this name any more. The last one stays the name for its reports."""
        if self.links == [(above, name)]:
            self.reported_path = above.reported_path + b"/" + name if above.gone else self.path()
        self.links = [link for link in self.links if link != (above, name)]

    def moved(self) -> "list[tuple[FileNode, bytes]]":
        """The user has renamed it: none of its names holds. Return them."""
        links, self.links = self.links, []
        return links

    def lost(self) -> None:
        """It has lost its last name."""
        self.gone = True
        if self.stat is not None:
            self.stat = self.stat._replace(nlink=0)

    def client_unlinked(self, left: int) -> None:
        """A client has removed one of its names; `left` is how many the user's side still has."""
        self.changed()
        self.removed = self.gone and not left
        if self.removed:
            self.reported_path = b""  # nobody misses its bytes
        if self.links:
            self.doubted()
            if self.stat is not None:
                self.stat = self.stat._replace(nlink=max(1, left))

    def report_by_path(self) -> bytes:
        """Its writes are reported by its path of now. Return it."""
        self.reported_path = self.path()
        return self.reported_path

    # -- its content ------------------------------------------------------------------------------
    def recovered(self, log: WriteLog) -> None:
        """An earlier process has left this log of it."""
        self.use.log_begins(log)
        if self.stat is not None:
            self.stat = log.over(self.stat)

    def write_begins(self, log: WriteLog, known_edits: int) -> None:
        """A client begins to write; `known_edits` is how many of the user's edits it knows."""
        self.use.log_begins(log)
        if known_edits != self.user_edits:
            self.base = ()

    def wrote(self, end: int, now_ns: int) -> None:
        """A client has written to it, up to `end`."""
        assert self.stat is not None
        self.stat = self.stat._replace(size=max(self.stat.size, end), mtime_ns=now_ns, ctime_ns=now_ns)
        self.changed()
        self.use.verifier_over()

    def flushed(self, stat: Stat) -> bool:
        """A flush has left it so on the user's side. Return whether its cached blocks are out of date.

        Clients keep the times that they have seen.
        """
        assert self.stat is not None
        self.version, self.base = stat.version, ()
        if self.use.log is not None:
            return False
        if stat.size != self.stat.size and not self.gone:
            # The user has written to it, too.
            self.stat = stat
            self.changed()
            return True
        self.stat = self.stat._replace(blocks=stat.blocks, mode=stat.mode, nlink=stat.nlink)
        return False

    def was_set(self, stat: Stat, *, size: bool, mtime: bool) -> None:
        """A client's setattr has left it so; did it set the size, the time of the last write?"""
        if size:
            self.base = ()
            return
        if self.base and self.base[0] == stat.size:
            self.base = stat.base
        if mtime and self.version[:1] == (stat.size,):
            self.version = stat.version
            if self.stat is not None and self.use.log is None:
                self.stat = stat


def attributes_of(node: FileNode, uid: int, gid: int) -> Attributes:
    """Return what clients see of a node whose `stat` is known."""
    stat = node.stat
    assert stat is not None
    used = stat.blocks * 512
    if node.use.log is not None:
        used += node.use.log.pieces.size_bytes
    return Attributes(
        node.kind,
        node.inode,
        node.change,
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
    """What is known of a directory's names. Only its own methods change it."""

    __slots__ = (
        "_order",
        "absent",
        "entries",
        "listed_epoch",
        "loaded",
        "misses",
        "stale_names",
        "tree_listed",
    )

    def __init__(self) -> None:
        self.entries: dict[bytes, FileNode] = {}
        self.listed_epoch = 0
        """The epoch in which `entries` were all."""
        self.absent: dict[bytes, int] = {}
        """Names that were not there, and in which epoch: for directories that are not listed."""
        self.stale_names: set[bytes] = set()
        """Names that may lead elsewhere by now."""
        self.loaded = False
        """The names that the table knows are in `entries`."""
        self.misses = 0
        """How many of its names needed a question since it was listed."""
        self.tree_listed = (0, 0)
        """Epoch and entries of the last recursive listing from here."""
        self._order: list[tuple[int, bytes]] | None = None

    def enter(self, name: bytes, node: FileNode) -> None:
        """A name is there."""
        if name not in self.entries and self._order is not None:
            insort(self._order, (cookie_of(name), name))
        self.entries[name] = node
        self.absent.pop(name, None)

    def leave(self, name: bytes) -> FileNode | None:
        """A name is gone; return what it was."""
        node = self.entries.pop(name, None)
        if node is not None:
            self._order = None if self._order is None or len(self._order) < 64 else self._without(name)
        return node

    def empty(self) -> dict[bytes, FileNode]:
        """All names are gone; return what they were."""
        before, self.entries = self.entries, {}
        self._order = None
        return before

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

    # -- how fresh it is --------------------------------------------------------------------------
    def is_complete(self, epoch: int) -> bool:
        """Is it certain which names there are?"""
        return self.listed_epoch == epoch and not self.stale_names

    def knows(self, name: bytes, epoch: int) -> bool:
        """Is it certain what a name is?"""
        if name in self.stale_names:
            return False
        listed = self.listed_epoch == epoch
        node = self.entries.get(name)
        if node is None:
            return listed or self.absent.get(name) == epoch
        return node.checked_epoch == epoch and (listed or len(node.links) == 1)

    def doubted(self) -> None:
        """Names may have come or gone."""
        self.listed_epoch = 0
        self.absent.clear()

    def name_doubted(self, name: bytes) -> None:
        """A name may lead elsewhere by now."""
        self.stale_names.add(name)
        self.absent.pop(name, None)

    def name_seen(self, name: bytes) -> None:
        """A name leads where `entries` says."""
        self.stale_names.discard(name)

    def name_absent(self, name: bytes, epoch: int) -> None:
        """A name is not there."""
        self.stale_names.discard(name)
        self.absent[name] = epoch

    def listed(self, epoch: int, stale_names: set[bytes]) -> None:
        """`entries` are all names there are, but for what is said of `stale_names`."""
        self.listed_epoch = epoch
        self.stale_names = stale_names
        self.absent.clear()
        self.misses = 0

    # -- what was fetched of it -------------------------------------------------------------------
    def load_begins(self) -> None:
        """The names that the table knows are being entered."""
        self.loaded = True

    def load_again(self) -> None:
        """The table knows more names than it did."""
        self.loaded = False

    def missed(self) -> int:
        """One of its names needed a question; return how many did, with this one."""
        self.misses += 1
        return self.misses

    def tree_listing_began(self, epoch: int, entries: int) -> None:
        """A recursive listing from here is under way, of up to so many entries."""
        self.tree_listed = epoch, entries
