"""The inodes of a confined directory: how they are reached, told apart, found again, and kept open.

Strategy: there are no paths. The root is opened once; everything else is reached from there name by name,
relative to the file descriptor of its directory, with O_PATH | O_NOFOLLOW, so a symbolic link is an object
like any other and never followed, and "..", which clients cannot send, is never used. Directories on other
filesystems (mount points) are refused.

A node is an inode: its number and its time of birth, which tells two files with one number apart. Only
the root has a number of womm's own: a directory that takes its place, on another disk, is the same root to
clients that have mounted it.
Descriptors of nodes are kept open; the least recently used ones are closed, and then opened again by
directory and name. If that does not lead to the inode any more - the server was restarted, or someone
else renamed it - the tree is searched (search.py), but not for what this server has removed itself.

`change` is the ctime in nanoseconds, made to grow: it is raised by one where a change made through this
server left the ctime as it was, which the coarse clock of older kernels does.
"""

import os
import stat
import weakref
from collections import OrderedDict
from pathlib import Path
from struct import Struct
from typing import Final

from womm.nfs.backends import linux
from womm.nfs.backends.locations import Locations
from womm.nfs.backends.search import MAX_DEPTH, Search
from womm.nfs.constants import FileType
from womm.nfs.filesystem import Node
from womm.nfs.status import NFSError, Status

_KEY = Struct(">QQ")
_O_PATH: Final = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
ROOT_INO: Final = 1 << 62
"""No file's: the lower 48 bits of those are not 0."""
REMOVED: Final = 32768
"""So many removed files are known as such, the latest."""

TYPES: Final = {
    stat.S_IFREG: FileType.REGULAR,
    stat.S_IFDIR: FileType.DIRECTORY,
    stat.S_IFBLK: FileType.BLOCK,
    stat.S_IFCHR: FileType.CHARACTER,
    stat.S_IFLNK: FileType.SYMLINK,
    stat.S_IFSOCK: FileType.SOCKET,
    stat.S_IFIFO: FileType.FIFO,
}


def proc_path(fd: int) -> str:
    """Return a path that leads to the very inode of a descriptor, whatever has become of its name."""
    return f"/proc/self/fd/{fd}"


def pack_key(ino: int, birth_ns: int) -> bytes:
    """Return the key of an inode."""
    return _KEY.pack(ino, birth_ns & 0xFFFFFFFFFFFFFFFF)


def change_of(node: "LocalNode", ctime_ns: int) -> int:
    """Return the change attribute, given the ctime that the file has now."""
    if ctime_ns != node.ctime_ns or node.touched:
        node.change = max(ctime_ns, node.change + 1)
        node.ctime_ns = ctime_ns
        node.touched = False
    return node.change


class LocalNode:
    """An inode. `directory` and `name` say where it was last; the root has no directory."""

    __slots__ = (
        "__weakref__",
        "birth_ns",
        "change",
        "ctime_ns",
        "directory",
        "fd",
        "gone",
        "ino",
        "key",
        "kind",
        "name",
        "pins",
        "touched",
        "verifier",
    )

    def __init__(self, ino: int, birth_ns: int, kind: FileType) -> None:
        self.ino = ino
        self.birth_ns = birth_ns
        self.kind = kind
        self.key = pack_key(ino, birth_ns)
        self.directory: LocalNode | None = None
        self.name = b""
        self.fd = -1
        self.pins = 0
        """How many open files: its descriptor stays open, since it may have no name any more."""
        self.gone = False
        """Removed through this server."""
        self.change = 0
        self.ctime_ns = 0
        self.touched = False
        """Changed through this server since it reported `change`."""
        self.verifier = b""
        """Of the exclusive create that made it, until it is changed or closed."""

    def __repr__(self) -> str:
        return f"<LocalNode {self.ino} {self.kind.name} fd {self.fd}>"

    def __del__(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)


