"""The user's folder as a tree of nodes: which file a name is.

Strategy: a node is the file of one inode, whatever its names. What the user's side shows is entered as far as
`Freshness` believes it; what the table knows of an earlier process is entered when its directory is first
used, and not believed before the user's side has shown it.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from womm.fileserver.tree.changes import Asked, Stamp
from womm.fileserver.tree.freshness import Freshness
from womm.fileserver.tree.nodes import Directory, FileNode, kind_of
from womm.fileserver.tree.table import Row, Table
from womm.nfs.constants import FileType
from womm.nfs.status import NFSError, Status
from womm.wire.attributes import Stat

ROOT: Final = 1
_OURS: Final = 1 << 63
"""The bit of inode numbers that clients see and that are none of the user's."""


class Tree:
    """All nodes. `dropped(node)`: the cached blocks of a file are out of date. `static`: see `Freshness`."""

    def __init__(self, table: Table, dropped: Callable[[FileNode], None], *, static: bool = False) -> None:
        self.table = table
        self.freshness = Freshness(table, static=static)
        self._dropped = dropped
        self._next_change = table.change
        self.root = FileNode(ROOT, FileType.DIRECTORY, 0, 0, self._next_change)
        self.nodes: dict[int, FileNode] = {ROOT: self.root}
        self._recovering = bool(table.doubts())
        """The server ended under a rename: an inode is all that is known of its file."""
        self._by_ino: dict[tuple[int, int], FileNode] = {}

    def __repr__(self) -> str:
        return f"<Tree {len(self.nodes)} nodes, {self.freshness!r}>"

    def took_over(self) -> None:
        """The table has the names of an earlier server, which may have ended under any change."""
        self._recovering = True
        assert self.root.directory is not None
        self.root.directory.load_again()
        self.freshness.renew()

    # -- what the user's side says ----------------------------------------------------------------
    def changed(self, paths: Sequence[bytes]) -> None:
        """Note which paths have changed on the user's side; a directory stands for all that is in it."""
        self.freshness.told()
        for path in paths:
            self._changed([part for part in path.split(b"/") if part not in (b"", b".")])

    def _changed(self, parts: Sequence[bytes]) -> None:
        node = self.root
        for index, part in enumerate(parts):
            directory = node.directory
            if directory is None or node.gone:
                return
            child = directory.entries.get(part)
            if child is not None and index + 1 < len(parts):
                node = child
                continue
            node.user_changed()
            directory.name_doubted(part)
            if child is None:
                return
            node = child
        # What came or went stands for everything below it.
        doubtful = [node]
        while doubtful:
            node = doubtful.pop()
            node.user_changed()
            if node.directory is not None:
                node.directory.doubted()
                doubtful += node.directory.entries.values()
            else:
                # Unsent writes are in the log, over the blocks.
                self._dropped(node)
                if node.use.log is None:
                    node.content_unknown()

    @staticmethod
    def doubt(node: FileNode, link: tuple[FileNode, bytes]) -> None:
        """Note that a name leads to another file than it did, unless a client has renamed that meanwhile."""
        if link not in node.links:
            return
        node.doubted()
        above, name = link
        if above.directory is not None:
            above.directory.name_doubted(name)

    def apply(self, node: FileNode, stat: Stat, stamp: Stamp, *, own: bool = False) -> None:
        """Take over what the user's side says of a node; see `FileNode.seen`."""
        freshness = self.freshness
        if node.seen(stat, own=own, epoch=freshness.epoch if stamp == freshness.stamp() else 0):
            self._dropped(node)

    def enter(self, above: FileNode, name: bytes, stat: Stat, stamp: Stamp, *, own: bool = False) -> FileNode:
        """Return the node of a name that the user's side has just shown."""
        assert above.directory is not None
        kind = kind_of(stat)
        node = above.directory.entries.get(name)
        if node is not None and (node.kind is not kind or (node.dev, node.ino) != (stat.dev, stat.ino)):
            self.unplace(above, name)
            node = None
        if node is None:
            node = self._known(above, stat, kind)
            if node is None:
                node = self._make(self.table.number(), kind, stat.dev, stat.ino)
                self.nodes[node.fileid] = node
                self._by_ino[stat.dev, stat.ino] = node
            self.place(above, name, node)
        if stamp == self.freshness.stamp():
            above.directory.name_seen(name)
        self.apply(node, stat, stamp, own=own)
        return node

    def take_answer(self, above: FileNode, name: bytes, stat: Stat | None, asked: Asked) -> bool:
        """Take over what a name is (None: it is not there), if that is to be believed. Is it?"""
        if above.gone or above.directory is None or self.freshness.path_overtaken(above, asked):
            return False
        if self.freshness.name_overtaken(above, name, asked):
            return False
        directory = self.directory(above)
        if stat is not None:
            self.enter(above, name, stat, asked.stamp)
            return True
        self.unplace(above, name)
        if asked.stamp == self.freshness.stamp():
            directory.name_absent(name, self.freshness.epoch)
        return True

    def take_targets(self, above: FileNode, targets: Iterable[tuple[bytes, bytes]]) -> None:
        """Take over where links of a directory lead: names and targets that came with its listing."""
        if above.directory is not None:
            for name, target in targets:
                node = above.directory.entries.get(name)
                if node is not None and node.kind is FileType.SYMLINK and node.target is None:
                    node.leads_to(target)

    def take_part(self, above: FileNode, found: Sequence[tuple[bytes, Stat]], asked: Asked) -> None:
        """Take over a part of a listing of a directory, as far as it is to be believed."""
        if above.directory is None or above.gone or self.freshness.path_overtaken(above, asked):
            return
        self.directory(above)
        for name, stat in found:
            if not self.freshness.entry_overtaken(above, name, asked):
                self.enter(above, name, stat, asked.stamp)

    def take_listing(self, above: FileNode, found: Sequence[tuple[bytes, Stat]], asked: Asked) -> bool:
        """Take over a whole listing of a directory, if it is to be believed. Is it?"""
        if above.gone or above.directory is None or self.freshness.path_overtaken(above, asked):
            return False
        directory, overtaken = self.directory(above), self.freshness.entry_overtaken
        names = set()
        known = directory.listed_epoch
        new = False
        for name, stat in found:
            names.add(name)
            if not overtaken(above, name, asked):
                new = new or name not in directory.entries
                self.enter(above, name, stat, asked.stamp)
        for name in [name for name in directory.entries if name not in names]:
            if not overtaken(above, name, asked):
                self.unplace(above, name)
                new = True
        if new and known:
            above.changed()
        if asked.stamp == self.freshness.stamp():
            stale = {name for name in directory.stale_names if overtaken(above, name, asked)}
            # A name that a client is changing was not entered, and must not count as absent.
            directory.listed(self.freshness.epoch, stale | (names - directory.entries.keys()))
        return True

    # -- names ------------------------------------------------------------------------------------
    def directory(self, node: FileNode) -> Directory:
        """Return what is known of a directory. Raises NFSError."""
        if node.directory is None:
            raise NFSError(Status.SYMLINK if node.kind is FileType.SYMLINK else Status.NOTDIR)
        if node.gone:
            raise NFSError(Status.STALE)
        if not node.directory.loaded:
            self._load(node, node.directory)
        return node.directory

    def _load(self, node: FileNode, directory: Directory) -> None:
        """Enter the names that the table knows: none of them is believed yet."""
        directory.load_begins()
        if self.table.empty:
            return
        for row in self.table.of_directory(node.fileid):
            child = self.nodes.get(row.fileid)
            if child is None:
                child = self._make(row.fileid, FileType(row.kind), row.dev, row.ino)
                self.nodes[row.fileid] = child
                self._by_ino[row.dev, row.ino] = child
            if row.name not in directory.entries:
                directory.enter(row.name, child)
                child.linked(node, row.name)

    def resolve(self, fileid: int) -> FileNode | None:
        """Return a node by its number, from the table if need be; it is not looked at."""
        found = self.nodes.get(fileid)
        if found is not None or self.table.empty or not 0 < fileid < 1 << 63:
            return found
        for row in self.table.of_file(fileid):
            above = self.resolve(row.directory)
            if above is not None and above.directory is not None and not above.gone:
                self.directory(above)
        return self.nodes.get(fileid)

    def place(self, above: FileNode, name: bytes, node: FileNode) -> None:
        """Note that `node` has a name."""
        assert above.directory is not None
        above.directory.enter(name, node)
        node.linked(above, name)
        self.table.put(Row(above.fileid, name, node.fileid, int(node.kind), node.dev, node.ino))

    def unplace(self, above: FileNode, name: bytes) -> FileNode | None:
        """Note that a name is gone; return what it was."""
        assert above.directory is not None
        node = above.directory.leave(name)
        if node is None:
            return None
        node.unlinked(above, name)
        self.table.drop(above.fileid, name)
        if not node.links:
            self._lose(node)
        return node

    def _lose(self, node: FileNode) -> None:
        """Note that a node, and all below it, has no name any more."""
        lost = [node]
        while lost:
            node = lost.pop()
            node.lost()
            if self._by_ino.get((node.dev, node.ino)) is node:
                del self._by_ino[node.dev, node.ino]
            if not node.use.opens:
                self.forget(node)
            if node.directory is not None:
                for name, child in node.directory.empty().items():
                    self.table.drop(node.fileid, name)
                    child.unlinked(node, name)
                    if not child.links:
                        lost.append(child)

    def forget(self, node: FileNode) -> None:
        """Let go of a node that is gone."""
        self.nodes.pop(node.fileid, None)
        if node.kind is FileType.REGULAR:
            self._dropped(node)

    @staticmethod
    def below(top: FileNode, path: bytes) -> FileNode | None:
        """Return what a path from `top` leads to, if that is in the tree."""
        node: FileNode | None = top
        for part in path.split(b"/") if path else []:
            if node is None or node.directory is None:
                return None
            node = node.directory.entries.get(part)
        return node

    # -- which file an inode is -------------------------------------------------------------------
    def _make(self, fileid: int, kind: FileType, dev: int, ino: int) -> FileNode:
        """Return a new node. Its number is the user's inode's, so that what programs have noted of a file
        there (git's index) holds in pods; below another mount there, where inodes have the same, our own."""
        ours = dev != self.table.dev or not ROOT < ino < _OURS
        return FileNode(fileid, kind, dev, ino, self._next_change, inode=fileid | _OURS if ours else ino)

    def _known(self, above: FileNode, stat: Stat, kind: FileType) -> FileNode | None:
        """Return the node of an inode that has another name too, or had."""
        node = self._by_ino.get((stat.dev, stat.ino))
        if node is None:
            return None
        if node.kind is not kind or node is above:
            self._displace(node)
            return None
        if stat.nlink > 1 and kind is not FileType.DIRECTORY:
            return node
        # It has one name: it was moved, or the number belongs to another file by now.
        moved = (
            kind is FileType.DIRECTORY
            or (node.stat is None and self._recovering)
            or node.use.held is not None
            or node.version[:2] == (stat.size, stat.mtime_ns)
        )
        if moved and not self._above(node, above):
            for directory, name in node.moved():
                assert directory.directory is not None
                directory.directory.leave(name)
                directory.directory.name_doubted(name)  # another file may have it
                self.table.drop(directory.fileid, name)
                directory.doubted()
            return node
        self._displace(node)
        return None

    def _displace(self, node: FileNode) -> None:
        for directory, name in list(node.links):
            self.unplace(directory, name)
            assert directory.directory is not None
            directory.directory.name_doubted(name)

    @staticmethod
    def _above(node: FileNode, other: FileNode) -> bool:
        """Is `node` above `other`?"""
        while other.links:
            if other is node:
                return True
            other = other.links[0][0]
        return other is node