class Tree:
    """The nodes of the directory `top`; see locations.py for `index`. `max_fds` bounds their descriptors."""

    def __init__(self, top: str, index: Path | None, max_fds: int) -> None:
        self._top = top
        self._index = index
        self._max_fds = max_fds
        self.nodes: weakref.WeakValueDictionary[int, LocalNode] = weakref.WeakValueDictionary()
        self.recent: OrderedDict[LocalNode, None] = OrderedDict()
        """The nodes whose descriptors are open and may be closed, the least recently used first."""
        self._removed: dict[bytes, None] = {}
        """Keys of what was removed through this server."""

    def __repr__(self) -> str:
        return f"<Tree {len(self.nodes)} nodes, {len(self.recent)} descriptors>"

    def start(self) -> None:
        """Open the root and the table of places. Raises OSError."""
        fd = os.open(self._top, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        found = linux.statx(fd, b"")
        self.dev = (found.dev_major, found.dev_minor)
        self._top_ino = self.fileid(found)
        self.root = LocalNode(ROOT_INO, 0, FileType.DIRECTORY)
        self.root.fd = fd
        self.root.pins = 1
        self.nodes[self.root.ino] = self.root
        self.places = Locations(self._index)
        self._search = Search(proc_path(fd), ROOT_INO, self.dev, self.places)

    async def stop(self) -> None:
        """Close everything."""
        await self._search.stop()
        for node in list(self.nodes.values()):
            if node.fd >= 0:
                os.close(node.fd)
                node.fd = -1
        self.recent.clear()
        self.places.close()

    def fileid(self, found: linux.Statx) -> int:
        """Return the inode number; files of another device (overlayfs has such) get one that differs."""
        dev = (found.dev_major, found.dev_minor)
        if dev == self.dev:
            return found.ino
        return found.ino ^ (hash(dev) & 0xFFFF) << 48

    def find(self, key: bytes) -> LocalNode | None:
        if len(key) != _KEY.size:
            return None
        node = self.nodes.get(int.from_bytes(key[:8], "big"))
        if node is None or node.key != key or (node.fd < 0 and not self._reopen(node)):
            return None
        return node

    async def resolve(self, key: bytes) -> LocalNode:
        if len(key) != _KEY.size:
            raise NFSError(Status.BADHANDLE)
        node = self._locate(key)
        if node is None and key not in self._removed and await self._search.find(_KEY.unpack(key)[0]):
            node = self._locate(key)
        if node is None:
            raise NFSError(Status.STALE)
        return node

    def _locate(self, key: bytes) -> LocalNode | None:
        """Find the node of a key by what is remembered; None if that leads nowhere. Raises STALE."""
        ino, _ = _KEY.unpack(key)
        chain: list[tuple[int, bytes]] = []
        here = ino
        while (known := self.nodes.get(here)) is None or (known.fd < 0 and not self._reopen(known)):
            place = self.places.find(here)
            if place is None or len(chain) > MAX_DEPTH:
                return None
            chain.append((here, place[1]))
            here = place[0]
        node = known
        for expected, name in reversed(chain):
            try:
                node = self.enter(node, name)
            except (OSError, NFSError):
                return None
            if node.ino != expected:
                return None
        if node.key != key:
            # The same number, born at another time: the file is gone, another one has its number.
            raise NFSError(Status.STALE)
        return None if node.gone and not node.pins else node

    def _reopen(self, node: LocalNode) -> bool:
        """Open a node's descriptor again by its directory and name."""
        directory = node.directory
        if node.gone or directory is None or (directory.fd < 0 and not self._reopen(directory)):
            return False
        try:
            fd = os.open(node.name, _O_PATH, dir_fd=directory.fd)
        except OSError:
            return False
        found = linux.statx(fd, b"")
        if self.fileid(found) != node.ino or found.birth_ns != node.birth_ns:
            os.close(fd)
            return False
        node.fd = fd
        self.use(node)
        return True

    def use(self, node: LocalNode) -> None:
        """Note that a node's descriptor was used; close the least recently used one if there are too many."""
        recent = self.recent
        if node.pins:
            recent.pop(node, None)  # it stays open
            return
        recent[node] = None
        recent.move_to_end(node)
        if len(recent) > self._max_fds:
            old, _ = recent.popitem(last=False)
            if old.fd >= 0:
                os.close(old.fd)
                old.fd = -1

    def fd(self, node: Node) -> int:
        """Return the open descriptor of a node: it stays open while a few others are used. Raises STALE."""
        assert isinstance(node, LocalNode)
        if node.fd >= 0:
            self.use(node)
        elif not self._reopen(node):
            raise NFSError(Status.STALE)
        return node.fd

    def enter(self, directory: LocalNode, name: bytes) -> LocalNode:
        """Return the node of a name in a directory. Raises OSError, NFSError."""
        fd = os.open(name, _O_PATH, dir_fd=self.fd(directory))
        try:
            found = linux.statx(fd, b"")
            kind = TYPES[stat.S_IFMT(found.mode)]
            if kind is FileType.DIRECTORY and (found.dev_major, found.dev_minor) != self.dev:
                raise NFSError(Status.ACCESS)  # a mount point
            ino = self.fileid(found)
            if ino == self._top_ino:
                raise NFSError(Status.ACCESS)
            node = self.nodes.get(ino)
            if node is None or node.birth_ns != found.birth_ns or node.gone:
                if node is not None:
                    node.gone = True
                node = self.nodes[ino] = LocalNode(ino, found.birth_ns, kind)
            if node.directory is not directory or node.name != name:
                node.directory, node.name = directory, name
                self.places.note(ino, directory.ino, name)
            if node.fd < 0:
                node.fd, fd = fd, -1
            self.use(node)
            return node
        finally:
            if fd >= 0:
                os.close(fd)

    def unlinked(self, node: LocalNode) -> None:
        """A name of the node is gone: with the last one it is gone, unless it is open."""
        node.touched = True
        if os.fstat(node.fd).st_nlink == 0 or node.kind is FileType.DIRECTORY:
            self.places.forget(node.ino)
            self._removed[node.key] = None
            if len(self._removed) > REMOVED:
                del self._removed[next(iter(self._removed))]
            node.gone = True
            if not node.pins:
                self.drop(node)
        elif node.directory is not None:
            node.directory, node.name = None, b""
            self.places.forget(node.ino)

    def drop(self, node: LocalNode) -> None:
        self.recent.pop(node, None)
        if self.nodes.get(node.ino) is node:
            del self.nodes[node.ino]
        if node.fd >= 0:
            os.close(node.fd)
            node.fd = -1

    def changed(self, node: Node, touched: bool = False) -> int:
        """Return the change attribute as it is now; `touched`: the node was changed through this server."""
        fd = self.fd(node)
        assert isinstance(node, LocalNode)
        node.touched |= touched
        return change_of(node, os.fstat(fd).st_ctime_ns)
